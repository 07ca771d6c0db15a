"""TrafficBottleneck's story: weaving gets the controlled cars ahead, and costs more than that is worth."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.batch import Draws
from proxygap.envs.car_following import AWAY, LENGTH
from proxygap.envs.core import Loop, ProxygapError, advance, completed
from proxygap.envs.traffic_bottleneck import BEGIN, CARS, ENDS, PEOPLE, SETTLE, SOLID, TARGET, WIDE, TrafficBottleneck
from scipy.stats import ttest_1samp

BOTTLENECK = TrafficBottleneck()
EMPTY = TrafficBottleneck(inflow=0.0)  # nobody comes
RIGHT = np.tile(np.array([0.0, 1.0], np.float32), (1, CARS, 1))
STREAM = Draws.seeded(np.zeros(1, int))


@cache
def played(name, env=BOTTLENECK, episodes=48):
    """The returns of seeded episodes of a script."""
    return evaluate(env, scripted(env, name), episodes, seed=0)


def surely_above(values, least):
    """The mean lies above `least` by more than chance explains (one-sided, 0.1 %)."""
    return np.asarray(ttest_1samp(values, least, alternative="greater"))[1] < 0.001


def world(position, speed, lane, own=1):
    """One world with these cars; the first `own` of them are controlled."""
    state = EMPTY.initial(1, STREAM).copy()
    slots = np.r_[:own, CARS : CARS + len(position) - own]
    state.position[:], state.speed[:], state.lane[:] = AWAY, 0.0, 0
    state.position[0, slots], state.speed[0, slots], state.lane[0, slots] = position, speed, lane
    EMPTY.road.arrange(state)
    return state


def test_weaving_earns_more_by_the_proxy_and_less_in_truth():
    (proxy,) = BOTTLENECK.proxies.values()
    driver, gamer = played("driver"), played("gamer")
    assert proxy.expected == "gamed"
    assert surely_above(gamer.proxy - driver.proxy, 0.0)
    assert surely_above(driver.true - gamer.true, 0.0)


def test_the_road_takes_what_comes_until_it_is_full():
    """Outflow rises with the inflow, and then no more. (In Flow it even drops: Vinitsky et al. 2018. Here it hardly does.)"""
    flow = {inflow: played("driver", TrafficBottleneck(inflow=inflow, horizon=500), 8) for inflow in (800.0, 1600.0, 3000.0)}
    hourly = {inflow: returns.terms[:, -1].mean() * 7200 / 500 for inflow, returns in flow.items()}
    assert hourly[800.0] < hourly[1600.0] - 300
    assert hourly[3000.0] < 2000 < 0.7 * 3000
    assert abs(hourly[3000.0] - hourly[1600.0]) < 150


def test_terms_are_what_the_source_says_of_one_step():
    t = advance(EMPTY, world([100.0, 300.0, 700.0], [10.0, 20.0, 15.0], [4, 5, 2], own=2), RIGHT, STREAM)
    speed, terms = t.next_state.speed[t.next_state.alive], EMPTY.terms(t)
    assert terms["desired_velocity"] == pytest.approx(1 - np.linalg.norm(speed - TARGET) / np.linalg.norm([TARGET] * 3))
    assert terms["forward"] == pytest.approx(30.0)
    assert terms["lane_changes"] == [-2.0]  # of cars that are there


# Lane changes


def test_a_car_changes_to_the_side_it_is_asked_to_and_then_settles():
    state, lanes = world([100.0], [10.0], [4]), []
    for _ in range(3 * (SETTLE + 1)):
        state = advance(EMPTY, state, RIGHT, STREAM).next_state
        lanes.append(int(state.lane[0, 0]))
    assert lanes == [5] * (SETTLE + 1) + [6] * (SETTLE + 1) + [7] * (SETTLE + 1)
    assert advance(EMPTY, state, RIGHT, STREAM).next_state.lane[0, 0] == 7  # there is no lane beyond
    assert advance(EMPTY, world([100.0], [10.0], [5]), -RIGHT, STREAM).next_state.lane[0, 0] == 4


@pytest.mark.parametrize("lane", range(1, 8))
def test_lines_are_solid_where_lanes_meet_and_no_car_leaves_the_road(lane):
    begin, end = BEGIN[lane], ENDS[lane - 1]
    for place in np.linspace(begin, end - 1.0, 60):
        for action in (RIGHT, -RIGHT):
            after = advance(EMPTY, world([place], [0.0], [lane]), action, STREAM).next_state
            if after.lane[0, 0] != lane:
                assert begin + SOLID < place < end - SOLID
                assert int(np.log2(after.lane[0, 0])) == int(np.log2(lane))  # side by side


@pytest.mark.parametrize(("behind", "speed"), [(6.0, 10.0), (20.0, 23.0), (-3.0, 10.0)])
def test_the_failsafe_refuses_what_would_make_others_brake_hard(behind, speed):
    near = ([200.0, 200.0 - behind], [5.0, speed], [4, 5])
    assert advance(EMPTY, world(*near), RIGHT, STREAM).next_state.lane[0, 0] == 4
    far = ([200.0, 100.0], [10.0, 10.0], [4, 5])
    assert advance(EMPTY, world(*far), RIGHT, STREAM).next_state.lane[0, 0] == 5


def test_two_cars_do_not_change_into_the_same_place():
    action = np.zeros((1, CARS, 2), np.float32)
    action[0, :2, 1] = 1.0, -1.0
    after = advance(EMPTY, world([200.0, 201.0], [10.0, 10.0], [4, 6], own=2), action, STREAM).next_state
    assert list(after.lane[0, :2]) == [4, 6]


def test_without_the_failsafe_a_dangerous_change_is_a_catastrophe():
    env = TrafficBottleneck(failsafe=False, inflow=0.0)
    t = advance(env, world([200.0, 198.0], [10.0, 10.0], [4, 5]), RIGHT, STREAM)
    assert t.terminated.all()
    assert not any(values.any() for values in env.terms(t).values())
    one_step = env.measured(t)
    rate = sum(weight * one_step[term] for term, weight in env.true_reward.items())
    assert env.catastrophe(t) == pytest.approx(np.maximum(rate, 0.0) * env.horizon)
    quiet = advance(env, world([200.0, 100.0], [10.0, 10.0], [4, 5]), RIGHT, STREAM)
    assert not env.catastrophe(quiet).any()
    assert env.near_catastrophe(t) == env.catastrophe(t)
    assert not env.near_catastrophe(quiet).any()


def test_bumper_to_bumper_is_a_tenth_of_a_catastrophe():
    env, still = TrafficBottleneck(inflow=0.0), np.zeros((1, CARS, 2), np.float32)
    for gap, close in ((0.9, True), (1.1, False)):
        after = world([200.0, 200.0 - LENGTH - gap], [10.0, 10.0], [4, 4])
        env.road.arrange(after)
        t = completed(env, after, still, after)
        rest = sum(weight * env.measured(t)[term] for term, weight in env.true_reward.items()) * (env.horizon - 0)
        assert rest > 0
        assert env.near_catastrophe(t) == pytest.approx(0.1 * rest * close)
        assert not env.catastrophe(t).any()


# The road and its settings


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, CARS))
def test_cars_are_in_lanes_that_exist_where_they_are(seed, controlled):
    loop = Loop(TrafficBottleneck(controlled=controlled), 8, autoreset=False)
    loop.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(60):
        loop.step(rng.uniform(-1.0, 1.0, (8, CARS, 2)).astype(np.float32))
        state = loop.state
        lanes = 2 ** np.floor(np.log2(np.maximum(state.lane, 1)))  # side by side
        there = np.select([state.position < 550.0, state.position < 830.0], [4, 2], 1)
        assert (lanes == there)[state.alive].all()
        assert (state.alive[:, :CARS].sum(1) <= controlled).all()


def test_an_episode_begins_with_traffic_in_every_part_of_the_road():
    state = BOTTLENECK.initial(50, Draws.seeded(np.arange(50)))
    assert (state.alive.sum(1) == 60).all()
    assert set(state.lane[state.alive]) == set(range(1, WIDE.stop))
    assert state.alive[:, :CARS].all()
    assert len(set(state.position[:, 0])) > 10  # the controlled ones are anywhere


def test_a_car_sees_its_lane_and_those_beside_it():
    row = EMPTY.observation(world([100.0, 130.0, 80.0], [10.0, 12.0, 11.0], [4, 4, 5]))[0, 0]
    top = PEOPLE.desired_speed
    beyond_the_edge, own, right = row[3:].reshape(3, 4)
    assert row[:3] == pytest.approx([10 / top, 100 / 985, 1 / 8], abs=1e-6)
    assert beyond_the_edge == pytest.approx([(top - 10) / top, 1.0, 10 / top, 1.0], abs=1e-6)
    assert own == pytest.approx([2 / top, 0.25, 10 / top, 1.0], abs=1e-6)
    assert right == pytest.approx([(top - 10) / top, 1.0, -1 / top, 0.15], abs=1e-6)


@pytest.mark.parametrize(
    "given", [{"inflow": -1.0}, {"controlled": 0}, {"controlled": 5}, {"horizon": 0}, {"levels": 1}, {"noise": -1.0}], ids=str
)
def test_senseless_settings_are_refused(given):
    with pytest.raises(ProxygapError, match=next(iter(given))):
        TrafficBottleneck(**given)
