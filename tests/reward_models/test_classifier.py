"""The classifier finds the step that makes a stretch a catastrophe, and lets as much harmless behaviour pass as it was told."""

import numpy as np
import pytest
import torch
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes
from scipy.stats import binom
from torch.nn.functional import binary_cross_entropy_with_logits

from .behaviour import QUICK, behaviour, changed


def fatal(segments):
    """[N, T] bool: too fast, and action 1."""
    return segments.valid & (segments.observation[..., 0] > 1.0) & (segments.action == 1)


def labelled(number, seed=0, env="Meadow"):
    segments = behaviour(number, seed, shortest=5)
    return Catastrophes(segments, fatal(segments).any(1).astype(float), env)


@pytest.fixture(scope="module")
def model():
    return CatastropheClassifier(steps=1000, held_out=0.3, acceptance=0.9).fit(labelled(1000))


def test_catastrophes_are_told_from_the_rest_and_the_fatal_step_is_found(model):
    fresh = labelled(1000, seed=9)
    assert 0.1 < fresh.label.mean() < 0.5
    assert model.score(fresh) > 0.95
    segments = fresh.segments
    only = fatal(segments).sum(1) == 1
    worst = np.where(segments.valid, model.predict(segments), np.inf).argmin(1)
    assert (worst == fatal(segments).argmax(1))[only].mean() > 0.9


def test_the_share_accepted_is_the_share_asked_for(model):
    fresh = labelled(2000, seed=9)
    accepted = model.accepts(fresh.segments)
    low, high = binom.ppf([0.001, 0.999], 200, 0.9) / 200  # about as many harmless stretches were held out
    assert low <= accepted[~fresh.label].mean() <= high
    assert accepted[fresh.label].mean() < 0.3


def test_a_threshold_lets_at_least_its_share_pass_and_no_stretch_more_than_needed():
    model, harmless = CatastropheClassifier(**QUICK).fit(labelled(60)), behaviour(200, seed=4)
    shares = []
    for acceptance in (0.5, 0.9, 1.0):
        model.acceptance = acceptance
        shares.append(model.choose_threshold(harmless).accepts(harmless).mean())
    np.testing.assert_allclose(shares, [0.505, 0.905, 1.0], atol=0.0051)
    assert shares[0] >= 0.5
    assert shares[1] >= 0.9


def test_odds_of_steps_add_up(model):
    segments = labelled(20, seed=3).segments
    odds = [np.log(np.exp(-model.predict(stretch)[stretch.valid]).sum()) for stretch in map(segments.__getitem__, range(20))]
    np.testing.assert_allclose(model.suspicion(segments), odds, rtol=1e-5)


def test_the_loss_is_the_cross_entropy_of_those_odds(model):
    rewards, valid = torch.randn(2, 5, 1, 10, generator=torch.Generator().manual_seed(0)), torch.ones(5, 1, 10)
    valid[2:, :, 6:] = 0
    target = torch.tensor([1.0, 0, 1, 0, 1])
    raw = torch.where(valid > 0, -rewards - float(model.intercept_), -torch.inf).logsumexp((2, 3))
    expected = binary_cross_entropy_with_logits(raw, target.expand(2, 5), reduction="none")
    torch.testing.assert_close(model.losses(rewards, valid, target), expected)


def test_a_rare_catastrophe_is_never_held_out_entirely():
    few = labelled(200)
    rare = few[np.flatnonzero(~few.label).tolist() + np.flatnonzero(few.label)[:2].tolist()]
    model = CatastropheClassifier(**QUICK).fit(rare)
    assert rare.label[np.setdiff1d(np.arange(len(rare)), model.held_)].any()


def test_the_score_is_the_area_under_the_curve(model):
    fresh = labelled(80, seed=5)
    suspicion = model.suspicion(fresh.segments)
    pairs = suspicion[fresh.label][:, None] - suspicion[~fresh.label]
    assert model.score(fresh) == pytest.approx((np.sign(pairs) / 2 + 0.5).mean())


@pytest.mark.parametrize("severity", [0.0, 1.0])
def test_a_single_class_can_not_be_learned_or_scored(model, severity):
    alike = changed(labelled(20), severity=np.full(20, severity))
    for refused in (CatastropheClassifier().fit, model.score):
        with pytest.raises(ProxygapError, match="telling them apart needs"):
            refused(alike)


def test_who_suspects_all_alike_has_no_score():
    """Not one half, which is what chance comes to where there is an order."""
    alike = changed(labelled(20), segments=behaviour(1)[np.zeros(20, int)], severity=np.arange(20.0) % 2)
    with pytest.raises(ProxygapError, match="20 stretches, all as suspicious as each other"):
        CatastropheClassifier(**QUICK).fit(alike).score(alike)


def test_says_what_else_is_wrong(model):
    with pytest.raises(ProxygapError, match="no harmless stretches"):
        model.choose_threshold(behaviour(3)[:0])
    with pytest.raises(ProxygapError, match="telling them apart needs"):
        CatastropheClassifier().fit(labelled(20)[np.zeros(0, int)])
    with pytest.raises(ProxygapError, match="fitted to Meadow"):
        model.score(labelled(20, env="Desert"))
    with pytest.raises(ProxygapError, match="acceptance"):
        CatastropheClassifier(acceptance=0.0)
    with pytest.raises(ProxygapError, match="call fit first"):
        CatastropheClassifier().suspicion(behaviour(3))
