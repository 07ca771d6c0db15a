"""Intervals of 95 % for what happens rarely: (value, low, high), from counts, weighted events, scenes or repetitions.

Where there was no event at all the interval is one-sided, from 0 to the bound that holds with 95 %.

Sources: Clopper and Pearson 1934; Garwood 1936; Fay and Feuer 1997, "Confidence intervals for directly standardized rates: a
method based on the gamma distribution", Statistics in Medicine 16:791; Efron 1987, "Better bootstrap confidence intervals".
"""

from typing import TypeAlias

import numpy as np
from scipy import stats
from scipy.stats import chi2

from ..envs.batch import Array
from ..envs.core import ProxygapError

Interval: TypeAlias = tuple[float, float, float]  # value, low, high
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
RESAMPLES = 2000  # of a bootstrap
RESAMPLE_SEED = 0  # the same data always give the same interval


def none_bound(runs: int) -> float:
    """The largest chance of an event that `runs` runs without one leave possible: 1 - 0.05^(1 / runs), exactly."""
    return float(-np.expm1(np.log1p(-CONFIDENCE) / runs))


def share_interval(events: int, runs: int) -> Interval:
    """The chance of an event in a run, with Clopper and Pearson's exact interval. Raises ProxygapError for no run."""
    if not 0 <= events <= runs or runs < 1:
        raise ProxygapError(f"{events} events in {runs} runs: from 0 to all of at least 1 run can have one")
    if not events:
        return 0.0, 0.0, none_bound(runs)
    found = stats.binomtest(events, runs).proportion_ci(CONFIDENCE, method="exact")
    return events / runs, float(found.low), float(found.high)


def rate_interval(events: int, exposure: float) -> Interval:
    """Events per unit of exposure, with Garwood's exact interval of a Poisson count. Raises ProxygapError for no exposure."""
    if events < 0 or not exposure > 0:
        raise ProxygapError(f"{events} events in an exposure of {exposure}: from 0 events, and some exposure, are needed")
    low = chi2.ppf(TAIL, 2 * events) / 2 if events else 0.0
    high = chi2.ppf(1 - TAIL if events else CONFIDENCE, 2 * events + 2) / 2
    return events / exposure, float(low / exposure), float(high / exposure)


def weighted_interval(weights: Array, largest: float) -> Interval:
    """The sum of the weights [M] of the events that were seen, with Fay and Feuer's interval; none weighs more than `largest`.

    It takes the events for rare and independent, and is Garwood's where all weigh alike.
    """
    total, squares = float(np.sum(weights)), float(np.square(weights).sum())
    if total <= 0:
        return 0.0, 0.0, float(largest * chi2.ppf(CONFIDENCE, 2) / 2)
    more, squared = total + largest, squares + largest**2
    low = squares / total * chi2.ppf(TAIL, 2 * total**2 / squares) / 2
    return total, float(low), float(squared / more * chi2.ppf(1 - TAIL, 2 * more**2 / squared) / 2)


def bootstrap_interval(values: Array) -> Interval:
    """The mean of values [N], one a scene, with the BCa bootstrap's interval: whole scenes are drawn anew.

    No interval from one scene, or from values that are all alike.
    """
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return mean, -np.inf, np.inf
    rng = np.random.default_rng(RESAMPLE_SEED)
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, batch=100, confidence_level=CONFIDENCE, method="BCa", rng=rng
    ).confidence_interval
    return mean, float(found.low), float(found.high)


def repeated_interval(estimates: Array) -> Interval:
    """The mean of independent unbiased estimates [R] of a chance, with Student's interval, cut off at 0; none from one."""
    mean = float(np.mean(estimates))
    if len(estimates) < 2:
        return mean, 0.0, np.inf
    half = stats.t.ppf(1 - TAIL, len(estimates) - 1) * np.std(estimates, ddof=1) / len(estimates) ** 0.5
    return mean, float(max(mean - half, 0.0)), float(mean + half)
