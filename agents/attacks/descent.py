"""Descent by gradients inside a ball of the largest norm, from a random point of it: projected gradient descent.

Madry, Makelov, Schmidt, Tsipras and Vladu 2018, "Towards deep learning models resistant to adversarial attacks"
(arXiv:1706.06083), section 2.1.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...envs.batch import Array

REACH = 2.5  # radii that all steps would lead together: from any point of the ball to any other


def descend(
    rng: np.random.Generator,
    direction: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
    steps: int,
    way: Tensor | None = None,
) -> Tensor:
    """Where `steps` steps lead against a direction in [-1, 1], within walls of the same shape; `way` 1 for down, -1 for up."""
    radius = (high - low) / 2
    places = low + 2 * radius * torch.from_numpy(rng.random(low.shape)).float()
    reach = radius if way is None else radius * way
    for stride in strides(steps):
        places = torch.clamp(places - stride * reach * direction(places), low, high)
    return places


def strides(steps: int) -> list[float]:
    """How many radii each of so many steps leads: less and less, so that a valley between the walls is not overstepped."""
    return [2.0 * REACH * left / (steps * (steps + 1)) for left in range(steps, 0, -1)]


def like(values: Array | Tensor, tensor: Tensor) -> Tensor:
    """Values of the first axes of a tensor, spread over the others."""
    values = torch.as_tensor(values, dtype=torch.float32)
    return values.view(*values.shape, *[1] * (tensor.dim() - values.dim()))


def gradient_of(function: Callable[[Tensor], Tensor], places: Tensor) -> Tensor:
    """How the sum of a function's values rises with its argument; 0 where that can't be told."""
    places = places.detach().requires_grad_()
    (found,) = torch.autograd.grad(function(places).sum(), places)
    return torch.nan_to_num(found, posinf=0.0, neginf=0.0)
