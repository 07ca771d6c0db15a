"""How long it takes to find a failure: survival curves of queries-to-find, of trials that may end without a find.

Once hardening works most trials end with their budget spent, and no median exists any more. What does exist is the share of
trials S(q) that are still without a find after q queries, its area up to Q (the restricted mean: the queries that a trial of at
most Q spends on average), and finds per query.

Sources: Kaplan and Meier 1958; Royston and Parmar 2013, "Restricted mean survival time", BMC Medical Research Methodology
13:152; Garwood 1936; Clopper and Pearson 1934 for the ratio of two Poisson rates, conditional on their sum; Davison and
Hinkley 1997, "Bootstrap Methods and their Application", section 3.8, for drawing groups and then what is in them.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import stats

from ..agents.intervals import rate_interval
from ..envs.batch import Array
from ..envs.core import ProxygapError
from .statistics import CONFIDENCE, Estimate

TAIL = (1 - CONFIDENCE) / 2
RESAMPLES = 1000
RESAMPLE_SEED = 0  # the same data always give the same interval


@dataclass(frozen=True)
class Trials:
    """N trials: the queries of each up to its find, or to its end without one."""

    queries: Array  # [N] from 1
    found: Array  # [N] bool

    def __post_init__(self) -> None:
        shape = np.shape(self.queries)
        if len(shape) != 1 or not shape[0] or np.shape(self.found) != shape or np.min(self.queries) < 1:
            raise ProxygapError(
                f"trials of queries {shape} and finds {np.shape(self.found)}: give one number from 1 and one find a trial"
            )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All trials of several records."""
        return cls(np.concatenate([part.queries for part in parts]), np.concatenate([part.found for part in parts]))


@dataclass(frozen=True)
class Curve:
    """The share of trials still without a find after so many queries, with its pointwise interval."""

    queries: Array  # [M] ascending: where a trial found something, or ended
    share: Array  # [M] after that query
    low: Array  # [M]
    high: Array  # [M]

    @property
    def median(self) -> float | None:
        """The queries after which half of the trials have found something; None where they never have."""
        reached = self.queries[self.share <= 0.5]
        return float(reached[0]) if len(reached) else None


def curve(trials: Trials) -> Curve:
    """Kaplan and Meier's estimate, with the exponential form of Greenwood's interval."""
    finds = np.asarray(trials.found, bool)
    censored = stats.CensoredData(uncensored=trials.queries[finds], right=trials.queries[~finds])
    found = stats.ecdf(censored).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all or none are left there is no variance, and no bound
        interval = found.confidence_interval(CONFIDENCE, method="log-log")
    low, high = (
        np.where(np.isnan(p), q, p) for p, q in ((interval.low.probabilities, 0.0), (interval.high.probabilities, 1.0))
    )
    return Curve(found.quantiles, found.probabilities, low, high)


def restricted_mean(trials: Trials, most: float) -> float:
    """The queries that a trial of at most `most` spends on average: the area under S up to there.

    Raises ProxygapError where no trial was followed so far, and some had found nothing.
    """
    _check_followed(trials, most)
    return float(_restricted_means(np.asarray(trials.queries, float)[None], np.asarray(trials.found, bool)[None], most)[0])


def _check_followed(trials: Trials, most: float) -> None:
    last = np.max(trials.queries)
    if most <= 0 or (most > last and not np.all(np.asarray(trials.found)[trials.queries == last])):
        raise ProxygapError(
            f"a mean restricted to {most} queries of trials that were followed for {last}: give at most that many"
        )


def _restricted_means(queries: Array, found: Array, most: float) -> Array:
    """The area under each of B curves up to `most`, [B]; queries and finds are [B, N]. A find counts before an end."""
    order = np.lexsort((~found, queries), axis=1)
    queries, found = (np.take_along_axis(part, order, 1) for part in (queries, found))
    at_risk = np.arange(queries.shape[1], 0, -1)
    share = np.cumprod(1 - found / at_risk, axis=1)
    until = np.minimum(queries, most)
    widths = np.diff(until, axis=1, prepend=0.0, append=np.full((len(until), 1), most))
    return widths[:, 0] + (share * widths[:, 1:]).sum(1)


def find_rate(trials: Trials) -> Estimate:
    """Finds per query, with Garwood's exact interval of a Poisson count; with no find, the upper bound alone, from 0."""
    return Estimate(*rate_interval(int(np.sum(trials.found)), float(np.sum(trials.queries))), len(trials.queries))


def rate_ratio(first: Trials, second: Trials) -> Estimate:
    """Finds per query of `first` over those of `second`, with the exact interval conditional on their sum.

    Of n finds in all, those of `first` are binomial. Where one side found nothing, the interval is one-sided: the ratio is at
    most, or at least, so much. Where neither did, nothing is known.
    """
    (a, b), (spent, other) = (
        (int(np.sum(t.found)) for t in (first, second)),
        (float(np.sum(t.queries)) for t in (first, second)),
    )
    trials = len(first.queries) + len(second.queries)
    if not a + b:
        return Estimate(np.nan, 0.0, np.inf, trials)
    level = CONFIDENCE if a and b else 2 * CONFIDENCE - 1
    share = stats.binomtest(a, a + b).proportion_ci(level, method="exact")
    ratio, low, high = (odds * other / spent for odds in (_odds(a / (a + b)), _odds(share.low), _odds(share.high)))
    return Estimate(ratio, low, high, trials)


def _odds(share: float) -> float:
    return float(share / (1 - share)) if share < 1 else np.inf


def gains(before: Sequence[Trials], after: Sequence[Trials], most: float) -> Array:
    """log2 of how many times more queries a trial of at most `most` spends `after` than `before`, in each seed: [S]."""
    pairs = zip(before, after, strict=True)
    return np.array([np.log2(restricted_mean(b, most) / restricted_mean(a, most)) for a, b in pairs])


def times_as_many(before: Sequence[Trials], after: Sequence[Trials], most: float) -> Estimate:
    """The `log_ratio`; of one seed alone, without an interval."""
    if len(before) == len(after) == 1:
        return Estimate(float(gains(before, after, most)[0]), -np.inf, np.inf, 1)
    return log_ratio(before, after, most)


def log_ratio(before: Sequence[Trials], after: Sequence[Trials], most: float) -> Estimate:
    """log2 of how many times more queries a trial of at most `most` spends `after` than `before`: the mean over seeds.

    One record each for every seed of the hardening. Its standard error is a two-level bootstrap's: seeds are drawn, and then
    trials within them. It is widened by Student's t of S - 1 degrees of freedom, for percentiles of 5 seeds cover 84 %, not
    95; so 5 seeds cover 93 % if only seeds differ, and up to 99 % if only trials do, whose chance is then counted twice.
    Where nothing was found after, a longer search can only say more: the upper bound is infinite. Raises ProxygapError for
    fewer than 2 seeds, and unless they are paired.
    """
    if len(before) != len(after) or len(before) < 2:
        raise ProxygapError(f"{len(before)} seeds before and {len(after)} after: give the same seeds, 2 at least")
    for trials in (*before, *after):
        _check_followed(trials, most)
    pairs, seeds = list(zip(before, after, strict=True)), len(before)
    value = float(gains(before, after, most).mean())
    half = float(stats.t.ppf(1 - TAIL, seeds - 1) * _redrawn(pairs, most).mean(1).std())
    high = value + half if any(np.any(trials.found) for trials in after) else np.inf
    return Estimate(value, value - half, high, seeds)


def _redrawn(pairs: Sequence[tuple[Trials, Trials]], most: float) -> Array:
    """log2 ratios [RESAMPLES, S] of seeds drawn anew, and of trials drawn anew within each."""
    rng = np.random.default_rng(RESAMPLE_SEED)
    drawn = rng.integers(len(pairs), size=(RESAMPLES, len(pairs)))
    ratios = np.zeros(drawn.shape)
    for seed, (before, after) in enumerate(pairs):
        here = drawn == seed
        ratios[here] = _resampled(after, here.sum(), most, rng) - _resampled(before, here.sum(), most, rng)
    return ratios


def _resampled(trials: Trials, number: int, most: float, rng: np.random.Generator) -> Array:
    """log2 restricted means [number] of trials drawn anew."""
    rows = rng.integers(len(trials.queries), size=(number, len(trials.queries)))
    return np.log2(_restricted_means(np.asarray(trials.queries, float)[rows], np.asarray(trials.found, bool)[rows], most))
