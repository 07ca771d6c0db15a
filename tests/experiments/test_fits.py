"""The fits give back curves that they were made from, and say where those peak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.core import ProxygapError
from proxygap.experiments.fits import BENDS, Fit, fitted, peak_interval
from proxygap.experiments.statistics import Estimate

D = np.linspace(0.0, 2.5, 12)


@given(st.sampled_from(list(BENDS)), st.floats(-5, 5), st.floats(-3, 3))
def test_a_curve_is_given_back(form, a, b):
    gold = np.append(0.0, Fit(form, a, b, 1.0)(D[1:]))
    found = fitted(form, D, gold)
    assert [found.a, found.b] == pytest.approx([a, b], abs=1e-5)
    assert found(D[1:]) == pytest.approx(gold[1:], abs=1e-5)


@pytest.mark.parametrize("form", BENDS)
def test_the_peak_is_where_the_curve_turns(form):
    fit = Fit(form, 1.5, 0.9, 1.0)
    around = fit.peak + np.array([-1e-3, 0.0, 1e-3])
    assert fit(around).argmax() == 1
    assert Fit(form, 1.5, -0.1, 1.0).peak == np.inf


def test_noise_leaves_its_share_unexplained():
    rng = np.random.default_rng(0)
    d = np.linspace(0.1, 2.5, 400)
    curve = d * (2.0 - 0.4 * d)
    found = fitted("best_of", d, curve + curve.std() * rng.standard_normal(400))
    assert found.r_squared == pytest.approx(0.5, abs=0.1)


def test_two_points_are_refused():
    with pytest.raises(ProxygapError, match="at least 3 are needed"):
        fitted("best_of", np.array([0.0, 1.0, 2.0]), np.zeros(3))


@pytest.mark.parametrize(("form", "peak"), [("best_of", 1.0), ("learning", np.e)])
def test_the_peaks_interval_covers_the_true_peak_as_often_as_it_says(form, peak):
    covered, spread = 0, [[0.16, 0.03], [0.03, 0.04]]
    for runs in np.random.default_rng(0).multivariate_normal([2.0, 1.0], spread, (1000, 5)):
        fits = [Fit(form, a, b, 1.0) for a, b in runs]
        found = peak_interval(fits)
        assert found.low <= found.value <= found.high
        covered += found.low <= peak <= found.high
    assert 0.93 < covered / 1000 < 0.97


def test_a_peak_that_may_be_nowhere_is_unbounded():
    flat = peak_interval([Fit("best_of", 1.0, b, 1.0) for b in (-0.2, 0.3, 0.1)])
    assert (flat.low, flat.high) == (0.0, np.inf)
    assert peak_interval([Fit("best_of", 1.0, b, 1.0) for b in (-0.2, -0.3)]).value == np.inf
    assert peak_interval([Fit("best_of", 2.0, 1.0, 1.0)]) == Estimate(1.0, 0.0, np.inf, 1)
