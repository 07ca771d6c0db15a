"""A reward learned from comparisons: what it finds, what it can't know, what it pays for, and how it is kept."""

import pickle
from copy import copy
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.core import Observed, ProxygapError, Segments, Transition
from proxygap.reward_models.aggregation import AGGREGATIONS
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes, Ratings
from proxygap.reward_models.preference import PreferenceReward, bradley_terry
from proxygap.reward_models.regression import RegressionReward
from safetensors.torch import load_file, save_file
from scipy.special import expit

from .behaviour import QUICK, behaviour, changed, compared, linear


@pytest.fixture(scope="module")
def model():
    """Three members, fitted to a thousand comparisons by a linear reward."""
    return PreferenceReward(ensemble=3, steps=900).fit(compared(1000))


# The loss


@given(st.floats(-2000, 2000), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_gradient_is_how_far_the_probability_is_off_and_never_clipped(difference, label):
    z = torch.tensor(difference, dtype=torch.float64, requires_grad=True)
    bradley_terry(z, torch.tensor(label)).backward()
    assert float(z.grad) == pytest.approx(expit(difference) - label, abs=1e-12)  # pyright: ignore[reportArgumentType]


def test_a_return_that_is_a_thousand_wrong_pulls_on_the_network(model):
    model, pairs = copy(model), compared(8)
    sides = [model.score_tensors(model.inputs_.tensors(side)) for side in (pairs.first, pairs.second)]
    rewards = 1e5 * torch.stack(sides, 1)[None]
    difference = rewards.detach().sum(-1)[0] @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    assert difference.abs().min() > 1000
    for loss in model.losses(rewards, torch.ones(8, 2, 10), (difference < 0).double())[0]:
        (pull,) = torch.autograd.grad(loss, model.network_.flat, retain_graph=True)
        assert (pull.abs().amax(1) > 1).all()


@given(st.floats(-30, 30), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.01, 0.1, 0.9]))
def test_slips_are_allowed_for_by_the_closed_form(difference, label, noise):
    p = noise / 2 + (1 - noise) * expit(difference)
    found = bradley_terry(torch.tensor(difference, dtype=torch.float64), torch.tensor(label), noise)
    assert float(found) == pytest.approx(-label * np.log(p) - (1 - label) * np.log(1 - p))


def test_a_slip_costs_little_where_slips_are_allowed_for():
    assert float(bradley_terry(torch.tensor(-1000.0), torch.tensor(1.0), 0.1)) == pytest.approx(-np.log(0.05))


# What is learned


def test_a_linear_reward_is_found_up_to_scale_and_constant(model):
    fresh = behaviour(300, seed=77)
    assert np.corrcoef(model.predict(fresh).ravel(), linear(fresh).ravel())[0, 1] > 0.97
    assert model.score(compared(500, seed=9)) > 0.93


def test_mistakes_are_learned_around():
    pairs = compared(800)
    slips = np.random.default_rng(0).random(800) < 0.2
    wrong = changed(pairs, label=np.where(slips, 1 - pairs.label, pairs.label))
    found = PreferenceReward(noise=0.4, **QUICK).fit(wrong)
    assert found.score(compared(500, seed=9)) > 0.88


def test_each_member_has_mean_0_and_deviation_1_where_it_learned(model):
    pairs = compared(1000)
    steps = model.members(Segments.concatenate([pairs.first, pairs.second])).reshape(3, -1)
    np.testing.assert_allclose(steps.mean(1), 0.0, atol=1e-6)
    np.testing.assert_allclose(steps.std(1), 1.0, atol=1e-6)


def test_members_are_brought_to_another_reference_if_asked(model):
    other, reference = copy(model), behaviour(50, seed=3, shortest=2)
    other.standardise(reference)
    steps = other.members(reference)[:, reference.valid]
    np.testing.assert_allclose(steps.mean(1), 0.0, atol=1e-6)
    np.testing.assert_allclose(steps.std(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(other.differences(compared(20)), model.differences(compared(20)), atol=1e-4)


def test_learning_anew_forgets_everything():
    first, second = compared(60, seed=1), compared(60, seed=2, env="Desert")
    again = PreferenceReward(ensemble=2, **QUICK).fit(first).fit(second)
    once = PreferenceReward(ensemble=2, **QUICK).fit(second)
    np.testing.assert_array_equal(again.predict(first.first), once.predict(first.first))
    assert again.env_ == "Desert"
    assert again.history_ == once.history_


@pytest.mark.parametrize("settings", [{}, {"bootstrap": True}, {"seen": 0.5}, {"narrowest": 0.25}])
def test_members_differ(settings):
    found = PreferenceReward(ensemble=3, **QUICK, **settings).fit(compared(100))
    assert found.predict_std(behaviour(20, seed=5)).min() > 0


def test_an_average_of_weights_is_one_network_as_good_as_its_members():
    pairs = compared(400)
    found = PreferenceReward(ensemble=3, bootstrap=True, shared_steps=400, steps=200, patience=200).fit(pairs)
    one = found.averaged(pairs.first)
    assert one.members(pairs.first).shape == (1, 400, 10)
    assert one.score(compared(300, seed=9)) > found.score(compared(300, seed=9)) - 0.03
    assert found.ensemble == 3


# What is paid


def test_pays_steps_of_any_leading_shape_in_double_precision(model):
    stretches = behaviour(6)
    observation, action, following, terminated = (getattr(stretches, field.name)[:, 4] for field in fields(Observed))
    steps = Observed(observation, action, following, terminated)
    assert model.predict(steps).shape == (6,)
    assert model.predict(stretches).shape == model.predict_std(stretches).shape == (6, 10)
    assert model.members(stretches).shape == (3, 6, 10)
    assert model.predict(steps).dtype == np.float64
    np.testing.assert_allclose(model.predict(stretches)[:, 4], model.predict(steps), atol=1e-6)
    np.testing.assert_allclose(model.members(stretches).std(0), model.predict_std(stretches), atol=1e-12)


def test_is_a_reward_that_never_looks_at_hidden_states(model):
    stretches = behaviour(6)
    observation, action, following = (getattr(stretches, field.name)[:, 0] for field in fields(Observed)[:3])
    t: Any = Transition(observation, action, following, np.zeros(6, bool), None, None)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(model(t), model(t.observed()))
    np.testing.assert_array_equal(model(t), model.predict(t.observed()))


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_members_are_aggregated_as_asked_also_afterwards_and_alike_for_all_who_optimise(model, how):
    model, stretches = copy(model), behaviour(6)
    model.aggregate = how
    expected = AGGREGATIONS[how](torch.from_numpy(model.members(stretches)), 0.5).numpy()
    np.testing.assert_array_equal(model.predict(stretches), expected)
    np.testing.assert_array_equal(model(stretches), expected)  # what an agent is paid
    np.testing.assert_allclose(model.returns(stretches), expected.sum(1))  # what the best of n are chosen by
    attacked = model.score_tensors(model.inputs_.tensors(stretches)).detach()
    np.testing.assert_allclose(attacked, expected, atol=1e-6)


def test_padding_is_not_paid_for(model):
    stretches = behaviour(30, shortest=3)
    filled = changed(stretches, observation=np.where(stretches.valid[..., None], stretches.observation, 9.0))
    np.testing.assert_allclose(model.returns(filled), model.returns(stretches))
    np.testing.assert_allclose(
        model.returns(stretches), [model.predict(s)[s.valid].sum() for s in map(stretches.__getitem__, range(30))]
    )


def test_gradients_reach_the_inputs_and_are_those_of_finite_differences(model):
    stretches, step = behaviour(40), 1e-3
    tensors = model.inputs_.tensors(stretches)
    tensors["observation"].requires_grad_()
    paid = model.score_tensors(tensors)
    np.testing.assert_allclose(paid.detach(), model.predict(stretches), atol=1e-6)
    (gradient,) = torch.autograd.grad(paid.sum(), tensors["observation"])
    up, down = (changed(stretches, observation=stretches.observation + sign * step * np.eye(3)[1]) for sign in (1, -1))
    slopes = (model.predict(up) - model.predict(down)) / (2 * step)
    assert np.quantile(np.abs(slopes - gradient[..., 1].numpy()), 0.9) < 1e-2  # but where a step crosses a kink


# Probabilities


def test_sides_are_exchangeable(model):
    pairs = compared(50, seed=4, shortest=4)
    swapped = changed(pairs, first=pairs.second, second=pairs.first)
    np.testing.assert_allclose(model.differences(swapped), -model.differences(pairs), atol=1e-6)
    np.testing.assert_allclose(model.probability(swapped), 1 - model.probability(pairs), atol=1e-6)


def test_a_difference_is_that_of_the_raw_returns(model):
    pairs = compared(50, seed=4, shortest=4)
    raw = [
        (model.network_(model.inputs_(model.inputs_.tensors(side)).flatten(0, 1)).view(3, 50, 10).detach() * side.valid).sum(2)
        for side in (pairs.first, pairs.second)
    ]
    np.testing.assert_allclose(model.differences(pairs), raw[0] - raw[1], atol=1e-3)


def test_probabilities_come_from_the_boltzmann_teacher_that_answered():
    pairs, fresh, rng = compared(3000, length=3), compared(2000, seed=9, length=3), np.random.default_rng(0)
    sure = expit(linear(pairs.first).sum(1) - linear(pairs.second).sum(1))
    found = PreferenceReward(ensemble=2, steps=1000).fit(changed(pairs, label=rng.random(3000) < sure))
    true = expit(linear(fresh.first).sum(1) - linear(fresh.second).sum(1))
    assert np.abs(found.probability(fresh) - true).mean() < 0.06
    found.calibrate(changed(fresh, label=true))
    assert found.temperature_ == pytest.approx(1.0, abs=0.3)


def test_accuracy_counts_decided_pairs_and_half_of_ties(model):
    pairs = compared(100, seed=9)
    right = np.sign(model.returns(pairs.first) - model.returns(pairs.second)) / 2 + 0.5
    assert model.score(changed(pairs, label=right)) == 1.0
    assert model.score(changed(pairs, label=1 - right)) == 0.0
    assert model.score(changed(pairs, label=np.where(np.arange(100) < 50, 0.5, right))) == 1.0
    assert model.score(changed(pairs, second=pairs.first)) == 0.5
    with pytest.raises(ProxygapError, match="all undecided"):
        model.score(changed(pairs, label=np.full(100, 0.5)))


# Mistakes


def test_says_what_is_wrong_with_feedback(model):
    pairs = compared(20)
    with pytest.raises(ProxygapError, match="0 examples"):
        PreferenceReward().fit(pairs[np.zeros(0, int)])
    for refused in (model.score, model.differences, model.calibrate):
        with pytest.raises(ProxygapError, match="from Desert, but the model was fitted to Meadow"):
            refused(changed(pairs, env="Desert"))
    spoilt = copy(pairs)
    spoilt.first = changed(pairs.first, observation=pairs.first.observation.copy())
    spoilt.first.observation[3, 2, 1] = np.nan
    with pytest.raises(ProxygapError, match=r"observation is not finite \(nan\)"):
        PreferenceReward().fit(spoilt)
    with pytest.raises(ProxygapError, match=r"observation is not finite \(nan\) at \[3, 2, 1\]"):
        model.predict(spoilt.first)
    with pytest.raises(ProxygapError, match="of other worlds"):
        model.predict(changed(pairs.first, observation=pairs.first.observation[..., :2]))


def test_nothing_is_said_of_nothing(model):
    none = compared(3)[:0]
    assert model.predict(none.first).shape == (0, 10)
    assert model.returns(none.first).shape == model.probability(none).shape == (0,)
    for refused, message in ((model.score, "0 comparisons"), (model.calibrate, "one of each for every pair is needed")):
        with pytest.raises(ProxygapError, match=message):
            refused(none)


def test_says_what_is_wrong_with_settings():
    wrong: list[dict[str, Any]] = [
        {"aggregate": "best"},
        {"ensemble": 0},
        {"hidden": (8, 0)},
        {"seen": 0},
        {"narrowest": 1.5},
        {"seed": -1},
        {"learning_rate": -0.1},
        {"penalty": np.nan},
        {"held_out": 1},
        {"noise": 1},
    ]
    for settings in wrong:
        with pytest.raises(ProxygapError, match=next(iter(settings))):
            PreferenceReward(**settings)
    for settings in ({"seen": 0.5, "bootstrap": True}, {}):
        with pytest.raises(ProxygapError, match="only bootstrap makes them part"):
            PreferenceReward(shared_steps=10, **settings)
    with pytest.raises(ProxygapError, match="call fit first"):
        PreferenceReward().predict(behaviour(3))


# Storing, of every kind of model


def fitted(kind: Any) -> tuple[Any, Any]:
    """A small model of that kind, and feedback that it can be scored by."""
    stretches = behaviour(60, shortest=4)
    feedback: Any = compared(60, shortest=4)
    if kind is RegressionReward:
        feedback = Ratings(stretches, linear(stretches).sum(1), "Meadow")
    elif kind is CatastropheClassifier:
        feedback = Catastrophes(stretches, linear(stretches).max(1) > 5, "Meadow")  # pyright: ignore[reportArgumentType]
    return kind(ensemble=2, hidden=(8,), aggregate="worst", **QUICK).fit(feedback), feedback


@pytest.mark.parametrize("kind", [PreferenceReward, RegressionReward, CatastropheClassifier])
def test_what_is_stored_comes_back_whole(kind, tmp_path):
    stored, feedback = fitted(kind)
    stored.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model")
    assert loaded == stored
    np.testing.assert_array_equal(loaded.predict(behaviour(9)), stored.predict(behaviour(9)))
    assert loaded.score(feedback) == stored.score(feedback)
    assert [getattr(loaded, name) for name in kind.numbers] == [getattr(stored, name) for name in kind.numbers]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_bottleneck_comes_back_too(tmp_path):
    stored = PreferenceReward(latent=2, ensemble=2, **QUICK).fit(compared(40))
    stored.save(tmp_path / "model")
    loaded = PreferenceReward.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.latents(behaviour(9)), stored.latents(behaviour(9)))


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_never_taken_for_the_model(model, tmp_path_factory, place, change):
    path = tmp_path_factory.mktemp("model") / "model"
    model.save(path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= change
    path.write_bytes(data)
    try:
        np.testing.assert_array_equal(PreferenceReward.load(path).predict(behaviour(3)), model.predict(behaviour(3)))
    except ProxygapError as error:
        assert "can't read a PreferenceReward from" in str(error)  # noqa: PT017


def test_damaged_and_foreign_files_are_refused(tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "model"
    fitted(PreferenceReward)[0].save(whole)
    with pytest.raises(ProxygapError, match=r"holds a PreferenceReward .* no RegressionReward"):
        RegressionReward.load(whole)
    weights = load_file(whole)
    for content in (b"", b"{}", whole.read_bytes()[:-9], pickle.dumps(print)):
        path.write_bytes(content)
        with pytest.raises(ProxygapError, match="can't read a PreferenceReward"):
            PreferenceReward.load(path)
    save_file(weights, path)  # without what its header says
    with pytest.raises(ProxygapError, match="it holds a foreign file"):
        PreferenceReward.load(path)
    other = whole.read_bytes().replace(b'\\"hidden\\": [8]', b'\\"hidden\\": [9]')
    for content, message in ((other, "its content .* has changed"), (other.replace(b"sha256", b"SHA256"), "'sha256'")):
        path.write_bytes(content)
        with pytest.raises(ProxygapError, match=message):
            PreferenceReward.load(path)
    with pytest.raises(ProxygapError, match="can't read"):
        PreferenceReward.load(tmp_path / "missing")
    with pytest.raises(ProxygapError, match="can't write"):
        PreferenceReward.load(whole).save(tmp_path / "no" / "folder")
    with pytest.raises(ProxygapError, match="call fit first"):
        PreferenceReward().save(path)
