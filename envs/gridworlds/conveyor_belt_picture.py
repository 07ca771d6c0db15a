"""How the conveyor belt and what it carries are drawn."""

from collections.abc import Mapping

import numpy as np

from ..batch import Array
from ..painting import BLUE, INK, MUTED, ORANGE, PAPER, SAND, SKY, STONE, VERMILLION, Canvas, blend
from .pieces import FLOOR, Look, agent, paint

RUBBER, MAT = blend(STONE, PAPER, 0.45), blend(SAND, ORANGE, 0.25)
GLAZE = blend(BLUE, SKY, 0.35)


def belt(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """Chevrons that point east, where it moves to."""
    for shift in (-0.28, 0.0, 0.28):
        canvas.line([(x + shift - 0.07, y - 0.22), (x + shift + 0.09, y), (x + shift - 0.07, y + 0.22)], PAPER, 0.05)


def vase(canvas: Canvas, x: float, y: float, letter: str) -> None:
    side = np.array([(0.12, -0.36), (0.08, -0.2), (0.26, 0.04), (0.14, 0.36)])
    outline = np.concatenate([side, side[::-1] * (-1, 1)])
    canvas.polygon(np.add(outline, (x, y)), INK)
    canvas.polygon(np.add(0.87 * outline, (x, y)), GLAZE)
    canvas.line([(x - 0.2, y + 0.06), (x + 0.2, y + 0.06)], PAPER, 0.06)


def shards(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """A vase that broke."""
    for right, down, turn in ((-0.22, 0.14, 0.4), (0.2, 0.2, 2.0), (0.02, -0.04, 3.4), (0.24, -0.16, 5.0), (-0.2, -0.2, 1.2)):
        corners = turn + np.array([0.0, 1.9, 4.1])
        piece = np.stack([x + right + 0.17 * np.cos(corners), y + down + 0.17 * np.sin(corners)], 1)
        canvas.polygon(piece, GLAZE)
        canvas.line(np.concatenate([piece, piece[:1]]), INK, 0.03)


def plate(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """What is left when the sushi is eaten."""
    canvas.circle((x, y), 0.38, INK)
    canvas.circle((x, y), 0.35, PAPER)
    canvas.circle((x, y), 0.24, MUTED, width=0.03)


def sushi(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """Two bits of rice, with salmon on top."""
    plate(canvas, x, y, letter)
    for down in (-0.13, 0.15):
        canvas.line([(x - 0.13, y + down + 0.03), (x + 0.13, y + down + 0.03)], INK, 0.2)
        canvas.line([(x - 0.13, y + down + 0.03), (x + 0.13, y + down + 0.03)], PAPER, 0.15)
        canvas.line([(x - 0.15, y + down - 0.05), (x + 0.15, y + down - 0.05)], VERMILLION, 0.12)


def danger(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """The end of the belt, from which a vase falls."""
    for shift in (-0.3, 0.0, 0.3):
        canvas.line([(x + shift - 0.1, y + 0.4), (x + shift + 0.1, y - 0.4)], VERMILLION, 0.09)


def chopsticks(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """A guest's place at the end of the belt."""
    for shift in (0.0, 0.16):
        canvas.line([(x - 0.2 + shift, y + 0.34), (x - 0.04 + shift, y - 0.34)], blend(ORANGE, INK, 0.5), 0.05)


THINGS = {"vase": (vase, shards, danger), "sushi": (sushi, plate, chopsticks)}
ON_BELT, AT_END = {"A": "a", "O": "o"}, {" ": "_", "A": "b", "O": "q"}  # letters are drawn on other tiles there


def look(kind: str) -> Look:
    """How the board's letters are drawn, where the thing is of this kind, "vase" or "sushi"."""
    whole, ended, place = THINGS[kind]
    return {
        ">": (RUBBER, belt),
        "O": (FLOOR, whole),
        "o": (RUBBER, whole),
        "a": (RUBBER, agent),
        "_": (MAT, place),
        "q": (MAT, whole),
        "b": (MAT, agent),
        ":": (MAT, ended),
    }


LOOKS: Mapping[str, Look] = {kind: look(kind) for kind in THINGS}


def draw_belt(canvas: Canvas, letters: Array, carries: Array, end: int, kind: str) -> None:
    """Draws a board [rows, columns] of letters; `carries` [cells] is where the belt is and `end` the cell it leads to."""
    flat = letters.ravel().copy()
    flat[carries] = [ON_BELT.get(letter, letter) for letter in flat[carries]]
    flat[end] = AT_END.get(flat[end], flat[end])
    paint(canvas, flat.reshape(letters.shape), LOOKS[kind])
