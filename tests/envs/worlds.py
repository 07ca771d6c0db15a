"""Small worlds that only tests know: with chance, early ends, memory between episodes, and continuous actions."""

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from proxygap.envs.batch import Array
from proxygap.envs.core import Proxy, ProxyEnv, RowByRow, State


@dataclass
class Walker(State):
    place: Array  # [B] int, -3 to 3
    falls: Array  # [B] int, in this episode and all before


class Walk(ProxyEnv[Walker]):
    """A walk on ice that ends three steps off its start; the number of slips is handed on to the next episode."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-3.0, 1e6, (2,), np.float32)
    horizon = 9
    true_reward = {"out": 1.0, "slip": -0.5}
    proxies = {"moves": Proxy({"moved": 1.0}, "ontological", "moving stands in for getting on")}

    def initial(self, batch, rng, previous=None):
        falls = np.zeros(batch, np.int64) if previous is None else previous.falls.copy()
        return Walker(rng.integers(-1, 2, batch), falls)

    def transition(self, state, action, rng):
        slips = rng.random(len(state)) < 0.3
        return Walker(state.place + np.where(slips, -1, 1) * (2 * action - 1), state.falls + slips)

    def observation(self, state):
        return np.stack([state.place, state.falls], 1).astype(np.float32)

    def terms(self, t):
        return {
            "out": (abs(t.next_state.place) == 3).astype(float),
            "slip": (t.next_state.falls - t.state.falls).astype(float),
            "moved": (t.next_state.place != t.state.place) * 1.0,
        }

    def terminal(self, state):
        return abs(state.place) == 3


@dataclass
class Drifter(State):
    place: Array  # [B, 2] m


class Drift(ProxyEnv[Drifter]):
    """A raft in gusts; the observation shows the time, so that its horizon is an end."""

    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    horizon = 5
    shows_time = True
    true_reward = {"near": 1.0}
    proxies = {"speed": Proxy({"speed": 0.7, "near": 0.1}, "misweighting", "speed is paid too well")}

    def initial(self, batch, rng, previous=None):
        return Drifter(rng.normal(size=(batch, 2)))

    def transition(self, state, action, rng):
        return Drifter(state.place + action + 0.2 * rng.normal(size=(len(state), 2)))

    def observation(self, state):
        return np.concatenate([state.place, state.time[:, None] / self.horizon], 1).astype(np.float32)

    def terms(self, t):
        step = t.next_state.place - t.state.place
        return {"near": -(t.next_state.place**2).sum(1), "speed": (step**2).sum(1)}


class SlowDrift(RowByRow[Drifter]):
    """`Drift` without gusts at the start and ruled world by world: pushes against the left bank are lost half the time."""

    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    horizon = 4
    true_reward = {"left": 1.0}
    proxies = {"right": Proxy({"right": 1.0}, "ontological", "the wrong bank")}

    def initial(self, batch, rng, previous=None):
        return Drifter(np.zeros((batch, 2)))

    def transition_row(self, state, action, rng):
        if action[0] < 0 and rng.random() < 0.5:
            return state
        return Drifter(state.place + action)

    def observation(self, state):
        return state.place.astype(np.float32)

    def terms(self, t):
        return {"left": -t.next_state.place[:, 0], "right": t.next_state.place[:, 0] ** 3}


class SlowWalk(RowByRow[Walker]):
    """`Walk`, ruled world by world."""

    action_space, observation_space, horizon = Walk.action_space, Walk.observation_space, Walk.horizon
    true_reward, proxies = Walk.true_reward, Walk.proxies
    initial, observation, terms, terminal = Walk.initial, Walk.observation, Walk.terms, Walk.terminal

    def transition_row(self, state, action, rng):
        forward = 2 * action - 1
        if rng.random() < 0.3:
            return Walker(state.place - forward, state.falls + 1)
        return Walker(state.place + forward, state.falls)


SMALL = (Walk, Drift, SlowDrift, SlowWalk)
