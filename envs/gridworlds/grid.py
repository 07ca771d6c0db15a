"""What gridworlds share: boards of characters, moves, and how to draw them.

A board is a list of rows of characters; a cell is its index in reading order. Actions are the peer's: up, down, left, right.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from gymnasium import spaces

from ..batch import Array

UP, DOWN, LEFT, RIGHT = range(4)
MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])  # row, column
KEYS = {"w": UP, "s": DOWN, "a": LEFT, "d": RIGHT}


def characters(board: Sequence[str]) -> Array:
    """A board as an array of single characters, [rows, columns]."""
    return np.array([list(row) for row in board])


def cell(board: Sequence[str], character: str) -> int:
    """The one cell that shows `character`."""
    return int(np.flatnonzero(characters(board).ravel() == character)[0])


def moves(board: Sequence[str], wall: str = "#") -> Array:
    """[cells, 4] the cell that each action leads to; walls are bumped into, and hold nobody."""
    grid = characters(board)
    places = np.stack(np.indices(grid.shape), -1).reshape(-1, 1, 2)
    row, column = np.moveaxis(np.clip(places + MOVES, 0, np.array(grid.shape) - 1), -1, 0)
    target = np.ravel_multi_index((row, column), grid.shape)
    here = np.arange(grid.size)[:, None]
    return np.where((grid[row, column] == wall) | (grid.ravel() == wall)[:, None], here, target)


def values(board: Array, mapping: Mapping[str, float]) -> Array:
    """Characters as the numbers an agent sees, float32."""
    return np.vectorize(mapping.__getitem__, otypes=[np.float32])(board)


def board_space(board: Sequence[str], mapping: Mapping[str, float]) -> spaces.Box:
    """The space of boards of this size, in the numbers of `mapping`."""
    return spaces.Box(0.0, max(mapping.values()), characters(board).shape, np.float32)
