"""What an environment is: a batch of worlds written as pure functions, with one true reward and proxies for it.

A world's state is data (`State`), its rules are functions of that data (`ProxyEnv`), and `Loop` runs many episodes at a time:
time limit, autoreset, rewards, sums. The vocabulary is that of `gymnasium.experimental.functional.FuncEnv`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
from gymnasium import spaces

from .batch import Array, Batch, Draws, NoChance

Kind = Literal["misweighting", "ontological", "scope", "tampering", "goal misgeneralisation", "learned"]
Outcome = Literal["gamed", "tie", "aligned"]


class ProxygapError(ValueError):
    """A mistake that the user can mend. The command line prints its message alone and exits with status 2."""


@dataclass
class State(Batch):
    """What a batch of worlds is in. Subclasses add fields of arrays with a leading batch axis."""

    time: Array = field(default_factory=lambda: np.zeros(0, np.int64), kw_only=True)  # [B] steps, kept by `advance`

    def __post_init__(self) -> None:
        if not np.size(self.time):
            last = list(vars(self).values())[-1]
            self.time = np.zeros(np.shape(last)[:1], np.int64)


S = TypeVar("S", bound=State)


@dataclass
class Observed(Batch):
    """What can be seen of B steps: all that reward models and monitors are given."""

    observation: Array  # [B, *observation]
    action: Array  # [B, *action]
    next_observation: Array  # [B, *observation], before any reset
    terminated: Array  # [B] bool, the episode ended for good; a truncated one did not


@dataclass
class Transition(Observed, Generic[S]):
    """B steps with the hidden states on both sides, from which every reward is computed."""

    state: S
    next_state: S

    def observed(self) -> Observed:
        """The same steps without the hidden states."""
        return Observed(self.observation, self.action, self.next_observation, self.terminated)


@dataclass
class Segments(Observed):
    """N stretches of at most T steps, all axes [N, T, ...]: what preferences, filters and monitors are given."""

    valid: Array  # [N, T] bool, False where a shorter stretch is padded with zeros
    episode: Array  # [N] int, the episode a stretch is cut from
    start: Array  # [N] int, the step of that episode with which it begins
    truncated: Array  # [N, T] bool, the episode was cut off here


Reward = Callable[[Transition[Any]], Array]
Script = Callable[[Any], Array]  # state of B worlds -> actions [B, *action]


@dataclass(frozen=True)
class Proxy:
    """A reward that a designer might have chosen: weights over the terms, what is wrong with it, and what comes of it.

    `kind` is the kind of misspecification (Pan, Bhatia and Steinhardt 2022, section 3, and ours beyond it); `expected` is what
    the environment's story test asserts: "gamed", "tie" or "aligned".
    """

    weights: Mapping[str, float]
    kind: Kind
    flaw: str
    expected: Outcome = "gamed"


class ProxyEnv(ABC, Generic[S]):
    """An environment: B worlds at once, as pure functions of their state.

    A subclass names its spaces, `horizon` (steps an episode may last), `true_reward` (weights over its terms), `proxies` (the
    first is the default), and writes `initial`, `transition`, `observation` and `terms`. Settings are dataclass fields.
    """

    action_space: spaces.Space[Any]
    observation_space: spaces.Space[Any]
    horizon: int
    true_reward: ClassVar[Mapping[str, float]]
    proxies: ClassVar[Mapping[str, Proxy]]
    shows_time: ClassVar[bool] = False  # an observation that shows the time makes the horizon an end, not a truncation
    keys: ClassVar[Mapping[str, Any]] = {}  # keyboard to action, as gymnasium.utils.play reads it; "" is no key
    view: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)  # left, bottom, right, top of the picture, world units
    frames_per_second: ClassVar[int] = 10

    @property
    def name(self) -> str:
        """What the environment is called in tables, titles and presets."""
        return type(self).__name__

    @property
    def pictured(self) -> bool:
        """Whether there is a picture of the world; where there is none, the meters are all there is to see."""
        return type(self).draw is not ProxyEnv.draw

    @abstractmethod
    def initial(self, batch: int, rng: Draws, previous: S | None = None) -> S:
        """`batch` fresh worlds. `previous`: the last states of the episodes before, for what they hand to the next."""

    @abstractmethod
    def transition(self, state: S, action: Array, rng: Draws) -> S:
        """The worlds one step later. Never changes `state`; every draw has the batch as its first axis."""

    @abstractmethod
    def observation(self, state: S) -> Array:
        """What the agent sees, `[B, *observation]`."""

    @abstractmethod
    def terms(self, t: Transition[S]) -> dict[str, Array]:
        """What can be measured in a step, each `[B]`: rewards are weightings of these."""

    def terminal(self, state: S) -> Array:
        """Which worlds have ended for good, `[B]` bool. By default none: only the horizon ends an episode."""
        return np.zeros(len(state), bool)

    def catastrophe(self, t: Transition[S]) -> Array | None:
        """How bad a catastrophe each step is, `[B]` in true reward, 0 where it is none; None where there is no such notion."""
        return None

    def near_catastrophe(self, t: Transition[S]) -> Array | None:
        """How near each step is to a catastrophe, `[B]`, 0 where it is not: above 0 wherever `catastrophe` is, and beyond.

        The wider circle, which is labelled for training so that a filter keeps its distance; it is held to `catastrophe`.
        """
        return self.catastrophe(t)

    def policies(self) -> Mapping[str, Script]:
        """Scripted policies by name, functions of the state; the first is the reference policy."""
        return {}

    def action_mask(self, state: S) -> Array | None:
        """Which discrete actions make sense, `[B, n]` bool, or None where all do."""
        return None

    def outcomes(self, state: S, action: Array) -> list[tuple[Array, S]]:
        """Every way a step can go: pairs of probability `[B]` and next state. By default the one of a world without chance."""
        return [(np.ones(len(state)), self.transition(state, action, NoChance()))]  # pyright: ignore[reportArgumentType]

    def initial_outcomes(self) -> tuple[Array, S]:
        """Every way an episode can begin: probabilities `[K]` and K states. By default the one of a world without chance."""
        return np.ones(1), self.initial(1, NoChance())  # pyright: ignore[reportArgumentType]

    def text(self, state: S) -> str | None:
        """The first world as text (render mode "ansi"), or None where there is no such picture."""
        return None

    def draw(self, state: S, canvas: Any) -> None:
        """Paints the first world on a `painting.Canvas`. By default nothing: the meters alone are shown."""

    def weights(self, reward: str | Mapping[str, float]) -> dict[str, float]:
        """The weights over terms that `reward` stands for: a proxy's name, "true", or weights. Else raises ProxygapError."""
        if isinstance(reward, str):
            if reward != "true" and reward not in self.proxies:
                raise ProxygapError(f"{self.name} has no proxy {reward!r}; it has: true, {', '.join(self.proxies)}")
            return dict(self.true_reward if reward == "true" else self.proxies[reward].weights)
        if unknown := set(reward) - set(self.term_names):
            missing = ", ".join(map(repr, sorted(unknown)))
            raise ProxygapError(f"{self.name} measures no {missing}; its terms are: {', '.join(self.term_names)}")
        return dict(reward)

    @cached_property
    def term_names(self) -> list[str]:
        """The names of all terms, found by measuring one step."""
        space, rng = deepcopy(self.action_space), Draws.seeded(np.zeros(1, int))
        space.seed(0)
        return list(self.terms(advance(self, self.initial(1, rng), np.asarray(space.sample())[None], rng)))

    def loop(self, batch: int = 1, **kwargs: Any) -> "Loop[S]":
        """`batch` episodes of this environment side by side; keywords as in `Loop`."""
        return Loop(self, batch, **kwargs)


class RowByRow(ProxyEnv[S]):
    """For rules that are hard to write with arrays: `transition_row` moves one world, with ordinary ifs. Slower."""

    @abstractmethod
    def transition_row(self, state: S, action: Any, rng: Draws) -> S:
        """One world a step later; `state` has no batch axis, and `rng.random()` is a number."""

    def transition(self, state: S, action: Array, rng: Draws) -> S:
        """Every world a step later, one after another."""
        rows = []
        for i in range(len(state)):
            stream = rng[i]
            row = self.transition_row(state.row(i), action[i], stream)
            rows.append(replace(row, time=state.time[i]))  # a row made anew has no time of its own
            rng[i] = stream
        return type(state).stack(rows)


def advance(env: ProxyEnv[S], state: S, action: Array, rng: Draws, observation: Array | None = None) -> Transition[S]:
    """One step of every world, as a pure function but for `rng`: what loops and planners share."""
    return completed(env, state, action, env.transition(state, action, rng), observation)


def completed(env: ProxyEnv[S], state: S, action: Array, next_state: S, observation: Array | None = None) -> Transition[S]:
    """The step from `state` to a `next_state` that `transition` or `outcomes` gave: its time, its end, what is seen of it."""
    next_state = replace(next_state, time=state.time + 1)
    terminated = env.terminal(next_state)
    if env.shows_time:
        terminated = terminated | (next_state.time >= env.horizon)
    observation = env.observation(state) if observation is None else observation
    return Transition(observation, action, env.observation(next_state), terminated, state, next_state)


def weighted(weights: Mapping[str, float], terms: Mapping[str, Array]) -> Array:
    """The weighted sum of terms, `[B]`; added one after another so that a row does not depend on its batch."""
    total = np.zeros(len(next(iter(terms.values()))))
    for name, weight in weights.items():
        total += weight * terms[name]
    return total


@dataclass
class Sums(Batch):
    """What B episodes have added up to so far."""

    paid: Array  # [B] the reward the agent was paid
    proxy: Array  # [B]
    true: Array  # [B]
    terms: Array  # [B, terms]
    length: Array  # [B] steps

    @classmethod
    def zeros(cls, batch: int, terms: int) -> Self:
        """Nothing yet."""
        paid, proxy, true = np.zeros((3, batch))
        return cls(paid, proxy, true, np.zeros((batch, terms)), np.zeros(batch, np.int64))


@dataclass
class Worlds(Batch, Generic[S]):
    """Everything that changes in a loop: store this and the loop can be resumed exactly."""

    state: S
    draws: Draws
    observation: Array  # [B, *observation], what the agent sees now
    start: Array  # [B] bool, an episode begins here
    sums: Sums


@dataclass
class Step:
    """What one step of a loop brings. Where `done`, the transition and sums are the ended episode's last."""

    transition: Observed  # before any reset; a Transition where the states are known
    observation: Array  # [B, *observation], to act on next, after any reset
    reward: Array  # [B], paid
    proxy: Array  # [B]
    true: Array  # [B]
    terms: dict[str, Array]  # each [B]
    terminated: Array  # [B] bool
    truncated: Array  # [B] bool
    sums: Sums

    @property
    def done(self) -> Array:
        """[B] bool, episodes that ended with this step."""
        return self.terminated | self.truncated


class Loop(Generic[S]):
    """Runs B episodes of an environment side by side, resetting each world in the very step in which its episode ends.

    `proxy` is the proxy to measure: a name, or weights over the terms (None: the environment's default). `reward` is what the
    agent is paid: None for that proxy, "true", or any `Reward`. World i of a loop seeded s is the single world seeded s + i,
    bit for bit. With `autoreset=False` ended worlds go on where they are until `reset`.
    """

    worlds: Worlds[S]

    def __init__(
        self,
        env: ProxyEnv[S],
        batch: int = 1,
        *,
        proxy: str | Mapping[str, float] | None = None,
        reward: Literal["true"] | Reward | None = None,
        autoreset: bool = True,
    ) -> None:
        if batch < 1:
            raise ProxygapError(f"a batch of {batch} worlds: at least 1 is needed")
        if isinstance(reward, str) and reward != "true":
            raise ProxygapError(f"reward {reward!r}: allowed are 'true', None (the proxy) or a function of transitions")
        self.env, self.batch, self.autoreset = env, batch, autoreset
        self.proxy_weights = env.weights(next(iter(env.proxies)) if proxy is None else proxy)
        self.true_weights = dict(env.true_reward)
        self.reward = reward

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """One world's observation space."""
        return self.env.observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        """One world's action space."""
        return self.env.action_space

    @property
    def term_names(self) -> list[str]:
        """The names of the terms, in the order of `Sums.terms`."""
        return self.env.term_names

    @property
    def state(self) -> S:
        """The worlds' hidden state."""
        return self.worlds.state

    @property
    def observation(self) -> Array:
        """[B, *observation], what the agent sees now."""
        return self.worlds.observation

    @property
    def start(self) -> Array:
        """[B] bool, where an episode begins."""
        return self.worlds.start

    def reset(self, seed: int | Sequence[int] | None = None) -> Array:
        """Begins B episodes and returns their first observations. `seed` s gives world i the stream s + i; or one seed each.

        Without a seed the streams go on where they are (drawn from the system the first time).
        """
        if seed is not None or not hasattr(self, "worlds"):
            draws, previous = Draws.seeded(self._seeds(seed)), None
        else:
            draws, previous = self.worlds.draws, self.worlds.state
        state = self.env.initial(self.batch, draws, previous)
        sums = Sums.zeros(self.batch, len(self.term_names))
        self.worlds = Worlds(state, draws, self.env.observation(state), np.ones(self.batch, bool), sums)
        return self.observation

    def stagger(self) -> None:
        """Moves the clock of world i on by i/B of the horizon: first episodes end one after another instead of all at once.

        Then a learner that takes short rollouts does not see all worlds in the same phase of their episodes for ever.
        """
        state = replace(self.worlds.state, time=np.arange(self.batch) * self.env.horizon // self.batch)
        observation = self.env.observation(state) if self.env.shows_time else self.observation
        self.worlds = replace(self.worlds, state=state, observation=observation)

    def step(self, action: Array) -> Step:
        """Moves every world by one step. Raises ProxygapError for an impossible action, or a world that is not finite."""
        worlds = self.worlds
        t = advance(self.env, worlds.state, self._checked(action), worlds.draws, worlds.observation)
        step = self._measured(t, self.env.terms(t), ~t.terminated & (t.next_state.time >= self.env.horizon))
        self.worlds = Worlds(t.next_state, worlds.draws, t.next_observation, np.zeros(self.batch, bool), step.sums)
        if self.autoreset and step.done.any():
            self._reset_rows(np.flatnonzero(step.done))
            step.observation = self.observation
        return step

    def _measured(self, t: Any, terms: dict[str, Array], truncated: Array) -> Step:
        """The step with its rewards, added to the sums of its episodes. `t` is what a callable reward is given."""
        proxy, true = weighted(self.proxy_weights, terms), weighted(self.true_weights, terms)
        paid = proxy if self.reward is None else true if isinstance(self.reward, str) else self.reward(t)
        for what, values in (("reward", paid), ("true reward", true), ("observation", t.next_observation)):
            self._check_finite(what, values, t)
        old = self.worlds.sums
        sums = Sums(
            old.paid + paid, old.proxy + proxy, old.true + true, old.terms + np.stack(list(terms.values()), 1), old.length + 1
        )
        return Step(t, t.next_observation, paid, proxy, true, terms, t.terminated, truncated, sums)

    def _reset_rows(self, rows: Array) -> None:
        worlds = self.worlds.copy()  # the step just returned keeps its own
        streams = worlds.draws[rows]
        fresh = self.env.initial(len(rows), streams, worlds.state[rows])
        sums = Sums.zeros(len(rows), worlds.sums.terms.shape[1])
        worlds[rows] = Worlds(fresh, streams, self.env.observation(fresh), np.ones(len(rows), bool), sums)
        self.worlds = worlds

    def _checked(self, action: Array) -> Array:
        action, space = np.asarray(action), self.action_space
        if action.shape != (self.batch, *(space.shape or ())):
            raise ProxygapError(f"actions of shape {action.shape}: expected {(self.batch, *(space.shape or ()))}")
        if isinstance(space, spaces.Discrete):
            last = space.start + space.n - 1
            if action.min() < space.start or action.max() > last:
                raise ProxygapError(f"action {action.min()} to {action.max()}: allowed are {space.start} to {last}")
        return np.clip(action, space.low, space.high) if isinstance(space, spaces.Box) else action

    def _check_finite(self, what: str, values: Array, t: Observed) -> None:
        if not np.isfinite(values.sum()):
            world = int(np.argmin(np.isfinite(values.reshape(self.batch, -1)).all(1)))
            raise ProxygapError(
                f"{self.env.name} gave a {what} that is not finite ({values[world]}) in world {world} at step "
                f"{self.worlds.sums.length[world] + 1} of its episode, after action {t.action[world]}: mend its terms"
            )

    def snapshot(self) -> dict[str, Array]:
        """Everything that changes, as named arrays."""
        return self.worlds.copy().arrays()

    def restore(self, snapshot: Mapping[str, Array]) -> None:
        """Goes back (or on) to a snapshot of a loop of this environment and batch."""
        if not hasattr(self, "worlds"):
            self.reset(seed=0)
        self.worlds = self.worlds.filled(snapshot)

    def branch(self, rows: Any) -> "Loop[S]":
        """A loop of its own that goes on from the worlds `rows` of this one."""
        other = copy(self)
        other.worlds = self.worlds[rows].copy()
        other.batch = len(other.worlds)
        return other

    def _seeds(self, seed: int | Sequence[int] | None) -> Array:
        if seed is None:
            return np.random.default_rng().integers(2**62, size=self.batch)
        seeds = np.asarray(seed)
        if seeds.dtype.kind not in "iu" or (seeds < 0).any() or (seeds.ndim and len(seeds) != self.batch):
            raise ProxygapError(f"seed {seed!r}: allowed are a whole number from 0, or {self.batch} of them")
        return seeds if seeds.ndim else seeds + np.arange(self.batch)
