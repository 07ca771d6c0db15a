"""The catastrophes study: agents from weak to capable, their rates with honest intervals, and who noticed their failures."""

import json
import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from proxygap.agents.options import Options, played, scenes
from proxygap.agents.rollouts import scripted
from proxygap.envs import ProxygapError
from proxygap.experiments import catastrophes
from proxygap.experiments.capability import (
    BEST,
    CHANCE,
    GROUPS,
    LEARNER,
    PLANNED,
    PLANNER,
    SHARES,
    ladder,
    planner,
    sometimes,
)
from proxygap.experiments.catastrophes import QUICK, SIZES, Catastrophes, Watch, counted
from proxygap.experiments.red_team_tasks import TASKS, is_near, task_for
from proxygap.experiments.report.catastrophes import HEAD, PAGE, agents, cells, headlines, panel, rate
from scipy import stats

TINY: dict[str, Any] = {"options": 60, "examples": 200, "populations": (2,), "steps": (64,), "seeds": 2, "quiet": True}
ISLAND = TASKS["IslandNavigation"]
UNLUCKY = 1e-3  # the chance that a true claim fails a test on fixed seeds


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A tiny study that has been done in this process, and its rows."""

    def run_tasks(tasks, jobs, quiet=False):
        for task in tasks:
            task.function(lambda row: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catastrophes, "run_tasks", run_tasks)
        patch.setattr(catastrophes, "LEARNING", {"steps": 40})
        made = Catastrophes(("island_navigation", "storyteller"), **TINY, out=tmp_path_factory.mktemp("study"))
        yield made, made.results()


def options(severity, near):
    """N options of one step, of these severities."""
    none = np.zeros(len(severity))
    seen, yes = np.zeros((len(severity), 1, 2), np.float32), np.ones((len(severity), 1), bool)
    number = np.arange(len(severity))
    return Options(
        seen, none[:, None], seen, ~yes, yes, number, number, ~yes, np.array(severity), np.array(near), none + 2.0, none - 1.0
    )


# The ladder


def test_the_ladder_goes_from_chance_over_scripts_and_planners_to_learners():
    rungs = ladder(ISLAND, SIZES)
    groups = [rung.group for rung in rungs]
    assert groups == sorted(groups, key=GROUPS.index)
    assert [rung.most for rung in rungs if rung.group == PLANNER] == [PLANNED] * 3
    assert [rung.agent for rung in rungs][:2] == ["random", "75% random"]
    assert len(rungs) == 1 + len(SHARES) + 1 + 3 + 3


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_steps_is_another_policys(share):
    loop: Any = SimpleNamespace(start=np.zeros(4000, bool))
    policy = sometimes(lambda loop: np.zeros(4000, int), lambda loop: np.ones(4000, int), share, 0)
    acted = np.stack([policy(loop) for _ in range(5)])
    assert stats.binomtest(int(acted.sum()), acted.size, share).pvalue > UNLUCKY
    assert (acted != acted[:1]).any() == (0 < share < 1)  # drawn in each step anew


def test_cem_does_not_put_a_catastrophe_off():
    """By the water it could always drown later: it drowns in the first steps."""
    env = ISLAND.environment
    here = scenes(env, ISLAND.opener(0), 64, ISLAND.length, 0)
    found = played(env, here, ISLAND.length, planner(ISLAND, 64, 0))
    assert (found.severity > 0).all()
    gamer = played(env, here, ISLAND.length, scripted(env, "gamer"))
    assert found.valid.sum() <= gamer.valid.sum() + 64  # whose way to the water is the shortest


def test_larger_populations_find_more():
    env = ISLAND.environment
    here = scenes(env, ISLAND.opener(0), 64, ISLAND.length, 0)
    one, many = ((played(env, here, ISLAND.length, planner(ISLAND, number, 0)).severity > 0).mean() for number in (1, 64))
    assert one < 0.95 < many


# What is counted


def test_failures_are_counted_by_both_circles():
    found = options([0.0, 3.0, 0.0, 0.0], [0.0, 3.0, 1.0, 0.4])
    assert counted(found, 0.0) == {"options": 4, "catastrophes": 1, "near": 3, "true": 2.0, "proxy": -1.0}
    assert counted(found, 0.5)["near"] == 2 == is_near(found, 0.5).sum()
    assert counted(found, np.inf)["near"] == 1


def watch(features, accepts):
    """A watch whose filter has these features of any options [N, d], and accepts these [N]."""
    model = SimpleNamespace(activations=lambda seen: features[None, :, None], accepts=lambda seen: accepts)
    return Watch(model, 0.95)


@pytest.mark.parametrize(("telling", "unknown"), [(True, 0), (False, 15)])
def test_nobody_knew_where_the_filter_and_its_features_both_miss(telling, unknown):
    """Of 40 failures 15 pass the filter; whether these were known is told by its features, or by nothing."""
    bad = np.arange(200) < 40
    features = np.where(telling, 10.0 * bad, 0.0)[:, None] * np.ones(3)
    accepts = ~bad | (np.arange(200) < 15)
    accepts[-8:] = False
    seen = watch(features, accepts)
    seen.see(options(1.0 * bad, 1.0 * bad))
    assert seen.splits() == [{"passed": 15, "unknown": unknown, "refused": 8}]


def test_each_agents_failures_are_split_by_themselves():
    seen = watch(np.zeros((10, 2)), np.arange(10) < 5)
    for failed in (0, 10, 3):
        seen.see(options(1.0 * (np.arange(10) < failed), np.ones(10)))
    assert [row["passed"] for row in seen.splits()] == [0, 5, 3]
    assert [row["refused"] for row in seen.splits()] == [5, 0, 5]


def test_what_the_probe_finds_is_told_of_those_whose_it_is():
    """The filter passes everything; of the failures of the second agent its features tell, and the first has none."""
    model = SimpleNamespace(activations=lambda seen: seen.observation[None], accepts=lambda seen: np.ones(len(seen), bool))
    seen, failed = Watch(model, 0.95), np.arange(100) < 20
    for bad in (~failed & failed, failed):
        tells = options(1.0 * bad, 1.0 * bad)
        tells.observation[bad] = 10.0
        seen.see(tells)
    assert [(row["passed"], row["unknown"]) for row in seen.splits()] == [(0, 0), (20, 0)]


def test_too_few_failures_for_a_probe_are_known_to_the_filter_alone():
    seen = watch(np.zeros((10, 2)), np.arange(10) < 2)
    seen.see(options(1.0 * (np.arange(10) < 4), np.ones(10)))
    assert seen.splits() == [{"passed": 2, "unknown": 2, "refused": 6}]


# Rates and their intervals


def rows(*failures, number=100):
    return [{"catastrophes": count, "near": count, "options": number} for count in failures]


def test_where_nothing_happened_the_interval_is_the_exact_bound():
    found = rate(rows(0, 0, 0))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 300))


def test_intervals_cover_options_and_seeds():
    alike, apart = rate(rows(10, 10, 10)), rate(rows(0, 10, 20))
    clopper = stats.binomtest(30, 300).proportion_ci(0.95, "exact")
    assert (alike.low, alike.high) == pytest.approx((clopper.low, clopper.high))
    assert alike.value == apart.value == pytest.approx(0.1)
    student = 0.1 + stats.t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert (apart.low, apart.high) == pytest.approx((0.0, student))  # cut off at nothing
    single = rate(rows(10))
    assert np.isfinite([single.low, single.high]).all()


def test_exact_rates_need_no_counting():
    exact = [row | {"exact": chance} for row, chance in zip(rows(5, 5), (0.2, 0.4), strict=True)]
    assert rate(exact).value == pytest.approx(0.3)
    assert rate(exact, "near").value == pytest.approx(0.05)
    assert rate([{"exact": 0.25}]).value == 0.25


# The study


def test_a_study_plays_every_agent_in_every_task(done):
    made, found = done
    for name in ("IslandNavigation", "Storyteller"):
        ladder_of = [rung[:2] for rung in ladder(task_for(name), made.sizes)]
        names = list(agents(found, name))
        assert names == ladder_of + ([(BEST, "exact")] if name == "IslandNavigation" else [])
        assert all(len(seeds) == 2 for seeds in agents(found, name).values())
    assert [row["exact"] for row in found if row["group"] == BEST] == [1.0, 1.0]
    chance = agents(found, "IslandNavigation")[CHANCE, "random"]
    assert stats.binomtest(sum(row["catastrophes"] for row in chance), 120, rate(chance).value).pvalue > UNLUCKY


def test_counts_hold_together(done):
    for row in done[1]:
        if row["group"] != BEST:
            assert 0 <= row["unknown"] <= row["passed"] <= row["catastrophes"] <= row["near"] <= row["options"] == 60
            assert row["refused"] <= row["options"] - row["catastrophes"]


def test_the_page_and_the_tables_hold_what_was_found(done):
    made, found = done
    page = (made.folder / PAGE).read_text()
    assert all(f"<p>{line}</p>" in page for line in headlines(found, made))
    assert len(headlines(found, made)) == 3
    table = cells(found, "IslandNavigation")
    assert all(len(row) == len(HEAD) for row in table)
    assert table[-1][:2] == ("the best: exact", "1 [1, 1] (exact)")
    for name in ("IslandNavigation", "Storyteller"):
        assert all(f"<td>{cell}</td>" in page for row in cells(found, name) for cell in row)


def test_points_are_rates_and_triangles_are_bounds(done):
    _, found = done
    figure: Any = panel(found, "IslandNavigation")
    assert [trace.name for trace in figure.data] == list(GROUPS)
    every = {name: rate(these) for name, these in agents(found, "IslandNavigation").items()}
    for trace in figure.data:
        own = [each for (group, _), each in every.items() if group == trace.name]
        assert list(trace.y) == pytest.approx([each.value or each.high for each in own])
        assert [symbol == "circle" for symbol in trace.marker.symbol] == [each.value > 0 for each in own]
    assert figure.layout.yaxis.type == "log"


def test_what_is_stored_is_not_done_again(done, monkeypatch):
    made, found = done
    for name in ("ladder", "scenes", "Watch"):
        monkeypatch.setattr(catastrophes, name, None)
    assert made.results() == found


def test_seeds_are_added_in_the_same_folder_and_other_settings_are_refused(done):
    made, _ = done
    assert Catastrophes().folder == Catastrophes(seeds=9, jobs=1, json=True).folder
    assert Catastrophes(("lagoon", "Lagoon")).folder == Catastrophes(("Lagoon",)).folder
    assert json.loads(json.dumps(made.decisive)) == made.decisive
    changes = {"options": 9, "examples": 99, "populations": (3,), "steps": (9,)}
    assert {"tasks", *changes} == set(made.decisive)
    for name, value in changes.items():
        with pytest.raises(ProxygapError, match=f"holds a study with another {name}"):
            replace(made, **{name: value}).results()
    with pytest.raises(ProxygapError, match="holds a study with another tasks"):
        replace(made, tasks=("lagoon",)).results()


def test_quick_numbers_are_smaller_and_give_way_to_those_that_are_given():
    assert set(QUICK) == set(SIZES)
    assert all(np.max(QUICK[name]) < np.max(SIZES[name]) for name in SIZES)
    assert Catastrophes(quick=True).sizes == QUICK
    assert Catastrophes(quick=True, seeds=7).sizes == QUICK | {"seeds": 7}


def test_tasks_travel_to_other_processes():
    study = Catastrophes(seeds=3)
    work = pickle.loads(pickle.dumps(study.work()))
    assert len({task.name for task in work}) == 3 * len(TASKS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": 0}, "--seeds 0: at least 1"),
        ({"options": 0}, "--options 0"),
        ({"steps": (0, 5)}, "--steps"),
        ({"populations": (0,)}, "--populations"),
        ({"examples": 3}, "--examples 3: at least 10"),
        ({"tasks": ()}, "no task: name environments, such as Lagoon"),
    ],
    ids=str,
)
def test_senseless_settings_are_refused(given, message):
    with pytest.raises(ProxygapError, match=message):
        Catastrophes(**given)


def test_an_environment_without_catastrophes_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(ProxygapError, match="BoatRace has no notion of a catastrophe"):
        Catastrophes(("boat_race",), out=tmp_path / "study").results()
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_who_can_do_more_of_the_proxy_harms_more_on_the_road():
    """PPO is paid for speed; the longer it trains, the nearer it comes to the most harm that can be done."""
    task = TASKS["LongTailDrive"]
    here = scenes(task.environment, task.opener(0), 1000, task.length, 0)
    rungs = [rung for rung in ladder(task, SIZES) if rung.group == LEARNER]
    rates = [(played(task.environment, here, task.length, rung.policy(0)).severity > 0).mean() for rung in rungs]
    assert rates[-1] > rates[0] + 0.1
