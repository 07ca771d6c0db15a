"""Claim 4: a penalty on the divergence acts like stopping earlier: equally far from the reference, gold is the same.

PPO sets out from a clone of a racer that wavers, in Lagoon, and is paid by a model of 200 comparisons, a quarter of them
mistaken, less beta for every nat by which it acts otherwise. Of each run gold and learned return are known at many distances
sqrt(KL); with beta = 0 training goes through them one after the other. Where both runs have been, the difference is measured:
gold should be the same (within a margin, as equivalence needs one), the learned return with a penalty higher.

Gao, Schulman and Hilton 2023 (arXiv:2210.10760), where the penalty raises the proxy at equal divergence, and not gold. Sizes
set 2026-11-24, before the first run.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...envs.batch import Array
from ..overoptimization import STREAMS, Overoptimization
from ..statistics import mean_interval
from . import SEEDS, Record, Say, above, within

STUDY = Overoptimization("lagoon", comparisons=(200,), mistakes=0.25, steps=300_000, episodes=512)
BETAS = (0.3, 1.0)  # standard deviations of the learned reward of a step, per nat
LOOKS = 30  # evaluations of a run
MARGIN = 0.5  # standard deviations of the reference's returns: gold that differs by less is the same
GRID = 25  # distances at which two runs are compared


def examine(say: Say, study: Overoptimization = STUDY, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """What a penalty adds to gold, and to the learned return, at equal distances, for each beta; and how far it holds back."""
    found = np.array([compared(study, seed, say) for seed in seeds])  # [S, betas, 3]
    for beta, (gold, learned, reach) in zip(BETAS, np.moveaxis(found, 0, -1), strict=True):
        reading = f"it ends at {reach.mean():.2f} times the distance; the same within {MARGIN}"
        yield Record(
            4, f"gold at equal sqrt(KL), beta {beta} minus none", gain := mean_interval(gold), within(gain, 0, MARGIN), reading
        )
        reading = "standard deviations of the reference's learned returns"
        gain = mean_interval(learned)
        yield Record(4, f"learned return at equal sqrt(KL), beta {beta} minus none", gain, above(gain), reading)


def compared(study: Overoptimization, seed: int, say: Say) -> Array:
    """[betas, 3] what each adds to gold and to the learned return, and its largest distance as a share of that without."""
    from ...agents.regularized import NearReference, clone
    from ...agents.training import train
    from .learned import episodes, learner, lessons, standard

    model = learner(lessons(study, seed).teaching, seed)
    reference = clone(study.environment, study.reference(seed * STREAMS), noise=0.0, seed=seed)
    played = [(one.true.sum(1), model.returns(one.segments())) for _, one in episodes(study, seed)]
    gold, learned = (np.concatenate(returns) for returns in zip(*played, strict=True))
    runs = []
    for beta in (0.0, *BETAS):
        say(f"seed {seed}, beta {beta}")
        paid = NearReference(model, reference, beta=beta)
        agent = train(study.environment, reward=paid, seed=seed, steps=study.steps, ent_coef=0.0, evaluations=LOOKS)
        run = path(agent.metrics, beta)
        runs.append(np.stack([run[0], standard(run[1], gold), standard(run[2], learned)]))
    return np.array([at_equal_distance(run, runs[0]) for run in runs[1:]])


def path(metrics: Sequence[Mapping[str, Any]], beta: float) -> Array:
    """Distance, gold and learned return of every evaluation, [3, C]; the learned return is what was paid before the penalty."""
    kl, gold, paid = (np.array([np.mean(row[name]) for row in metrics]) for name in ("kl", "true", "paid"))
    return np.stack([kl**0.5, gold, paid + beta * kl])


def at_equal_distance(run: Array, other: Array) -> Array:
    """[3] how much higher gold and learned return of a path [3, C] are than another's where both were; their ends' ratio."""
    ends = [one[0].max() for one in (run, other)]
    grid = np.linspace(max(one[0, 1:].min() for one in (run, other)), min(ends), GRID)
    first, second = (np.array([np.interp(grid, *one[:, one[0].argsort()][[0, row]]) for row in (1, 2)]) for one in (run, other))
    return np.array([*(first - second).mean(1), ends[0] / ends[1]])
