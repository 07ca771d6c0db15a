"""A filter for catastrophes: which stretches of behaviour are to be refused?

Only whole stretches are labelled; the odds of a catastrophe in one are taken to be the sum of its steps' odds, so that one bad
step is enough and the classifier finds out which it was. As in every reward model higher is better: the reward of a step is
the log odds that it is safe, "worst" and "penalised" are the careful aggregations, and who follows its gradient upwards looks
for catastrophes that pass. The threshold is chosen for how much harmless behaviour must be let through, not for accuracy
(Ziegler et al. 2022, "Adversarial training for high-stakes reliability", arXiv:2205.01663). In `robust` is what makes it harder
to deceive, in `hardening` how it learns from those who deceive it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import softplus

from ..envs.batch import Array
from ..envs.core import ProxygapError, Segments
from .feedback import Catastrophes
from .filters import Filter
from .model import RewardModel
from .networks import Examples
from .robust import Robust, Transform, transformed


@dataclass
class CatastropheClassifier(Filter, RewardModel):
    """Logistic: refuses what is more suspicious than a threshold, which lets the share `acceptance` of harmless stretches pass.

    The threshold is chosen on the harmless stretches held out; with few of them their share is only roughly that of others.
    """

    held_out: float = 0.2
    acceptance: float = 0.95
    latent_epsilon: float = 0.0  # standard deviations by which its activations are attacked while it learns (`robust.Robust`)
    latent_steps: int = 8  # of that attack
    invariance: float = 10.0  # what a squared difference costs between what is said of a stretch and of one that is alike

    numbers = ("threshold_",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.acceptance <= 1 or self.held_out == 0:
            raise ProxygapError(f"acceptance {self.acceptance}, held_out {self.held_out}: shares above 0 are needed")
        if self.latent_steps < 1 or not self.latent_epsilon >= 0 or not self.invariance >= 0:
            given = f"latent_steps {self.latent_steps}, latent_epsilon {self.latent_epsilon}, invariance {self.invariance}"
            raise ProxygapError(f"{given}: at least 1 step and numbers from 0 are needed")
        if self.latent and self.latent_epsilon:
            raise ProxygapError(
                "a model with a bottleneck has no hidden layer to reach into: set latent or latent_epsilon to 0"
            )

    def fit(
        self, catastrophes: Catastrophes, *more: Catastrophes, weight: float = 1.0, alike: Sequence[Transform] = ()
    ) -> Self:
        """Learns from N labelled stretches, and from `more` of them that were found later and are worth `weight` each.

        Of each record the same share is held out, the same rows whatever records come after it. What `alike` makes of a stretch
        means the same. Raises ProxygapError where all stretches are alike, or fewer than two are harmless.
        """
        everything = self._checked([catastrophes, *more])
        bad, steps = everything.label, everything.segments.valid.sum(1).mean()
        self._safe = float(np.log((~bad).sum() / bad.sum() * max(steps, 1)))  # else learning begins with finding all suspicious
        return self._fitted([catastrophes, *more], weight, alike, warm=False)

    def refit(
        self, catastrophes: Catastrophes, *more: Catastrophes, weight: float = 1.0, alike: Sequence[Transform] = ()
    ) -> Self:
        """As `fit`, but goes on from what was learned: weights, how steps are shown, and the odds from which learning began.

        Give the records learned from before in their order, and new ones after them: so what was held out stays held out.
        """
        self._check_fitted()
        if (self.slope_ != 1).any():
            raise ProxygapError("a classifier that was standardised has lost its odds, and can't go on learning: fit it anew")
        self._checked([catastrophes, *more])
        self._safe = float(self.intercept_[0, 0])
        return self._fitted([catastrophes, *more], weight, alike, warm=True)

    def _checked(self, records: Sequence[Catastrophes]) -> Catastrophes:
        """All records in one, if it holds what can be told apart."""
        together = Catastrophes.joined(records)
        if not (bad := together.label).any() or (~bad).sum() < 2:
            raise ProxygapError(
                f"{bad.sum()} catastrophes, {(~bad).sum()} harmless stretches: telling them apart needs at least 1 and 2"
            )
        return together

    def _fitted(self, records: Sequence[Catastrophes], weight: float, alike: Sequence[Transform], warm: bool) -> Self:
        together = Catastrophes.joined(records)
        bad, segments, record = together.label, together.segments, np.repeat(np.arange(len(records)), [len(r) for r in records])
        worth = None if weight == 1 else np.where(record == 0, 1.0, weight)

        def robust(rows: Array) -> Robust | None:
            if not alike and not self.latent_epsilon:
                return None
            made = [self._examples(transformed(transform, segments, bad)[rows]) for transform in alike]
            return Robust(_odds, made, self.invariance, self.latent_epsilon, self.latent_steps, self.seed)

        self.learn([segments], bad, together.env, strata=2 * record + bad, weight=worth, robust=robust, warm=warm)
        self.intercept_ = torch.full_like(self.intercept_, self._safe)
        harmless = self.held_[~bad[self.held_]]
        if not len(harmless):
            harmless = np.flatnonzero(~bad)  # too few to hold any out
        return self.choose_threshold(segments[harmless])

    def _examples(self, segments: Segments) -> Examples:
        """Stretches as examples without a target."""
        x, valid = self.inputs_(self.inputs_.tensors(segments)), torch.from_numpy(segments.valid).float()
        return Examples(x[:, None], valid[:, None], torch.zeros(len(x)))

    def losses(self, rewards: Tensor, valid: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of each label, [K, B]."""
        odds = _odds(rewards + self._safe, valid)
        return softplus(odds) - target * odds

    def suspicion(self, segments: Segments) -> Array:
        """The log odds that a stretch holds a catastrophe, [N]; minus infinity for one without any step."""
        return np.asarray(logsumexp(np.where(segments.valid, -self.predict(segments), -np.inf), axis=1))

    def suspicion_tensors(self, tensors: Mapping[str, Tensor], valid: Tensor, shift: Tensor | None = None) -> Tensor:
        return torch.where(valid > 0, -self.score_tensors(tensors, shift), -torch.inf).logsumexp(-1)

    def latent_shape(self, rows: int, steps: int) -> tuple[int, int, int, int]:
        return RewardModel.latent_shape(self, rows, steps)

    def score(self, catastrophes: Catastrophes) -> float:
        """How often a catastrophe is more suspicious than a harmless stretch: the area under the ROC curve, at no threshold.

        Raises ProxygapError where labels or suspicions are all alike, and for labels of another environment.
        """
        self._check_env(catastrophes.env)
        bad = catastrophes.label.astype(bool)
        if bad.all() or not bad.any():
            raise ProxygapError(f"{bad.sum()} of {len(bad)} stretches are catastrophes: telling them apart needs both kinds")
        suspicion = self.suspicion(catastrophes.segments)
        if (suspicion == suspicion[0]).all():
            raise ProxygapError(f"{len(bad)} stretches, all as suspicious as each other: there is no order to score")
        ranks = rankdata(suspicion)  # Mann and Whitney's count of pairs in the right order
        return float((ranks[bad].sum() - bad.sum() * (bad.sum() + 1) / 2) / (bad.sum() * (~bad).sum()))


def _odds(rewards: Tensor, valid: Tensor) -> Tensor:
    """The log odds [K, B] that examples hold a catastrophe, by rewards [K, B, S, T]."""
    return torch.where(valid > 0, -rewards, -torch.inf).flatten(2).logsumexp(2)
