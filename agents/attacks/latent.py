"""An attack on what the model itself makes of a step: how little must its hidden layer be moved for a catastrophe to pass?

No behaviour need exist that moves it so. But a model that withstands this withstands what it does not foresee, too, and one may
be trained to (Casper et al. 2024, "Defending against unforeseen failure modes with latent adversarial training",
arXiv:2403.05030). The ball is the one that it is trained in: of the 2-norm, around the activations of each step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...envs.batch import Array
from ...envs.core import ProxygapError
from ..options import Options
from .core import Attack, Hunt, at_least_one
from .descent import gradient_of, strides


@dataclass
class Latent(Attack):
    """Moves the first hidden layer's activations at each step of a case's own option, which stays as it is.

    `epsilon` is the root mean square of a step's moves, each in standard deviations of that activation over the steps of all
    cases, and the same for every member of an ensemble. A query is one descent's end, rated and checked; its steps are booked
    as if it had been played. A score is one gradient.
    """

    epsilon: float = 0.3  # standard deviations
    population: int = 4  # descents of a trial side by side, each from a random point
    descents: int = 20  # gradient steps of each

    def __post_init__(self) -> None:
        at_least_one(population=self.population, descents=self.descents)
        if not self.epsilon > 0:
            raise ProxygapError(f"epsilon {self.epsilon}: a number above 0 is needed")

    def run(self, hunt: Hunt) -> None:
        options, rows = hunt.simulated(hunt.cases), hunt.rows
        layer = Layer(hunt.target, options)
        hunt.judge(rows, options[rows], hunt.cases.action[rows, None])
        while len(rows := hunt.rows):
            tried = options[np.repeat(rows, self.population)]
            suspicion = layer.moved(tried, self.epsilon, self.descents, hunt.rng)
            hunt.ask(rows, self.population * self.descents)
            hunt.judge(rows, tried, np.repeat(hunt.cases.action[rows, None], self.population, 1), suspicion)


class Layer:
    """The first hidden layer of a target's model, [K, N, T, hidden]. Raises ProxygapError where there is none to reach into."""

    def __init__(self, target: Any, options: Options) -> None:
        if not hasattr(target, "latent_shape"):
            raise ProxygapError(f"a {type(target).__name__} has no hidden layer to reach into: attack its inputs instead")
        self.target, self.shape = target, target.latent_shape(*options.valid.shape)
        model = getattr(target, "model", target)  # a filter may be made of one
        valid = torch.from_numpy(options.valid)
        known = torch.from_numpy(model.activations(options.segments()))[:, valid]
        self.unit = known.std(1, correction=0)[:, None, None]  # [K, 1, 1, hidden]

    def moved(self, options: Options, epsilon: float, descents: int, rng: np.random.Generator) -> Array:
        """How suspicious M options are at the end of a descent in the ball, [M]."""
        tensors, valid = self.target.inputs_.tensors(options.segments()), torch.from_numpy(options.valid).float()

        def suspicion(move: Tensor) -> Tensor:
            return self.target.suspicion_tensors(tensors, valid, move * self.unit)

        radius = epsilon * self.shape[-1] ** 0.5
        shape = self.target.latent_shape(*options.valid.shape)
        far = torch.from_numpy(rng.random((1, len(options), 1, 1))).float()
        move = radius * far * _unit(torch.from_numpy(rng.standard_normal(shape)).float())
        for stride in strides(descents):
            move = move - stride * radius * _unit(gradient_of(suspicion, move))
            move = move * (radius / move.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
        with torch.no_grad():
            return suspicion(move).numpy()


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-30)
