"""When and how much patients eat: breakfast, lunch, dinner, and at times a snack after each, as in the code of Fox et al. 2020.

Source: MLD3/RL4BG (arXiv:2009.09051), its balanced schedule with the energy that Harris and Benedict's formula gives. A meal
is drawn to the step instead of to the minute, and a day begins at five in the morning, before the earliest breakfast.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .batch import Array
from .glucose_patient import DAY, Patient

DAWN = 5.0  # h, when a day begins
SERVED = 0.95  # chance of each main meal
SIZES = 0.15  # standard deviation of a meal's size, as a share of its mean


@dataclass(frozen=True)
class Meal:
    """A meal of the day. Its time is normally distributed, between its earliest and its latest."""

    usual: float  # h
    deviation: float  # h
    earliest: float  # h
    latest: float  # h
    share: float  # of the day's carbohydrate
    snack: bool = False

    def steps(self, chance: Array) -> Array:
        """Steps since the day began, [...], for uniform chances in [0, 1)."""
        steps = np.arange(round((self.earliest - DAWN) * DAY / 24), round((self.latest - DAWN) * DAY / 24))
        hours = DAWN + (steps + 0.5) * 24 / DAY
        likely = np.exp(-0.5 * ((hours - self.usual) / self.deviation) ** 2).cumsum()
        return steps[0] + np.searchsorted(likely, chance * likely[-1], side="right")


MEALS = (
    Meal(7.0, 1.0, 5.0, 9.0, 1.1 / 4.4),
    Meal(9.5, 0.5, 9.0, 10.0, 0.15 / 4.4, snack=True),
    Meal(12.0, 1.0, 10.0, 14.0, 1.3 / 4.4),
    Meal(15.0, 0.5, 14.0, 16.0, 0.15 / 4.4, snack=True),
    Meal(18.0, 1.0, 16.0, 20.0, 1.55 / 4.4),
    Meal(21.5, 0.5, 20.0, 23.0, 0.15 / 4.4, snack=True),
)


def menu(batch: int, days: int, patient: Patient, size: float, snack_chance: float, rng: Any) -> tuple[Array, Array]:
    """The steps since the first dawn at which meals are served, and g of carbohydrate (0: left out), each [B, 6 days]."""
    when, whether = np.moveaxis(rng.random((batch, days, len(MEALS), 2)), -1, 0)
    served = np.stack([meal.steps(when[..., i]) for i, meal in enumerate(MEALS)], -1) + DAY * np.arange(days)[:, None]
    chance = np.array([snack_chance if meal.snack else SERVED for meal in MEALS])
    mean = size * patient.carbohydrate * np.array([meal.share for meal in MEALS])
    serving = np.rint(mean * np.maximum(rng.normal(1.0, SIZES, served.shape), 0.0))
    return served.reshape(batch, -1), np.where(whether < chance, serving, 0.0).reshape(batch, -1)
