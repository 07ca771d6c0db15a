"""The loop of foreign environments: their simulators side by side, and all that a native loop offers but states."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from .batch import Array, Draws
from .core import Loop, Observed, ProxygapError, State, Step, Sums, Worlds

SEEDS = 2**31  # what Gymnasium environments take as seeds


class Moment(NamedTuple):
    """One step as the foreign environment shows it: what terms are functions of."""

    observation: Any
    action: Any
    next_observation: Any
    reward: float  # the environment's own
    terminated: bool
    info: dict[str, Any]
    simulator: Any  # the environment without wrappers, after the step: its memory, its physics


@dataclass
class Shown(State):
    """All that is known of foreign worlds: what they look like, to the agent and to us."""

    observation: Array  # [B, *observation]
    picture: Array  # [B, ...] what `draw` needs, by default [B, H, W, 3] uint8; of no size but for one world alone


class ForeignLoop(Loop[State]):
    """The loop of a foreign environment: B simulators, stepped one after another.

    Every episode has a seed of its own, derived from its world's stream, so that a snapshot is that seed and the actions since.
    """

    def __init__(self, env: Any, simulators: list[gymnasium.Env[Any, Any]], **kwargs: Any) -> None:
        super().__init__(env, len(simulators), **kwargs)
        self.foreign, self.simulators = env, simulators
        self.infos: list[dict[str, Any]] = [{} for _ in simulators]

    @property
    def state(self) -> Shown:
        """What is shown now; of one world alone also its picture, which is taken when it is asked for."""
        drawn = self.batch == 1 and self.foreign.pictured
        picture = self.foreign.look(self.simulators[0])[None] if drawn else np.zeros((self.batch, 0))
        return Shown(self.observation, picture, time=self.worlds.state.time)

    def reset(self, seed: Any = None) -> Array:
        """As `Loop.reset`."""
        fresh = seed is not None or not hasattr(self, "worlds")
        draws = Draws.seeded(self._seeds(seed)) if fresh else self.worlds.draws
        self.episode_seed = np.zeros(self.batch, np.int64)
        self.actions: list[list[Any]] = [[] for _ in range(self.batch)]
        observations = [self._begin(i, draws) for i in range(self.batch)]
        sums, state = Sums.zeros(self.batch, len(self.term_names)), State(time=np.zeros(self.batch, np.int64))
        self.worlds = Worlds(state, draws, np.stack(observations), np.ones(self.batch, bool), sums)
        return self.observation

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
        seen, rewards, terminated, truncated, self.infos = map(list, zip(*results, strict=True))
        for log, a in zip(self.actions, action, strict=True):
            log.append(a)
        t = Observed(worlds.observation, action, np.stack(seen), np.array(terminated, bool))
        simulators = (simulator.unwrapped for simulator in self.simulators)
        moments = zip(t.observation, action, seen, map(float, rewards), terminated, self.infos, simulators, strict=True)
        rows = [self.foreign.terms(Moment(*moment)) for moment in moments]
        terms = {name: np.array([row[name] for row in rows], float) for name in self.term_names}
        late = worlds.state.time + 1 >= self.foreign.horizon
        step = self._measured(t, terms, (np.array(truncated, bool) | late) & ~t.terminated)
        state, start = State(time=worlds.state.time + 1), np.zeros(self.batch, bool)
        self.worlds = Worlds(state, worlds.draws, t.next_observation, start, step.sums)
        if self.autoreset and step.done.any():
            self._restart(np.flatnonzero(step.done))
            step.observation = self.observation
        return step

    def _restart(self, rows: Array) -> None:
        self.worlds = worlds = self.worlds.copy()  # the step just returned keeps its own
        for i in rows:
            worlds.observation[i] = self._begin(i, worlds.draws)
        worlds.state.time[rows], worlds.start[rows] = 0, True
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

    def branch(self, rows: Any) -> "Loop[State]":
        """Refused: the simulators' states can't be copied."""
        raise ProxygapError("a foreign environment keeps its state to itself: it can't be branched; restore a snapshot instead")
