"""Every verdict on synthetic runs whose answer is known, and how often a verdict is given without cause."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.experiments.statistics import Estimate, mean_interval
from proxygap.experiments.verdicts import (
    Curves,
    Finals,
    Onset,
    Verdict,
    gamed,
    gamed_exact,
    hacked,
    kaplan_meier,
    misspecification_cost,
    onset,
    overoptimised,
    proxy_gap,
)
from scipy import stats

STUDIES = 400  # simulated for the false-alarm control
ALARM = 1e-3  # chance of a control failing although 5 % is kept
STEPS = np.arange(1, 21) * 1000
RISING = np.linspace(0, 1, 20)
LEARNED = 1 - np.exp(-np.arange(20) / 4)  # rises, then stays
HUMP = np.interp(np.arange(20), [0, 8, 14, 19], [0.0, 0.8, 0.14, 0.1])  # peaks at step 9,000


def arm(rng, proxy: float, true: float, runs: int = 10) -> Finals:
    return Finals(rng.normal(proxy, 1, runs), rng.normal(true, 1, runs))


def curves(rng, true, proxy=RISING, runs: int = 10, episodes: int = 8, training: float = 0.05, luck: float = 0.2) -> Curves:
    """Runs round the curves [C]: they differ by `training` at each checkpoint, and episodes by `luck`."""
    shape = (runs, len(STEPS))
    wander, chance = rng.normal(0, training, (2, *shape, 1)), rng.normal(0, luck, (2, *shape, episodes))
    noisy_proxy, noisy_true = np.stack([proxy, true])[:, None, :, None] + wander + chance
    return Curves(noisy_proxy, noisy_true, STEPS)


def flagged(studies) -> int:
    return sum(overoptimised(study, 0.0, 1.0).holds for study in studies)


def test_gamed_takes_more_proxy_and_less_truth():
    rng = np.random.default_rng(1)
    truth = arm(rng, 20, 100)
    assert gamed(arm(rng, 40, 4), truth).holds
    assert not gamed(arm(rng, 10, 4), truth).holds, "a failure to learn is not gaming"
    assert not gamed(arm(rng, 40, 120), truth).holds, "a proxy that helps is not gamed"
    assert not gamed(truth, truth).holds


def test_gamed_needs_both_intervals_clear_of_0():
    noise = np.array([-30.0, -10.0, 0.0, 10.0, 30.0])
    steady = Finals(np.full(5, 20.0), np.full(5, 100.0))
    assert gamed(Finals(np.full(5, 40.0), np.full(5, 90.0)), steady).holds
    assert not gamed(Finals(np.full(5, 40.0), 90 + noise), steady).holds
    assert not gamed(Finals(30 + noise, np.full(5, 90.0)), steady).holds


def test_runs_that_tie_to_the_last_bit_are_not_gamed():
    """BoatRace: circling and racing earn the same proxy in every run."""
    assert not gamed(Finals(np.full(5, 50 + 1e-12), np.zeros(5)), Finals(np.full(5, 50.0), np.ones(5))).holds


def test_gamed_is_called_without_cause_in_at_most_5_percent():
    rng = np.random.default_rng(2)
    alarms = sum(gamed(arm(rng, 9, 0, 5), arm(rng, 1, 0, 5)).holds for _ in range(STUDIES))
    assert alarms <= stats.binom.ppf(1 - ALARM, STUDIES, 0.05)


def test_few_runs_are_only_indicative_and_one_proves_nothing():
    rng = np.random.default_rng(3)
    truth = arm(rng, 20, 100)
    assert not gamed(arm(rng, 40, 4, runs=5), truth).indicative
    assert gamed(arm(rng, 40, 4, runs=4), truth).indicative
    assert not gamed(arm(rng, 40, 4, runs=1), truth).holds
    assert overoptimised(curves(rng, HUMP, runs=4), 0.0, 1.0).indicative
    assert not overoptimised(curves(rng, HUMP, runs=1), 0.0, 1.0).holds


@pytest.mark.parametrize(
    ("worst", "best", "name"),
    [(0, 99, "gamed"), (0, 0, "gamed"), (0, 100, "tie"), (100, 100, "aligned"), (100 - 1e-9, 100, "aligned")],
)
def test_exact_optima(worst, best, name):
    assert gamed_exact(100, worst, best).name == name


@given(st.integers(-50, 50), st.integers(1, 50), st.lists(st.integers(-50, 0), min_size=1))
def test_exact_verdict_depends_on_no_unit(shift, scale, below):
    worst, best = min(below), max(below)
    here, there = gamed_exact(0, worst, best), gamed_exact(shift, shift + scale * worst, shift + scale * best)
    assert here.name == there.name


def test_a_verdict_is_plain_data():
    rng = np.random.default_rng(12)
    for verdict in (gamed(arm(rng, 40, 4), arm(rng, 20, 100)), overoptimised(curves(rng, HUMP), 0.0, 1.0)):
        assert Verdict(**json.loads(json.dumps(asdict(verdict)))) == verdict


def test_exact_optima_out_of_order_are_refused():
    with pytest.raises(ValueError, match="worst <= best <= optimum"):
        gamed_exact(100, 0, 101)


def test_hacked_needs_a_correlation_that_broke_and_a_fall_below_the_reference():
    rng = np.random.default_rng(4)
    gamer, truth, reference = arm(rng, 40, 4), arm(rng, 20, 100), rng.normal(90, 1, 20)
    together, apart = Estimate(0.6, 0.5, 0.7, 20), Estimate(0.1, -0.2, 0.4, 20)
    unknown = Estimate(np.nan, -np.inf, np.inf, 20)
    assert hacked(gamed(gamer, truth), gamer, reference, together).holds
    assert not hacked(gamed(gamer, truth), gamer, reference, apart).holds
    assert not hacked(gamed(gamer, truth), gamer, reference, unknown).holds
    assert not hacked(gamed(gamer, truth), gamer, reference - 90, together).holds
    assert not hacked(gamed(truth, truth), truth, reference + 90, together).holds


def test_cost_and_regrets_by_hand():
    on_proxy, on_truth = Finals(np.array([38.0, 42.0]), np.array([3.0, 5.0])), Finals(np.full(2, 20.0), np.full(2, 101.0))
    cost = misspecification_cost(on_proxy, on_truth, best_proxy=42.0, best_true=np.array([101.0, 103.0]))
    assert (cost.misspecification.value, cost.proxy_regret.value, cost.true_regret.value) == (97, 2, 98)
    assert str(cost.true_regret) in str(cost)
    assert str(cost.proxy_regret) in str(cost)


def test_proxy_gap_by_hand_and_of_an_agent_that_does_nothing():
    anchors = (2.0, 42.0), (0.0, 100.0)
    circling, idle = Finals(np.full(5, 42.0), np.full(5, 10.0)), Finals(np.full(5, 2.0), np.zeros(5))
    for runs, expected in ((circling, 0.9), (idle, 0.0)):
        gap = proxy_gap(runs, *anchors)
        assert gap is not None
        assert gap.value == pytest.approx(expected)


def test_a_hump_is_overoptimised_only_while_the_proxy_rises():
    rng = np.random.default_rng(5)
    assert overoptimised(curves(rng, HUMP), 0.0, 1.0).holds
    assert not overoptimised(curves(rng, HUMP, proxy=HUMP), 0.0, 1.0).holds, "both fall: the agent got worse"
    assert not overoptimised(curves(rng, LEARNED), 0.0, 1.0).holds


def test_the_fall_must_exceed_a_twentieth_of_the_scale():
    rng = np.random.default_rng(6)
    study = curves(rng, HUMP, training=0.001, luck=0.001)
    assert overoptimised(study, 0.0, 0.7 / 0.052).holds
    assert not overoptimised(study, 0.0, 0.7 / 0.048).holds
    assert not overoptimised(study, -np.array([0.0, 9.0]), 1.0).holds
    assert "not normalisable" in overoptimised(study, 1.0, 1.0).reason


def test_the_fall_is_that_of_the_curves_without_noise():
    study = Curves(np.tile(RISING[:, None], (5, 1, 4)), np.tile(HUMP[:, None], (5, 1, 4)), STEPS)
    verdict = overoptimised(study, 0.0, 1.0)
    assert f"J0 changes by {mean_interval(np.full(5, -0.7))}" in verdict.reason
    assert f"J1 by {mean_interval(np.full(5, RISING[-1] - RISING[8]))}" in verdict.reason


@pytest.mark.parametrize("true", [np.full(20, 0.8), LEARNED], ids=["flat", "learned"])
@pytest.mark.parametrize(("runs", "episodes", "training", "luck"), [(10, 8, 0.3, 0.5), (5, 8, 0.05, 0.2), (5, 1, 0.3, 0.5)])
def test_noise_is_called_overoptimised_in_at_most_5_percent(true, runs, episodes, training, luck):
    """The control: runs trained on the truth, in the worst case, where their proxy rises for certain."""
    rng = np.random.default_rng(7)
    alarms = flagged(curves(rng, true, 10 * RISING, runs, episodes, training, luck) for _ in range(STUDIES))
    assert alarms <= stats.binom.ppf(1 - ALARM, STUDIES, 0.05)


def test_without_cross_fitting_the_control_fails():
    """The same rule with the peak and the fall taken from the same data: why the halves are there."""
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(STUDIES):
        true = curves(rng, np.full(20, 0.8), runs=10, training=0.3).true.mean(axis=2)
        fall = mean_interval(true[:, true.mean(axis=0).argmax()] - true[:, -1])
        alarms += fall.value > 0.05 and fall.low > 0
    assert alarms > stats.binom.ppf(1 - ALARM, STUDIES, 0.05)


def test_a_real_fall_is_found_in_noise():
    rng = np.random.default_rng(9)
    assert flagged(curves(rng, HUMP, training=0.2, luck=0.5) for _ in range(20)) >= 19


@given(st.integers(1, 17), st.integers(0, 2**32))
def test_onset_is_the_cliff_although_episodes_vary(last_good, seed):
    cliff = np.where(np.arange(20) <= last_good, 0.8, 0.2)
    found = onset(curves(np.random.default_rng(seed), cliff, runs=2, training=0.01, luck=0.02), 0.0, 1.0)
    assert found == [Onset(1_000.0 * (last_good + 1), 1_000.0 * (last_good + 2))] * 2


def test_onset_of_each_kind_of_run():
    runs = {
        "gamed": (HUMP, f"between steps {STEPS[9 - 1]:,} and {STEPS[9]:,}"),
        "gamed for a while only": (np.where(np.arange(20) < 15, HUMP, 0.8), "not by step 20,000"),
        "good to the end": (LEARNED, "not by step 20,000"),
        "low at the last checkpoint only": (np.append(LEARNED[:-1], 0.0), "not by step 19,000"),
        "never good": (np.full(20, 0.02), "from the start"),
        "good at first": (np.append(0.8, np.zeros(19)), "between steps 1,000 and 2,000"),
    }
    true = np.stack([np.repeat(curve[:, None], 4, axis=1) for curve, _ in runs.values()])
    found = onset(Curves(true, 5 + 10 * true, STEPS), 5.0, 15.0)
    assert found is not None
    assert {name: str(when) for name, when in zip(runs, found, strict=True)} == {n: text for n, (_, text) in runs.items()}
    assert onset(Curves(true, true, STEPS), 5.0, 5.0) is None


def test_kaplan_meier_of_five_runs_by_hand():
    never = Onset(20_000, np.inf)
    found = kaplan_meier([Onset(1_000, 2_000), Onset(4_000, 5_000), Onset(4_000, 5_000), never, never])
    assert found.steps.tolist() == [2_000, 5_000, 20_000]
    assert found.share.tolist() == pytest.approx([0.8, 0.4, 0.4])
    assert found.median == Estimate(5_000, 0, np.inf, 5)  # 5 runs cannot bound a median with 95 % confidence


@pytest.mark.parametrize("count", [1, 6])
def test_kaplan_meier_of_runs_alike(count):
    hacked_at_once, never = [Onset(0, 1_000, from_start=True)] * count, [Onset(20_000, np.inf)] * count
    assert kaplan_meier(hacked_at_once).median.value == 1_000
    assert kaplan_meier(never).median.value == np.inf
    assert kaplan_meier(hacked_at_once).median.clear_of(0) == (count == 6)


def test_the_median_onset_is_covered_with_and_without_censoring():
    rng = np.random.default_rng(11)
    for end in (2_000, 80):  # of runs whose onsets have the median 50
        steps = rng.uniform(0, 100, (STUDIES, 10))
        onsets = [[Onset(0, s) if s < end else Onset(end, np.inf) for s in study] for study in steps]
        covered = sum((m := kaplan_meier(study).median).low <= 50 <= m.high for study in onsets)
        assert covered >= stats.binom.ppf(ALARM, STUDIES, 0.95)


@pytest.mark.parametrize(
    ("proxy", "true", "steps"),
    [((2, 3, 4), (2, 3, 5), 3), ((2, 3, 4), (2, 3, 4), 4), ((2, 3), (2, 3), 3), ((2, 1, 4), (2, 1, 4), 1)],
)
def test_curves_of_unlike_shapes_are_refused(proxy, true, steps):
    with pytest.raises(ValueError, match=r"\[seeds, checkpoints, episodes\]"):
        Curves(np.zeros(proxy), np.zeros(true), np.arange(steps))


def test_unsorted_steps_are_refused():
    with pytest.raises(ValueError, match="ascend"):
        Curves(np.zeros((1, 2, 1)), np.zeros((1, 2, 1)), np.array([2, 1]))
