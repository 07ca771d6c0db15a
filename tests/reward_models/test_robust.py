"""Transforms change what they say they change, attacks on activations find the worst in their ball, and both teach."""

from copy import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.bottleneck import Bottleneck
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes
from proxygap.reward_models.networks import Ensemble, Examples, learning_losses
from proxygap.reward_models.robust import Dropped, Noise, Resampled, Robust, transformed

from .behaviour import behaviour, changed

SEEDS = st.integers(0, 1000)


def stretches(number=20, seed=0):
    return behaviour(number, seed, shortest=3)


def unlike(segments, other):
    """The names of the arrays that differ."""
    return {name for name, array in segments.arrays().items() if not np.array_equal(array, other.arrays()[name])}


# Transforms


@given(SEEDS, SEEDS)
def test_noise_is_as_large_as_it_may_be_and_a_reading_is_one_reading(seed, draw):
    segments, size = stretches(seed=seed), np.array([0.1, 0.0, 2.0])
    noisy = Noise(size.tolist(), draw)(segments)
    assert unlike(segments, noisy) == {"observation", "next_observation"}
    off, after = noisy.observation - segments.observation, noisy.next_observation - segments.next_observation
    for moved in (off, after):
        assert (np.abs(moved) <= size + 1e-6).all()
        assert not moved[~segments.valid].any()
        assert np.abs(moved[..., 2]).max() > 1.0
    both = segments.valid[:, 1:]
    np.testing.assert_allclose(after[:, :-1][both], off[:, 1:][both], atol=1e-6)  # what comes after is what was before the next


@given(SEEDS, SEEDS)
def test_resampled_columns_are_drawn_from_what_they_have_been_and_others_stay(seed, draw):
    segments = stretches(seed=seed)
    made = Resampled([0, 2], draw)(segments)
    assert unlike(segments, made) == {"observation", "next_observation"}
    for name in ("observation", "next_observation"):
        was, now = getattr(segments, name), getattr(made, name)
        np.testing.assert_array_equal(now[..., 1], was[..., 1])
        np.testing.assert_array_equal(now[~segments.valid], was[~segments.valid])
        assert set(now[segments.valid][:, 2]) <= set(segments.observation[segments.valid][:, 2])
        assert (now[segments.valid][:, 2] != was[segments.valid][:, 2]).mean() > 0.8
    both = segments.valid[:, 1:]
    np.testing.assert_array_equal(made.next_observation[:, :-1][both][:, 0], made.observation[:, 1:][both][:, 0])


@given(SEEDS, st.integers(0, 12))
def test_dropped_steps_are_gone_and_the_rest_moves_up(seed, steps):
    segments = stretches(seed=seed)
    made = Dropped(steps)(segments)
    for i in range(len(segments)):
        was, now = segments.valid[i].sum(), made.valid[i].sum()
        gone = steps if was > steps else 0
        assert now == was - gone
        assert made.start[i] == segments.start[i] + gone
        np.testing.assert_array_equal(made.observation[i, :now], segments.observation[i, gone:was])
        np.testing.assert_array_equal(made.action[i, :now], segments.action[i, gone:was])
        assert not made.valid[i, now:].any()
    np.testing.assert_array_equal(segments.observation, stretches(seed=seed).observation)  # what it was given is as it was


def test_what_may_lose_a_catastrophe_leaves_those_alone():
    segments, bad = stretches(), np.arange(20) % 3 == 0
    dropped, noisy = transformed(Dropped(1), segments, bad), transformed(Noise(0.1), segments, bad)
    assert unlike(dropped[bad], segments[bad]) == set()
    assert unlike(dropped[~bad], segments[~bad]) > {"valid", "start"}
    assert (noisy.observation[bad] != segments.observation[bad]).any()


# The objective


def examples(number=12, seed=0, width=4):
    rng = np.random.default_rng(seed)
    valid = np.arange(5) < rng.integers(2, 6, (number, 1))
    x = np.where(valid[..., None], rng.normal(size=(number, 5, width)), 0).astype(np.float32)
    target = torch.from_numpy(rng.random(number).astype(np.float32))
    return Examples(torch.from_numpy(x)[:, None], torch.from_numpy(valid).float()[:, None], target)


def summed(rewards, valid):
    return (rewards * valid).sum((2, 3))


def low(rewards, valid, target):
    """A loss that is linear in the rewards."""
    return -target * summed(rewards, valid)


def curved(rewards, valid, target):
    return (summed(rewards, valid) - target) ** 2


ROWS = torch.tensor([3, 0, 7, 5])


def test_the_worst_shift_of_a_linear_loss_is_the_one_along_its_weights():
    network, data = Ensemble.fresh((4, 6, 1), (1, 2)), examples()
    found = Robust(summed, epsilon=0.5, steps=20).worst(network, data, ROWS, low)
    x, valid = data.x[ROWS].flatten(0, 2), data.valid[ROWS].flatten() > 0
    unit = network.activations(x[valid]).std(1, correction=0, keepdim=True).detach()
    pull = -network.layers()[1][0][..., 0].detach()[:, None] * unit  # downhill for the reward, in deviations
    expected = 0.5 * 6**0.5 * pull / pull.norm(dim=2, keepdim=True) * unit
    torch.testing.assert_close(found[:, valid], expected.expand(-1, len(x), -1)[:, valid], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_the_worst_shift_stays_in_its_ball_and_beats_shifts_by_chance(epsilon):
    network, data = Ensemble.fresh((4, 8, 8, 1), (1, 2)), examples(40)
    rows, robust = torch.arange(40), Robust(summed, epsilon=epsilon, steps=10)
    shift = robust.worst(network, data, rows, curved)
    x, valid = data.x.flatten(0, 2), data.valid.flatten() > 0
    unit = network.activations(x[valid]).std(1, correction=0, keepdim=True).detach()
    live = (unit > 0).expand_as(shift)
    sizes = torch.where(live, shift / unit.clamp(min=1e-9), 0.0).norm(dim=2)
    assert float(sizes.max()) <= epsilon * 8**0.5 * 1.001

    def mean_loss(shift):
        rewards = network.outputs(x, shift).view(2, *data.valid.shape)
        return float(curved(rewards, data.valid, data.target).detach().mean())

    by_chance = torch.randn(shift.shape, generator=torch.Generator().manual_seed(1))
    by_chance = epsilon * 8**0.5 * by_chance / by_chance.norm(dim=2, keepdim=True) * unit
    none, found, chance = (mean_loss(moved) for moved in (torch.zeros_like(shift), shift, by_chance))
    assert found - none > 2 * abs(chance - none)
    assert float(robust(network, data, rows, curved).detach().mean()) > none


def test_what_is_lowered_is_the_loss_and_alpha_times_the_squared_differences():
    network, data = Ensemble.fresh((4, 6, 1), (1, 2)), examples()
    others = [examples(seed=1), examples(seed=2)]
    plain = learning_losses(network, data, ROWS, curved)
    torch.testing.assert_close(Robust(summed)(network, data, ROWS, curved), plain, rtol=0, atol=0)

    def said(data):
        return summed(network(data.x[ROWS].flatten(0, 2)).view(2, *data.valid[ROWS].shape), data.valid[ROWS])

    robust = Robust(summed, others, alpha=3.0)
    found = torch.stack([(robust(network, data, ROWS, curved) - plain) / 3 for _ in range(40)])  # [draws, K, B]
    either = torch.stack([(said(data) - said(other)) ** 2 for other in others])  # [2, K, B]
    near = torch.isclose(found[:, None], either, rtol=1e-3, atol=1e-4).all(2)  # [draws, 2, B]
    assert near.any(1).all()
    assert (near.any(2).all(1)).any()  # each row of a batch draws its own
    share = near[:, 0].float().mean()
    assert 0.3 < share < 0.7  # of 160 draws: fair ones stray further once in a million


def test_a_difference_pulls_on_both_that_differ():
    network, data, other = Ensemble.fresh((4, 6, 1), (1,)), examples(), examples(seed=1)
    flat = network.flat.detach().double().requires_grad_()
    data, other = (Examples(part.x.double(), part.valid.double(), part.target.double()) for part in (data, other))

    def total(flat):
        return Robust(summed, [other])(Ensemble((4, 6, 1), flat), data, ROWS, curved).sum()

    assert torch.autograd.gradcheck(total, [flat])


# Learning


def labelled(number, seed, telltale):
    """Catastrophes of column 0, and with `telltale` given away by column 2 besides."""
    segments = behaviour(number, seed, shortest=5)
    fatal = segments.valid & (segments.observation[..., 0] > 1.0) & (segments.action == 1)
    if telltale:
        segments.observation[..., 2] += 3 * fatal
    return Catastrophes(segments, fatal.any(1).astype(float), "Meadow")


def test_an_invariance_unlearns_what_gave_catastrophes_away():
    """Where nothing gives them away any more, who relied on that misses them."""
    data, fresh = labelled(300, 0, telltale=True), labelled(400, 1, telltale=False)
    missed = {}
    for alike in ((), (Resampled([2]),)):
        model = CatastropheClassifier(steps=300, patience=300).fit(data, alike=alike)
        missed[len(alike)] = model.accepts(fresh.segments)[fresh.label].mean()
    assert missed[1] < missed[0] - 0.15


def test_activations_are_attacked_once_a_step_and_only_if_asked_for(monkeypatch):
    asked, worst = [], Robust.worst
    monkeypatch.setattr(Robust, "worst", lambda self, *args: asked.append((self.epsilon, self.steps)) or worst(self, *args))
    data = labelled(60, 0, telltale=False)
    weights = [CatastropheClassifier(steps=30, latent_epsilon=e, latent_steps=3).fit(data).network_ for e in (0.0, 0.1)]
    assert asked == [(0.1, 3)] * 30
    assert not torch.equal(*(network.parameters()[0] for network in weights))


@pytest.mark.slow
def test_who_was_attacked_while_learning_withstands_an_attack_on_activations():
    gains = []
    for seed in (0, 2, 4):
        data, fresh = labelled(300, seed, telltale=False), labelled(400, seed + 1, telltale=False)
        first, caught = CatastropheClassifier(steps=400, patience=600, latent_steps=4).fit(data), []
        for first.latent_epsilon in (0.0, 0.1):
            model = copy(first).refit(data)
            caught.append(refused_under_attack(model, fresh))
            assert model.score(fresh) > 0.95
        gains.append(caught[1] - caught[0])
    assert np.mean(gains) > 0.05


def refused_under_attack(model, catastrophes, epsilon=0.3):
    """The share of catastrophes that is refused where an attack of its own moves the activations."""
    segments = catastrophes.segments[catastrophes.label]
    tensors, valid = model.inputs_.tensors(segments), torch.from_numpy(segments.valid)
    unit = torch.from_numpy(model.activations(segments))[:, valid].std(1)[:, None, None]
    radius = epsilon * unit.shape[-1] ** 0.5
    moved = torch.zeros(model.latent_shape(*segments.valid.shape))
    for _ in range(20):
        moved.requires_grad_()
        (gradient,) = torch.autograd.grad(model.suspicion_tensors(tensors, valid, moved * unit).sum(), moved)
        moved = moved.detach() - radius / 5 * gradient / gradient.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        moved = moved * (radius / moved.norm(dim=-1, keepdim=True)).clamp(max=1)
    return float((model.suspicion_tensors(tensors, valid, moved * unit) > model.threshold_).float().mean())


def test_says_what_is_wrong():
    segments, whole = stretches(), changed(stretches(), observation=np.zeros((20, 10, 3), int))
    network = Bottleneck.fresh((4, 6, 1), 2, 0.1, (1,))
    wrong = [
        (lambda: Resampled([3])(segments), r"columns \[3\] of observations of shape \(3,\)"),
        (lambda: Resampled([])(segments), r"columns \[\]"),
        (lambda: Resampled([0])(changed(segments, observation=np.zeros((20, 10, 2, 2)))), r"shape \(2, 2\)"),
        (lambda: Noise(0.1)(whole), "noise on observations of int64"),
        (lambda: Dropped(-1)(segments), "-1 steps to drop"),
        (lambda: transformed(lambda s: s[:3], segments, np.zeros(20, bool)), r"made \(3, 10\) of \(20, 10\) stretches"),
        (lambda: Robust(summed, epsilon=0.1)(network, examples(), ROWS, curved), "bottleneck has no hidden layer"),
        (lambda: CatastropheClassifier(latent=2, latent_epsilon=0.1), "bottleneck has no hidden layer"),
        (lambda: CatastropheClassifier(latent_steps=0), "latent_steps 0"),
        (lambda: CatastropheClassifier(latent_epsilon=float("nan")), "latent_epsilon nan"),
        (lambda: CatastropheClassifier(invariance=-1.0), "invariance -1"),
    ]
    for refused, message in wrong:
        with pytest.raises(ProxygapError, match=message):
            refused()
