"""The loop keeps its books: episodes end, begin anew, add up, and can be stored, resumed and branched exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.core import Loop, ProxygapError, Step, Transition
from proxygap.envs.recording import columns, first_difference, random_actions, record

from .worlds import SMALL, Drift, SlowWalk, Walk

worlds = st.sampled_from(SMALL)
seeds = st.integers(0, 2**40)


def started(env, batch, seed, **kwargs):
    loop = Loop(env, batch, **kwargs)
    loop.reset(seed)
    return loop


def transition(step: Step) -> Transition:
    assert isinstance(step.transition, Transition)
    return step.transition


@given(worlds, st.integers(1, 4), seeds)
def test_an_episodes_sums_are_the_sums_of_its_steps(world, batch, seed):
    env, sums = world(), np.zeros((batch, 3))
    loop = started(env, batch, seed, reward="true")
    length = np.zeros(batch, int)
    for action in random_actions(env, batch, 40, seed):
        step = loop.step(action)
        sums += np.stack([step.reward, step.proxy, step.true], 1)
        length += 1
        assert np.allclose(np.stack([step.sums.paid, step.sums.proxy, step.sums.true], 1), sums)
        assert np.array_equal(step.sums.length, length)
        assert np.allclose(step.sums.terms @ [env.true_reward.get(name, 0.0) for name in loop.term_names], sums[:, 2])
        sums[step.done], length[step.done] = 0.0, 0
        assert np.array_equal(loop.start, step.done)
        assert (loop.state.time == length).all()


@given(worlds, seeds)
def test_no_episode_outlives_its_horizon_and_none_ends_twice(world, seed):
    env = world()
    loop = started(env, 3, seed)
    for action in random_actions(env, 3, 40, seed):
        step = loop.step(action)
        assert not (step.terminated & step.truncated).any()
        assert np.array_equal(step.done, env.terminal(transition(step).next_state) | (step.sums.length == env.horizon))
        assert env.shows_time is False or not step.truncated.any()


@given(seeds)
def test_the_step_that_ends_an_episode_shows_both_its_end_and_the_next_beginning(seed):
    loop = started(Walk(), 3, seed)
    for action in random_actions(Walk(), 3, 30, seed):
        step = loop.step(action)
        ended = step.terminated
        assert (abs(step.transition.next_observation[ended, 0]) == 3).all()
        assert (abs(step.observation[ended, 0]) <= 1).all()
        assert np.array_equal(step.observation[~step.done], step.transition.next_observation[~step.done])


@given(seeds)
def test_what_an_episode_hands_on_reaches_the_next_one_and_stops_at_a_seed(seed):
    loop = started(Walk(), 2, seed)
    slips = np.zeros(2)
    for action in random_actions(Walk(), 2, 40, seed):
        slips += loop.step(action).terms["slip"]
        assert np.array_equal(loop.state.falls, slips)
    loop.reset()
    assert np.array_equal(loop.state.falls, slips)
    loop.reset(seed)
    assert not loop.state.falls.any()


@given(worlds, st.integers(1, 4), seeds, st.integers(1, 20))
def test_another_loop_goes_on_from_a_snapshot(world, batch, seed, before):
    env = world()
    actions = list(random_actions(env, batch, before + 20, seed))
    loop = started(env, batch, seed)
    record(loop, actions[:before])
    other = Loop(world(), batch)
    other.restore(loop.snapshot())
    assert first_difference(record(loop, actions[before:]), record(other, actions[before:])) is None


@given(worlds, seeds, st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_branches_go_their_own_way_from_the_same_point(world, seed, rows):
    env = world()
    actions = list(random_actions(env, 4, 30, seed))
    loop = started(env, 4, seed)
    record(loop, actions[:7])
    branch = loop.branch(rows)
    assert branch.batch == len(rows)
    first = record(branch, [action[rows] for action in actions[7:]])  # the branch moves first, and must not move the loop
    assert first_difference(columns(record(loop, actions[7:]), rows), first) is None


@given(st.integers(1, 5), seeds)
def test_rules_for_one_world_are_the_same_rules_for_a_batch(batch, seed):
    runs = [record(started(env, batch, seed), random_actions(env, batch, 30, seed)) for env in (Walk(), SlowWalk())]
    assert first_difference(*runs) is None


def test_without_autoreset_a_world_waits_for_its_reset():
    loop = started(Drift(), 1, 0, autoreset=False)
    steps = [loop.step(action) for action in random_actions(Drift(), 1, Drift.horizon)]
    assert steps[-1].terminated.all()
    assert np.array_equal(loop.observation, steps[-1].transition.next_observation)
    loop.reset()
    assert loop.state.time == 0


def test_any_function_of_a_transition_can_be_what_is_paid():
    def twice_the_speed(t: Transition) -> np.ndarray:
        return 2.0 * np.linalg.norm(t.next_observation[:, :2] - t.observation[:, :2], axis=1)

    loop = started(Drift(), 2, 1, reward=twice_the_speed)
    step = loop.step(np.zeros((2, 2), np.float32))
    assert np.array_equal(step.reward, twice_the_speed(transition(step)))
    assert not np.allclose(step.reward, step.proxy)


def test_what_is_observed_has_no_state():
    step = started(Drift(), 2, 1).step(np.zeros((2, 2), np.float32))
    assert isinstance(step.transition, Transition)
    assert not {"state", "next_state"} & step.transition.observed().arrays().keys()
    assert not hasattr(step.transition.observed(), "state")


def test_continuous_actions_are_kept_inside_their_box():
    twins = [started(Drift(), 1, 3) for _ in range(2)]
    far, near = (loop.step(np.full((1, 2), size)) for loop, size in zip(twins, (9.0, 1.0), strict=True))
    assert np.array_equal(far.observation, near.observation)


@pytest.mark.parametrize(
    ("action", "message"),
    [(np.array([0, 2]), "action 0 to 2: allowed are 0 to 1"), (np.array([0]), r"actions of shape \(1,\): expected \(2,\)")],
)
def test_an_impossible_action_is_refused(action, message):
    with pytest.raises(ProxygapError, match=message):
        started(Walk(), 2, 0).step(action)


@pytest.mark.parametrize("seed", [-1, 1.5, [1, 2, 3], [1, -1]])
def test_an_impossible_seed_is_refused(seed):
    with pytest.raises(ProxygapError, match="allowed are a whole number from 0, or 2 of them"):
        Loop(Walk(), 2).reset(seed)


def test_an_unknown_reward_is_refused():
    with pytest.raises(ProxygapError, match="reward 'truth': allowed are 'true', None"):
        Loop(Walk(), reward="truth")  # pyright: ignore[reportArgumentType]


def test_no_worlds_at_all_are_refused():
    with pytest.raises(ProxygapError, match="a batch of 0 worlds"):
        Loop(Walk(), 0)


class NaNReward(Walk):
    def terms(self, t):
        return super().terms(t) | {"moved": np.where((t.state.time == 2) & (np.arange(len(t.action)) == 1), np.nan, 0.0)}


class InfiniteObservation(Drift):
    def observation(self, state):
        return np.where(state.time[:, None] == 3, np.inf, super().observation(state))


@pytest.mark.parametrize(("world", "what"), [(NaNReward, "reward"), (InfiniteObservation, "observation")])
def test_what_is_not_finite_stops_the_run_and_says_where(world, what):
    env = world()
    loop = started(env, 2, 4)
    with pytest.raises(ProxygapError, match=rf"{world.__name__} gave a {what} that is not finite .* in world \d at step 3"):
        record(loop, [np.zeros((2, *env.action_space.shape), env.action_space.dtype)] * 3)


def test_a_copy_without_time_starts_at_none():
    state = Walk().initial(3, started(Walk(), 3, 0).worlds.draws)
    assert np.array_equal(state.time, np.zeros(3))
