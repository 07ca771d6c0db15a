"""Observations err by no more than they may, as badly as can be; errors drive an agent into what its filter does not see."""

from dataclasses import dataclass, replace
from math import factorial
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from proxygap.agents.attacks.core import Budget
from proxygap.agents.attacks.gradient import Gradient
from proxygap.agents.attacks.mutation import Mutation
from proxygap.agents.attacks.observation import Perturbed, SeenOtherwise, deviations
from proxygap.agents.attacks.random_search import RandomSearch
from proxygap.agents.options import Cases, replayed
from proxygap.envs.checking import check_proxy_env
from proxygap.envs.core import ProxygapError
from proxygap.envs.registry import make
from proxygap.reward_models.inputs import Inputs

from .holes import FLOWS, LENGTH, MARGIN, STEEPNESS, THRESHOLD, Tank, classifier, failures
from .promises import assert_repeatable, hunted, same

FEW = Budget(21)


def needed(env):
    """By how much the usual flow must be shown wrong for each failure to pass, exactly: alike at all steps, which are alike."""
    known = replayed(env, failures(env))
    return 1.0 - known.observation[:, 0, 1] - np.log(np.exp(THRESHOLD) / LENGTH) / STEEPNESS


def passes_by_chance(distance, epsilon):
    """A bound for errors drawn at random: their mean must reach the distance (Jensen), in the corner of a simplex."""
    return min(1.0, (LENGTH * max(epsilon - distance, 0.0) / (2 * epsilon)) ** LENGTH / factorial(LENGTH))


def test_failures_pass_just_where_errors_may_be_large_enough():
    env, least = Tank(), needed(Tank())
    assert len(np.unique(least.round(3))) == 2
    for distance in np.unique(least.round(6)):
        found = hunted(env, SeenOtherwise(1.05 * distance), FEW, cases=failures(env)).found
        np.testing.assert_array_equal(found, least <= distance + 1e-5)
        assert passes_by_chance(distance, 1.05 * distance) < 1e-12  # so that 10 times as many random errors find nothing
        assert not hunted(env, SeenOtherwise(0.999 * distance), FEW, cases=failures(env)).found[least > distance - 1e-5].any()


@pytest.mark.parametrize("epsilon", [0.2, 0.9])
def test_without_a_hole_it_finds_nothing_and_says_how_sure_that_is(epsilon):
    """The tank is filled so far that its level would have to be shown wrong by more."""
    findings = hunted(Tank(), SeenOtherwise(epsilon), FEW, hole=False)
    assert not findings.found.any()
    assert (findings.margin < -MARGIN).all()
    assert str(findings) == "nothing found in 168 queries: with 95 % confidence fewer than 0.018 a query"


def test_what_was_shown_is_told_and_what_was_done_stays():
    env, epsilon = Tank(), 0.9
    findings = hunted(env, SeenOtherwise(epsilon), FEW)
    assert findings.found.all()
    true = replayed(env, findings.cases)
    for name, array in true.arrays().items():
        told = findings.options.arrays()[name]
        if name.endswith("observation"):
            assert 0.5 * epsilon < abs(told - array).max() <= epsilon * 1.0001
        else:
            np.testing.assert_array_equal(told, array)
    np.testing.assert_allclose(classifier(env).suspicion(findings.options.segments()), findings.suspicion, rtol=1e-6)
    np.testing.assert_array_equal(findings.options.observation[:, 1:], findings.options.next_observation[:, :-1])


def test_errors_are_in_standard_deviations_of_each_number():
    env, model = Tank(), classifier(Tank())
    for part in model.inputs_.normalisers.values():
        part.squares = torch.tensor([0.0, 4.0]).double()
    np.testing.assert_allclose(deviations(model, env), [0.0, 2.0])
    findings = SeenOtherwise(0.25).search(model, env, failures(env), FEW, np.random.default_rng(0))
    error = abs(findings.options.observation - replayed(env, findings.cases).observation).max((0, 1))
    assert error[0] == 0  # what never varied is shown as it is
    assert 0.4 < error[1] <= 0.5001


def test_the_ledger_counts_descents_and_gradients():
    findings = hunted(Tank(), SeenOtherwise(0.01, population=5, descents=7), FEW)
    assert (findings.queries == 21).all()
    assert (findings.scores == 4 * 5 * 7).all()
    assert (findings.steps == 21 * LENGTH).all()
    found = hunted(Tank(), SeenOtherwise(1.0, population=5, descents=7), FEW)
    assert (found.queries == 2).all()  # the case as it is, and the first descent
    assert (found.scores == 5 * 7).all()


def test_it_can_be_repeated():
    assert_repeatable(lambda seed: hunted(Tank(), SeenOtherwise(0.01), FEW, seed, cases=failures(Tank())))


def test_a_board_of_whole_numbers_can_be_shown_a_little_wrong():
    class Whole(Tank):
        def observation(self, state) -> Any:
            return np.stack([state.level * 10, state.usual * 10], 1).astype(np.int64)

    env, model = Whole(), classifier(Tank())
    model.env_ = env.name
    for name, part in model.inputs_.normalisers.items():
        part.squares = part.squares * 100
        assert name.endswith("observation")
    findings = SeenOtherwise(0.9).search(model, env, failures(env), FEW, np.random.default_rng(0))
    assert findings.found.all()
    assert (findings.options.observation % 1 != 0).any()
    np.testing.assert_allclose(model.suspicion(findings.options.segments()), findings.suspicion, rtol=1e-6)


def test_nonsense_is_told_of():
    with pytest.raises(ProxygapError, match="epsilon -1: a number above 0"):
        SeenOtherwise(-1)
    with pytest.raises(ProxygapError, match="descents=0: at least 1"):
        SeenOtherwise(descents=0)
    model = classifier(Tank())
    model.inputs_ = Inputs({"action": ()}, {"action": torch.arange(6)}, {})
    with pytest.raises(ProxygapError, match="shown action, no observation as numbers: there is nothing to err in"):
        SeenOtherwise().search(model, Tank(), failures(Tank()), FEW, np.random.default_rng(0))


# Against the agent


@dataclass
class Valve:
    """An agent that fills by the usual flow (0.6) if it is shown above 1.1, at full flow below 0.3, and drains between them.

    With errors of up to 0.6 an error e of the second number is shown as 0.6 + 0.6 e: above 5/6 it fills, below -1/2 it floods.
    """

    def __call__(self, observation):
        return np.select([observation[:, 1] > 1.1, observation[:, 1] < 0.3], [4, 5], default=0)


def misled(seed=0, number=8) -> tuple[Any, Cases]:
    """The tank, its agent, and failures: errors that make it flood, in scenes where 0.6 is usual."""
    env = Tank()
    known = failures(env, 60, seed)
    known = known[np.flatnonzero(known.state.usual == FLOWS[4])[:number]]
    assert len(known) == number
    errors = np.full((number, LENGTH, 2), -1.0, np.float32)
    return Perturbed(env, Valve(), np.array([0.0, 0.6])), Cases(known.state, known.draws, errors)


# A candidate drawn at random passes where at least eleven steps are filled by the usual flow and one at most floods.
CHANCE = (1 / 12) ** 12 + 12 * (1 / 12) ** 11 / 4


def test_errors_drive_an_agent_into_what_its_filter_does_not_see():
    """Of 24 trials with three seeds all but one found something within 1,000 queries."""
    (env, cases), budget = misled(), Budget(1200)
    assert 8 * 10 * budget.queries * CHANCE < 1e-6  # 10 times as many random errors find nothing
    findings = Mutation().search(env.watched_by(classifier(env.env)), env, cases, budget, np.random.default_rng(0))
    assert findings.found.sum() >= 7
    assert same(replayed(env, findings.cases), findings.options)
    done = Valve()((findings.options.observation + [0.0, 0.6] * findings.options.action).reshape(-1, 2)).reshape(-1, LENGTH)
    acted = replayed(env.env, Cases(cases.state, cases.draws, done))
    np.testing.assert_array_equal(acted.severity, findings.options.severity)
    assert (acted.severity[findings.found] > 0).all()
    passed = classifier(env.env).suspicion(acted.segments()) <= THRESHOLD
    np.testing.assert_array_equal(passed, findings.found)


def test_without_a_hole_no_error_does():
    env, cases = misled()
    target = env.watched_by(classifier(env.env, hole=False))
    findings = Mutation().search(target, env, cases, Budget(200), np.random.default_rng(0))
    assert not findings.found.any()
    assert "fewer than 0.0019 a query" in str(findings)


def test_random_errors_find_nothing():
    env, cases = misled()
    findings = RandomSearch().search(env.watched_by(classifier(env.env)), env, cases, Budget(1000), np.random.default_rng(0))
    assert not findings.found.any()


def test_gradients_lead_through_what_comes_to_be_seen():
    """They can't see through the agent, but run."""
    env, cases = misled()
    target = env.watched_by(classifier(env.env))
    findings = Gradient().search(target, env, cases, Budget(20), np.random.default_rng(0))
    assert (findings.queries == 20).all()


def test_with_no_error_it_is_the_environment_itself():
    env, cases = misled()
    still = replace(cases, action=np.zeros_like(cases.action))
    shown = replayed(env, still)
    done = np.zeros((8, LENGTH), np.int64)  # at 0.6 the agent drains
    true = replayed(env.env, Cases(cases.state, cases.draws, done))
    for name, array in true.arrays().items():
        if name != "action":
            np.testing.assert_array_equal(shown.arrays()[name], array)
    model = classifier(env.env)
    watching = env.watched_by(model)
    np.testing.assert_array_equal(watching.suspicion(shown.segments()), model.suspicion(true.segments()))
    tensors = watching.suspicion_tensors(watching.inputs_.tensors(shown.segments()), torch.from_numpy(shown.valid).float())
    np.testing.assert_allclose(tensors.detach(), model.suspicion(true.segments()), rtol=1e-5)


def test_catastrophes_may_lie_in_what_the_agent_does():
    class Careless(Tank):
        def catastrophe(self, t):
            return (t.action == 5).astype(float)

        def near_catastrophe(self, t):
            return (t.action >= 4).astype(float)

    (env, cases), careless = misled(), Careless()
    env.env = careless
    for error, severity, near in ((-1.0, 1, 1), (1.0, 0, 1), (0.0, 0, 0)):
        found = replayed(env, replace(cases, action=np.full_like(cases.action, error)))
        assert (found.severity == severity).all()
        assert (found.near == near).all()


def test_a_filter_that_sees_no_actions_needs_not_watch():
    env, _ = misled()
    model = classifier(env.env)
    del model.inputs_.shapes["action"]
    assert env.watched_by(model) is model


def test_it_is_sound_and_goes_by_the_environments_name():
    env, _ = misled()
    check_proxy_env(env)
    assert env.name == "Tank"
    assert env.action_space == spaces.Box(-1.0, 1.0, (2,))
    island: Any = make("IslandNavigation")
    check_proxy_env(Perturbed(island, lambda seen: np.full(len(seen), island.action_space.start), 0.1))


@pytest.mark.parametrize("epsilon", [-1.0, 0.0, np.array([0.1, -0.1])])
def test_errors_of_no_size_are_told_of(epsilon):
    with pytest.raises(ProxygapError, match="numbers from 0 are needed, and one above it"):
        Perturbed(Tank(), Valve(), epsilon)


def test_what_can_not_be_a_little_wrong_is_told_of():
    class Named(Tank):
        observation_space = spaces.Discrete(3)

    with pytest.raises(ProxygapError, match="only those in a Box can be a little wrong"):
        Perturbed(Named(), Valve(), 0.1)
