"""A reward learned from comparisons: of two stretches of behaviour, which one is better?

Bradley and Terry's model (1952), as Christiano et al. (2017), "Deep reinforcement learning from human preferences",
arXiv:1706.03741, equation 1 and section 2.2.3, use it: P(A is better than B) = eps / 2 + (1 - eps) sigmoid(R(A) - R(B)),
R being the undiscounted sum of rewards over a stretch. What it can't know: a constant for every step, and the reward's scale
beyond what its teacher's mistakes tell.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..envs.batch import Array
from ..envs.core import ProxygapError, Segments
from .calibration import temperature
from .feedback import Comparisons
from .model import RewardModel


def bradley_terry(difference: Tensor, label: Tensor, noise: float = 0.0) -> Tensor:
    """Cross-entropy of `label` (the probability that the first is better) given return differences, first minus second.

    The difference is never clipped: however wrong a pair is, it pulls with full force unless `noise` says it may be a slip.
    """
    return -label * _log_probability(difference, noise) - (1 - label) * _log_probability(-difference, noise)


def _log_probability(difference: Tensor, noise: float) -> Tensor:
    if noise == 0:
        return logsigmoid(difference)
    slip = torch.full_like(difference, math.log(noise / 2))
    return torch.logaddexp(slip, math.log1p(-noise) + logsigmoid(difference))


@dataclass
class PreferenceReward(RewardModel):
    """Bradley-Terry: of mean 0 and standard deviation 1 over the steps it was fitted to, each member by itself.

    Fitted with three or more members, `aggregate="worst"` or "penalised" makes it careful where they disagree.
    """

    noise: float = 0.0  # share of answers that are coin flips, eps

    numbers = ("temperature_",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise < 1:
            raise ProxygapError(f"noise {self.noise}: a share of answers, at least 0 and below 1, is needed")

    def fit(self, comparisons: Comparisons) -> Self:
        """Learns from N comparisons. Raises ProxygapError for none, and for values that are not finite."""
        self.learn([comparisons.first, comparisons.second], comparisons.label, comparisons.env)
        self.temperature_ = 1.0
        return self.standardise(Segments.concatenate([comparisons.first, comparisons.second]))

    def losses(self, rewards: Tensor, valid: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of each pair, [K, B]."""
        first, second = (rewards * valid).sum(-1).unbind(-1)
        return bradley_terry(first - second, target, self.noise)

    def score(self, comparisons: Comparisons) -> float:
        """The share of comparisons whose better side has the higher return; a tie of returns counts half.

        Raises ProxygapError where no comparison is decided, and for those of another environment.
        """
        self._check_env(comparisons.env)
        wanted = np.sign(comparisons.label - 0.5)
        if not wanted.any():
            raise ProxygapError(f"{len(wanted)} comparisons, all undecided: accuracy needs one that is not")
        found = np.sign(self.returns(comparisons.first) - self.returns(comparisons.second))
        return float((1 + wanted * found)[wanted != 0].mean() / 2)

    def differences(self, comparisons: Comparisons) -> Array:
        """Each member's return difference, first minus second, on the scale on which it was fitted: log odds, [K, N]."""
        self._check_env(comparisons.env)
        first, second = (
            np.where(side.valid, self.members(side) / self.slope_[..., None].numpy(), 0.0).sum(-1)
            for side in (comparisons.first, comparisons.second)
        )
        steps = comparisons.first.valid.sum(1) - comparisons.second.valid.sum(1)
        return first - second - (self.intercept_ / self.slope_).numpy() * steps

    def probability(self, comparisons: Comparisons) -> Array:
        """P(the first is better), [N]: the members' mean (Lakshminarayanan et al. 2017, arXiv:1612.01474)."""
        with np.errstate(over="ignore"):
            sure = 1 / (1 + np.exp(-self.differences(comparisons) / self.temperature_))
        return self.noise / 2 + (1 - self.noise) * sure.mean(0)

    def calibrate(self, comparisons: Comparisons) -> Self:
        """Chooses the temperature of `probability` on comparisons that the model was not fitted to, and returns the model."""
        self.temperature_ = temperature(self.differences(comparisons), comparisons.label, self.noise)
        return self
