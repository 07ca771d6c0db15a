"""Gradients lead to a small hole where chance fails, through given rules and learned ones, and to none where there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from proxygap.agents.attacks import gradient as module
from proxygap.agents.attacks.core import Aim, Budget, Hunt
from proxygap.agents.attacks.gradient import Best, Gradient, Imagined
from proxygap.agents.attacks.relaxed import relaxed
from proxygap.agents.options import replayed
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.inputs import Inputs
from proxygap.reward_models.networks import Ensemble

from .holes import FLOWS, LENGTH, MARGIN, Tank, cases, classifier, failures, next_observation
from .promises import assert_honest, assert_repeatable, hunted

# Of 40 trials with five seeds all found something, after at most so many queries: 55, 134, 84.
ENOUGH = {"continuous": Budget(150), "settings": Budget(300), "valves": Budget(200)}


def settings_rules(observation, weights):
    """The rules of the tank with settings, as the tensors that gradients flow through."""
    return next_observation(observation, weights @ torch.tensor(FLOWS).float()[:, None])


GIVEN = {"continuous": next_observation, "settings": settings_rules}


@pytest.mark.parametrize("control", ENOUGH)
def test_a_small_hole_is_found_without_being_told_the_rules(control):
    """`test_holes` bounds what random search finds with ten times as much, or more."""
    findings = hunted(Tank(control), Gradient(), ENOUGH[control])
    assert findings.found.sum() >= 7
    assert_honest(findings, Tank(control), ENOUGH[control])


@pytest.mark.parametrize("step", ["sign", "normalised"])
def test_a_small_hole_is_found_by_given_rules(step):
    findings = hunted(Tank("continuous"), Gradient(next_observation, step=step), Budget(150))
    assert findings.found.sum() >= 7
    assert_honest(findings, Tank("continuous"), Budget(150))


@pytest.mark.parametrize("way", ["nowhere", "backwards"])
def test_it_is_the_gradient_that_leads_there(way, monkeypatch):
    true = Imagined.gradient
    other = {"nowhere": lambda self, now: torch.zeros_like(now), "backwards": lambda self, now: -true(self, now)}
    monkeypatch.setattr(Imagined, "gradient", other[way])
    assert hunted(Tank(), Gradient(settings_rules), Budget(200)).found.sum() <= 1


def without_actions():
    """The tank's filter with a hole, if it had to make flows out by the levels before and after: only rules lead to actions."""
    model = classifier(Tank("continuous"))
    (old,) = model.network_.parameters()
    first = torch.zeros(5, 3)  # inputs: level, usual flow, next level, usual flow; a constant
    first[0, :2], first[1, :2], first[2, :2] = *(torch.tensor([a, -a]) for a in (-1.0, -1.0)), torch.tensor([1.0, -1.0])
    shapes: dict[str, tuple[int, ...]] = {"observation": (2,), "next_observation": (2,)}
    model.inputs_ = Inputs(shapes, {}, {name: model.inputs_.normalisers[name] for name in shapes})
    model.network_ = Ensemble((4, 3, 1), torch.cat([first.flatten(), old.detach()[0, -4:]])[None].requires_grad_())
    return model


@pytest.mark.parametrize("rules", ["learned", "given", "that know of no actions"])
def test_rules_lead_where_the_target_sees_no_actions(rules):
    env = Tank("continuous")
    dynamics = {"given": next_observation, "that know of no actions": lambda observation, action: observation + 0.0 * action}
    attack = Gradient(dynamics.get(rules))
    findings = attack.search(without_actions(), env, failures(env), Budget(150), np.random.default_rng(0))
    assert (findings.found.sum() >= 7) == (rules in ("learned", "given"))
    if rules == "that know of no actions":
        assert findings.found.sum() <= 1


@pytest.mark.parametrize("control", GIVEN)
def test_without_a_hole_it_finds_nothing_and_says_how_sure_that_is(control):
    findings = hunted(Tank(control), Gradient(GIVEN[control]), Budget(200), hole=False)
    assert not findings.found.any()
    assert (findings.margin < -MARGIN).all()
    assert str(findings) == "nothing found in 1,600 queries: with 95 % confidence fewer than 0.0019 a query"


def test_a_score_is_a_gradient_of_a_candidate():
    attack, budget = Gradient(next_observation, population=8, descents=3), Budget(1 + 4 * 8)
    findings = hunted(Tank("continuous"), attack, budget, hole=False)
    assert (findings.scores == 4 * 8 * 3).all()
    limited = hunted(Tank("continuous"), attack, Budget(1000, scores=50), hole=False)
    assert (limited.scores == 3 * 8 * 3).all()  # the round in which the last of them is spent is the last
    assert (limited.queries == 1 + 3 * 8).all()


@pytest.mark.parametrize(("control", "rules"), [("continuous", next_observation), ("settings", None)])
def test_it_can_be_repeated(control, rules):
    assert_repeatable(lambda seed: hunted(Tank(control), Gradient(rules), Budget(30), seed, cases=failures(Tank(control))))


def imagined(control, hole=False, policy=None):
    env = Tank(control)
    options = replayed(env, cases(env, policy or random_policy(env, 3), 6))
    actions = relaxed(env.action_space)
    places = actions.places(options.action)
    return Imagined(classifier(env, hole), options, actions, places, next_observation), options, places


def test_with_nothing_changed_the_imagined_option_is_the_real_one_whatever_the_rules():
    right, options, places = imagined("continuous")
    wrong = Imagined(right.target, options, right.actions, places, lambda seen, done: seen * 0.5 + done)
    told = wrong.tensors(places)
    for name in ("observation", "action", "next_observation"):
        np.testing.assert_allclose(told[name], getattr(options, name), atol=1e-4)


def test_gradients_are_those_of_playing_otherwise():
    """Against central differences of real options: how a flow at any time changes all levels after it."""
    env, (found, _, places) = Tank("continuous"), imagined("continuous", policy=scripted(Tank("continuous"), "usual"))
    size = 1e-3
    scenes = cases(env, scripted(env, "usual"), 6)
    for time in (0, 5, LENGTH - 1):
        suspicion = []
        for sign in (1, -1):
            moved = places.clone()
            moved[:, time] += sign * size + 0.1  # away from the kink at the usual flow
            other = replace(scenes, action=found.actions.actions(moved))
            suspicion.append(found.target.suspicion(replayed(env, other).segments()))
        there = places.clone()
        there[:, time] += 0.1
        expected = (suspicion[0] - suspicion[1]) / (2 * size)
        np.testing.assert_allclose(found.gradient(there)[:, time, 0], expected, rtol=0.02, atol=0.02)


def test_from_what_is_no_catastrophe_it_climbs_to_one():
    """Where the filter sees the level alone and nothing flows, more suspicion leads to the edge and over it."""
    env, model = Tank("continuous"), classifier(Tank("continuous"), hole=False)
    with torch.no_grad():
        model.network_.parameters()[0][0, -4:-2] = 0.0  # what it makes of flows
    still = cases(env, lambda loop: np.zeros((len(loop.start), 1), np.float32), seed=1)
    assert not replayed(env, still).severity.any()
    findings = Gradient(next_observation).search(model, env, still, Budget(60), np.random.default_rng(0))
    assert (findings.catastrophes > 0).all()


def test_severity_is_sought_where_that_is_the_aim():
    env = Tank("continuous")
    worst = {}
    for aim in ("score", "severity"):
        attack = Gradient(next_observation, aim=aim, keep_going=True)
        findings = hunted(env, attack, Budget(300))
        assert findings.found.sum() >= 7
        worst[aim] = findings.options.severity[findings.found].mean()
    assert worst["severity"] > worst["score"]


def test_which_way_is_up_depends_on_the_aim():
    """Less suspicion is wanted of catastrophes, of accepted ones more where they are to be severe; of what is none, more."""
    env, rows = Tank(), np.arange(4)
    options = replayed(env, failures(env, 4))
    options.severity = np.array([0.0, 1.0, 1.0, 0.0])
    aims: list[tuple[Aim, list[int]]] = [("score", [-1, 1, 1, -1]), ("severity", [-1, -1, 1, -1])]
    for aim, expected in aims:
        hunt = Hunt(classifier(env), env, failures(env, 4), Budget(10), np.random.default_rng(0), aim=aim)
        best = Best(hunt)
        best.suspicion = np.array([2.0, 2.0, 5.0, 5.0])  # the threshold is 2.89
        assert Gradient()._way(hunt, options, best, rows).tolist() == expected


@pytest.mark.parametrize("control", ENOUGH)
def test_candidates_differ_from_what_they_set_out_from(control):
    """At least one step of each may change; choices change by half a place or more, or not at all."""
    env = Tank(control)
    hunt = Hunt(classifier(env), env, failures(env), Budget(10), np.random.default_rng(0))
    actions = relaxed(env.action_space)
    radius = Gradient()._radius(hunt, 4000, actions.smallest)
    assert (radius > 0).any(1).all()
    assert radius.max() <= 1
    assert radius[radius > 0].min() == pytest.approx(0.01 if control == "continuous" else 0.5, rel=0.02)
    np.testing.assert_allclose((radius > 0).mean(), 0.5 + 0.5 / LENGTH, atol=0.02)


def test_it_sets_out_from_the_best_of_its_own_candidates():
    env = Tank()
    hunt = Hunt(classifier(env), env, failures(env), Budget(10), np.random.default_rng(0))
    hunt.cost[:] = -np.inf  # as if another attack had shown the target something better
    best, rows = Best(hunt), hunt.rows
    tries = [best.query(rows, hunt.random_actions(8, 4, LENGTH)) for _ in range(2)]
    cost = np.concatenate([each.cost for each in tries], 1)
    action = np.concatenate([each.action for each in tries], 1)
    place = cost.argmin(1)
    np.testing.assert_array_equal(best.cost, cost.min(1))
    np.testing.assert_array_equal(best.action, action[np.arange(8), place])
    np.testing.assert_array_equal(best.options.action, best.action)


def test_rules_are_learned_again_when_twice_as_much_was_seen(monkeypatch):
    sizes = []

    class Watched(module.LearnedDynamics):
        def fit(self, segments, action_space):
            sizes.append(len(segments))
            return super().fit(segments, action_space)

    monkeypatch.setattr(module, "LearnedDynamics", Watched)
    monkeypatch.setattr(module, "MOST_STEPS", 500 * LENGTH)
    monkeypatch.setattr(Watched, "steps", 20)
    hunted(Tank("continuous"), Gradient(), Budget(10 * 16), hole=False)
    assert sizes == [128, 256, 500, 500]  # 8 trials of 16 candidates; of 512 and 1,024 the latest


def test_nonsense_is_told_of():
    with pytest.raises(ProxygapError, match="step 'big': allowed are 'sign' and 'normalised'"):
        Gradient(step="big")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ProxygapError, match="descents=0: at least 1"):
        Gradient(descents=0)
    model = classifier(Tank())
    model.inputs_ = Inputs({"observation": (2,)}, {"observation": torch.arange(3)}, {})
    with pytest.raises(ProxygapError, match="shown observation as choices and nothing else: there is no gradient"):
        Gradient().search(model, Tank(), failures(Tank()), Budget(5), np.random.default_rng(0))
