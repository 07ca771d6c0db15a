"""What makes a classifier say the same of behaviour that means the same, and mean it through and through.

Invariance: what it says of a stretch may not differ from what it says of the stretch changed in ways that don't matter. The
square of the difference is added to the loss, `alpha` times (Wu et al. 2025, "reWordBench: benchmarking and improving the
robustness of reward models with transformed inputs", arXiv:2503.11751, with alpha 10).

Latent adversarial training: it learns from its own activations as somebody would have them who wants it to be wrong, moved
within a ball around what they are. No input need exist that moves them so, which is why failures that nobody foresaw may be
covered, too (Casper et al. 2024, "Defending against unforeseen failure modes with latent adversarial training",
arXiv:2403.05030). The ball is that of the 2-norm around each step's activations, each measured in its standard deviation:
`epsilon` is the root mean square of those moves, so that it means the same for any width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..envs.batch import Array
from ..envs.core import ProxygapError, Segments
from .networks import Ensemble, Examples, Loss, Network, learning_losses

PACE = (
    2.5  # moves of an attack add up to so many radii: it may reach the rim from any side (Madry et al. 2018, arXiv:1706.06083)
)
Transform = Callable[[Segments], Segments]  # of stretches, row by row, that leaves alone what they mean
Verdict = Callable[[Tensor, Tensor], Tensor]  # rewards [K, B, S, T], valid [B, S, T] -> what is said of each example, [K, B]


@dataclass
class Robust:
    """An objective of `networks.Training`: the loss at the worst shift within `epsilon`, and differences that mean nothing."""

    verdict: Verdict
    alike: Sequence[Examples] = ()  # the examples as each transform makes them
    alpha: float = 10.0  # of squared differences
    epsilon: float = 0.0  # standard deviations; 0 for no shift
    steps: int = 8  # of the attack on the activations
    seed: int = 0

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)

    def __call__(self, network: Network, examples: Examples, rows: Tensor, loss: Loss) -> Tensor:
        """What is to be lowered of rows [B] of the examples, [K, B]."""
        if self.epsilon:
            losses = _shifted_losses(network, examples, rows, loss, self.worst(network, examples, rows, loss))
        else:
            losses = learning_losses(network, examples, rows, loss)
        return losses + self.alpha * self._differences(network, examples, rows) if self.alike else losses

    def worst(self, network: Network, examples: Examples, rows: Tensor, loss: Loss) -> Tensor:
        """The shift [K, B * S * T, hidden] that an attack of `steps` steps finds to raise the loss most, within the ball."""
        x, valid = examples.x[rows].flatten(0, 2), examples.valid[rows].flatten() > 0
        with torch.no_grad():
            unit = _layered(network).activations(x[valid]).std(1, correction=0, keepdim=True)  # [K, 1, hidden]
        radius = self.epsilon * unit.shape[2] ** 0.5
        moved = torch.zeros(unit.shape[0], len(x), unit.shape[2])
        for _ in range(self.steps):
            moved.requires_grad_()
            losses = _shifted_losses(network, examples, rows, loss, moved * unit)
            (gradient,) = torch.autograd.grad(losses.sum(), moved)
            moved = moved.detach() + PACE / self.steps * radius * gradient / gradient.norm(dim=2, keepdim=True).clamp(min=1e-12)
            moved *= (radius / moved.norm(dim=2, keepdim=True)).clamp(max=1.0)
        return moved * unit

    def _differences(self, network: Network, examples: Examples, rows: Tensor) -> Tensor:
        """The squared difference of the verdicts on each example and on what a transform drawn for it makes of it, [K, B]."""
        drawn, each = torch.randint(len(self.alike), (len(rows),), generator=self._generator), torch.arange(len(rows))
        x, valid = (torch.stack([getattr(made, part)[rows] for made in self.alike])[drawn, each] for part in ("x", "valid"))
        return (self._said(network, examples.x[rows], examples.valid[rows]) - self._said(network, x, valid)) ** 2

    def _said(self, network: Network, x: Tensor, valid: Tensor) -> Tensor:
        return self.verdict(network(x.flatten(0, 2)).view(-1, *valid.shape), valid)


def _shifted_losses(network: Network, examples: Examples, rows: Tensor, loss: Loss, shift: Tensor) -> Tensor:
    """The losses [K, B] with activations moved by `shift` [K, B * S * T, hidden]."""
    valid = examples.valid[rows]
    rewards = _layered(network).outputs(examples.x[rows].flatten(0, 2), shift)
    return loss(rewards.view(-1, *valid.shape), valid, examples.target[rows])


def _layered(network: Network) -> Ensemble:
    if not isinstance(network, Ensemble):
        raise ProxygapError("a model with a bottleneck has no hidden layer to reach into: set latent to 0, and fit again")
    return network


def transformed(transform: Transform, segments: Segments, bad: Array) -> Segments:
    """What a transform makes of N stretches, of which `bad` [N] hold a catastrophe that it may not lose.

    Transforms that may lose one say so by an attribute `loses`. Raises ProxygapError where rows or steps don't stay as many.
    """
    made = transform(segments)
    if made.valid.shape != segments.valid.shape:
        raise ProxygapError(f"a transform made {made.valid.shape} of {segments.valid.shape} stretches and steps: keep them")
    if getattr(transform, "loses", False):
        made[bad] = segments[bad]
    return made


@dataclass(frozen=True)
class Noise:
    """Observations read by a sensor that is off by up to `size` (a number, or one a column), every time anew."""

    size: float | Sequence[float]
    seed: int = 0

    def __call__(self, segments: Segments) -> Segments:
        if (kind := segments.observation.dtype).kind != "f":
            raise ProxygapError(f"noise on observations of {kind}: only floating-point numbers can be read a little off")
        off = np.random.default_rng(self.seed).uniform(-1, 1, _readings(segments)) * np.asarray(self.size)
        return _reread(segments, lambda seen, now: seen + off[:, now])


@dataclass(frozen=True)
class Resampled:
    """Columns of the observation that don't matter, drawn anew at every step from all that they have been."""

    columns: Sequence[int]
    seed: int = 0

    def __call__(self, segments: Segments) -> Segments:
        pool, columns, shape = segments.observation[segments.valid], list(self.columns), segments.observation.shape[2:]
        if len(shape) != 1 or not set(range(*shape)) >= set(columns) or not columns:
            raise ProxygapError(f"columns {columns} of observations of shape {shape}: give some that a vector has, from 0")
        rows, steps = _readings(segments)[:2]
        drawn = pool[np.random.default_rng(self.seed).integers(len(pool), size=(rows, steps))]

        def replaced(seen: Array, now: slice) -> Array:
            seen = seen.copy()
            seen[..., columns] = drawn[:, now][..., columns]
            return seen

        return _reread(segments, replaced)


@dataclass(frozen=True)
class Dropped:
    """Stretches that begin some steps later; those with no more steps than that stay as they are."""

    steps: int
    loses: ClassVar[bool] = True

    def __call__(self, segments: Segments) -> Segments:
        if self.steps < 0:
            raise ProxygapError(f"{self.steps} steps to drop: a whole number from 0 is needed")
        arrays, long = segments.arrays(), segments.valid.sum(1) > self.steps
        later = {name: self._later(array) for name, array in arrays.items() if array.ndim > 1}
        found = segments.copy()
        found[long] = replace(segments, **later, start=segments.start + self.steps)[long]
        return found

    def _later(self, array: Array) -> Array:
        rest = array[:, self.steps :]
        return np.pad(rest, [(0, 0), (0, array.shape[1] - rest.shape[1]), *[(0, 0)] * (array.ndim - 2)])


def _readings(segments: Segments) -> tuple[int, ...]:
    """Observations that were made, [N, T + 1, *observation]: what is seen after a step is what is seen before the next."""
    rows, steps, *shape = segments.observation.shape
    return rows, steps + 1, *shape


def _reread(segments: Segments, read: Callable[[Array, slice], Array]) -> Segments:
    """The stretches with what `read` makes of their observations, given which of the T + 1 readings they are."""
    valid = segments.valid.reshape(*segments.valid.shape, *[1] * (segments.observation.ndim - 2))
    steps = segments.valid.shape[1]
    now, then = (
        np.where(valid, read(seen, which), seen).astype(seen.dtype)
        for seen, which in ((segments.observation, slice(0, steps)), (segments.next_observation, slice(1, steps + 1)))
    )
    return replace(segments, observation=now, next_observation=then)
