"""Survival statistics of searches: means, rates and ratios against closed forms, and how often their intervals cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.core import ProxygapError
from proxygap.experiments.survival import Trials, curve, find_rate, log_ratio, rate_ratio, restricted_mean
from scipy import stats

CAP = 100  # queries a trial may spend
STUDIES = 300
FEWEST = stats.binom.ppf(1e-3, STUDIES, 0.93)  # a chance of 1 in 1,000 of fewer, if an interval covers 93 % of cases


def searched(rng, chance, number=30, cap=None):
    """Trials that find something with this chance in a query, and end at `cap` (one, or one each)."""
    needed, cap = rng.geometric(chance, number), CAP if cap is None else cap
    return Trials(np.minimum(needed, cap), needed <= cap)


def spent(chance, cap=CAP):
    """What a trial of at most `cap` queries spends on average: the sum of (1 - p)^q for q < cap."""
    return (1 - (1 - chance) ** cap) / chance


def area(trials, most):
    """The same from scipy's curve, step by step."""
    found = curve(trials)
    before = np.append(1.0, found.share)
    ends = np.append(np.minimum(found.queries, most), most)
    return float((before * np.diff(ends, prepend=0.0)).sum())


@given(data=st.data(), number=st.integers(1, 12), most=st.floats(0.5, 20))
def test_the_restricted_mean_is_the_area_under_the_curve(data, number, most):
    queries = np.array(data.draw(st.lists(st.integers(1, 15), min_size=number, max_size=number)))
    found = np.array(data.draw(st.lists(st.booleans(), min_size=number, max_size=number)))
    most = min(most, queries.max())
    trials = Trials(queries, found)
    assert restricted_mean(trials, most) == pytest.approx(area(trials, most))


def test_trials_with_one_budget_spend_what_they_spend():
    trials = searched(np.random.default_rng(0), 0.02)
    assert restricted_mean(trials, CAP) == pytest.approx(trials.queries.mean())
    assert restricted_mean(trials, 10) == pytest.approx(np.minimum(trials.queries, 10).mean())


def test_trials_broken_off_early_do_not_count_as_finds_or_as_whole():
    """Ends at random, independent of the finds: the mean is that of trials that went on, to within its error."""
    rng, chance = np.random.default_rng(1), 0.05
    found = [restricted_mean(searched(rng, chance, 300, rng.integers(5, CAP, 300)), 40) for _ in range(60)]
    assert np.mean(found) == pytest.approx(spent(chance, 40), abs=4 * np.std(found) / 60**0.5)


def test_a_curve_by_hand():
    """Six trials: one finds at 1, one at 2 (where another ends), one at 3."""
    found = curve(Trials(np.array([1, 2, 2, 3, 10, 10]), np.array([1, 1, 0, 1, 0, 0], bool)))
    np.testing.assert_allclose(found.queries, [1, 2, 3, 10])
    np.testing.assert_allclose(found.share, [5 / 6, 4 / 6, 4 / 6 * 2 / 3, 4 / 6 * 2 / 3])
    assert ((found.low <= found.share) & (found.share <= found.high)).all()
    assert found.median == 3


def test_a_median_that_does_not_exist_is_none():
    assert curve(Trials(np.full(8, CAP), np.zeros(8, bool))).median is None
    assert curve(Trials(np.array([1, 9, 9]), np.array([True, False, False]))).median is None
    assert curve(Trials(np.array([4, 6]), np.ones(2, bool))).median == 4


def test_the_curve_is_covered():
    rng, covered = np.random.default_rng(2), 0
    for _ in range(STUDIES):
        found = curve(searched(rng, 0.03, 40))
        at = np.searchsorted(found.queries, 20, side="right") - 1
        covered += found.low[at] <= 0.97**20 <= found.high[at]
    assert covered >= FEWEST


@pytest.mark.parametrize("chance", [0.05, 0.002, 2e-5])
def test_find_rates_are_covered(chance):
    """Where something is found the sum of geometric waits is nearly a Poisson process; where nothing is, the bound holds."""
    rng, covered = np.random.default_rng(3), 0
    for _ in range(STUDIES):
        found = find_rate(searched(rng, chance))
        covered += found.low <= chance <= found.high
    assert covered >= FEWEST


def test_without_a_find_the_rate_has_a_bound():
    found = find_rate(Trials(np.full(30, 100), np.zeros(30, bool)))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(-np.log(0.05) / 3000)


@pytest.mark.parametrize(("first", "second"), [(0.05, 0.05), (0.03, 0.01), (0.02, 1e-4)])
def test_rate_ratios_are_covered(first, second):
    rng, covered = np.random.default_rng(4), 0
    for _ in range(STUDIES):
        found = rate_ratio(searched(rng, first), searched(rng, second, 40))
        covered += found.low <= first / second <= found.high
    assert covered >= FEWEST


def test_a_ratio_with_nothing_found_on_one_side_is_a_bound():
    """Ten finds in 1,000 queries, none in 3,000: if the ratio were r, they would all be of the first with (r / (r + 3))^10."""
    some, none = Trials(np.full(10, 100), np.ones(10, bool)), Trials(np.full(30, 100), np.zeros(30, bool))
    low = rate_ratio(some, none)
    assert (low.value, low.high) == (np.inf, np.inf)
    assert (low.low / (low.low + 3)) ** 10 == pytest.approx(0.05)
    high = rate_ratio(none, some)
    assert (high.value, high.low) == (0.0, 0.0)
    assert high.high == pytest.approx(1 / low.low)
    nothing = rate_ratio(none, none)
    assert np.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, np.inf)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_log_ratios_are_covered_whether_seeds_differ_or_trials(spread):
    """Hardening multiplies the queries needed by about 4, up to chance of `spread` (of its log2) that differs by seed."""
    rng, covered, lucks = np.random.default_rng(5), 0, np.random.default_rng(6).normal(0, spread, 20_000)
    expected = np.mean(np.log2(spent(0.1 / 2 ** (2 + lucks)) / spent(0.1)))
    for _ in range(STUDIES // 3):
        before = [searched(rng, 0.1) for _ in range(5)]
        after = [searched(rng, 0.1 / 2 ** (2 + luck)) for luck in rng.normal(0, spread, 5)]
        found = log_ratio(before, after, CAP)
        covered += found.low <= expected <= found.high
    assert covered >= stats.binom.ppf(1e-3, STUDIES // 3, 0.92)


def test_where_only_seeds_differ_the_interval_is_students_but_for_the_bootstraps_bias():
    """Ratios of 2, 4, 4, 8 and 16: a bootstrap of S numbers has (S - 1) / S of their variance."""
    before, after = ([Trials(np.full(6, q), np.full(6, True)) for q in spent] for spent in ([5] * 5, [10, 20, 20, 40, 80]))
    found, logs = log_ratio(before, after, CAP), np.array([1, 2, 2, 3, 4])
    half = stats.t.ppf(0.975, 4) * logs.std(ddof=1) / 5**0.5 * 0.8**0.5
    assert found.value == pytest.approx(logs.mean())
    assert (found.high - found.value, found.value - found.low) == pytest.approx((half, half), rel=0.1)


def test_a_log_ratio_without_a_find_is_a_lower_bound():
    before, after = ([Trials(np.full(10, q), np.full(10, q < CAP)) for _ in range(5)] for q in (25, CAP))
    found = log_ratio(before, after, CAP)
    assert (found.value, found.low, found.high, found.n) == (2.0, 2.0, np.inf, 5)
    assert log_ratio(after, before, CAP).high == -2.0


def test_the_same_trials_have_the_same_interval():
    rng = np.random.default_rng(7)
    before, after = ([searched(rng, p) for _ in range(5)] for p in (0.1, 0.05))
    assert log_ratio(before, after, CAP) == log_ratio(before, after, CAP)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Trials(np.array([0]), np.array([True])), "give one number from 1 and one find a trial"),
        (lambda: Trials(np.ones(3), np.ones(2, bool)), r"queries \(3,\) and finds \(2,\)"),
        (lambda: Trials(np.zeros(0), np.zeros(0, bool)), "give one number from 1"),
        (lambda: restricted_mean(Trials(np.array([5]), np.array([False])), 6), "restricted to 6 queries .* followed for 5"),
        (lambda: log_ratio([searched(np.random.default_rng(), 0.1)], [], CAP), "1 seeds before and 0 after"),
    ],
)
def test_what_can_not_be_is_refused(call, message):
    with pytest.raises(ProxygapError, match=message):
        call()
