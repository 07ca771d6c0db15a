"""A filter passes the share it was told, follows gradients, and feels a shift of its hidden layer as that layer's own words."""

import numpy as np
import pytest
import torch
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes
from proxygap.reward_models.filters import Filter, ReturnFilter
from proxygap.reward_models.preference import PreferenceReward
from torch.nn.functional import relu

from .behaviour import QUICK, behaviour, compared


def labelled(number, seed=0):
    segments = behaviour(number, seed, shortest=5)
    return Catastrophes(segments, (segments.observation[..., 0].max(1) > 1.5).astype(float), "Meadow")


FILTERS = {
    "classifier": lambda: CatastropheClassifier(ensemble=2, hidden=(8, 6), narrowest=0.5, **QUICK).fit(labelled(80)),
    "returns": lambda: ReturnFilter(PreferenceReward(ensemble=3, hidden=(8,), **QUICK).fit(compared(60)), 0.9),
}


@pytest.fixture(scope="module", params=FILTERS)
def target(request):
    return FILTERS[request.param]().choose_threshold(behaviour(50, seed=2))


@pytest.fixture
def segments():
    return behaviour(7, seed=3, shortest=4)


def suspected(target, segments, shift=None):
    return target.suspicion_tensors(target.inputs_.tensors(segments), torch.from_numpy(segments.valid), shift)


def model_of(target):
    return getattr(target, "model", target)


def by_hand(target, segments, shift):
    """Suspicion with torch's plain operations, from the activations on."""
    model = model_of(target)
    rows = torch.from_numpy(model.activations(segments)).flatten(1, 2) + shift.flatten(1, 2)
    for i, (weight, bias) in enumerate(model.network_.layers()[1:]):
        rows = (rows if i == 0 else relu(rows)) @ weight + bias
    rewards = (rows.squeeze(-1).double() * model.slope_ + model.intercept_).view(shift.shape[:3]).mean(0)
    valid = torch.from_numpy(segments.valid)
    if isinstance(target, ReturnFilter):
        return -(rewards * valid).sum(1)
    return torch.where(valid, -rewards, -torch.inf).logsumexp(1)


def test_the_share_accepted_of_what_it_was_chosen_by_is_the_share_asked_for(target):
    accepted = target.accepts(behaviour(50, seed=2)).mean()
    assert target.acceptance <= accepted <= target.acceptance + 1 / 50 + 1e-9


def test_tensors_are_as_suspicious_as_the_stretches_they_stand_for(target, segments):
    np.testing.assert_allclose(suspected(target, segments).detach(), target.suspicion(segments), rtol=1e-5)


def test_no_shift_and_a_shift_of_nothing_are_the_same(target, segments):
    nothing = torch.zeros(target.latent_shape(*segments.valid.shape))
    torch.testing.assert_close(suspected(target, segments, nothing), suspected(target, segments), rtol=0, atol=0)


def test_a_shift_is_added_to_the_activations_of_each_member_row_and_step(target, segments):
    shift = torch.randn(target.latent_shape(*segments.valid.shape), generator=torch.Generator().manual_seed(0))
    found = suspected(target, segments, shift)
    torch.testing.assert_close(found, by_hand(target, segments, shift).detach(), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, suspected(target, segments), atol=1e-3)


def test_a_shift_moves_its_own_row_alone_and_never_by_steps_that_are_padding(target, segments):
    shift = torch.zeros(target.latent_shape(*segments.valid.shape))
    shift[:, 2] = 3.0
    moved = (suspected(target, segments, shift) != suspected(target, segments)).numpy()
    np.testing.assert_array_equal(moved, np.arange(7) == 2)
    shift = 3.0 * torch.from_numpy(~segments.valid)[None, ..., None].expand(shift.shape)
    torch.testing.assert_close(suspected(target, segments, shift), suspected(target, segments), rtol=0, atol=0)


def test_gradients_reach_the_shift(target, segments):
    shift = torch.zeros(target.latent_shape(*segments.valid.shape)).requires_grad_()
    (gradient,) = torch.autograd.grad(suspected(target, segments, shift).sum(), shift)
    step, before = 1e-3 * gradient / gradient.norm(), suspected(target, segments).sum()
    rise = (suspected(target, segments, step.detach()).sum() - before).detach()
    assert float(rise / 1e-3) == pytest.approx(float(gradient.norm()), rel=0.02)


def test_activations_are_what_the_first_layer_says(target, segments):
    model = model_of(target)
    weight, bias = model.network_.layers()[0]
    x = model.inputs_(model.inputs_.tensors(segments)).flatten(0, 1)
    expected = relu(x @ weight + bias).view(target.latent_shape(*segments.valid.shape))
    np.testing.assert_allclose(model.activations(segments), expected.detach(), atol=1e-5)


def test_says_where_there_is_no_layer_to_shift(segments):
    model = PreferenceReward(latent=2, **QUICK).fit(compared(20))
    target = ReturnFilter(model)
    for refused in (lambda: target.latent_shape(7, 10), lambda: suspected(target, segments, torch.zeros(1, 7, 10, 32))):
        with pytest.raises(ProxygapError, match="bottleneck has no hidden layer to reach into: set latent to 0"):
            refused()

    class Blind(Filter):
        def suspicion(self, segments):
            return np.zeros(len(segments))

        def suspicion_tensors(self, tensors, valid, shift=None):
            return valid.sum(-1)

    with pytest.raises(ProxygapError, match="Blind has no hidden layer"):
        Blind().latent_shape(1, 1)


def test_says_where_a_threshold_has_nothing_to_be_chosen_by(target):
    with pytest.raises(ProxygapError, match="no harmless stretches"):
        target.choose_threshold(behaviour(3)[:0])


def test_a_filter_without_a_threshold_says_so(segments):
    with pytest.raises(ProxygapError, match="this ReturnFilter has no threshold yet"):
        FILTERS["returns"]().accepts(segments)
