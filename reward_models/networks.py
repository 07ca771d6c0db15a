"""Reward networks: K small networks that are stored, trained and asked as one.

All members learn from the same batches, so that inputs are gathered once and enter all first layers in one product. The other
layers go member by member: measured on one core, that was as fast as batched products for few rows and up to twice as fast for
many, since what a member computes then stays in the cache. No member depends on another: each is what it would be alone.
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
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # rewards [K, B, S, T], valid [B, S, T], target [B] -> [K, B]
Objective = Callable[["Network", "Examples", Tensor, Loss], Tensor]  # of rows [B] of examples -> what to lower, [K, B]


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
    """K multi-layer perceptrons with rectified hidden layers."""

    sizes: Sequence[int]  # from the inputs to the outputs
    flat: Tensor  # [K, all weights of a member]: one tensor, so that an optimiser's step costs little
    used: Sequence[Tensor] = ()  # of each layer [K, inputs] 1 where a member uses what enters it, else 0; (): all use all

    @classmethod
    def fresh(cls, sizes: Sequence[int], seeds: Sequence[int], seen: float = 1.0, narrowest: float = 1.0) -> Self:
        """Members drawn as `torch.nn.Linear` draws its weights, each by its own seed.

        `seen` is the share of inputs that a member is shown (at least one); which ones is drawn for each. `narrowest` is the
        share of hidden units that the first member has (at least one); the last has all, and between them ratios are equal.
        """
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        layers = [
            (2 * torch.stack([torch.rand(inputs + 1, outputs, generator=member) for member in generators]) - 1) / inputs**0.5
            for inputs, outputs in pairwise(sizes)
        ]
        used = []
        if seen < 1 or narrowest < 1:
            order = torch.stack([torch.randperm(sizes[0], generator=member) for member in generators])
            used = [(order < max(1, round(seen * sizes[0]))).float()]
            for hidden in sizes[1:-1]:
                widths = (hidden * torch.logspace(np.log10(narrowest), 0, len(seeds))).round().clamp(min=1)
                used.append((torch.arange(hidden) < widths[:, None]).float())
            for layer, mask in zip(layers, used, strict=True):
                layer[:, :-1] *= mask[..., None]  # and so they stay: a trained network needs no mask
        return cls(sizes, torch.cat([layer.flatten(1) for layer in layers], 1).requires_grad_(), used)

    @property
    def members(self) -> int:
        """K."""
        return len(self.flat)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights [K, inputs, outputs] and biases [K, 1, outputs] of each layer, as views."""
        parts = self.flat.split([(inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes)], 1)
        shaped = [part.view(len(part), -1, outputs) for part, outputs in zip(parts, self.sizes[1:], strict=True)]
        layers = [layer.split([layer.shape[1] - 1, 1], 1) for layer in shaped]
        if self.used:
            return [(weight * mask[..., None], bias) for (weight, bias), mask in zip(layers, self.used, strict=True)]
        return layers  # pyright: ignore[reportReturnType]

    def __call__(self, x: Tensor) -> Tensor:
        """What each member says of rows [M, d], the same for all, or [K, M, d], its own: [K, M]."""
        return self.outputs(x).squeeze(-1)

    def learn(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same while learning, and what that costs beside: nothing."""
        return self(x), None

    def outputs(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """All outputs of each member, [K, M, outputs]; `shift` [K, M, hidden] is added to what its first hidden layer says."""
        first, others = self._first(x)
        if shift is not None:
            first = [rows + moved for rows, moved in zip(first, shift.unbind(0), strict=True)]
        layers = [(weight.unbind(0), bias.flatten(1).unbind(0)) for weight, bias in others]
        found = []
        for k, rows in enumerate(first):
            for i, (weight, bias) in enumerate(layers):
                rows = torch.addmm(bias[k], rows if i == 0 else rows.relu_(), weight[k])
            found.append(rows)
        return torch.stack(found)

    def activations(self, x: Tensor) -> Tensor:
        """What the first hidden layer of each member says, [K, M, hidden]."""
        return torch.stack(self._first(x)[0])

    def _first(self, x: Tensor) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """The first layer's outputs of each member [M, hidden], rectified if others follow, and those others."""
        (weight, bias), *others = self.layers()
        if x.dim() == 2:
            first = torch.addmm(bias.flatten(), x, weight.transpose(0, 1).flatten(1))
            first = (first.relu_() if others else first).view(len(x), *weight.shape[::2]).unbind(1)
        else:
            first = torch.baddbmm(bias, x, weight)
            first = (first.relu_() if others else first).unbind(0)
        return list(first), others

    def parameters(self) -> list[Tensor]:
        """All that is learned, the members along the first axis."""
        return [self.flat]

    def with_parameters(self, parameters: Sequence[Tensor]) -> Self:
        """A network of this form with copies of `parameters` as its weights."""
        return type(self)(self.sizes, parameters[0].detach().clone().requires_grad_())


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
    """How networks are trained: on the same batches, each member keeping the weights that did best on what is held out."""

    steps: int = 3000  # at most
    patience: int = 500  # steps without any gain on what is held out, after which a member has done
    batch: int = 24
    learning_rate: float = 1e-3
    decay: float = 0.01  # AdamW's weight decay
    objective: Objective | None = None  # what is lowered; None: `learning_losses`

    def __call__(
        self,
        network: Network,
        examples: Examples,
        held: Examples,
        loss: Loss,
        rng: np.random.Generator,
        weights: Tensor | None = None,
        held_weights: Tensor | None = None,
    ) -> list[float]:
        """Trains `network` in place; returns the held-out loss, the members' mean, after every 50 steps (none without such).

        `rng` orders the examples; `weights` [K, N] say how much each is worth to each member, `held_weights` [M] those that are
        held out. Whatever the objective, what is held out is judged by the loss. Raises ProxygapError if learning diverges.
        """
        optimiser = torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.decay, fused=True)
        best, batches = Best(network, self.patience), endless(len(examples), self.batch, rng)
        objective = self.objective or learning_losses
        for step in range(1, self.steps + 1):
            rows = torch.from_numpy(next(batches))
            losses = objective(network, examples, rows, loss)
            weighted = losses if weights is None else losses * weights[:, rows]
            optimiser.zero_grad()
            weighted.mean(1).sum().backward()
            optimiser.step()
            if step % CHECK and step < self.steps:
                continue
            if not torch.isfinite(losses).all():
                raise ProxygapError(f"learning diverged after {step} steps: lower learning_rate, which is {self.learning_rate}")
            if len(held) and best.done(held_losses(network, held, loss, held_weights)):
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


def endless(number: int, batch: int, rng: np.random.Generator) -> Iterator[Array]:
    """Batches of rows, round after round in another order; what does not fill a batch is left out of that round."""
    batch = min(batch, number)
    while True:
        yield from rng.permutation(number)[: number // batch * batch].reshape(-1, batch)


def bootstrapped(number: int, seeds: Sequence[int]) -> Tensor:
    """How often each member has an example if it draws `number` of them with replacement, [K, number] (Efron 1979)."""
    drawn = [np.bincount(np.random.default_rng(seed).integers(number, size=number), minlength=number) for seed in seeds]
    return torch.from_numpy(np.stack(drawn)).float()


def learning_losses(network: Network, examples: Examples, rows: Tensor, loss: Loss) -> Tensor:
    """The losses [K, B] of each member on rows [B] of the examples, with what the network itself costs."""
    sides, steps, width = examples.x.shape[1:]
    x = examples.x.flatten(1).index_select(0, rows).view(-1, width)  # twice as fast as indexing
    valid = examples.valid[rows]
    rewards, cost = network.learn(x)
    losses = loss(rewards.view(-1, len(rows), sides, steps), valid, examples.target[rows])
    return losses if cost is None else losses + (cost.view(-1, *valid.shape) * valid).sum((2, 3)) / valid.sum((1, 2))


@torch.no_grad()
def held_losses(network: Network, held: Examples, loss: Loss, weights: Tensor | None = None) -> Tensor:
    """The mean loss of each member on examples that it does not learn from, times their `weights` [M] if any, [K]."""
    rewards = network(held.x.flatten(0, 2)).view(-1, *held.valid.shape)
    losses = loss(rewards, held.valid, held.target)
    return (losses if weights is None else losses * weights).mean(1)
