"""Any existing Gymnasium environment, with terms declared for it: one reward to want, another to be paid.

    env = ProxyGapWrapper(
        gymnasium.make("CartPole-v1"),
        terms={"upright": lambda t: 1.0 - abs(t.next_observation[2]), "alive": lambda t: t.reward},
        true={"upright": 1.0},
        proxy={"alive": 1.0},
    )

It is a Gymnasium environment whose `info` has both rewards, and it is measured, trained and watched like a native one. It keeps
its simulator to itself: there is no state to plan with, and a loop is restored by playing its episodes' actions again.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from .adapters import info_of
from .batch import Array, Draws
from .core import Loop, Observed, Proxy, ProxyEnv, ProxygapError, State, Step, Sums, Worlds
from .painting import Canvas

SEEDS = 2**31  # what Gymnasium environments take as seeds


@dataclass(frozen=True)
class Moment:
    """One step as the foreign environment shows it: what terms are functions of."""

    observation: Any
    action: Any
    next_observation: Any
    reward: float  # the environment's own
    terminated: bool
    info: dict[str, Any]


Term = str | Callable[[Moment], Any]  # a key of `info`, or a function


@dataclass
class Shown(State):
    """All that is known of a foreign world's state: what it looks like, where it is drawn."""

    picture: Array  # [B, H, W, 3] uint8; of no size where it is not drawn


class ProxyGapWrapper(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """`env` with `terms`, each a function of a `Moment` or a key of `info`; `true` and `proxy` are weights over them.

    `proxy` may also be a mapping of names to `Proxy`. Where the environment has no time limit, episodes are cut off after
    `horizon` steps. Raises ProxygapError for weights of terms that were not declared.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        terms: Mapping[str, Term],
        true: Mapping[str, float],
        proxy: Mapping[str, float] | Mapping[str, Proxy],
        horizon: int = 1000,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, terms=terms, true=true, proxy=proxy, horizon=horizon)
        gymnasium.Wrapper.__init__(self, env)
        self.declared, self.true_reward = dict(terms), dict(true)
        named = {name: value for name, value in proxy.items() if isinstance(value, Proxy)}
        own = {name: value for name, value in proxy.items() if not isinstance(value, Proxy)}
        self.proxies = named or {"proxy": Proxy(own, "ontological", "declared by the user")}
        limit = env.spec.max_episode_steps if env.spec else None
        self.horizon = limit or horizon
        for reward in ({"true": self.true_reward} | {name: proxy.weights for name, proxy in self.proxies.items()}).values():
            self.weights(reward)
        self.single: ForeignLoop | None = None

    weights = ProxyEnv.weights  # the same rule, and the same messages
    shows_time = False
    view = (0.0, 0.0, 1.5, 1.0)  # of a picture of any shape

    @property
    def name(self) -> str:
        """The wrapped environment's id, or its class."""
        return self.env.spec.id if self.env.spec else type(self.env.unwrapped).__name__

    @property
    def term_names(self) -> list[str]:
        """The names of the declared terms."""
        return list(self.declared)

    @property
    def pictured(self) -> bool:
        """Whether the environment was made with render_mode="rgb_array"."""
        return self.env.render_mode == "rgb_array"

    @property
    def frames_per_second(self) -> int:
        """What the environment says of its pictures."""
        return self.env.metadata.get("render_fps", 30)

    def draw(self, state: Shown, canvas: Canvas) -> None:
        """The environment's own picture."""
        height, width = state.picture.shape[1:3]
        scale = min(1.5 / width, 1.0 / height)
        canvas.image(state.picture[0], (0.75 - width * scale / 2, 0.5 - height * scale / 2, width * scale, height * scale))

    def policies(self) -> dict[str, Any]:
        """No scripts: they would be functions of a state that is not known."""
        return {}

    def loop(self, batch: int = 1, **kwargs: Any) -> "ForeignLoop":
        """`batch` copies of the environment side by side; keywords as in `Loop`."""
        return ForeignLoop(self, batch, **kwargs)

    def another(self) -> gymnasium.Env[Any, Any]:
        """A fresh copy of the wrapped environment."""
        return gymnasium.make(self.env.spec) if self.env.spec else deepcopy(self.env)

    def terms_of(self, moment: Moment) -> dict[str, float]:
        """Every term's value. Raises ProxygapError where `info` lacks a term's key."""
        return {name: float(self._value(term, moment)) for name, term in self.declared.items()}

    def _value(self, term: Term, moment: Moment) -> Any:
        if callable(term):
            return term(moment)
        if term not in moment.info:
            raise ProxygapError(f"no {term!r} in the environment's info; it has: {', '.join(moment.info) or 'nothing'}")
        return moment.info[term]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode of this one environment."""
        self.single = self.single or ForeignLoop(self, 1, autoreset=False, worlds=[self.env])
        return self.single.reset(seed=seed)[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step, paid by the first proxy; `info` has both rewards and the terms beside what the environment tells."""
        if self.single is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        step = self.single.step(np.asarray(action)[None])
        told = self.single.infos[0] | info_of(step, self.single)
        return step.observation[0], float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), told


class ForeignLoop(Loop[Shown]):
    """The loop of a foreign environment: B simulators, stepped one after another.

    Every episode has a seed of its own, derived from its world's stream, so that a snapshot is that seed and the actions since.
    """

    def __init__(self, env: ProxyGapWrapper, batch: int = 1, *, worlds: Any = None, **kwargs: Any) -> None:
        super().__init__(env, batch, **kwargs)  # pyright: ignore[reportArgumentType] - the wrapper has what a loop asks of it
        self.simulators = worlds or [env.another() for _ in range(batch)]
        self.drawn = env.pictured and batch == 1 and not worlds  # one alone is watched; many are trained in
        self.infos: list[dict[str, Any]] = [{} for _ in range(batch)]
        self.foreign = env

    def reset(self, seed: Any = None) -> Array:
        """As `Loop.reset`."""
        fresh = seed is not None or not hasattr(self, "worlds")
        draws = Draws.seeded(self._seeds(seed)) if fresh else self.worlds.draws
        self.episode_seed = np.zeros(self.batch, np.int64)
        self.actions: list[list[Any]] = [[] for _ in range(self.batch)]
        observations = [self._begin(i, draws) for i in range(self.batch)]
        sums = Sums.zeros(self.batch, len(self.term_names))
        state = self._shown(np.zeros(self.batch, np.int64))
        self.worlds = Worlds(state, draws, np.stack(observations), np.ones(self.batch, bool), sums)
        return self.observation

    def _shown(self, time: Array) -> Shown:
        pictures = np.array([self.simulators[0].render()]) if self.drawn else np.zeros((self.batch, 0, 0, 3), np.uint8)
        return Shown(pictures, time=time)

    def _begin(self, i: int, draws: Draws) -> Any:
        """A new episode in world i; its first observation."""
        stream = draws[i]
        self.episode_seed[i], self.actions[i] = stream.integers(0, SEEDS), []
        draws[i] = stream
        return self.simulators[i].reset(seed=int(self.episode_seed[i]))[0]

    def step(self, action: Array) -> Step:
        """As `Loop.step`; the transition is `Observed`, for there is no state."""
        action, worlds = self._checked(action), self.worlds
        results = [simulator.step(a) for simulator, a in zip(self.simulators, action, strict=True)]
        seen, rewards, terminated, truncated, infos = map(list, zip(*results, strict=True))
        for log, a in zip(self.actions, action, strict=True):
            log.append(a)
        self.infos = infos
        t = Observed(worlds.observation, action, np.stack(seen), np.array(terminated, bool))
        moments = (Moment(*row) for row in zip(t.observation, action, seen, rewards, terminated, infos, strict=True))
        rows = [self.foreign.terms_of(moment) for moment in moments]
        terms = {name: np.array([row[name] for row in rows]) for name in self.term_names}
        late = worlds.state.time + 1 >= self.foreign.horizon
        step = self._measured(t, terms, (np.array(truncated, bool) | late) & ~t.terminated)
        state = self._shown(worlds.state.time + 1)
        self.worlds = Worlds(state, worlds.draws, t.next_observation, np.zeros(self.batch, bool), step.sums)
        if self.autoreset and step.done.any():
            self._restart(np.flatnonzero(step.done))
            step.observation = self.observation
        return step

    def _restart(self, rows: Array) -> None:
        self.worlds = worlds = self.worlds.copy()
        for i in rows:
            worlds.observation[i] = self._begin(i, worlds.draws)
        worlds.state = self._shown(np.where(np.isin(np.arange(self.batch), rows), 0, worlds.state.time))
        worlds.start[rows] = True
        worlds.sums[rows] = Sums.zeros(len(rows), len(self.term_names))

    def snapshot(self) -> dict[str, Array]:
        """Everything that changes: the worlds' records, and every episode's seed and actions so far (then zeros)."""
        shape = (self.batch, self.foreign.horizon, *(self.action_space.shape or ()))
        actions = np.zeros(shape, self.action_space.dtype)
        for i, log in enumerate(self.actions):
            actions[i, : len(log)] = np.array(log, self.action_space.dtype).reshape(-1, *shape[2:])
        return super().snapshot() | {"episode_seed": self.episode_seed.copy(), "actions": actions}

    def restore(self, snapshot: Mapping[str, Array]) -> None:
        """Plays the episodes of a snapshot again, up to where they were."""
        super().restore(snapshot)
        self.episode_seed = np.array(snapshot["episode_seed"])
        self.actions = [list(row[:n]) for row, n in zip(snapshot["actions"], self.worlds.sums.length, strict=True)]
        for simulator, seed, log in zip(self.simulators, self.episode_seed, self.actions, strict=True):
            simulator.reset(seed=int(seed))
            for action in log:
                simulator.step(action)

    def branch(self, rows: Any) -> "Loop[Shown]":
        """Refused: the simulators' states can't be copied."""
        raise ProxygapError("a foreign environment keeps its state to itself: it can't be branched; restore a snapshot instead")
