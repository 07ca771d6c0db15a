"""The values study: who is asked about whom, what the closed form says of real people, and what agents make of their pay."""

import json
import pickle
from functools import partialmethod
from typing import Any

import numpy as np
import pytest
from proxygap.agents.rollouts import collect
from proxygap.envs import ProxygapError
from proxygap.envs.companion import LEVELS, Companion, level
from proxygap.experiments import values
from proxygap.experiments.report.values import PAGE, estimate, headline, ranking_cells, reports_cells
from proxygap.experiments.values import (
    AGENT,
    CHECKS,
    CUES,
    EPISODES,
    TAUGHT,
    TRUTH,
    WORLDS,
    Values,
    believed,
    best_reports,
    likely,
    people,
    truthfulness,
    varied,
)
from scipy import stats

TINY: dict[str, Any] = {"comparisons": 16, "spot_checks": (0.0, 1.0), "steps": 100, "seeds": 1, "quiet": True}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A tiny study that has been done in this process, and its rows."""
    from proxygap.reward_models.preference import PreferenceReward

    def run_tasks(tasks, jobs, quiet=False):
        for task in tasks:
            task.function(lambda row: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "run_tasks", run_tasks)
        patch.setattr(values, "FITTING", 50)
        quick = type("PreferenceReward", (PreferenceReward,), {"__init__": partialmethod(PreferenceReward.__init__, steps=40)})
        patch.setattr("proxygap.reward_models.preference.PreferenceReward", quick)
        made = Values(**TINY, out=tmp_path_factory.mktemp("study"))
        yield made, made.results()


# Who is asked about whom


def test_activities_are_done_in_every_share_and_reports_are_true():
    played = collect(Companion(), varied(0), EPISODES, 0)
    assert (played.terms[..., list(played.names[0]).index("truthfulness")] == 1.0).all()
    shares = (played.action[..., 0] == 0).mean(1)  # of one of four activities: a Dirichlet of ones has Beta(1, 3) margins
    assert stats.kstest(shares, stats.beta(1, 3).cdf).pvalue > 1e-3
    assert (np.diff(played.action[..., 0], axis=1) != 0).any()


def test_the_truth_about_people_is_their_state():
    observation, truth = people(5)
    loop = Companion(steers=False).loop(EPISODES)
    loop.reset(5)
    for step in range(3):
        assert np.array_equal(truth.reshape(EPISODES, -1)[:, step], level(loop.state.wellbeing))
        assert np.array_equal(observation.reshape(EPISODES, -1, 8)[:, step], loop.observation)
        loop.step(np.full((EPISODES, 2), 3))  # whatever is reported


def test_truthfulness_counts_where_the_rater_is_wrong():
    found = truthfulness(np.array([0, 2, 4, 1]), np.array([0, 2, 2, 3]), np.array([0, 1, 4, 2]))
    assert found == {"error": 1.0, "truthful": pytest.approx(1 / 3)}


# The closed form


def test_the_network_learns_the_chances_of_levels():
    """Of labels drawn from known chances, which depend on one number: P(level 4) is that number, else it is 0."""
    rng = np.random.default_rng(0)
    seen = rng.random((20_000, 8), np.float32)
    levels = np.where(rng.random(20_000) < seen[:, 0], 4, 0)
    found = likely(seen, levels, seen[:2000], 0)
    assert found.shape == (2000, LEVELS)
    assert abs(found[:, 4] - seen[:2000, 0]).mean() < 0.05


def test_the_best_report_is_belief_up_to_half_of_the_checks_and_nearer_to_the_truth_beyond():
    rows = {(row["who"], row["spot_check"]): row for row in best_reports(CHECKS, 0, lambda row: None)}
    observation, truth = people(values.STREAMS // 2)
    echoed = truthfulness(believed(observation), truth, believed(observation))
    for share in CHECKS:
        expected = {"error": 0.0, "truthful": 1.0} if share > 0.5 else echoed
        assert {key: rows[TRUTH, share][key] for key in expected} == expected
    by_cues = [rows[CUES, share]["error"] for share in CHECKS]
    assert by_cues[20] == echoed["error"]
    assert (np.diff(by_cues[20:]) < 0.01).all()  # of a level: the network's chances are not quite those of these people
    assert by_cues[-1] < 0.6 * echoed["error"]


# The study


def test_a_study_measures_every_model_in_every_world_and_every_agent(done):
    _, found = done
    assert [(row["taught"], row["tested"]) for row in found if "taught" in row] == [(t, w) for t in TAUGHT for w in WORLDS]
    assert all(0.0 <= row["accuracy"] <= 1.0 and 0.5 < row["bayes"] < 1.0 for row in found if "taught" in row)
    assert [row["spot_check"] for row in found if row.get("who") == AGENT] == [0.0, 1.0]
    assert {row["spot_check"] for row in found if row.get("who") == CUES} == set(CHECKS)


def test_the_page_and_the_tables_hold_what_was_found(done):
    made, found = done
    page = (made.folder / PAGE).read_text()
    assert headline(found, made) in page
    assert str(estimate(found, "accuracy", taught=TAUGHT[1], tested="reserved people")) in ranking_cells(found)[6]
    for row in (*ranking_cells(found), *reports_cells(found, made)):
        assert all(f"<td>{cell}</td>" in page for cell in row)


def test_what_is_stored_is_not_done_again(done, monkeypatch):
    made, found = done
    for name in ("people", "varied", "truthfulness"):
        monkeypatch.setattr(values, name, None)
    assert made.results() == found


def test_seeds_are_added_in_the_same_folder_and_other_settings_are_refused(done):
    made, _ = done
    assert Values().folder == Values(seeds=9, jobs=1, json=True).folder
    assert json.loads(json.dumps(made.decisive)) == made.decisive
    changes = {"comparisons": 9, "spot_checks": (0.5,), "steps": 9}
    assert set(changes) == set(made.decisive)
    for name, value in changes.items():
        with pytest.raises(ProxygapError, match=f"holds a study with another {name}"):
            Values(**TINY | {name: value}, out=made.folder).results()


def test_tasks_travel_to_other_processes():
    tasks = pickle.loads(pickle.dumps(Values(seeds=2).tasks()))
    assert len({task.name for task in tasks}) == 2 * 7


@pytest.mark.parametrize("given", [{"seeds": 0}, {"comparisons": 0}, {"spot_checks": (1.5,)}], ids=str)
def test_senseless_settings_are_refused(given):
    with pytest.raises(ProxygapError, match=f"--{next(iter(given)).replace('_', '-')}"):
        Values(**given)


@pytest.mark.slow
def test_checked_agents_tell_more_truth_than_those_paid_by_belief(tmp_path):
    made = Values(steps=100_000, out=tmp_path)
    echo, checked = (next(made.reports(share, 0, lambda row: None)) for share in (0.0, 1.0))
    assert echo["truthful"] < 0.1
    assert checked["truthful"] > 0.4
    assert checked["error"] < echo["error"]
