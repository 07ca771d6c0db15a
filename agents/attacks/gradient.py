"""Projected gradient descent on what is done, through rules of the world that are given or learned.

The best option so far is unrolled once more in the rules as tensors, corrected at every step by what they got wrong about it
(Abbeel, Quigley and Ng 2006, "Using inaccurate models in reinforcement learning"): with nothing changed, the imagined option is
the real one. From there actions follow the gradient of its suspicion inside a ball (`descent`), and what comes of it is
simulated: only the world decides what is a catastrophe. On gradients through learned rules, for choices too: Henaff, Whitney
and LeCun 2017 (arXiv:1705.07177).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...envs.batch import Array
from ...envs.core import ProxygapError, Segments
from ..options import Options
from .core import Attack, Hunt, Target, Tries, at_least_one
from .descent import descend, gradient_of, like
from .dynamics import Dynamics, LearnedDynamics
from .relaxed import Choices, Relaxed, relaxed

MOST_STEPS = 20_000  # of behaviour, the latest, that rules are learned from

__all__ = ["Dynamics", "Gradient", "LearnedDynamics"]


@dataclass
class Gradient(Attack):
    """Follows the gradient of the suspicion from the best option so far: down from a catastrophe, up towards one.

    Each candidate has a ball of its own radius, and steps of its own that it may change. Without `dynamics` the rules are
    learned from what the queries of all trials show, the first of which draw some actions anew, and learned again whenever
    twice as much has been seen. A score in the ledger is one gradient of one candidate.
    """

    dynamics: Dynamics | None = None
    population: int = 16  # candidates a trial tries at a time
    descents: int = 4  # gradient steps between two simulations
    step: Literal["sign", "normalised"] = "sign"  # all numbers move alike, or in proportion to their gradients

    def __post_init__(self) -> None:
        at_least_one(population=self.population, descents=self.descents)
        if self.step not in ("sign", "normalised"):
            raise ProxygapError(f"step {self.step!r}: allowed are 'sign' and 'normalised'")

    def run(self, hunt: Hunt) -> None:
        actions = relaxed(hunt.env.action_space)
        check_differentiable(hunt.target)
        rules, best = Rules(hunt, self.dynamics), Best(hunt)
        candidates = self._first(hunt)
        while len(rows := hunt.rows):
            tries = best.query(rows, candidates if candidates is not None else self._led(hunt, rows, best, actions, rules))
            rules.see(tries.options)
            candidates = None

    def _first(self, hunt: Hunt) -> Array | None:
        """The best that is known of each trial, and to learn rules by the same with some actions drawn anew, [R, P, ...]."""
        known = hunt.action[hunt.rows][:, None]
        if self.dynamics is not None:
            return known
        known = np.repeat(known, self.population, 1)
        changed = hunt.rng.random(known.shape[:3]) < hunt.rng.random((*known.shape[:2], 1))
        changed[:, 0] = False
        return hunt.redrawn(known, changed)

    def _led(self, hunt: Hunt, rows: Array, best: "Best", actions: Relaxed, rules: "Rules") -> Array:
        """Actions [R, P, T, *action] that the gradient leads to."""
        each = np.repeat(rows, self.population)
        options, centre = best.options[each], actions.places(best.action[each])
        imagined = Imagined(hunt.target, options, actions, centre, rules.dynamics)
        radius, way = (
            like(part, centre)
            for part in (self._radius(hunt, len(each), actions.smallest), self._way(hunt, options, best, each))
        )
        low, high = actions.project(centre - radius), actions.project(centre + radius)
        places = descend(hunt.rng, lambda now: self._direction(imagined.gradient(now)), low, high, self.descents, way)
        hunt.ask(rows, self.population * self.descents)
        found = actions.actions(places)
        return found.reshape(len(rows), self.population, *found.shape[1:])

    def _radius(self, hunt: Hunt, number: int, smallest: float) -> Array:
        """How far each candidate may move each step, [M, T]: up to 1, on a log scale; 0 at steps that are left alone."""
        free = hunt.rng.random((number, hunt.length)) < hunt.rng.random((number, 1))
        free[np.arange(number), hunt.rng.integers(hunt.length, size=number)] = True
        return free * smallest ** hunt.rng.random((number, 1))

    def _way(self, hunt: Hunt, options: Options, best: "Best", each: Array) -> Array:
        """[M] 1 where less suspicion is wanted, and -1 where more, which may lead to a catastrophe, or to a worse one."""
        more = options.severity <= 0
        if hunt.aim == "severity":
            more = more | (best.suspicion[each] <= hunt.target.threshold_)
        return np.where(more, -1.0, 1.0)

    def _direction(self, gradient: Tensor) -> Tensor:
        largest = gradient.abs() if self.step == "sign" else gradient.abs().flatten(1).amax(1)
        return gradient / like(largest.clamp(min=1e-30), gradient)


def check_differentiable(target: Target) -> None:
    """Raises ProxygapError where nothing that the target is shown can be changed little by little."""
    shown = target.inputs_
    if "action" not in shown.shapes and not {"observation", "next_observation"} & set(shown.normalisers):
        raise ProxygapError(
            f"a target that is shown {', '.join(shown.shapes)} as choices and nothing else: there is no gradient to follow; "
            "attack it without gradients, or attack one that is shown actions or numbers"
        )


class Best:
    """The best candidate of every trial by this attack's own queries; other attacks may have shown the target other things."""

    options: Options  # [N]

    def __init__(self, hunt: Hunt) -> None:
        self.hunt, self.action = hunt, hunt.action.copy()
        self.cost, self.suspicion = np.full((2, len(self.action)), np.inf)

    def query(self, rows: Array, candidates: Array) -> Tries:
        """Queries candidates [R, P, ...], and keeps what is better than all before."""
        tries = self.hunt.query(rows, candidates)
        each, place = np.arange(len(rows)), tries.cost.argmin(1)
        if not hasattr(self, "options"):
            self.options = tries.options[np.zeros(len(self.action), np.int64)]
        better = tries.cost[each, place] < self.cost[rows]
        at, kept = (each[better], place[better]), rows[better]
        self.cost[kept], self.suspicion[kept], self.action[kept] = tries.cost[at], tries.suspicion[at], candidates[at]
        self.options[kept] = tries.options[at[0] * candidates.shape[1] + at[1]]
        return tries


class Rules:
    """The world's rules as they are given, or else as they are learned from all that was seen."""

    def __init__(self, hunt: Hunt, given: Dynamics | None) -> None:
        self.hunt, self.given = hunt, given
        self.known: Segments | None = None
        self.count = self.learned = 0  # steps seen, and those when the rules were last learned

    def see(self, options: Options) -> None:
        """Takes note of what options showed."""
        if self.given is not None:
            return
        fresh = options.segments()[self.hunt.rng.permutation(len(options))]
        self.known = fresh if self.known is None else Segments.concatenate([self.known, fresh])
        self.known = self.known[-max(1, MOST_STEPS // self.hunt.length) :]
        self.count += int(options.valid.sum())

    @property
    def dynamics(self) -> Dynamics:
        """The rules as they are known now."""
        if self.given is not None:
            return self.given
        if self.count >= 2 * self.learned:
            assert self.known is not None
            seed = int(self.hunt.rng.integers(2**31))
            self.latest = LearnedDynamics(seed=seed).fit(self.known, self.hunt.env.action_space)
            self.learned = self.count
        return self.latest


class Imagined:
    """M options as they would go, by the rules, if something else was done in them."""

    def __init__(self, target: Target, options: Options, actions: Relaxed, places: Tensor, dynamics: Dynamics) -> None:
        self.target, self.actions, self.dynamics = target, actions, dynamics
        self.shown = target.inputs_.tensors(options.segments())
        self.moved = [name for name in ("observation", "next_observation") if name in target.inputs_.normalisers]
        self.valid = torch.from_numpy(options.valid).float()
        seen, after = (torch.from_numpy(part.astype(np.float32)) for part in (options.observation, options.next_observation))
        self.first, self.off = seen[:, 0], torch.zeros_like(after)
        if self.moved:
            with torch.no_grad():
                told = dynamics(seen.flatten(0, 1), actions.numbers(places).flatten(0, 1))
            self.off = after - told.view_as(after)

    def gradient(self, places: Tensor) -> Tensor:
        """How the suspicion rises with the places [M, T, ...] of the actions."""
        return gradient_of(lambda now: self.target.suspicion_tensors(self.tensors(now), self.valid), places)

    def tensors(self, places: Tensor) -> dict[str, Tensor]:
        """What the target is shown of them."""
        numbers, found = self.actions.numbers(places), dict(self.shown)
        if "action" in found:
            found["action"] = self._weights(numbers) if isinstance(self.actions, Choices) else numbers
        if self.moved:
            seen = self._unrolled(numbers)
            found |= {name: seen[:, 1:] if name == "next_observation" else seen[:, :-1] for name in self.moved}
        return found

    def _unrolled(self, numbers: Tensor) -> Tensor:
        """What is seen before, between and after all steps, [M, T + 1, *observation]."""
        seen = [self.first]
        for time in range(numbers.shape[1]):
            seen.append(self.dynamics(seen[-1], numbers[:, time]) + self.off[:, time])
        return torch.stack(seen, 1)

    def _weights(self, numbers: Tensor) -> Tensor:
        """The weights of those choices that the target knows."""
        assert isinstance(self.actions, Choices)
        return numbers[..., self.target.inputs_.levels["action"] - int(self.actions.values[0])]
