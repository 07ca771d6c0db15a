"""Claim 27: the optimiser's curse. The best of many noisy estimates disappoints, although each of them is unbiased.

n options are worth V, are estimated as U = V + error, both normal, and the one with the highest estimate is chosen. Its
estimate is too high by (var error / sd U) E[max of n standard normals] on average, and it is worth (var V / sd U) E[max of n
standard normals]. Who shrinks estimates to what they let expect, (var V / var U) U, makes the same choice and is not
disappointed.

Smith and Winkler 2006, "The optimizer's curse", Management Science 52(3):311. Sizes set 2026-11-24. With 2,000 choices in a
run whatever n, the first run could not tell for n = 4, where 0.741 (0.711 to 0.771) was found and 0.728 expected; now every n
has the same number of draws.
"""

from collections.abc import Iterator

import numpy as np
from scipy import integrate, stats

from ...envs.batch import Array
from ..statistics import mean_interval
from . import SEEDS, Record, Say, within

OPTIONS = (4, 64, 1024)
ERROR = 1.0  # standard deviation of the errors; that of the worth is 1
DRAWS = 2_048_000  # options in a run: the fewer in a choice, the more choices
MARGIN = 0.05  # share of the expected disappointment up to which two disappointments are the same


def expected_maximum(n: int) -> float:
    """The expected greatest of n standard normal numbers, by quadrature."""
    return float(integrate.quad(lambda x: x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1), -12, 12, limit=200)[0])


def examine(say: Say, draws: int = DRAWS) -> Iterator[Record]:
    """The disappointment against its closed form, for few and many options, and without the curse."""
    variance = 1 + ERROR**2
    for n in OPTIONS:
        say(f"the best of {n}")
        estimated, worth = np.array([chosen(n, draws // n, seed) for seed in range(SEEDS)]).T
        curse = ERROR**2 / variance**0.5 * expected_maximum(n)
        found, shrunk = mean_interval(estimated - worth), mean_interval(estimated / variance - worth)
        name = f"estimate minus worth, best of {n:,}"
        reading = f"the chosen option is worth {found.value:.3f} less than estimated; by the formula, {curse:.3f}"
        yield Record(27, name, found, within(found, curse, MARGIN * curse), reading)
        reading = f"shrunken estimates are off by {shrunk.value:.3f}, and choose the same"
        yield Record(27, f"shrunken {name}", shrunk, within(shrunk, 0.0, MARGIN * curse), reading)


def chosen(n: int, repeats: int, seed: int) -> tuple[float, float]:
    """Mean estimate and mean worth of the options that are chosen in one run."""
    rng = np.random.default_rng((27, n, seed))
    worth = rng.normal(size=(repeats, n))
    estimate = worth + rng.normal(0.0, ERROR, (repeats, n))
    return float(estimate.max(1).mean()), float(taken(worth, estimate).mean())


def taken(values: Array, estimate: Array) -> Array:
    """The values [B] of those options [B, n] that have the highest estimate."""
    return np.take_along_axis(values, estimate.argmax(1)[:, None], 1)[:, 0]
