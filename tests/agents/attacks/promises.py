"""What is asked of all attacks on the tank: to be repeatable, to keep an honest ledger, to find what can be played again."""

import numpy as np
from proxygap.agents.attacks.findings import Findings
from proxygap.agents.options import replayed

from .holes import LENGTH, classifier, failures


def hunted(env, attack, budget, seed=0, hole=True, cases=None) -> Findings:
    """Findings on the tank, from known failures unless other cases are given."""
    cases = failures(env, seed=seed) if cases is None else cases
    return attack.search(classifier(env, hole), env, cases, budget, np.random.default_rng(seed))


def same(one, other, without=("seconds",)) -> bool:
    """Whether two records are equal, bit for bit."""
    pairs = ((array, other.arrays()[name]) for name, array in one.arrays().items() if name not in without)
    return all(np.array_equal(one, other, equal_nan=one.dtype.kind == "f") for one, other in pairs)


def assert_honest(findings, env, budget, hole=True) -> None:
    """Nobody spends more than there is, and what was found is a catastrophe that passes when it is played again."""
    assert (findings.queries <= budget.queries).all()
    assert (findings.queries[~findings.found] == budget.queries).all()
    assert (findings.steps == LENGTH * findings.queries).all()
    assert same(replayed(env, findings.cases), findings.options)
    suspicion = classifier(env, hole).suspicion(findings.options.segments())
    np.testing.assert_allclose(findings.suspicion, suspicion, rtol=1e-6)
    accepted = (suspicion <= classifier(env, hole).threshold_) & (findings.options.severity > 0)
    np.testing.assert_array_equal(findings.found, accepted)


def assert_repeatable(search) -> None:
    """The same chance, the same findings; other chance, others. `search` takes a seed."""
    one, again, other = (search(seed) for seed in (5, 5, 6))
    assert same(one, again)
    assert not same(one, other)
