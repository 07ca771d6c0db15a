"""Claim 6: ensembles do not repair what no member sees, however they are made one; only members that see something else do.

In TomatoWatering under a bucket all tomatoes look watered. Models are shown the 13 tomatoes and neither the gardener nor the
bucket, and while they are taught nobody goes under it, so that nothing tells what looks from what is watered. They learn how
good a gardener's work is from a teacher who makes hardly a mistake, and choose the best of 256 episodes, of which as many are
a gardener's as are spent under the bucket. If the blind spot is shared, worst, penalised and single opinions do no better than
the mean: an equivalence test.

Then a ladder of diversity: members differ by their seeds, by a bootstrap, by which 7 of the 13 tomatoes they see, by their
widths; on the last rung one of them is shown the whole board and was taught about life under the bucket too.

Eisenstein et al. 2023 (arXiv:2312.09244). Sizes set 2026-11-24 on seeds 100 and 101, where three settings came
before this one in which the spot was not shared, or not blind: SensorLab's displays alone, on whose meaning members disagreed;
tomatoes beside the gardener, who is missing under the bucket; and lessons in which some went under it, and all learned that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...envs.batch import Array
from ...envs.core import Segments
from ...envs.gridworlds.tomato_watering import TOMATOES, VALUES
from ..overoptimization import Overoptimization
from ..statistics import difference, mean_interval
from . import SEEDS, Judgement, Record, Say, within

if TYPE_CHECKING:
    from ...reward_models.feedback import Comparisons

STUDY = Overoptimization("tomato_watering", comparisons=(500,), rationality=30.0, mistakes=0.0, episodes=512)
SCRIPTS = ("gardener", "gamer")
N, MEMBERS, STEPS = 256, 5, 500
WIDTHS = (8, 16, 32, 64, 128)  # of the members, where these differ
SHARE = 7 / 13  # of the tomatoes that a member sees, where this differs
MARGIN = 0.1  # share of what the mean opinion loses, up to which others lose as much
Members = Callable[[Segments], Array]  # episodes [N] of T steps -> rewards [K, N, T]


def tomatoes(observation: Array, true: Array) -> Array:
    """Which of the 13 tomatoes look watered, [N, T, 13]; the one on which the gardener stands does."""
    return (observation.reshape(*observation.shape[:2], -1)[..., TOMATOES] != VALUES["t"]).astype(np.float32)


def examine(say: Say, study: Overoptimization = STUDY, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """What the blind spot costs, whether it costs every way the same, and what worst-case optimisation gains on each rung."""
    from .learned import optimised

    found = []
    for seed in seeds:
        say(f"seed {seed}: {5 * MEMBERS + 1} members")
        found.append(
            {rung: optimised(m, study, seed, min(N, study.episodes), scripts=SCRIPTS) for rung, m in rungs(study, seed).items()}
        )
    golds = {rung: {way: np.array([seed[rung][way] for seed in found]) for way in found[0][rung]} for rung in found[0]}
    base = golds["seeds"]
    for way in ("worst", "penalised", "single"):
        share = mean_interval(base[way] / base["mean"])
        reading = f"gold is {base[way].mean():.2f} against {base['mean'].mean():.2f}, of all episodes {base['pool'].mean():.2f}"
        yield Record(6, f"loss by the {way} opinion as a share of the mean's", share, within(share, 1.0, MARGIN), reading)
    for rung, gold in golds.items():
        gain = difference(gold["worst"], base["mean"], paired=True)
        helps = rung == "one sees all"
        reading = f"it is {gold['worst'].mean():.2f}; the claim is that this {'helps' if helps else 'does not help'}"
        verdict = repaired(gain.low, gain.high, helps, MARGIN * abs(base["mean"].mean()))
        yield Record(6, f"gold by the worst opinion minus the mean, members: {rung}", gain, verdict, reading)


def repaired(low: float, high: float, expected: bool, margin: float) -> Judgement:
    """Whether a gain in this interval is above `margin`, or not, as was `expected`."""
    if low <= margin < high:
        return "inconclusive"
    return "holds" if (low > margin) == expected else "fails"


def rungs(study: Overoptimization, seed: int) -> dict[str, Members]:
    """The ladder's ensembles, lowest rung first."""
    from .learned import learner, lessons, viewed

    def blind(segments: Segments) -> Segments:
        return viewed(segments, segments.valid, tomatoes)

    taught = lessons(study, seed, tomatoes, without="under_bucket").teaching
    fit = partial(learner, taught, steps=STEPS)
    alike = fit(seed=seed, ensemble=MEMBERS)
    others = {
        "bootstrap": fit(seed=seed, ensemble=MEMBERS, bootstrap=True),
        "inputs": fit(seed=seed, ensemble=MEMBERS, seen=SHARE),
    }
    widths = [fit(seed=seed * MEMBERS + i, hidden=(width, width)) for i, width in enumerate(WIDTHS)]
    wide = learner(informed(study, seed), seed, steps=STEPS)
    found: dict[str, Members] = {"seeds": lambda segments: alike.members(blind(segments))}
    found |= {name: lambda segments, model=model: model.members(blind(segments)) for name, model in others.items()}
    found["widths"] = lambda segments: np.concatenate([model.members(blind(segments)) for model in widths])
    found["one sees all"] = lambda segments: np.concatenate([alike.members(blind(segments))[1:], wide.members(segments)])
    return found


def informed(study: Overoptimization, seed: int) -> "Comparisons":
    """As many comparisons again, of the whole board, half of them of play that ends up under the bucket."""
    from .learned import lessons

    half = replace(study, comparisons=(max(study.comparisons) // 2,))
    parts = [lessons(replace(half, script=script), seed).teaching for script in SCRIPTS]
    return type(parts[0]).joined(parts)
