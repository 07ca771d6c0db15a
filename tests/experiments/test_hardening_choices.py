"""The study of hardening's choices: arms differ in one choice, labels are counted, and no piece of work is done twice."""

import json
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.agents.attacks.findings import Budget
from proxygap.envs import ProxygapError
from proxygap.experiments import hardening_choices, hardening_generator, hardening_seed, red_team_agents
from proxygap.experiments.cli import parsed
from proxygap.experiments.hardening_arms import FIRST, LEFT_OUT, PLAIN, RECIPE, WEAK, WEAKER, WHOLE, Arm, every_arm, questions
from proxygap.experiments.hardening_choices import HardeningChoices
from proxygap.experiments.hardening_generator import demonstrations, failures, imitate, played_by
from proxygap.experiments.hardening_measures import GENERATORS, LONG, cells, fresh_gain, gain, own_gain
from proxygap.experiments.hardening_seed import RESOLUTION, Repetition, alike, by_turns, halved
from proxygap.experiments.red_team import FRESH
from proxygap.experiments.red_team_agents import cloned
from proxygap.experiments.red_team_bench import Bench, Sizes
from proxygap.experiments.red_team_tasks import drawn, task_for
from proxygap.experiments.report.hardening_choices import PAGE, arms_figure, headline, rows_of, show, write_page
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.hardening import Choice, Finds
from proxygap.reward_models.robust import Dropped, Noise

ATTACKS = ("mutation", "cem", "substitution")
ASKED = questions((2, 6), (16, 64), 3)
ARMS = every_arm(ASKED)
SMALL: dict[str, Any] = {"labels": 8, "trials": 4, "queries": 20, "training": 600, "widths": (4,), "updates": (2,)}
ISLAND = task_for("island_navigation")
NOBODY: Any = None  # a target, or chance, that nobody asks


def changed(arm, other):
    return [part.name for part in fields(Arm) if getattr(arm, part.name) != getattr(other, part.name)]


# The arms


def test_every_block_of_the_recipe_is_left_out_once_and_alone():
    left = [changed(WHOLE, ARMS[f"without {block}"]) for block in LEFT_OUT]
    given = {"updates": 2, "ensemble": 3}  # the recipe goes on from the last weights, as the plain way does
    assert sorted(name for names in left for name in names) == sorted([*changed(WHOLE, Arm()), "warm"])
    assert all(len(names) == 1 for names in left)
    assert all(getattr(WHOLE, name) == value for name, value in given.items())


def test_choices_differ_from_the_plain_way_in_one_thing():
    for question in ASKED[1:]:
        for name in question.compared[1:]:
            several = {"attacks", "updates"} if name == "one attack an update" else None  # turns within a round need updates
            names = changed(question.arms[name], Arm())
            assert set(names) == several if several else len(names) == 1, name


def test_an_arm_is_asked_about_under_one_name():
    assert len(ARMS) == len(set(ARMS.values()))
    assert ASKED[0].compared[0] == RECIPE
    assert PLAIN in ASKED[0].arms


def test_own_attacks_are_those_that_had_their_turn():
    assert Arm().own(ATTACKS, 3) == ("mutation",)
    assert Arm(attacks="round").own(ATTACKS, 2) == ATTACKS[:2]
    assert Arm(attacks="mixed").own(ATTACKS, 1) == Arm(attacks="update").own(ATTACKS, 1) == ATTACKS


# Finds


def finds_of(egregiousness, margin) -> Finds:
    count, (_, options) = len(egregiousness), drawn(ISLAND, max(1, len(egregiousness)), 0)
    ones = np.ones(count)
    bad = np.array(egregiousness, float)
    return Finds(options.segments()[:count], bad + 1, bad, np.array(margin, float), ones, "IslandNavigation")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 50), max_size=9, unique=True), st.integers(0, 5))
def test_half_is_kept_and_all_are_counted(numbers, seed):
    whole = finds_of(numbers, [50 - number for number in numbers])
    choices: tuple[tuple[Choice, Any], ...] = (("egregious", -whole.egregiousness), ("nearest", whole.margin))
    for choice, key in choices:
        kept = halved(lambda *_: whole, choice)(NOBODY, 20, np.random.default_rng(seed))
        assert sorted(kept.egregiousness) == sorted(whole.egregiousness[np.argsort(key)][: (len(numbers) + 1) // 2])
        assert kept.asked.sum() == pytest.approx(len(numbers))


def test_a_random_half_is_another_one_with_other_chance():
    whole = finds_of(range(12), range(12))
    halves = {tuple(halved(lambda *_: whole, "random")(NOBODY, 20, np.random.default_rng(i)).egregiousness) for i in range(20)}
    assert len(halves) > 10
    assert all(len(half) == 6 for half in halves)


def test_attacks_take_turns():
    finders: Any = [lambda *given, name=name: (name, given[1]) for name in "ab"]
    turns = by_turns(finders)
    assert [turns(NOBODY, labels, NOBODY) for labels in (1, 2, 3)] == [("a", 1), ("b", 2), ("a", 3)]


@pytest.mark.parametrize(("arm", "number", "expected"), [
    (Arm(), 2, [("mutation", 200, 9)]),
    (Arm(weaker=WEAKER), 2, [("mutation", 20, 9)]),
    (Arm(attacks="mixed"), 2, [("mutation", 200, 3), ("cem", 200, 3), ("substitution", 200, 3)]),
    (Arm(attacks="round"), 2, [("cem", 200, 9)]),
    (Arm(attacks="round"), 4, [("mutation", 200, 9)]),
    (Arm(attacks="update"), 2, [("mutation", 200, 9)]),
])  # fmt: skip
def test_arms_ask_their_attacks(arm, number, expected, monkeypatch):
    asked, nothing = [], finds_of([], [])

    def finder(bench, name):
        return lambda target, labels, rng: asked.append((name, bench.sizes.queries, labels)) or nothing

    monkeypatch.setattr(Bench, "finder", finder)
    work, none = (
        Repetition(HardeningChoices("island_navigation"), 0, "choices"),
        dict.fromkeys(("task", "data", "calibrating", "known", "trials", "scenes", "known_severity")),
    )
    work.__dict__["bench"] = Bench(**none, sizes=Sizes(queries=200), seed=0)  # pyright: ignore[reportArgumentType]
    work.finder(arm, number)(None, 9, np.random.default_rng(0))  # pyright: ignore[reportArgumentType]
    assert asked == expected


# What means the same


def test_sensors_are_read_within_their_resolution_and_boards_begin_later():
    lagoon = task_for("lagoon")
    segments = drawn(lagoon, 40, 0)[1].segments()
    noise = alike(lagoon, segments)
    seen = segments.observation[segments.valid]
    assert isinstance(noise, Noise)
    assert np.allclose(noise.size, RESOLUTION * seen.std(0))
    assert abs(noise(segments).observation - segments.observation).max() > 0
    assert alike(ISLAND, drawn(ISLAND, 5, 0)[1].segments()) == Dropped(1)


# A tiny study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study of one seed and a few arms that has been done in this process, with its rows, and what was done for it."""
    few = tuple(replace(question, arms={name: question.arms[name] for name in names}) for question, names in (
        (ASKED[0], (RECIPE, "without warm start", PLAIN)),
        (ASKED[2], (PLAIN, "2 updates a round")),
        (ASKED[6], (PLAIN, WEAK)),
    ))  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardening_choices, "run_tasks", lambda tasks, *_: [task.function(lambda row: None) for task in tasks])
        patch.setattr(HardeningChoices, "questions", property(lambda self: few))
        patch.setattr(hardening_seed, "AFRESH", {"steps": 60, "patience": 50})
        patch.setattr(hardening_seed, "UPDATE", {"steps": 50, "patience": 50})
        patch.setattr(hardening_seed, "Sizes", partial(Sizes, calibrating=400, scenes=20))
        patch.setattr(red_team_agents, "EPISODES", 16)
        patch.setattr(red_team_agents, "UPDATES", 50)
        patch.setattr(hardening_generator, "UPDATES", 20)
        study = HardeningChoices("island_navigation", **SMALL, rounds=1, seeds=1, out=tmp_path_factory.mktemp("study"))
        yield study, study.results(), Repetition(study, 0, "choices")


def test_rows_are_whole(done):
    study, found, _ = done
    arms = {row["arm"]: row for row in found if "arm" in row}
    assert list(arms) == [RECIPE, "without warm start", FIRST, PLAIN, "2 updates a round", WEAK]
    for name, row in arms.items():
        assert set(row["attacks"]) == {*ATTACKS, FRESH}
        assert (LONG in row) == (name in (FIRST, PLAIN, WEAK))
        assert 0 <= row["refused"] <= 1
        assert row["learned"] <= row["labels"] + 1e-9 <= study.labels + 1e-6
        queries = row["attacks"][FRESH]["queries"] if name != FIRST else [study.trials]
        assert len(row["attacks"]["cem"]["queries"]) == study.trials
        assert max(queries) <= 4 * study.queries
    assert arms[FIRST]["labels"] == 0 < arms[PLAIN]["learned"] < arms[PLAIN]["labels"]  # half was labelled in vain
    assert max(arms[WEAK][LONG]["queries"]) <= 10 * study.queries
    assert set(found[-1]["generators"]) == set(GENERATORS)
    assert found[-1]["demonstrations"] <= found[-1]["labels"]


def test_a_piece_that_is_lost_is_done_again_alone_and_comes_out_the_same(done):
    study, _, work = done
    before = {path: path.read_text() for path in work.path(PLAIN).parent.glob("*.json")}
    work.path("2 updates a round").unlink()
    study.results()
    after = {path: path.read_text() for path in before}
    (other,) = [path for path in before if before[path] != after[path]] or [work.path("2 updates a round")]
    assert other == work.path("2 updates a round")
    old, new = (
        json.loads(text[other], object_hook=lambda row: {k: v for k, v in row.items() if k != "seconds"})
        for text in (before, after)
    )
    assert old == new


def test_a_filter_is_attacked_within_only_when_it_goes_on(done):
    _, _, work = done
    last, anew = (CatastropheClassifier.load(work.path(name, ".safetensors")) for name in (RECIPE, "without warm start"))
    assert work.first(WHOLE).model.latent_epsilon == 0.0
    assert last.latent_epsilon == anew.latent_epsilon == hardening_seed.LATENT["latent_epsilon"]
    assert (last.steps, anew.steps) == (hardening_seed.UPDATE["steps"], hardening_seed.AFRESH["steps"])
    assert (last.ensemble, last.aggregate, list(last.hidden)) == (3, "worst", [64, 64])


def test_all_plain_arms_begin_with_the_first_filter(done):
    _, _, work = done
    first, some = CatastropheClassifier.load(work.path(FIRST, ".safetensors")), work.bench.harmless
    assert work.first(Arm(updates=2)) is work.first(Arm()) is not work.first(Arm(width=4))
    assert (work.first(Arm()).model.suspicion(some) == first.suspicion(some)).all()
    assert (work.data(Arm()).label <= work.data(Arm(wide=True)).label).all()
    assert work.data(Arm()).label.sum() < work.data(Arm(wide=True)).label.sum()


def test_tables_and_page_are_of_what_is_there(done, capsys):
    study, found, _ = done
    page = (study.folder / PAGE).read_text()
    assert all(name in page for name in (RECIPE, "without warm start", WEAK, "hardened, plain"))
    assert len(cells(found, study)) == 6 * 4 + 3 + 4
    show(found, study, study.folder)
    assert "Report:" in capsys.readouterr().out
    show(found, replace(study, json=True), study.folder)
    assert json.loads(capsys.readouterr().out)[0]["arm"] == RECIPE


# The generator


def test_a_generator_comes_to_do_what_it_was_shown(done):
    _, _, work = done
    bench, first = work.bench, work.first(Arm()).model
    scenes = failures(bench, first, "mutation", 5)
    shown, before, after = demonstrations(bench, scenes), cloned(ISLAND, 0), cloned(ISLAND, 0)
    assert 0 < len(shown) == len(scenes) <= 5
    found = bench.attack("mutation").search(first, ISLAND.environment, bench.known, Budget(20), np.random.default_rng((0, 5)))
    assert len(found) == len(bench.known)
    assert shown.severity.max() == 0
    assert imitate(after, shown, 0) is after
    likely = [hit(agent, shown) for agent in (before, after)]
    assert likely[1] > likely[0] + 0.05
    assert hit(imitate(cloned(ISLAND, 0), shown[np.zeros(0, int)], 0), shown) == likely[0]


def hit(agent, shown) -> float:
    """The mean chance of what was shown."""
    import torch

    policy = agent.model.policy
    with torch.no_grad():
        seen, action = shown.observation[shown.valid], torch.as_tensor(shown.action[shown.valid])
        return float(policy.get_distribution(policy.obs_to_tensor(seen)[0]).log_prob(action).exp().mean())


def test_another_generator_plays_in_the_same_scenes(done):
    _, _, work = done
    careless = cloned(ISLAND, 0)
    careless.policy = lambda seed=0: lambda loop: np.full(len(loop.start), 1)  # pyright: ignore[reportAttributeAccessIssue]
    other = played_by(work.bench, careless)
    assert other.scenes is work.bench.scenes
    assert other.trials is work.bench.trials
    model = work.first(Arm()).model
    assert other.labels(model).true.std(1).max() < work.bench.labels(model).true.std(1).max()  # who always does the same


# What is measured


def row_of(seed, arm, queries, found, **more):
    cell = {"queries": queries, "found": found, "severity": [1.0], "margin": [0.0], "scores": 1, "steps": 2, "seconds": 0.5}
    longer = {"queries": [10 * q for q in queries], "found": found, "scores": 1, "steps": 2, "seconds": 0.5}
    system = {"failure": 0.1, "true": 1.0, "acceptance": 0.9, "unfiltered": 0.2, "draws": 1.5}
    attacks = dict.fromkeys((*ATTACKS, FRESH), cell)
    return {"seed": seed, "arm": arm, "labels": 9, "learned": 4, "attacks": attacks, "system": system, "refused": 0.1,
            LONG: longer, **more}  # fmt: skip


@pytest.fixture
def made(monkeypatch):
    """Two seeds by hand, in which each arm takes 4 times as many queries as the first filter, and the recipe 8 times."""
    monkeypatch.setattr(HardeningChoices, "questions", ASKED)  # all of them, while the tiny study has few
    study, rows = HardeningChoices("island_navigation", queries=80, seeds=2), []
    for seed in (0, 1):
        rows.append(row_of(seed, FIRST, [10, 10], [True, True]))
        for arm in study.arms:
            most = 80 if arm == RECIPE else 40
            rows.append(row_of(seed, arm, [most, most], [arm != RECIPE] * 2))
        system = {"system": rows[0]["system"], "best_of_n": rows[0]["attacks"][FRESH]}
        rows.append({"seed": seed, "generators": dict.fromkeys(GENERATORS, system), "demonstrations": 7, "labels": 9})
    return study, rows


def test_gains_are_exact(made):
    study, rows = made
    assert own_gain(rows, study, PLAIN).value == gain(rows, study, PLAIN, ATTACKS).value == pytest.approx(2.0)
    assert fresh_gain(rows, study, "width 16", PLAIN).value == pytest.approx(0.0)
    assert gain(rows, study, PLAIN, [LONG]).value == pytest.approx(2.0)
    lost = own_gain(rows, study, RECIPE)
    assert lost.value == pytest.approx(3.0)
    assert lost.high == np.inf
    assert gain(rows[: len(rows) // 2], study, PLAIN, ATTACKS).low == -np.inf  # one seed


def test_the_figure_is_sorted_and_the_page_says_what_differs(made, tmp_path):
    study, rows = made
    for row in rows:
        if row.get("arm") == "nearest finds":
            row["attacks"] = {**row["attacks"], FRESH: {**row["attacks"][FRESH], "queries": [20, 20]}}
        if row.get("arm") == RECIPE:
            row["attacks"] = {**row["attacks"], FRESH: {**row["attacks"][FRESH], "found": [True, True]}}
    order = arms_figure(rows, study).layout.yaxis.categoryarray  # pyright: ignore[reportAttributeAccessIssue]
    assert (order[0], order[-1], len(order)) == ("nearest finds", RECIPE, len(study.arms))
    text = headline(rows, study)
    assert f"Of {len(LEFT_OUT)} blocks left out, it needs fewer queries for without mixed attacks, " in text
    assert "choices beside the plain way, it needs fewer queries for nearest finds." in text
    write_page(rows, study, tmp_path)
    assert "log2" in (tmp_path / PAGE).read_text()
    assert all(len(rows_of(rows, study, question)) == 1 + len(question.compared) for question in study.questions)


# What is allowed


@pytest.mark.parametrize(("wrong", "message"), [
    ({"rounds": 0}, "--rounds 0: at least 1 is needed"),
    ({"queries": 9}, "--queries 9: at least 10 is needed"),
    ({"attacks": ()}, "at least one is needed, and none twice"),
    ({"attacks": ("cem", "cem")}, "at least one is needed, and none twice"),
    ({"updates": (0,)}, "numbers from 1 are needed"),
    ({"widths": (0,)}, "numbers from 1 are needed"),
    ({"labels": 5, "updates": (6,)}, "6 labels for as many updates a round"),
])  # fmt: skip
def test_senseless_settings_are_refused(wrong, message):
    with pytest.raises(ProxygapError, match=message):
        HardeningChoices("storyteller", **wrong)


def test_worlds_without_catastrophes_and_unknown_attacks_are_refused_before_anything_is_written(tmp_path):
    for study in (
        HardeningChoices("boat_race", out=tmp_path / "a"),
        HardeningChoices("lagoon", ("magic",), out=tmp_path / "a"),
    ):
        with pytest.raises(ProxygapError, match=r"no notion of a catastrophe|no attack 'magic'"):
            study.results()
    assert not (tmp_path / "a").exists()


def test_it_is_a_study_whose_quick_settings_give_way_to_those_that_are_given():
    study = parsed("study hardening", ["storyteller", "--quick", "--trials", "7"])
    settled = study.settled
    assert (settled.trials, settled.labels, settled.quick) == (7, hardening_choices.QUICK["labels"], False)
    assert len(settled.tasks()) == 2 * settled.seeds
