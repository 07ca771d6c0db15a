"""Are probabilities worth their name: of what was called 70 % likely, did 70 % happen?

All measures take the probability [N] that the first of two stretches is better, and the label [N]: 1, 0.5 or 0, or any
probability. They say nothing about pairs of another kind than those measured: a model can be well calibrated where it was
taught and sure of what is wrong where an optimiser goes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, xlogy

from ..envs.batch import Array
from ..envs.core import ProxygapError

BINS = 15
RANGE = 7.0  # temperatures from e^-7 to e^7: differences without any information, or without any doubt, have none of their own


@dataclass(frozen=True)
class Reliability:
    """What was said and what came true, bin by bin; bins without any pair are nan."""

    edges: Array  # [bins + 1]
    count: Array  # [bins]
    said: Array  # [bins] mean probability
    happened: Array  # [bins] mean label


def reliability(probability: Array, label: Array, bins: int = BINS) -> Reliability:
    """The table behind a reliability diagram, over bins of equal width. Raises ProxygapError for what is no probability."""
    probability, label = _checked(probability, label)
    if bins < 1:
        raise ProxygapError(f"{bins} bins: at least 1 is needed")
    place = np.minimum((probability * bins).astype(int), bins - 1)
    count, said, happened = (np.bincount(place, weights, bins) for weights in (None, probability, label))
    with np.errstate(invalid="ignore"):
        return Reliability(np.linspace(0, 1, bins + 1), count, said / count, happened / count)


def expected_calibration_error(probability: Array, label: Array, bins: int = BINS) -> float:
    """The mean distance between what was said and what came true, bins weighted by their pairs.

    Naeini, Cooper and Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian binning". Never 0 by chance:
    few pairs in a bin differ from what they stand for, so compare models on the same number of pairs.
    """
    table = reliability(probability, label, bins)
    filled = table.count > 0
    return float(np.average(np.abs(table.said - table.happened)[filled], weights=table.count[filled]))


def brier(probability: Array, label: Array) -> float:
    """The mean squared distance to the label (Brier 1950): 0 at best, 0.25 for always saying one half."""
    probability, label = _checked(probability, label)
    return float(((probability - label) ** 2).mean())


def negative_log_likelihood(probability: Array, label: Array) -> float:
    """The mean cross-entropy, nats: log 2 for always saying one half, infinite for having been certain and wrong."""
    probability, label = _checked(probability, label)
    return float(-(xlogy(label, probability) + xlogy(1 - label, 1 - probability)).mean())


def temperature(difference: Array, label: Array, noise: float = 0.0) -> float:
    """The temperature T that makes noise / 2 + (1 - noise) sigmoid(difference / T) likeliest; above 1 the model was too sure.

    `difference` is of log odds, [N], or [K, N] for K members whose probabilities are averaged. One number can't change which
    side is preferred by a single model. Guo, Pleiss, Sun and Weinberger (2017), arXiv:1706.04599. Raises ProxygapError for
    differences that are all 0, to which every temperature is the same.
    """
    difference, label = np.atleast_2d(np.asarray(difference, float)), np.asarray(label, float)
    _checked(expit(difference[0]), label)
    if not np.isfinite(difference).all() or not difference.any() or not 0 <= noise < 1:
        given = f"differences from {difference.min()} to {difference.max()}, noise {noise}"
        raise ProxygapError(f"{given}: finite ones are needed, not all of them 0, and a share of answers below 1")

    def cost(log_temperature: float) -> float:
        odds = difference * np.exp(-log_temperature)
        return -float((label * _log_mean(odds, noise) + (1 - label) * _log_mean(-odds, noise)).mean())

    found: Any = minimize_scalar(cost, bounds=(-RANGE, RANGE), method="bounded")
    return float(np.exp(found.x))


def _log_mean(odds: Array, noise: float) -> Array:
    """Log of the members' [K, N] mean probability, [N], which stays finite where the probability itself would be 0."""
    sure = logsumexp(-np.logaddexp(0, -odds), axis=0) - np.log(len(odds))
    return sure if noise == 0 else np.logaddexp(np.log(noise / 2), np.log1p(-noise) + sure)


def _checked(probability: Array, label: Array) -> tuple[Array, Array]:
    probability, label = np.asarray(probability, float), np.asarray(label, float)
    if probability.shape != label.shape or probability.ndim != 1 or not len(label):
        raise ProxygapError(f"probabilities {probability.shape} and labels {label.shape}: one of each for every pair is needed")
    for what, values in (("probabilities", probability), ("labels", label)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ProxygapError(f"{what} from {values.min()} to {values.max()}: they must lie between 0 and 1")
    return probability, label
