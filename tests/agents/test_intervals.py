"""Intervals of rare events: exact ones against their closed forms and tables, the others by how often they cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.intervals import (
    bootstrap_interval,
    none_bound,
    rate_interval,
    repeated_interval,
    share_interval,
    weighted_interval,
)
from proxygap.envs.core import ProxygapError
from scipy.stats import binom, poisson

STUDIES = 300
FEWEST = binom.ppf(1e-3, STUDIES, 0.93)  # a study has 1 chance in 1,000 of fewer, if an interval covers 93 % of cases


@pytest.mark.parametrize(("runs", "bound"), [(300, 9.9e-3), (3_000, 1.0e-3), (30_000, 1.0e-4), (100_000, 3.0e-5)])
def test_runs_without_an_event_bound_its_chance(runs, bound):
    assert none_bound(runs) == pytest.approx(bound, rel=0.02)
    assert (1 - none_bound(runs)) ** runs == pytest.approx(0.05)
    assert share_interval(0, runs) == (0.0, 0.0, none_bound(runs))


def test_three_in_a_hundred_thousand():
    assert share_interval(3, 100_000) == pytest.approx((3e-5, 6.2e-6, 8.8e-5), rel=0.01)


@given(events=st.integers(1, 50), runs=st.integers(50, 10_000))
def test_at_its_ends_an_exact_interval_leaves_a_fortieth(events, runs):
    _, low, high = share_interval(events, runs)
    assert binom.sf(events - 1, runs, low) == pytest.approx(0.025, rel=1e-6)
    assert binom.cdf(events, runs, high) == pytest.approx(0.025 if events < runs else 1.0, rel=1e-6)
    _, low, high = rate_interval(events, runs)
    assert poisson.sf(events - 1, low * runs) == pytest.approx(0.025, rel=1e-6)
    assert poisson.cdf(events, high * runs) == pytest.approx(0.025, rel=1e-6)


@given(events=st.integers(0, 40), weight=st.floats(1e-6, 10.0))
def test_events_that_weigh_alike_are_counted(events, weight):
    assert weighted_interval(np.full(events, weight), weight) == pytest.approx(rate_interval(events, 1 / weight), rel=1e-6)


def test_weighted_events_are_covered():
    rng, covered = np.random.default_rng(0), 0
    weights = np.array([0.1, 0.3, 1.0])
    rates = np.array([8.0, 3.0, 0.5])  # expected events of each weight
    for _ in range(STUDIES):
        _, low, high = weighted_interval(np.repeat(weights, rng.poisson(rates)), 1.0)
        covered += low <= weights @ rates <= high
    assert covered >= FEWEST


@pytest.mark.parametrize(("share", "scenes"), [(0.01, 200), (0.1, 200), (0.9, 60)])
def test_means_over_scenes_are_covered_whether_few_or_many_fail(share, scenes):
    rng, covered = np.random.default_rng(1), 0
    for _ in range(STUDIES):
        values = rng.binomial(20, np.where(rng.random(scenes) < share, rng.random(scenes), 0.0)) / 20
        _, low, high = bootstrap_interval(values)
        covered += low <= share / 2 <= high
    assert covered >= FEWEST


def test_repetitions_are_covered_and_one_or_equal_ones_have_no_interval():
    rng = np.random.default_rng(2)
    found = np.array([repeated_interval(rng.lognormal(-0.08, 0.4, 10)) for _ in range(STUDIES)])
    assert ((found[:, 1] <= 1) & (found[:, 2] >= 1)).sum() >= FEWEST
    assert repeated_interval(np.array([0.5])) == (0.5, 0.0, np.inf)
    assert bootstrap_interval(np.array([0.5])) == bootstrap_interval(np.full(9, 0.5)) == (0.5, -np.inf, np.inf)
    assert repeated_interval(np.array([1.0, 0.0]))[1] == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: share_interval(3, 2), "3 events in 2 runs: from 0 to all"),
        (lambda: share_interval(0, 0), "0 events in 0 runs"),
        (lambda: rate_interval(1, 0.0), "1 events in an exposure of 0.0: from 0 events"),
    ],
)
def test_what_can_not_be_is_refused(call, message):
    with pytest.raises(ProxygapError, match=message):
        call()
