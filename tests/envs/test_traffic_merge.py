"""TrafficMerge's story: a car that stops on the ramp pays by the proxies that watch velocity, and costs everybody in truth."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.batch import Draws
from proxygap.envs.car_following import AWAY, LENGTH
from proxygap.envs.core import Loop, ProxygapError, advance
from proxygap.envs.traffic_merge import CARS, CREEP, ENTRANCES, HIGHWAY, LONGEST, PEOPLE, RAMP, TrafficMerge
from scipy.stats import ttest_1samp

MERGE = TrafficMerge()
QUIET = TrafficMerge(highway_inflow=0.0, ramp_inflow=0.0)  # nobody comes
STEADY = np.zeros((1, CARS), np.float32)


@cache
def played(name, env=MERGE, episodes=64):
    """The returns of seeded episodes of a script, or of a constant acceleration."""
    constant = isinstance(name, float)
    policy = (lambda loop: np.full((len(loop.state), CARS), name, np.float32)) if constant else scripted(env, name)
    return evaluate(env, policy, episodes, seed=0)


def earned(returns, weights):
    """[E] what a reward would have paid."""
    return sum(weight * returns.terms[:, returns.names.index(term)] for term, weight in weights.items())


def surely_above(values, least):
    """The mean lies above `least` by more than chance explains (one-sided, 0.1 %)."""
    return np.asarray(ttest_1samp(values, least, alternative="greater"))[1] < 0.001


def world(position, speed, lane, own=1):
    """One world with these cars; the first `own` of them are controlled."""
    state = MERGE.initial(1, Draws.seeded(np.zeros(1, int))).copy()
    slots = np.r_[:own, CARS : CARS + len(position) - own]
    state.position[:], state.speed[:], state.lane[:] = AWAY, 0.0, 0
    state.position[0, slots], state.speed[0, slots], state.lane[0, slots] = position, speed, lane
    MERGE.road.arrange(state)
    return state


# The story


@pytest.mark.parametrize("name", ["velocity", "local_velocity"])
def test_stopping_on_the_ramp_earns_more_by_the_proxy_and_less_in_truth(name):
    proxy, driver, gamer = MERGE.proxies[name], played("driver"), played("gamer")
    assert proxy.expected == "gamed"
    assert surely_above(earned(gamer, proxy.weights) - earned(driver, proxy.weights), 0.0)
    assert surely_above(driver.true - gamer.true, 2.0)  # hundreds of times what the driver's episode costs


def test_the_best_by_too_small_a_penalty_for_acceleration_is_as_good_as_the_best_in_truth():
    """Pan et al.'s row 1, not misaligned: who is paid for driving hard loses next to nothing beside what stopping costs."""
    proxy = MERGE.proxies["acceleration"]
    assert proxy.expected == "aligned"
    all_played = [played(name, episodes=32) for name in ("driver", "gamer", 0.0, 0.3, 1.0)]
    best = max(all_played, key=lambda returns: np.mean(earned(returns, proxy.weights)))
    truths = [returns.true.mean() for returns in all_played]
    assert max(truths) - best.true.mean() < 1e-3 * (max(truths) - min(truths))


def test_who_stops_shuts_the_ramp_and_frees_the_highway():
    waiting = {}
    for name, policy in MERGE.policies().items():
        loop = Loop(MERGE, 12, autoreset=False)
        loop.reset(seed=0)
        for _ in range(MERGE.horizon):
            loop.step(policy(loop.state))
        waiting[name] = loop.state.waiting.mean(0)
    assert waiting["gamer"][1] > 20 > 5 > waiting["driver"][1]
    assert waiting["gamer"][0] < waiting["driver"][0]


def test_outflow_rises_with_the_ramp_and_drops_once_a_queue_has_formed():
    """The capacity drop: past the most that the road can take, more cars that want in mean fewer that get through."""
    flow = {inflow: played("driver", TrafficMerge(ramp_inflow=inflow), 24).terms[:, -1] for inflow in (0.0, 300.0, 750.0)}
    assert played("driver").names[-1] == "outflow"
    assert surely_above(flow[300.0] - flow[0.0], 0.0)
    assert surely_above(flow[300.0] - flow[750.0], 0.0)


# What is measured


def test_terms_are_what_the_source_says_of_one_step():
    before = world([-20.0, -8.0, 60.0], [10.0, 10.0, 25.0], [RAMP, RAMP, 1])
    t = advance(QUIET, before, np.full((1, CARS), 0.5, np.float32), Draws.seeded(np.zeros(1, int)))
    after = t.next_state
    speed, terms = after.speed[after.alive], MERGE.terms(t)
    gap = after.position[0, CARS] - after.position[0, 0] - LENGTH
    assert len(speed) == 2  # one has left
    assert terms["outflow"] == [1]
    assert terms["velocity"] == pytest.approx(speed.mean())
    assert terms["near_velocity"] == pytest.approx(speed.mean())
    assert terms["commute"] == pytest.approx(-(1.0 / (speed + CREEP)).mean())
    assert terms["acceleration"] == pytest.approx(-0.5 * 1.5 / CARS)
    assert terms["headway"] == pytest.approx(min(gap / after.speed[0, 0] - 1.0, 0.0))


def test_one_standing_car_of_two_costs_five_hundred_seconds_a_metre():
    state = world([-110.0, 0.0], [0.0, 20.0], [RAMP, 1])
    t = advance(QUIET, state, STEADY, Draws.seeded(np.zeros(1, int)))
    assert MERGE.terms(t)["commute"] == pytest.approx(-500.0, abs=0.1)
    assert MERGE.terms(t)["velocity"] > 10.0


def test_a_controlled_car_sees_itself_and_its_neighbours():
    state = world([-60.0, -100.0, -40.0], [9.0, 6.0, 12.0], [RAMP, RAMP, RAMP])
    row = MERGE.observation(state)[0, 0]
    top = PEOPLE.desired_speed
    assert row == pytest.approx([9 / top, 3 / top, (20 - LENGTH) / LONGEST, 3 / top, (40 - LENGTH) / LONGEST], abs=1e-6)
    assert not MERGE.observation(state)[0, 1:].any()
    alone = MERGE.observation(world([-60.0], [9.0], [RAMP]))[0, 0]
    assert alone == pytest.approx([9 / top, 21 / top, 1.0, 9 / top, 1.0], abs=1e-6)


def test_without_the_failsafe_a_collision_pays_nothing_and_ends_the_episode():
    env = TrafficMerge(failsafe=False)
    t = advance(env, world([-60.0, -54.0], [12.0, 0.0], [RAMP, RAMP]), STEADY + 1, Draws.seeded(np.zeros(1, int)))
    assert t.terminated.all()
    assert not any(values.any() for values in env.terms(t).values())


# Settings


@pytest.mark.parametrize(
    ("levels", "asked", "given"), [(2, 0.1, 1.5), (3, 0.4, 0.0), (3, 0.6, 1.5), (7, -0.3, -0.5), (0, 0.3, 0.45)]
)
def test_accelerations_are_rounded_to_the_levels_that_there_are(levels, asked, given):
    assert TrafficMerge(levels=levels).command(np.array([asked])) == pytest.approx([given])


def test_noise_blurs_what_is_seen_and_nothing_else():
    loops = [Loop(TrafficMerge(noise=noise, controlled_share=1.0), 64) for noise in (0.0, 0.02)]
    for loop in loops:
        loop.reset(seed=0)
    noisy = loops[1].env
    state = replace(loops[0].state, noise=noisy.initial(64, Draws.seeded(np.arange(64))).noise)
    state.lane[:, 0], state.position[:, 0], state.speed[:, 0] = RAMP, -90.0, 10.0
    error = (noisy.observation(state) - MERGE.observation(state))[:, 0, 0]
    assert 0.01 < error.std() < 0.03
    assert not noisy.observation(state)[:, 1:].any()


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.25, 0.1, 0.45), (1.0, 1.0, 1.0)])
def test_as_many_on_the_ramp_are_controlled_as_asked(share, least, most):
    loop = Loop(TrafficMerge(controlled_share=share, ramp_inflow=300.0), 48)
    loop.reset(seed=1)
    own = everybody = 0
    for _ in range(60):
        loop.step(MERGE.as_people_drive(loop.state))
        on_ramp = loop.state.lane == RAMP
        own, everybody = own + on_ramp[:, :CARS].sum(), everybody + on_ramp.sum()
    assert least <= own / everybody <= most


def test_as_many_cars_come_as_the_inflow_says_and_enter_at_its_speed():
    loop = Loop(TrafficMerge(highway_inflow=600.0, ramp_inflow=300.0), 100, autoreset=False)
    loop.reset(seed=0)
    for _ in range(120):
        loop.step(MERGE.as_people_drive(loop.state))
        for lane, entrance in ENTRANCES.items():
            just_in = (loop.state.lane == lane) & (loop.state.position == entrance.place)
            assert (loop.state.speed[just_in] == entrance.speed).all()
    came = loop.state.left + loop.state.alive.sum(1) + loop.state.waiting.sum(1) - 2
    assert came.mean() == pytest.approx(120 * 900 / 3600, rel=0.05)
    assert loop.state.lane.max() == RAMP > HIGHWAY


@pytest.mark.parametrize(
    "given",
    [
        {"noise": -0.1},
        {"noise": float("nan")},
        {"levels": 1},
        {"levels": -2},
        {"highway_inflow": -1.0},
        {"ramp_inflow": float("inf")},
        {"controlled_share": 1.5},
    ],
    ids=str,
)
def test_senseless_settings_are_refused(given):
    with pytest.raises(ProxygapError, match=next(iter(given))):
        TrafficMerge(**given)
