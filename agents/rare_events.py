"""How likely is a catastrophe that sampling does not see? Two estimates, both unbiased, of chances down to 1e-6 and below.

`splitting` lets many worlds run, drops those that came least near a catastrophe, and lets copies of the others go on from
where they came nearer: states are data and chance is a stream, so any world can be branched. `importance` plays mostly the
scenes that are held for dangerous (`risk` learns which), and weighs each by how many it stands for.

Whatever the score or the model, estimates are right on average; a bad one costs accuracy. `steps` is what of the environment
was spent, and `gain` compares that with plain sampling. Policies must not remember: a branch begins with no past.

Sources: Cerou and Guyader 2007, "Adaptive multilevel splitting for rare event analysis", Stochastic Analysis and Applications
25(2):417; Brehier et al. 2016, "Unbiasedness of some generalized adaptive multilevel splitting algorithms" (arXiv:1505.02674),
by whom all that are at the level or below are dropped, ties too; Uesato et al. 2018, "Rigorous agent evaluation: an adversarial
approach to uncover catastrophic failures" (arXiv:1812.01647), which shows that scenes are best proposed by the root of their
risk; Hesterberg 1995, "Weighted average importance sampling and defensive mixture distributions", Technometrics 37(2):185.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..envs.batch import Array, Draws
from ..envs.core import Loop, ProxyEnv, ProxygapError, Reward, Sums, Worlds
from .filtering import refreshed
from .intervals import Interval, none_bound, repeated_interval, weighted_interval
from .options import Scenes, check_env, played
from .rollouts import Policy

TOGETHER = 8192  # worlds simulated at a time
GIVE_UP = 1e-15  # a repetition whose chance falls below this, with no catastrophe in sight, counts as 0


def episodes(env: ProxyEnv[Any], number: int, rng: np.random.Generator) -> Scenes:
    """`number` episodes at their beginning."""
    draws = Draws.seeded(rng.integers(2**62, size=number))
    return Scenes(env.initial(number, draws), draws)


def gain(chance: float, variance: float, steps: float, each: float) -> float:
    """How many times smaller `variance` is than that of plain sampling with as many `steps`, `each` of which make an option."""
    return chance * (1 - chance) * each / (steps * variance)


@dataclass(frozen=True)
class Split:
    """What R repetitions of multilevel splitting came to."""

    estimates: Array  # [R] of the chance of a catastrophe
    levels: Array  # [R] that were passed
    steps: Array  # [R] of the environment
    particles: int  # in each repetition

    def interval(self) -> Interval:
        """The chance, with Student's interval over repetitions; where all died out, the bound of as many plain runs."""
        worlds = self.particles * len(self.estimates)
        return repeated_interval(self.estimates) if self.estimates.any() else (0.0, 0.0, none_bound(worlds))

    @property
    def least_error(self) -> float:
        """The relative standard error of one repetition if the score were perfect, sqrt(-log p / N); others err by more."""
        mean = self.estimates.mean()
        return float(np.sqrt(-np.log(mean) / self.particles)) if mean > 0 else np.inf


def splitting(
    env: ProxyEnv[Any],
    policy: Policy,
    score: Reward,
    scenes: Scenes,
    length: int,
    rng: np.random.Generator,
    repetitions: int = 10,
    kill: float = 0.1,
) -> Split:
    """The chance of a catastrophe within `length` steps, by adaptive multilevel splitting from `scenes` [R * N].

    `score` tells of each step how near it is to a catastrophe, higher is nearer, and a path is as near as its nearest step;
    which itself counts as infinitely near. In each of R repetitions of N worlds the share `kill` that came least near is
    dropped at a time, with all that came no nearer, and replaced by copies of others, branched at their first step that came
    nearer. Raises ProxygapError where scenes can't be divided by `repetitions`, and for scores that are not numbers.
    """
    check_env(env)
    particles = len(scenes) // max(repetitions, 1)
    if repetitions < 1 or particles < 2 or len(scenes) % repetitions or not 0 < kill < 1 or length < 1:
        raise ProxygapError(
            f"{len(scenes)} scenes for {repetitions} repetitions, kill={kill}, {length} steps: give 2 scenes or more for each "
            "of 1 repetition or more, a share between 0 and 1, and a step at least"
        )
    paths = _Paths(env, policy, score, scenes, length, rng)
    paths.run(np.arange(len(scenes)), np.zeros(len(scenes), np.int64))
    lowest = min(max(round(kill * particles), 1), particles - 1)
    chance, levels, open_ = np.ones(repetitions), np.zeros(repetitions, np.int64), np.arange(repetitions)
    while len(open_):
        near = paths.nearest().reshape(repetitions, particles)[open_]
        level = np.sort(near, axis=1)[:, lowest - 1 : lowest]
        dropped = near <= level
        over = np.isinf(level[:, 0]) & (level[:, 0] > 0)
        chance[open_] *= np.where(over, np.isposinf(near).mean(1), 1 - dropped.mean(1))
        goes_on = ~over & (chance[open_] > GIVE_UP)
        open_, dropped, level = open_[goes_on], dropped[goes_on], level[goes_on]
        levels[open_] += 1
        if len(open_):
            _branch(paths, open_, dropped, level, rng)
    chance[chance <= GIVE_UP] = 0.0
    return Split(chance, levels, paths.steps.reshape(repetitions, particles).sum(1), particles)


def _branch(paths: "_Paths", groups: Array, dropped: Array, level: Array, rng: np.random.Generator) -> None:
    """Replaces the dropped ones [G, N] of these repetitions by branches of others in the same, drawn at random."""
    group, child = np.nonzero(dropped)
    others = np.argsort(dropped, axis=1, kind="stable")  # those that are kept come first
    parent = others[group, (rng.random(len(group)) * (~dropped).sum(1)[group]).astype(np.int64)]
    child, parent = (groups[group] * dropped.shape[1] + each for each in (child, parent))
    paths.run(child, paths.copied(child, parent, level[group, 0]))


class _Paths:
    """M worlds with all that they went through, so that any can go on from any step of another."""

    def __init__(
        self, env: ProxyEnv[Any], policy: Policy, score: Reward, scenes: Scenes, length: int, rng: np.random.Generator
    ) -> None:
        self.env, self.policy, self.score, self.length, self.rng = env, policy, score, length, rng
        self.states = scenes.state.map(lambda array: np.repeat(array[:, None], length + 1, axis=1))  # [M, T + 1]
        self.near = np.full((len(scenes), length + 1), -np.inf)  # the nearest so far
        self.end = np.full(len(scenes), length)  # the step after which the path is over
        self.steps = np.zeros(len(scenes), np.int64)  # that were simulated for it

    def nearest(self) -> Array:
        """How near each path came, [M]."""
        return self.near[np.arange(len(self.end)), self.end]

    def copied(self, child: Array, parent: Array, level: Array) -> Array:
        """Puts copies of the parents in the children's place; when each first came nearer than its level, [K]."""
        self.states[child], self.near[child], self.end[child] = self.states[parent], self.near[parent], self.end[parent]
        return (self.near[child] > level[:, None]).argmax(1)

    def run(self, rows: Array, time: Array) -> None:
        """Lets these paths [K] go on from the step `time` [K] on, with fresh chance, unless they were over there."""
        rows, time = (part[time < self.end[rows]] for part in (rows, time))
        for begin in range(0, len(rows), TOGETHER):
            self._run(rows[begin : begin + TOGETHER], time[begin : begin + TOGETHER])

    def _run(self, rows: Array, time: Array) -> None:
        loop = _begun(self.env, self.states[rows, time], Draws.seeded(self.rng.integers(2**62, size=len(rows))))
        while len(rows):
            step = loop.step(self.policy(loop))
            self.near[rows, time + 1] = self._nearness(step.transition, self.near[rows, time])
            self.states[rows, time + 1] = step.transition.next_state  # pyright: ignore[reportAttributeAccessIssue]
            time, self.end[rows] = time + 1, self.length
            self.steps[rows] += 1
            over = step.done | (time >= self.length) | np.isposinf(self.near[rows, time])
            self.end[rows[over]] = time[over]
            if over.any():
                loop, rows, time = loop.branch(~over), rows[~over], time[~over]

    def _nearness(self, t: Any, before: Array) -> Array:
        score = np.asarray(self.score(t), float)
        if not (score < np.inf).all():
            raise ProxygapError(f"scores from {score.min()} to {score.max()}: give numbers, the higher the nearer")
        return np.where(self.env.catastrophe(t) > 0, np.inf, np.maximum(before, score))  # pyright: ignore[reportOptionalOperand]


def _begun(env: ProxyEnv[Any], state: Any, draws: Draws) -> Loop[Any]:
    """A loop of these worlds as they stand."""
    loop = env.loop(len(draws), autoreset=False)
    sums = Sums.zeros(len(draws), len(loop.term_names))
    loop.worlds = Worlds(state, draws, env.observation(state), np.ones(len(draws), bool), sums)
    return loop


@dataclass(frozen=True)
class Weighted:
    """What was found in the scenes that were played, of a pool of M."""

    weight: Array  # [n] by how much a scene stands for more than itself: 1 over the chance with which it was played
    failed: Array  # [n] bool
    largest: float  # weight that a scene could have had
    pool: int
    steps: int

    @property
    def chance(self) -> float:
        """The estimate."""
        return float((self.weight * self.failed).sum() / self.pool)

    def interval(self) -> Interval:
        """The chance, with Fay and Feuer's interval of a sum of weighted events; without any, the bound of 95 %."""
        return weighted_interval(self.weight[self.failed] / self.pool, self.largest / self.pool)

    @property
    def effective(self) -> float:
        """Kish's effective number of scenes: as many, weighing alike, would tell as much of what is the same everywhere."""
        return float(self.weight.sum() ** 2 / np.square(self.weight).sum()) if len(self.weight) else 0.0


def importance(
    env: ProxyEnv[Any],
    policy: Policy,
    scenes: Scenes,
    risk: Array,
    length: int,
    number: int,
    rng: np.random.Generator,
    floor: float = 0.1,
) -> Weighted:
    """The chance of a catastrophe within `length` steps in scenes like these [M], of which about `number` are played.

    Each is played or not by itself, with a chance in proportion to the root of its `risk` [M]; the share `floor` of them is
    played whatever the risk, so that none weighs more than 1 / floor times what it would in plain sampling. Give many more
    scenes than are to be played: the most dangerous ones can't be played more than once. Raises ProxygapError for risks below
    0, and for more scenes to be played than there are.
    """
    check_env(env)
    if risk.shape != (len(scenes),) or not (np.isfinite(risk) & (risk >= 0)).all():
        raise ProxygapError(f"risks of shape {risk.shape} for {len(scenes)} scenes: give one number from 0 each")
    if not 1 <= number <= len(scenes) or not 0 < floor <= 1:
        raise ProxygapError(
            f"{number} of {len(scenes)} scenes, floor={floor}: play 1 to all of them, with a floor above 0, up to 1"
        )
    root = np.sqrt(risk) if risk.any() else np.ones(len(risk))
    chance = np.minimum(number * ((1 - floor) * root / root.sum() + floor / len(root)), 1.0)
    rows = np.flatnonzero(rng.random(len(chance)) < chance)
    failed, steps = np.zeros(len(rows), bool), 0
    for begin in range(0, len(rows), TOGETHER):
        options = played(env, refreshed(scenes[rows[begin : begin + TOGETHER]], rng), length, policy)
        failed[begin : begin + TOGETHER], steps = options.severity > 0, steps + int(options.valid.sum())
    return Weighted(1 / chance[rows], failed, float(1 / chance.min()), len(scenes), steps)
