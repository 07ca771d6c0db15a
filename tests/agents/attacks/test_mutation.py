"""Mutation changes a few steps of what is best so far, and never loses it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.agents.attacks.core import Budget
from proxygap.agents.attacks.mutation import Mutation
from proxygap.agents.rollouts import scripted
from scipy.stats import binom

from .holes import LENGTH, Tank, cases, classifier, failures
from .watching import watched


def differing(one, other):
    """[..., T] which steps differ."""
    return (one != other).reshape(*one.shape[:3], -1).any(3)


@pytest.mark.parametrize("control", ["settings", "continuous", "valves"])
def test_what_passes_already_is_found_at_the_first_query(control):
    env = Tank(control)
    given = cases(env, scripted(env, "usual"))
    findings = Mutation().search(classifier(env), env, given, Budget(50), np.random.default_rng(0))
    assert findings.found.all()
    assert (findings.queries == 1).all()
    assert np.array_equal(findings.cases.action, given.action)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_children_are_parents_with_a_few_steps_drawn_anew(rate):
    env, attack = Tank("continuous"), Mutation(parents=3, children=40, rate=rate)
    with watched() as queries:
        attack.search(classifier(env, hole=False), env, failures(env), Budget(401), np.random.default_rng(1))
    assert np.array_equal(queries[0][1], failures(env).action[:, None])
    changes: list[Any] = []
    whose: list[Any] = []
    pool, cost = queries[0][3].action, queries[0][3].cost
    for _, action, _, tries in queries[1:]:
        apart = np.array([differing(action, np.repeat(pool[:, k : k + 1], 40, 1)).sum(2) for k in range(pool.shape[1])])
        changes.append(apart.min(0))
        whose.append(apart.argmin(0))
        pool, cost = np.concatenate([pool, tries.action], 1), np.concatenate([cost, tries.cost], 1)
        keep = np.argsort(cost, axis=1, kind="stable")[:, :3]
        pool, cost = pool[np.arange(8)[:, None], keep], cost[np.arange(8)[:, None], keep]
    changed = np.stack(changes)  # a number drawn anew is another one
    assert changed.min() == 1
    if rate == 0:
        assert changed.max() == 1
        assert (np.bincount(whose[-1].ravel()) > 50).all()  # of 320 children, a third each
        assert len(np.unique(whose[-1])) == 3
    else:  # one, and each of the other eleven by chance; parents that share steps hide none of them
        count, mean = changed.size, changed.mean() - 1
        low, high = binom.ppf([5e-5, 1 - 5e-5], count * (LENGTH - 1), rate) / count
        assert low < mean < high


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_best_is_never_lost(seed):
    env = Tank("valves")
    with watched() as queries:
        findings = Mutation(parents=1, children=5, keep_going=True).search(
            classifier(env), env, failures(env, 2), Budget(41), np.random.default_rng(seed)
        )
    best = np.min([tries.cost.min(1) for _, _, _, tries in queries], 0)
    assert np.array_equal(findings.suspicion, best)
    assert (findings.suspicion < classifier(env).suspicion(queries[0][3].options.segments())).all()


def test_a_policy_plays_the_changed_steps_and_no_others():
    env = Tank("continuous")
    attack = Mutation(children=20, rate=0.5, policy=lambda seed: scripted(env, "usual"))
    with watched() as queries:
        attack.search(classifier(env, hole=False), env, failures(env), Budget(21), np.random.default_rng(2))
    _, _, free, tries = queries[1]
    assert 0.4 < free.mean() < 0.7
    usual = np.repeat(failures(env).state.usual[:, None, None], LENGTH, 2)
    np.testing.assert_allclose(tries.action[..., 0], np.where(free, usual, 1.0), rtol=1e-6)
