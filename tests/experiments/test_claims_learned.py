"""Claims about learned rewards: that each measures what it says, in small."""

from dataclasses import replace
from functools import partial
from importlib import import_module

import numpy as np
import pytest
from proxygap.agents import regularized
from proxygap.agents.rollouts import collect, scripted
from proxygap.envs import make
from proxygap.envs.core import Segments
from proxygap.experiments import overoptimization
from proxygap.experiments.claims import CLAIMS, agent_capability, distractors, kl_penalty, learned
from proxygap.experiments.claims.agent_capability import steepest
from proxygap.experiments.claims.best_of_n import STUDY, forecast_errors
from proxygap.experiments.claims.kl_penalty import at_equal_distance, path
from proxygap.experiments.claims.learned import episodes, learner, lessons, optimised, peaks, standard, trend
from proxygap.experiments.claims.shared_blind_spot import SCRIPTS, repaired, tomatoes
from proxygap.experiments.commands.claims import Claims

from .hand_made import curve_of

STEPS, SEEDS = 50, (0, 1)
SMALL = replace(STUDY, comparisons=(10, 20), episodes=64)
GARDEN = replace(SMALL, env="tomato_watering", mistakes=0.0)
TINY = {
    "best_of_n": {"study": replace(SMALL, comparisons=(20,), episodes=256)},
    "more_comparisons": {"study": SMALL},
    "kl_penalty": {"study": replace(GARDEN, comparisons=(20,), steps=8192)},
    "noisy_ensembles": {"study": SMALL},
    "shared_blind_spot": {"study": GARDEN},
    "model_width": {"study": SMALL},
    "agent_capability": {"steps": 25_600},
    "distractors": {"few": {"comparisons": (20,), "episodes": 64}},
    "overconfidence": {"study": SMALL, "pairs": 40},
}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    fast = {"steps": STEPS}
    monkeypatch.setattr(learned, "learner", lambda teaching, seed, **settings: learner(teaching, seed, **settings | fast))
    monkeypatch.setattr(distractors, "learner", learned.learner)
    monkeypatch.setattr(overoptimization, "TEACHING", 32)
    monkeypatch.setattr(agent_capability, "LOOKS", 4)
    monkeypatch.setattr(agent_capability, "WIDTHS", (1, 2))
    monkeypatch.setattr(kl_penalty, "LOOKS", 4)
    monkeypatch.setattr(kl_penalty, "BETAS", (0.5,))
    monkeypatch.setattr(regularized, "clone", partial(regularized.clone, updates=50, episodes=8))


@pytest.mark.parametrize("module", TINY)
def test_records_are_whole_and_over_all_seeds(module):
    examine = import_module(f"proxygap.experiments.claims.{module}").examine
    (number,) = [number for number, (_, *modules) in CLAIMS.items() if module in modules]
    records = list(examine(lambda text: None, seeds=SEEDS, **TINY[module]))
    assert len({record.quantity for record in records}) == len(records)
    for record in records:
        assert record.claim == number
        assert record.reading
        assert record.interval.n == len(SEEDS)
        assert np.isfinite([record.interval.low, record.interval.value, record.interval.high]).all()


def test_the_curve_foretells_what_follows_it_and_nothing_foretells_better_where_gold_stays():
    distance = curve_of(np.zeros((1, 11))).distance
    follows, stays = distance * (2.0 - distance), np.where(distance > 0, 1.0, 0.0)
    found = curve_of(np.array([follows, stays]))
    right, wrong = forecast_errors(found, 0)
    assert right == pytest.approx(0.0, abs=1e-9)
    assert wrong > 0.1
    assert forecast_errors(found, 1)[1] == 0.0


def test_paths_are_compared_where_both_have_been_at_equal_distances():
    metrics = [{"kl": [d**2, d**2], "true": [10 * d], "paid": [7 * d - 0.5 * d**2]} for d in (0.0, 1.0, 2.0, 4.0)]
    held_back = path(metrics[:3], 0.5)
    np.testing.assert_allclose(held_back, [[0, 1, 2], [0, 10, 20], [0, 7, 14]])
    free = path([{**row, "true": [10 * np.sqrt(row["kl"][0]) - 3]} for row in metrics], 0.5) * [[1], [1], [0.5]]
    gold, learned, reach = at_equal_distance(held_back, free)
    assert (gold, learned, reach) == pytest.approx((3.0, 3.5 * 1.5, 0.5))


def test_the_steepest_step_is_where_the_others_fall_most():
    true = np.array([[8.0, 8.0, 2.0, 0.0], [8.0, 6.0, 2.0, 0.0], [8.0, 7.0, 1.0, 0.0]])
    np.testing.assert_allclose(steepest(true), [6 / 8, 4 / 8, 6 / 8])


def test_peaks_are_those_of_the_fits_but_not_beyond_what_was_measured():
    distance = curve_of(np.zeros((1, 11))).distance
    found = curve_of(np.array([distance * (2.0 - distance), distance * 3.0]))
    assert peaks([found])[0] == pytest.approx([1.0, distance[-1]])


def test_a_trend_is_the_mean_of_the_seeds_slopes():
    found = trend(np.arange(3.0), np.array([[0.0, 5.0], [1.0, 8.0], [2.0, 11.0]]))
    assert (found.value, found.n) == (pytest.approx(2.0), 2)


def test_standard_scores_are_those_of_the_others_if_asked():
    values = np.array([1.0, 3.0, 5.0])
    assert standard(values, values[:2]) == pytest.approx([-1.0, 1.0, 3.0])
    assert standard(np.ones(3)) == pytest.approx(np.zeros(3))


def test_members_who_know_the_truth_choose_the_best_and_one_who_hates_it_spoils_the_worst_opinion_alone():
    """Each of three members has its way of choosing; the average member's gold lies between."""
    played = np.concatenate([played.true for _, played in episodes(GARDEN, 0)])
    gold = standard(played.sum(1))

    def members(segments: Segments):
        true = played[: len(segments)]
        return np.stack([true, true, -10.0 * true])

    found = optimised(members, GARDEN, 0, len(gold))
    assert found["mean"] == pytest.approx(gold.min())
    assert found["single"] == pytest.approx((2 * gold.max() + gold.min()) / 3)
    assert found["pool"] == pytest.approx(0.0, abs=1e-12)
    alike = optimised(lambda segments: members(segments)[:2], GARDEN, 0, len(gold))
    assert [alike[way] for way in learned.WAYS] == pytest.approx([gold.max()] * 3)


def test_teaching_and_choosing_share_no_episode_and_repeat_exactly():
    first, again, other = (lessons(GARDEN, seed).teaching for seed in (0, 0, 1))
    assert first.sha256() == again.sha256() != other.sha256()
    assert lessons(GARDEN, 0).fresh.sha256() != first.sha256()


def test_nobody_is_taught_about_the_bucket_where_it_is_to_be_a_blind_spot():
    """Under it all 13 tomatoes look watered, which else they hardly ever are."""
    everything, without = (lessons(replace(GARDEN, wavering=0.9), 0, tomatoes, term) for term in (None, "under_bucket"))
    assert without.teaching.first.observation.all(-1).mean() < everything.teaching.first.observation.all(-1).mean() + 1e-9
    assert 0 < len(without.teaching) <= len(everything.teaching)


def test_tomatoes_look_watered_under_the_bucket_and_gardeners_cannot_be_told_from_it():
    env = make("tomato_watering")
    played = [collect(env, scripted(env, script), 4, 0) for script in SCRIPTS]
    honest, gamed = (tomatoes(each.observation, each.true) for each in played)
    assert set(np.unique(honest)) == {0.0, 1.0}
    assert gamed[:, -1].all()
    assert honest.shape[-1] == 13


def test_distractors_add_what_they_say():
    observation, true = np.zeros((2, 3, 4), np.float32), np.arange(6.0).reshape(2, 3) / 6
    assert distractors.lamp(observation, true)[..., -1] == pytest.approx(true)
    assert (distractors.lamp(observation, true, on=True)[..., -1] == distractors.ON).all()
    drawn = distractors.noise(observation, true)
    assert drawn.shape == (2, 3, 4 + distractors.NUMBERS)
    assert (drawn == distractors.noise(observation, true)).all()


def test_repaired_is_what_surely_gains_more_than_the_margin():
    asked = [repaired(0.2, 0.5, True, 0.1), repaired(-0.2, 0.05, True, 0.1), repaired(0.0, 0.5, True, 0.1)]
    assert asked == ["holds", "fails", "inconclusive"]
    assert [repaired(0.2, 0.5, False, 0.1), repaired(-0.2, 0.05, False, 0.1)] == ["fails", "holds"]


def test_markdown_has_a_row_for_each_quantity(capsys, monkeypatch):
    monkeypatch.setattr("proxygap.experiments.claims.optimisers_curse.OPTIONS", (64,))
    Claims((27,), markdown=True).run()
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "**27**" in lines[2]
    assert len(lines) == 3 + 2
