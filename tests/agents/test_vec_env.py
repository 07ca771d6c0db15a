"""The VecEnv is the loop, in SB3's words."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.vec_env import LoopVecEnv, action_mask
from proxygap.envs.core import Loop
from proxygap.envs.gridworlds.boat_race import BoatRace
from stable_baselines3 import PPO

from .worlds import Corridor, Thermostat


def actions_of(env, batch, steps, seed):
    env.action_space.seed(seed)
    return [np.array([env.action_space.sample() for _ in range(batch)]) for _ in range(steps)]


@given(
    env=st.sampled_from([BoatRace(), Thermostat(), Corridor()]),
    batch=st.integers(1, 5),
    steps=st.integers(1, 45),
    seed=st.integers(0, 2**31),
    paid=st.sampled_from([None, "true", lambda t: t.observation.reshape(len(t), -1).sum(1) + 0.25]),
)
def test_it_gives_what_stepping_the_loop_by_hand_gives(env, batch, steps, seed, paid):
    loop, venv = Loop(env, batch, reward=paid), LoopVecEnv(Loop(env, batch, reward=paid))
    venv.seed(seed)
    np.testing.assert_array_equal(venv.reset(), loop.reset(seed=seed))
    for action in actions_of(env, batch, steps, seed):
        step = loop.step(action)
        observation, reward, done, infos = venv.step(action)
        np.testing.assert_array_equal(observation, step.observation)
        np.testing.assert_array_equal(reward, step.reward.astype(np.float32))
        np.testing.assert_array_equal(done, step.done)
        np.testing.assert_equal(venv.last.terms, step.terms)
        for i, info in enumerate(infos):
            assert bool(info) == done[i]
            if info:
                np.testing.assert_array_equal(info["terminal_observation"], step.transition.next_observation[i])
                assert info["TimeLimit.truncated"] == step.truncated[i]
                assert info["episode"]["l"] == step.sums.length[i]
                assert [info["episode"][k] for k in ("r", "proxy", "true")] == [
                    getattr(step.sums, k)[i] for k in ("paid", "proxy", "true")
                ]


def test_what_sb3_adds_to_rewards_stays_out_of_the_step():
    venv = LoopVecEnv(Loop(BoatRace(), 2))
    venv.reset()
    _, reward, _, _ = venv.step(np.zeros(2, int))
    reward += 100.0
    assert (venv.last.reward < 100).all()


def test_two_trainings_share_no_action_space():
    first, second = (LoopVecEnv(Loop(BoatRace(), 1)) for _ in range(2))
    first.action_space.seed(0)
    second.action_space.seed(0)
    drawn = [first.action_space.sample() for _ in range(20)]
    assert drawn == [second.action_space.sample() for _ in range(20)]


def test_masks_are_the_environments_and_there_only_where_it_has_one():
    venv = LoopVecEnv(Loop(Corridor(), 3))
    venv.reset()
    assert venv.has_attr("action_masks")
    np.testing.assert_array_equal(np.stack(venv.env_method("action_masks")), venv.loop.state.open)
    plain = LoopVecEnv(Loop(BoatRace(), 3))
    plain.reset()
    assert not plain.has_attr("action_masks")
    with pytest.raises(AttributeError, match="no method 'fly'"):
        plain.env_method("fly")


@dataclass
class Foreign:
    """A loop that is none of ours: it shows what a loop must, and hides the rest."""

    inner: Loop[Any]

    def __getattr__(self, name: str) -> Any:
        if name in ("state", "env", "worlds"):
            raise AttributeError(name)
        return getattr(self.inner, name)


def test_it_takes_a_foreign_loop_without_a_state():
    venv = LoopVecEnv(Foreign(Loop(BoatRace(), 4)))
    assert action_mask(venv.loop) is None
    model = PPO("MlpPolicy", venv, n_steps=8, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(64)
    assert model.num_timesteps == 64
