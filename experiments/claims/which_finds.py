"""Claim 16: learning from the most egregious finds, and updating often, beats random finds and few updates at equal labels.

A hypothesis of the authors' looking back; its sign was established nowhere. Storyteller: filters are hardened in two rounds of
60 trials by three attacks together. Of what they find, 20 are learned from: the worst injuries, or any; or all is learned from
in one update a round, or in six, each of which attacks what the last one left. How many queries the three attacks and a fresh
portfolio take afterwards is compared pair by pair.

Ziegler et al. 2022 (arXiv:2205.01663) and its authors' post-mortem. Sizes set 2026-11-26.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ..red_team_bench import Sizes
from ..red_team_tasks import TASKS
from ..statistics import mean_interval
from . import SEEDS, Record, Say, above

TASK, SIZES = TASKS["Storyteller"], Sizes(training=8_000, queries=150, scenes=10)
ATTACKS, FRESH = ("mutation", "cem", "substitution"), "fresh"
ROUNDS, LABELS, KEPT, OFTEN = 2, 60, 20, 6  # finds a round that are learned from, where not all are; updates
QUESTIONS = {  # what is compared with what
    "the most egregious finds against random ones": ("egregious", "random"),
    "six updates a round against one": ("often", "once"),
}


def examine(say: Say, sizes: Sizes = SIZES, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """log2 of how many times as many queries the one way leaves as the other, for attacks trained on, and a fresh portfolio."""
    from ...reward_models.hardening import Hardening
    from .hardened import first, gains, hardened, queries, repetition

    ways = {
        "random": Hardening(ROUNDS, LABELS, keep=KEPT, choice="random"),
        "egregious": Hardening(ROUNDS, LABELS, keep=KEPT, choice="egregious"),
        "once": Hardening(ROUNDS, LABELS),
        "often": Hardening(ROUNDS, LABELS, updates=OFTEN),
    }
    found = {way: [] for way in ways}
    for seed in seeds:
        here = repetition(TASK, sizes, seed)
        begun = first(here)
        for way, settings in ways.items():
            say(f"seed {seed}: {way}")
            found[way].append(queries(here, hardened(here, begun, ATTACKS, settings), (*ATTACKS, FRESH)))
    for question, (one, other) in QUESTIONS.items():
        each = {name: gains(found[other], found[one], name, sizes.queries) for name in (*ATTACKS, FRESH)}
        for whose, values in (
            ("attacks trained on", np.mean([each[a] for a in ATTACKS], 0)),
            ("a fresh portfolio", each[FRESH]),
        ):
            more = mean_interval(values)
            reading = "log2 of times as many queries; no sign was known"
            yield Record(16, f"{question}, {whose}", more, above(more), reading)
