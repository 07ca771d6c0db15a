"""The activations are moved by no more than they may be, as well as can be, and only then does the known failure pass."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from proxygap.agents.attacks.core import Budget
from proxygap.agents.attacks.latent import Latent, Layer
from proxygap.agents.options import replayed
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes
from proxygap.reward_models.filters import ReturnFilter
from proxygap.reward_models.inputs import Inputs
from proxygap.reward_models.preference import PreferenceReward

from .holes import MARGIN, STEEPNESS, THRESHOLD, Tank, classifier, failures
from .promises import assert_repeatable, hunted, same

HALF = Budget(21)


def needed(env, model):
    """By how much activations must be moved for each failure to pass, [N], exactly.

    The tank's filter adds up hidden units with weights w, so that moves of norm r lower every step's log odds by r times the
    norm of w, each weight in standard deviations, and so the log of their sum.
    """
    options = replayed(env, failures(env))
    unit = model.activations(options.segments()).reshape(-1, 3).std(0)
    weights = model.network_.flat.detach().numpy()[0, -4:-1]
    return (model.suspicion(options.segments()) - THRESHOLD) / (np.linalg.norm(weights * unit) * 3**0.5)


@pytest.mark.parametrize("hole", [True, False])
def test_failures_pass_just_where_the_ball_is_large_enough(hole):
    env = Tank()
    least = needed(env, classifier(env, hole))
    for epsilon in (0.97 * least.min(), 1.03 * least.min(), 0.5 * (least.min() + least.max()), 1.03 * least.max()):
        findings = hunted(env, Latent(epsilon), HALF, hole=hole, cases=failures(env))
        assert findings.found[epsilon > 1.02 * least].all()
        assert not findings.found[epsilon < 0.999 * least].any()


def test_what_is_found_is_the_case_itself():
    env = Tank()
    findings = hunted(env, Latent(10.0), HALF, cases=failures(env))
    assert findings.found.all()
    np.testing.assert_array_equal(findings.cases.action, failures(env).action)
    assert same(replayed(env, findings.cases), findings.options)
    assert (findings.margin >= 0).all()
    assert (classifier(env).suspicion(findings.options.segments()) > THRESHOLD).all()


def test_small_moves_find_nothing_and_say_how_sure_that_is():
    findings = hunted(Tank(), Latent(0.01), HALF, hole=False)
    assert not findings.found.any()
    assert (findings.margin < -MARGIN).all()
    assert str(findings) == "nothing found in 168 queries: with 95 % confidence fewer than 0.018 a query"


def test_the_ledger_counts_descents_and_gradients():
    findings = hunted(Tank(), Latent(0.01, population=5, descents=7), HALF)
    assert (findings.queries == 21).all()
    assert (findings.scores == 4 * 5 * 7).all()
    found = hunted(Tank(), Latent(10.0, population=5, descents=7), HALF)
    assert (found.queries == 2).all()  # the case as it is, and the first descent
    assert (found.scores == 5 * 7).all()


def test_it_can_be_repeated():
    assert_repeatable(lambda seed: hunted(Tank(), Latent(0.01), HALF, seed, cases=failures(Tank())))


def test_what_is_harmless_is_never_found():
    env = Tank()
    still = failures(env)
    still.action[:] = 0
    findings = hunted(env, Latent(100.0), HALF, cases=still)
    assert not findings.found.any()
    assert "no candidate was a catastrophe at all" in str(findings)


def fitted(**settings):
    """A filter that was learned: of two members, or of a reward model."""
    env = Tank("continuous")
    options = replayed(env, failures(env, 30))
    quiet = replayed(env, failures(env, 30))
    quiet.action[:] *= -1.0
    segments = type(options).concatenate([options, quiet]).segments()
    known = Catastrophes(segments, np.repeat([1.0, 0.0], 30), env.name)
    return CatastropheClassifier(steps=30, hidden=(6, 5), **settings).fit(known)


def test_no_step_of_any_member_moves_further_than_it_may(monkeypatch):
    env, model = Tank("continuous"), fitted(ensemble=2)
    options = replayed(env, failures(env))
    layer, given = Layer(model, options), []

    def watched(tensors, valid, shift):
        given.append(shift.detach() / layer.unit.clamp(min=1e-9))
        return CatastropheClassifier.suspicion_tensors(model, tensors, valid, shift)

    monkeypatch.setattr(model, "suspicion_tensors", watched)
    layer.moved(options, 0.3, 10, np.random.default_rng(0))
    moves = torch.stack(given)[:, :, :, :, (layer.unit > 0).all(0).flatten()]
    assert moves.shape[1:4] == (2, 8, 12)
    assert (moves.square().sum(-1) <= (0.3**2 * 6) * 1.001).all()
    assert (given[0] != given[-1]).any()


def test_reward_models_as_filters_are_reached_into_too():
    env, model = Tank(), classifier(Tank())
    reward = PreferenceReward(hidden=(3,))
    for name in ("inputs_", "network_", "slope_", "intercept_", "env_"):
        setattr(reward, name, getattr(model, name))
    target: Any = ReturnFilter(reward)
    options = replayed(env, failures(env))
    target.threshold_ = float(target.suspicion(options.segments()).min() - 1)
    unit = reward.activations(options.segments()).reshape(-1, 3).std(0)
    reach = 12 * STEEPNESS * np.linalg.norm(unit[:2]) * 3**0.5  # by which one standard deviation lowers the sum of 12 steps
    over = target.suspicion(options.segments()) - target.threshold_
    for epsilon in (0.95 * over.min() / reach, 1.05 * over.max() / reach):
        findings = Latent(epsilon).search(target, env, failures(env), HALF, np.random.default_rng(0))
        np.testing.assert_array_equal(findings.found, epsilon > over / reach)


@dataclass
class Blind:
    """A target without layers."""

    env_: str = "Tank"
    threshold_: float = 0.0
    inputs_: Inputs | None = None

    def suspicion(self, segments):
        return np.ones(len(segments.valid))

    def suspicion_tensors(self, tensors, valid):
        return valid.sum(-1)


def test_nonsense_is_told_of():
    with pytest.raises(ProxygapError, match="epsilon 0: a number above 0"):
        Latent(0)
    with pytest.raises(ProxygapError, match="population=0: at least 1"):
        Latent(population=0)
    with pytest.raises(ProxygapError, match="a Blind has no hidden layer to reach into"):
        Latent().search(Blind(), Tank(), failures(Tank()), HALF, np.random.default_rng(0))
