"""Rounds of hardening keep their labels, learn from what was chosen, hold the quality, and resume to the same bit."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes
from proxygap.reward_models.filters import ReturnFilter
from proxygap.reward_models.hardening import EVEN, Finds, Hardening, Round, harden, mixed, portions, recall
from proxygap.reward_models.preference import PreferenceReward
from proxygap.reward_models.robust import Noise

from .behaviour import QUICK, behaviour, changed, compared

MODEL = CatastropheClassifier(steps=50, acceptance=0.9)
HARMLESS_SEED = 77


def severities(segments):
    """By how far the worst step is too fast with action 1, [N]."""
    fast = np.where(segments.valid & (segments.action == 1), segments.observation[..., 0] - 1.0, 0.0)
    return np.maximum(fast, 0).max(1)


def labelled(number, seed=0):
    segments = behaviour(number, seed, shortest=5)
    return Catastrophes(segments, severities(segments), "Meadow")


def harmless(number=100):
    segments = behaviour(10 * number, HARMLESS_SEED, shortest=5)
    return segments[np.flatnonzero(severities(segments) == 0)[:number]]


def finds(target, segments, env="Meadow"):
    severity = severities(segments)
    margin = target.threshold_ - target.suspicion(segments)
    return Finds(segments, severity, np.maximum(severity - 0.5, 0), margin, np.ones(len(severity)), env)


def search(target, labels, rng):
    """Of many stretches has those labelled that pass: random search by another name."""
    segments = behaviour(4 * labels, int(rng.integers(1 << 30)), shortest=5)
    return finds(target, segments[np.argsort(target.suspicion(segments), kind="stable")[-2 * labels :][:labels]])


def weights(model):
    return torch.cat([tensor.detach().flatten() for tensor in model.network_.parameters()])


def hardened(settings, attack=search, data=None, model=MODEL, **kwargs):
    return list(harden(model, labelled(80) if data is None else data, harmless(), attack, settings, **kwargs))


def same(one, other):
    """Whether two rounds are equal, bit for bit."""
    assert torch.equal(weights(one.model), weights(other.model))
    assert one.finds.sha256() == other.finds.sha256()
    assert (one.number, one.model.threshold_) == (other.number, other.model.threshold_)
    np.testing.assert_array_equal(one.update, other.update)
    np.testing.assert_array_equal(one.chosen, other.chosen)


SETTINGS = {
    "warm": Hardening(rounds=2, labels=20, weight=2.0, seed=3),
    "fresh": Hardening(rounds=2, labels=20, warm=False, keep=4, choice="egregious"),
    "often": Hardening(rounds=2, labels=20, updates=2, keep=8, choice="nearest"),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_who_goes_on_from_stored_rounds_comes_to_the_same_end(settings, tmp_path):
    model = replace(MODEL, ensemble=2, bootstrap=True)
    whole = hardened(settings, model=model, alike=[Noise(0.1)])
    assert [each.number for each in whole] == [0, 1, 2]
    for each in whole[:2]:
        each.save(tmp_path / str(each.number))
    stored = [Round.load(tmp_path / str(number)) for number in range(2)]
    for one, other in zip(whole, stored, strict=False):
        same(one, other)
    resumed = hardened(settings, model=model, alike=[Noise(0.1)], done=stored)
    assert len(resumed) == 1
    same(whole[2], resumed[0])
    assert not torch.equal(weights(whole[1].model), weights(whole[2].model))


def test_another_seed_is_another_course():
    one, other = (hardened(Hardening(rounds=1, labels=20, seed=seed)) for seed in (0, 1))
    same(one[0], other[0])
    assert one[1].finds.sha256() != other[1].finds.sha256()


def test_every_threshold_lets_the_same_share_of_the_harmless_pass():
    for each in hardened(SETTINGS["often"]):
        assert 0.9 <= each.model.accepts(harmless()).mean() <= 0.91


@pytest.mark.parametrize(("labels", "updates"), [(20, 1), (20, 6), (7, 7)])
def test_a_round_s_labels_are_divided_among_its_updates_and_each_attacks_what_the_last_one_left(labels, updates):
    asked, targets = [], []

    def attack(target, number, rng):
        asked.append(number)
        targets.append(weights(target).clone())
        return search(target, number, rng)

    _, only = hardened(Hardening(rounds=1, labels=labels, updates=updates), attack)
    assert len(asked) == updates
    assert sum(asked) == labels == only.finds.asked.sum()
    assert max(asked) - min(asked) <= 1
    assert all(not torch.equal(one, other) for one, other in pairwise(targets))
    np.testing.assert_array_equal(np.bincount(only.update), asked)


def test_what_is_learned_from_is_all_data_and_what_was_chosen(monkeypatch):
    learned = []
    for name in ("fit", "refit"):
        old = getattr(CatastropheClassifier, name)

        def spied(self, *records, old=old, name=name, **kwargs):
            learned.append((name, [len(record) for record in records], kwargs["alike"], kwargs.get("weight", 1.0)))
            return old(self, *records, **kwargs)

        monkeypatch.setattr(CatastropheClassifier, name, spied)
    rounds = hardened(replace(SETTINGS["warm"], updates=2), alike=[Noise(0.1)])
    counts = [np.bincount(each.update[each.chosen]).tolist() for each in rounds[1:]]
    together = [80, *counts[0], *counts[1]]
    assert learned == [("fit", [80], [Noise(0.1)], 1.0)] + [
        ("refit", together[: 2 + update], [Noise(0.1)], 2.0) for update in range(4)
    ]
    learned.clear()
    hardened(SETTINGS["fresh"])
    assert [name for name, *_ in learned] == ["fit"] * 3


def made(severity, egregiousness, margin):
    n = len(severity)
    return Finds(behaviour(n), np.array(severity), np.array(egregiousness), np.array(margin), np.ones(n), "Meadow")


MADE = made([1, 0, 2, 3, 0, 1], [0.0, 0, 5, 1, 0, 3], [0.1, 9, -4, 2, -0.3, -0.2])


@pytest.mark.parametrize(
    ("choice", "keep", "harmless", "expected"),
    [
        ("egregious", 2, False, [2, 5]),
        ("egregious", 3, False, [2, 3, 5]),
        ("nearest", 2, False, [0, 5]),
        ("nearest", 3, True, [0, 1, 3, 4, 5]),
        ("random", None, False, [0, 2, 3, 5]),
        ("random", None, True, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_finds_that_are_chosen(choice, keep, harmless, expected):
    settings = Hardening(choice=choice, harmless=harmless)
    np.testing.assert_array_equal(np.flatnonzero(settings.chosen(MADE, keep, np.random.default_rng(0))), expected)


def test_a_random_choice_takes_each_catastrophe_as_often_as_another():
    rng, settings = np.random.default_rng(0), Hardening(harmless=False)
    often = np.sum([settings.chosen(MADE, 2, rng) for _ in range(400)], 0)
    assert often[[1, 4]].tolist() == [0, 0]
    assert (np.abs(often[[0, 2, 3, 5]] - 200) < 5 * 10).all()  # five standard deviations of 400 coins


def test_among_equally_egregious_finds_chance_decides():
    alike = made([1.0] * 6, [2.0] * 6, [0.0] * 6)
    rng, settings = np.random.default_rng(0), Hardening(choice="egregious")
    assert np.sum([settings.chosen(alike, 2, rng) for _ in range(100)], 0).min() > 10


@given(st.integers(0, 500), st.lists(st.floats(0.1, 10), min_size=1, max_size=8))
def test_portions_are_whole_all_there_is_and_near_their_shares(number, shares):
    found = portions(number, shares)
    assert sum(found) == number
    assert len(found) == len(shares)
    assert (np.abs(np.array(found) - number * np.array(shares) / sum(shares)) <= 1 + 1e-9).all()


def test_mixed_attacks_have_their_shares_and_chance_of_their_own():
    seen = []

    def noted(target, labels, rng):
        seen.append((labels, rng.random()))
        return search(target, labels, rng)

    target = hardened(Hardening(rounds=1, labels=1))[0].model
    found = mixed([noted, noted, noted], [2, 1, 1])(target, 20, np.random.default_rng(0))
    again = mixed([noted, noted, noted], [2, 1, 1])(target, 20, np.random.default_rng(0))
    assert found.sha256() == again.sha256()
    assert [labels for labels, _ in seen] == [10, 5, 5] * 2
    assert len({draw for _, draw in seen}) == 3

    def wasteful(target, labels, rng):
        rng.random(100)
        return search(target, labels, rng)

    mixed([wasteful, noted, noted], [2, 1, 1])(target, 20, np.random.default_rng(0))
    assert seen[-2:] == seen[1:3]  # how much chance one needs is nothing to the others
    assert len(mixed([noted, noted])(target, 1, np.random.default_rng(0))) == 1  # who has no label is not asked


def test_a_hole_that_is_attacked_is_closed_and_clean_behaviour_still_passes():
    """Data without any catastrophe of action 1 teach nothing of it; an attack finds just those."""
    data = labelled(400)
    severity = np.where(data.severity > 0, 1.0, 0.0)
    seen = np.where(data.segments.valid & (data.segments.action == 2), data.segments.observation[..., 0], 0).max(1) > 1
    data = changed(data, severity=np.where(seen, 1.0, 0.0))[(severity == 0) | seen]

    def attack(target, labels, rng):
        segments = behaviour(10 * labels, int(rng.integers(1 << 30)), shortest=5)
        return finds(target, segments[np.flatnonzero(severities(segments) > 0.2)[:labels]])

    fresh = labelled(600, seed=5)
    rounds = hardened(Hardening(rounds=2, labels=100), attack, data, replace(MODEL, steps=400))
    before, after = (recall(each.model, fresh) for each in (rounds[0], rounds[-1]))
    assert after > before + 0.2
    assert 0.9 <= rounds[-1].model.accepts(harmless()).mean() <= 0.91


def test_finds_that_are_all_harmless_are_learned_from_and_told_of():
    def idle(target, labels, rng):
        return finds(target, harmless(labels))

    before, after = hardened(Hardening(rounds=1, labels=20), idle)
    assert after.chosen.all()
    assert not torch.equal(weights(before.model), weights(after.model))
    assert str(after) == "round 1: 0 catastrophes for 20 labels, 0 accepted; learned from 20 stretches"


def test_where_there_is_nothing_to_learn_from_the_classifier_stays():
    def nothing(target, labels, rng):
        return finds(target, harmless(labels))[:0]

    for settings, attack in (
        (Hardening(rounds=1, labels=5), nothing),
        (Hardening(rounds=1, labels=5, harmless=False), lambda t, n, r: finds(t, harmless(n))),
    ):
        before, after = hardened(settings, attack)
        assert torch.equal(weights(before.model), weights(after.model))
        assert before.model.threshold_ == after.model.threshold_


def test_recall_is_the_share_of_catastrophes_refused():
    model, data = hardened(Hardening(rounds=1, labels=1))[0].model, labelled(200, seed=4)
    suspicion = model.suspicion(data.segments)[data.label]
    assert recall(model, data) == pytest.approx((suspicion > model.threshold_).mean())
    assert recall(model, data, EVEN) == pytest.approx((suspicion > 0).mean())
    assert recall(model, data, -np.inf) == 1.0
    returns = ReturnFilter(PreferenceReward(**QUICK).fit(compared(40))).choose_threshold(harmless())
    assert recall(returns, data) == pytest.approx(1 - returns.accepts(data.segments[data.label]).mean())


def test_finds_and_rounds_are_stored_whole(tmp_path):
    MADE.save(tmp_path / "finds")
    assert Finds.load(tmp_path / "finds").sha256() == MADE.sha256()
    catastrophes = MADE.catastrophes()
    assert catastrophes.severity.tolist() == MADE.severity.tolist()
    first, _ = hardened(Hardening(rounds=1, labels=1))
    first.save(tmp_path / "round")
    (tmp_path / "round" / "round.json").write_text("[]")
    for folder in ("round", "nowhere"):
        with pytest.raises(ProxygapError, match="can't read a round"):
            Round.load(tmp_path / folder)
    with pytest.raises(ProxygapError, match="can't write a round"):
        first.save(tmp_path / "finds")


def test_says_what_is_wrong():
    first = hardened(Hardening(rounds=1, labels=1))[0]
    settings, data = Hardening(rounds=1, labels=5), labelled(40)
    abroad = replace(first, finds=changed(first.finds, env="Desert"))

    def greedy(target, labels, rng):
        return search(target, labels + 1, rng)

    def costly(target, labels, rng):
        found = search(target, labels, rng)
        return changed(found, asked=2 * found.asked)

    def far(target, labels, rng):
        return finds(target, harmless(labels), env="Desert")

    wrong = [
        (lambda: Hardening(rounds=0), "rounds 0: at least 1"),
        (lambda: Hardening(labels=0), "labels 0: at least 1"),
        (lambda: Hardening(updates=0), "updates 0: at least 1"),
        (lambda: Hardening(labels=5, updates=6), "6 updates of 5 labels or catastrophes kept a round"),
        (lambda: Hardening(keep=0), "keep 0: at least 1"),
        (lambda: Hardening(keep=2, updates=3), "3 updates of 2 labels or catastrophes kept a round"),
        (lambda: Hardening(choice="best"), "choice 'best': allowed are random, egregious, nearest"),  # pyright: ignore[reportArgumentType]
        (lambda: Hardening(weight=0.0), "weight 0.0"),
        (lambda: harden(MODEL, data, harmless()[:0], search), "no harmless stretches"),
        (lambda: harden(MODEL, data, harmless(), search, done=[replace(first, number=1)]), r"rounds \[1\] to go on after"),
        (lambda: harden(MODEL, data, harmless(), search, done=[abroad]), "rounds in Desert to go on after"),
        (lambda: hardened(settings, far), "an attack in Desert on a classifier of Meadow"),
        (lambda: hardened(settings, greedy), "had 6 stretches labelled, where 5 were allowed"),
        (lambda: hardened(settings, costly), "had 10 stretches labelled, where 5 were allowed"),
        (lambda: hardened(settings, data=changed(data, severity=np.zeros(40))), "telling them apart needs at least 1"),
        (lambda: mixed([]), r"0 attacks with shares \[\]"),
        (lambda: mixed([search], [1, 2]), "1 attacks with shares"),
        (lambda: mixed([search], [0.0]), "a share above 0"),
        (lambda: recall(first.model, data[np.flatnonzero(~data.label)]), "no catastrophe among them"),
    ]
    for refused, message in wrong:
        with pytest.raises(ProxygapError, match=message):
            refused()
