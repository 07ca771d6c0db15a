"""Intervals: closed forms, exact cases, and how often they cover the truth."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from proxygap.experiments.statistics import (
    Estimate,
    correlation_interval,
    difference,
    mean_interval,
    normalisable,
    normalised,
    normalised_change,
    normalised_gap,
    proportion_interval,
)
from scipy import stats

STUDIES = 600  # simulated, each with its own data
ALARM = 1e-3  # chance of a simulation test failing while the interval covers just what it claims

samples = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12).map(np.array)


def covers_at_least(share: float, covered: list[bool]) -> bool:
    """Whether so many covered intervals are plausible if each covers with at least this chance."""
    return sum(covered) >= float(stats.binom.ppf(ALARM, len(covered), share))


def test_student_interval_of_three_runs_by_hand():
    estimate = mean_interval(np.array([1.0, 2.0, 3.0]))
    half = 4.302652729911275 / 3**0.5  # t(0.975; 2) times a standard error of 1 / sqrt(3)
    assert (estimate.value, estimate.n) == (2.0, 3)
    assert (estimate.low, estimate.high) == pytest.approx((2 - half, 2 + half))


@given(samples, samples)
def test_differences_equal_scipys(first, second):
    assume(min(np.ptp(first), np.ptp(second)) > 1e-2)  # scipy knows no interval of a constant sample
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    found = difference(first, second)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)


def test_paired_differences_equal_scipys():
    before, after = np.random.default_rng(6).normal([0, 1], [5, 5], (8, 2)).T
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    found = difference(after, before, paired=True)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_run_has_no_interval_and_a_constant_sample_one_of_no_width():
    assert mean_interval(np.array([3.0])) == Estimate(3.0, -np.inf, np.inf, 1)
    constant = mean_interval(np.full(4, 0.1))
    assert (constant.low, constant.high) == (constant.value, constant.value) == pytest.approx((0.1, 0.1))
    assert not difference(np.array([9.0]), np.array([0.0, 0.1, 0.0])).clear_of(0)


def test_constants_differ_by_more_than_rounding_or_not_at_all():
    assert not difference(np.full(5, 0.1 * 3), np.full(5, 0.3)).clear_of(0)
    assert not difference(np.full(5, 0.1 * 3), np.full(5, 0.3), paired=True).clear_of(0)
    assert difference(np.full(5, 50.0), np.full(5, 49.0)).clear_of(0)
    assert difference(50.0, np.full(5, 49.0)).low == pytest.approx(1, abs=1e-3)


@given(samples, st.floats(-1e3, 1e3))
def test_a_difference_from_an_exact_number_is_a_shifted_mean(sample, exact):
    found, mean = difference(sample, exact), mean_interval(sample)
    assert (found.low, found.high) == pytest.approx((mean.low - exact, mean.high - exact), abs=2e-3)


def test_welch_covers_the_true_difference_of_unequal_samples():
    rng = np.random.default_rng(1)
    pairs = [(rng.normal(3, 5, 5), rng.normal(1, 1, 10)) for _ in range(STUDIES)]
    covered = [(e := difference(first, second)).low < 2 < e.high for first, second in pairs]
    assert covers_at_least(0.94, covered)  # Welch's approximation costs up to a point
    assert not covers_at_least(0.99, covered)


def test_wilson_interval_by_hand():
    z2 = stats.norm.ppf(0.975) ** 2
    half = (z2 * (0.8 * 0.2 / 10 + z2 / 400)) ** 0.5
    estimate = proportion_interval(8, 10)
    assert estimate.value == 0.8
    assert (estimate.low, estimate.high) == pytest.approx(tuple((0.8 + z2 / 20 + s * half) / (1 + z2 / 10) for s in (-1, 1)))


@given(samples, st.floats(-100, 100), st.floats(1, 100))
def test_normalising_with_exact_anchors_is_a_change_of_units(returns, random, scale):
    found, raw = normalised(returns, random, random + scale), mean_interval(returns)
    expected = ((raw.low - random) / scale, (raw.high - random) / scale)
    assert found is not None
    assert found.value == pytest.approx((raw.value - random) / scale, abs=1e-6)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6 + 0.01 * (expected[1] - expected[0]))


def test_random_is_0_and_the_best_known_is_1():
    rng = np.random.default_rng(2)
    random, best = rng.normal(5, 1, 10), rng.normal(20, 1, 10)
    zero, one = normalised(random, random, best), normalised(best, random, best)
    assert zero is not None
    assert one is not None
    assert (zero.value, one.value) == pytest.approx((0, 1))


def test_uncertain_anchors_widen_the_interval():
    returns, random, best = np.array([4.0, 5.0, 6.0]), np.array([-2.0, 0.0, 2.0]), np.array([8.0, 10.0, 12.0])
    sure, unsure = normalised(returns, 0.0, 10.0), normalised(returns, random, best)
    assert sure is not None
    assert unsure is not None
    assert unsure.high - unsure.low > 1.1 * (sure.high - sure.low)


@pytest.mark.parametrize(
    ("random", "best"),
    [(1.0, 1.0), (2.0, 1.0), (np.array([0.0, 10.0]), np.array([9.0, 11.0])), (0.0, np.array([1.0]))],
)
def test_anchors_that_may_be_equal_are_not_normalisable(random, best):
    returns = np.array([1.0, 2.0])
    assert not normalisable(random, best)
    assert normalised(returns, random, best) is None
    assert normalised_change(returns, random, best) is None
    assert normalised_gap(returns, (random, best), returns, (0.0, 1.0)) is None


@pytest.mark.parametrize(("runs", "evaluations"), [(3, 20), (5, 5), (20, 5)])
def test_normalised_returns_cover_the_truth(runs, evaluations):
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(STUDIES // 2):
        random, best = rng.normal(0, 1, evaluations), rng.normal(10, 1, evaluations)
        estimate = normalised(rng.normal(4, 1, runs), random, best)
        assert estimate is not None
        covered.append(estimate.low < 0.4 < estimate.high)
    assert covers_at_least(0.95, covered)


def test_the_gap_pairs_the_two_returns_of_a_run():
    """Runs that differ alike in both returns have a sure gap, however much they differ."""
    luck = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    gap = normalised_gap(8 + luck, (0.0, 10.0), 40 + 10 * luck, (0.0, 100.0))
    assert gap is not None
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.4, 0.4, 0.4))


def episodes_with_correlation(rng, rho: float, episodes: int):
    """Rewards [N] of `episodes` episodes of 20 steps, half of whose variance is shared by the steps of an episode."""
    common, own = rng.normal(size=(2, episodes, 1)), rng.normal(size=(2, episodes, 20))
    first, other = common + own
    return first.ravel(), (rho * first + (1 - rho**2) ** 0.5 * other).ravel(), np.repeat(np.arange(episodes), 20)


def test_correlation_is_pearsons_and_covers_the_truth_although_steps_are_alike():
    rng = np.random.default_rng(4)
    draws = [episodes_with_correlation(rng, 0.3, 10) for _ in range(STUDIES)]
    found = [correlation_interval(*draw) for draw in draws]
    assert found[0].value == pytest.approx(np.corrcoef(*draws[0][:2])[0, 1])
    assert covers_at_least(0.94, [e.low < 0.3 < e.high for e in found])
    by_step = [stats.pearsonr(*draw[:2]).confidence_interval() for draw in draws]
    assert not covers_at_least(0.94, [e.low < 0.3 < e.high for e in by_step])


def test_correlation_in_the_extremes():
    rng = np.random.default_rng(5)
    reward, episode = rng.normal(size=60), np.repeat(np.arange(6), 10)
    assert correlation_interval(reward, 2 * reward + 5, episode).low == pytest.approx(1)
    assert correlation_interval(reward, -reward, episode).high == pytest.approx(-1)
    assert np.isnan(correlation_interval(reward, np.full(60, 0.1), episode).value)
    assert not correlation_interval(reward, reward, np.zeros(60, int)).clear_of(0)
    same = np.tile(reward[:10], 6)  # a deterministic reference: every episode is the same
    exact = correlation_interval(same, np.tile(reward[10:20], 6), episode)
    assert exact.low == pytest.approx(exact.high)


def test_an_estimate_prints_its_interval():
    assert str(Estimate(0.12345, -1, 2.5, 5)) == "0.123 [-1, 2.5]"
    assert str(Estimate(123456.0, 120000.0, np.inf, 9)) == "123,456 [120,000, inf]"
    assert str(mean_interval(np.array([7.0]))) == "7 (no interval)"


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.array([]), np.array([1.0, np.nan])])
def test_a_sample_is_one_finite_number_per_run(values):
    with pytest.raises(ValueError, match="one finite number per run"):
        mean_interval(values)


def test_a_pair_needs_two():
    with pytest.raises(ValueError, match="same seeds"):
        difference(np.zeros(3), np.zeros(2), paired=True)
