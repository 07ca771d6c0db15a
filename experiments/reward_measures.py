"""What is measured of a reward model: how well it foretells comparisons, and how far its reward is from the true one.

Models and the truth are measured alike. Comparisons are judged by the chances with which a rational teacher, who knows the true
reward, calls a side better: no draw adds noise, and the truth itself is without fault.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..agents.rollouts import Policy
from ..envs.batch import Array
from ..envs.core import ProxyEnv, ProxygapError, Reward, Transition, weighted
from ..envs.tabular import TabularMDP, tabulate
from ..reward_models.calibration import brier, expected_calibration_error, negative_log_likelihood
from ..reward_models.distances import Dynamics, dard, dard_of_steps, epic, epic_of_steps, regret, starc
from ..reward_models.feedback import Comparisons, Stretches
from ..reward_models.teachers import FIRST, Teacher

if TYPE_CHECKING:
    from ..reward_models.preference import PreferenceReward  # torch: not needed to parse a command line

Sides = tuple[Stretches, Stretches]
Distances = Callable[[Reward], dict[str, float]]
CERTAIN, TIE = 1e-9, 1e-9  # no probability is nearer to 0 or 1 in a likelihood; what is nearer to 1/2 is a tie
FEW = 500  # states, up to which distances are exact
WORLDS, STEPS, SAMPLES = 16, 256, 64  # else: played side by side, steps taken from that play, draws for each expectation


@dataclass(frozen=True)
class Truth:
    """The true reward, and the teacher who judges by it."""

    env: Any
    teacher: Teacher

    def __call__(self, t: Transition[Any], /) -> Array:
        """The true reward of each step, [B]."""
        return weighted(self.env.true_reward, self.env.terms(t))

    def probability(self, sides: Sides, /) -> Array:
        """The chance that the teacher calls the first of each pair better, [N]."""
        return self.teacher.chances(*sides)[:, FIRST]


@dataclass(frozen=True)
class Learned:
    """A model's reward at the mean and the deviation of the true one: comparisons can't tell these, and presets suit them."""

    model: "PreferenceReward"
    mean: float
    deviation: float

    def __call__(self, t: Transition[Any], /) -> Array:
        """The reward of each step, [B]."""
        return self.mean + self.deviation * self.model(t)

    def probability(self, sides: Sides, /) -> Array:
        """The chance that the first of each pair is better, [N]."""
        first, second = sides
        unknown = np.full(len(first), 0.5)
        return self.model.probability(Comparisons(first.segments, second.segments, unknown, self.model.env_))


def accuracy(probability: Array, label: Array) -> float:
    """The share of decided pairs [N] whose likelier side is the better one, a tie counting half; nan where none is decided."""
    said, wanted = (np.where(abs(chance - 0.5) < TIE, 0.0, np.sign(chance - 0.5)) for chance in (probability, label))
    decided = wanted != 0
    return float((1 + said * wanted)[decided].mean() / 2) if decided.any() else np.nan


def judged(probability: Array, label: Array) -> dict[str, float]:
    """How well probabilities [N] fit the chances [N] of who judges."""
    return {
        "accuracy": accuracy(probability, label),
        "Brier": brier(probability, label),
        "NLL": negative_log_likelihood(np.clip(probability, CERTAIN, 1 - CERTAIN), label),
        "ECE": expected_calibration_error(probability, label),
    }


def distances_to(truth: Truth, reference: Policy, discount: float, seed: int) -> Distances:
    """A function that tells how far a reward is from the true one: exactly where states are few, else over a reference's steps.

    What it can't know it leaves out: STARC and regret where states are many, all in environments of others.
    """
    env = truth.env
    if not isinstance(env, ProxyEnv):
        return lambda reward: {}
    try:
        mdp = None if env.shows_time else tabulate(env, limit=FEW)
    except ProxygapError:
        mdp = None
    if mdp is not None:
        return partial(exact_distances, truth=truth, mdp=mdp, discount=discount)
    return partial(sampled_distances, truth=truth, steps=_steps(env, reference, seed), discount=discount, seed=seed)


def exact_distances(reward: Reward, truth: Truth, mdp: TabularMDP, discount: float) -> dict[str, float]:
    """EPIC (over steps that can happen, all the same), DARD, STARC and regret, without sampling."""
    dynamics = Dynamics.of(mdp, discount)
    paid, wanted = (table(which, truth.env, mdp) for which in (reward, truth))
    return {
        "EPIC": epic(paid, wanted, discount, dynamics.chances),
        "DARD": dard(paid, wanted, dynamics),
        "STARC": starc(paid, wanted, dynamics),
        "regret": regret(paid, wanted, dynamics),
    }


def table(reward: Reward, env: ProxyEnv[Any], mdp: TabularMDP) -> Array:
    """The reward of every step, [S, A, S], also of those that can't happen: what is seen is what the states look like."""
    seen, (states, actions, _) = env.observation(mdp.states), mdp.terms.shape
    action, end = np.repeat(np.arange(actions), states), np.tile(np.arange(states), actions)
    chosen = env.action_space.start + action  # pyright: ignore[reportAttributeAccessIssue]

    def row(state: int) -> Array:
        begin = np.full(len(end), state)
        return reward(Transition(seen[begin], chosen, seen[end], mdp.terminal[end], mdp.states[begin], mdp.states[end]))

    return np.reshape([row(state) for state in range(states)], (states, actions, states))


def sampled_distances(reward: Reward, truth: Truth, steps: Transition[Any], discount: float, seed: int) -> dict[str, float]:
    """EPIC and DARD over stored steps, every reward by the same draws."""
    first, second = (np.random.default_rng((seed, number)) for number in range(2))
    return {
        "EPIC": epic_of_steps(reward, truth, steps, discount, first, SAMPLES),
        "DARD": dard_of_steps(reward, truth, truth.env, steps, discount, second),
    }


def _steps(env: ProxyEnv[Any], reference: Policy, seed: int) -> Transition[Any]:
    """Steps of the reference's play, drawn from several worlds' whole horizon."""
    loop, rng = env.loop(WORLDS), np.random.default_rng(seed)
    loop.reset(seed)
    played: list[Any] = [loop.step(reference(loop)).transition for _ in range(env.horizon)]
    steps = Transition.concatenate(played)
    return steps[rng.choice(len(steps), min(STEPS, len(steps)), replace=False)]
