"""Reward networks: K small networks that are stored, trained and asked as one.

The members' weights stand in one tensor a layer, so that one optimiser moves all of them at once. The layers themselves go
member by member: measured on one core, that was as fast as a batched product for few rows and up to twice as fast for many,
since a member's activations then stay in the cache. No member's result depends on another: each is what it would be alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..envs.batch import Array
from ..envs.core import ProxygapError

AnyNetwork = TypeVar("AnyNetwork", bound="Network")
CHECK = 50  # steps between two looks at what is held out
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # rewards [K, B, S, T], valid [K, B, S, T], target [K, B] -> [K, B]


class Network(Protocol):
    """K members that are trained and asked as one: an `Ensemble`, or a `Bottleneck`."""

    @property
    def members(self) -> int: ...

    def __call__(self, x: Tensor) -> Tensor: ...

    def learn(self, x: Tensor) -> tuple[Tensor, Tensor | None]: ...

    def parameters(self) -> list[Tensor]: ...

    def with_parameters(self, parameters: Sequence[Tensor]) -> Self: ...


@dataclass
class Ensemble:
    """K multi-layer perceptrons with rectified hidden layers and one output."""

    weights: list[Tensor]  # of each layer [K, inputs, outputs]
    biases: list[Tensor]  # of each layer [K, outputs]
    shown: Tensor | None = None  # [K, inputs] 1 where a member learns from an input, 0 where it is blind; None: all see all

    @classmethod
    def fresh(cls, sizes: Sequence[int], seeds: Sequence[int], seen: float = 1.0) -> Self:
        """Members drawn as `torch.nn.Linear` draws its weights, each by its own seed; `sizes` from the inputs to the output.

        `seen` is the share of inputs that a member is shown (at least one); which ones is drawn for each.
        """
        weights, biases = [], []
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        for inputs, outputs in pairwise(sizes):
            drawn = torch.stack([torch.rand(inputs + 1, outputs, generator=generator) for generator in generators])
            drawn = (2 * drawn - 1) / inputs**0.5
            weights.append(drawn[:, :-1].clone())
            biases.append(drawn[:, -1].clone())
        if seen == 1:
            return cls(_learnable(weights), _learnable(biases))
        order = torch.stack([torch.randperm(sizes[0], generator=generator) for generator in generators])
        shown = (order < max(1, round(seen * sizes[0]))).float()
        weights[0] *= shown[..., None]  # and so they stay: a trained network needs no mask
        return cls(_learnable(weights), _learnable(biases), shown)

    @property
    def members(self) -> int:
        """K."""
        return len(self.weights[0])

    def __call__(self, x: Tensor) -> Tensor:
        """What each member says of rows [M, d], the same for all, or [K, M, d], its own: [K, M]."""
        return self.outputs(x).squeeze(-1)

    def learn(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same while learning, and what that costs beside: nothing."""
        return self(x), None

    def outputs(self, x: Tensor) -> Tensor:
        """All outputs of each member, [K, M, outputs]."""
        weights = [*self.weights]
        if self.shown is not None:
            weights[0] = weights[0] * self.shown[..., None]
        layers = [(weight.unbind(0), bias.unbind(0)) for weight, bias in zip(weights, self.biases, strict=True)]
        found = []
        for k in range(self.members):
            rows = x if x.dim() == 2 else x[k]
            for weight, bias in layers[:-1]:
                rows = torch.addmm(bias[k], rows, weight[k]).relu_()
            found.append(torch.addmm(layers[-1][1][k], rows, layers[-1][0][k]))
        return torch.stack(found)

    def parameters(self) -> list[Tensor]:
        """All that is learned, the members along the first axis."""
        return self.weights + self.biases

    def with_parameters(self, parameters: Sequence[Tensor]) -> Self:
        """A network of this form with copies of `parameters` as its weights."""
        layers = len(self.weights)
        return type(self)(_learnable(parameters[:layers]), _learnable(parameters[layers:]))


def _learnable(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def repeated(network: AnyNetwork, members: int) -> AnyNetwork:
    """`members` copies of a network of one, to be trained apart from there."""
    return network.with_parameters([tensor.repeat(members, *[1] * (tensor.dim() - 1)) for tensor in network.parameters()])


def averaged(network: AnyNetwork) -> AnyNetwork:
    """One network whose weights are the members' average (WARM: Rame et al. 2024, arXiv:2401.12187).

    That makes sense for members which set out from one trained network only: those of different beginnings have nothing to
    do with each other neuron by neuron, and their average is no better than a network that was never trained.
    """
    return network.with_parameters([tensor.mean(0, keepdim=True) for tensor in network.parameters()])


@dataclass(frozen=True)
class Examples:
    """N examples of S sides (two in a comparison) of T steps."""

    x: Tensor  # [N, S, T, d]
    valid: Tensor  # [N, S, T] 1 or 0
    target: Tensor  # [N]

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: Array) -> "Examples":
        index = torch.from_numpy(rows)
        return Examples(self.x[index], self.valid[index], self.target[index])


@dataclass(frozen=True)
class Training:
    """How networks are trained: each member on batches of its own, keeping the weights that did best on what is held out."""

    steps: int = 3000  # at most
    patience: int = 500  # steps without any gain on what is held out, after which a member has done
    batch: int = 16
    learning_rate: float = 1e-3
    decay: float = 0.01  # AdamW's weight decay
    bootstrap: bool = False  # each member learns from examples drawn with replacement

    def __call__(self, network: Network, examples: Examples, held: Examples, loss: Loss, seeds: Sequence[int]) -> list[float]:
        """Trains `network` in place; returns the held-out loss, the members' mean, after every 50 steps (none without such).

        Raises ProxygapError if learning diverges.
        """
        optimiser = torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.decay, fused=True)
        orders = [endless(len(examples), self.batch, np.random.default_rng(seed), self.bootstrap) for seed in seeds]
        best = Best(network, self.patience)
        for step in range(1, self.steps + 1):
            losses = batch_losses(network, examples, np.stack([next(order) for order in orders]), loss)
            optimiser.zero_grad()
            losses.mean(1).sum().backward()
            optimiser.step()
            if step % CHECK and step < self.steps:
                continue
            if not torch.isfinite(losses).all():
                raise ProxygapError(f"learning diverged after {step} steps: lower learning_rate, which is {self.learning_rate}")
            if len(held) and best.done(held_losses(network, held, loss)):
                break
        best.restore()
        return best.history


class Best:
    """Each member's weights when it did best on what is held out, until it did not get better for `patience` steps."""

    def __init__(self, network: Network, patience: int) -> None:
        self.parameters, self.patience, self.history = network.parameters(), patience, []
        self.kept = [tensor.detach().clone() for tensor in self.parameters]
        self.lowest, self.since = torch.full((network.members,), torch.inf), torch.zeros(network.members)

    def done(self, losses: Tensor) -> bool:
        """Takes note of held-out losses [K], one look after the last, and says whether no member is still to be waited for."""
        better, self.since = (losses < self.lowest) & (self.since < self.patience), self.since + CHECK
        self.lowest, self.since[better] = torch.where(better, losses, self.lowest), 0
        for kept, now in zip(self.kept, self.parameters, strict=True):
            kept[better] = now.detach()[better]
        self.history.append(float(losses.mean()))
        return bool((self.since >= self.patience).all())

    @torch.no_grad()
    def restore(self) -> None:
        """Gives each member its best weights back, if it was ever looked at."""
        for kept, now in zip(self.kept, self.parameters, strict=True):
            if self.history:
                now.copy_(kept)


def endless(number: int, batch: int, rng: np.random.Generator, bootstrap: bool) -> Iterator[Array]:
    """Batches of rows, round after round in another order; what does not fill a batch is left out of that round."""
    rows, batch = rng.integers(number, size=number) if bootstrap else np.arange(number), min(batch, number)
    while True:
        order = rng.permutation(rows)
        yield from order[: number // batch * batch].reshape(-1, batch)


def batch_losses(network: Network, examples: Examples, rows: Array, loss: Loss) -> Tensor:
    """The losses [K, B] of each member on its own rows [K, B], with what the network itself costs."""
    index = torch.from_numpy(rows)
    sides, steps, width = examples.x.shape[1:]
    x = examples.x.flatten(1).index_select(0, index.flatten()).view(len(rows), -1, width)  # twice as fast as indexing
    shape = (*rows.shape, sides, steps)
    valid = examples.valid[index]
    rewards, cost = network.learn(x)
    losses = loss(rewards.view(shape), valid, examples.target[index])
    return losses if cost is None else losses + (cost.view(shape) * valid).sum((2, 3)) / valid.sum((2, 3))


@torch.no_grad()
def held_losses(network: Network, held: Examples, loss: Loss) -> Tensor:
    """The mean loss of each member on the same examples, [K]."""
    shape = (network.members, *held.valid.shape)
    rewards = network(held.x.flatten(0, 2)).view(shape)
    return loss(rewards, held.valid.expand(shape), held.target.expand(shape[:2])).mean(1)
