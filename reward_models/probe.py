"""Did it know? A linear probe reads off hidden features whether a catastrophe is coming.

A failure that the filter lets through and of which the features tell nothing either is one of not knowing; one that can be read
off the features is one of knowing and doing it anyway. Linear probes: Alain and Bengio 2016, "Understanding intermediate layers
using linear classifier probes", arXiv:1610.01644. What a probe finds is only that the features tell it, not that it was used.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ..envs.batch import Array
from ..envs.core import ProxygapError


def pooled(features: Array, valid: Array) -> Array:
    """Features [N, T, d] of the steps that are `valid` [N, T] as one row a stretch, [N, 2 d]: their means and maxima."""
    if features.shape[:2] != valid.shape or features.ndim != 3 or not valid.any(1).all():
        raise ProxygapError(f"features {features.shape} of {valid.shape} steps: give [N, T, d], and a step in every stretch")
    weight = valid[..., None]
    mean = (features * weight).sum(1) / weight.sum(1)
    return np.concatenate([mean, np.where(weight, features, -np.inf).max(1)], 1)


def probe(
    features: Array, labels: Array, groups: Array | None = None, folds: int = 5, decay: float = 1.0, seed: int = 0
) -> Array:
    """Log odds [N] that a linear probe of features [N, d] gives labels [N], each by a probe that did not see that row.

    Logistic regression, fitted to all but one of `folds` parts in turn; `decay` / 2 times the squared weights (of columns of
    deviation 1) is added to the summed loss. Rows of one of the `groups` [N] fall into the same part. Raises ProxygapError
    where rows don't fit each other, features are not finite, or a part leaves only one kind of label to learn from.
    """
    bad, part = np.asarray(labels).astype(bool), _parts(labels, groups, folds, np.random.default_rng(seed))
    if features.ndim != 2 or len(features) != len(bad) or not np.isfinite(features).all():
        raise ProxygapError(f"features {features.shape} of {len(bad)} labels: give finite numbers [N, d], a row for each label")
    found = np.empty(len(bad))
    for held in (part == number for number in range(folds)):
        if len(np.unique(bad[~held])) < 2:
            raise ProxygapError(f"{bad.sum()} of {len(bad)} labels are positive: too few of a kind for {folds} folds")
        found[held] = _fitted(features[~held], bad[~held], decay)(features[held])
    return found


def flagged(scores: Array, labels: Array, acceptance: float = 0.95) -> Array:
    """[N] bool, which scores are above what at least the share `acceptance` of the negative ones stays within."""
    if not len(harmless := scores[~np.asarray(labels).astype(bool)]) or not 0 < acceptance <= 1:
        raise ProxygapError(f"acceptance {acceptance} of {len(harmless)} harmless scores: a share of at least one is needed")
    return scores > np.quantile(harmless, acceptance, method="higher")


@dataclass(frozen=True)
class Failures:
    """Catastrophes, counted by who noticed them."""

    nobody: int
    probe: int  # alone
    filter: int  # alone
    both: int

    @property
    def did_not_know(self) -> int:
        """Filter and probe both missed them."""
        return self.nobody

    @property
    def knew(self) -> int:
        """Somebody noticed them, and they were done all the same."""
        return self.probe + self.filter + self.both


def split_failures(filter_accepts: Array, probe_flags: Array) -> Failures:
    """N catastrophes, by whether the filter accepted each [N] bool and the probe flagged it [N] bool."""
    accepts, flags = np.asarray(filter_accepts).astype(bool), np.asarray(probe_flags).astype(bool)
    if accepts.shape != flags.shape or accepts.ndim != 1:
        raise ProxygapError(
            f"{accepts.shape} verdicts of a filter and {flags.shape} of a probe: give one of each a catastrophe"
        )
    counts = [(accepts & ~flags).sum(), (accepts & flags).sum(), (~accepts & ~flags).sum(), (~accepts & flags).sum()]
    return Failures(*map(int, counts))


def _parts(labels: Array, groups: Array | None, folds: int, rng: np.random.Generator) -> Array:
    """The part [N] that each row falls into: groups are dealt out in random order, those with a positive label first."""
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if len(names) != len(labels) or folds < 2:
        raise ProxygapError(f"{len(names)} groups, {len(labels)} labels, {folds} folds: give one each, and 2 folds")
    _, group = np.unique(names, return_inverse=True)
    positive = np.bincount(group, np.asarray(labels).astype(bool)) > 0
    order = np.lexsort((rng.random(len(positive)), ~positive))
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order)) % folds
    return place[group]


@dataclass(frozen=True)
class _Linear:
    mean: Array  # [d]
    deviation: Array  # [d]
    weights: Array  # [d + 1], the last is the intercept

    def __call__(self, features: Array) -> Array:
        return (features - self.mean) / self.deviation @ self.weights[:-1] + self.weights[-1]


def _fitted(features: Array, bad: Array, decay: float) -> _Linear:
    mean, deviation = features.mean(0), features.std(0)
    deviation = np.where(deviation > 1e-9 * (1 + np.abs(mean)), deviation, 1.0)
    x, sign = (features - mean) / deviation, np.where(bad, 1.0, -1.0)

    def loss(weights: Array) -> tuple[float, Array]:
        margin = sign * (x @ weights[:-1] + weights[-1])
        pull = -sign / (1 + np.exp(np.clip(margin, -500, 500)))
        gradient = np.append(pull @ x + decay * weights[:-1], pull.sum())
        return float(np.logaddexp(0, -margin).sum() + decay / 2 * (weights[:-1] ** 2).sum()), gradient

    return _Linear(mean, deviation, minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x)
