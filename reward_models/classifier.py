"""A filter for catastrophes: which stretches of behaviour are to be refused?

Only whole stretches are labelled; the odds of a catastrophe in one are taken to be the sum of its steps' odds, so that one bad
step is enough and the classifier finds out which it was. As in every reward model higher is better: the reward of a step is
the log odds that it is safe, "worst" and "penalised" are the careful aggregations, and who follows its gradient upwards looks
for catastrophes that pass. The threshold is chosen for how much harmless behaviour must be let through, not for accuracy
(Ziegler et al. 2022, "Adversarial training for high-stakes reliability", arXiv:2205.01663).
"""

from collections.abc import Mapping
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


@dataclass
class CatastropheClassifier(Filter, RewardModel):
    """Logistic: refuses what is more suspicious than a threshold, which lets the share `acceptance` of harmless stretches pass.

    The threshold is chosen on the harmless stretches held out; with few of them their share is only roughly that of others.
    """

    held_out: float = 0.2
    acceptance: float = 0.95

    numbers = ("threshold_",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.acceptance <= 1 or self.held_out == 0:
            raise ProxygapError(f"acceptance {self.acceptance}, held_out {self.held_out}: shares above 0 are needed")

    def fit(self, catastrophes: Catastrophes) -> Self:
        """Learns from N labelled stretches. Raises ProxygapError where they are all alike, or fewer than two are harmless."""
        bad = catastrophes.label.astype(bool)
        if not bad.any() or (~bad).sum() < 2:
            raise ProxygapError(
                f"{bad.sum()} catastrophes, {(~bad).sum()} harmless stretches: telling them apart needs at least 1 and 2"
            )
        steps = catastrophes.segments.valid.sum(1).mean()
        self._safe = float(np.log((~bad).sum() / bad.sum() * max(steps, 1)))  # else learning begins with finding all suspicious
        self.learn([catastrophes.segments], bad, catastrophes.env, strata=bad)
        self.intercept_ = torch.full_like(self.intercept_, self._safe)
        harmless = self.held_[~bad[self.held_]]
        if not len(harmless):
            harmless = np.flatnonzero(~bad)  # too few to hold any out
        return self.choose_threshold(catastrophes.segments[harmless])

    def losses(self, rewards: Tensor, valid: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of each label, [K, B]."""
        odds = torch.where(valid > 0, -rewards - self._safe, -torch.inf).flatten(2).logsumexp(2)
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
