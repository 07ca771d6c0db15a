"""Rules of a world as gradients can follow them: a small network that learns what comes next from what was seen.

It moves what is seen, by a multi-layer perceptron in standardised numbers. Choices enter as weights, and are blurred while
learning so that it also knows what lies between them (Henaff, Whitney and LeCun 2017, arXiv:1705.07177).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ...envs.core import ProxygapError, Segments
from .relaxed import Choices, relaxed

# What is seen [M, *observation] and the numbers of an action (of choices their weights, [M, *action, n]) -> what is seen next.
Dynamics = Callable[[Tensor, Tensor], Tensor]
BLUR = 0.3  # at most the share of a choice's weight that is given to others while learning


@dataclass
class LearnedDynamics:
    """Learns from stretches of behaviour what is seen next, [M, *observation], from what is seen and done now."""

    hidden: Sequence[int] = (64, 64)
    steps: int = 600
    batch: int = 256  # steps of behaviour
    learning_rate: float = 3e-3
    seed: int = 0

    def fit(self, segments: Segments, action_space: spaces.Space[Any]) -> Self:
        """Learns anew from N stretches. Raises ProxygapError where there is no step in them."""
        valid = segments.valid
        if not valid.any():
            raise ProxygapError(f"{len(segments)} stretches without a step: give at least one to learn the world's rules from")
        seen, after = (_columns(array[valid]) for array in (segments.observation, segments.next_observation))
        kind = relaxed(action_space)
        done = kind.exact(segments.action[valid])
        generator = torch.Generator().manual_seed(self.seed)
        self.inputs_ = _Scale.of(torch.cat([seen, done.flatten(1)], 1))
        self.moves_ = _Scale.of(after - seen)
        self.network_ = self._fresh(self.inputs_.mean.numel(), seen.shape[1])
        self._learn(seen, done, after, kind.allowed if isinstance(kind, Choices) else None, generator)
        return self

    def __call__(self, observation: Tensor, action: Tensor) -> Tensor:
        """What is seen next, [M, *observation]."""
        seen = observation.float().flatten(1) if observation.dim() > 1 else observation.float()[:, None]
        x = torch.cat([seen, action.flatten(1) if action.dim() > 1 else action[:, None]], 1)
        return (seen + self.moves_.back(self.network_(self.inputs_(x)))).view(observation.shape)

    def _fresh(self, inputs: int, outputs: int) -> nn.Sequential:
        sizes = (inputs, *self.hidden)
        layers = [part for i, o in pairwise(sizes) for part in (nn.utils.skip_init(nn.Linear, i, o), nn.SiLU())]
        return nn.Sequential(*layers, nn.utils.skip_init(nn.Linear, sizes[-1], outputs))

    def _learn(self, seen: Tensor, done: Tensor, after: Tensor, allowed: Tensor | None, generator: torch.Generator) -> None:
        with torch.no_grad():  # drawn from its own seed, as torch.nn.Linear draws
            for parameter, inputs in _fan_in(self.network_):
                parameter.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
        optimiser = torch.optim.AdamW(self.network_.parameters(), self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        target = self.moves_(after - seen)
        for _ in range(self.steps):
            rows = torch.randint(len(seen), (min(self.batch, len(seen)),), generator=generator)
            told = done[rows] if allowed is None else blurred(done[rows], allowed, generator)
            x = self.inputs_(torch.cat([seen[rows], told.flatten(1)], 1))
            optimiser.zero_grad()
            nn.functional.mse_loss(self.network_(x), target[rows]).backward()
            optimiser.step()
            schedule.step()
        self.network_.requires_grad_(False)


@dataclass
class _Scale:
    """Columns in standard deviations from their means; one that never varied is only moved."""

    mean: Tensor  # [d]
    deviation: Tensor  # [d]

    @classmethod
    def of(cls, rows: Tensor) -> Self:
        deviation = rows.std(0, correction=0)
        return cls(rows.mean(0), torch.where(deviation > 1e-6, deviation, 1.0))

    def __call__(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.deviation

    def back(self, rows: Tensor) -> Tensor:
        return rows * self.deviation + self.mean


def _columns(array: Any) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32).reshape(len(array), -1))


def _fan_in(network: nn.Sequential) -> list[tuple[Tensor, int]]:
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [(parameter, layer.in_features) for layer in layers for parameter in (layer.weight, layer.bias)]


def blurred(weights: Tensor, allowed: Tensor, generator: torch.Generator) -> Tensor:
    """Choices [M, ..., n] of which a part of the weight, drawn for each row, has gone to others at random."""
    others = torch.rand(weights.shape, generator=generator) * allowed
    share = BLUR * torch.rand((len(weights), *[1] * (weights.dim() - 1)), generator=generator)
    return (1 - share) * weights + share * others / others.sum(-1, keepdim=True)
