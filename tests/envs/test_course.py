"""The Lagoon's water: measured along and across, and against shores drawn point by point."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.course import (
    HALF_WIDTH,
    LAGOON_RADIUS,
    LAP,
    RADIUS,
    RAY_REACH,
    STRAIGHT,
    Water,
    along,
    centre_line,
    direction,
    length,
    outwards,
)

FINE = 0.05  # m between the points that a shore is drawn with
METRES = np.arange(0.0, LAP, FINE)
WATER = Water(18.0)
PLACES = st.tuples(st.floats(-90.0, 90.0), st.floats(-70.0, 40.0)).map(np.array)
SEEDS = st.integers(0, 2**32 - 1)


def shores(water):
    """[N, 2] points of every shore: the island's, and the outlines of course and lagoon outside each other."""
    outer = centre_line(METRES, HALF_WIDTH)
    circle = water.lagoon + LAGOON_RADIUS * direction(np.arange(0.0, 2 * np.pi, FINE / LAGOON_RADIUS))
    outer, circle = outer[length(outer - water.lagoon) > LAGOON_RADIUS], circle[outwards(circle) > HALF_WIDTH]
    return np.concatenate([centre_line(METRES, -HALF_WIDTH), outer, circle])


def afloat(point):
    """Is there water? Told from the distance to the spine, which is drawn point by point."""
    spine = np.stack([np.linspace(-STRAIGHT / 2, STRAIGHT / 2, 2001), np.zeros(2001)], 1)
    out = length(point - spine).min()
    in_lagoon = length(point - WATER.lagoon) < LAGOON_RADIUS
    return out > RADIUS - HALF_WIDTH and (out < RADIUS + HALF_WIDTH or in_lagoon)


def points(seed, number=200):
    """[number, 2] places in the water."""
    found = np.random.default_rng(seed).uniform((-90.0, -70.0), (90.0, 40.0), (20 * number, 2))
    return found[WATER.clearance(found) > 0][:number]


@given(st.floats(-3 * LAP, 3 * LAP), st.floats(-HALF_WIDTH, HALF_WIDTH))
def test_along_and_across_are_where_the_centre_line_says(metres, offset):
    point = centre_line(np.array(metres), offset)
    assert (along(point) - metres + LAP / 2) % LAP - LAP / 2 == pytest.approx(0.0, abs=1e-9)
    assert outwards(point) == pytest.approx(offset, abs=1e-9)


def test_the_centre_line_is_measured_by_its_own_length_and_closed():
    steps = length(np.diff(centre_line(np.append(METRES, LAP)), axis=0))
    assert steps[:-1] == pytest.approx(FINE, rel=1e-5)
    assert steps.sum() == pytest.approx(LAP, rel=1e-6)


@given(PLACES)
def test_clearance_is_positive_where_there_is_water(point):
    nearest = length(point - shores(WATER)).min()
    if nearest > FINE:
        assert (WATER.clearance(point) > 0) == afloat(point)


def test_clearance_is_the_distance_to_the_shore_and_never_more():
    places = points(0, 400)
    nearest = length(places[:, None] - shores(WATER)).min(1)
    clearance = WATER.clearance(places)
    assert (clearance <= nearest + 1e-9).all()
    away_from_the_mouth = (places[:, 1] > 0) | (np.abs(places[:, 0]) > 40) | (places[:, 1] < WATER.lagoon[1])
    assert away_from_the_mouth.sum() > 100
    assert clearance[away_from_the_mouth] == pytest.approx(nearest[away_from_the_mouth], abs=FINE)


@given(SEEDS)
def test_rays_stay_in_the_water(seed):
    places = points(seed)
    angles = np.random.default_rng(seed).uniform(-np.pi, np.pi, (len(places), 8))
    rays = WATER.rays(places, angles)
    assert ((rays >= 0) & (rays <= RAY_REACH)).all()
    for share in np.linspace(0.0, 1.0, 21):
        on_the_way = places[:, None] + share * rays[..., None] * direction(angles)
        assert WATER.clearance(on_the_way).min() > -1e-9


@given(st.floats(0.0, LAP), st.floats(-6.0, 6.0))
def test_rays_straight_across_are_exact(metres, offset):
    point = centre_line(np.array(metres), offset)
    inwards = centre_line(np.array(metres), offset - 1.0) - point
    across = np.arctan2(inwards[1], inwards[0])
    assert WATER.rays(point, np.array([across])) == pytest.approx(offset + HALF_WIDTH)


@given(SEEDS, st.floats(5.0, 40.0))
def test_off_the_shore_is_into_the_water(seed, lagoon_offset):
    water = Water(lagoon_offset)
    places = np.random.default_rng(seed).uniform((-90.0, -90.0), (90.0, 40.0), (500, 2))
    aground = places[(water.clearance(places) < 0) & (water.clearance(places) > -5)]
    away = water.off_shore(aground)
    assert length(away) == pytest.approx(1.0)
    assert water.clearance(aground - water.clearance(aground)[:, None] * away).min() > -1e-9
