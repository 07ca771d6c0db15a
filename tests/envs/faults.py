"""Worlds with one planted fault each, for whoever checks environments; but for that they are the sound ones of `worlds`."""

import random
import time

import numpy as np
from gymnasium import spaces
from proxygap.envs.core import Proxy

from .worlds import Drift, Drifter, Walk, Walker


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


class GlobalChanceLate(Drift):
    horizon = 30

    def transition(self, state, action, rng):
        gust = np.where(state.time[:, None] >= 4, np.random.random((len(state), 2)), 0.0)  # noqa: NPY002 (the fault)
        return Drifter(super().transition(state, action, rng).place + gust)


class PythonsChance(Walk):
    def initial(self, batch, rng, previous=None):
        return Walker(np.array([random.choice([-1, 0, 1]) for _ in range(batch)]), np.zeros(batch, np.int64))


class IgnoresItsSeed(Drift):
    """Has a generator of its own, always the same."""

    def __init__(self):
        self.own = np.random.default_rng(0)

    def initial(self, batch, rng, previous=None):
        return Drifter(self.own.normal(size=(batch, 2)))


class HiddenState(Walk):
    """Counts its steps outside the state: a run goes on differently from a snapshot."""

    steps = 0

    def transition(self, state, action, rng):
        self.steps += 1
        moved = super().transition(state, action, rng)
        return Walker(moved.place, moved.falls + self.steps % 2)


class LeaksAcrossResets(Drift):
    """Remembers where its first episode began, and begins the later ones there."""

    def initial(self, batch, rng, previous=None):
        fresh = super().initial(batch, rng)
        self.first = getattr(self, "first", fresh.place[:1])
        return Drifter(fresh.place + self.first)


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


class ReusesItsObservation(Drift):
    """Writes every observation into the same memory, where it overwrites the one before."""

    def observation(self, state):
        self.kept = getattr(self, "kept", {})
        seen = self.kept.setdefault(len(state), np.zeros((len(state), 3), np.float32))
        seen[:] = super().observation(state)
        return seen


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


class TermsComeAndGo(Walk):
    def terms(self, t):
        late = {"late": np.ones(len(t.action))} if (t.state.time > 3).all() else {}
        return super().terms(t) | late


class PaysTooMuch(Drift):
    def terms(self, t):
        return {name: 1e30 * values for name, values in super().terms(t).items()}


class Slow(Walk):
    def transition(self, state, action, rng):
        time.sleep(0.01)
        return super().transition(state, action, rng)


class ScriptOutside(Walk):
    def policies(self):
        return {"stubborn": lambda state: np.full(len(state), 2)}


class NoBatchAxis(Walk):
    def initial(self, batch, rng, previous=None):
        return Walker(rng.integers(-1, 2, batch), np.zeros(1, np.int64))


class MasksEverything(Walk):
    def action_mask(self, state):
        return np.zeros((len(state), 2), bool)


class NegativeSeverity(Walk):
    def catastrophe(self, t):
        return -np.ones(len(t.action))


class NearerThanNear(Walk):
    """Every step is a catastrophe, and only those to the right are near one."""

    def catastrophe(self, t):
        return np.ones(len(t.action))

    def near_catastrophe(self, t):
        return (t.action == 1).astype(float)


class DrawsTooFew(Walk):
    def initial(self, batch, rng, previous=None):
        return Walker(np.repeat(rng.integers(-1, 2, 1), batch), np.zeros(batch, np.int64))


class BreaksAfterTheEnd(Walk):
    def transition(self, state, action, rng):
        if (abs(state.place) > 3).any():
            raise IndexError("off the ice")
        return super().transition(state, action, rng)


class DrawsByMoving(Walk):
    def draw(self, state, canvas):
        state.place[0] = 0


class DrawsOnlyTheStart(Walk):
    def draw(self, state, canvas):
        if state.time[0] > 1:
            raise ZeroDivisionError("nothing is painted there")


class TextInBytes(Walk):
    def text(self, state):  # pyright: ignore[reportIncompatibleMethodOverride]
        return b"walk"


PLANTED = {  # what a checker of environments should find -> a world with that fault, and the check of ours that finds it
    "another run from the same seed, from step 5 on": (GlobalChanceLate, "chance_is_given"),
    "an episode that depends on the ones before": (LeaksAcrossResets, "chance_is_given"),
    "an observation out of bounds, from step 21 on": (LeavesItsBoundsLate, "steps_are_sound"),
    "a true reward that is NaN, at step 5": (NaNLate, "steps_are_sound"),
    "an observation of another type than declared": (DoublePrecision, "steps_are_sound"),
    "observations that share their memory": (ReusesItsObservation, "functions_are_pure"),
    "a world that can't be pickled": (NeverPickled, "chance_is_given"),
    "a picture that fails, from step 2 on": (DrawsOnlyTheStart, "pictures_are_drawn"),
    "an error when stepped after the end": (BreaksAfterTheEnd, "ended_worlds_go_on"),
    "a seed that is ignored": (IgnoresItsSeed, "chance_is_given"),
    "other terms in `info`, from step 5 on": (TermsComeAndGo, "steps_are_sound"),
    "the true reward in the observation": (ShowsTheTruth, "truth_is_hidden"),
    "a reward of 1e30": (PaysTooMuch, "rewards_have_a_scale"),
}
