"""The classifier finds the step that makes a stretch a catastrophe, and lets as much harmless behaviour pass as it was told."""

from copy import copy

import numpy as np
import pytest
import torch
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes
from proxygap.reward_models.networks import Ensemble, Examples, Training
from proxygap.reward_models.robust import Noise
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


def weights(model):
    return torch.cat([tensor.detach().flatten() for tensor in model.network_.parameters()])


def examples(model, catastrophes, rows):
    """Stretches as `networks` learns from them."""
    x = model.inputs_(model.inputs_.tensors(catastrophes.segments))[:, None]
    valid = torch.from_numpy(catastrophes.segments.valid).float()[:, None]
    return Examples(x, valid, torch.from_numpy(catastrophes.label.astype(np.float32)))[rows]


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_by_default_it_learns_by_the_plain_loss_bit_for_bit(weight):
    """No transform, no attack on activations: just `Training`, where later records are worth their weight."""
    first, later = labelled(80), labelled(40, seed=1)
    model = CatastropheClassifier(ensemble=2, **QUICK).fit(first, later, weight=weight)
    together = Catastrophes.joined([first, later])
    train = np.setdiff1d(np.arange(120), model.held_)
    lessons, held = (examples(model, together, rows) for rows in (train, model.held_))
    network = Ensemble.fresh((model.inputs_.width, 32, 32, 1), np.random.SeedSequence(0).generate_state(2).tolist())
    worth = torch.where(torch.arange(120) < 80, 1.0, weight)
    given = (worth[train].expand(2, -1), worth[model.held_]) if weight != 1 else ()
    training, rng = Training(model.steps, model.patience, model.batch, model.learning_rate), np.random.default_rng(0)
    assert training(network, lessons, held, model.losses, rng, *given) == model.history_
    assert torch.equal(weights(model), network.flat.flatten())


def test_what_was_held_out_stays_held_out_when_more_is_found():
    first, later, last = labelled(100), labelled(31, seed=1), labelled(20, seed=2)
    held = [CatastropheClassifier(steps=1).fit(first, *more).held_ for more in ((), (later,), (later, last))]
    assert set(held[0]) == {row for row in held[1] if row < 100}
    assert set(held[1]) == {row for row in held[2] if row < 131}
    new = set(held[2]) - set(held[0])
    assert {row < 131 for row in new} == {True, False}


def test_learning_goes_on_where_it_stopped(model):
    data = labelled(1000)
    further = copy(model)
    further.steps = 50
    before = weights(model).clone()
    further.refit(data, labelled(50, seed=1))
    fresh = CatastropheClassifier(steps=50, held_out=0.3, acceptance=0.9).fit(data, labelled(50, seed=1))
    assert further.history_[0] < fresh.history_[0] / 2
    assert further.inputs_ is model.inputs_
    assert torch.equal(further.intercept_, model.intercept_)
    assert torch.equal(weights(model), before)  # the one that was copied has learned nothing
    held = data.segments[further.held_[further.held_ < 1000]]
    harmless = ~fatal(held).any(1)
    assert 0.87 <= further.accepts(held)[harmless].mean() <= 0.95  # its threshold is a new one


@pytest.mark.parametrize(
    "settings", [{}, {"ensemble": 3, "seen": 0.5, "narrowest": 0.5}, {"latent": 3}, {"latent_epsilon": 0.1}]
)
def test_a_stored_model_goes_on_as_the_one_that_was_stored(settings, tmp_path):
    data, more = labelled(60), labelled(20, seed=1)
    model = CatastropheClassifier(steps=50, patience=50, **settings).fit(data)
    model.save(tmp_path / "model")
    found = CatastropheClassifier.load(tmp_path / "model")
    assert found.latent_epsilon == settings.get("latent_epsilon", 0.0)
    for each in (model, found):
        each.refit(data, more, weight=2.0, alike=[Noise(0.1)])
    assert torch.equal(weights(model), weights(found))
    assert (model.threshold_, model.history_) == (found.threshold_, found.history_)


def test_going_on_never_shows_a_member_what_it_was_not_shown(tmp_path):
    data = labelled(60)
    CatastropheClassifier(steps=60, ensemble=4, seen=0.5).fit(data).save(tmp_path / "model")
    model = CatastropheClassifier.load(tmp_path / "model")
    unseen = (model.network_.layers()[0][0] == 0).all(2)  # pyright: ignore[reportAttributeAccessIssue]
    model.refit(data)
    still = (model.network_.layers()[0][0] == 0).all(2)  # pyright: ignore[reportAttributeAccessIssue]
    assert unseen.any()
    assert torch.equal(unseen, still)


def test_learning_anew_forgets_what_was_learned():
    data, other = labelled(60), labelled(60, seed=1)
    twice = CatastropheClassifier(**QUICK).fit(other).fit(data)
    assert torch.equal(weights(twice), weights(CatastropheClassifier(**QUICK).fit(data)))


def test_says_who_can_not_go_on(model):
    standardised = copy(model).standardise(behaviour(20))
    wrong = [
        (lambda: CatastropheClassifier().refit(labelled(20)), "call fit first"),
        (lambda: copy(model).refit(labelled(20, env="Desert")), "fitted to Meadow"),
        (lambda: copy(model).refit(changed(labelled(20), severity=np.zeros(20))), "telling them apart needs"),
        (lambda: standardised.refit(labelled(20)), "standardised has lost its odds"),
        (lambda: CatastropheClassifier().fit(labelled(20), labelled(20, env="Desert")), "several environments"),
    ]
    for refused, message in wrong:
        with pytest.raises(ProxygapError, match=message):
            refused()
