"""A probe scores rows that it did not see, as the true odds would where features tell, and as chance where they don't."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes
from proxygap.reward_models.probe import flagged, pooled, probe, split_failures
from torch.nn.functional import binary_cross_entropy_with_logits

from .behaviour import QUICK, behaviour


def chance(seed=0):
    return np.random.default_rng(seed)


def area(scores, labels):
    """How often a positive score is above a negative one."""
    apart = np.sign(scores[labels][:, None] - scores[~labels])
    return (apart / 2 + 0.5).mean()


def spread(labels):
    """The standard deviation of that area by chance alone (Mann and Whitney 1947)."""
    positive, negative = labels.sum(), (~labels).sum()
    return np.sqrt((positive + negative + 1) / (12 * positive * negative))


def test_scores_are_the_true_log_odds_of_two_gaussians():
    rng, towards = chance(), np.array([1.0, -0.5, 0.0])
    labels = rng.random(4000) < 0.25
    features = rng.normal(size=(4000, 3)) + np.where(labels[:, None], towards, -towards)
    truth = 2 * features @ towards + np.log(0.25 / 0.75)  # exact, for two of the same covariance
    scores = probe(5.0 + 3.0 * features, labels)  # whatever units they come in
    shown, sure = np.column_stack([features, np.ones(4000)]), 1 / (1 + np.exp(-truth))
    spread = np.linalg.inv((shown * (sure * (1 - sure))[:, None]).T @ shown)  # of the estimate, by Fisher's information
    errors = (scores - truth) / np.sqrt(np.einsum("ni,ij,nj->n", shown, spread, shown) * 5 / 4)  # four parts of five were seen
    assert 0.1 < np.sqrt((errors**2).mean()) < 2.5


def test_features_that_tell_nothing_are_at_chance():
    """No score may come from a row's own label: one that did would be far above one half at so many features."""
    found = []
    for seed in range(20):
        rng = chance(seed)
        labels = rng.random(100) < 0.4
        found.append((area(probe(rng.normal(size=(100, 40)), labels, seed=seed), labels) - 0.5) / spread(labels))
    assert abs(np.mean(found)) < 3.5 / np.sqrt(20) * 1.5  # scores of different folds add a little spread


def test_rows_of_a_group_do_not_tell_of_each_other():
    """Twins share features and label: who may learn from the twin knows the answer."""
    rng = chance(1)
    labels, features = rng.random(60) < 0.5, rng.normal(size=(60, 40))
    twins, names = np.tile(np.arange(60), 4), np.tile(np.arange(60), 4)
    alone = probe(features[twins], labels[twins], decay=0.1)
    together = probe(features[twins], labels[twins], names, decay=0.1)
    assert area(alone, labels[twins]) > 0.95
    assert abs(area(together, labels[twins]) - 0.5) < 4 * spread(labels)


def test_decay_keeps_weights_small():
    labels = np.arange(200) % 2 == 0  # as many of each in every part
    features = chance(2).normal(size=(200, 2)) + 2 * labels[:, None]
    loose, tight, tighter = (probe(features, labels, decay=decay).std() for decay in (0.01, 1e4, 2e4))
    assert tight < 0.5 < loose
    assert tight / tighter == pytest.approx(2, rel=0.05)  # by then a weight is the loss's slope at 0 over the decay


@pytest.mark.parametrize("decay", [1.0, 100.0])
def test_a_part_is_scored_by_the_optimum_of_the_other(decay):
    rng, half = chance(4), np.arange(80) % 2
    labels = rng.random(80) < 0.4
    features = rng.normal(size=(80, 3)) + labels[:, None]
    mean, deviation = features[half == 1].mean(0), features[half == 1].std(0)
    x, target = (torch.from_numpy(part) for part in ((features - mean) / deviation, labels.astype(float)))
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def loss():
        optimiser.zero_grad()
        learned = (x @ weights[:3] + weights[3])[half == 1]
        total = binary_cross_entropy_with_logits(learned, target[half == 1], reduction="sum")
        (total := total + decay / 2 * (weights[:3] ** 2).sum()).backward()
        return total

    optimiser.step(loss)
    expected = (x @ weights[:3] + weights[3]).detach().numpy()
    np.testing.assert_allclose(probe(features, labels, half, folds=2, decay=decay)[half == 0], expected[half == 0], atol=2e-3)


def test_rare_labels_are_dealt_out_evenly():
    labels = np.arange(40) < 2
    for seed in range(10):
        assert np.isfinite(probe(np.arange(40.0)[:, None], labels, folds=2, seed=seed)).all()


def test_a_column_that_never_varies_is_no_trouble():
    labels = np.arange(40) % 2 == 0
    features = np.stack([np.full(40, 7.0), labels + chance().normal(size=40)], 1)
    np.testing.assert_allclose(probe(features, labels), probe(features[:, 1:], labels), atol=1e-3)


@given(arrays.arrays(float, (3, 4, 2), elements=st.floats(-5, 5)), arrays.arrays(int, 3, elements=st.integers(1, 4)))
def test_pooled_features_are_means_and_maxima_of_the_steps_there_are(features, steps):
    found = pooled(features, np.arange(4) < steps[:, None])
    for row, each, count in zip(found, features, steps, strict=True):
        np.testing.assert_allclose(row, [*each[:count].mean(0), *each[:count].max(0)], atol=1e-12)


def test_a_model_s_own_activations_tell_what_it_was_taught():
    segments = behaviour(400, shortest=5)
    labels = (np.where(segments.valid, segments.observation[..., 0], -9).max(1)) > 1.5
    model = CatastropheClassifier(**QUICK).fit(Catastrophes(segments, labels.astype(float), "Meadow"))
    fresh = behaviour(300, seed=9, shortest=5)
    bad = (np.where(fresh.valid, fresh.observation[..., 0], -9).max(1)) > 1.5
    scores = probe(pooled(model.activations(fresh)[0], fresh.valid), bad)
    assert area(scores, bad) > 0.9


@pytest.mark.parametrize("acceptance", [0.5, 0.95, 1.0])
def test_flags_leave_the_share_of_harmless_scores_that_was_asked_for(acceptance):
    rng = chance(3)
    labels = rng.random(400) < 0.3
    scores = rng.normal(size=400) + labels
    flags = flagged(scores, labels, acceptance)
    left = 1 - flags[~labels].mean()
    assert acceptance <= left <= acceptance + 1 / (~labels).sum() + 1e-12
    assert flags[labels].mean() >= flags[~labels].mean()


def test_failures_are_counted_by_who_noticed():
    accepts, flags = np.repeat([[1, 0], [1, 1], [0, 0], [0, 1]], [4, 3, 2, 1], axis=0).T
    found = split_failures(accepts, flags)
    assert (found.nobody, found.probe, found.filter, found.both) == (4, 3, 2, 1)
    assert (found.did_not_know, found.knew) == (4, 6)


@given(arrays.arrays(bool, st.shared(st.integers(0, 20), key="n")), arrays.arrays(bool, st.shared(st.integers(0, 20), key="n")))
def test_every_failure_is_one_or_the_other(accepts, flags):
    found = split_failures(accepts, flags)
    assert found.did_not_know + found.knew == len(accepts)
    assert found.did_not_know == (accepts & ~flags).sum()


def test_says_what_is_wrong():
    features, labels = np.zeros((10, 2)), np.arange(10) % 2
    wrong = [
        (lambda: probe(features[:9], labels), r"features \(9, 2\) of 10 labels"),
        (lambda: probe(np.full((10, 2), np.nan), labels), "give finite numbers"),
        (lambda: probe(features, np.zeros(10)), "0 of 10 labels are positive: too few of a kind for 5 folds"),
        (lambda: probe(features, labels, np.zeros(10)), "too few of a kind"),
        (lambda: probe(features, labels, folds=1), "1 folds"),
        (lambda: probe(features, labels, np.zeros(3)), "3 groups, 10 labels"),
        (lambda: pooled(np.zeros((2, 3, 4)), np.zeros((2, 3), bool)), "a step in every stretch"),
        (lambda: pooled(np.zeros((2, 3)), np.ones((2, 3), bool)), r"features \(2, 3\) of \(2, 3\) steps"),
        (lambda: flagged(np.zeros(3), np.ones(3)), "0 harmless scores"),
        (lambda: flagged(np.zeros(3), np.zeros(3), 0.0), "acceptance 0.0"),
        (lambda: split_failures(np.zeros(3), np.zeros(4)), r"\(3,\) verdicts of a filter and \(4,\) of a probe"),
    ]
    for refused, message in wrong:
        with pytest.raises(ProxygapError, match=message):
            refused()
