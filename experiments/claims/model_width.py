"""Claim 7, first half: smaller reward models are overoptimised earlier.

The peak d* = a / 2b of the curve d (a - b d), fitted to the gold of the best of n in SensorLab, should move outwards with the
width of the model's two hidden layers.

Gao, Schulman and Hilton 2023 (arXiv:2210.10760), section 3.2. Sizes set 2026-11-24 on seeds 100 to 102.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ..gold_curves import Variant
from ..overoptimization import Overoptimization
from ..statistics import difference
from . import SEEDS, Record, Say, above

STUDY = Overoptimization("sensor_lab", comparisons=(200,), mistakes=0.25, episodes=4096)
WIDTHS = (4, 8, 16, 32, 64)


def examine(say: Say, study: Overoptimization = STUDY, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """How d* goes with a doubled width, and the gold that the widest model leaves at the largest n against the narrowest's."""
    from .learned import learned_curves, peaks, trend

    found = learned_curves(study, [Variant(max(study.comparisons), width) for width in WIDTHS], seeds, say)
    slope, path = trend(np.log2(WIDTHS), peaks(found)), ", ".join(f"{peak:.2f}" for peak in peaks(found).mean(1))
    reading = f"d* of widths {', '.join(map(str, WIDTHS))}, at most {found[0].distance[-1]:.2f}: {path}"
    yield Record(7, "d* per doubled width", slope, above(slope), reading)
    narrowest, widest = found[0].gold[:, -1], found[-1].gold[:, -1]
    gain, reading = difference(widest, narrowest, paired=True), f"{widest.mean():.2f} against {narrowest.mean():.2f}"
    yield Record(
        7, f"gold at n = {found[0].sizes[-1]:,}, width {WIDTHS[-1]} minus width {WIDTHS[0]}", gain, above(gain), reading
    )
