"""Curves of gold from stored returns: what they say where the answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.experiments.gold_curves import LOST, Curve, Variant, best_of_curves, learning_curve, sizes
from proxygap.experiments.overoptimization import Overoptimization
from scipy.stats import binomtest

from .hand_made import RISES_AND_FALLS, SINGLE, curve_of, seed_of


def test_a_variant_says_what_it_is():
    assert str(Variant(50, 32)) == "50 comparisons, width 32"
    assert str(Variant(200, 128, 5, "worst")) == "200 comparisons, width 128, 5 members (worst)"


@given(st.integers(32, 10**6))
def test_sizes_are_the_powers_of_two_up_to_a_quarter_of_the_episodes(episodes):
    found = sizes(episodes)
    assert found.tolist() == [2**power for power in range(len(found))]
    assert found[-1] <= episodes / 4 < 2 * found[-1]


def test_the_sizes_of_the_default_and_of_the_fewest_episodes():
    assert sizes(Overoptimization("boat_race").episodes).tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert sizes(32).tolist() == [1, 2, 4, 8]  # three points away from the start, as a fit needs


def test_the_curve_of_a_return_that_is_gold_is_the_mean_of_the_largest():
    gold = np.random.default_rng(0).permutation(64).astype(float)
    (curve,) = best_of_curves([SINGLE], [seed_of(gold, gold), seed_of(gold + 100, gold)])
    n = np.array([1, 2, 4, 8, 16])
    best = n * 65 / (n + 1) - 1  # of n that are drawn from 0 to 63 without putting back
    np.testing.assert_array_equal(curve.sizes, n)
    np.testing.assert_allclose(curve.gold, [best, best + 100])
    np.testing.assert_allclose(curve.learned[0], (best - gold.mean()) / gold.std(), atol=1e-12)
    np.testing.assert_allclose(curve.distance**2, np.log(n) - (n - 1) / n, atol=1e-12)
    assert curve.peak == 16
    assert curve.rise.value == pytest.approx(best[-1] - best[0], rel=0.05)  # by halves of the episodes
    assert curve.drop.value == 0
    assert not curve.overoptimised


def test_every_variant_has_its_own_row_and_every_seed_its_own_gold():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 32))
    up, down = best_of_curves([SINGLE, Variant(9, 4)], [seed_of(first, first, -first), seed_of(second, second, -second)])
    assert (up.variant, down.variant) == (SINGLE, Variant(9, 4))
    np.testing.assert_allclose(up.gold[:, 0], [first.mean(), second.mean()])
    assert (np.diff(up.gold) > 0).all()
    assert (np.diff(down.gold) < 0).all()
    np.testing.assert_array_equal(np.stack([up.accuracy, down.accuracy]), [[0.5, 0.5], [0.625, 0.625]])
    np.testing.assert_array_equal(up.ceiling, [0.9, 0.9])
    assert down.peak == 1


def test_a_learned_return_that_is_always_the_same_leaves_gold_where_it_was():
    gold = np.random.default_rng(0).normal(size=32)
    (curve,) = best_of_curves([SINGLE], [seed_of(gold, np.full(32, 7.0))] * 2)
    np.testing.assert_allclose(curve.gold, gold.mean())
    np.testing.assert_array_equal(curve.learned, 0.0)
    assert not curve.overoptimised


def test_peaks_are_each_seeds_own_chosen_on_one_half_and_measured_on_the_other():
    gold = np.array([[[0, 9, 1], [0, 2, 3]], [[1, 2, 5], [0, 3, 2]]], float)  # of either half, [2, S, C]
    learned = np.array([[[0, 1, 2], [0, 1, 2]]] * 2, float)
    curve = replace(curve_of(gold.mean(0)), halves=np.stack([gold, learned], -1))
    np.testing.assert_array_equal(curve.changes[0], [((2 - 1) + (1 - 0)) / 2, ((2 - 5) + 0) / 2, (1 / 2 + 0) / 2])
    np.testing.assert_array_equal(curve.changes[1], [((2 - 0) + (2 - 0)) / 2, (0 + (2 - 3)) / 2, (0 + 1 / 2) / 2])
    assert (curve.rise.value, curve.drop.value) == (1.5, -1.0)


def test_a_seed_turns_when_more_than_the_margin_of_its_rise_is_lost_again():
    lost = np.array([LOST - 0.01, LOST + 0.01, 1.0])
    curve = curve_of([[0.0, 8.0, 8.0 * (1 - share)] for share in lost])
    assert curve.turned == 2
    assert curve_of([[0.0, 8.0, 8.0 * (1 - share)] for share in lost], [[0, 1, 1]] * 3).turned == 0  # learned stands still


def test_one_seeds_peak_is_its_own_and_shows_nothing():
    curve = curve_of([[0.0, 9.0, 1.0]])
    assert (curve.rise.value, curve.drop.value) == (9.0, 8.0)
    assert curve.rise.low == curve.drop.low == -np.inf
    assert not curve.overoptimised


def test_overoptimised_is_gold_that_rises_and_falls_while_the_learned_return_rises():
    assert curve_of(RISES_AND_FALLS).overoptimised
    assert not curve_of(RISES_AND_FALLS, [[0, 1, 2, 2]] * 3).overoptimised
    assert not curve_of([seed[:3] for seed in RISES_AND_FALLS]).overoptimised  # never falls
    assert not curve_of([[9, *seed[1:]] for seed in RISES_AND_FALLS]).overoptimised  # never rises


def test_the_fits_count_gold_from_the_reference():
    distance = curve_of(np.zeros((2, 6))).distance
    curve = curve_of([7 + distance * (3 - distance), -2 + distance * (5 - 2 * distance)])
    np.testing.assert_allclose([(fit.a, fit.b, fit.r_squared) for fit in curve.fits], [(3, 1, 1), (5, 2, 1)])


def studied(kind: str, rng: np.random.Generator, seeds: int = 5, episodes: int = 128) -> Curve:
    """A study's curve where it is known what optimising the learned return does to gold."""
    stored = []
    for _ in range(seeds):
        learned, chance = rng.normal(size=(2, episodes))
        gold = {
            "the same": learned,
            "unrelated": chance,
            "noisy": learned + chance,
            "level from 1 on": np.minimum(learned, 1.0) + chance,
            "falling from 1 on": np.where(learned < 1, learned, 1 - 3 * (learned - 1)) + 0.3 * chance,
        }[kind]
        stored.append(seed_of(gold, learned))
    return best_of_curves([SINGLE], stored)[0]


@pytest.mark.parametrize("kind", ["unrelated", "noisy", "level from 1 on"])
def test_noise_alone_is_not_overoptimised(kind):
    rng = np.random.default_rng(0)
    alarms = sum(studied(kind, rng).overoptimised for _ in range(300))
    assert binomtest(alarms, 300, 0.05, alternative="greater").pvalue > 1e-3


def test_what_turns_is_overoptimised_and_gold_itself_never_is():
    rng = np.random.default_rng(0)
    assert all(studied("falling from 1 on", rng, episodes=1024).overoptimised for _ in range(20))
    assert not any(studied("the same", rng).overoptimised for _ in range(50))


def test_a_policy_that_wavers_on_a_plateau_is_not_overoptimised_however_often_it_is_looked_at():
    rng = np.random.default_rng(0)

    def training() -> Curve:
        step = np.arange(21)
        gold = 50 * np.minimum(step / 5, 1) + rng.normal(0, 3, (5, 21))  # what each policy is worth
        halves = gold + rng.normal(0, 3, (2, 5, 21))
        learned = np.broadcast_to(step / 3, halves.shape)
        return replace(curve_of(gold), halves=np.stack([halves, learned], -1))

    assert not any(training().overoptimised for _ in range(100))


def test_ppos_curve_is_made_of_every_evaluations_episodes():
    rng = np.random.default_rng(0)
    kl, true, paid = rng.random((3, 2, 4, 6))  # of 2 seeds, 4 evaluations, 6 episodes
    metrics = [[{"steps": 10 * c, "kl": kl[s, c], "true": true[s, c], "paid": paid[s, c]} for c in range(4)] for s in range(2)]
    scores = rng.normal(3, 2, (2, 50))
    curve = learning_curve(curve_of(np.zeros((2, 3))), metrics, scores)
    assert curve.optimiser == "learning"
    np.testing.assert_array_equal(curve.sizes, [0, 10, 20, 30])
    np.testing.assert_allclose(curve.distance, kl.mean(2) ** 0.5)
    np.testing.assert_allclose(curve.gold, true.mean(2))
    standard = (paid - scores.mean(1)[:, None, None]) / scores.std(1)[:, None, None]
    np.testing.assert_allclose(curve.learned, standard.mean(2))
    np.testing.assert_allclose(curve.halves[0, ..., 0], true[..., [0, 2, 4]].mean(2))
    np.testing.assert_allclose(curve.halves[1, ..., 1], standard[..., [1, 3, 5]].mean(2))
