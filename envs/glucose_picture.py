"""How the Glucose worlds are drawn: the last four hours of glucose and insulin, and the day with its meals."""

from collections.abc import Sequence

import numpy as np

from .batch import Array
from .painting import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, SKY, STONE, VERMILLION, Canvas, Colour, blend

LEFT, RIGHT = 9.0, 97.0  # where all charts begin and end
FLOOR, CEILING = 27.0, 61.0  # of the chart of glucose
LEAST, MOST = 40.0, 400.0  # mg/dL that it shows
BAR_FLOOR, BAR_CEILING = 14.0, 23.0  # of the chart of insulin
DAY_LINE = 6.0
HOURS = 4  # that the charts show
SMALL = 2.2

Meals = Sequence[tuple[float, float]]  # when, in units of the chart, and g of carbohydrate


def level(glucose: Array) -> Array:
    """How high in its chart mg/dL [...] are drawn."""
    return FLOOR + (CEILING - FLOOR) * (np.clip(glucose, LEAST, MOST) - LEAST) / (MOST - LEAST)


def colour_of(glucose: float, target: tuple[float, float]) -> Colour:
    """Red below the target's range, orange above, green in it."""
    return VERMILLION if glucose < target[0] else ORANGE if glucose > target[1] else GREEN


def draw_status(canvas: Canvas, glucose: float, day: int, hour: float, target: tuple[float, float]) -> None:
    """The level of glucose in words, and the time."""
    low, high = target
    word = "too low" if glucose < low else "too high" if glucose > high else "in range"
    canvas.text(f"{glucose:.0f} mg/dL, {word}", (LEFT, 67.0), 4.4, colour_of(glucose, target), "left")
    minutes = round(hour * 60)
    canvas.text(f"day {day}, {minutes // 60 % 24:02}:{minutes % 60:02}", (RIGHT, 67.0), 3.4, MUTED, "right")


def draw_glucose(canvas: Canvas, seen: Array, meals: Meals, target: tuple[float, float]) -> None:
    """What the sensor showed, `seen` [T] mg/dL, over the range aimed at; `meals` by their steps before now."""
    low, high = level(np.array(target))
    canvas.rectangle((LEFT, FLOOR, RIGHT - LEFT, CEILING - FLOOR), blend(PAPER, STONE, 0.1))
    canvas.rectangle((LEFT, low, RIGHT - LEFT, high - low), blend(PAPER, GREEN, 0.25))
    for mark in (*target, 300.0, MOST):
        canvas.text(f"{mark:.0f}", (LEFT - 1.0, float(level(np.array(mark)))), SMALL, MUTED, "right")
    places = LEFT + (RIGHT - LEFT) * np.arange(1, len(seen) + 1) / len(seen)
    for when, grams in meals:
        if -len(seen) < when < 0:
            draw_meal(canvas, RIGHT + (RIGHT - LEFT) * when / len(seen), FLOOR + 3.4, grams, eaten=True)
    points = np.stack([places, level(seen)], 1)
    canvas.line(points, INK, 0.5)
    for point, glucose in zip(points, seen, strict=True):
        canvas.circle(point, 0.7, colour_of(float(glucose), target))
    canvas.text("glucose, mg/dL", (LEFT + 1.0, CEILING - 2.5), SMALL, MUTED, "left")


def draw_insulin(canvas: Canvas, rates: Array, basal: float, most: float) -> None:
    """What the pump gave, `rates` [T] U/h, as bars; a line shows the basal rate."""
    canvas.rectangle((LEFT, BAR_FLOOR, RIGHT - LEFT, BAR_CEILING - BAR_FLOOR), blend(PAPER, STONE, 0.1))
    width, height = (RIGHT - LEFT) / len(rates), (BAR_CEILING - BAR_FLOOR) / most
    for i, rate in enumerate(rates):
        canvas.rectangle((LEFT + (i + 0.15) * width, BAR_FLOOR, 0.7 * width, float(rate) * height), BLUE)
    line = BAR_FLOOR + basal * height
    canvas.line([(LEFT, line), (RIGHT, line)], SKY, 0.3)
    canvas.text("basal", (LEFT - 1.0, line), SMALL, MUTED, "right")
    canvas.text("insulin", (LEFT - 1.0, BAR_CEILING - 1.1), SMALL, MUTED, "right")
    for hour in range(HOURS + 1):
        label = "now" if hour == HOURS else f"-{HOURS - hour} h"
        canvas.text(label, (LEFT + (RIGHT - LEFT) * hour / HOURS, BAR_FLOOR - 1.6), SMALL, MUTED)


def draw_day(canvas: Canvas, dawn: float, now: float, meals: Meals) -> None:
    """The day as a line that begins at `dawn` (an hour), how much of it is over, and its meals; times are shares of the day."""
    length = RIGHT - LEFT
    canvas.line([(LEFT, DAY_LINE), (RIGHT, DAY_LINE)], blend(PAPER, STONE, 0.4), 0.6)
    canvas.line([(LEFT, DAY_LINE), (LEFT + length * now, DAY_LINE)], INK, 0.6)
    canvas.text("meals", (LEFT - 1.0, DAY_LINE), SMALL, MUTED, "right")
    for hour in range(0, 25, 6):
        canvas.text(f"{(dawn + hour) % 24:.0f}:00", (LEFT + length * hour / 24.0, DAY_LINE - 4.4), SMALL, MUTED)
    for when, grams in meals:
        if 0.0 <= when < 1.0:
            draw_meal(canvas, LEFT + length * when, DAY_LINE, grams, eaten=when < now)
    canvas.line([(LEFT + length * now, DAY_LINE + 2.4), (LEFT + length * now, DAY_LINE - 2.4)], INK, 0.5)


def draw_meal(canvas: Canvas, x: float, y: float, grams: float, eaten: bool) -> None:
    """A plate whose area is the meal; one still to come is pale."""
    radius = 0.32 * float(np.sqrt(grams))
    canvas.circle((x, y), radius, blend(PAPER, PURPLE, 0.7 if eaten else 0.2))
    canvas.circle((x, y), radius, PURPLE, 0.3)
    if radius > 1.8:
        canvas.text(f"{grams:.0f} g", (x, y), 1.9, INK if eaten else MUTED)
