"""Binomial draws follow the binomial distribution, whatever stands beside them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.chance import binomial
from scipy import stats

DRAWS = 20_000


@pytest.mark.parametrize(
    ("tries", "probability"),
    [(1, 0.3), (6, 0.5), (20, 0.93), (113, 0.02), (500, 0.001), (500, 0.4), (292, 0.999), (1000, 0.5)],
)
def test_draws_follow_the_binomial_distribution(tries, probability):
    drawn = binomial(np.full(DRAWS, tries), probability, np.random.default_rng(5).random(DRAWS))
    expected = DRAWS * stats.binom.pmf(np.arange(tries + 1), tries, probability)
    common = expected >= 5  # the chi-square test's rule; all others are one class
    observed = np.bincount(drawn, minlength=tries + 1)
    classes = [np.append(counts[common], counts[~common].sum()) for counts in (observed, expected)]
    used = classes[1] > 1e-9
    assert stats.chisquare(classes[0][used], classes[1][used] * DRAWS / classes[1][used].sum()).pvalue > 0.001


@given(st.integers(1, 500), st.floats(0.0, 1.0), st.floats(0.0, 1.0, exclude_max=True))
def test_a_draw_is_the_quantile_of_its_uniform_number(tries, probability, uniform):
    drawn = binomial(np.array([tries]), probability, np.array([uniform]))[0]
    if probability > 0.5:
        drawn, probability = tries - drawn, 1.0 - probability
    below, upto = stats.binom.cdf([drawn - 1, drawn], tries, probability)
    assert 0 <= drawn <= tries
    assert below - 1e-9 <= uniform <= upto + 1e-9


def test_certain_and_impossible_things():
    uniform = np.random.default_rng(0).random((3, 4))
    assert (binomial(np.full((3, 4), 9), 1.0, uniform) == 9).all()
    assert (binomial(np.full((3, 4), 9), 0.0, uniform) == 0).all()
    assert (binomial(np.zeros((3, 4), int), 0.5, uniform) == 0).all()
    assert binomial(np.zeros((0, 4), int), 0.5, np.zeros((0, 4))).shape == (0, 4)


def test_a_draw_depends_on_nothing_beside_it():
    rng = np.random.default_rng(1)
    tries, probability, uniform = rng.integers(0, 500, (7, 30)), rng.random((7, 30)), rng.random((7, 30))
    together = binomial(tries, probability, uniform)
    alone = [binomial(tries[i : i + 1], probability[i : i + 1], uniform[i : i + 1])[0] for i in range(7)]
    assert np.array_equal(together, alone)
