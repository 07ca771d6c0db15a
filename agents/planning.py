"""Agents that need no training: they know the world's rules and look ahead.

`ExactPlanner` solves an environment of few states and plays the optimum. `CEM` samples action sequences, keeps the best, and
samples again around them: for worlds that are too large to solve. Both are policies, functions of a loop, as in `rollouts`.

CEM: Rubinstein (1999), "The cross-entropy method for combinatorial and continuous optimization"; Botev, Kroese, Rubinstein and
L'Ecuyer (2013), "The cross-entropy method for optimization". Elites and the last plan stay in the running, as in Pinneri et
al. (2020), "Sample-efficient cross-entropy method for real-time planning".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from ..envs.batch import Array, Draws
from ..envs.core import Loop, ProxyEnv, ProxygapError, Reward, advance, weighted
from ..envs.tabular import finite_horizon, optimal_values, tabulate

SMOOTHING = (
    0.9  # share of the new estimate in each update; the rest of the old one keeps chances from vanishing (Botev et al., 2.2)
)


class ExactPlanner:
    """Plays an optimal policy for `reward`: a proxy's name, "true", or weights over the terms.

    Without `discount` the best for an episode of the environment's horizon, which may do another thing at every step; with it,
    the best policy without a time limit. Raises ProxygapError where the environment can't be tabulated.
    """

    def __init__(
        self, env: ProxyEnv[Any], reward: str | Mapping[str, float], discount: float | None = None, limit: int = 100_000
    ) -> None:
        self.env, self.mdp = env, tabulate(env, limit=limit, timed=env.shows_time)
        weights = env.weights(reward)
        if discount is None:
            self.choices = finite_horizon(self.mdp, weights).policy  # [T, S]
        else:
            self.choices = optimal_values(self.mdp, weights, discount).argmax(1)[None]  # [1, S]
        self._seen: dict[bytes, int] | None = None

    def __call__(self, loop: Loop[Any]) -> Array:
        """The optimal action in each of the loop's worlds, which are known exactly: the planner as a policy."""
        return self._action(self.mdp.index(loop.state), loop.state.time)

    def predict(
        self, observation: Array, state: Any = None, episode_start: Array | None = None, deterministic: bool = True
    ) -> tuple[Array, Any]:
        """Optimal actions and the memory for the next call, as stable-baselines3's models give them; the memory is the time.

        `observation` is one world's or a batch. Raises ProxygapError where it does not say which state the world is in.
        """
        single = observation.shape == self.env.observation_space.shape
        batch = np.asarray(observation)[None] if single else np.asarray(observation)
        time = np.zeros(len(batch), np.int64) if state is None else np.asarray(state[0])
        time = time if episode_start is None else np.where(episode_start, 0, time)
        action = self._action(self._recognised(batch), time)
        return (action[0] if single else action), (time + 1,)

    def _action(self, where: Array, time: Array) -> Array:
        step = np.minimum(time, len(self.choices) - 1)
        return self.env.action_space.start + self.choices[step, where].astype(np.int64)  # pyright: ignore[reportAttributeAccessIssue]

    def _recognised(self, observation: Array) -> Array:
        """The number [B] of the state that each world shows."""
        self._seen = self._looks() if self._seen is None else self._seen
        try:
            return np.array([self._seen[_key(each)] for each in observation])
        except KeyError as error:
            raise ProxygapError("an observation that no state of this environment gives") from error

    def _looks(self) -> dict[bytes, int]:
        alive = np.flatnonzero(~self.mdp.terminal).tolist()
        seen: dict[bytes, int] = {}
        for number, shown in zip(alive, self.env.observation(self.mdp.states[alive]), strict=True):
            if (other := seen.setdefault(_key(shown), number)) != number:
                raise ProxygapError(
                    f"{self.env.name} looks the same in states {other} and {number}, so an observation can't tell "
                    "what is best; use the planner as a policy, which knows the state"
                )
        return seen


def _key(observation: Array) -> bytes:
    return np.ascontiguousarray(observation).tobytes()


@dataclass
class CEM:
    """Plans by the cross-entropy method with the world's own rules, and plays the best sequence of the last iteration.

    Knows the state, not the world's future chance: every candidate draws its own. All worlds and candidates run in one batch. A
    new plan also tries what was left of the last one. The steps of a sequence are drawn apart, so that with discrete actions
    a short `horizon` (about 4) finds more.
    """

    env: ProxyEnv[Any]
    reward: str | Mapping[str, float] | Reward  # a proxy's name, "true", weights over the terms, or any reward
    horizon: int = 10  # steps to look ahead
    population: int = 256  # sequences tried in each iteration
    elites: int = 16  # of them the best, which the next iteration follows
    iterations: int = 5
    replan: int = 1  # steps played of a plan before the next is made
    seed: int = 0
    _plan: Array = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False)  # [B, horizon, *action]
    _used: Array = field(default_factory=lambda: np.zeros(0, np.int64), init=False, repr=False)  # [B] steps played of it

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.population or not 1 <= self.replan <= self.horizon or self.iterations < 1:
            raise ProxygapError(
                f"elites={self.elites} of population={self.population}, replan={self.replan} of horizon={self.horizon}, "
                f"iterations={self.iterations}: allowed are 1 to population, 1 to horizon, and at least 1"
            )
        self._rng, self._rate = np.random.default_rng(self.seed), _reward(self.env, self.reward)
        self._search = distribution(self.env.action_space)

    def __call__(self, loop: Loop[Any]) -> Array:
        """The next action of every world's plan, made anew where an episode begins or `replan` steps have been played."""
        batch = len(loop.start)
        if len(self._used) != batch:
            self._plan = self._search.start(batch, self.horizon).sample(self._rng, 1)[:, 0]
            self._used = np.full(batch, self.replan)
        due = np.flatnonzero(loop.start | (self._used >= self.replan))
        if len(due):
            ahead = np.minimum(self._used[due, None] + np.arange(self.horizon), self.horizon - 1)
            self._plan[due] = self.plan(loop.state[due], self._plan[due[:, None], ahead])
            self._used[due] = 0
        action = self._plan[np.arange(batch), self._used]
        self._used += 1
        return action

    def plan(self, state: Any, hint: Array | None = None) -> Array:
        """The best action sequence [B, horizon, *action] found from each of B worlds; `hint`: one each to try as well."""
        search = self._search.start(len(state), self.horizon)
        elites = search.sample(self._rng, 0) if hint is None else hint[:, None]
        for _ in range(self.iterations):
            fresh = search.sample(self._rng, self.population)
            elites = self._best(state, np.concatenate([elites, fresh], 1))  # so that the best one found is not lost
            search = search.towards(elites)
        return elites[:, 0]

    def _best(self, state: Any, sequences: Array) -> Array:
        """The elites among sequences [B, any, horizon, *action], best first."""
        order = np.argsort(-self._returns(state, sequences), axis=1, kind="stable")
        return sequences[np.arange(len(order))[:, None], order[:, : self.elites]]

    def _returns(self, state: Any, sequences: Array) -> Array:
        """What each sequence earns [B, population], up to the end of its episode."""
        shape = sequences.shape[:2]
        world = state[np.repeat(np.arange(shape[0]), shape[1])]
        draws = Draws.seeded(self._rng.integers(2**62, size=len(world)))
        actions = sequences.reshape(len(world), *sequences.shape[2:])
        total, alive = np.zeros(len(world)), np.ones(len(world), bool)
        for step in range(self.horizon):
            t = advance(self.env, world, actions[:, step], draws)
            total += np.where(alive, self._rate(t), 0.0)
            world, alive = t.next_state, alive & ~t.terminated & (t.next_state.time < self.env.horizon)
        return total.reshape(shape)


def _reward(env: ProxyEnv[Any], reward: str | Mapping[str, float] | Reward) -> Reward:
    if callable(reward):
        return reward
    weights = env.weights(reward)
    return lambda t: weighted(weights, env.terms(t))


@dataclass
class Categorical:
    """Independent chances of discrete actions (one, or several at once) at every step of B plans."""

    space: spaces.Discrete | spaces.MultiDiscrete
    chances: Array = field(default_factory=lambda: np.zeros(0))  # [B, horizon, *action, n], 0 for numbers that are none

    @property
    def allowed(self) -> Array:
        """[*action, n] bool, which of the numbers from 0 are actions; those of the space begin at its `start`."""
        numbers = np.asarray(self.space.n if isinstance(self.space, spaces.Discrete) else self.space.nvec)
        return np.arange(numbers.max()) < numbers[..., None]

    def start(self, batch: int, horizon: int) -> "Categorical":
        """All actions alike."""
        alike = self.allowed / self.allowed.sum(-1, keepdims=True)
        return Categorical(self.space, np.broadcast_to(alike, (batch, horizon, *alike.shape)))

    def among(self, rows: Array) -> "Categorical":
        """Those of some plans."""
        return Categorical(self.space, self.chances[rows])

    def sample(self, rng: np.random.Generator, population: int) -> Array:
        """Sequences [B, population, horizon, *action]."""
        batch, *rest, _ = self.chances.shape
        tossed = rng.random((batch, population, *rest, 1))
        last = ~self.allowed[..., 1:]  # from an action's last number on, which rounding may leave below 1
        below = np.where(last, 1.0, self.chances.cumsum(-1)[..., :-1])[:, None]
        return self.space.start + (tossed >= below).sum(-1)

    def towards(self, elites: Array) -> "Categorical":
        """Chances that follow the elites [B, elites, horizon, *action]."""
        taken = (elites - self.space.start)[..., None] == np.arange(self.chances.shape[-1])
        return Categorical(self.space, SMOOTHING * taken.mean(1) + (1 - SMOOTHING) * self.chances)


@dataclass
class Gaussian:
    """Independent normal distributions of actions in a box at every step of B plans, cut off at its walls."""

    space: spaces.Box
    mean: Array = field(default_factory=lambda: np.zeros(0))  # [B, horizon, *action]
    spread: Array = field(default_factory=lambda: np.zeros(0))  # [B, horizon, *action] standard deviation

    def start(self, batch: int, horizon: int) -> "Gaussian":
        """The middle of the box, and half its width."""
        low, high = self.space.low.astype(float), self.space.high.astype(float)
        shape = (batch, horizon, *self.space.shape)
        return Gaussian(self.space, np.broadcast_to((low + high) / 2, shape), np.broadcast_to((high - low) / 2, shape))

    def among(self, rows: Array) -> "Gaussian":
        """Those of some plans."""
        return Gaussian(self.space, self.mean[rows], self.spread[rows])

    def sample(self, rng: np.random.Generator, population: int) -> Array:
        """Sequences [B, population, horizon, *action]."""
        batch, *rest = self.mean.shape
        noise = rng.standard_normal((batch, population, *rest))
        return np.clip(self.mean[:, None] + self.spread[:, None] * noise, self.space.low, self.space.high)

    def towards(self, elites: Array) -> "Gaussian":
        """The mean and spread of the elites [B, elites, horizon, *action]."""
        mean = SMOOTHING * elites.mean(1) + (1 - SMOOTHING) * self.mean
        return Gaussian(self.space, mean, SMOOTHING * elites.std(1) + (1 - SMOOTHING) * self.spread)


def distribution(space: spaces.Space[Any]) -> Categorical | Gaussian:
    """What plans are drawn from. Raises ProxygapError for other actions than choices and bounded boxes."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return Categorical(space)
    if isinstance(space, spaces.Box) and space.is_bounded():
        return Gaussian(space)
    raise ProxygapError(f"actions {space}: CEM plans for Discrete and MultiDiscrete actions, and for Box ones with bounds")
