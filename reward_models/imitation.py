"""A reward learned from demonstrations: what do they do that others don't?

A classifier tells steps of demonstrations from steps of others, such as an agent's play. The reward of a step is its log odds
for the demonstrations, as in AIRL (Fu, Luo and Levine 2018, arXiv:1710.11248) and unlike in GAIL (Ho and Ermon 2016,
arXiv:1606.03476), whose reward has the same sign everywhere and so by itself pays for long episodes, or for short ones. At its
best that is log(p_demonstrations / p_others) of the steps shown: the others' behaviour is part of the reward, and once they
act as demonstrated it is 0. AIRL's split into a reward of states and a shaping term is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import logit
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn.functional import softplus

from ..envs.core import ProxygapError, Segments
from .feedback import Demonstrations, Ratings
from .model import RewardModel


def steps_of(demonstrations: Demonstrations, others: Segments) -> Ratings:
    """All valid steps of both, each a stretch of its own: marked 1 where demonstrated, else 0.

    Raises ProxygapError where either has no step, and for steps of other shapes or with values that are not finite.
    """
    parts = [single(segments) for segments in (demonstrations.segments, others)]
    if not all(map(len, parts)):
        raise ProxygapError(f"{len(parts[0])} steps demonstrated, {len(parts[1])} of others: telling them apart needs both")
    marked = zip(parts, (1.0, 0.0), strict=True)
    return Ratings.joined([Ratings(steps, np.full(len(steps), mark), demonstrations.env) for steps, mark in marked])


def single(segments: Segments) -> Segments:
    """Each valid step of N stretches as a stretch of one step, [M, 1, ...]."""
    row, time = np.nonzero(segments.valid)
    names = ("observation", "action", "next_observation", "terminated", "valid", "truncated")
    steps = {name: getattr(segments, name)[row, time][:, None] for name in names}
    return Segments(**steps, episode=segments.episode[row], start=segments.start[row] + time)


@dataclass
class DemonstrationReward(RewardModel):
    """The log odds that a step is demonstrated, as if there were as many steps of others: 0 where that can't be told."""

    batch: int = 256  # steps

    def fit(self, demonstrations: Demonstrations, others: Segments) -> Self:
        """Learns to tell steps apart. Raises ProxygapError where either has none, for other shapes and values not finite."""
        steps = steps_of(demonstrations, others)
        self._odds = float(logit(steps.value.mean()))  # of their numbers, which are no merit of a step
        return self.learn([steps.segments], steps.value, steps.env, strata=steps.value)

    def losses(self, rewards: Tensor, valid: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of each step's kind, [K, B]."""
        odds = rewards[..., 0, 0] + self._odds
        return softplus(odds) - target * odds

    def score(self, steps: Ratings) -> float:
        """How often a demonstrated step (see `steps_of`) is paid more than another: the area under the ROC curve.

        Raises ProxygapError where all are of one kind, and for steps of another environment.
        """
        self._check_env(steps.env)
        shown = steps.value > 0.5
        if shown.all() or not shown.any():
            raise ProxygapError(f"{shown.sum()} of {len(shown)} steps are demonstrated: telling them apart needs both kinds")
        paid = self.returns(steps.segments)
        return float(mannwhitneyu(paid[shown], paid[~shown]).statistic / (shown.sum() * (~shown).sum()))


def imitate(
    model: DemonstrationReward,
    demonstrations: Demonstrations,
    collect: Callable[[DemonstrationReward, int], Segments],
    rounds: int,
) -> DemonstrationReward:
    """Fits the model in every round to all play so far, which `collect(model, round)` adds to, and returns it.

    `collect` trains an agent on the model as it then is and lets it play; in round 0 there is nothing to train on, and any play
    will do. Raises ProxygapError for no rounds, and as `fit` does.
    """
    if rounds < 1:
        raise ProxygapError(f"{rounds} rounds: at least 1 is needed")
    played: list[Segments] = []
    for number in range(rounds):
        played.append(single(collect(model, number)))
        model.fit(demonstrations, Segments.concatenate(played))
    return model
