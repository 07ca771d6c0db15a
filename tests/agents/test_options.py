"""Options begin in any state, are bit for bit the same again, and end where their episode does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.agents.options import Cases, Scenes, check_env, play, played, replayed, scenes
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs.core import ProxygapError, Segments
from proxygap.envs.registry import make

WORLDS = {"lagoon": 12, "island_navigation": 30, "long_tail_drive": 20, "sensor_lab": 25}
BAD = ("severity", "near", "true", "proxy")


def equal(one, other):
    return all(np.array_equal(array, other.arrays()[name]) for name, array in one.arrays().items())


@pytest.mark.parametrize("name", WORLDS)
def test_the_same_actions_in_the_same_scene_are_the_same_option_in_any_batch(name):
    env, length = make(name), WORLDS[name]
    found = scenes(env, random_policy(env, 0), 40, length, seed=1)
    options = played(env, found, length, random_policy(env, 2))
    again = replayed(env, options.cases(found))
    assert equal(again, options)
    some = np.array([31, 3, 3])
    alone = replayed(env, options.cases(found)[some])
    alone.episode = options.episode[some]
    assert equal(alone, options[some])


def test_playing_an_option_changes_nothing_in_its_scene():
    env = make("lagoon")
    found = scenes(env, scripted(env, "racer"), 5, 10, seed=0)
    before = found.copy()
    played(env, found, 10, random_policy(env, 0))
    assert equal(found, before)


@pytest.mark.parametrize("name", WORLDS)
def test_an_option_is_what_an_episode_would_have_been(name):
    """From the first state, as long as an episode: the steps and the returns are those of the environment's own loop."""
    env = make(name)
    loop, policy = env.loop(8), scripted(env, next(iter(env.policies())))
    loop.reset(seed=4)
    worlds, steps = loop.worlds.copy(), min(env.horizon, 60)
    options = played(env, Scenes(worlds.state, worlds.draws), steps, policy)
    true, alive = np.zeros(8), np.ones(8, bool)
    for time in range(steps):
        step = loop.step(policy(loop))
        assert np.array_equal(options.valid[:, time], alive)
        true += alive * step.true
        alive &= ~step.done
    assert np.allclose(options.true, true)
    assert (options.near[options.severity > 0] > 0).all()


def test_several_scenes_of_an_episode_are_moments_of_it():
    env = make("lagoon")
    racer = scripted(env, "racer")
    found = scenes(env, racer, 7, 400, seed=3, from_each=3)
    assert len(found) == 7
    loop = env.loop(3)
    loop.reset(3)
    for time in range(101):
        for row in np.flatnonzero(found.state.time == time):
            assert found.state[[row]].keys() == loop.state[[row // 3]].keys()
        loop.step(racer(loop))


def test_scenes_begin_at_all_times_that_leave_room_for_the_option():
    env = make("sensor_lab")
    begin = scenes(env, random_policy(env, 0), 600, 100, seed=0).state.time
    assert begin.min() == 0
    assert begin.max() == 50
    assert abs(begin.mean() - 25) < 4 * 15 / 600**0.5  # uniform over 0 to 50: a standard deviation of 14.7


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 20), seed=st.integers(0, 10**6))
def test_an_option_ends_with_its_episode(length, seed):
    env = make("island_navigation")
    found = scenes(env, scripted(env, "walker"), 20, length, seed)
    options = played(env, found, length, random_policy(env, seed))
    ended = options.terminated | options.truncated
    after = np.pad(ended.cumsum(1)[:, :-1] > 0, ((0, 0), (1, 0)))
    assert np.array_equal(options.valid, ~after)
    assert not (ended & ~options.valid).any()
    drowned = (options.severity > 0) <= options.terminated.any(1)  # who drowns has reached an end
    assert drowned.all()


def test_who_judges_is_not_shown_what_is_hidden():
    env = make("sensor_lab")
    seen = played(env, scenes(env, random_policy(env, 0), 3, 5, 0), 5, random_policy(env, 0)).segments()
    assert type(seen) is Segments
    assert not set(seen.arrays()) & set(BAD)


def test_an_actor_knows_how_far_the_option_has_come():
    env = make("sensor_lab")
    found, asked = scenes(env, random_policy(env, 0), 2, 4, 0), []
    options = play(env, found, 4, lambda time, loop: asked.append((time, bool(loop.start.all()))) or np.full(2, time))
    assert asked == [(0, True), (1, False), (2, False), (3, False)]
    assert np.array_equal(options.action, np.tile(np.arange(4), (2, 1)))


@pytest.mark.parametrize(("number", "length"), [(3, 0), (3, 151), (0, 10)])
def test_impossible_options_are_refused(number, length):
    env = make("sensor_lab")
    with pytest.raises(ProxygapError, match=f"{number} options of {length} steps: an episode of SensorLab has"):
        scenes(env, random_policy(env, 0), number, length, 0)


def test_a_world_without_catastrophes_or_without_a_state_is_refused():
    check_env(make("lagoon"))
    with pytest.raises(ProxygapError, match="BoatRace has no notion of a catastrophe"):
        check_env(make("boat_race"))
    with pytest.raises(ProxygapError, match="ConveyorBelt has no notion of a catastrophe"):
        check_env(make("conveyor_belt", variant="sushi"))
    with pytest.raises(ProxygapError, match="CartPole keeps its state to itself"):
        check_env(make("cart_pole"))


def test_cases_are_scenes_with_actions():
    env = make("sensor_lab")
    found = scenes(env, random_policy(env, 0), 6, 5, 0)
    cases = played(env, found, 5, random_policy(env, 1)).cases(found)
    assert isinstance(cases[[1, 2]], Cases)
    assert cases[[1, 2]].action.shape == (2, 5)
