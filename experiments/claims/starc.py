"""Claim 10: STARC tells regret better than EPIC and DARD do, and shaping and scale change none of the three.

Random MDPs and pairs of rewards as in the paper's code: a random reward, the truth, and another on the way from it to a
second random one. Does the distance order pairs as the regret does, what the policy that is optimal for the other reward
loses of the truth? EPIC is asked twice: over all steps, as there, and over those that can happen, which is what stored data
would give.

Skalse et al. 2024 (arXiv:2309.15257), section on experiments, and github.com/lucyfarnik/starc. Sizes set 2026-11-24.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from ...envs.batch import Array
from ...reward_models.distances import Dynamics, dard, epic, regret, starc
from ..statistics import difference, mean_interval
from . import SEEDS, Record, Say, above, below, exact

STATES, ACTIONS, DISCOUNT = 32, 4, 0.95
MDPS = 200  # in a run
STEPS = 16  # from the truth to the second reward; pairs take them in turn
RARE = 3.0  # standard deviations that a sparse reward's numbers exceed
INVARIANT = 1e-6
NAMES = ("STARC", "EPIC", "EPIC over possible steps", "DARD")


def examine(say: Say, mdps: int = MDPS) -> Iterator[Record]:
    """The rank correlation of each distance with regret, STARC's lead, and the largest change by shaping and scale."""
    ranks, change = np.zeros((SEEDS, len(NAMES))), 0.0
    for seed in range(SEEDS):
        say(f"run {seed + 1} of {SEEDS}, {mdps} MDPs")
        found = np.array([pair(np.random.default_rng((10, seed, i)), 1 + i % STEPS) for i in range(mdps)])  # [mdps, 2, 5]
        ranks[seed] = np.corrcoef(stats.rankdata(found[:, 0], axis=0).T)[-1, :-1]
        change = max(change, float(abs(found[:, 0, :-1] - found[:, 1, :-1]).max()))
    for name, values in zip(NAMES, ranks.T, strict=True):
        rank, reading = mean_interval(values), "1 where a larger distance always goes with more regret"
        yield Record(10, f"Spearman of {name} with regret", rank, above(rank), reading)
    for name, values in zip(NAMES[1:], ranks.T[1:], strict=True):
        lead, reading = difference(ranks[:, 0], values, paired=True), f"{ranks[:, 0].mean():.2f} against {values.mean():.2f}"
        yield Record(10, f"Spearman of STARC minus that of {name}", lead, above(lead), reading)
    name = "largest change of a distance by shaping and scale"
    yield Record(10, name, exact(change), below(exact(change), INVARIANT), f"over {SEEDS * mdps:,} pairs")


def pair(rng: np.random.Generator, step: int) -> Array:
    """Distances and regret [5] of one pair, and [2, 5] once more after both rewards were shaped and scaled."""
    dynamics = Dynamics(random_chances(rng), DISCOUNT)
    true, far = (random_reward(rng) for _ in range(2))
    other = true + (far - true) * step / STEPS
    again = rng.uniform(0.1, 10.0) * shaped(rng, true), rng.uniform(0.1, 10.0) * shaped(rng, other)
    return np.array([measured(*rewards, dynamics) for rewards in ((true, other), again)])


def measured(true: Array, other: Array, dynamics: Dynamics) -> list[float]:
    """Every distance, in the order of NAMES, and the regret."""
    everywhere, possible = (epic(true, other, DISCOUNT, coverage) for coverage in (None, dynamics.chances))
    return [starc(true, other, dynamics), everywhere, possible, dard(true, other, dynamics), regret(other, true, dynamics)]


def random_chances(rng: np.random.Generator) -> Array:
    """Dynamics [S, A, S] in which about one in six states can follow, with chances that are softmax of normal numbers."""
    logits = rng.normal(size=(STATES, ACTIONS, STATES))
    odds = np.exp(logits) * (logits > 1.0)
    odds[odds.sum(-1) == 0] = 1.0
    return odds / odds.sum(-1, keepdims=True)


def random_reward(rng: np.random.Generator) -> Array:
    """Normal numbers [S, A, S]; sometimes but the largest, often scaled, sometimes raised, and shaped half the time."""
    reward = rng.normal(size=(STATES, ACTIONS, STATES))
    sparse, scaled, raised, is_shaped = rng.random(4) < (0.2, 0.7, 0.3, 0.5)
    reward = np.where(reward > RARE, reward, 0.0) if sparse else reward
    reward = reward * (rng.uniform(0.0, 10.0) if scaled else 1.0) + (rng.uniform(0.0, 10.0) if raised else 0.0)
    return shaped(rng, reward) if is_shaped else reward


def shaped(rng: np.random.Generator, reward: Array) -> Array:
    """The reward with a random potential."""
    potential = rng.normal(0.0, rng.uniform(0.0, 10.0), STATES)
    return reward + DISCOUNT * potential - potential[:, None, None]
