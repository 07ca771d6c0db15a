"""How the Lagoon is drawn: its water, turbos and boats, as functions of plain arrays."""

import numpy as np

from .batch import Array
from .course import HALF_WIDTH, LAGOON_RADIUS, LAP, Water, centre_line, direction
from .painting import GRASS, INK, MUTED, PAPER, SAND, VERMILLION, WATER, YELLOW, Canvas, Colour

BEACH = 2.0  # m


def draw_water(canvas: Canvas, water: Water) -> None:
    """The course round its island, the lagoon, and the line where the race starts and ends."""
    lap = np.linspace(0.0, LAP, 120)
    canvas.fill(GRASS)
    for beach, colour in ((BEACH, SAND), (0.0, WATER)):
        canvas.circle(water.lagoon, LAGOON_RADIUS + beach, colour)
        canvas.polygon(centre_line(lap, HALF_WIDTH + beach), colour)
    canvas.circle(water.lagoon, LAGOON_RADIUS, WATER)
    for beach, colour in ((0.0, SAND), (BEACH, GRASS)):
        canvas.polygon(centre_line(lap, -HALF_WIDTH - beach), colour)
    canvas.line(centre_line(np.zeros(2), np.array([-HALF_WIDTH, HALF_WIDTH])), PAPER, 1.5)


def draw_gates(canvas: Canvas, gates: int, coming: int) -> None:
    """Pairs of buoys; those of the gate that is `coming` are red."""
    for gate in range(gates):
        for side in (-HALF_WIDTH, HALF_WIDTH):
            canvas.circle(centre_line(np.array(gate * LAP / gates), side), 1.4, VERMILLION if gate == coming else PAPER)


def draw_turbo(canvas: Canvas, place: Array, radius: float, away: float) -> None:
    """A turbo; while it is `away` (1 when just hit, 0 when it is back) it fills up again."""
    canvas.circle(place, radius, PAPER)
    canvas.circle(place, radius * (1.0 - away), YELLOW)
    canvas.circle(place, radius, MUTED if away else INK, 0.4)


def draw_boat(canvas: Canvas, position: Array, heading: Array, speed: float, burning: bool, colour: Colour) -> None:
    """A hull with its wake, and flames if it burns."""
    bow = direction(heading)
    aside, stern = bow[::-1] * (-1.0, 1.0), position - 2.0 * bow
    canvas.polygon([position + aside, position - aside, position - (1.5 + 0.6 * speed) * bow], PAPER)
    hull = [position + 3.2 * bow, position + 1.4 * aside, stern + aside, stern - aside, position - 1.4 * aside]
    canvas.polygon(hull, colour)
    canvas.line([*hull, hull[0]], INK, 0.4)
    for radius, flame in ((1.9, VERMILLION), (1.0, YELLOW)) if burning else ():
        canvas.circle(position - 0.5 * bow, radius, flame)
