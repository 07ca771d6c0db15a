"""Everything that a loop gives and holds, step by step, and where two such records first differ.

Promises like "same seed, same everything" are kept or broken bit for bit: whoever checks one records two runs and compares.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space

from .batch import Array
from .core import Loop, Step

Record = Mapping[str, Array]  # by name, each [T, B, ...]


def random_actions(env: Any, batch: int, steps: int, seed: int = 0) -> Iterator[Array]:
    """Actions [B, *action] of a uniformly random agent for so many steps, the same ones for the same seed."""
    space = batch_space(env.action_space, batch)
    space.seed(seed)
    return (np.asarray(space.sample()) for _ in range(steps))


def record(loop: Loop[Any], actions: Iterable[Array]) -> Record:
    """Steps, sums and all that changes in the worlds (state, draws, observation) under `actions`."""
    moments = [_moment(loop.step(action)) | loop.snapshot() for action in actions]
    return {name: np.stack([moment[name] for moment in moments]) for name in moments[0]}


def _moment(step: Step) -> dict[str, Array]:
    own = {name: getattr(step, name) for name in ("reward", "proxy", "true", "terminated", "truncated")}
    return own | {"next_observation": step.transition.next_observation} | step.terms | step.sums.arrays("ended.")


def columns(run: Record, worlds: Any) -> Record:
    """The same record of some of its worlds (a slice or indices)."""
    return {name: values[:, worlds] for name, values in run.items()}


def first_difference(one: Record, other: Record) -> str | None:
    """What differs first, and at which step ("reward at step 3"); None where all is equal, bit for bit."""
    steps = {name: next((t for t in range(len(one[name])) if unequal(one[name][t], other[name][t])), None) for name in one}
    differing = {name: t for name, t in steps.items() if t is not None}
    first = min(differing, key=differing.__getitem__, default=None)
    return first and f"{first} at step {differing[first] + 1}"


def unequal(one: Any, other: Any) -> bool:
    """Whether two arrays differ in shape, type or any bit of value (NaN equals NaN)."""
    return one.dtype != other.dtype or not np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
