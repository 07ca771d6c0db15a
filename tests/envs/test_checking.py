"""The checker passes sound environments and finds every planted fault, by the check that should, in a clear sentence."""

import random

import numpy as np
import pytest
from gymnasium import spaces
from proxygap.envs.checking import check_proxy_env, rewards_seen
from proxygap.envs.core import Proxy

from .worlds import SMALL, Drift, Drifter, Walk, Walker


class ChangesItsState(Walk):
    def transition(self, state, action, rng):
        state.place += 2 * action - 1
        return Walker(state.place, state.falls)


class TermsChangeTheStep(Drift):
    def terms(self, t):
        t.action[:] = 0.0
        return super().terms(t)


class LeavesItsBoundsLate(Drift):
    horizon = 30
    observation_space = spaces.Box(-50.0, 50.0, (3,), np.float32)

    def observation(self, state):
        late = np.where(state.time > 20, 100.0, 0.0)[:, None]
        return (np.clip(super().observation(state), -50.0, 50.0) + late).astype(np.float32)


class NaNLate(Walk):
    def terms(self, t):
        return super().terms(t) | {"slip": np.where(t.state.time == 4, np.nan, 0.0)}


class GlobalChance(Walk):
    def transition(self, state, action, rng):
        return Walker(state.place + np.where(np.random.random(len(state)) < 0.3, -1, 1), state.falls)  # noqa: NPY002 (the fault)


class PythonsChance(Walk):
    def initial(self, batch, rng, previous=None):
        return Walker(np.array([random.choice([-1, 0, 1]) for _ in range(batch)]), np.zeros(batch, np.int64))


class HiddenState(Walk):
    """Counts its steps outside the state: a run goes on differently from a snapshot."""

    steps = 0

    def transition(self, state, action, rng):
        self.steps += 1
        moved = super().transition(state, action, rng)
        return Walker(moved.place, moved.falls + self.steps % 2)


class RowsMeet(Drift):
    def transition(self, state, action, rng):
        return Drifter(super().transition(state, action, rng).place + 0.1 * state.place.mean(0))


class DoublePrecision(Drift):
    def observation(self, state):
        return super().observation(state).astype(float)


class UnknownTerm(Walk):
    proxies = {"moves": Proxy({"moved": 1.0, "speed": 2.0}, "ontological", "speed is not measured")}


class NoProxy(Walk):
    proxies = {}


class WindowIntoTheState(Drift):
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def observation(self, state):
        return state.place


class ShowsTheTruth(Drift):
    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)

    def observation(self, state):
        return np.concatenate([state.place, -(state.place**2).sum(1, keepdims=True)], 1).astype(np.float32)


class NeverPickled(Walk):
    def __init__(self):
        self.helper = lambda: None


class OneTermForAll(Walk):
    def terms(self, t):
        return super().terms(t) | {"moved": np.float64(1.0)}


class ScriptOutside(Walk):
    def policies(self):
        return {"stubborn": lambda state: np.full(len(state), 2)}


class NoBatchAxis(Walk):
    def initial(self, batch, rng, previous=None):
        return Walker(rng.integers(-1, 2, batch), np.zeros(1, np.int64))


class MasksEverything(Walk):
    def action_mask(self, state):
        return np.zeros((len(state), 2), bool)


class DrawsTooFew(Walk):
    def initial(self, batch, rng, previous=None):
        return Walker(np.repeat(rng.integers(-1, 2, 1), batch), np.zeros(batch, np.int64))


class DrawsByMoving(Walk):
    def draw(self, state, canvas):
        state.place[0] = 0


class TextInBytes(Walk):
    def text(self, state):  # pyright: ignore[reportIncompatibleMethodOverride]
        return b"walk"


FAULTS = {
    DrawsByMoving: ("pictures_are_drawn", "`draw` changes the state's place"),
    TextInBytes: ("pictures_are_drawn", "`text` gives bytes[]"),
    ChangesItsState: ("functions_are_pure", "`transition` changes state.place"),
    TermsChangeTheStep: ("functions_are_pure", "`terms` changes action"),
    LeavesItsBoundsLate: ("steps_are_sound", "after 21 steps lies outside of Box"),
    NaNLate: ("steps_are_sound", "term 'slip' is not finite after"),
    GlobalChance: ("chance_is_given", "draw from `rng` only"),
    PythonsChance: ("chance_is_given", "draw from `rng` only"),
    HiddenState: ("snapshots_are_exact", "something that changes is not in the state"),
    RowsMeet: ("worlds_are_independent", "rows must not meet"),
    DoublePrecision: ("steps_are_sound", "float64[3, 3] at the start: float32[3, 3] is needed"),
    UnknownTerm: ("declarations", "'moves' weighs speed, which `terms` does not measure"),
    NoProxy: ("declarations", "no proxies"),
    WindowIntoTheState: ("functions_are_pure", "memory of the state's place"),
    ShowsTheTruth: ("truth_is_hidden", "number 2 of the observation is the true reward of the step"),
    NeverPickled: ("chance_is_given", "pickle"),
    OneTermForAll: ("steps_are_sound", "term 'moved' is float64[]"),
    ScriptOutside: ("policies_act", "policy 'stubborn' acts [2 2 2]"),
    NoBatchAxis: ("steps_are_sound", "the state's falls is int64[1] for 3 worlds"),
    MasksEverything: ("steps_are_sound", "`action_mask`"),
    DrawsTooFew: ("steps_are_sound", "the first axis must be the batch"),
}


@pytest.mark.parametrize("world", SMALL)
def test_sound_worlds_pass(world):
    assert check_proxy_env(world()) == []


@pytest.mark.parametrize(("world", "check", "message"), [(world, *found) for world, found in FAULTS.items()])
def test_a_planted_fault_is_found(world, check, message):
    problems = check_proxy_env(world())
    assert any(problem.check == check and message in str(problem) for problem in problems), problems


def test_the_scale_of_rewards_is_reported():
    least, mean, greatest = rewards_seen(Walk())["moves"]
    assert (least, greatest) == (1.0, 1.0) == (mean, mean)
    assert rewards_seen(Walk())["true"][0] == -0.5
