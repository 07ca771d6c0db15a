"""All attacks find a small hole and none where there is none, keep one honest ledger, and can be repeated and replayed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from proxygap.agents.attacks.best_of_n import BestOfN
from proxygap.agents.attacks.cem import CEM
from proxygap.agents.attacks.core import Attack, Budget
from proxygap.agents.attacks.mutation import Mutation
from proxygap.agents.attacks.random_search import RandomSearch
from proxygap.agents.attacks.substitution import Substitution
from proxygap.agents.options import played, replayed, scenes
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs.core import ProxygapError
from proxygap.envs.registry import make
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes

from ..worlds import Thermostat
from .holes import BUDGET, LENGTH, MARGIN, THRESHOLD, DryTank, Tank, classifier, failures

CONTROLS = "settings", "continuous", "valves"


def hesitant(env: Any):
    """Makes a policy that mostly does what is usual, and else anything."""

    def maker(seed: int):
        usual, anything, rng = scripted(env, "usual"), random_policy(env, seed), np.random.default_rng(seed)

        def policy(loop):
            action = usual(loop)
            return np.where(rng.random(action.shape) < 0.2, anything(loop), action)

        return policy

    return maker


def attacks(env: Any) -> dict[str, Attack]:
    """Those that search by themselves."""
    return {
        "best of n": BestOfN(hesitant(env)),
        "mutation": Mutation(),
        "likely mutation": Mutation(policy=hesitant(env)),
        "CEM": CEM(),
        "substitution": Substitution(),
        "unsalient": Substitution(saliency=False),
        "likely edits": Substitution(edits=("replace", "insert", "delete"), substitutes=2, policy=hesitant(env)),
    }


NAMES = list(attacks(Tank()))
everything = pytest.mark.parametrize(("control", "name"), [(control, name) for control in CONTROLS for name in NAMES])


def hunted(env, attack, cases=None, budget=BUDGET, seed=0, hole=True):
    """Findings on the tank."""
    cases = failures(env) if cases is None else cases
    return attack.search(classifier(env, hole), env, cases, budget, np.random.default_rng(seed))


def same(one, other, without=("seconds",)):
    """Whether two records are equal, bit for bit."""
    pairs = ((array, other.arrays()[name]) for name, array in one.arrays().items() if name not in without)
    return all(np.array_equal(one, other, equal_nan=one.dtype.kind == "f") for one, other in pairs)


@everything
def test_a_small_hole_is_found(control, name):
    """With a tenth of what random search fails with: see test_holes. At most 1 of 8 may fail: of 4,200 trials 2 did, of CEM."""
    env = Tank(control)
    findings = hunted(env, attacks(env)[name])
    assert findings.found.sum() >= 7
    assert (findings.queries <= BUDGET.queries).all()
    options = replayed(env, findings.cases)
    assert same(options, findings.options)
    suspicion = classifier(env).suspicion(options.segments())
    np.testing.assert_allclose(suspicion, findings.suspicion, rtol=1e-6)  # in a batch of another size
    assert np.array_equal(THRESHOLD - findings.suspicion, findings.margin)
    assert np.array_equal(findings.found, (options.severity > 0) & (suspicion <= THRESHOLD))
    assert f"{findings.found.sum()} of 8 trials found one" in str(findings)


@everything
def test_nothing_is_found_where_there_is_no_hole(control, name):
    env, budget = Tank(control), Budget(queries=300)
    findings = hunted(env, attacks(env)[name], budget=budget, hole=False)
    assert not findings.found.any()
    assert (findings.queries == budget.queries).all()
    assert (findings.catastrophes > 0).all()
    refused = findings.options.severity > 0
    assert (findings.margin[refused] < -MARGIN).all()
    assert str(findings) == "nothing found in 2,400 queries: with 95 % confidence fewer than 0.0012 a query"


@everything
def test_the_same_chance_finds_the_same(control, name):
    env, budget = Tank(control), Budget(queries=60)
    one, again, other = (hunted(env, attacks(env)[name], budget=budget, seed=seed) for seed in (5, 5, 6))
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("aim", ["score", "severity"])
def test_who_goes_on_keeps_the_first_find_in_the_ledger_and_the_best_in_hand(name, aim):
    env = Tank()
    attack, case, budget = attacks(env)[name], failures(env, 1), Budget(queries=600)
    first = hunted(env, replace(attack, aim=aim), case, budget)
    best = hunted(env, replace(attack, aim=aim, keep_going=True), case, budget)
    assert first.found.all()
    assert best.found.all()
    for cost in ("queries", "scores", "steps"):
        assert np.array_equal(getattr(first, cost), getattr(best, cost))
    assert best.catastrophes > first.catastrophes
    assert (best.margin >= 0).all()
    if aim == "score":
        assert best.suspicion <= first.suspicion
    else:
        assert best.options.severity >= first.options.severity


@pytest.mark.parametrize("name", ["random", *NAMES])
@pytest.mark.parametrize("budget", [Budget(1), Budget(7), Budget(100), Budget(100, steps=12), Budget(100, steps=500)])
def test_no_trial_spends_more_than_its_budget_nor_less(name, budget):
    env = Tank("continuous")
    attack = {"random": RandomSearch(), **attacks(env)}[name]
    findings = hunted(env, attack, budget=budget, hole=False)
    assert not findings.found.any()
    most = budget.queries if budget.steps is None else min(budget.queries, budget.steps // LENGTH)
    assert (findings.queries == most).all()
    assert (findings.steps == most * LENGTH).all()


def test_a_trial_ends_when_the_model_was_asked_often_enough():
    findings = hunted(Tank(), Substitution(), budget=Budget(1000, scores=4), hole=False)
    assert (findings.scores == 4).all()
    assert (findings.queries == 1 + 4 * 5).all()


@pytest.mark.parametrize("name", ["random", *NAMES])
def test_options_that_end_early_cost_the_steps_that_they_took(name):
    env, cases = Tank("valves"), failures(Tank("valves"))
    cases.state.time = np.arange(8) + env.horizon - 8  # 8 to 1 steps to go
    attack = {"random": RandomSearch(), **attacks(env)}[name]
    findings = hunted(env, attack, cases, Budget(50), hole=False)
    assert np.array_equal(findings.steps, 50 * np.arange(8, 0, -1))
    assert np.array_equal(findings.options.valid.sum(1), np.arange(8, 0, -1))
    assert same(replayed(env, findings.cases), findings.options)


# Other worlds


@pytest.fixture(scope="module", params=["island_navigation", "sensor_lab", "lagoon"])
def other_world(request):
    """An environment, options in it and a filter that has learned a little from them."""
    env, length = make(request.param), 15
    where = scenes(env, random_policy(env, 0), 400, length, seed=1)
    options = played(env, where, length, random_policy(env, 2))
    severity = np.where(np.arange(400) < 2, 1.0, options.severity)  # in case chance brought none
    learned = Catastrophes(options.segments(), severity, env.name)
    boards = request.param != "lagoon"
    return env, options.cases(where)[:4], CatastropheClassifier(steps=50, one_hot=boards).fit(learned)


@pytest.mark.parametrize("attack", [Mutation(), CEM(), Substitution(), Substitution(segment=3, edits=("insert", "delete"))])
def test_any_world_and_filter_can_be_attacked(other_world, attack):
    env, cases, model = other_world
    findings = replace(attack, keep_going=True).search(model, env, cases, Budget(70), np.random.default_rng(0))
    again = replayed(env, findings.cases)
    assert same(again, findings.options)
    assert np.allclose(model.suspicion(again.segments()), findings.suspicion)
    assert (findings.queries[~findings.found] == 70).all()


# Faults


def test_a_predicate_that_never_holds_is_told_of():
    env = DryTank()
    findings = hunted(env, CEM(), budget=Budget(100))
    assert not findings.catastrophes.any()
    assert str(findings).endswith("fewer than 0.0037 a query; no candidate was a catastrophe at all")


def test_each_mistake_has_one_clear_message():
    env = Tank()
    cases, model, rng = failures(env), classifier(env), np.random.default_rng(0)

    def search(env: Any = env, cases=cases, budget=BUDGET, **kwargs):
        return CEM(**kwargs).search(model, env, cases, budget, rng)

    with pytest.raises(ProxygapError, match="a budget of 0 queries: at least 1"):
        Budget(queries=0)
    with pytest.raises(ProxygapError, match="fitted to Tank, attacked in DryTank: attack it in Tank"):
        search(DryTank())
    with pytest.raises(ProxygapError, match="Thermostat has no notion of a catastrophe"):
        search(Thermostat())
    with pytest.raises(ProxygapError, match="no case to set out from"):
        search(cases=cases[[]])
    with pytest.raises(ProxygapError, match="a budget of 11 steps: one option of these cases takes 12"):
        search(budget=Budget(steps=11))
    with pytest.raises(ProxygapError, match="aim 'fame': allowed are 'score' and 'severity'"):
        search(aim="fame")


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (RandomSearch, {"population": 0}, "population=0: at least 1"),
        (Mutation, {"children": 0}, "children=0: at least 1"),
        (Mutation, {"rate": 1.5}, "rate 1.5: a chance from 0 to 1"),
        (CEM, {"elites": 33}, "elites=33 of population=32, noise=0.05: allowed are 1 to population, and 0 to 1"),
        (CEM, {"noise": -0.1}, "noise=-0.1"),
        (Substitution, {"segment": 0}, "segment=0: at least 1"),
        (Substitution, {"edits": ("swap",)}, "edits .*swap.*: allowed are one or more of replace, insert, delete"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, given, message):
    with pytest.raises(ProxygapError, match=message):
        kind(**given)


def test_a_segment_longer_than_an_option_is_refused():
    with pytest.raises(ProxygapError, match="a segment of 13 steps: options have 12"):
        hunted(Tank(), Substitution(segment=13))


class Bare:
    """Neither a filter nor one that is ready."""

    env_, inputs_ = "Tank", None


class Unready(Bare):
    def suspicion(self, segments):
        return np.zeros(len(segments))


@pytest.mark.parametrize(
    ("target", "message"),
    [(Bare(), r"a Bare refuses nothing: .*ReturnFilter"), (Unready(), "this Unready has no threshold yet")],
)
def test_what_refuses_nothing_is_no_target(target, message):
    with pytest.raises(ProxygapError, match=message):
        RandomSearch().search(target, Tank(), failures(Tank(), 2), Budget(5), np.random.default_rng(0))
