"""A portfolio's attacks share each trial's budget, all of it and no more, and what one of them can't find another may."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.agents.attacks.core import Attack, Budget
from proxygap.agents.attacks.gradient import Gradient
from proxygap.agents.attacks.latent import Latent
from proxygap.agents.attacks.mutation import Mutation
from proxygap.agents.attacks.observation import SeenOtherwise
from proxygap.agents.attacks.portfolio import Portfolio
from proxygap.agents.attacks.random_search import RandomSearch
from proxygap.envs.core import ProxygapError

from .holes import BUDGET, LENGTH, MARGIN, Tank, failures, next_observation
from .promises import assert_honest, assert_repeatable, hunted

CONTINUOUS = Tank("continuous")


class Spender(Attack):
    """Draws at random, so many candidates at a time, up to a number of its own, and notes what it spent."""

    def __init__(self, most: int = 10**9, together: int = 7) -> None:
        super().__init__()
        self.most, self.together, self.spent = most, together, np.zeros(0)

    def run(self, hunt):
        before = hunt.queries.copy()
        while len(rows := hunt.rows[hunt.queries[hunt.rows] - before[hunt.rows] < self.most]):
            hunt.ask(rows, 2)
            hunt.query(rows, hunt.random_actions(len(rows), min(self.together, self.most), LENGTH))
        self.spent = hunt.queries - before


@settings(max_examples=20, deadline=None)
@given(queries=st.integers(3, 60), together=st.integers(1, 9))
def test_shares_are_equal_and_add_up(queries, together):
    parts = [Spender(together=together) for _ in range(3)]
    findings = hunted(CONTINUOUS, Portfolio(parts), Budget(queries), cases=failures(CONTINUOUS, 2), hole=False)
    spent = np.stack([part.spent for part in parts])
    assert (spent.sum(0) == queries).all()
    assert np.ptp(spent, axis=0).max() <= 1
    assert (findings.queries == queries).all()
    assert (findings.steps == LENGTH * queries).all()


def test_what_one_leaves_the_others_share():
    parts = [Spender(most=1), Spender(), Spender()]
    hunted(CONTINUOUS, Portfolio(parts), Budget(31), hole=False)
    assert [part.spent.tolist() for part in parts] == [[1] * 8, [15] * 8, [15] * 8]


def test_steps_and_scores_are_shared_too():
    parts = [Spender(together=1), Spender(together=1)]
    hunted(CONTINUOUS, Portfolio(parts), Budget(1000, steps=20 * LENGTH), hole=False)
    assert [part.spent.tolist() for part in parts] == [[10] * 8, [10] * 8]
    hunted(CONTINUOUS, Portfolio(parts), Budget(1000, scores=12), hole=False)
    assert [part.spent.tolist() for part in parts] == [[3] * 8, [3] * 8]


def test_a_share_too_small_for_an_option_goes_to_the_others():
    parts = [Spender(together=1), Spender(together=1)]
    parts[0].spent = np.full(8, 0)
    hunted(CONTINUOUS, Portfolio(parts), Budget(1000, steps=LENGTH + 2), hole=False)
    assert [part.spent.tolist() for part in parts] == [[0] * 8, [1] * 8]


def test_a_small_hole_is_found_by_the_one_who_can():
    portfolio = Portfolio([RandomSearch(), Gradient(next_observation)])
    findings = hunted(CONTINUOUS, portfolio, Budget(400))
    assert findings.found.sum() >= 7
    assert_honest(findings, CONTINUOUS, Budget(400))
    np.testing.assert_array_equal(portfolio.finders_, np.where(findings.found, 1, -1))
    assert (findings.queries[findings.found] > 200).all()


def test_the_first_to_find_has_found():
    portfolio = Portfolio([Gradient(next_observation), Mutation()])
    findings = hunted(CONTINUOUS, portfolio, BUDGET)
    assert findings.found.all()
    assert (portfolio.finders_ == 0).all()
    assert (findings.queries < 500).all()
    further = Portfolio([Gradient(next_observation), Mutation()], keep_going=True)
    assert hunted(CONTINUOUS, further, Budget(400)).found.all()
    assert (further.finders_ == 0).all()


def test_without_a_hole_it_finds_nothing_and_says_how_sure_that_is():
    portfolio = Portfolio([SeenOtherwise(0.1), Latent(0.01), Mutation(), Gradient(next_observation)])
    findings = hunted(CONTINUOUS, portfolio, Budget(100), hole=False)
    assert not findings.found.any()
    assert (findings.margin < -MARGIN / 2).all()
    assert (portfolio.finders_ == -1).all()
    assert str(findings) == "nothing found in 800 queries: with 95 % confidence fewer than 0.0037 a query"


def test_it_can_be_repeated():
    def search(seed):
        portfolio = Portfolio([RandomSearch(population=5), Gradient(next_observation)])
        return hunted(CONTINUOUS, portfolio, Budget(40), seed, cases=failures(CONTINUOUS))

    assert_repeatable(search)


def test_its_aim_is_that_of_all():
    parts = [Mutation(), Gradient(next_observation)]
    findings = hunted(CONTINUOUS, Portfolio(parts, keep_going=True, aim="severity"), Budget(300))
    assert (findings.queries[findings.found] <= 300).all()
    short = hunted(CONTINUOUS, Portfolio(parts), Budget(300))
    both = findings.found & short.found
    assert both.sum() >= 6
    assert findings.options.severity[both].mean() > short.options.severity[both].mean()


def test_nonsense_is_told_of():
    with pytest.raises(ProxygapError, match="a portfolio without attacks"):
        Portfolio([])
    with pytest.raises(ProxygapError, match="a budget of 1 queries for 2 attacks: each needs at least one"):
        hunted(CONTINUOUS, Portfolio([RandomSearch(), RandomSearch()]), Budget(1))
