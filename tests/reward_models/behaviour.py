"""Behaviour made up for the tests of learned rewards: random steps, rewards that are known, and feedback without mistakes."""

from typing import Any

import numpy as np
from proxygap.envs.core import Segments
from proxygap.reward_models.feedback import Comparisons

WEIGHTS = np.array([1.0, -2.0, 0.5])
QUICK: dict[str, Any] = {"steps": 400, "patience": 200}


def behaviour(number, seed=0, length=10, shortest=None):
    """Stretches of random observations [3] and actions out of 4; from `shortest` steps on, padded with zeros."""
    rng = np.random.default_rng(seed)
    observation, following = rng.normal(size=(2, number, length, 3)).astype(np.float32)
    steps = rng.integers(shortest or length, length + 1, number)
    valid = np.arange(length) < steps[:, None]
    blank = np.zeros((number, length), bool)
    observation, following = (np.where(valid[..., None], seen, 0) for seen in (observation, following))
    action = np.where(valid, rng.integers(0, 4, (number, length)), 0)
    return Segments(observation, action, following, blank, valid, np.arange(number), np.zeros(number, int), blank)


def linear(segments):
    """A reward [N, T] that is linear in the observation, and pays for action 2."""
    return np.where(segments.valid, segments.observation @ WEIGHTS + (segments.action == 2), 0.0)


def compared(number, seed=0, reward=linear, env="Meadow", **kwargs):
    """Comparisons by the return of `reward`."""
    first, second = behaviour(number, 2 * seed, **kwargs), behaviour(number, 2 * seed + 1, **kwargs)
    return Comparisons(first, second, reward(first).sum(1) > reward(second).sum(1), env)  # pyright: ignore[reportArgumentType]


def changed(record, **arrays):
    """The same record with other arrays."""
    return type(record)(**vars(record) | arrays)
