"""Pushing: what worlds share in which an agent pushes things about, by Sokoban's rules.

Who walks into a thing pushes it one cell on, if nothing bars the way there, and else bumps into it. Things are few and worlds
many, so that columns are added up one after another: numpy's own sums along a short axis take ten times as long.
"""

from collections.abc import Sequence

import numpy as np

from ..batch import Array
from . import grid

NOOP = 4  # stays where it is
NOWHERE = -1  # the cell of what is not there


def ways(board: Sequence[str]) -> Array:
    """[cells, 5] the cell that each action leads to where only walls bar the way; the fifth action stays."""
    target = grid.moves(board)
    return np.column_stack([target, np.arange(len(target))])


def push(
    ways: Array, agent: Array, action: Array, things: Array, bodies: Array, barred: Array | None = None
) -> tuple[Array, Array]:
    """Where agents [B] and things [B, n] are after a step, as cells.

    `bodies` [B, m] are the cells that neither an agent nor a thing can enter as long as what lies there stays; the cells
    `barred` [B, k] bar things alone.
    """
    ahead = ways[agent, action]
    beyond = ways[ahead, action]
    pushes = (ahead != agent) & (beyond != ahead) & ~_among(beyond, bodies)
    if barred is not None:
        pushes &= ~_among(beyond, barred)
    moved = np.where((things == ahead[:, None]) & pushes[:, None], beyond[:, None], things)
    return np.where(_among(ahead, bodies) & ~pushes, agent, ahead), moved


def _among(cell: Array, cells: Array) -> Array:
    """[B] whether each cell [B] is among the cells [B, n] of its world."""
    return count(cells == cell[:, None]) > 0


def count(flags: Array) -> Array:
    """[B] how many of the flags [B, n] are set."""
    return sum(flags.T, np.zeros(len(flags), np.int64))


def put(boards: Array, cell: Array, letter: Array | int) -> None:
    """Writes a letter's number into one cell [B] of each of the boards [B, cells]."""
    boards.reshape(-1)[np.arange(len(boards)) * boards.shape[1] + cell] = letter
