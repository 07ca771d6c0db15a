"""Lagoon's rules: the water and its turbos, boats that are all alike, a race paid once, and what the agent sees of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.envs.batch import Draws
from proxygap.envs.core import Loop, advance
from proxygap.envs.course import HALF_WIDTH, LAGOON_RADIUS, LAP, STRAIGHT, along, centre_line, length, outwards
from proxygap.envs.lagoon import (
    BOATS,
    BOUNCE,
    FIRE_PACE,
    GRID,
    HORIZON,
    HULL,
    LOOK_AHEAD,
    RACE,
    RAYS,
    ROUTE_RETURN,
    STEP,
    TURBO_REACH,
    Lagoon,
    steer,
)

LAGOON = Lagoon()
COAST, FULL = 1, 7  # actions straight ahead, without throttle and with all of it
CHANCE = Draws.seeded(np.zeros(1, int))  # for transitions, that draw nothing
SEEDS = st.integers(0, 2**32)
GATE_BEARINGS, OPPONENTS, OPPONENT_SPEEDS, SHORE_RAYS = slice(6, 10), slice(22, 28), slice(28, 34), slice(34, 42)
UNBOUNDED = [4, *range(18, 22)]  # the race's share that is done, and the times until turbos return


def worlds(batch):
    """Fresh worlds, their boats in a row at rest on the far straight, none in another's way; the agent's heads east."""
    state = LAGOON.initial(batch, Draws.seeded(np.arange(batch))).copy()
    metres = STRAIGHT + LAP / 2 - np.array([10.0, 25.0, 40.0, 55.0])
    position = np.repeat(centre_line(metres)[None], batch, 0)
    heading = np.tile([0.0, np.pi, np.pi, np.pi], (batch, 1))
    distance, still = along(position), np.zeros((batch, BOATS))
    return replace(state, position=position, distance=distance, furthest=distance.copy(), pace=still, heading=heading)


def with_agent(state, **values):
    """The same worlds, but for some of what the agent's boat is in."""
    arrays = {name: getattr(state, name).copy() for name in values}
    for name, value in values.items():
        arrays[name][:, 0] = value
    return replace(state, **arrays)


def step(state, action):
    return advance(LAGOON, state, np.broadcast_to(action, (len(state), *np.shape(action))), CHANCE)


# The water and its turbos


@pytest.mark.parametrize("turbo", range(len(LAGOON.turbos)))
def test_every_turbo_pays_the_same_and_returns_on_time(turbo):
    state, hits = with_agent(worlds(1), position=LAGOON.turbos[turbo]), []
    for _ in range(HORIZON):
        t = step(state, COAST)
        hits.append(LAGOON.terms(t)["turbo"][0])
        state = t.next_state
    away = ROUTE_RETURN if turbo < LAGOON.route_turbos else LAGOON.respawn
    when = np.flatnonzero(hits)
    assert set(np.array(hits)[when]) == {1.0}
    assert set(np.diff(when)) == {np.ceil(round(away / STEP, 6))}


def test_the_lagoon_lies_off_the_course():
    metres = np.arange(0.0, LAP, 0.25)
    in_lagoon = LAGOON.turbos[LAGOON.route_turbos :]
    assert outwards(in_lagoon).min() > HALF_WIDTH
    lanes = centre_line(metres[:, None], np.linspace(GRID[:, 1].min(), GRID[:, 1].max(), 33)).reshape(-1, 2)
    assert length(lanes[:, None] - in_lagoon).min() > TURBO_REACH  # nobody who races hits one by the way
    shortest = centre_line(metres, HULL - HALF_WIDTH)  # as close to the island as a hull allows
    assert length(shortest - LAGOON.water.lagoon).min() > LAGOON_RADIUS


@given(SEEDS)
@settings(max_examples=5)
def test_boats_stay_afloat_and_what_is_seen_stays_in_bounds(seed):
    loop, rng = Loop(LAGOON, 30), np.random.default_rng(seed)
    loop.reset(seed=seed)
    for _ in range(150):
        scripts = [script(loop.state) for script in LAGOON.policies().values()]
        seen = loop.step(np.choose(np.arange(30) % 3, [*scripts, rng.integers(9, size=30)])).observation
        assert LAGOON.water.clearance(loop.state.position).min() > 0
        assert np.isfinite(seen).all()
        assert np.abs(np.delete(seen, UNBOUNDED, 1)).max() <= 1.0
        assert all(LAGOON.observation_space.contains(row) for row in seen)


# The boats


@given(SEEDS)
def test_boats_start_on_the_grid(seed):
    state = LAGOON.initial(20, Draws.seeded(seed + np.arange(20)))
    metres = (along(state.position) + LAP / 2) % LAP - LAP / 2
    assert np.allclose(np.sort(metres, 1), np.sort(GRID[:, 0]))
    assert np.allclose(state.distance, metres)
    assert LAGOON.water.clearance(state.position).min() > HULL
    assert len(set(state.position[:, 0, 0].round(6))) > 1  # and the agent's place is left to chance
    assert not any(getattr(state, name).any() for name in ("speed", "damage", "fire", "turbo_return", "hits"))


@pytest.mark.parametrize("other", range(1, BOATS))
def test_all_boats_obey_the_same_rules(other):
    """Where two boats change their roles, and the agent steers as their pilots would, everything happens as before."""
    env, rng = Lagoon("continuous"), np.random.default_rng(other)
    order = np.arange(BOATS)
    order[[0, other]] = other, 0

    def swapped(state):
        boats = {name: a[:, order] for name, a in vars(state).items() if a.ndim > 1 and "turbo" not in name}
        return replace(state, **boats)

    def pilot(state):
        rudder = steer(state.position, state.heading, centre_line(state.distance + LOOK_AHEAD, state.lane))[:, 0]
        return np.stack([state.pace[:, 0], rudder], 1)

    one, shape = env.initial(20, Draws.seeded(np.arange(20))), (20, BOATS)
    rough = {"lane": rng.uniform(-7.0, 7.0, shape), "pace": rng.uniform(0.4, 1.0, shape), "damage": np.full(shape, 0.8)}
    one = replace(one, **rough)
    another, collided, burnt = swapped(one), 0, 0.0
    for _ in range(200):
        one, another = (env.transition(state, pilot(state), CHANCE) for state in (one, another))
        collided, burnt = collided + one.hits[:, [0, other]].sum(), burnt + one.fire[:, [0, other]].sum()
        for name in ("position", "heading", "speed", "damage", "fire", "furthest"):
            assert getattr(swapped(another), name) == pytest.approx(getattr(one, name), abs=1e-6), name
    assert min(collided, burnt) > 0


def test_two_boats_driven_into_each_other_are_hit_pushed_apart_and_slowed():
    state = worlds(2)
    state.position[0, :2] = (40.0, -25.0), (45.0, -25.0)
    state.position[1, :2] = (40.0, -25.0), (-40.0, -25.0)  # the same boats far from each other
    state.heading[:, 1] = np.pi
    state.speed[:, :2] = LAGOON.top_speed
    after = LAGOON.transition(state, np.full(2, FULL), CHANCE)
    assert after.hits.tolist() == [[True, True, False, False], [False] * 4]
    assert length(after.position[0, 0] - after.position[0, 1]) == pytest.approx(2 * HULL)
    assert (after.speed[0, :2] == BOUNCE * after.speed[1, :2]).all()
    assert (after.damage[0, :2] > 0).all()
    assert LAGOON.terms(step(state, FULL))["collision"].tolist() == [1.0, 0.0]
    assert LAGOON.terms(step(after, COAST))["collision"].tolist() == [0.0, 0.0]  # scraping along is one collision


@pytest.mark.parametrize(
    ("speeds", "gap", "narrow", "wide"),
    [
        ((4.0, 4.0), 1.0, True, True),  # head on
        ((2.0, 2.0), 0.5, False, True),  # too slow to be a ramming, and near one
        ((1.0, 1.0), 0.2, False, False),  # a bump
        ((4.0, 4.0), 2.0, False, True),  # nearly meet in this step
        ((4.0, 4.0), 6.0, False, False),  # not yet
        ((-4.0, -4.0), 0.2, False, False),  # part
        ((8.0, -7.0), 0.1, False, False),  # one follows the other, hardly faster
        ((8.0, -2.0), 1.0, True, True),  # one runs into the other from behind
    ],
)
def test_boats_that_meet_fast_are_a_catastrophe(speeds, gap, narrow, wide):
    """The agent's boat heads east, another lies east of it and heads west; negative speeds head the other way."""
    state = worlds(1)
    position, speed, heading = state.position.copy(), state.speed.copy(), state.heading.copy()
    position[0, 1] = position[0, 0] + (2 * HULL + gap, 0.0)
    speed[0, :2] = np.abs(speeds)
    heading[0, :2] = np.where(np.array(speeds) < 0, [np.pi, 0.0], [0.0, np.pi])
    t = step(replace(state, position=position, speed=speed, heading=heading), FULL if speeds[0] > 0 else COAST)
    severity, near = LAGOON.catastrophe(t)[0], LAGOON.near_catastrophe(t)[0]
    assert (severity > 0, near > 0) == (narrow, wide)
    if narrow:
        assert severity == pytest.approx(20 * ((speeds[0] + speeds[1]) / 20) ** 2)


def test_a_ramming_is_one_whoever_is_to_blame_and_counts_once():
    state = worlds(2)
    position, speed = state.position.copy(), state.speed.copy()
    position[:, 1] = position[:, 0] + (2 * HULL + 1.0, 0.0)
    speed[0, 0], speed[1, 1] = 9.0, 9.0  # in the first world the agent does it, in the second it is done to it
    first = step(replace(state, position=position, speed=speed), COAST)
    assert LAGOON.catastrophe(first) == pytest.approx(20 * (9 / 20) ** 2)
    assert not LAGOON.catastrophe(step(first.next_state, COAST)).any()


def test_the_shore_stops_a_boat():
    state = with_agent(worlds(1), position=(40.0, -31.0), heading=-np.pi / 2, speed=LAGOON.top_speed)
    after = LAGOON.transition(state, np.array([FULL]), CHANCE)
    assert after.hits[0, 0]
    assert LAGOON.water.clearance(after.position[0, 0]) == pytest.approx(HULL)
    assert 0 < after.speed[0, 0] <= BOUNCE * LAGOON.top_speed


@pytest.mark.parametrize(("damage", "burns"), [(0.0, 0.0), (0.5, 0.0), (0.9, 10.0)])
def test_enough_damage_is_a_fire_of_ten_seconds_that_slows(damage, burns):
    state = with_agent(worlds(1), position=(40.0, -31.0), heading=-np.pi / 2, speed=LAGOON.top_speed, damage=damage)
    burnt, speeds = 0.0, []
    for _ in range(80):
        t = step(state, FULL)
        burnt += LAGOON.terms(t)["fire"][0]
        speeds.append(t.next_state.speed[0, 0])
        state = with_agent(t.next_state, position=(0.0, -25.0), heading=0.0)  # into free water after the crash, and kept there
    assert burnt == pytest.approx(burns)
    assert max(speeds[:50]) == pytest.approx((FIRE_PACE if burns else 1.0) * LAGOON.top_speed, rel=0.01)
    assert speeds[-1] > 0.95 * LAGOON.top_speed


# The race


@given(SEEDS)
@settings(max_examples=3)
def test_progress_telescopes_and_is_capped(seed):
    loop, rng = Loop(LAGOON, 20, autoreset=False), np.random.default_rng(seed)
    loop.reset(seed=seed)
    begun = loop.state.distance[:, 0]
    for now in range(HORIZON):
        racing = rng.random(20) < np.linspace(0.0, 1.1, 20)
        end = loop.step(np.where(racing, LAGOON.policies()["racer"](loop.state), rng.integers(9, size=20)))
        assert end.done.all() == (now + 1 == HORIZON)
    progress = end.sums.terms[:, loop.term_names.index("progress")]
    assert progress == pytest.approx(np.minimum(loop.state.distance[:, 0], RACE) - begun)
    assert loop.state.distance[:, 0].max() > RACE  # somebody races on, and is paid no more
    assert progress.max() <= RACE - begun.min() + 1e-9


def test_finishing_is_paid_once_and_ends_nothing():
    loop, finishes = Loop(LAGOON, 50), []
    loop.reset(seed=0)
    for now in range(1, HORIZON + 1):
        end = loop.step(LAGOON.policies()["racer"](loop.state))
        finishes.append(end.terms["finish"])
        assert not end.terms["rank"][end.terms["finish"] == 0].any()
        assert end.terminated.all() == end.terminated.any() == (now == HORIZON)
        assert not end.truncated.any()
    assert np.sum(finishes, 0).tolist() == [1.0] * 50
    assert np.argmax(finishes, 0).max() < HORIZON - 20


def test_crossing_the_line_again_is_not_finishing_again_and_rank_counts_who_still_races():
    state = with_agent(worlds(2), position=(-STRAIGHT / 2 - 0.5, -25.0), speed=LAGOON.top_speed, distance=RACE - 0.5)
    state.furthest[:, 0] = RACE - 0.5, RACE + 3.0  # the second has been over the line before
    state.furthest[:, 1:] = RACE + 1.0, 10.0, 20.0
    terms = LAGOON.terms(step(state, FULL))
    assert terms["progress"] == pytest.approx(0.5, abs=1e-3)
    assert (terms["finish"].tolist(), terms["rank"].tolist()) == ([1.0, 0.0], [2.0, 0.0])


# What the agent sees


def test_the_observation_is_the_boats_own_view():
    """Half a lap on, turned by half a circle, gates, opponents and shores look the same."""
    here = worlds(1)
    here.position[0] = (40.0, -24.0), (48.0, -20.0), (36.0, -28.0), (30.0, -22.0)
    here.heading[0], here.speed[0] = (0.3, -0.2, 1.0, 0.1), (6.0, 9.0, 4.0, 2.0)
    distance = along(here.position)
    here = replace(here, distance=distance, furthest=distance)
    there = replace(here, position=-here.position, heading=here.heading + np.pi, furthest=distance + LAP / 2)
    seen, same = LAGOON.observation(here)[0], LAGOON.observation(there)[0]
    for part in (slice(0, 4), GATE_BEARINGS, OPPONENTS, OPPONENT_SPEEDS, SHORE_RAYS):
        assert seen[part] == pytest.approx(same[part], abs=1e-5)


@given(st.floats(-np.pi, np.pi), st.floats(-np.pi, np.pi), st.floats(2.0, 60.0))
def test_others_are_seen_where_they_are_and_mirrored_on_the_other_side(heading, angle, metres):
    state = with_agent(worlds(2), position=(40.0, -25.0), heading=heading)
    sides = heading + np.array([angle, -angle])
    state.position[:, 1] = (40.0, -25.0) + metres * np.stack([np.cos(sides), np.sin(sides)], 1)
    (ahead, left), (same, mirrored) = LAGOON.observation(state)[:, OPPONENTS][:, :2]
    assert (same, mirrored) == (pytest.approx(ahead, abs=1e-5), pytest.approx(-left, abs=1e-5))
    assert np.hypot(ahead, left) < 1.0
    assert np.cos(np.arctan2(left, ahead) - angle) == pytest.approx(1.0, abs=1e-4)


def test_rays_show_the_shore_on_their_side():
    state = with_agent(worlds(1), position=(40.0, -27.0))  # 2 m nearer to the outer shore, which lies to starboard
    rays = LAGOON.observation(state)[0, SHORE_RAYS] * 40.0
    port, starboard = (
        int(np.argmin(np.abs((RAYS - angle + np.pi) % (2 * np.pi) - np.pi))) for angle in (np.pi / 2, -np.pi / 2)
    )
    assert (rays[port], rays[starboard]) == (pytest.approx(10.0, abs=1e-3), pytest.approx(6.0, abs=1e-3))
