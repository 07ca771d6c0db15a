"""Claim 5: ensembles that are careful where members disagree reduce the overoptimisation that noisy answers cause.

A quarter of the teacher's answers in SensorLab are the opposite of what was meant. Five members learn from the same 200 of
them, and differ by their seeds. The best of 256 episodes is chosen by their worst opinion, by their mean minus half their
variance, by their mean, or by a single one of them.

Coste, Anwar, Kirk and Krueger 2024 (arXiv:2310.02743). Sizes set 2026-11-24 on seeds 100 and 101.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ..overoptimization import Overoptimization
from ..statistics import difference
from . import SEEDS, Record, Say, above

STUDY = Overoptimization("sensor_lab", comparisons=(200,), mistakes=0.25, episodes=1024)
N, MEMBERS = 256, 5
PAIRS = (("worst", "single"), ("penalised", "single"), ("worst", "mean"), ("penalised", "mean"), ("mean", "single"))


def examine(say: Say, study: Overoptimization = STUDY, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """How much more gold each way leaves than a less careful one."""
    from .learned import learner, lessons, optimised

    found = []
    for seed in seeds:
        say(f"seed {seed}: {MEMBERS} members")
        model = learner(lessons(study, seed).teaching, seed, ensemble=MEMBERS)
        found.append(optimised(model.members, study, seed, min(N, study.episodes // 4)))
    for careful, other in PAIRS:
        ours, theirs = (np.array([seed[way] for seed in found]) for way in (careful, other))
        gain, reading = difference(ours, theirs, paired=True), f"{ours.mean():.2f} against {theirs.mean():.2f}"
        yield Record(5, f"gold of the best of {N}, {careful} minus {other}", gain, above(gain), reading)
