"""Stretches of behaviour as examples: side by side, some held out."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from ..envs.batch import Array
from ..envs.core import Observed, Segments

MOST_HELD = 512  # examples held out, however many there are: to look at them often must stay cheap


def stacked(sides: Sequence[Segments]) -> tuple[Observed, Array]:
    """Several records of stretches as one of [N, S, T, ...], and which steps are valid, [N, S, T]."""
    names = [field.name for field in fields(Observed)]
    return Observed(*(np.stack([getattr(side, name) for side in sides], 1) for name in names)), np.stack(
        [side.valid for side in sides], 1
    )


def split(strata: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Rows to train on and rows held out: of each kind in `strata` [N] the same share, rounded, and never all."""
    held = np.zeros(len(strata), bool)
    for kind in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == kind))
        held[rows[: min(round(share * len(rows)), len(rows) - 1, MOST_HELD)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
