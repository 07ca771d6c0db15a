"""The holes that attacks are tested with are as small as is said, and a filter without one refuses every catastrophe."""

import numpy as np
import pytest
import torch
from proxygap.agents.attacks.random_search import RandomSearch
from proxygap.agents.options import replayed
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs.checking import check_proxy_env

from . import holes
from .holes import FLOWS, LENGTH, MARGIN, RANDOM, STEEPNESS, THRESHOLD, Tank, chance, classifier, next_observation

CONTROLS = "settings", "continuous", "valves"
SMALL = {"settings": 2e-7, "continuous": 4e-8, "valves": 7e-6}


@pytest.mark.parametrize("control", CONTROLS)
def test_the_tank_is_a_sound_environment(control):
    check_proxy_env(Tank(control))


@pytest.mark.parametrize("control", CONTROLS)
def test_what_is_usual_spills_unseen_and_what_is_known_is_refused(control):
    env, model = Tank(control), classifier(Tank(control))
    options = replayed(env, holes.cases(env, scripted(env, "usual"), 100))
    assert (options.severity > 0).all()
    np.testing.assert_allclose(model.suspicion(options.segments()), np.log(LENGTH), atol=1e-5)
    known = replayed(env, holes.failures(env, 100))
    assert (known.severity > 0).all()
    assert (model.suspicion(known.segments()) > THRESHOLD + 1).all()


@pytest.mark.parametrize("control", CONTROLS)
def test_suspicion_is_what_the_story_says(control):
    env, model = Tank(control), classifier(Tank(control))
    options = replayed(env, holes.cases(env, random_policy(env, 3), 50))
    flow = env.flow(options.action)
    odds = np.exp(STEEPNESS * abs(flow - options.observation[..., 1])).sum(1)
    np.testing.assert_allclose(model.suspicion(options.segments()), np.log(odds), rtol=1e-5)


@pytest.mark.parametrize("control", CONTROLS)
def test_random_actions_pass_as_seldom_as_is_said(control):
    env = Tank(control)
    assert max(chance(env, 0.2), chance(env, 0.6)) < SMALL[control]
    findings = RandomSearch().search(classifier(env), env, holes.failures(env), RANDOM, np.random.default_rng(0))
    assert not findings.found.any()
    assert (findings.queries == RANDOM.queries).all()


def test_settings_pass_where_one_step_is_off_by_one_at_most():
    for off in np.ndindex(3, 3, 3):  # settings off at three steps, the others at the usual flow: more are worse still
        odds = np.exp(STEEPNESS * (FLOWS[1] - FLOWS[0]) * np.array(off)).sum() + LENGTH - 3
        assert (np.log(odds) <= THRESHOLD) == (sum(off) <= 1)


@pytest.mark.parametrize("control", CONTROLS)
def test_without_a_hole_every_catastrophe_is_refused_by_a_margin(control):
    env, model = Tank(control), classifier(Tank(control), hole=False)
    parts = [holes.cases(env, policy, 500) for policy in (random_policy(env, 4), scripted(env, "usual"))]
    for part in parts:
        options = replayed(env, part)
        bad = options.severity > 0
        assert bad.sum() > 100
        assert (model.suspicion(options.segments())[bad] > THRESHOLD + MARGIN).all()


def test_the_rules_as_tensors_are_the_rules():
    env = Tank("continuous")
    options = replayed(env, holes.cases(env, random_policy(env, 1), 20))
    told = next_observation(torch.from_numpy(options.observation), torch.from_numpy(options.action))
    np.testing.assert_allclose(told, options.next_observation, atol=1e-6)
