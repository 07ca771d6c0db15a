"""What gridworlds share: boards of characters, moves, and how to draw them.

A board is a list of rows of characters; a cell is its index in reading order. Actions are the peer's: up, down, left, right.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from gymnasium import spaces

from ..batch import Array
from ..painting import (
    BLUE,
    GRASS,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    SAND,
    SKY,
    STONE,
    VERMILLION,
    WATER,
    YELLOW,
    Canvas,
    Colour,
    blend,
)

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
    places = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 1, 2)
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


def paint(canvas: Canvas, letters: Array) -> None:
    """Draws a board of characters, [rows, columns], for the view (0, rows, columns, 0); unknown ones are shown as they are."""
    canvas.fill(GROUT)
    for (row, column), letter in np.ndenumerate(letters):
        canvas.rectangle((column + 0.02, row + 0.02, 0.96, 0.96), TILES.get(letter, FLOOR), radius=0.07)
        PIECES.get(letter, _letter)(canvas, column + 0.5, row + 0.5, letter)


GROUT, FLOOR = blend(STONE, PAPER, 0.72), blend(PAPER, STONE, 0.04)
SOIL, WET_SOIL = SAND, blend(GRASS, GREEN, 0.25)
LANE = blend(WATER, PAPER, 0.45)
STEEL = blend(STONE, PAPER, 0.35)
TILES: dict[str, Colour] = {"#": STONE, "t": SOIL, "T": WET_SOIL, "O": LANE, "G": GRASS} | dict.fromkeys("<>^v", LANE)


def _nothing(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """A tile with nothing on it."""


def _letter(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.text(letter, (x, y), 0.6)


def _wall(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.rectangle((x - 0.48, y - 0.48, 0.96, 0.86), blend(STONE, PAPER, 0.12), radius=0.07)  # lit from above


def _agent(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.circle((x, y), 0.36, INK)
    canvas.circle((x, y), 0.32, ORANGE)
    for side in (-0.12, 0.12):
        canvas.circle((x + side, y - 0.06), 0.075, PAPER)
        canvas.circle((x + side, y - 0.05), 0.04, INK)
    canvas.line([(x - 0.1, y + 0.11), (x, y + 0.15), (x + 0.1, y + 0.11)], INK, 0.035)


def _arrow(canvas: Canvas, x: float, y: float, letter: str) -> None:
    down, right = MOVES["^v<>".index(letter)] * 0.3
    canvas.arrow((x - right, y - down), (x + right, y + down), BLUE, 0.13)


def _tomato(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """Watered: round, shining, with a green star. Dry: smaller, pale, its leaves hanging."""
    if letter == "T":
        canvas.circle((x, y + 0.06), 0.29, VERMILLION)
        canvas.circle((x - 0.11, y - 0.03), 0.06, blend(VERMILLION, PAPER, 0.6))
        leaves = [(-0.2, -0.2), (0.0, -0.16), (0.2, -0.2), (0.09, -0.1), (0.0, 0.04), (-0.09, -0.1)]
    else:
        canvas.circle((x, y + 0.12), 0.2, blend(YELLOW, STONE, 0.45))
        leaves = [(-0.22, 0.1), (-0.1, -0.1), (0.1, -0.1), (0.22, 0.1), (0.0, -0.02)]
    canvas.line([(x, y - 0.08), (x + 0.03, y - 0.3)], GREEN if letter == "T" else MUTED, 0.06)
    canvas.polygon(np.add(leaves, (x, y)), GREEN if letter == "T" else MUTED)


def _bucket(canvas: Canvas, x: float, y: float, letter: str) -> None:
    angles = np.linspace(np.pi, 2 * np.pi, 13)
    canvas.line(np.stack([x + 0.26 * np.cos(angles), y - 0.12 + 0.24 * np.sin(angles)], 1), INK, 0.045)
    canvas.polygon([(x - 0.3, y - 0.12), (x + 0.3, y - 0.12), (x + 0.21, y + 0.34), (x - 0.21, y + 0.34)], STEEL)
    canvas.polygon([(x - 0.275, y), (x + 0.275, y), (x + 0.25, y + 0.12), (x - 0.25, y + 0.12)], SKY)
    canvas.line([(x - 0.3, y - 0.12), (x + 0.3, y - 0.12)], INK, 0.05)


def _goal(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.line([(x - 0.18, y + 0.34), (x - 0.18, y - 0.32)], INK, 0.06)
    canvas.polygon([(x - 0.15, y - 0.34), (x + 0.3, y - 0.16), (x - 0.15, y + 0.02)], GREEN)


Piece = Callable[[Canvas, float, float, str], None]  # draws a letter round the centre of its tile
PIECES: dict[str, Piece] = {" ": _nothing, "#": _wall, "A": _agent, "t": _tomato, "T": _tomato, "O": _bucket, "G": _goal}
PIECES |= dict.fromkeys("<>^v", _arrow)
