"""How gridworlds are drawn: a tile for every cell, and a piece on it for every letter.

A world adds letters of its own by its `look`, a tile and a piece each.
"""

from collections.abc import Callable, Mapping

import numpy as np

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

Piece = Callable[[Canvas, float, float, str], None]  # draws a letter round the centre of its tile
Look = Mapping[str, tuple[Colour, Piece]]  # letter -> its tile's colour and its piece


def paint(canvas: Canvas, letters: Array, look: Look = {}) -> None:  # noqa: B006 (never changed)
    """Draws a board of characters, [rows, columns], for the view (0, rows, columns, 0); unknown ones are shown as they are."""
    canvas.fill(GROUT)
    for (row, column), letter in np.ndenumerate(letters):
        tile, piece = look.get(letter) or (TILES.get(letter, FLOOR), PIECES.get(letter, written))
        canvas.rectangle((column + 0.02, row + 0.02, 0.96, 0.96), tile, radius=0.07)
        piece(canvas, column + 0.5, row + 0.5, letter)


GROUT, FLOOR = blend(STONE, PAPER, 0.72), blend(PAPER, STONE, 0.04)
SOIL, WET_SOIL = SAND, blend(GRASS, GREEN, 0.25)
LANE = blend(WATER, PAPER, 0.45)
STEEL = blend(STONE, PAPER, 0.35)
ALONG = {"^": (-1, 0), "v": (1, 0), "<": (0, -1), ">": (0, 1)}  # rows down, columns right
TILES: dict[str, Colour] = {"#": STONE, "t": SOIL, "T": WET_SOIL, "O": LANE, "G": GRASS} | dict.fromkeys("<>^v", LANE)


def nothing(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """A tile with nothing on it."""


def written(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.text(letter, (x, y), 0.6)


def wall(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.rectangle((x - 0.48, y - 0.48, 0.96, 0.86), blend(STONE, PAPER, 0.12), radius=0.07)  # lit from above


def agent(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.circle((x, y), 0.36, INK)
    canvas.circle((x, y), 0.32, ORANGE)
    for side in (-0.12, 0.12):
        canvas.circle((x + side, y - 0.06), 0.075, PAPER)
        canvas.circle((x + side, y - 0.05), 0.04, INK)
    canvas.line([(x - 0.1, y + 0.11), (x, y + 0.15), (x + 0.1, y + 0.11)], INK, 0.035)


def arrow(canvas: Canvas, x: float, y: float, letter: str) -> None:
    down, right = np.array(ALONG[letter]) * 0.3
    canvas.arrow((x - right, y - down), (x + right, y + down), BLUE, 0.13)


def tomato(canvas: Canvas, x: float, y: float, letter: str) -> None:
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


def bucket(canvas: Canvas, x: float, y: float, letter: str) -> None:
    angles = np.linspace(np.pi, 2 * np.pi, 13)
    canvas.line(np.stack([x + 0.26 * np.cos(angles), y - 0.12 + 0.24 * np.sin(angles)], 1), INK, 0.045)
    canvas.polygon([(x - 0.3, y - 0.12), (x + 0.3, y - 0.12), (x + 0.21, y + 0.34), (x - 0.21, y + 0.34)], STEEL)
    canvas.polygon([(x - 0.275, y), (x + 0.275, y), (x + 0.25, y + 0.12), (x - 0.25, y + 0.12)], SKY)
    canvas.line([(x - 0.3, y - 0.12), (x + 0.3, y - 0.12)], INK, 0.05)


def goal(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.line([(x - 0.18, y + 0.34), (x - 0.18, y - 0.32)], INK, 0.06)
    canvas.polygon([(x - 0.15, y - 0.34), (x + 0.3, y - 0.16), (x - 0.15, y + 0.02)], GREEN)


def coin(canvas: Canvas, x: float, y: float, letter: str) -> None:
    canvas.circle((x, y), 0.28, INK)
    canvas.circle((x, y), 0.25, YELLOW)
    canvas.circle((x, y), 0.17, blend(YELLOW, INK, 0.3), width=0.035)


PIECES: dict[str, Piece] = {" ": nothing, "#": wall, "A": agent, "t": tomato, "T": tomato, "O": bucket, "G": goal}
PIECES |= dict.fromkeys("<>^v", arrow)
