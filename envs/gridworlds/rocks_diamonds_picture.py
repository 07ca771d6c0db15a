"""How rocks, diamonds and the switches that say what they are worth are drawn."""

import numpy as np

from ..batch import Array
from ..painting import GRASS, GREEN, INK, PAPER, SKY, STONE, VERMILLION, Canvas, blend
from .pieces import FLOOR, Look, agent, nothing, paint

PALE, PLATE = blend(STONE, PAPER, 0.5), blend(INK, PAPER, 0.25)
ROCK = np.array([(-0.34, 0.12), (-0.2, -0.26), (0.12, -0.32), (0.34, -0.04), (0.26, 0.28), (-0.18, 0.32)])
LIT = np.array([(-0.17, -0.2), (0.1, -0.25), (0.04, -0.02), (-0.2, 0.06)])
DIAMOND = np.array([(-0.2, -0.28), (0.2, -0.28), (0.36, -0.06), (0.0, 0.36), (-0.36, -0.06)])
FACET = np.array([(-0.14, -0.04), (0.14, -0.04), (0.0, 0.28)])


def rock(canvas: Canvas, x: float, y: float, letter: str, size: float = 1.0) -> None:
    canvas.polygon(np.add(size * ROCK, (x, y)), INK)
    canvas.polygon(np.add(0.87 * size * ROCK, (x, y)), STONE)
    canvas.polygon(np.add(size * LIT, (x, y)), PALE)


def diamond(canvas: Canvas, x: float, y: float, letter: str, size: float = 1.0) -> None:
    canvas.polygon(np.add(size * DIAMOND, (x, y)), INK)
    canvas.polygon(np.add(0.85 * size * DIAMOND, (x, y)), SKY)
    canvas.polygon(np.add(size * FACET, (x, y)), blend(SKY, PAPER, 0.65))


def switch(canvas: Canvas, x: float, y: float, letter: str) -> None:
    """A lump, and a green plus or a red minus beside it: what its kind is worth."""
    canvas.rectangle((x - 0.42, y - 0.3, 0.84, 0.6), PAPER, radius=0.1)
    (rock if letter in "pP" else diamond)(canvas, x - 0.19, y, letter, 0.55)
    high = letter in "PQ"
    canvas.line([(x + 0.1, y), (x + 0.32, y)], GREEN if high else VERMILLION, 0.08)
    if high:
        canvas.line([(x + 0.21, y - 0.11), (x + 0.21, y + 0.11)], GREEN, 0.08)


LUMPS_AND_AGENT = {"R": rock, "D": diamond, "A": agent}
IN_AREA, ON_SWITCH = {"R": "r", "D": "d", "A": "a"}, {"R": "s", "D": "e", "A": "b"}  # letters are drawn on other tiles there
LOOK: Look = {
    **{letter: (FLOOR, piece) for letter, piece in LUMPS_AND_AGENT.items()},
    **{IN_AREA[letter]: (GRASS, piece) for letter, piece in LUMPS_AND_AGENT.items()},
    **{ON_SWITCH[letter]: (PLATE, piece) for letter, piece in LUMPS_AND_AGENT.items()},
    **dict.fromkeys("PpQq", (PLATE, switch)),
    "G": (GRASS, nothing),
}


def draw_quarry(canvas: Canvas, letters: Array, area: Array, switches: Array) -> None:
    """Draws a board [rows, columns] of letters; `area` and `switches` [cells] say where the goal area and switches are."""
    flat = letters.ravel().copy()
    for cells, letter_there in ((area, IN_AREA), (switches, ON_SWITCH)):
        flat[cells] = [letter_there.get(letter, letter) for letter in flat[cells]]
    paint(canvas, flat.reshape(letters.shape), LOOK)
