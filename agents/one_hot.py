"""Boards as one-hot inputs: a network can't see at once that letter 3 is no more than letter 2, only another."""

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from ..envs.core import ProxygapError

LARGEST = 256  # numbers that a cell may show


class OneHot(BaseFeaturesExtractor):
    """Observations of whole numbers between bounds, [B, ...], as [B, cells * numbers] inputs of 0 and 1.

    Raises ProxygapError where a cell has no bounds, or ones too far apart for whole numbers.
    """

    def __init__(self, observation_space: spaces.Space) -> None:
        if not isinstance(observation_space, spaces.Box) or np.ptp([observation_space.low, observation_space.high]) >= LARGEST:
            raise ProxygapError(f"one_hot needs boards of at most {LARGEST} whole numbers, not {observation_space}")
        self.least = int(observation_space.low.min())
        self.numbers = int(observation_space.high.max()) - self.least + 1
        super().__init__(observation_space, spaces.flatdim(observation_space) * self.numbers)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        whole = observations.round().long() - self.least
        return torch.nn.functional.one_hot(whole, self.numbers).float().flatten(1)
