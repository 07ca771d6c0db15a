"""What a reward network is shown of a step: any of the fields of `Observed`, as one row of numbers.

Choices (a discrete action, and the cells of a board where asked) become a column for each number that was seen while learning;
one that was never seen is all zeros. Everything else is brought to mean 0 and standard deviation 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ..envs.batch import Array
from ..envs.core import Observed, ProxygapError

FIELDS = ("observation", "action", "next_observation", "terminated")
LARGEST = 1024  # numbers that a choice may have


@dataclass
class Normaliser:
    """Running mean and variance of columns, in double precision.

    Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance".
    """

    mean: Tensor  # [d]
    squares: Tensor  # [d] sum of squared distances to the mean
    count: Tensor  # [] rows

    @classmethod
    def fresh(cls, width: int) -> Self:
        """Before any row was seen."""
        mean, squares = torch.zeros(2, width, dtype=torch.float64)
        return cls(mean, squares, torch.zeros((), dtype=torch.float64))

    def update(self, rows: Tensor) -> None:
        """Takes rows [M, d] in; however they are divided over calls, the result is that of all at once."""
        rows = rows.double()
        mean, count = rows.mean(0), self.count + len(rows)
        apart = mean - self.mean
        self.squares = self.squares + ((rows - mean) ** 2).sum(0) + apart**2 * self.count * len(rows) / count
        self.mean, self.count = self.mean + apart * len(rows) / count, count

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows [..., d], each column as deviations from its mean; a column that never varied is only moved, not stretched."""
        deviation = (self.squares / self.count).sqrt()
        deviation = torch.where(deviation > 1e-6 * (1 + self.mean.abs()), deviation, 1.0)
        return (rows - self.mean.to(rows.dtype)) / deviation.to(rows.dtype)


@dataclass
class Inputs:
    """Turns steps into rows [..., width], in the order of `shapes`."""

    shapes: dict[str, tuple[int, ...]]  # of each field shown, for one step
    levels: dict[str, Tensor]  # [n] of fields that are choices: the numbers that were seen
    normalisers: dict[str, Normaliser]  # of all other fields

    @classmethod
    def of(cls, observed: Observed, valid: Array, names: Sequence[str], one_hot: bool = False) -> Self:
        """Inputs as they are in steps [..., *shape] where `valid` [...]. `one_hot`: observations are choices, as on boards.

        Raises ProxygapError for unknown names, numbers that are not finite, and a choice among too many numbers.
        """
        if not names or set(names) - set(FIELDS):
            raise ProxygapError(f"inputs {names!r}: allowed are tuples of {', '.join(FIELDS)}")
        arrays = {name: np.asarray(getattr(observed, name)) for name in names}
        shapes = {name: array.shape[valid.ndim :] for name, array in arrays.items()}
        found = cls(shapes, {}, {})
        for name, array in arrays.items():
            _check_finite(name, array)
            if _is_choice(name, array, shapes[name], one_hot):
                found.levels[name] = _levels(name, array[valid])
            else:
                found.normalisers[name] = Normaliser.fresh(math.prod(shapes[name]))
                found.normalisers[name].update(_flat(torch.from_numpy(array[valid].astype(np.float32)), len(shapes[name])))
        return found

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return sum(math.prod(shape) * len(self.levels.get(name, "1")) for name, shape in self.shapes.items())

    def tensors(self, observed: Observed) -> dict[str, Tensor]:
        """The fields shown, ready for `__call__`. Raises ProxygapError for other shapes, and numbers that are not finite."""
        found, leading = {}, None
        for name, shape in self.shapes.items():
            array = np.asarray(getattr(observed, name))
            lead = array.shape[: array.ndim - len(shape)]
            if array.shape[len(lead) :] != shape or leading not in (None, lead):
                raise ProxygapError(f"{name} of shape {array.shape}: the model was fitted to {shape} a step, of other worlds?")
            leading = lead
            _check_finite(name, array)
            found[name] = torch.as_tensor(array.astype(np.float32))
            if (levels := self.levels.get(name)) is not None:
                found[name] = torch.as_tensor(_chosen(array, levels))
        return found

    def __call__(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Rows [..., width] of fields [..., *shape]; gradients flow back to them.

        A choice may also be given by floating-point weights of its numbers, [..., *shape, n]: what gradients can search.
        """
        columns = []
        for name, shape in self.shapes.items():
            field, levels = tensors[name], self.levels.get(name)
            if levels is None:
                columns.append(self.normalisers[name](_flat(field, len(shape))))
            elif field.is_floating_point() and not levels.is_floating_point():
                columns.append(_flat(field, len(shape) + 1))
            else:
                columns.append(_flat((field[..., None] == levels).float(), len(shape) + 1))
        return torch.cat(columns, -1)

    def arrays(self) -> dict[str, Tensor]:
        """All that was learned, by name."""
        found = {f"levels.{name}": levels for name, levels in self.levels.items()}
        for name, normaliser in self.normalisers.items():
            found |= {f"normalisers.{name}.{part}": tensor for part, tensor in vars(normaliser).items()}
        return found

    @classmethod
    def filled(cls, shapes: Mapping[str, Sequence[int]], arrays: Mapping[str, Tensor]) -> Self:
        """The inverse of `arrays`. Raises KeyError where one is missing."""
        levels = {name: arrays[f"levels.{name}"] for name in shapes if f"levels.{name}" in arrays}
        parts = ("mean", "squares", "count")
        normalisers = {
            name: Normaliser(*(arrays[f"normalisers.{name}.{part}"] for part in parts)) for name in shapes if name not in levels
        }
        return cls({name: tuple(shape) for name, shape in shapes.items()}, levels, normalisers)


def _is_choice(name: str, array: Array, shape: tuple[int, ...], one_hot: bool) -> bool:
    """Whole numbers are a choice in an action, and where they are all that is seen; on boards only if one says so."""
    whole = array.dtype.kind in "iu" and (name == "action" or shape == ())
    return whole or (one_hot and name.endswith("observation"))


def _levels(name: str, values: Array) -> Tensor:
    levels = np.unique(values)
    if len(levels) > LARGEST:
        raise ProxygapError(f"{name} takes {len(levels)} different values, too many for a column each: don't ask for one_hot")
    return torch.as_tensor(levels.astype(np.int64) if (levels % 1 == 0).all() else levels)  # whole, so that weights are not


def _chosen(array: Array, levels: Tensor) -> Array:
    """The array in the kind of the levels; what is no whole number where all of them are is none of them."""
    if levels.is_floating_point():
        return array.astype(levels.numpy().dtype)
    return np.where(array % 1 == 0, array, levels[0] - 1).astype(np.int64)


def _flat(field: Tensor, inner: int) -> Tensor:
    """[..., *inner axes] as [..., d]."""
    return field.flatten(-inner) if inner else field[..., None]


def _check_finite(name: str, array: Any) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise ProxygapError(f"{name} is not finite ({array[row]}) at {list(row)}: mend the environment, or leave that out")
