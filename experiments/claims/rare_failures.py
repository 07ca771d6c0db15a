"""Claim 25: splitting and importance sampling find how likely a rare failure is, without bias and with far fewer steps.

SensorLab's samples are lost about once in 20,000 episodes of a player who acts at random, and how often exactly follows from
its tables.

- Splitting: an episode's 150 steps at random. A path is the nearer the more sensors it has looped, and then the warmer it is.
- Importance sampling: 50 steps of a player who loops sensors in one step of 20 and acts at random else, from wherever it comes
  to in its first 100. The risk of scenes is learned from two players who loop in one step of 10 and of 5. Learning is paid for:
  its steps count among those of all repetitions that it serves.

The error is told relative to the exact chance, and the gain is the variance of plain sampling with as many steps over the
variance found, told as its logarithm to base 10.

Cerou and Guyader 2007; Uesato et al. 2018 (arXiv:1812.01647). Sizes set 2026-11-26, on other seeds. With 20
repetitions of importance sampling the first run could not tell: it gained 11 times (4 to 33). Now they are 60.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ...agents.options import Scenes
from ...agents.rare_events import episodes, gain, importance, splitting
from ...agents.risk import Risk
from ...agents.rollouts import Policy
from ...envs.batch import Array, Draws
from ...envs.core import Loop, Transition
from ...envs.gridworlds.sensor_lab import SENSORS, THAWED, SensorLab
from ...envs.tabular import TabularMDP, expected_terms, occupancy, tabulate
from ..statistics import Estimate, mean_interval
from . import SEEDS, Judgement, Record, Say, above

LAB = SensorLab()
PARTICLES, KILL, SPLITS = 500, 0.3, 30  # of a repetition; dropped at a time; repetitions in a run
LOOPING, WEAKER = 0.05, (0.1, 0.2)  # share of steps in which a player loops sensors
BEFORE, LENGTH = 100, 50  # steps until a scene at most; of an option
LESSONS, POOL, PLAYED, ESTIMATES = 2000, 1_000_000, 2000, 60  # scenes to learn from, to choose from, chosen; repetitions
MARGIN = 0.25  # of the chance, within which the mean must be known to be called right
LEAST = 10.0  # gain


@dataclass(frozen=True)
class Run:
    """What repetitions of one method came to."""

    estimates: Array  # [R]
    steps: float  # of all together
    each: float  # steps of a plain option
    chance: float  # exact

    @property
    def error(self) -> float:
        """Of their mean, relative to the exact chance."""
        return float(self.estimates.mean() / self.chance - 1)

    @property
    def gain(self) -> float:
        """How many times smaller their mean's variance is than plain sampling's."""
        variance = float(self.estimates.var(ddof=1) / len(self.estimates))
        return gain(self.chance, variance, self.steps, self.each)


def examine(
    say: Say, seeds: Sequence[int] = range(SEEDS), splits: int = SPLITS, estimates: int = ESTIMATES, pool: int = POOL
) -> Iterator[Record]:
    """Each method's relative error and gain."""
    runs: dict[str, Any] = {
        "splitting": lambda seed: split(seed, splits),
        "importance sampling": lambda seed: proposed(seed, estimates, pool),
    }
    for name, run in runs.items():
        found = []
        for seed in seeds:
            say(f"{name}, run {len(found) + 1} of {len(seeds)}")
            found.append(run(seed))
        yield from _records(name, found)


def _records(name: str, found: list[Run]) -> Iterator[Record]:
    error, chance = mean_interval(np.array([run.error for run in found])), found[0].chance
    count = sum(len(run.estimates) for run in found)
    reading = f"mean of {count} estimates of {chance:.3g}; one errs by {spread(found):.2f} of it"
    yield Record(25, f"relative error of {name}", error, unbiased(error), reading)
    decades = mean_interval(np.log10([run.gain for run in found]))
    reading = f"that is {10**decades.value:.0f} times; {sum(run.steps for run in found):,.0f} steps in all"
    yield Record(25, f"log10 of what {name} gains on plain sampling", decades, above(decades, np.log10(LEAST)), reading)


def spread(found: list[Run]) -> float:
    """The relative standard error of a single estimate."""
    return float(np.mean([run.estimates.var(ddof=1) for run in found]) ** 0.5 / found[0].chance)


def unbiased(error: Estimate) -> Judgement:
    """Whether an error is 0 as far as can be told, and can be told to be small."""
    if error.clear_of(0.0):
        return "fails"
    return "holds" if error.low >= -MARGIN and error.high <= MARGIN else "inconclusive"


@cache
def table() -> TabularMDP:
    """The lab, exactly."""
    return tabulate(LAB)


def player(looping: float, seed: Any) -> Policy:
    """Follows the gamer's plan in the share `looping` of steps, and acts at random in the others."""
    rng, gamer = np.random.default_rng(seed), LAB.policies()["gamer"]

    def policy(loop: Loop[Any]) -> Array:
        worlds = len(loop.state)
        return np.where(rng.random(worlds) < looping, gamer(loop.state), rng.integers(4, size=worlds))

    return policy


def chances(looping: float) -> Array:
    """What that player does, [S, 4]."""
    return (1 - looping) / 4 + looping * np.eye(4)[LAB.policies()["gamer"](table().states)]


def nearness(t: Transition[Any]) -> Array:
    """How far the sensors have been looped, a cable in hand counting half, and how warm it is when all are."""
    state = t.next_state
    return 2.0 * state.looped + state.cable + np.where(state.looped == SENSORS, state.warmth / THAWED, 0.0)


def split(seed: int, repetitions: int) -> Run:
    """A run of splitting."""
    rng, policy = np.random.default_rng((25, seed)), player(0.0, (25, seed, 1))
    begun = episodes(LAB, repetitions * PARTICLES, rng)
    found = splitting(LAB, policy, nearness, begun, LAB.horizon, rng, repetitions, KILL)
    exact = expected_terms(table(), chances(0.0))["loss"]
    return Run(found.estimates, float(found.steps.sum()), LAB.horizon, exact)


def proposed(seed: int, repetitions: int, pool: int) -> Run:
    """A run of importance sampling: a risk is learned once, and serves all repetitions."""
    rng, often = np.random.default_rng((25, seed, 2)), occurring()
    weaker = [player(looping, (25, seed, 3, i)) for i, looping in enumerate(WEAKER)]
    risk = Risk(seed=seed).learn(LAB, weaker, drawn(often, LESSONS, rng)[1], LENGTH, rng)
    risks, steps, estimates, policy = (
        risk(LAB.observation(table().states)),
        float(risk.steps_),
        [],
        player(LOOPING, (25, seed, 4)),
    )
    for _ in range(repetitions):
        rows, scenes = drawn(often, pool, rng)
        found = importance(LAB, policy, scenes, risks[rows], LENGTH, min(PLAYED, pool), rng)
        estimates.append(found.chance)
        steps += found.steps
    return Run(np.array(estimates), steps, LENGTH, float(often @ failing()))


def occurring() -> Array:
    """How often the player is in each state in its first steps, [S]; not in those where all is lost."""
    visits = occupancy(table(), chances(LOOPING), BEFORE).sum(1) * ~table().states.lost
    return visits / visits.sum()


def failing() -> Array:
    """The chance [S] that the player loses the samples within LENGTH steps from there, by the lab's tables."""
    lost, count = table().states.lost.astype(float), len(table().start)
    moves = np.einsum("sa,sat->st", chances(LOOPING), table().transitions.toarray().reshape(count, -1, count))
    found = lost
    for _ in range(LENGTH):
        found = np.maximum(lost, moves @ found)
    return found


def drawn(often: Array, number: int, rng: np.random.Generator) -> tuple[Array, Scenes]:
    """Scenes as they occur, and which states they are."""
    rows = rng.choice(len(often), number, p=often)
    return rows, Scenes(table().states[rows], Draws.seeded(rng.integers(2**62, size=number)))
