"""The cross-entropy attack follows the best, begins with what was done, and does not die out; any kind of action will do."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from proxygap.agents.attacks.cem import CEM
from proxygap.agents.attacks.core import Budget
from proxygap.agents.planning import SMOOTHING, distribution
from proxygap.agents.rollouts import scripted
from scipy.stats import chisquare

from .holes import LENGTH, Tank, cases, classifier, failures
from .watching import watched

SEVERAL = spaces.MultiDiscrete([2, 5, 3], start=[1, 0, -1])


def test_several_actions_at_once_are_drawn_alike_and_within_their_numbers():
    drawn = distribution(SEVERAL).start(3, 4).sample(np.random.default_rng(0), 500)
    assert drawn.shape == (3, 500, 4, 3)
    for which, (low, number) in enumerate([(1, 2), (0, 5), (-1, 3)]):
        values, counts = np.unique(drawn[..., which], return_counts=True)
        assert values.tolist() == list(range(low, low + number))
        assert chisquare(counts).pvalue > 1e-4


def test_chances_follow_the_elites_and_no_number_gets_any_that_is_no_action():
    elites = np.array([[1, 4, -1], [1, 0, 0], [2, 4, 1], [2, 4, -1]])[None, :, None]  # [B = 1, elites, horizon = 1, 3]
    search: Any = distribution(SEVERAL).start(1, 1).towards(elites)
    found = search.chances[0, 0]
    rest = 1 - SMOOTHING
    np.testing.assert_allclose(found[0], [SMOOTHING / 2 + rest / 2, SMOOTHING / 2 + rest / 2, 0, 0, 0])
    np.testing.assert_allclose(found[1], SMOOTHING * np.array([0.25, 0, 0, 0, 0.75]) + rest / 5)
    np.testing.assert_allclose(found[2, :3], SMOOTHING * np.array([0.5, 0.25, 0.25]) + rest / 3)
    assert (found[2, 3:] == 0).all()


@pytest.mark.parametrize("space", [spaces.Discrete(4, start=2), SEVERAL, spaces.Box(-1.0, 2.0, (2,))])
def test_plans_of_some_rows_are_those_of_the_rows(space):
    search = distribution(space).start(3, 2)
    search = search.towards(search.sample(np.random.default_rng(1), 6))
    for name, array in vars(search.among(np.array([True, False, True]))).items():
        if name != "space":
            assert np.array_equal(array, vars(search)[name][[0, 2]])


@pytest.mark.parametrize("control", ["settings", "continuous", "valves"])
def test_it_begins_with_what_was_done(control):
    env = Tank(control)
    given = cases(env, scripted(env, "usual"))
    findings = CEM().search(classifier(env), env, given, Budget(50), np.random.default_rng(0))
    assert (findings.queries[findings.found] == 1).all()
    assert findings.found.all()


@pytest.mark.parametrize("control", ["settings", "continuous", "valves"])
def test_generations_get_better_and_closer(control):
    env = Tank(control)
    with watched() as queries:
        CEM(keep_going=True).search(classifier(env), env, failures(env), Budget(1000), np.random.default_rng(0))
    middle = [np.median(tries.cost[np.isfinite(tries.cost)]) for _, _, _, tries in queries[1:]]
    assert middle[-1] < middle[len(middle) // 4] < middle[0]
    spread = [action.std(1).mean() for _, action, _, _ in queries[1:]]
    assert spread[-1] < 0.6 * spread[0]


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_without_noise_it_dies_out_and_with_it_goes_on_trying(noise):
    env = Tank()
    with watched() as queries:
        CEM(noise=noise, keep_going=True).search(classifier(env), env, failures(env), Budget(2000), np.random.default_rng(0))
    last = queries[-2][1]  # [R, P, T]
    drawn = [len(np.unique(trial, axis=0)) for trial in last]
    others = (last != last[:, :1]).any(1).mean()
    if noise == 0:
        assert max(drawn) == 1
        assert others == 0
    else:
        assert min(drawn) > 5
        assert others > 0.5


def test_noise_alone_is_random_search():
    env = Tank("continuous")
    with watched() as queries:
        CEM(noise=1.0).search(classifier(env, hole=False), env, failures(env), Budget(321), np.random.default_rng(0))
    early, late = queries[1][1], queries[-1][1]
    assert early.shape == late.shape == (8, 32, LENGTH, 1)
    for action in (early, late):
        assert abs(action.mean()) < 4 * np.sqrt(1 / 3 / action.size)
        assert abs(np.mean(action.astype(float) ** 2) - 1 / 3) < 4 * np.sqrt(4 / 45 / action.size)
