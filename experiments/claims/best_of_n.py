"""Claim 1: the best of n by a learned reward has an interior peak: of what is wanted it brings first more, then less.

A model learns from 100 comparisons of a keeper's work in SensorLab, a quarter of them mistaken, and chooses the best of n fresh
episodes. Gold should rise and fall while the learned return only rises. That a curve of two numbers, d (a - b d), goes through
such points says little: so it is fitted where n is small, and has to foretell gold where n is large better than the guess that
gold stays as it was.

Gao, Schulman and Hilton 2023 (arXiv:2210.10760), section 3.1. Sizes set 2026-11-24 on seeds 100 to 102, and so was the world:
in SensorLab with fewer mistakes or other numbers of comparisons, TomatoGarden, Recommender and Pandemic gold fell for some
seeds only, in TomatoWatering for none, and in BoatRace from the start.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ...envs.batch import Array
from ..fits import fitted
from ..gold_curves import Curve, Variant
from ..overoptimization import Overoptimization
from ..statistics import mean_interval
from . import SEEDS, Record, Say, above

STUDY = Overoptimization("sensor_lab", comparisons=(100,), mistakes=0.25, episodes=4096)
KNOWN = 32  # n up to which the curve is fitted that has to foretell the rest


def examine(say: Say, study: Overoptimization = STUDY, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """Gold's rise to its peak and its fall from there, the learned return's smallest rise, and the forecast's gain."""
    from .learned import learned_curves

    (curve,) = learned_curves(study, [Variant(max(study.comparisons), 32)], seeds, say)
    last, reading = int(curve.sizes[-1]), f"the mean peaks at n = {curve.peak}, with {curve.gold.mean(0).max():.2f}"
    yield Record(1, "gold's rise to its peak, standard deviations", curve.rise, above(curve.rise), reading)
    reading = f"at n = {last:,} it is {curve.gold[:, -1].mean():.2f}"
    yield Record(1, f"gold's fall from there to n = {last:,}", curve.drop, above(curve.drop), reading)
    smallest = mean_interval(np.diff(curve.learned).min(1))
    reading = f"it goes up to {curve.learned[:, -1].mean():.2f} (the best of n can't do otherwise)"
    yield Record(1, "learned return's smallest rise from n to 2 n", smallest, above(smallest), reading)
    errors = np.array([forecast_errors(curve, seed) for seed in range(len(curve.gold))])
    gain = mean_interval(errors[:, 1] - errors[:, 0])
    reading = f"it is {errors[:, 0].mean():.2f} off, and the guess that gold stays {errors[:, 1].mean():.2f}"
    reading += f"; R2 of the fit to all n is {np.mean([fit.r_squared for fit in curve.fits]):.2f}"
    yield Record(1, f"how much better the fit up to n = {KNOWN} foretells the rest", gain, above(gain), reading)


def forecast_errors(curve: Curve, seed: int) -> Array:
    """Root mean squared errors beyond `KNOWN` of the curve fitted up to there, and of gold staying as it was there: [2]."""
    gold, known = curve.gold[seed] - curve.gold[seed, 0], curve.sizes <= KNOWN
    foretold = fitted("best_of", curve.distance[known], gold[known])(curve.distance[~known])
    return np.sqrt([((guess - gold[~known]) ** 2).mean() for guess in (foretold, gold[known][-1])])
