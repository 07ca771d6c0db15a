"""The ledger of a hunt is that of one candidate after another, and orders them by the attack's aim."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.attacks.core import Attack, Budget, Pool, Tries
from proxygap.agents.attacks.random_search import RandomSearch

from .holes import FLOWS, LENGTH, Tank, classifier, failures

KINDS = ["drain", "full", "usual", "quick"]  # not bad, refused, accepted, and accepted but worse and more suspicious


def candidate(cases, kind: str):
    """Actions [N, T] of a kind."""
    usual = abs(FLOWS - cases.state.usual[:, None]).argmin(1)[:, None].repeat(LENGTH, 1)
    usual[:, 0] += kind == "quick"
    return {"drain": 0 * usual, "full": 0 * usual + len(FLOWS) - 1}.get(kind, usual)


@dataclass
class Given(Attack):
    """Queries what it is given."""

    batches: tuple[tuple[tuple[int, ...], ...], ...] = ()  # [batches][candidates][trials], numbers of KINDS

    def run(self, hunt):
        for batch in self.batches:
            if len(rows := hunt.rows):
                every = np.stack([candidate(hunt.cases, kind) for kind in KINDS])  # [kinds, N, T]
                hunt.ask(rows, 1)
                hunt.query(rows, every[np.array(batch)[:, rows].T, rows[:, None]])


@st.composite
def batches(draw):
    trials, kinds = draw(st.integers(1, 4)), st.integers(0, 3)
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return tuple(tuple(tuple(draw(kinds) for _ in range(trials)) for _ in range(size)) for size in sizes)


def by_hand(batches, trial, budget, keep_going, aim):
    """What one trial comes to, one candidate after another: queries, asked, catastrophes, found, and which kind is kept."""
    queries = asked = bad = 0
    first, seen = None, []
    for batch in batches:
        if queries >= budget or (first and not keep_going):
            break
        asked += 1
        for kinds in batch:
            if queries >= budget or (first and not keep_going):
                break
            kind = KINDS[kinds[trial]]
            queries, bad, seen = queries + 1, bad + (kind != "drain"), [*seen, kind]
            if kind in ("usual", "quick") and not first:
                first = queries, asked
    order = ["quick", "usual", "full", "drain"] if aim == "severity" else ["usual", "quick", "full", "drain"]
    return first or (queries, asked), bad, first is not None, min(seen, key=order.index)


@given(batches=batches(), budget=st.integers(1, 12), keep_going=st.booleans(), aim=st.sampled_from(["score", "severity"]))
def test_the_ledger_is_that_of_one_candidate_after_another(batches, budget, keep_going, aim):
    env = Tank()
    cases = failures(env, len(batches[0][0]))
    cases.state.level[:] = 0.0
    attack = Given(batches=batches, keep_going=keep_going, aim=aim)
    findings = attack.search(classifier(env), env, cases, Budget(budget), np.random.default_rng(0))
    for trial in range(len(cases)):
        (queries, asked), bad, found, kept = by_hand(batches, trial, budget, keep_going, aim)
        assert findings.queries[trial] == queries
        assert findings.scores[trial] == asked
        assert findings.steps[trial] == queries * LENGTH
        assert findings.catastrophes[trial] == bad
        assert findings.found[trial] == found
        assert np.array_equal(findings.cases.action[trial], candidate(cases, kept)[trial])
    assert (findings.seconds > 0).all()


def test_what_is_nearer_to_a_catastrophe_comes_first_and_else_what_is_more_suspicious():
    env, cases = Tank(), failures(Tank(), 1)
    cases.state.level[:] = 0.0
    drained, near, nearer = np.zeros((3, LENGTH), int)
    near[0], nearer[:2] = 5, [5, 4]  # levels 1.0 (not near yet), then 1.6, below the limit
    half = drained.copy()
    half[0] = 4  # 0.6 and less suspicious than what is drained from the beginning
    tries: list[Tries] = []

    class Once(Attack):
        def run(self, hunt):
            tries.append(hunt.query(hunt.rows, np.stack([half, drained, near, nearer])[None]))

    Once().search(classifier(env), env, cases, Budget(4), np.random.default_rng(0))
    assert tries[0].best(4).tolist() == [[3, 1, 2, 0]]


@given(old=st.lists(st.integers(0, 4), min_size=1, max_size=5), new=st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_a_pool_keeps_the_best_and_of_equals_the_older(old, new):
    cost = np.array(old)[None], np.array(new)[None]
    action = np.arange(len(old))[None, :, None], 100 + np.arange(len(new))[None, :, None]
    pool = Pool(np.zeros(1, int), action[0], cost[0]).joined(Tries(cost[1], cost[1], None, action[1]), 3)  # pyright: ignore[reportArgumentType]
    both = sorted([(value, number) for number, value in enumerate(old)] + [(v, 100 + n) for n, v in enumerate(new)])[:3]
    assert list(zip(pool.cost[0], pool.action[0, :, 0], strict=True)) == both


# Rates


def test_rates_carry_the_exact_interval_of_a_count():
    env = Tank()
    findings = RandomSearch().search(classifier(env, hole=False), env, failures(env), Budget(125), np.random.default_rng(0))
    assert findings.rate() == (0.0, 0.0, pytest.approx(-np.log(0.05) / 1000))
    three = replace(findings, found=np.arange(8) < 3)
    assert three.rate() == (0.003, pytest.approx(0.6187e-3, rel=1e-3), pytest.approx(8.7673e-3, rel=1e-3))  # Garwood's table
    assert str(three) == "3 of 8 trials found one, 0.003 [0.000619, 0.00877] a query"
