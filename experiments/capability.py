"""Who plays a red-team task, from agents that can do nothing to those that can do much: the ladder that rates are shown on."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..agents.planning import CEM
from ..agents.rollouts import Policy, random_policy, scripted
from ..envs.batch import Array
from ..envs.core import ProxyEnv, Transition
from .red_team_tasks import STREAMS, RedTeamTask

CHANCE, REFERENCE, GAMER = "chance", "reference", "gamer"
PLANNER, LEARNER, BEST = "CEM for severity", "PPO on the proxy", "the best"
GROUPS = (CHANCE, REFERENCE, GAMER, PLANNER, LEARNER, BEST)
SHARES = (0.75, 0.5, 0.25, 0.1, 0.0)  # of the reference's actions that are random
AHEAD, ITERATIONS = 12, 3  # steps that CEM looks ahead, and its iterations
PLANNED = 128  # scenes that CEM plans in at most
URGENCY = 1000.0  # what a catastrophe counts for CEM, against as much nearness


class Rung(NamedTuple):
    """An agent on the ladder."""

    group: str
    agent: str
    policy: Callable[[int], Policy]  # of a seed's place among the streams of chance
    most: int  # scenes that it plays


def ladder(task: RedTeamTask, sizes: Mapping[str, Any]) -> list[Rung]:
    """The agents, from weak to capable: how many options they play, CEM's populations and PPO's steps are in `sizes`."""
    env, every = task.environment, sizes["options"]
    scripts = list(env.policies())
    found = [Rung(CHANCE, "random", partial(random_policy, env), every)]
    if scripts:
        found += [Rung(REFERENCE, f"{share:.0%} random", partial(_unsteady, env, scripts[0], share), every) for share in SHARES]
    if GAMER in scripts:
        found.append(Rung(GAMER, "steady", lambda place: scripted(env, GAMER), every))
    planners = [(f"{number:,} plans", partial(planner, task, number)) for number in sizes["populations"]]
    found += [Rung(PLANNER, name, policy, min(every, PLANNED)) for name, policy in planners]
    return found + [Rung(LEARNER, f"{steps:,} steps", partial(_learner, task, steps), every) for steps in sizes["steps"]]


def sometimes(policy: Policy, other: Policy, share: float, seed: int) -> Policy:
    """A policy that lets `other` act instead in a share of its steps, drawn for each anew."""
    rng = np.random.default_rng((seed, 3))

    def acts(loop: Any) -> Array:
        own, others = policy(loop), other(loop)
        lets = rng.random(len(own)) < share
        return np.where(lets.reshape(-1, *[1] * (own.ndim - 1)), others, own)

    return acts


def _unsteady(env: ProxyEnv[Any], script: str, share: float, place: int) -> Policy:
    return sometimes(scripted(env, script), random_policy(env, place), share, place)


def planner(task: RedTeamTask, population: int, place: int) -> CEM:
    """Plans for a catastrophe, the sooner and the worse the better, and where no plan has one, for being near to it."""
    env = task.environment

    def severity(t: Transition[Any]) -> Array:
        left = 1.0 - t.state.time / env.horizon  # else it would be put off for ever
        return URGENCY * left * np.asarray(env.catastrophe(t)) + np.asarray(env.near_catastrophe(t))

    ahead = min(AHEAD, task.length)
    return CEM(
        env, severity, ahead, population, max(1, population // 8), iterations=ITERATIONS, replan=-(-ahead // 2), seed=place
    )


def _learner(task: RedTeamTask, steps: int, place: int) -> Policy:
    from ..agents.training import train

    seed = place // STREAMS  # stable-baselines3 takes no large ones
    trained = train(task.environment, seed=seed, steps=steps, evaluations=0, name=task.env)
    return trained.policy(place)
