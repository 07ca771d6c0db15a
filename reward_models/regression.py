"""A reward learned from marks: how good is this stretch of behaviour?

Rewards of single steps are chosen so that their sums come near the marks in the least-squares sense. Unlike comparisons, marks
fix the scale, and the constant per step where stretches differ in length.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..envs.core import ProxygapError
from .feedback import Ratings
from .model import RewardModel


@dataclass
class RegressionReward(RewardModel):
    """Least squares on the marks of whole stretches. The reward is in their unit: a stretch's return is the mark expected."""

    def fit(self, ratings: Ratings) -> Self:
        """Learns from N ratings. Raises ProxygapError for none, and for values that are not finite."""
        if not len(ratings):
            raise ProxygapError("no ratings to learn from: give at least one")
        steps = ratings.segments.valid.sum(1)
        constant = ratings.value.sum() / max(steps.sum(), 1)  # a step, by which the network starts at the mean
        rest = ratings.value - constant * steps
        unit = float(rest.std() / np.sqrt(max(steps.mean(), 1))) or 1.0  # sums of a fresh network grow as a walk's
        self.learn([ratings.segments], rest / unit, ratings.env)
        self.slope_, self.intercept_ = torch.full_like(self.slope_, unit), torch.full_like(self.intercept_, constant)
        return self

    def losses(self, rewards: Tensor, valid: Tensor, target: Tensor) -> Tensor:
        """Squared error of each mark a step, [K, B]."""
        return ((rewards * valid).sum((2, 3)) - target) ** 2 / valid.sum((1, 2)).clamp(min=1)

    def score(self, ratings: Ratings) -> float:
        """The share of the marks' variance that is explained, R^2: 1 at best, 0 for always saying their mean.

        Raises ProxygapError where all marks are the same, and for ratings of another environment.
        """
        self._check_env(ratings.env)
        if not len(ratings) or np.ptp(ratings.value) == 0:
            raise ProxygapError(f"{len(ratings)} ratings, all alike: how much is explained needs marks that differ")
        return float(1 - np.mean((ratings.value - self.returns(ratings.segments)) ** 2) / ratings.value.var())
