"""Substitution edits where the gradient points, tries what it says there, and keeps what is better."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.attacks.core import Budget
from proxygap.agents.attacks.substitution import Substitution, saliency, sources
from proxygap.agents.options import replayed
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.inputs import Inputs

from .holes import FLOWS, LENGTH, Tank, cases, classifier, failures
from .watching import watched


def almost(env, place):
    """What is usual but for one step [N], which is far off, so that it is refused for that step alone."""
    given = cases(env, scripted(env, "usual"))
    given.action[np.arange(8), place] = 0
    return given


def test_saliency_is_the_norm_of_the_gradient():
    """Against central differences of the odds, which the tank's filter adds up; the action's column counts like the flow's."""
    env, model = Tank("continuous"), classifier(Tank("continuous"), hole=False)
    segments = replayed(env, cases(env, random_policy(env, 2), 20)).segments()
    segments.valid[:, -2:] = False
    found = saliency(model, segments)
    tensors = {name: tensor.double() for name, tensor in model.inputs_.tensors(segments).items()}
    valid, squares, step = torch.from_numpy(segments.valid).float(), 0.0, 1e-3
    for name, tensor in tensors.items():
        for column in range(tensor.shape[-1]):
            for time in range(LENGTH):
                moved = torch.zeros_like(tensor)
                moved[:, time, column] = step
                above, below = (
                    model.suspicion_tensors(
                        {key: (t + sign * moved if key == name else t).float() for key, t in tensors.items()}, valid
                    )
                    for sign in (1, -1)
                )
                squares = squares + np.eye(LENGTH)[time] * ((above - below).numpy(force=True)[:, None] / (2 * step)) ** 2
    np.testing.assert_allclose(found, np.sqrt(squares), atol=0.02)
    assert (found[:, -2:] == 0).all()
    assert found[:, :-2].max() > 1


def test_saliency_sees_choices_as_columns():
    """A step above the usual flow: its odds' share, times 4, by the usual flow and by the six columns, is the slope."""
    env = Tank()
    segments = replayed(env, failures(env)).segments()
    odds = np.exp(4 * abs(1.0 - segments.observation[..., 1]))
    expected = 4 * odds / odds.sum(1, keepdims=True) * np.sqrt(1 + (FLOWS**2).sum())
    np.testing.assert_allclose(saliency(classifier(env), segments), expected, rtol=1e-5)


def test_what_has_no_gradient_is_told_of():
    model = classifier(Tank())
    segments = replayed(Tank(), failures(Tank())).segments()
    segments.action = segments.action.astype(float)
    levels = {"action": torch.arange(6.0)}
    model.inputs_ = Inputs({"action": ()}, levels, {})
    with pytest.raises(ProxygapError, match="nothing that it has a gradient by: set saliency=False"):
        saliency(model, segments)


@given(edit=st.sampled_from(["replace", "insert", "delete"]), length=st.integers(1, 9), data=st.data())
def test_edits_are_those_of_lists(edit, length, data):
    segment = data.draw(st.integers(1, length))
    place = data.draw(st.integers(0, length - segment))
    old, new = list(range(length)), list(range(length, length + segment))
    edited = {
        "replace": old[:place] + new + old[place + segment :],
        "insert": (old[:place] + new + old[place:])[:length],
        "delete": old[:place] + old[place + segment :] + new,
    }[edit]
    assert sources(edit, np.array([place]), segment, length).tolist() == [edited]


@pytest.mark.parametrize("control", ["settings", "continuous"])
def test_places_where_edits_failed_come_again_when_another_has_helped(control):
    """Always the most salient place of the best option so far, but for those tried in vain since it is the best."""
    env = Tank(control)
    model = classifier(env, hole=False)
    with watched() as queries:
        Substitution().search(model, env, failures(env), Budget(300), np.random.default_rng(4))
    _, _, _, tries = queries[0]
    best, cost, each = tries.options, tries.cost[:, 0], np.arange(8)
    failed, returned = np.zeros((8, LENGTH), bool), False
    for _, _, fresh, tries in queries[1:]:
        worth = np.where(failed, -1.0, saliency(model, best.segments()))
        place = fresh.any(1).argmax(1)
        going = ~failed.all(1)
        assert np.array_equal(place[going], worth.argmax(1)[going])
        first = tries.best(1)[:, 0]
        better = (tries.cost[each, first] < cost) | ~going
        returned |= bool((failed.sum(1) > 1)[better].any())
        best[better] = tries.options[(each * tries.cost.shape[1] + first)[better]]
        cost = np.where(better, tries.cost[each, first], cost)
        failed[better] = False
        failed[each, place] = ~better if control == "continuous" else True
    assert returned


@pytest.mark.parametrize("control", ["settings", "continuous", "valves"])
def test_the_salient_step_is_edited_first(control):
    env, place = Tank(control), np.array([0, 3, 5, 11, 7, 2, 9, 6])
    given = almost(env, place)
    with watched() as queries:
        Substitution().search(classifier(env), env, given, Budget(9), np.random.default_rng(0))
    assert np.array_equal(queries[0][1][:, 0], given.action)
    fresh = queries[1][2]
    assert np.array_equal(fresh.any(1).argmax(1), place[queries[1][0]])
    assert (fresh.sum(2) == 1).all()


def test_every_other_action_is_tried_at_a_place():
    env, given = Tank(), almost(Tank(), np.full(8, 4))
    with watched() as queries:
        findings = Substitution().search(classifier(env), env, given, Budget(9), np.random.default_rng(0))
    assert findings.found.all()
    assert (np.sort(queries[1][1][:, :, 4], axis=1) == np.arange(1, 6)).all()
    assert (findings.queries > 1).all()
    assert len(np.unique(findings.queries)) > 1  # for their order is random
    assert (findings.scores == 1).all()


@dataclass
class Unmoved:
    """A filter that finds everything equally suspicious, as if its gradient were 0."""

    env_: str
    inputs_: Inputs
    threshold_: float = 0.0

    def suspicion(self, segments):
        return np.ones(len(segments.valid))

    def suspicion_tensors(self, tensors, valid, shift=None):
        return 1.0 + 0.0 * sum(tensor.flatten(1).sum(1) for tensor in tensors.values())


@pytest.mark.parametrize(
    "attack", [Substitution(), Substitution(saliency=False), Substitution(ranked=False), Substitution(segment=4)]
)
def test_where_nothing_helps_every_place_is_tried_before_any_again(attack):
    env, number = Tank("continuous"), LENGTH - attack.segment + 1
    target, budget = Unmoved(env.name, classifier(env).inputs_), Budget(1 + (number + 4) * (8 if attack.ranked else 1))
    with watched() as queries:
        findings = attack.search(target, env, failures(env), budget, np.random.default_rng(0))
    assert not findings.found.any()
    places = np.stack([fresh.any(1).argmax(1) for _, _, fresh, _ in queries[1 : number + 1]], 1)
    assert (np.sort(places, axis=1) == np.arange(number)).all()
    changed = [(action != queries[0][1]).any(3).sum(2).max() for _, action, _, _ in queries]  # steps, against the case
    assert max(changed[: number + 1]) == attack.segment
    assert changed[-1] > attack.segment  # then one edit was made all the same, and others beside it


@pytest.mark.parametrize(
    ("saliently", "ranked", "a_time", "asked"),
    [(True, True, 8, 1), (True, False, 1, 1), (False, True, 8, 0), (False, False, 1, 0)],
)
def test_each_half_of_the_tool_works_alone(saliently, ranked, a_time, asked):
    env = Tank("continuous")
    attack = Substitution(saliency=saliently, ranked=ranked)
    with watched() as queries:
        findings = attack.search(classifier(env), env, failures(env, 4), Budget(1000), np.random.default_rng(0))
    assert findings.found.sum() >= 3
    assert all(action.shape[1] == a_time for _, action, _, _ in queries[1:])
    rounds = -(-(findings.queries - 1) // a_time)
    assert np.array_equal(findings.scores, asked * rounds)


def test_saliency_saves_queries():
    """Where one step is to blame: with saliency it is the first place, without it is on average in the middle of 12."""
    env, given = Tank(), almost(Tank(), np.arange(8))
    few, many = (
        Substitution(saliency=on).search(classifier(env), env, given, Budget(61), np.random.default_rng(1)).queries
        for on in (True, False)
    )
    assert (few <= 6).all()
    assert many.mean() > 2 * few.mean()


def test_a_policy_plays_the_new_steps():
    env = Tank("valves")
    attack = Substitution(
        policy=lambda seed: scripted(env, "usual"), segment=3, substitutes=2, edits=("replace", "insert", "delete")
    )
    with watched() as queries:
        attack.search(classifier(env, hole=False), env, failures(env), Budget(6), np.random.default_rng(0))
    _, _, fresh, tries = queries[1]
    assert tries.action.shape[1] == 5  # deleting is one candidate
    assert (fresh.sum(2) == 3).all()
    assert fresh[:, 4, -3:].all()
    usual = np.repeat(replayed(env, cases(env, scripted(env, "usual"))).action[:, None], 5, 1)
    assert np.array_equal(tries.action, np.where(fresh[..., None], usual, 5))


def test_only_a_catastrophe_takes_the_place_of_one():
    """The filter prefers a tank in which nothing moves: without the catastrophe's tier, that would be best."""
    env = Tank("continuous")
    model = classifier(env, hole=False)
    findings = replace(Substitution(), keep_going=True).search(model, env, failures(env), Budget(400), np.random.default_rng(0))
    assert (findings.options.severity > 0).all()
    still = replayed(env, cases(env, lambda loop: np.zeros((len(loop.start), 1), np.float32)))
    assert (model.suspicion(still.segments()) < findings.suspicion).all()
