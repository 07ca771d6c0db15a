"""Stretches of behaviour from any state on: what a filter accepts or refuses, and what attacks search.

A scene is a world as it stands, with the chance that is to come; an option is what somebody does there for some steps. As
states are data and chance is a stream, the same actions in the same scene are the same option, bit for bit, in any batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space

from ..envs.batch import Array, Batch, Draws
from ..envs.core import Loop, ProxyEnv, ProxygapError, Segments, Sums, Worlds, advance
from .rollouts import Policy

Act = Callable[[int, Loop[Any]], Array]  # how many steps ago the option began, a loop of B worlds -> actions [B, *action]
TOGETHER = 512  # episodes that scenes are taken from at a time


@dataclass
class Scenes(Batch):
    """N worlds as they stand."""

    state: Any  # State [N]
    draws: Draws  # [N] the chance that is to come


@dataclass
class Cases(Scenes):
    """N scenes with what somebody did there: what an attack sets out from."""

    action: Array  # [N, T, *action]


@dataclass
class Options(Segments):
    """N options of at most T steps, and what they came to. An `episode` is the scene's number, a `start` its time."""

    severity: Array  # [N] of the catastrophe, that of the worst step; 0 for none
    near: Array  # [N] the same of the wider circle
    true: Array  # [N] true return
    proxy: Array  # [N] proxy return

    def segments(self) -> Segments:
        """The same without what is hidden."""
        return Segments(**{part.name: getattr(self, part.name) for part in fields(Segments)})

    def cases(self, scenes: Scenes) -> Cases:
        """These options as something to set out from; `scenes` are those that they were played in."""
        return Cases(scenes.state, scenes.draws, self.action)


def uniform_actions(env: ProxyEnv[Any], rng: np.random.Generator, *shape: int) -> Array:
    """Actions [*shape, *action], uniform over the action space."""
    space = batch_space(env.action_space, int(np.prod(shape)))
    space.seed(int(rng.integers(2**31)))
    drawn = np.asarray(space.sample())
    return drawn.reshape(*shape, *drawn.shape[1:])


def check_env(env: Any) -> None:
    """Raises ProxygapError for an environment that can't go on from any state, or has no notion of a catastrophe."""
    if not isinstance(env, ProxyEnv):
        raise ProxygapError(f"{env.name} keeps its state to itself, so no option can begin in the midst of it")
    start = Draws.seeded(np.zeros(1, int))
    step = advance(env, env.initial(1, start), batch_space(env.action_space, 1).sample(), start)
    if env.catastrophe(step) is None:
        raise ProxygapError(f"{env.name} has no notion of a catastrophe: write `catastrophe`, or choose another environment")


def scenes(env: ProxyEnv[Any], policy: Policy, number: int, length: int, seed: int, from_each: int = 1) -> Scenes:
    """N scenes that `policy` comes into, at random times of its episodes, with `length` steps left to go.

    As many as `from_each` are of one episode, which saves playing it; those are alike. Episode i draws from the stream
    seed + i. Raises ProxygapError for lengths that no episode has.
    """
    if not 1 <= length <= env.horizon or min(number, from_each) < 1:
        raise ProxygapError(
            f"{number} options of {length} steps: an episode of {env.name} has {env.horizon} at most, 1 at least"
        )
    episodes = -(-number // from_each)
    parts = [
        _scenes(env, policy, seed + begin, min(TOGETHER, episodes - begin), length, from_each)
        for begin in range(0, episodes, TOGETHER)
    ]
    return Scenes.concatenate(parts)[:number]


def _scenes(env: ProxyEnv[Any], policy: Policy, seed: int, episodes: int, length: int, from_each: int) -> Scenes:
    """`from_each` scenes of each episode, those of an episode next to each other."""
    when = np.random.default_rng((seed, length)).integers(0, env.horizon - length + 1, (episodes, from_each))
    loop = env.loop(episodes)
    loop.reset(seed)
    found = loop.worlds[np.repeat(np.arange(episodes), from_each)].copy()
    for time in range(1, when.max() + 1):
        loop.step(policy(loop))
        episode, place = np.nonzero(when == time)
        found[episode * from_each + place] = loop.worlds[episode]
    return Scenes(found.state, found.draws)


def begun(env: ProxyEnv[Any], scenes: Scenes) -> Loop[Any]:
    """A loop whose worlds stand as in the scenes, and where nothing has been summed up yet."""
    loop = env.loop(len(scenes), autoreset=False)
    sums = Sums.zeros(len(scenes), len(loop.term_names))
    state, draws = scenes.state.copy(), scenes.draws.copy()
    loop.worlds = Worlds(state, draws, env.observation(state), np.ones(len(scenes), bool), sums)
    return loop


def play(env: ProxyEnv[Any], scenes: Scenes, length: int, act: Act) -> Options:
    """What comes of acting so in every scene for `length` steps, or to the end of its episode."""
    loop = begun(env, scenes)
    alive, seen = np.ones(len(scenes), bool), []
    severity, near, true, proxy = np.zeros((4, len(scenes)))
    for time in range(length):
        step = loop.step(act(time, loop))
        t = step.transition
        bad, close = env.catastrophe(t), env.near_catastrophe(t)  # pyright: ignore[reportArgumentType]
        severity, near = (np.where(alive, np.maximum(most, now), most) for most, now in ((severity, bad), (near, close)))
        true, proxy = true + alive * step.true, proxy + alive * step.proxy
        seen.append((t.observation, t.action, t.next_observation, t.terminated, alive, step.truncated))
        alive = alive & ~step.done
    observation, action, next_observation, terminated, valid, truncated = (
        np.stack(part, 1) for part in zip(*seen, strict=True)
    )
    return Options(
        observation, action, next_observation, terminated & valid, valid, np.arange(len(scenes)), scenes.state.time.copy(),
        truncated & valid, severity, near, true, proxy,
    )  # fmt: skip


def played(env: ProxyEnv[Any], scenes: Scenes, length: int, policy: Policy) -> Options:
    """What `policy` does in every scene."""
    return play(env, scenes, length, lambda _, loop: policy(loop))


def replayed(env: ProxyEnv[Any], cases: Cases, free: Array | None = None, policy: Policy | None = None) -> Options:
    """What comes of the cases' actions. Where `policy` is given, it plays the steps that are `free` [N, T]."""

    def act(time: int, loop: Loop[Any]) -> Array:
        bound = cases.action[:, time]
        if policy is None or free is None:
            return bound
        return np.where(free[:, time].reshape(-1, *[1] * (bound.ndim - 1)), policy(loop), bound)

    return play(env, cases, cases.action.shape[1], act)
