"""How the gold reward goes with an optimiser's distance from where it began: the two curves of Gao, Schulman and Hilton.

d is the square root of the KL divergence to the initial policy, in nats; gold is counted from 0 at d = 0. Best-of-n follows
d (a - b d), reinforcement learning d (a - b log d). Source: arXiv:2210.10760, section 3.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats
from scipy.linalg import lstsq

from ..envs.batch import Array
from ..envs.core import ProxygapError
from .statistics import CONFIDENCE, Estimate

BENDS: dict[str, Callable[[Array], Array]] = {"best_of": lambda d: d, "learning": np.log}  # what b is multiplied with


@dataclass(frozen=True)
class Fit:
    """A curve through one run's points."""

    form: Literal["best_of", "learning"]
    a: float
    b: float
    r_squared: float  # share of the gold's variance that the curve explains

    def __call__(self, d: Array) -> Array:
        """The gold at distances `d` > 0, above that of the initial policy."""
        return np.asarray(d, float) * (self.a - self.b * BENDS[self.form](d))

    @property
    def peak(self) -> float:
        """The distance at which gold is highest: infinite where the curve never turns down."""
        return np.inf if self.b <= 0 else _peak(self.form, self.a / self.b)


def _peak(form: str, ratio: float) -> float:
    """Where a curve with b > 0 and this a / b is highest."""
    return max(ratio / 2, 0.0) if form == "best_of" else float(np.exp(ratio - 1))


def peak_interval(fits: Sequence[Fit]) -> Estimate:
    """Where the mean of several runs' curves is highest, with an interval over runs; unbounded where it may never turn down.

    Fieller's interval of a ratio of two means (1954, "Some problems in interval estimation", J. R. Stat. Soc. B 16(2)).
    """
    a, b = np.array([(fit.a, fit.b) for fit in fits]).T
    form, runs, middle = fits[0].form, len(fits), Fit(fits[0].form, a.mean(), b.mean(), np.nan).peak
    if runs < 2:
        return Estimate(middle, 0.0, np.inf, runs)
    (aa, ab), (_, bb) = stats.t.ppf(0.5 + CONFIDENCE / 2, runs - 1) ** 2 * np.cov(a, b) / runs
    if b.mean() <= 0 or b.mean() ** 2 <= bb:
        return Estimate(middle, 0.0, np.inf, runs)
    low, high = sorted(np.roots([b.mean() ** 2 - bb, 2 * (ab - a.mean() * b.mean()), a.mean() ** 2 - aa]).real)
    return Estimate(middle, _peak(form, low), _peak(form, high), runs)


def fitted(form: Literal["best_of", "learning"], d: Array, gold: Array) -> Fit:
    """The least-squares curve through `gold` [C] (above that at d = 0) at distances `d` [C], of which those above 0 count.

    Raises ProxygapError for fewer than 3 of them: two points say nothing of how well the form fits.
    """
    d, gold = np.asarray(d, float), np.asarray(gold, float)
    away = d > 0
    if away.sum() < 3:
        raise ProxygapError(f"a curve through {away.sum()} points away from the start: at least 3 are needed")
    d, gold = d[away], gold[away]
    columns = np.stack([d, -d * BENDS[form](d)], 1)  # the curve is linear in a and b
    a, b = lstsq(columns, gold)[0]  # pyright: ignore[reportOptionalSubscript, reportGeneralTypeIssues]
    left, varied = gold - columns @ [a, b], float(((gold - gold.mean()) ** 2).sum())
    return Fit(form, float(a), float(b), 1 - float(left @ left) / varied if varied > 0 else np.nan)
