"""Actions as numbers that gradients can move: a box shrunk to [-1, 1], choices as weights that add up to 1.

Weights are a softmax, so that a sequence of choices moves little by little from one to another (Henaff, Whitney and LeCun 2017,
"Model-based planning with discrete and continuous actions", arXiv:1705.07177).
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ...envs.batch import Array
from ...envs.core import ProxygapError

SURE = 3.0  # logits by which the choice that is made is ahead of the others


class Relaxed(Protocol):
    """Actions [..., *action] of a space, their places (what gradients move), and the numbers that a world is told."""

    smallest: float  # radius within which places are worth trying, at least

    def exact(self, action: Array) -> Tensor:
        """The numbers of these very actions: those of a box, or weights 0 and 1 of every choice."""
        ...

    def places(self, action: Array) -> Tensor:
        """Where these actions lie. A step of 1 leads from one choice to another, or from the middle of a box to its wall."""
        ...

    def numbers(self, places: Tensor) -> Tensor:
        """The numbers there, through which gradients flow."""
        ...

    def project(self, places: Tensor) -> Tensor:
        """The nearest places that are allowed."""
        ...

    def actions(self, places: Tensor) -> Array:
        """The actions that are nearest."""
        ...


def relaxed(space: spaces.Space[Any]) -> Relaxed:
    """Its actions as numbers. Raises ProxygapError for spaces that are neither choices nor boxes with bounds."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return Choices(space)
    if isinstance(space, spaces.Box) and space.dtype.kind == "f" and space.is_bounded():
        return Bounded(space)
    raise ProxygapError(f"actions {space}: gradients move Discrete and MultiDiscrete ones, and those of a Box with bounds")


@dataclass
class Bounded:
    """Actions in a box."""

    space: spaces.Box
    smallest: float = 0.01

    def exact(self, action: Array) -> Tensor:
        return torch.from_numpy(action.astype(np.float32))

    def places(self, action: Array) -> Tensor:
        low, width = self._walls()
        return 2.0 * (self.exact(action) - low) / torch.where(width > 0, width, 1.0) - 1.0

    def numbers(self, places: Tensor) -> Tensor:
        low, width = self._walls()
        return low + (places + 1.0) / 2.0 * width

    def project(self, places: Tensor) -> Tensor:
        return places.clamp(-1.0, 1.0)

    def actions(self, places: Tensor) -> Array:
        return np.clip(self.numbers(places).numpy().astype(self.space.dtype), self.space.low, self.space.high)

    def _walls(self) -> tuple[Tensor, Tensor]:
        low, high = (torch.from_numpy(wall.astype(np.float32)) for wall in (self.space.low, self.space.high))
        return low, high - low


@dataclass
class Choices:
    """One or several choices; the numbers are weights [..., *action, n] of the whole numbers from the lowest on."""

    space: spaces.Discrete | spaces.MultiDiscrete
    smallest: float = 0.5  # from which on another choice can be the nearest

    def __post_init__(self) -> None:
        many = self.space.n if isinstance(self.space, spaces.Discrete) else self.space.nvec
        first, last = np.asarray(self.space.start), np.asarray(self.space.start + many - 1)
        self.values = np.arange(first.min(), last.max() + 1)  # [n]
        self.allowed = torch.from_numpy((self.values >= first[..., None]) & (self.values <= last[..., None]))

    def exact(self, action: Array) -> Tensor:
        return torch.from_numpy((action[..., None] == self.values).astype(np.float32))

    def places(self, action: Array) -> Tensor:
        return self.exact(action)

    def numbers(self, places: Tensor) -> Tensor:
        return torch.where(self.allowed, SURE * places, -torch.inf).softmax(-1)

    def project(self, places: Tensor) -> Tensor:
        return places

    def actions(self, places: Tensor) -> Array:
        best = torch.where(self.allowed, places, -torch.inf).argmax(-1).numpy()
        return self.values[best].astype(self.space.dtype)
