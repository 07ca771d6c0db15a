"""The red-team study runs to its end, goes on where it stopped as if it had not, and tells every mistake in one line."""

import json
import pickle
import shutil
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from proxygap.envs import ProxygapError
from proxygap.experiments import red_team_seed
from proxygap.experiments.cli import main
from proxygap.experiments.red_team import ALL, BASE, FRESH, QUICK, RESULTS, TABLE, UPDATES, RedTeam
from proxygap.experiments.red_team_seed import Repetition
from proxygap.experiments.report.red_team import PAGE, headline
from proxygap.reward_models.hardening import Round

from .red_team_small import TINY, WORLDS, in_this_process, tiny


@pytest.fixture
def here():
    """Studies of this test are done in its process, quickly."""
    with in_this_process():
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small study that has been done, and its rows."""
    made = tiny(tmp_path_factory.mktemp("study"))
    with in_this_process(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(red_team_seed, "FEWEST", 3)
        return made, made.results()


def without_seconds(row):
    """A row without what differs from one run to the next."""
    cells = {name: {key: value for key, value in cell.items() if key != "seconds"} for name, cell in row["attacks"].items()}
    return row | {"attacks": cells}


def alike(found):
    return [without_seconds(row) if "attacks" in row else row for row in found]


# The whole


def test_every_filter_is_judged_and_all_is_stored(done):
    made, found = done
    courses = ["random", "cem", ALL, f"{ALL}, updates 2"]
    judged = [(row["course"], row["round"], [*row["attacks"]]) for row in found if "attacks" in row]
    own = {"random": ["random"], "cem": ["cem"], ALL: ["random", "cem"], f"{ALL}, updates 2": []}
    last = {course: ["random", "cem", FRESH] for course in courses} | {f"{ALL}, updates 2": [FRESH]}
    rounds = [(course, number, (own if number == 1 else last)[course]) for course in courses for number in (1, 2)]
    assert judged == [(BASE, 0, ["random", "cem", FRESH]), *rounds]
    assert json.loads((made.folder / RESULTS).read_text()) == found
    assert headline(found, made) in (made.folder / PAGE).read_text()
    assert len(pd.read_csv(made.folder / TABLE)) == sum(len(attacks) for *_, attacks in judged)


def test_cells_keep_to_their_budgets_and_labels(done):
    made, found = done
    for row in found:
        for attack, cell in row.get("attacks", {}).items():
            budget = made.queries * (4 if attack == FRESH else 1)
            assert len(cell["queries"]) == len(cell["found"]) == made.trials
            assert max(cell["queries"]) <= budget
            assert all(found or spent == budget for found, spent in zip(cell["found"], cell["queries"], strict=True))
            assert len(cell["severity"]) == len(cell["margin"]) == sum(cell["found"])
            assert min(cell["margin"], default=0.0) >= 0
        if "attacks" in row:
            assert row["labels"] <= made.labels * row["round"]


def test_labels_are_what_was_learned_from(done):
    made, found = done
    work = Repetition(made, 0)
    for row in found:
        if "attacks" in row and row["round"]:
            rounds = [work.round(row["course"], number) for number in range(1, row["round"] + 1)]
            assert row["labels"] == sum(int(stored.chosen.sum()) for stored in rounds) > 0
            assert set(rounds[0].update) <= set(range(2 if "updates 2" in row["course"] else UPDATES))


def test_filters_of_other_widths_learn_some_finds_and_not_others(done):
    _, found = done
    (row,) = [row for row in found if "widths" in row]
    assert row["finds"] >= 6
    assert set(row["widths"]) == {"2", "4"}
    shares = [share for width in row["widths"].values() for side in ("learned", "held out") for share in width[side]]
    assert all(0 <= share <= 1 for share in shares)


def test_films_are_of_the_worst_finds(done):
    made, found = done
    films = [row for row in found if "films" in row]
    assert [row["target"] for row in films] == [BASE, ALL]
    for row in films:
        severities = [film["severity"] for film in row["films"]]
        assert severities == sorted(severities, reverse=True)
        for film in row["films"]:
            assert film["margin"] >= 0
            with Image.open(made.folder / "seed0" / film["film"]) as picture:
                assert picture.format == "WEBP"
    assert films[0]["films"]


# Going on


class Killed(Exception):  # noqa: N818 - stands for a process that is gone
    """Nothing handles this."""


@pytest.mark.parametrize(
    "piece", [pytest.param("no attack", marks=pytest.mark.slow), "all attacks, round 2", "films, all attacks"]
)
def test_a_study_that_was_killed_goes_on_and_ends_with_equal_results(done, here, tmp_path, monkeypatch, piece):
    """Its folder is as a kill in that piece of work leaves it, with half a round; then all that is missing is done."""
    made, found = done
    monkeypatch.setattr(red_team_seed, "FEWEST", 3)
    again = tiny(tmp_path / "study")
    shutil.copytree(made.folder, again.folder)
    names = [name for name, _ in Repetition(again, 0).work()]
    after = names[names.index(piece) :]
    for name in after:
        Repetition(again, 0).path(name).unlink()
        shutil.rmtree(Repetition(again, 0).path(name, ""), ignore_errors=True)
    Repetition(again, 0).path(piece, "").mkdir()  # where `save` was cut short
    stored = {name: Repetition(again, 0).path(name).stat().st_mtime_ns for name in names if name not in after}
    assert alike(again.results()) == alike(found)
    assert {name: Repetition(again, 0).path(name).stat().st_mtime_ns for name in stored} == stored


def test_a_study_that_fails_in_a_round_keeps_what_is_done_and_ends_equal(done, here, tmp_path, monkeypatch):
    _, found = done
    monkeypatch.setattr(red_team_seed, "FEWEST", 3)
    saved, begun = Round.save, []

    def save(self, folder):
        begun.append(folder)
        if len(begun) == 4:  # the first filter, two rounds of one course, and the first of the next
            raise Killed
        saved(self, folder)

    again = tiny(tmp_path)
    monkeypatch.setattr(Round, "save", save)
    with pytest.raises(Killed):
        again.results()
    monkeypatch.setattr(Round, "save", saved)
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "failed"
    assert [path.name for path in sorted((tmp_path / "seed0").glob("*.json"))] == [
        "no-attack.json",
        "random-round-1.json",
        "random-round-2.json",
    ]
    assert not (tmp_path / RESULTS).exists()
    assert alike(tiny(tmp_path).results()) == alike(found)
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "finished"


def test_what_is_stored_is_not_done_again(done, here, monkeypatch):
    made, found = done
    monkeypatch.setattr(red_team_seed, "bench", None)
    assert made.results() == found


def test_another_setting_in_the_same_folder_is_refused(done):
    made, _ = done
    changes = {"attacks": ("random",), "rounds": 3, "labels": 7, "trials": 4, "queries": 11, "training": 201}
    changes |= {"updates": (3,), "widths": (2,), "steps": 1}
    assert set(changes) == set(made.decisive) - {"env", "world"}
    for name, value in changes.items():
        with pytest.raises(ProxygapError, match=f"holds a study with another {name}: choose another --out"):
            tiny(made.folder, **{name: value}).results()
    with pytest.raises(ProxygapError, match="holds a study with another env"):
        replace(made, env="island_navigation_strict").results()
    assert json.loads(json.dumps(made.decisive)) == made.decisive


def test_seeds_jobs_and_manners_do_not_decide_the_folder():
    one = RedTeam("island_navigation")
    assert one.folder == RedTeam("IslandNavigation", seeds=9, jobs=1, json=True, quiet=True).folder
    assert one.folder != RedTeam("IslandNavigation", labels=99).folder


def test_tasks_travel_to_other_processes():
    made = RedTeam("island_navigation", seeds=3)
    assert made.task is made.task  # cached here
    assert [task.name for task in pickle.loads(pickle.dumps(made.tasks()))] == ["seed 0", "seed 1", "seed 2"]


@pytest.mark.slow
def test_workers_find_what_this_process_finds_and_seeds_can_be_added(tmp_path):
    settings = {"rounds": 1, "labels": 4, "seeds": 2, "jobs": 2, "widths": (2,)}
    found = tiny(tmp_path / "both", **settings).results()
    alone = tiny(tmp_path / "one", **settings | {"seeds": 1})
    alone.folder.mkdir()
    Repetition(alone, 0).run(lambda row: None)
    first = alone.results()
    assert alike(first) == alike([row for row in found if row["seed"] == 0])
    assert alike(tiny(tmp_path / "one", **settings).results()) == alike(found)
    assert alike(first) != [row | {"seed": 0} for row in alike(found) if row["seed"] == 1]


@pytest.mark.slow
def test_agents_stand_beside_the_attacks(here, tmp_path, monkeypatch):
    monkeypatch.setattr("proxygap.experiments.red_team_agents.EPISODES", 16)
    monkeypatch.setattr("proxygap.experiments.red_team_agents.UPDATES", 20)
    made = tiny(tmp_path, steps=200, rounds=1)
    found = [row for row in made.results() if "fine" in row]
    assert [row["target"] for row in found] == ["no filter", BASE, "random", "cem", ALL]
    assert {row["fine"] for row in found} == {50.0}  # what drowning costs
    assert '<section id="agents">' in (made.folder / PAGE).read_text()


# Quick


def test_quick_changes_what_was_not_given_and_nothing_else():
    plain = RedTeam("lagoon", quick=True).settled
    assert {name: getattr(plain, name) for name in QUICK} == QUICK
    given = RedTeam("lagoon", quick=True, seeds=4, attacks=("cem",), widths=(16,), jobs=1, labels=50).settled
    assert (given.seeds, given.attacks, given.widths, given.jobs, given.labels) == (4, ("cem",), (16,), 1, 50)
    others = {part.name for part in fields(RedTeam)} - {"seeds", "widths", "labels", "attacks", "jobs", "quick"}
    assert all(getattr(given, name) == getattr(plain, name) for name in others)
    whole = RedTeam("lagoon")
    assert whole.settled is whole
    assert plain.folder != whole.folder


def test_quick_settings_are_checked_as_they_come_to_be():
    assert RedTeam("lagoon", quick=True, labels=5).settled.updates == (2,)  # 6 updates are none of them
    with pytest.raises(ProxygapError, match="--labels 1 for 2 updates"):
        _ = RedTeam("lagoon", quick=True, labels=1).settled


# Mistakes


@pytest.fixture
def typed(tmp_path, capsys, here):
    """What a mistake costs: its one line on standard error."""
    (tmp_path / "worlds.py").write_text(WORLDS)
    plain = {name: value for name, value in TINY.items() if name != "quiet"}

    def told(env, **settings):
        words = []
        for name, value in (plain | settings).items():
            words += [f"--{name}", *map(str, value if isinstance(value, tuple) else [value])]
        code = main(["study", "red-team", env.format(tmp=tmp_path), *words, "--quiet", "--out", str(tmp_path / "out")])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert err.startswith("proxygap: ")
        assert err.count("\n") == 1
        return err.removeprefix("proxygap: ").strip()

    return told


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attacks": ("random", "guess")}, "no attack 'guess'; there are: random, best_of_n, mutation,"),
        ({"attacks": ("random", "random")}, "--attacks random random: at least one is needed, and none twice"),
        ({"attacks": ()}, "--attacks : at least one is needed"),
        ({"attacks": ("fresh",)}, "--attacks fresh: all filters are tested with it anyway"),
        ({"queries": 0}, "--queries 0: at least 1 is needed"),
        ({"trials": 0}, "--trials 0: at least 1 is needed"),
        ({"rounds": 0}, "--rounds 0: at least 1 is needed"),
        ({"seeds": 0}, "--seeds 0: at least 1 is needed"),
        ({"training": 99}, "--training 99: at least 100 is needed"),
        ({"steps": -1}, "--steps -1: at least 0 is needed"),
        ({"labels": 6, "updates": (1, 7)}, "--labels 6 for 7 updates in a round: each needs at least one"),
        ({"labels": 0, "updates": ()}, "--labels 0 for 1 updates in a round"),
        ({"updates": (0,)}, "--widths 2 4 --updates 0: numbers from 1 are needed"),
        ({"widths": ()}, "--updates 2: numbers from 1 are needed, and at least one width"),
        ({"world": ("form=odd",)}, "form"),
        ({"world": ("form",)}, "setting 'form': NAME=VALUE is needed"),
    ],
    ids=str,
)
def test_senseless_settings_cost_one_message_and_leave_no_folder(typed, tmp_path, settings, message):
    assert message in typed("island_navigation", **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("boat_race", "BoatRace has no notion of a catastrophe: write `catastrophe`, or choose another environment"),
        ("{tmp}/worlds.py:Carefree", "Carefree has no notion of a catastrophe"),
        ("cart_pole", "CartPole keeps its state to itself"),
        ("island_navigatoin", "no environment 'island_navigatoin': did you mean"),
        ("{tmp}/worlds.py:Nothing", "nothing called 'Nothing' in"),
        ("{tmp}/worlds.py:Safe", "worlds.py:Safe is a catastrophe: allow more, or take another task"),
        ("{tmp}/worlds.py:Falling", "200 of 200 options that the generator plays in {tmp}/worlds.py:Falling are near"),
    ],
)
def test_worlds_without_a_task_cost_one_message(typed, tmp_path, env, message):
    assert message.format(tmp=tmp_path) in typed(env)


def test_a_filter_that_would_learn_of_no_catastrophe_is_refused_and_the_world_is_named(typed, tmp_path):
    """Among 100 options there is none; known failures to attack from are found among 20,000."""
    assert typed("{tmp}/worlds.py:Seldom", training=100) == (
        f"0 of 100 options that the generator plays in {tmp_path}/worlds.py:Seldom are near a catastrophe: a filter needs at "
        "least 1 that is and 2 that are not; give more --training, or another environment"
    )


def test_an_attack_that_can_not_reach_what_the_filter_is_shown_says_so(typed):
    assert "no observation as numbers: there is nothing to err in" in typed("island_navigation", attacks=("observation",))


def test_any_world_with_catastrophes_can_be_studied(here, tmp_path, capsys):
    (tmp_path / "worlds.py").write_text(WORLDS)
    made = RedTeam(f"{tmp_path}/worlds.py:Walk", **TINY | {"updates": (), "rounds": 1}, json=True, out=tmp_path / "out")
    made.run()
    found = json.loads(capsys.readouterr().out)
    assert [row["course"] for row in found if "attacks" in row] == [BASE, "random", "cem", ALL]
    assert np.isfinite([row["system"]["true"] for row in found if "system" in row]).all()
