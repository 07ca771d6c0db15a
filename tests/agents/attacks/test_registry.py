"""Every attack in the registry finds a planted hole, finds nothing where there is none, and keeps within what it may spend."""

import numpy as np
import pytest
from proxygap.agents.attacks.core import Attack, Budget, Hunt
from proxygap.agents.attacks.registry import ATTACKS, attack
from proxygap.agents.options import replayed
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs.core import ProxygapError
from proxygap.experiments.overoptimization import wavering

from . import holes
from .holes import BUDGET, LENGTH, RANDOM, DryTank, Tank, classifier, failures
from .promises import assert_repeatable

SETTINGS, CONTINUOUS = Tank(), Tank("continuous")
WHERE = {"gradient": CONTINUOUS, "observation": CONTINUOUS, "latent": CONTINUOUS}  # others are tried with settings
STAYS = ("observation", "latent")  # nothing is done otherwise, so that a case itself must be near the hole
ENOUGH = {"mutation": 750, "cem": 750, "adversary": 300}  # queries within which they find something, where 120 are few
UNABLE = ("random",)  # that the hole is too small for it is what makes it one
OFF = 0.18  # levels a step, above the usual flow in every other step


def usual(env):
    """Makes a generator: who fills the tank at the usual pace, but acts at random in a share of the steps."""
    return lambda seed: wavering(scripted(env, "usual"), random_policy(env, seed), 0.5, seed)


def barely_refused(env, number):
    """Failures in half of whose steps the flow is off by OFF: the log of the summed odds is 2.908, and 2.890 may pass.

    Shown 0.09 off, or with activations moved by 0.02 of 0.19 that the ball allows, they pass.
    """

    def act(loop):
        return (loop.state.usual + OFF * (loop.state.time % 2 == 0))[:, None].astype(np.float32)

    return holes.cases(env, act, number)


def hunted(name, budget, seed=0, hole=True, number=8, **settings):
    """Findings of the attack called `name` on the tank."""
    env = WHERE.get(name, SETTINGS)
    made = attack(name, usual(env))
    for setting, value in settings.items():
        setattr(made, setting, value)  # as the study does it
    cases = (barely_refused if name in STAYS and hole else failures)(env, number)
    return made.search(classifier(env, hole), env, cases, budget, np.random.default_rng(seed))


@pytest.fixture
def hunts(monkeypatch):
    """The hunts that have ended."""
    ended = []

    def findings(hunt):
        ended.append(hunt)
        return told(hunt)

    told = Hunt.findings
    monkeypatch.setattr(Hunt, "findings", findings)
    return ended


# Finding


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hole_is_found_where_random_search_fails_with_ten_times_as_much(name):
    findings = hunted(name, RANDOM if name in UNABLE else BUDGET)
    assert findings.found.sum() == 0 if name in UNABLE else findings.found.sum() >= 7
    assert ((findings.options.severity > 0) & (findings.margin >= 0))[findings.found].all()
    assert (findings.queries <= (RANDOM if name in UNABLE else BUDGET).queries).all()


def test_failures_near_the_hole_are_refused_as_they_are():
    cases = barely_refused(CONTINUOUS, 50)
    options = replayed(CONTINUOUS, cases)
    assert (options.severity > 0).all()
    suspicion = classifier(CONTINUOUS).suspicion(options.segments())
    np.testing.assert_allclose(suspicion, np.log(6 * (1 + np.exp(4 * OFF))), rtol=1e-4)
    assert (suspicion > holes.THRESHOLD).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_without_a_hole_nothing_is_found_and_a_bound_is_told(name):
    findings = hunted(name, Budget(100), hole=False)
    assert not findings.found.any()
    assert (findings.margin < 0).all()
    assert str(findings) == "nothing found in 800 queries: with 95 % confidence fewer than 0.0037 a query"


# Spending


@pytest.mark.parametrize("budget", [Budget(7), Budget(1000, steps=10 * LENGTH + 5)], ids=str)
@pytest.mark.parametrize("name", ATTACKS)
def test_nobody_spends_more_than_there_is_and_all_of_that_where_nothing_is_found(name, budget):
    findings = hunted(name, budget, hole=False, number=3)
    assert (findings.queries == min(budget.queries, (budget.steps or 10**9) // LENGTH)).all()
    assert (findings.steps == LENGTH * findings.queries).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_chance_gives_the_same_findings(name):
    assert_repeatable(lambda seed: hunted(name, Budget(15), seed, hole=False, number=3))


@pytest.mark.parametrize("aim", ["score", "severity"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "adversary" else ()) for name in ATTACKS if name not in UNABLE],
)
def test_who_keeps_going_spends_all_and_ends_with_what_is_better_by_its_aim(name, aim, hunts):
    """One trial draws the same until its first find, whether it goes on or not; the adversary learns from several."""
    most, number = ENOUGH.get(name, 120), 8 if name == "adversary" else 1
    short, long = (hunted(name, Budget(most), number=number, aim=aim, keep_going=going) for going in (False, True))
    assert short.found.all()
    assert long.found.all()
    assert [hunt.aim for hunt in hunts] == [aim, aim]
    assert (hunts[0].queries == short.queries).all()
    assert (hunts[1].queries == most).all()
    if number == 1:
        assert long.queries == short.queries < most  # both up to the first find
        assert hunts[1].cost <= hunts[0].cost


@pytest.mark.parametrize("name", ["best_of_n", "mutation", "cem", "substitution", "fresh"])
def test_what_is_aimed_at_is_what_is_found(name):
    """The others share the hunt, which orders what they try, with these; `test_who_keeps_going` sees that they are told."""
    sly, bad = (hunted(name, Budget(750), aim=aim, keep_going=True) for aim in ("score", "severity"))
    both = sly.found & bad.found
    assert both.sum() >= 6
    assert bad.options.severity[both].mean() > sly.options.severity[both].mean()
    assert bad.margin[both].mean() < sly.margin[both].mean()


# Faults


@pytest.mark.parametrize("name", ATTACKS)
def test_a_model_of_another_environment_is_refused(name):
    with pytest.raises(ProxygapError, match="a target that was fitted to Tank, attacked in DryTank: attack it in Tank"):
        attack(name, usual(SETTINGS)).search(
            classifier(SETTINGS), DryTank(), failures(SETTINGS), BUDGET, np.random.default_rng(0)
        )


@pytest.mark.parametrize("name", ATTACKS)
def test_a_predicate_that_never_holds_is_told_of(name):
    env = DryTank("continuous") if name in WHERE else DryTank()
    findings = attack(name, usual(env)).search(classifier(env), env, failures(env), Budget(10), np.random.default_rng(0))
    assert not findings.found.any()
    assert str(findings).endswith("fewer than 0.037 a query; no candidate was a catastrophe at all")


def test_an_unknown_attack_and_a_budget_of_nothing_are_refused():
    with pytest.raises(ProxygapError, match=f"no attack 'guess'; there are: {', '.join(ATTACKS)}$"):
        attack("guess", usual(SETTINGS))
    with pytest.raises(ProxygapError, match="a budget of 0 queries: at least 1 is needed"):
        Budget(0)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_made_anew(name):
    one, other = (attack(name, usual(SETTINGS)) for _ in range(2))
    assert isinstance(one, Attack)
    assert one is not other  # what one hunt sets is not the next one's
