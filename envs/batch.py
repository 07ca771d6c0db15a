"""Records of arrays that share a leading batch axis, and random numbers with one stream per world.

A batch of worlds is indexed, assigned, copied and joined as one thing. Everything else in proxygap rests on this: an autoreset
is an assignment of rows, branching is indexing, a snapshot is a copy.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Size = int | tuple[int, ...] | None


class Batch:
    """Base of dataclasses whose fields are arrays `[B, ...]` or other batches; all are indexed by row, together."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[-1].name))  # pyright: ignore[reportArgumentType]

    def map(self, function: Callable[[Array], Array]) -> Self:
        """The same record with every array replaced by `function(array)`."""
        return type(self)(**{name: _map(value, function) for name, value in vars(self).items()})

    def __getitem__(self, rows: Any) -> Self:
        """The worlds `rows` (an index, a slice, a mask or indices), as a batch; one index gives a batch of one."""
        return self.map(lambda array: array[_several(rows)])

    def __setitem__(self, rows: Any, other: Self) -> None:
        for name, value in vars(self).items():
            value[_several(rows)] = getattr(other, name)

    def copy(self) -> Self:
        """A deep copy: nothing is shared with the original."""
        return self.map(np.copy)

    def row(self, i: int) -> Self:
        """World `i` without its batch axis: scalars where the batch has `[B]`."""
        return self.map(lambda array: array[i])

    @classmethod
    def stack(cls, rows: Sequence[Self]) -> Self:
        """The inverse of `row`: one batch of many single worlds."""
        return _combine(rows, np.stack)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """One batch of many batches."""
        return _combine(parts, np.concatenate)

    def arrays(self, prefix: str = "") -> dict[str, Array]:
        """Every array by its dotted name: what is stored of this record."""
        found: dict[str, Array] = {}
        for name, value in vars(self).items():
            found |= value.arrays(f"{prefix}{name}.") if isinstance(value, Batch) else {prefix + name: value}
        return found

    def filled(self, arrays: Mapping[str, Array], prefix: str = "") -> Self:
        """A record of this one's structure holding `arrays`, the inverse of `arrays()`. Raises KeyError if one is missing."""
        return type(self)(
            **{
                name: value.filled(arrays, f"{prefix}{name}.") if isinstance(value, Batch) else arrays[prefix + name].copy()
                for name, value in vars(self).items()
            }
        )

    def keys(self, without: Sequence[str] = ()) -> list[bytes]:
        """A hashable key for every row: equal exactly where all arrays (but those named in `without`) are."""
        columns = [
            np.ascontiguousarray(array).reshape(len(array), math.prod(array.shape[1:])).view(np.uint8)
            for name, array in self.arrays().items()
            if name not in without
        ]
        return [row.tobytes() for row in np.concatenate(columns, axis=1)]


def _several(rows: Any) -> Any:
    return [rows] if isinstance(rows, int | np.integer) else rows


def _map(value: Any, function: Callable[[Array], Array]) -> Any:
    return value.map(function) if isinstance(value, Batch) else function(value)


def _combine(parts: Sequence[Any], join: Callable[[list[Array]], Array]) -> Any:
    columns = {name: [getattr(part, name) for part in parts] for name in vars(parts[0])}
    return type(parts[0])(
        **{name: _combine(column, join) if isinstance(column[0], Batch) else join(column) for name, column in columns.items()}
    )


# SplitMix64: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", figure 17.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFT_30, SHIFT_27, SHIFT_31, SHIFT_11 = (np.uint64(bits) for bits in (30, 27, 31, 11))


def mix(bits: Array) -> Array:
    """SplitMix64's finaliser: uint64 to uint64, a bijection that looks random."""
    bits = (bits ^ (bits >> SHIFT_30)) * MIX_1
    bits = (bits ^ (bits >> SHIFT_27)) * MIX_2
    return bits ^ (bits >> SHIFT_31)


@dataclass
class Draws(Batch):
    """Counter-based random numbers: every world draws from a stream of its own, whatever batch it stands in.

    Speaks numpy's Generator for what environments need; every draw has the batch as its first axis. Draws are a `Batch`, so
    streams are indexed, assigned, stored and branched together with the worlds they belong to.
    """

    key: Array  # [B] uint64, which stream
    counter: Array  # [B] uint64, numbers drawn so far

    @classmethod
    def seeded(cls, seeds: Array) -> Self:
        """Streams at their beginning, one for each seed `[B]` (integers from 0)."""
        seeds = np.asarray(seeds).astype(np.uint64)
        return cls(mix(mix(seeds + GOLDEN) + GOLDEN), np.zeros(len(seeds), np.uint64))

    def random(self, size: Size = None) -> Any:
        """Uniform in [0, 1). `size`: B, or (B, ...), or None for a number when there is one world."""
        shape = () if size is None else (size,) if isinstance(size, int) else tuple(size)
        if (shape[0] if shape else 1) != len(self):
            raise ValueError(f"a draw of shape {shape} from {len(self)} worlds: the first axis must be the batch, {len(self)}")
        count = math.prod(shape[1:])
        places = self.counter[:, None] + np.arange(1, count + 1, dtype=np.uint64)
        self.counter = self.counter + np.uint64(count)
        bits = mix(self.key[:, None] + places * GOLDEN)
        return ((bits >> SHIFT_11) * 2.0**-53).reshape(shape)[()]

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Size = None) -> Any:
        """Uniform in [low, high)."""
        return low + (high - low) * self.random(size)

    def integers(self, low: Any, high: Any, size: Size = None) -> Any:
        """Whole numbers from `low` up to and without `high`."""
        return (low + np.floor((high - low) * self.random(size))).astype(np.int64)  # never rounds up to `high`

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Size = None) -> Any:
        """Gaussian numbers (Box and Muller 1958, one of each pair)."""
        radius = np.sqrt(-2.0 * np.log1p(-self.random(size)))
        return loc + scale * radius * np.cos(2.0 * np.pi * self.random(size))


class UndeclaredChanceError(TypeError):
    """A world drew random numbers where its chances must be known."""


class NoChance:
    """Stands in for `Draws` where nothing may be left to chance: every draw is an error that says what to do."""

    def __getattr__(self, name: str) -> Any:
        raise UndeclaredChanceError(
            f"the environment draws random numbers ({name}) where its chances must be known: declare them in `outcomes`"
        )
