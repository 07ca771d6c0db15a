"""Claim 17: latent adversarial training helps against attacks that nobody trained on, more than against the one trained on.

Storyteller: a filter is hardened against mutation in a round of 100 trials; in one course it also learns, in each update,
from its own first layer's activations as an attack moves them, by at most a tenth of their standard deviation. Queries that
attacks take afterwards are compared at equal acceptance of the same harmless stories.

Casper et al. 2024 (arXiv:2403.05030). Sizes set 2026-11-26; the size of the moves is the largest at which filters of a toy
world still learned.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ..red_team_bench import Sizes
from ..red_team_tasks import TASKS
from ..statistics import difference, mean_interval
from . import SEEDS, Record, Say, above, below

TASK, SIZES = TASKS["Storyteller"], Sizes(training=8_000, queries=150, scenes=10)
TRAINED, HELD_OUT = "mutation", ("best_of_n", "cem", "substitution", "gradient", "latent")
ROUNDS, LABELS, EPSILON = 1, 100, 0.1


def examine(say: Say, sizes: Sizes = SIZES, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """log2 of how many times as many queries are taken with latent training as without, by attacks held out and the other."""
    from ...reward_models.hardening import Hardening
    from .hardened import first, gains, hardened, queries, repetition

    plain, latent = [], []
    for seed in seeds:
        here = repetition(TASK, sizes, seed)
        begun = first(here)
        for side, learning in ((plain, {}), (latent, {"latent_epsilon": EPSILON})):
            say(f"seed {seed}: {'latent' if learning else 'plain'}")
            model = hardened(here, begun, [TRAINED], Hardening(ROUNDS, LABELS), **learning)
            side.append(queries(here, model, (TRAINED, *HELD_OUT)))
    others = np.array([gains(plain, latent, name, sizes.queries) for name in HELD_OUT])  # [attacks, S]
    own = gains(plain, latent, TRAINED, sizes.queries)
    mean, least, trained = mean_interval(others.mean(0)), mean_interval(others.min(0)), mean_interval(own)
    yield Record(17, "log2 gain, attacks held out", mean, above(mean), f"the mean of {', '.join(HELD_OUT)}")
    yield Record(17, "log2 gain, the least of those held out", least, above(least), "found in each seed by itself")
    yield Record(17, f"log2 gain, {TRAINED}, which was trained on", trained, below(trained, 0.0), "claimed to be at most 0")
    more = difference(others.mean(0), own, paired=True)
    yield Record(
        17, "log2 gain of those held out minus the trained one", more, above(more), "above 0: it helps on the unforeseen"
    )
