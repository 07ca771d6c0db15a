"""How the Pandemic's town is drawn: its people, its places, its hospital and its waves, as functions of plain arrays."""

from collections.abc import Mapping, Sequence

import numpy as np

from .batch import Array
from .painting import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, SKY, STONE, VERMILLION, YELLOW, Canvas, Colour, blend

VIEW = (0.0, 0.0, 150.0, 100.0)
HEALTH: Mapping[str, Colour] = {
    "well": blend(SKY, PAPER, 0.5),
    "exposed": YELLOW,
    "infected": ORANGE,
    "critical": VERMILLION,
    "recovered": GREEN,
    "dead": INK,
}
PITCH, ROWS = 2.36, 9  # units between people, and people in a column
PALE = blend(PAPER, STONE, 0.1)
CURVE = (12.0, 9.0, 132.0, 26.0)  # left, bottom, width, height
TOPS = (20, 100, 250, 500)  # persons that the curve's height may stand for
STRIP = 3.0  # height of the strip that shows the regulations


def draw_people(canvas: Canvas, groups: Mapping[str, Sequence[int]]) -> None:
    """A dot for each person of each group, coloured by health; `groups` counts them in the order of HEALTH."""
    left = 6.0
    for name, counts in groups.items():
        columns = int(np.ceil(sum(counts) / ROWS))
        health = np.repeat(list(HEALTH), counts)
        for i, what in enumerate(health):
            column, row = divmod(i, ROWS)
            canvas.circle((left + PITCH * column, 88.0 - PITCH * row), 1.0, HEALTH[what])
        canvas.text(name, (left + PITCH * (columns - 1) / 2, 92.0), 3.2, MUTED)
        left += PITCH * (columns + 1)


def draw_key(canvas: Canvas) -> None:
    """What the colours of the dots mean."""
    for i, (name, colour) in enumerate(HEALTH.items()):
        canvas.circle((7.0 + 23.5 * i, 63.5), 1.2, colour)
        canvas.text(name, (9.4 + 23.5 * i, 63.5), 3.0, MUTED, "left")


def draw_places(canvas: Canvas, places: Mapping[str, float]) -> None:
    """A house for each kind of place: as full of light as people may meet in it, boarded up where it is closed."""
    for i, (name, meeting) in enumerate(places.items()):
        x = 6.0 + 14.4 * i
        wall = blend(PALE, YELLOW, 0.75 * meeting)
        canvas.rectangle((x, 46.0, 11.0, 8.0), wall, 0.4)
        canvas.polygon([(x - 0.8, 54.0), (x + 11.8, 54.0), (x + 5.5, 58.5)], STONE if meeting else MUTED)
        if meeting:
            canvas.rectangle((x + 4.3, 46.0, 2.4, 4.6), STONE)
        else:
            for start, end in (((x + 1, 47), (x + 10, 53)), ((x + 1, 53), (x + 10, 47))):
                canvas.line([start, end], VERMILLION, 0.9)
        canvas.text(name, (x + 5.5, 43.4), 2.7, INK if meeting else MUTED)


def draw_hospital(canvas: Canvas, beds: int, patients: int, waiting: int) -> None:
    """The hospital's beds, who lies in them, and who needs one and has none."""
    canvas.rectangle((106.0, 45.5, 38.0, 13.0), blend(PAPER, SKY, 0.25), 0.6)
    canvas.text("hospital", (108.4, 56.2), 2.9, BLUE, "left")
    for bed in range(beds):
        x = 108.4 + 6.9 * bed
        canvas.rectangle((x, 47.2, 5.6, 4.4), PAPER, 0.5)
        canvas.rectangle((x, 47.2, 5.6, 4.4), BLUE, 0.5, 0.4)
        if bed < patients:
            canvas.circle((x + 2.8, 49.4), 1.6, HEALTH["critical"])
    if waiting:
        canvas.text(f"{waiting} without a bed", (125.5, 43.0), 3.0, VERMILLION)


def draw_curve(canvas: Canvas, ill: Array, known: Array, days: int, due: tuple[int, int]) -> None:
    """The waves so far, of one value a day: the truly ill, those known by tests, and when a second wave is due."""
    left, bottom, width, height = CURVE
    top = next(limit for limit in TOPS if limit >= ill.max())
    x = left + width * np.arange(len(ill)) / days
    truth, tests = (bottom + height * np.minimum(values / top, 1.0) for values in (ill, known))
    start, end = left + width * np.array(due) / days
    canvas.rectangle((left, bottom, width, height), PALE)
    canvas.rectangle((start, bottom, end - start, height), blend(PALE, STONE, 0.15))
    canvas.text("second wave due", ((start + end) / 2, bottom + height + 1.8), 2.7, MUTED)
    if len(ill) > 1:
        canvas.polygon([(left, bottom), *zip(x, truth, strict=True), (x[-1], bottom)], blend(PAPER, ORANGE, 0.65))
        canvas.line(np.stack([x, tests], 1), BLUE, 0.6)
    canvas.text("ill", (left, bottom + height + 1.8), 3.0, blend(ORANGE, INK, 0.35), "left")
    canvas.text("known by tests", (left + 5.0, bottom + height + 1.8), 3.0, BLUE, "left")
    canvas.text(f"{top}", (left - 1.2, bottom + height - 1.2), 2.9, MUTED, "right")
    for day in range(0, days + 1, 32):
        canvas.text(f"{day}", (left + width * day / days, 2.4), 2.9, MUTED)


def draw_regulations(canvas: Canvas, stage: Array, unseen: Array, days: int) -> None:
    """The stage of every day so far, the darker the higher; red where it was raised while hardly anyone was ill."""
    left, bottom, width, height = CURVE
    canvas.text("raised with hardly anyone ill", (left + width, bottom + height + 1.8), 2.7, VERMILLION, "right")
    canvas.text("stage", (left - 1.2, bottom - STRIP / 2 - 0.5), 2.9, MUTED, "right")
    for day in range(1, len(stage)):
        x = left + width * (day - 1) / days
        colour = VERMILLION if unseen[day] else blend(PAPER, STONE, 0.08 + 0.23 * stage[day])
        canvas.rectangle((x, bottom - STRIP - 0.5, width / days + 0.1, STRIP), colour)
