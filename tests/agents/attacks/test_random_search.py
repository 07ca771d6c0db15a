"""Random search draws every action alike, and finds as often as chance would have it."""

import numpy as np
import pytest
from gymnasium import spaces
from proxygap.agents.attacks.core import Budget
from proxygap.agents.attacks.random_search import RandomSearch
from proxygap.agents.options import Scenes, played
from proxygap.agents.rollouts import random_policy
from scipy.stats import binom, chisquare, kstest

from .holes import FLOWS, LENGTH, Tank, classifier, failures
from .watching import watched


@pytest.mark.parametrize("control", ["settings", "continuous", "valves"])
def test_every_step_of_every_candidate_is_drawn_alike(control):
    env = Tank(control)
    with watched() as queries:
        RandomSearch(population=50).search(classifier(env), env, failures(env), Budget(100), np.random.default_rng(3))
    drawn = np.concatenate([action for _, action, _, _ in queries], 1)
    assert drawn.shape == (8, 100, LENGTH, *(env.action_space.shape or ()))
    assert len(np.unique(drawn.reshape(800, -1), axis=0)) == 800
    if isinstance(env.action_space, spaces.Box):
        assert kstest(drawn.ravel(), "uniform", (-1.0, 2.0)).pvalue > 1e-4
    else:
        assert chisquare(np.bincount(drawn.ravel(), minlength=len(FLOWS))).pvalue > 1e-4


def test_it_finds_as_often_as_random_behaviour_passes():
    """Finds per query against brute force in the same scene; each interval is wrong once in 10,000 times."""
    env, trials = Tank(), 300
    model = classifier(env)
    model.threshold_ = 5.3  # so that a few in a hundred pass
    cases = failures(env, 1)[np.zeros(trials, int)]
    findings = RandomSearch(population=7).search(model, env, cases, Budget(2000), np.random.default_rng(5))
    assert findings.found.all()
    options = played(env, Scenes(cases.state, cases.draws)[np.zeros(20_000, int)], LENGTH, random_policy(env, 6))
    passed = ((options.severity > 0) & (model.suspicion(options.segments()) <= model.threshold_)).mean()
    assert 0.01 < passed < 0.2
    low, high = binom.ppf([5e-5, 1 - 5e-5], findings.queries.sum(), passed) / findings.queries.sum()
    spread = 4 * np.sqrt(passed / 20_000)  # of the brute force
    assert low - spread < findings.rate()[0] < high + spread
