"""Playing: which episodes count, what they sum to, whose chance is used, and files that survive or say what is wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.agents.rollouts import Trajectories, collect, evaluate, random_policy, scripted, trained
from proxygap.envs.adapters import World
from proxygap.envs.batch import Array
from proxygap.envs.core import Observed, Proxy, ProxyEnv, ProxygapError, Segments, State
from proxygap.envs.gridworlds.boat_race import BoatRace
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO

torch.set_num_threads(1)
LOW, HIGH = np.array([-1.0, 0.0]), np.array([1.0, 5.0])  # of the slider's two numbers
HARD, EASY = 0.2, 0.5  # chance to stop after each step, of worlds by their luck at the start


@dataclass
class Walk(State):
    luck: Array  # [B] chance to stop after each step
    stopped: Array  # [B] bool


class Walker(ProxyEnv[Walk]):
    """Walks on until chance stops it: episodes of very different lengths. Action 2 is never allowed."""

    action_space = spaces.Discrete(3)
    observation_space = spaces.Box(0.0, 1.0, (1,))
    horizon = 30
    true_reward = {"step": 1.0}
    proxies = {"twice": Proxy({"step": 2.0, "action": 0.5}, "misweighting", "steps count double")}

    def initial(self, batch, rng, previous=None):
        return Walk(np.where(rng.random(batch) < 0.5, HARD, EASY), np.zeros(batch, bool))

    def transition(self, state, action, rng):
        return Walk(state.luck, rng.random(len(state)) < state.luck)

    def observation(self, state):
        return state.luck[:, None].astype(np.float32)

    def terminal(self, state):
        return state.stopped

    def terms(self, t):
        return {"step": np.ones(len(t.action)), "action": t.action.astype(float)}

    def action_mask(self, state) -> Array | None:
        return np.repeat([[True, True, False]], len(state), 0)

    def policies(self):
        return {"one": lambda state: np.ones(len(state), int)}


class Slider(Walker):
    """The same walk with actions that are numbers, and no mask."""

    action_space = spaces.Box(LOW, HIGH, dtype=np.float64)

    def terms(self, t):
        return {"step": np.ones(len(t.action)), "action": t.action[:, 0]}

    def action_mask(self, state):
        return None


def by_hand(env, policy_of_state, episodes, seed):
    """(proxy, true, length) of each episode, one after another: world i alone, seeded seed + i."""
    loop = env.loop(1, autoreset=False)
    for i in range(episodes):
        loop.reset(seed + i)
        steps = []
        while not steps or not steps[-1].done[0]:
            steps.append(loop.step(policy_of_state(loop.state)))
        yield [sum(step.proxy[0] for step in steps), sum(step.true[0] for step in steps), len(steps)]


@given(episodes=st.integers(1, 20), seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_evaluate_equals_a_plain_loop(episodes, seed):
    env = Walker()
    returns = evaluate(env, scripted(env, "one"), episodes, seed)
    played = np.stack([returns.proxy, returns.true, returns.length], 1)
    np.testing.assert_allclose(played, list(by_hand(env, env.policies()["one"], episodes, seed)))
    np.testing.assert_allclose(returns.terms[:, 0], returns.length)
    np.testing.assert_array_equal(returns.paid, returns.proxy)


@given(episodes=st.integers(1, 30), batch=st.integers(1, 40), seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_every_world_plays_its_own_episodes(episodes, batch, seed):
    """Episode e is the (e // batch)-th of world e % batch, however long the others take."""
    env = Walker()
    lengths = evaluate(env, scripted(env, "one"), episodes, seed, batch=batch).length
    for world in range(min(batch, episodes)):
        alone = evaluate(env, scripted(env, "one"), len(lengths[world::batch]), seed + world, batch=1)
        np.testing.assert_array_equal(lengths[world::batch], alone.length)


def test_the_mean_is_that_of_whole_episodes():
    """Luck p stops a walk after 1/p steps on average (cut at 30); counting the first to finish would give less."""
    env, episodes = Walker(), 4000
    lengths = evaluate(env, scripted(env, "one"), episodes, seed=1, batch=50).length
    expected = np.mean([(1 - (1 - p) ** 30) / p for p in (HARD, EASY)])
    assert abs(lengths.mean() - expected) < 4.5 * lengths.std() / np.sqrt(episodes)


def test_a_chosen_proxy_and_reward_are_measured_and_paid():
    env = Walker()
    one = scripted(env, "one")
    returns = evaluate(env, one, 5, 0, proxy={"action": 3.0}, reward=lambda t: np.full(len(t.action), 7.0))
    np.testing.assert_allclose(returns.proxy, 3 * returns.length)
    np.testing.assert_allclose(returns.paid, 7 * returns.length)
    np.testing.assert_array_equal(evaluate(env, one, 5, 0, reward="true").paid, returns.true)


def test_the_summary_is_the_means():
    returns = evaluate(BoatRace(), scripted(BoatRace(), "racer"), 3, 0)
    assert returns.as_dict() == {
        "episodes": 3,
        "proxy_return": 50.0,
        "true_return": 100.0,
        "paid_return": 50.0,
        "length": 100.0,
        "terms": {"arrow": 50.0, "step": 100.0, "clockwise": 100.0},
    }


def test_wrong_requests_say_what_to_do():
    with pytest.raises(ProxygapError, match="no scripted policy 'sailor'; it has: racer, gamer"):
        scripted(BoatRace(), "sailor")
    with pytest.raises(ProxygapError, match="0 episodes"):
        evaluate(Walker(), random_policy(Walker()), 0, 0)


@pytest.mark.parametrize("env", [Walker(), Slider(), BoatRace()])
def test_random_is_uniform_over_what_is_allowed(env):
    played = collect(env, random_policy(env, 3), 200, 0)
    actions = played.action[played.valid]
    if isinstance(env, Slider):
        fractions = (actions - LOW) / (HIGH - LOW)
        assert (abs(fractions.mean(0) - 0.5) < 4.5 / np.sqrt(12 * len(actions))).all()
    else:
        allowed = 2 if isinstance(env, Walker) else 4
        shares = np.bincount(actions, minlength=allowed) / len(actions)
        assert len(shares) == allowed
        assert (abs(shares - 1 / allowed) < 4.5 * np.sqrt((1 / allowed) * (1 - 1 / allowed) / len(actions))).all()


def test_random_repeats_from_its_seed_and_only_from_it():
    first, again, other = (collect(Slider(), random_policy(Slider(), seed), 20, 0).action for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first[:, 0] != other[:, 0]).all()


def play_with(model, env, seed=0, **kwargs):
    return collect(env, trained(model, seed=seed, **kwargs), 12, 5, batch=4).action


def explorer(world):
    model = DQN("MlpPolicy", world, seed=0)
    model.exploration_rate = 0.5
    return model


MODELS = {
    "ppo": lambda world: PPO("MlpPolicy", world, seed=0, n_steps=8, batch_size=8),
    "dqn": explorer,
    "recurrent": lambda world: RecurrentPPO("MlpLstmPolicy", world, seed=0, n_steps=8, batch_size=8),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_plays_from_its_own_chance_and_leaves_training_alone(name):
    model = MODELS[name](World(Walker()))
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002 - the generator that DQN uses
    model.action_space.seed(3)
    untouched = torch.rand(3), np.random.rand(3), [model.action_space.sample() for _ in range(5)]  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002
    model.action_space.seed(3)
    first = play_with(model, Walker())
    after = torch.rand(3), np.random.rand(3), [model.action_space.sample() for _ in range(5)]  # noqa: NPY002
    for a, b in zip(untouched, after, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first, play_with(model, Walker()))
    assert (first != play_with(model, Walker(), seed=1)).any()


def test_a_model_keeps_its_memory_within_an_episode_only():
    """A recurrent model gives what its own `predict` gives when memory and episode starts are carried by hand."""
    env = Walker()
    model = MODELS["recurrent"](World(env))
    policy, memory, loop = trained(model, deterministic=True), None, env.loop(3)
    loop.reset(0)
    for _ in range(20):
        expected, memory = model.predict(loop.observation, memory, loop.start, deterministic=True)
        action = policy(loop)
        np.testing.assert_array_equal(action, expected)
        loop.step(action)
    other = env.loop(5)
    other.reset(1)
    assert policy(other).shape == (5,)


def test_a_masked_model_never_does_what_is_not_allowed():
    class Masked(World):
        def action_masks(self):
            return Walker().action_mask(self.loop.state)

    model = MaskablePPO("MlpPolicy", Masked(Walker()), seed=0, n_steps=8, batch_size=8)
    assert set(play_with(model, Walker()).ravel()) == {0, 1}


@given(episodes=st.integers(1, 12), batch=st.integers(1, 12), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_trajectories_hold_what_evaluate_sums(episodes, batch, seed):
    env = Walker()
    played = collect(env, random_policy(env, seed), episodes, seed, batch=batch)
    returns = evaluate(env, random_policy(env, seed), episodes, seed, batch=batch)
    assert played.valid.shape == (episodes, returns.length.max())
    np.testing.assert_array_equal(played.valid.sum(1), returns.length)
    np.testing.assert_allclose(played.proxy.sum(1), returns.proxy)
    np.testing.assert_allclose(played.true.sum(1), returns.true)
    np.testing.assert_allclose(played.terms.sum(1), returns.terms)
    assert tuple(played.names[0]) == returns.names
    ends = (played.terminated | played.truncated) & played.valid
    np.testing.assert_array_equal(ends.sum(1), 1)
    np.testing.assert_array_equal(ends.argmax(1) + 1, returns.length)
    inner = played.valid[:, 1:]
    np.testing.assert_array_equal(played.observation[:, 1:][inner], played.next_observation[:, :-1][inner])


def test_segments_show_no_reward():
    segments = collect(Walker(), random_policy(Walker()), 2, 0).segments()
    assert type(segments) is Segments
    assert isinstance(segments, Observed)
    assert not {"proxy", "true", "terms", "names"} & set(segments.arrays())


def test_what_is_saved_comes_back(tmp_path):
    played = collect(Slider(), random_policy(Slider()), 5, 0)
    played.save(tmp_path / "play")
    played.save(tmp_path / "play")  # over itself
    back = Trajectories.load(tmp_path / "play")
    for name, array in played.arrays().items():
        np.testing.assert_array_equal(array, back.arrays()[name])
    assert [file.name for file in tmp_path.iterdir()] == ["play"]


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "play.npz"
    played = collect(Walker(), random_policy(Walker()), 5, 0)
    played.save(path)
    whole = path.read_bytes()
    faults = {
        "empty": b"",
        "text": b"hello",
        "half": whole[: len(whole) // 2],
        "changed": whole[:900] + b"?" * 50 + whole[950:],
    }
    for name, content in faults.items():
        (tmp_path / name).write_bytes(content)
    wrong: dict[str, Any] = {"pickle.npz": np.array([{}]), "short.npz": played.proxy[:2]}
    for name, proxy in wrong.items():
        arrays: dict[str, Any] = {**played.arrays(), "proxy": proxy}
        np.savez(tmp_path / name, **arrays)
    np.savez(tmp_path / "lacking.npz", valid=played.valid)
    np.save(tmp_path / "single.npy", played.proxy)
    for name in [*faults, *wrong, "lacking.npz", "single.npy", "missing"]:
        with pytest.raises(ProxygapError, match="can't read trajectories"):
            Trajectories.load(tmp_path / name)
    with pytest.raises(ProxygapError, match="can't write trajectories"):
        played.save(tmp_path / "nowhere" / "play.npz")
