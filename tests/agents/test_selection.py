"""Best-of-n: the estimator against enumeration and closed forms, and the divergence against its definition."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.selection import best_of, best_of_divergence
from proxygap.envs.core import ProxygapError


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-5, 5)), min_size=1, max_size=7), st.integers(1, 7))
def test_it_is_the_mean_over_all_choices_of_n_episodes(episodes, n):
    n = min(n, len(episodes))
    score, value = np.array(episodes, float).T
    chosen = []
    for drawn in combinations(range(len(episodes)), n):
        best = score[list(drawn)].max()
        chosen.append(np.mean([value[i] for i in drawn if score[i] == best]))  # ties are broken at random
    assert best_of(score, value, [n])[0] == pytest.approx(np.mean(chosen))


def test_of_one_it_is_the_mean_and_of_all_the_best():
    rng = np.random.default_rng(0)
    score, values = rng.normal(size=50), rng.normal(size=(50, 3))
    first, last = best_of(score, values, [1, 50])
    assert first == pytest.approx(values.mean(0))
    assert last == pytest.approx(values[score.argmax()])


def test_large_samples_do_not_overflow():
    score = np.random.default_rng(0).random(100_000)
    found = best_of(score, score, [1, 10, 1000, 50_000])
    assert found == pytest.approx([1 / 2, 10 / 11, 1000 / 1001, 1.0], abs=5e-3)  # n / (n + 1)


def test_the_divergence_is_that_of_the_best_rank():
    """The best of n has the density n u^(n - 1) over the reference's quantiles u."""
    u = (np.arange(200_000) + 0.5) / 200_000
    for n in (1, 2, 16):
        density = n * u ** (n - 1)
        assert best_of_divergence(n) == pytest.approx((density * np.log(density)).mean(), abs=1e-4)


@pytest.mark.parametrize(("score", "sizes"), [([1.0, 2.0], [3]), ([1.0, 2.0], [0]), ([1.0, np.nan], [1]), ([1.0], [1])])
def test_what_makes_no_sense_is_refused(score, sizes):
    with pytest.raises(ProxygapError, match=r"episodes: allowed are 1 to 2|one finite score"):
        best_of(np.array(score), np.zeros(2), sizes)
