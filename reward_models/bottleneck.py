"""A reward network that may tell itself only a little of what it sees: the information bottleneck of InfoRM.

Each step becomes a point z of few dimensions, drawn from a Gaussian whose mean and variance a network chooses; the reward is
linear in z. What z tells of the step costs `beta` a nat, so that what does not help to tell good from bad is left out. Miao et
al. (2024), "InfoRM: mitigating reward hacking in RLHF via information-theoretic reward modeling", arXiv:2402.09345. The
divergence to the standard Gaussian is the sum over the dimensions of z: averaging them first hardly limits any single one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from .networks import Ensemble


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of Gaussians [..., L] to the standard one, summed over their dimensions, nats, [...] (Kingma and Welling 2014, B)."""
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1) / 2


@dataclass
class Bottleneck:
    """K networks of two parts, which are asked like an `Ensemble`: `body` sees a step, `head` sees z alone."""

    body: Ensemble  # with 2 L outputs: mean and log variance of z
    head: Ensemble
    beta: float  # of the loss, a nat
    generator: torch.Generator  # of the noise while learning

    @classmethod
    def fresh(
        cls,
        sizes: Sequence[int],
        latent: int,
        beta: float,
        seeds: Sequence[int],
        seen: float = 1.0,
        narrowest: float = 1.0,
    ) -> Self:
        """Networks of z with `latent` dimensions; other arguments as of `Ensemble.fresh`."""
        body = Ensemble.fresh((*sizes[:-1], 2 * latent), seeds, seen, narrowest)
        head = Ensemble.fresh((latent, sizes[-1]), [seed + 1 for seed in seeds])
        return cls(body, head, beta, torch.Generator().manual_seed(int(seeds[0])))

    @property
    def members(self) -> int:
        """K."""
        return self.body.members

    def encoded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of z, each [K, M, L]."""
        mean, log_variance = self.body.outputs(x).chunk(2, -1)
        return mean, log_variance

    def __call__(self, x: Tensor) -> Tensor:
        """The reward at the mean of z for rows [M, d] or [K, M, d]: [K, M]."""
        return self.head(self.encoded(x)[0])

    def learn(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The reward at a z that is drawn, and what its information costs, both [K, M]."""
        mean, log_variance = self.encoded(x)
        noise = torch.randn(mean.shape, generator=self.generator)
        return self.head(mean + (log_variance / 2).exp() * noise), self.beta * divergence(mean, log_variance)

    def parameters(self) -> list[Tensor]:
        """All that is learned, the members along the first axis."""
        return self.body.parameters() + self.head.parameters()

    def with_parameters(self, parameters: Sequence[Tensor]) -> Self:
        """A network of this form with copies of `parameters` as its weights."""
        body = len(self.body.parameters())
        return type(self)(
            self.body.with_parameters(parameters[:body]),
            self.head.with_parameters(parameters[body:]),
            self.beta,
            self.generator,
        )
