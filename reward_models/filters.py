"""What refuses behaviour: anything that tells how suspicious a stretch is, and a threshold.

The threshold is chosen for how much harmless behaviour must be let through, not for accuracy (Ziegler et al. 2022, "Adversarial
training for high-stakes reliability", arXiv:2205.01663).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from ..envs.batch import Array
from ..envs.core import ProxygapError, Segments
from .inputs import Inputs
from .model import RewardModel


class Filter(ABC):
    """Base of filters: refuses what is more suspicious than a threshold, by which the share `acceptance` of harmless passes."""

    acceptance: float
    threshold_: float
    env_: str  # the environment that it was fitted to
    inputs_: Inputs

    @abstractmethod
    def suspicion(self, segments: Segments) -> Array:
        """How suspicious each stretch is, [N]."""

    @abstractmethod
    def suspicion_tensors(self, tensors: Mapping[str, Tensor], valid: Tensor, shift: Tensor | None = None) -> Tensor:
        """The same, [N], of steps [N, T] and a `shift` given as `RewardModel.score_tensors` takes them: gradients flow back."""

    def latent_shape(self, rows: int, steps: int) -> tuple[int, int, int, int]:
        """The shape [K, N, T, hidden] of a `shift` for N stretches of T steps. Raises ProxygapError where there is none."""
        raise ProxygapError(f"a {type(self).__name__} has no hidden layer to reach into")

    def accepts(self, segments: Segments) -> Array:
        """[N] bool, which stretches are let through. Raises ProxygapError where no threshold was chosen yet."""
        if not hasattr(self, "threshold_"):
            raise ProxygapError(f"this {type(self).__name__} has no threshold yet: choose it first, by choose_threshold or fit")
        return self.suspicion(segments) <= self.threshold_

    def choose_threshold(self, harmless: Segments) -> Self:
        """Sets the lowest threshold that lets the share `acceptance` of these stretches pass, and returns the filter."""
        if not len(harmless):
            raise ProxygapError("no harmless stretches to choose a threshold by: give at least one")
        self.threshold_ = float(np.quantile(self.suspicion(harmless), self.acceptance, method="higher"))
        return self


@dataclass
class ReturnFilter(Filter):
    """A reward model as a filter: what it pays less is more suspicious. Choose its threshold before it is used."""

    model: RewardModel
    acceptance: float = 0.95

    @property
    def env_(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.model.env_

    @property
    def inputs_(self) -> Inputs:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.model.inputs_

    def suspicion(self, segments: Segments) -> Array:
        return -self.model.returns(segments)

    def suspicion_tensors(self, tensors: Mapping[str, Tensor], valid: Tensor, shift: Tensor | None = None) -> Tensor:
        return -(self.model.score_tensors(tensors, shift) * valid).sum(-1)

    def latent_shape(self, rows: int, steps: int) -> tuple[int, int, int, int]:
        return self.model.latent_shape(rows, steps)
