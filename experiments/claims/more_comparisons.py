"""Claim 2: models of more comparisons can be optimised further before gold falls, if the comparisons cover what is optimised.

The peak d* = a / 2b of the curve d (a - b d), fitted to the gold of the best of n in SensorLab, should move outwards as a model
learns from more comparisons. That needs comparisons of behaviour like that which is chosen from: from a teacher who was shown
only a reference that hardly wavers, more of the same should help less.

Gao, Schulman and Hilton 2023 (arXiv:2210.10760), section 3.3. Sizes set 2026-11-24 on seeds 100 to 102.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..gold_curves import Variant
from ..overoptimization import Overoptimization
from ..statistics import difference
from . import SEEDS, Record, Say, above

STUDY = Overoptimization("sensor_lab", comparisons=(50, 200, 800, 2000), mistakes=0.25, episodes=4096)
NARROW = 0.1  # share of random actions, at most, in the play that does not cover what is optimised


def examine(say: Say, study: Overoptimization = STUDY, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """How d* and gold at the largest n go with ten times the comparisons, with coverage, and what coverage makes of that."""
    from .learned import learned_curves, peaks, trend

    variants, levels = [Variant(number, 32) for number in study.comparisons], np.log10(study.comparisons)
    narrow = replace(study, wavering=NARROW)
    covered, uncovered = (learned_curves(study, variants, seeds, say, taught) for taught in (study, narrow))
    furthest, slopes = covered[0].distance[-1], []
    for name, found in (("covering what is optimised", covered), (f"with {NARROW:.0%} random actions at most", uncovered)):
        slope = trend(levels, peaks(found))
        slopes.append(np.polyfit(levels, peaks(found), 1)[0])
        path = ", ".join(f"{peak:.2f}" for peak in peaks(found).mean(1))
        reading = f"d* of {', '.join(map(str, study.comparisons))} comparisons, at most {furthest:.2f}: {path}"
        yield Record(2, f"d* per tenfold comparisons {name}", slope, above(slope), reading)
    gain, reading = difference(*slopes, paired=True), "both slopes of the same seeds"
    yield Record(2, "d* per tenfold comparisons, what coverage adds", gain, above(gain), reading)
