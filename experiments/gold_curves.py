"""How gold goes while a learned reward is optimised: a curve for each reward model, by best-of-n or by PPO.

Gold is the true return; a distance is the square root of the KL divergence from the reference, in nats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..agents.selection import best_of, best_of_divergence
from ..envs.batch import Array
from .fits import Fit, fitted, peak_interval
from .statistics import Estimate, mean_interval

AT_MOST = 4  # n reaches the episodes divided by this: beyond, the best of n are the same few episodes again and again
LOST = 0.25  # of what gold had risen by, that overoptimisation has to cost: less may be a policy's wavering from step to step


@dataclass(frozen=True)
class Variant:
    """A reward model of the study."""

    comparisons: int
    width: int  # of both hidden layers
    members: int = 1
    aggregate: str = "mean"

    def __str__(self) -> str:
        ensemble = f", {self.members} members ({self.aggregate})" if self.members > 1 else ""
        return f"{self.comparisons} comparisons, width {self.width}{ensemble}"


@dataclass(frozen=True)
class Curve:
    """What came of optimising one variant's reward, over S seeds and C degrees of it."""

    variant: Variant
    sizes: Array  # [C] n of best-of-n, or steps of PPO
    distance: Array  # [C] or [S, C] square root of the divergence from the reference, nats
    gold: Array  # [S, C] true return
    learned: Array  # [S, C] learned return, in standard deviations above the reference's mean
    halves: Array  # [2, S, C, 2] gold and learned return by either half of the episodes alone
    accuracy: Array  # [S] of the model on fresh comparisons
    ceiling: Array  # [S] the accuracy that the teacher's answers allow
    optimiser: Literal["best_of", "learning"] = "best_of"

    def __str__(self) -> str:
        return f"{self.variant}{', PPO' * (self.optimiser == 'learning')}"

    @cached_property
    def distances(self) -> Array:
        """[S, C] the distance in each seed."""
        return np.broadcast_to(self.distance, self.gold.shape)

    @cached_property
    def fits(self) -> list[Fit]:
        """The optimiser's curve through each seed's gold."""
        return [fitted(self.optimiser, d, gold - gold[0]) for d, gold in zip(self.distances, self.gold, strict=True)]

    @property
    def peak(self) -> int:
        """The n, or the steps, of the highest mean gold."""
        return int(self.sizes[self.gold.mean(0).argmax()])

    @cached_property
    def changes(self) -> Array:
        """[S, 3] how far gold rises to its peak and falls from there to the end, and the learned return rises meanwhile.

        The latter as a share of its range, as models differ in scale. They differ in where gold peaks, too, so every seed has
        its own peak; it is chosen on one half of the episodes and measured on the other, so that noise can't make one.
        """
        found = []
        for choosing, measured in (self.halves, self.halves[::-1]):
            top = np.take_along_axis(measured, choosing[..., :1].argmax(1, keepdims=True), 1)[:, 0]
            first, last, spread = measured[:, 0], measured[:, -1], np.ptp(measured[..., 1], 1)
            learned = (last[:, 1] - top[:, 1]) / np.where(spread > 0, spread, 1.0)
            found.append(np.stack([top[:, 0] - first[:, 0], top[:, 0] - last[:, 0], learned], 1))
        return np.mean(found, 0)

    @property
    def rise(self) -> Estimate:
        """How far gold rises to its peak."""
        return mean_interval(self.changes[:, 0])

    @property
    def drop(self) -> Estimate:
        """How far gold falls from its peak to the end."""
        return mean_interval(self.changes[:, 1])

    @property
    def turned(self) -> int:
        """In how many seeds gold rises and then loses more than `LOST` of that, while the learned return rises."""
        rise, drop, learned = self.changes.T
        return int(((rise > 0) & (drop > LOST * rise) & (learned > 0)).sum())

    @property
    def overoptimised(self) -> bool:
        """Whether gold rises and then loses more than `LOST` of that while the learned return rises: all three clear of 0."""
        rise, drop, learned = self.changes.T
        return all(mean_interval(change).low > 0 for change in (rise, drop - LOST * rise, learned))


def sizes(episodes: int) -> Array:
    """The n of best-of-n: powers of two up to a quarter of the episodes."""
    return 2 ** np.arange(int(np.log2(episodes / AT_MOST)) + 1)


def best_of_curves(variants: Sequence[Variant], stored: Sequence[Mapping[str, Array]]) -> list[Curve]:
    """The curve of each variant from each seed's `gold` [N], `learned` [V, N], `accuracy` [V] and `ceiling` []."""
    ns = sizes(len(stored[0]["gold"]))
    found = []
    for row, variant in enumerate(variants):
        pairs = [np.stack([seed["gold"], _standard(seed["learned"][row])], 1) for seed in stored]
        whole = np.array([best_of(pair[:, 1], pair, ns) for pair in pairs])  # [S, C, 2]
        halves = [[best_of(pair[start::2, 1], pair[start::2], ns) for pair in pairs] for start in (0, 1)]
        accuracy = np.array([seed["accuracy"][row] for seed in stored])
        ceiling = np.array([float(seed["ceiling"]) for seed in stored])
        distance = best_of_divergence(ns) ** 0.5
        found.append(Curve(variant, ns, distance, whole[..., 0], whole[..., 1], np.array(halves), accuracy, ceiling))
    return found


def learning_curve(best_of: Curve, metrics: Sequence[Sequence[Mapping[str, Any]]], scores: Array) -> Curve:
    """PPO's curve of the variant whose curve of best-of-n this is.

    `metrics` are each seed's rows, with `kl`, `true` and `paid` of every episode; `scores` [S, N] the learned returns of the
    reference's episodes.
    """
    kl, gold, paid = (np.array([[row[name] for row in rows] for rows in metrics]) for name in ("kl", "true", "paid"))
    mean, deviation = (getattr(scores, name)(1)[:, None, None] for name in ("mean", "std"))
    both = np.stack([gold, (paid - mean) / deviation], -1)  # [S, C, E, 2]
    return replace(
        best_of,
        sizes=np.array([row["steps"] for row in metrics[0]]),
        distance=kl.mean(2) ** 0.5,
        gold=gold.mean(2),
        learned=both[..., 1].mean(2),
        halves=np.stack([both[:, :, start::2].mean(2) for start in (0, 1)]),
        optimiser="learning",
    )


def _standard(score: Array) -> Array:
    """In standard deviations from the mean."""
    return (score - score.mean()) / (score.std() or 1.0)


def summary(curve: Curve) -> dict[str, Any]:
    """A curve as plain data, for JSON: what is infinite or unknown is None."""
    fits, estimates = curve.fits, (curve.rise, curve.drop, peak_interval(curve.fits))
    rise, drop, peak = ({key: _known(value) for key, value in vars(found).items()} for found in estimates)
    return {
        "variant": vars(curve.variant),
        "optimiser": curve.optimiser,
        "n" if curve.optimiser == "best_of" else "steps": curve.sizes.tolist(),
        "sqrt_kl": curve.distances.tolist(),
        "gold": curve.gold.tolist(),
        "learned": curve.learned.tolist(),
        "accuracy": curve.accuracy.tolist(),
        "ceiling": curve.ceiling.tolist(),
        "fit": {"a": [f.a for f in fits], "b": [f.b for f in fits], "r_squared": [_known(f.r_squared) for f in fits]},
        "peak_sqrt_kl": peak,
        "peak": curve.peak,
        "rise": rise,
        "drop": drop,
        "turned": curve.turned,
        "overoptimised": curve.overoptimised,
    }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
