"""Cars that follow one another: closed forms of the Intelligent Driver Model, who follows whom, and that nobody collides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.envs import traffic_bottleneck, traffic_merge
from proxygap.envs.car_following import (
    AWAY,
    FREE,
    LENGTH,
    REACTION,
    SAFE_BRAKING,
    ZIPPER,
    Road,
    Traffic,
    gap_ahead,
    neighbours,
    safe_speed,
    unsorted,
)
from scipy.integrate import quad

FLOW, SUMO = traffic_merge.PEOPLE, traffic_bottleneck.PEOPLE
ENDS = (900.0, 600.0, 600.0, 300.0, 300.0, 300.0, 300.0)
TREE = Road(ENDS, FLOW)
NOBODY = np.zeros((1, 0))  # commands for no controlled car
SEEDS = st.integers(0, 2**32)


def traffic(position, speed, lane, road=TREE):
    """One world with these cars, arranged."""
    position, speed, lane = (np.array([values], kind) for values, kind in ((position, float), (speed, float), (lane, int)))
    state = unsorted(position, speed, lane)
    road.arrange(state)
    return state


def crowd(seed, cars=12, slots=15):
    """One world of cars anywhere, but each in a lane that exists there; and some empty slots."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(0.0, 900.0, slots)
    lane = rng.integers(4, 8, slots) // np.select([position < 300.0, position < 600.0], [1, 2], 4)
    empty = rng.permutation(slots)[cars:]
    position[empty], lane[empty] = AWAY, 0
    return traffic(position, rng.uniform(0.0, 20.0, slots), lane)


# The model


@pytest.mark.parametrize("driver", [FLOW, SUMO])
@given(share=st.floats(0.0, 0.99))
def test_at_the_equilibrium_gap_nobody_changes_speed(driver, share):
    speed = np.array([share * driver.desired_speed])
    assert driver.accelerate(speed, driver.equilibrium_gap(speed), np.zeros(1)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("driver", "speed"), [(FLOW, 8.0), (FLOW, 20.0), (SUMO, 5.0), (SUMO, 15.0)])
def test_a_platoon_settles_at_the_equilibrium_gap(driver, speed):
    road, cars = Road((9e4,), driver), 6
    state = traffic(1000.0 - 40.0 * np.arange(cars), np.full(cars, speed), np.ones(cars), road)
    after = road.drive(state, np.zeros((1, 1)), 0.2, 3000)  # the first keeps its speed
    expected = (driver.jam_gap + speed * driver.headway) / (1.0 - (speed / driver.desired_speed) ** 4) ** 0.5
    assert after.speed[0] == pytest.approx(speed, abs=1e-3)
    assert -np.diff(after.position[0]) - LENGTH == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("driver", [FLOW, SUMO])
def test_a_free_car_gains_speed_as_the_integral_says(driver):
    road, reached = Road((9e4,), driver), 0.8 * driver.desired_speed
    seconds, _ = quad(lambda v: 1.0 / (driver.acceleration * (1.0 - (v / driver.desired_speed) ** 4)), 0.0, reached)
    after = road.drive(traffic([0.0], [0.0], [1], road), NOBODY, seconds / 4_000, 4_000)
    assert after.speed[0, 0] == pytest.approx(reached, rel=1e-3)


def test_a_standing_car_is_approached_as_near_as_the_jam_gap():
    state = traffic([500.0, 0.0], [0.0, 20.0], [1, 1], road := Road((1000.0,), FLOW))
    after = road.drive(state, np.zeros((1, 1)), 0.2, 1500)
    assert after.speed[0, 1] == pytest.approx(0.0, abs=0.05)
    assert 500.0 - LENGTH - after.position[0, 1] == pytest.approx(FLOW.jam_gap, abs=0.2)


@given(gap=st.floats(0.0, 300.0))
def test_from_the_safe_speed_one_can_stop_in_the_gap(gap):
    speed = float(safe_speed(np.array(gap), np.array(0.0)))
    assert speed * REACTION + speed**2 / (2 * SAFE_BRAKING) == pytest.approx(gap, abs=1e-6)


# Who follows whom


def leader_of(state, car, queue):
    """The slot ahead of `car`, found as one would by looking: down the road, lane after lane."""
    position, lane = state.position[0], queue[car]
    ahead = [i for i in range(len(position)) if queue[i] == lane and position[i] > position[car]]
    while not ahead and lane > 1:
        lane //= 2
        ahead = [i for i in range(len(position)) if queue[i] == lane]
    return min(ahead, key=lambda i: position[i], default=len(position))


@given(SEEDS)
def test_leaders_are_those_that_one_finds_by_looking(seed):
    state = crowd(seed)
    lane, position = state.lane[0], state.position[0]
    meeting = np.where((lane > 1) & (position > np.array([0, *ENDS])[lane] - ZIPPER), lane // 2, lane)
    for car in np.flatnonzero(lane):
        assert [leader_of(state, car, queue) for queue in (lane, meeting)] == list(state.leaders[0, :, car])


@given(SEEDS)
def test_the_line_is_kept_lane_by_lane_and_empty_slots_come_last(seed):
    state = crowd(seed)
    line, alive = state.line[0], state.alive[0]
    assert sorted(line) == list(range(len(line)))
    assert list(alive[line]) == sorted(alive, reverse=True)
    standing = [(state.lane[0, slot], -state.position[0, slot]) for slot in line if alive[slot]]
    assert standing == sorted(standing)


@given(SEEDS)
def test_neighbours_are_those_that_one_finds_by_looking(seed):
    state, slots = crowd(seed), 15
    wanted = np.array([[[state.lane[0, car], 5] for car in range(4)]])
    ahead, behind = neighbours(state, wanted)
    for car in np.flatnonzero(state.lane[0, :4]):
        for i, lane in enumerate(wanted[0, car]):
            places = {slot: state.position[0, slot] for slot in range(slots) if state.lane[0, slot] == lane and slot != car}
            here = state.position[0, car]
            follower = max((s for s in places if places[s] <= here), key=places.__getitem__, default=slots)
            leader = min((s for s in places if places[s] > here), key=places.__getitem__, default=slots)
            assert behind[0, car, i] == follower
            assert ahead[0, car, i] == (state.leaders[0, 0, car] if lane == state.lane[0, car] else leader)


@given(SEEDS, st.integers(1, 5))
def test_a_world_moves_as_it_does_alone(seed, steps):
    worlds = Traffic.concatenate([crowd(seed + i) for i in range(3)])
    command = np.random.default_rng(seed).uniform(-1.5, 1.5, (3, 4))
    together, alone = (TREE.drive(worlds[i], command[i], 0.2, steps) for i in (slice(None), slice(1, 2)))
    for name in ("position", "speed", "lane"):
        assert np.array_equal(getattr(together, name)[1], getattr(alone, name)[0])


# Where lanes meet


def test_a_car_beyond_its_lane_is_in_the_next_and_beyond_the_last_is_gone():
    after = TREE.drive(traffic([299.0, 599.0, 899.0], [10.0] * 3, [6, 3, 1]), NOBODY, 0.2, 1)
    assert list(after.lane[0]) == [3, 1, 0]
    assert after.position[0, 2] == AWAY
    assert list(after.alive[0]) == [True, True, False]


def test_cars_side_by_side_take_turns():
    """Two full lanes meet: the cars come out one from each in turn, in the order of their positions, and none too close."""
    road, each = Road((9e4, 500.0, 500.0), FLOW), 8
    position = np.concatenate([450.0 - 30.0 * np.arange(each), 448.0 - 30.0 * np.arange(each)])
    state = traffic(position, np.full(2 * each, 10.0), np.repeat([2, 3], each), road)
    for _ in range(400):
        state = road.drive(state, NOBODY, 0.2, 1)
        road.arrange(state)
        assert gap_ahead(state.position, state.leaders[:, 0]).min() >= 0.0
    came_from = (np.argsort(-state.position[0]) >= each).astype(int)
    assert list(came_from) == [0, 1] * each


def test_a_car_far_from_where_lanes_meet_does_not_mind_the_other_lane():
    beside = traffic(
        [500.0 - ZIPPER - 1.0, 499.0 - ZIPPER - 1.0], [15.0, 15.0], [2, 3], road := Road((2000.0, 500.0, 500.0), FLOW)
    )
    assert road.accelerations(beside)[0, 1] == FLOW.accelerate(np.array(15.0), np.array(FREE), np.array(-15.0))


@pytest.mark.parametrize(
    "env",
    [traffic_merge.TrafficMerge(ramp_inflow=900.0, controlled_share=1.0), traffic_bottleneck.TrafficBottleneck()],
    ids=lambda env: env.name,
)
@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_with_the_failsafe_no_car_ever_runs_into_another(env, seed):
    loop, rng = env.loop(12, autoreset=False), np.random.default_rng(seed)
    loop.reset(seed=seed)
    for _ in range(120):
        low = rng.uniform(-1.0, 1.0, (12, *[1] * len(env.action_space.shape)))  # some floor it, some brake
        loop.step(rng.uniform(low, 1.0, (12, *env.action_space.shape)).astype(np.float32))
        state = loop.state
        assert gap_ahead(state.position, state.leaders[:, 0]).min() >= 0.0
        assert state.speed.min() >= 0.0
        assert state.speed.max() <= env.road.driver.desired_speed
        assert not state.crashed.any()


def test_without_the_failsafe_a_controlled_car_does_what_it_is_told():
    state = traffic([12.0, 20.0], [10.0, 0.0], [1, 1], road := Road((1000.0,), FLOW))  # slot 0, right behind the other
    stopped, told = (road.drive(state, np.ones((1, 1)), 0.2, 5, failsafe) for failsafe in (True, False))
    assert stopped.position[0, 0] + LENGTH <= stopped.position[0, 1]
    assert told.speed[0, 0] == pytest.approx(11.0)
    assert told.position[0, 0] > told.position[0, 1]  # right through it, which is a collision all the same
    assert (list(stopped.crashed), list(told.crashed)) == ([False], [True])
