"""Claim 24: a reward model that is calibrated where it was taught is too sure of the pairs that its own optimisation makes.

A model learns from 100 comparisons in SensorLab, a quarter of them mistaken; its temperature is set on 500 more. Its expected
calibration error on 500 fresh pairs of that kind is compared with that on 500 pairs of stretches from those 2 % of fresh
episodes which it rates best, with each other and with ordinary ones. The teacher's own probabilities are the labels, so that
the luck of an answer is no error.

Gao et al. 2023 (arXiv:2210.10760) and Tien et al. 2022 (arXiv:2204.06601) suggest it; the measure is that of Naeini et al.
2015. Sizes set 2026-11-24 on seeds 100 and 101. There models of 200 comparisons without mistakes, in SensorLab and Recommender,
which are hardly overoptimised, had about the same error on both kinds of pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...envs.batch import Array
from ..overoptimization import Overoptimization
from ..statistics import mean_interval
from . import SEEDS, Record, Say, above

STUDY = Overoptimization("sensor_lab", comparisons=(100,), mistakes=0.25, episodes=2048)
PAIRS, TOP, TWICE = 500, 0.02, 1.0  # in each set; share of the episodes; log2 of the ratio that is claimed
KINDS = ("two of its own best", "its best against ordinary")


def examine(
    say: Say, study: Overoptimization = STUDY, seeds: Sequence[int] = range(SEEDS), pairs: int = PAIRS
) -> Iterator[Record]:
    """How many times the calibration error on the teacher's pairs is that on the optimiser's, in powers of two."""
    found = []
    for seed in seeds:
        say(f"seed {seed}")
        found.append(errors(study, seed, pairs))
    taught, *others = np.array(found).T
    for kind, error in zip(KINDS, others, strict=True):
        ratio = mean_interval(np.log2(error / taught))
        reading = f"calibration error {error.mean():.3f} against {taught.mean():.3f} on the teacher's pairs; 1 is twice"
        yield Record(24, f"log2 ratio of calibration errors, {kind}", ratio, above(ratio, TWICE), reading)


def errors(study: Overoptimization, seed: int, pairs: int) -> Array:
    """Expected calibration errors [3]: on the teacher's pairs, on pairs of the best, on the best against ordinary."""
    from ...reward_models.calibration import expected_calibration_error
    from ...reward_models.feedback import Comparisons, Stretches, cut
    from .learned import episodes, learner, lessons

    given = lessons(replace(study, comparisons=(max(*study.comparisons, pairs),)), seed)
    model = learner(given.teaching[: max(study.comparisons)], seed).calibrate(given.fresh[:pairs])
    played = [chunk for _, chunk in episodes(study, seed)]
    all_of_it, rng = type(played[0]).concatenate(played), np.random.default_rng((24, seed))
    rated = np.concatenate([model.returns(chunk.segments()) for chunk in played])
    best = all_of_it[np.argsort(-rated)[: round(TOP * len(rated))]]

    def error(first: Stretches, second: Stretches) -> float:
        label = given.teacher.chances(first, second)[:, 0]
        asked = Comparisons(first.segments, second.segments, label, study.environment.name)
        return expected_calibration_error(model.probability(asked), label)

    ordinary, own = (cut(some.segments(), some.true, some.terms, study.length, 2 * pairs, rng) for some in (all_of_it, best))
    return np.array([error(*ordinary.pairs(pairs, rng)), error(*own.pairs(pairs, rng)), error(own[:pairs], ordinary[:pairs])])
