"""The adapters keep Gymnasium's promises: a batch gives, bit for bit, what `SyncVectorEnv` makes of single worlds."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import example, given, settings
from hypothesis import strategies as st
from proxygap.envs.adapters import World, WorldBatch
from proxygap.envs.core import ProxygapError
from proxygap.envs.recording import random_actions
from proxygap.envs.registry import environments, make

from .worlds import SMALL, Drift, Walk

WORLDS = {world.__name__: world for world in SMALL} | {name: (lambda name=name: make(name)) for name in environments()}


def assert_same(one, other, where=""):
    """Equal in structure, type and every value; objects (final observations) one by one."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, tuple) or (isinstance(one, np.ndarray) and one.dtype == object):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b, where)
    elif isinstance(one, np.ndarray):
        assert (one.shape, one.dtype) == (other.shape, other.dtype), where
        assert np.array_equal(one, other), where
    else:
        assert one == other, where


def rows(results, part):
    """Observations, rewards and ends of some worlds, without infos."""
    return [values[part] for values in results[:4]]


@pytest.mark.parametrize("name", WORLDS)
@settings(max_examples=3)
@example(batch=3, seed=0, paid=None)
@given(batch=st.integers(1, 4), seed=st.integers(0, 2**31), paid=st.sampled_from([None, "true"]))
def test_a_batch_is_what_sync_vector_env_makes_of_single_worlds(name, batch, seed, paid):
    env = WORLDS[name]()
    ours = WorldBatch(env, batch, reward=paid)
    theirs = SyncVectorEnv([lambda: World(env, reward=paid)] * batch, autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    assert_same(ours.reset(seed=seed), theirs.reset(seed=seed))
    for step, action in enumerate(random_actions(env, batch, min(env.horizon, 100) + 10, seed)):
        assert_same(ours.step(action), theirs.step(action), f"step {step}")


@pytest.mark.parametrize("name", WORLDS)
@settings(max_examples=5)
@given(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=3), seed=st.integers(0, 2**31))
def test_a_batch_is_its_parts_at_offset_seeds(name, sizes, seed):
    env, whole = WORLDS[name](), sum(sizes)
    ends = np.cumsum(sizes)
    parts = [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]
    together, apart = WorldBatch(env, whole), [WorldBatch(env, size) for size in sizes]
    first, _ = together.reset(seed=seed)
    for batch, part in zip(apart, parts, strict=True):
        assert np.array_equal(batch.reset(seed=seed + part.start)[0], first[part])
    for action in random_actions(env, whole, min(env.horizon, 60) + 5, seed):
        results = together.step(action)
        for batch, part in zip(apart, parts, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(rows(results, part), batch.step(action[part])[:4], strict=True))


def test_seeds_can_be_named_one_by_one():
    ours = WorldBatch(Drift(), 3)
    named, _ = ours.reset(seed=[5, 5, 9])
    assert np.array_equal(named[0], named[1])
    assert np.array_equal(named[2], World(Drift()).reset(seed=9)[0])


def test_the_returned_arrays_are_the_callers_own():
    ours, twin = (WorldBatch(Walk(), 2) for _ in range(2))
    ours.reset(seed=1)[0][:] = 77
    twin.reset(seed=1)
    for action in random_actions(Walk(), 2, 20):
        results = ours.step(action)
        assert_same(results, twin.step(action))
        for values in results[:4]:
            values[:] = 1


def test_at_an_episodes_end_info_carries_its_sums():
    world, rewards, truths = World(Walk()), [], []
    _, info = world.reset(seed=2)
    done = False
    while not done:
        _, reward, terminated, truncated, info = world.step(1)
        rewards.append(reward)
        truths.append(info["true_reward"])
        done = terminated or truncated
    sums = info["episode_sums"]
    assert sums["proxy_reward"] == pytest.approx(sum(rewards))
    assert sums["true_reward"] == pytest.approx(sum(truths))
    assert sums["length"] == len(rewards)
    assert sums["reward_terms"].keys() == info["reward_terms"].keys()


def test_a_horizon_that_is_seen_ends_an_episode_and_one_that_is_not_cuts_it():
    ends = {}
    for env in (Drift(), make("BoatRace")):
        world = World(env)
        world.reset(seed=0)
        *_, ends[type(env).__name__] = (world.step(action[0])[2:4] for action in random_actions(env, 1, env.horizon))
    assert ends == {"Drift": (True, False), "BoatRace": (False, True)}


# gymnasium.make and make_vec


@pytest.mark.parametrize("name", environments())
def test_gymnasium_makes_one_world_and_the_native_batch(name):
    first = next(iter(make(name).proxies))
    single = gymnasium.make(f"proxygap/{name}-v0", proxy=first)
    batch = gymnasium.make_vec(f"proxygap/{name}-v0", num_envs=5, proxy=first)
    assert isinstance(single.unwrapped, World)
    assert isinstance(batch, WorldBatch)
    assert batch.num_envs == 5
    assert np.array_equal(batch.reset(seed=3)[0][0], single.reset(seed=3)[0])


def test_the_prefix_imports_us_first():
    assert isinstance(gymnasium.make("proxygap:proxygap/BoatRace-v0").unwrapped, World)


def test_gymnasium_can_make_a_sync_vector_env_too():
    batch = gymnasium.make_vec("proxygap/BoatRace-v0", num_envs=2, vectorization_mode="sync")
    assert isinstance(batch, SyncVectorEnv)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"proxy": "arows"}, "BoatRace has no proxy 'arows'; it has: true, arrows"),
        ({"proxy": {"speed": 1.0}}, "BoatRace measures no 'speed'; its terms are: arrow, step, clockwise"),
        ({"render_mode": "film"}, "render_mode 'film': BoatRace has human, rgb_array, ansi"),
        ({"size": 3}, "BoatRace does not take these settings"),
    ],
)
def test_a_wrong_setting_is_one_clear_message(settings, message):
    with pytest.raises(ProxygapError, match=message.replace("(", r"\(")):
        gymnasium.make("proxygap/BoatRace-v0", **settings)


def test_a_batch_has_no_horizon_of_its_own():
    with pytest.raises(ProxygapError, match="the horizon belongs to the environment"):
        gymnasium.make_vec("proxygap/BoatRace-v0", num_envs=2, max_episode_steps=7)


def test_a_world_without_text_has_no_text_mode():
    with pytest.raises(ProxygapError, match=r"Walk has human, rgb_array$"):
        World(Walk(), render_mode="ansi")


def test_proxies_can_be_weights_over_the_terms():
    world = gymnasium.make("proxygap/BoatRace-v0", proxy={"arrow": 0.5, "clockwise": 2.0})
    world.reset(seed=0)
    assert world.step(3)[1] == 2.5  # over the first arrow


def test_frames_are_pictures():
    world = gymnasium.make("proxygap/BoatRace-v0", render_mode="rgb_array")
    world.reset(seed=0)
    before = np.asarray(world.render())
    world.step(3)
    after = np.asarray(world.render())
    assert before.dtype == np.uint8
    assert before.shape == after.shape
    assert (before != after).any()
    world.close()
    batch = gymnasium.make_vec("proxygap/BoatRace-v0", num_envs=2, render_mode="rgb_array")
    batch.reset(seed=0)
    batch.step(np.array([3, 2]))  # the second boat bumps into a wall
    moved, stayed = np.asarray(batch.render())
    assert (moved != stayed).any()
