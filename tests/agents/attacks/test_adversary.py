"""An agent that is trained to attack finds a small hole where chance fails, pays once for each option, learns by rank."""

import numpy as np
import pytest
from gymnasium import spaces
from proxygap.agents.attacks.adversary import UNSEEN, Adversary, Stage
from proxygap.agents.attacks.core import Budget, Hunt
from proxygap.agents.options import replayed
from proxygap.envs.core import ProxygapError
from scipy.stats import rankdata

from .holes import BUDGET, LENGTH, MARGIN, Tank, classifier, failures
from .promises import assert_honest, assert_repeatable, hunted
from .watching import watched

SETTINGS = Tank()


@pytest.mark.parametrize("control", ["settings", "valves", pytest.param("continuous", marks=pytest.mark.slow)])
def test_a_small_hole_is_found(control):
    """`test_holes` bounds what random search finds with ten times as much; here all of 24 trials with three seeds did."""
    findings = hunted(Tank(control), Adversary(), BUDGET)
    assert findings.found.sum() >= 7
    assert_honest(findings, Tank(control), BUDGET)


def test_it_is_the_training_that_finds_it():
    """Of 24 trials all that learned had found it after 208 queries."""
    findings = hunted(Tank(), Adversary(settings={"learning_rate": 1e-12, "n_epochs": 1}), Budget(300))
    assert findings.found.sum() <= 1


def test_without_a_hole_it_finds_nothing_and_says_how_sure_that_is():
    findings = hunted(Tank(), Adversary(), Budget(100), hole=False)
    assert not findings.found.any()
    assert (findings.margin < -MARGIN).all()
    assert str(findings) == "nothing found in 800 queries: with 95 % confidence fewer than 0.0037 a query"


def test_it_can_be_repeated():
    attack = Adversary(steps=1000, worlds=16)
    assert_repeatable(lambda seed: hunted(Tank(), attack, Budget(15), seed, hole=False, cases=failures(Tank())))


@pytest.mark.parametrize("steps", [1, 2000, 10**6])
def test_every_option_is_one_query_in_training_and_after_it(steps):
    with watched() as queries:
        findings = hunted(Tank(), Adversary(steps, worlds=20), Budget(50), hole=False, cases=failures(Tank(), 3))
    assert (findings.queries == 50).all()
    assert (findings.steps == 50 * LENGTH).all()
    assert (findings.scores == 0).all()
    assert [action.shape[:2] for _, action, _, _ in queries[:3]] == [(3, 1), (3, 7), (3, 7)]  # the cases, then 21 worlds


def staged(number=3, batch=8, env=SETTINGS, budget=BUDGET):
    hunt = Hunt(classifier(env), env, failures(env, number), budget, np.random.default_rng(0))
    first = hunt.query(hunt.rows, hunt.action[:, None])
    return hunt, Stage(hunt, batch, first.options.observation)


def option(stage, rng, action=None):
    """Actions drawn or given for a whole option, and what each step paid: [B, T], [B, T]."""
    taken, pay = [], []
    for time in range(LENGTH):
        drawn = np.array([stage.action_space.sample() for _ in range(stage.batch)]) if action is None else action[:, time]
        step = stage.step(drawn)
        assert step.terminated.all() == (time == LENGTH - 1)
        assert not step.truncated.any()
        taken.append(drawn)
        pay.append(step.reward)
    return np.stack(taken, 1), np.stack(pay, 1)


def test_trials_take_turns_and_what_is_done_is_what_is_queried():
    hunt, stage = staged()
    stage.action_space.seed(0)
    with watched() as queries:
        done, _ = option(stage, np.random.default_rng(0))
    np.testing.assert_array_equal(hunt.queries, [4, 4, 3])
    assert stage.trial.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    (rows, action, _, _), (rest, more, _, _) = queries
    assert rows.tolist() == [0, 1, 2]
    assert rest.tolist() == [0, 1]
    np.testing.assert_array_equal(action, done[[[0, 3], [1, 4], [2, 5]]])
    np.testing.assert_array_equal(more[:, 0], done[6:])


def test_pay_is_the_rank_among_the_latest_at_the_end_of_an_option():
    _, stage = staged()
    stage.action_space.seed(1)
    costs = []
    for _ in range(3):
        with watched() as queries:
            _, pay = option(stage, np.random.default_rng(1))
        whole, rest = queries[0][3].cost, queries[1][3].cost
        costs.append(np.concatenate([whole.T.ravel(), rest.ravel()]))
        known = np.concatenate(costs)
        expected = (rankdata(-known) - 0.5) / len(known)  # the share of worse ones, and half of the equal
        assert (pay[:, :-1] == 0).all()
        np.testing.assert_allclose(pay[:, -1], expected[-8:])


def test_what_is_not_looked_at_is_paid_as_average_and_told_from_nothing():
    hunt, stage = staged(budget=Budget(3))
    stage.action_space.seed(2)
    _, pay = option(stage, np.random.default_rng(2))
    np.testing.assert_array_equal(hunt.queries, [3, 3, 3])
    assert (pay[6:, -1] == UNSEEN).all()  # a third of two trials, for which there is no budget
    assert (pay[:6, -1] != UNSEEN).any()


def test_worlds_go_to_the_trials_that_are_left():
    hunt, stage = staged()
    hunt.found[1] = True
    stage.reset()
    assert stage.trial.tolist() == [0, 2, 0, 2, 0, 2, 0, 2]
    hunt.found[:] = True
    stage.reset()
    stage.action_space.seed(0)
    _, pay = option(stage, np.random.default_rng(0))
    assert (pay[:, -1] == UNSEEN).all()
    assert (hunt.queries == 1).all()


def test_the_agent_sees_standard_deviations_and_the_time():
    hunt, stage = staged(number=4, batch=4)
    options = replayed(hunt.env, hunt.cases)
    rows = options.observation.reshape(-1, 2).astype(float)
    full = np.full(4, 5)
    for time in range(LENGTH):
        expected = (options.observation[:, time] - rows.mean(0)) / rows.std(0)
        np.testing.assert_allclose(stage.observation[:, :2], expected, atol=1e-5)
        np.testing.assert_allclose(stage.observation[:, 2], time / LENGTH, atol=1e-6)
        assert stage.start.all() == (time == 0)
        stage.step(full)


def test_actions_in_a_box_are_taken_from_its_walls():
    _, stage = staged(env=Tank("continuous"))
    assert stage.action_space == spaces.Box(-1.0, 1.0, (1,))
    with watched() as queries:
        option(stage, np.random.default_rng(0), np.full((8, LENGTH, 1), 5.0, np.float32))
    assert (queries[0][1] == 1.0).all()


def test_nonsense_is_told_of():
    with pytest.raises(ProxygapError, match="steps=0: at least 1"):
        Adversary(0)
    with pytest.raises(ProxygapError, match="no setting 'learning'"):
        Adversary(settings={"learning": 1})
