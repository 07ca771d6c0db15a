"""Measures of calibration against hand-made tables and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.calibration import (
    brier,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
    temperature,
)
from scipy.special import expit

some = arrays.arrays(float, 30, elements=st.floats(0, 1))


def answers(odds, seed=0):
    """Labels drawn with these log odds."""
    return (np.random.default_rng(seed).random(len(odds)) < expit(odds)).astype(float)


def test_a_table_made_by_hand():
    probability, label = np.array([0.1, 0.1, 0.6, 1.0]), np.array([0.0, 1.0, 0.5, 1.0])
    table = reliability(probability, label, bins=2)
    assert table.count.tolist() == [2, 2]
    np.testing.assert_allclose(table.said, [0.1, 0.8])
    np.testing.assert_allclose(table.happened, [0.5, 0.75])
    assert expected_calibration_error(probability, label, bins=2) == pytest.approx((0.4 + 0.05) / 2)
    assert brier(probability, label) == pytest.approx((0.01 + 0.81 + 0.01) / 4)
    own = -(np.log(0.9) + np.log(0.1) + (np.log(0.6) + np.log(0.4)) / 2) / 4
    assert negative_log_likelihood(probability, label) == pytest.approx(own)


def test_empty_bins_are_no_zeros():
    table = reliability(np.array([0.5]), np.array([1.0]))
    assert np.isnan(table.said).sum() == 14
    assert table.count.sum() == 1
    assert len(table.edges) == 16


@given(some, some)
def test_measures_stay_where_they_belong(probability, label):
    assert 0 <= expected_calibration_error(probability, label) <= 1
    assert 0 <= brier(probability, label) <= 1
    assert negative_log_likelihood(probability, label) >= negative_log_likelihood(label, label) - 1e-9  # Gibbs
    table = reliability(probability, label)
    filled = table.count > 0
    assert (table.edges[:-1][filled] - 1e-9 <= table.said[filled]).all()
    assert (table.said[filled] <= table.edges[1:][filled] + 1e-9).all()


def test_what_is_right_has_no_error_but_chance_and_what_is_overconfident_has():
    odds = np.random.default_rng(1).normal(0, 2, 20_000)
    label = answers(odds)
    assert expected_calibration_error(expit(odds), label) < 0.02
    assert expected_calibration_error(expit(3 * odds), label) > 0.08
    assert negative_log_likelihood(np.full(20_000, 0.5), label) == pytest.approx(np.log(2))
    assert negative_log_likelihood(np.array([0.0]), np.array([1.0])) == np.inf


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_temperature_undoes_a_wrong_scale(factor, noise):
    odds = np.random.default_rng(1).normal(0, 2, 20_000)
    label = (np.random.default_rng(0).random(20_000) < noise / 2 + (1 - noise) * expit(odds)).astype(float)
    assert temperature(factor * odds, label, noise) == pytest.approx(factor, rel=0.06)


def test_it_is_the_most_likely_one_of_the_members_average():
    rng = np.random.default_rng(3)
    odds = rng.normal(0, 2, 500)
    members = 4 * odds + rng.normal(0, 3, (3, 500))
    found, label = temperature(members, answers(odds)), answers(odds)
    best = negative_log_likelihood(expit(members / found).mean(0), label)
    for other in (0.7, 0.95, 1.05, 1.4):
        assert negative_log_likelihood(expit(members / (found * other)).mean(0), label) > best


def test_what_leaves_no_doubt_or_knows_nothing_ends_at_a_bound():
    odds = np.array([-900.0, 900.0])
    assert temperature(odds, np.array([0.0, 1.0])) < 1
    assert temperature(odds, np.array([1.0, 0.0])) > 1000


@pytest.mark.parametrize(
    ("probability", "label"), [([], []), ([0.5], [0.5, 0.5]), ([1.2], [1.0]), ([np.nan], [1.0]), ([0.5], [2.0])]
)
def test_what_is_no_probability_is_refused(probability, label):
    for measure in (brier, expected_calibration_error, negative_log_likelihood, reliability):
        with pytest.raises(ProxygapError, match=r"needed|between 0 and 1"):
            measure(np.array(probability), np.array(label))
    with pytest.raises(ProxygapError, match=r"needed|between 0 and 1"):
        temperature(np.zeros(len(probability)), np.array([*label, 3.0]))


@pytest.mark.parametrize("difference", [[0.0, 0.0], [np.inf, 0.0], [[1.0, 2.0], [np.nan, 1.0]]])
def test_a_model_that_says_nothing_has_no_temperature(difference):
    with pytest.raises(ProxygapError, match="finite ones are needed, not all of them 0"):
        temperature(np.array(difference), np.array([1.0, 0.0]))
    with pytest.raises(ProxygapError, match=r"noise 1\.5"):
        temperature(np.array([1.0, -1.0]), np.array([1.0, 0.0]), noise=1.5)


def test_a_constant_probability_is_measured_and_no_bins_are_refused():
    half, label = np.full(4, 0.5), np.array([1.0, 0.0, 1.0, 1.0])
    assert expected_calibration_error(half, label) == pytest.approx(0.25)
    with pytest.raises(ProxygapError, match="0 bins: at least 1"):
        reliability(half, label, bins=0)
