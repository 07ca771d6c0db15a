"""The overoptimisation study: what it asks, what it makes of stored returns, and what it finds where the answer is known."""

import json
import pickle
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partialmethod
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, random_policy, scripted
from proxygap.envs import ProxygapError, make
from proxygap.envs.batch import Array
from proxygap.experiments import cli, overoptimization
from proxygap.experiments.gold_curves import Variant, best_of_curves, sizes, summary
from proxygap.experiments.overoptimization import Overoptimization, wavering
from proxygap.experiments.report.overoptimization import PAGE, PALETTE, cells, headline, legend, write_page
from scipy.stats import binom, binomtest

from .hand_made import RISES_AND_FALLS, curve_of

TINY: dict[str, Any] = {
    "comparisons": (8, 16),
    "widths": (4,),
    "ensemble": 2,
    "stretch": 20,
    "episodes": 64,
    "seeds": 2,
    "steps": 0,
}
HEAVY = ("torch", "stable_baselines3", "sb3_contrib", "pygame", "plotly", "pandas")


def study(**settings: Any) -> Overoptimization:
    """A tiny study of BoatRaceStrict."""
    chosen: dict[str, Any] = TINY | {"quiet": True} | settings
    return Overoptimization("boat_race_strict", **chosen)


def strict(text: str) -> Any:
    """JSON without the NaN and Infinity that it has not."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@contextmanager
def in_this_process():
    """Seeds are done in this process, by models that learn for 40 gradient steps."""
    from proxygap.reward_models.preference import PreferenceReward

    def run_tasks(tasks, jobs, quiet=False):
        for task in tasks:
            task.function(lambda row: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overoptimization, "run_tasks", run_tasks)
        quick = type("PreferenceReward", (PreferenceReward,), {"__init__": partialmethod(PreferenceReward.__init__, steps=40)})
        patch.setattr("proxygap.reward_models.preference.PreferenceReward", quick)
        yield


@pytest.fixture
def here():
    """Studies of this test are done in its process, quickly."""
    with in_this_process():
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A tiny study that has been done, and its curves."""
    made = study(out=tmp_path_factory.mktemp("study"))
    with in_this_process():
        return made, made.results()


# Sizes


def beginning(start: Array) -> Any:
    """A loop, of which only [B] is known: where an episode begins."""
    return SimpleNamespace(start=start)


def wavered(most: float, worlds: int = 4000, steps: int = 20, episodes: int = 2, seed: int = 0):
    """Which actions were the other's, [episodes, steps, worlds]."""
    policy = wavering(lambda loop: np.zeros(worlds, int), lambda loop: np.ones(worlds, int), most, seed)
    starts = [np.full(worlds, step == 0) for _ in range(episodes) for step in range(steps)]
    return np.array([policy(beginning(start)) for start in starts]).reshape(episodes, steps, worlds)


def test_an_episodes_share_of_the_others_actions_is_anything_from_none_to_all():
    counts = wavered(1.0).sum(1).ravel()  # binomial of a uniform share: every number from 0 to 20 is equally likely
    for number in range(21):
        assert binomtest(int((counts == number).sum()), len(counts), 1 / 21).pvalue > 1e-4


@pytest.mark.parametrize("most", [0.1, 0.5, 1.0])
def test_the_share_is_half_of_the_most_on_average_and_never_above_it(most):
    counts = wavered(most).sum(1)
    assert counts.max() <= binom.ppf(1 - 1e-7, 20, most)
    error = most / 12**0.5 / counts.size**0.5 + 0.5 / (20 * counts.size) ** 0.5
    assert counts.mean() / 20 == pytest.approx(most / 2, abs=4 * error)


def test_the_share_is_an_episodes_own_and_drawn_anew_for_the_next():
    first, second = wavered(1.0)
    halves, episodes = np.corrcoef(first[:10].sum(0), first[10:].sum(0)), np.corrcoef(first.sum(0), second.sum(0))
    assert halves[0, 1] == pytest.approx(10 / 12, abs=0.05)  # 1/12 of variance from the share, 1/60 from each half's chance
    assert abs(episodes[0, 1]) < 4 / 4000**0.5


def test_a_world_that_begins_anew_leaves_the_shares_of_the_others_alone():
    worlds, steps = 2000, 20
    policy = wavering(lambda loop: np.zeros(worlds, int), lambda loop: np.ones(worlds, int), 1.0, 0)
    restart = np.arange(worlds) % 2 == 0
    first, second = (
        np.sum([policy(beginning(start & (step == 0))) for step in range(steps)], 0) for start in (restart | True, restart)
    )
    assert abs(np.corrcoef(first[restart], second[restart])[0, 1]) < 0.15
    assert np.corrcoef(first[~restart], second[~restart])[0, 1] > 0.85


def test_chance_of_the_same_seed_knows_nothing_of_the_shares():
    env, pairs = make("boat_race_strict"), []
    for seed in range(20):
        chance, seen = random_policy(env, seed), []
        policy = wavering(
            lambda loop: np.full(64, -1), lambda loop, play=chance, seen=seen: seen.append(play(loop)) or seen[-1], 1.0, seed
        )
        loop = env.loop(64)
        loop.reset(seed)
        lets = [policy(loop) >= 0]
        loop.worlds.start[:] = False
        lets += [policy(loop) >= 0 for _ in range(20)]
        pairs.append((np.mean(lets, 0), seen[0], lets[0], seen[1]))
    share, action, let, next_action = map(np.concatenate, zip(*pairs, strict=True))
    bound = 4 / len(share) ** 0.5
    assert abs(np.corrcoef(share, action)[0, 1]) < bound
    assert abs(np.corrcoef(let, next_action)[0, 1]) < bound


def test_wavering_not_at_all_is_the_policy_itself_and_by_half_is_worse():
    steady, unsure = study(wavering=0.0), study(wavering=1.0)
    np.testing.assert_array_equal(evaluate(steady.environment, steady.reference(3), 8, 3).true, 100.0)
    returns = evaluate(unsure.environment, unsure.reference(3), 64, 3).true
    assert returns.mean() < 60
    assert returns.std() > 20


def test_actions_of_several_numbers_are_let_go_as_a_whole():
    policy = wavering(lambda loop: np.zeros((500, 3)), lambda loop: np.ones((500, 3)), 1.0, 0)
    found = policy(beginning(np.ones(500, bool)))
    assert found.shape == (500, 3)
    assert set(found.sum(1)) == {0.0, 3.0}


def test_another_script_can_be_the_reference():
    gamer = study(script="gamer", wavering=0.0)
    expected = evaluate(gamer.environment, scripted(gamer.environment, "gamer"), 4, 0)
    np.testing.assert_array_equal(evaluate(gamer.environment, gamer.reference(0), 4, 0).true, expected.true)


# Variants


def test_variants_go_from_data_over_widths_to_ensembles():
    found = Overoptimization("boat_race", comparisons=(1000, 50, 200), widths=(128, 4), ensemble=3).variants
    middle = [Variant(200, 4), Variant(200, 128)]
    ensembles = [Variant(200, 32, 3, way) for way in ("mean", "worst", "penalised")]
    assert found == [Variant(50, 32), Variant(200, 32), Variant(1000, 32), *middle, *ensembles]


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({}, 6),
        ({"ensemble": 1}, 5),
        ({"widths": ()}, 4),
        ({"widths": (), "ensemble": 1, "comparisons": (20,)}, 1),
        ({"widths": (32, 4, 4), "comparisons": (50, 50, 200)}, 4),  # what is named twice, or is there anyway
    ],
)
def test_no_model_is_fitted_twice(settings, fits):
    variants = Overoptimization("boat_race", **settings).variants
    groups = [key for key, _ in groupby(variants, lambda variant: (variant.comparisons, variant.width, variant.members))]
    assert len(groups) == len(set(groups)) == fits
    assert len(variants) == len(set(variants))


# Settings and the folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "--seeds 0: at least 1"),
        ({"jobs": 0}, "--jobs 0: at least 1"),
        ({"ensemble": 0}, "--ensemble 0: at least 1"),
        ({"episodes": 31}, "--episodes 31: at least 32"),
        ({"comparisons": ()}, "numbers from 1 are needed"),
        ({"comparisons": (50, 0)}, "numbers from 1 are needed"),
        ({"widths": (0,)}, "numbers from 1 are needed"),
        *(({"wavering": value}, "--wavering from 0 to 1") for value in (-0.1, 1.1, np.nan)),
        *(({"mistakes": value}, "--mistakes from 0 to below 0.5") for value in (-0.1, 0.5, np.nan)),
        *(({"rationality": value}, "--rationality above 0") for value in (0.0, -1.0, np.nan)),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ProxygapError, match=message) as refused:
        study(**settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": "boat_rcae"}, "did you mean 'boatrace'"),
        ({"world": ("size=3",)}, "does not take these settings"),
        ({"world": ("size",)}, "NAME=VALUE is needed"),
        ({"stretch": 0}, "stretches of 0 steps"),
        ({"stretch": 101}, "stretches of 101 steps: an episode of BoatRaceStrict has 100 at most"),
        ({"script": "rcer"}, "no scripted policy 'rcer'; it has: racer, gamer"),
    ],
)
def test_what_the_environment_has_not_is_refused_before_there_is_a_folder(tmp_path, settings, message):
    with pytest.raises(ProxygapError, match=message):
        replace(study(out=tmp_path / "study"), **settings).results()
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wavering": 0.0}, "all stretches of 20 steps have the same true return: there is nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_said_and_nothing_is_stored(here, tmp_path, settings, message):
    with pytest.raises(ProxygapError, match=message):
        study(out=tmp_path, **settings).results()
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "failed"
    assert not list(tmp_path.glob("seed*"))


def test_worlds_of_one_step_are_compared_by_single_steps_of_as_many_episodes_as_that_takes():
    bandit = Overoptimization("gold_bandit", comparisons=(300,), inputs=("observation", "action"))
    (first, second), _ = bandit.pairs(0, np.random.default_rng(0))[0]
    assert first.segments.action.shape == second.segments.action.shape == (300, 1, 4)
    assert len(np.unique(np.concatenate([first.segments.episode, second.segments.episode]))) == 600


def test_a_study_keeps_its_folder_while_seeds_are_added():
    assert study().folder == study(seeds=9, jobs=1, quiet=False, json=True).folder
    assert study().folder == replace(study(), env="proxygap/BoatRaceStrict-v0").folder


CHANGES: dict[str, Any] = {
    "env": "boat_race",
    "comparisons": (9,),
    "widths": (),
    "ensemble": 1,
    "inputs": ("action",),
    "stretch": 9,
    "rationality": 1.0,
    "mistakes": 0.1,
    "script": "gamer",
    "wavering": 0.5,
    "episodes": 99,
    "steps": 9,
}


def test_another_setting_is_another_folder_and_is_refused_in_this_one(tmp_path):
    settings = study().decisive
    assert set(settings) == {*CHANGES, "world"}
    assert json.loads(json.dumps(settings)) == settings
    assert len({study().folder, *(replace(study(), **{key: value}).folder for key, value in CHANGES.items())}) == 1 + len(
        CHANGES
    )
    with study(out=tmp_path)._recorded():
        pass
    for key, value in CHANGES.items():
        with pytest.raises(ProxygapError, match=f"holds a study with another {key}: choose another --out"):
            replace(study(out=tmp_path), **{key: value})._recorded()
    with pytest.raises(ProxygapError, match="another stretch, widths: choose"):
        study(out=tmp_path, widths=(5,), stretch=5)._recorded()
    with study(out=tmp_path, seeds=7)._recorded():
        pass


def test_tasks_travel_to_other_processes_without_an_environment():
    made = study(seeds=3)
    assert made.environment.name == "BoatRaceStrict"
    tasks = pickle.loads(pickle.dumps(made.tasks()))
    assert [task.name for task in tasks] == ["seed 0", "seed 1", "seed 2"]
    assert all(task.function.func.__self__ == made for task in tasks)
    assert not any("environment" in vars(task.function.func.__self__) for task in tasks)


# From end to end


def test_a_study_finds_a_curve_for_every_variant(done):
    made, found = done
    assert [curve.variant for curve in found] == made.variants
    for curve in found:
        assert curve.gold.shape == curve.learned.shape == (2, len(sizes(64)))
        assert ((curve.accuracy >= 0) & (curve.accuracy <= 1)).all()
        assert ((curve.ceiling > 0.5) & (curve.ceiling <= 1)).all()
        assert (curve.learned[:, -1] > curve.learned[:, 0]).all()
        np.testing.assert_allclose(curve.learned[:, 0], 0.0, atol=1e-9)
        np.testing.assert_allclose(curve.gold[:, 0], found[0].gold[:, 0])  # all rate the same episodes


def test_stored_seeds_are_not_done_again_and_new_ones_are(done, here, tmp_path):
    made, found = done
    more = replace(made, out=tmp_path / "more", seeds=1)
    first = more.results()
    for again, before in zip(first, found, strict=True):  # a seed's numbers are its own, wherever it is done
        np.testing.assert_array_equal(again.gold, before.gold[:1])
        np.testing.assert_array_equal(again.accuracy, before.accuracy[:1])
    stored, told = (tmp_path / "more" / "seed0" / "returns.npz"), []
    written = stored.stat().st_mtime_ns
    more.measured(0, told.append)
    assert not told
    second = replace(more, seeds=2).results()
    assert stored.stat().st_mtime_ns == written
    np.testing.assert_array_equal(second[-1].gold, found[-1].gold)
    assert strict((tmp_path / "more" / "manifest.json").read_text())["settings"]["seeds"] == 2


def test_what_was_not_finished_leaves_nothing_and_is_done_again(here, tmp_path):
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    made = study(out=tmp_path, seeds=1, ensemble=1, widths=(), comparisons=(8,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        with pytest.raises((OSError, ProxygapError)):
            made.results()
    assert not list(tmp_path.glob("seed0/*.npz"))
    assert len(made.results()) == 1


def test_progress_goes_from_nothing_to_all(here, tmp_path):
    rows: list[Any] = []
    study(out=tmp_path, episodes=300).measured(0, rows.append)
    fractions = [row["fraction"] for row in rows]
    assert fractions == sorted(fractions)
    assert (fractions[0] > 0, fractions[-1]) == (True, 1.0)


def test_the_results_are_plain_json(done):
    made, found = done
    stored = strict((made.folder / "results.json").read_text())
    assert stored == strict(json.dumps([summary(curve) for curve in found]))
    assert [row["variant"]["aggregate"] for row in stored] == ["mean"] * 4 + ["worst", "penalised"]
    assert stored[0]["gold"] == found[0].gold.tolist()
    assert stored[0]["overoptimised"] is found[0].overoptimised


def test_what_is_unknown_is_none_in_json_and_told_in_the_table():
    straight, flat = curve_of([[0.0, 1.0, 2.0, 3.0]]), curve_of(np.zeros((2, 4)))
    row = strict(json.dumps(summary(straight)))
    assert (row["rise"]["value"], row["rise"]["low"], row["rise"]["high"]) == (3.0, None, None)
    assert row["peak_sqrt_kl"] == {"value": None, "low": 0.0, "high": None, "n": 1}
    assert strict(json.dumps(summary(flat)))["fit"]["r_squared"] == [None, None]
    assert cells(straight)[-1] == "inf [0, inf]"
    assert cells(flat)[-2] == "none in 2 of 2 seeds"


# The page and the command


def test_the_page_holds_the_headline_and_needs_nothing_else(done):
    made, found = done
    page = (made.folder / PAGE).read_text()
    assert headline(found) in page
    assert all(cell in page for curve in found for cell in cells(curve))
    sections = [*(f"{name}-best_of" for name in ("comparisons", "width", "ensemble")), "table"]
    assert [f'<section id="{name}">' in page for name in sections] == [True] * 4
    assert "default-src 'none'" in page
    plain = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"\b(src|href|srcset|action)\s*=|url\(|@import|<link", plain)


def test_the_headline_names_what_is_overoptimised_and_nothing_else():
    over = curve_of(RISES_AND_FALLS)
    aligned = replace(curve_of([seed[:3] for seed in RISES_AND_FALLS]), variant=Variant(7, 8))
    assert headline([aligned]).startswith("No model is shown to be overoptimised")
    assert headline([over, aligned]).endswith("rises: 50 comparisons, width 32.")


def test_any_number_of_curves_can_be_drawn(tmp_path):
    many = [replace(curve_of(RISES_AND_FALLS), variant=Variant(number, 32)) for number in range(1, 10)]
    assert [colour for _, colour in legend(many)] == [*PALETTE, *PALETTE[:3]]
    write_page(many, study(comparisons=tuple(range(1, 10))), tmp_path)
    assert (tmp_path / PAGE).read_text().count("9 comparisons") >= 2


def arguments(folder: Any, *more: str) -> list[str]:
    """The tiny study as it is typed."""
    text = "--comparisons 8 16 --widths 4 --ensemble 2 --stretch 20 --episodes 64 --steps 0"
    return ["study", "overoptimization", "boat_race_strict", *text.split(), "--out", str(folder), "--quiet", *more]


def test_the_command_prints_json_and_nothing_else_or_a_table(done, here, capsys):
    made, _ = done
    assert cli.main(arguments(made.folder, "--seeds", "2", "--json")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert strict(out) == strict((made.folder / "results.json").read_text())
    assert cli.main(arguments(made.folder, "--seeds", "2")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "16 comparisons, width 32, 2 members (worst)" in out
    assert f"Report: {made.folder / PAGE}" in out


def test_another_study_in_the_same_folder_costs_one_message(done, capsys):
    made, _ = done
    assert cli.main(arguments(made.folder, "--mistakes", "0.2")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"proxygap: {made.folder} holds a study with another mistakes: choose another --out\n"


@pytest.mark.parametrize("words", [["study"], ["study", "--help"], ["study", "-h"]])
def test_studies_are_listed(capsys, words):
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("usage: proxygap study NAME")
    for name, (line, _) in cli.STUDIES.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "says"), [("overoptimisation", "did you mean 'study overoptimization'?"), ("zzz", "there are ")]
)
def test_an_unknown_study_costs_one_message(capsys, name, says):
    assert cli.main(["study", name, "lagoon"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"proxygap: no command 'study {name}': ")
    assert says in err
    assert "study overoptimization" in err
    assert err.count("\n") == 1


def test_help_has_examples_and_imports_nothing_heavy():
    quiet = "try: main(['study', 'overoptimization', '--help'])\nexcept SystemExit: pass"
    code = f"import sys\nfrom proxygap.__main__ import main\n{quiet}\nsys.exit(repr([m for m in {HEAVY} if m in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr.strip() == "[]"
    assert "proxygap study overoptimization lagoon" in found.stdout.split("Examples:")[1]


@pytest.mark.slow
def test_workers_find_what_this_process_finds_and_go_on_where_they_stopped(tmp_path, capsys):
    settings = ["--comparisons", "8", "--widths", "--ensemble", "1"]
    assert cli.main([*arguments(tmp_path), *settings, "--seeds", "1", "--json"]) == 0
    (first,) = strict(capsys.readouterr().out)
    stored = (tmp_path / "seed0" / "returns.npz").stat().st_mtime_ns
    assert cli.main([*arguments(tmp_path), *settings, "--seeds", "2", "--json"]) == 0
    (second,) = strict(capsys.readouterr().out)
    assert (tmp_path / "seed0" / "returns.npz").stat().st_mtime_ns == stored
    assert second["gold"][0] == first["gold"][0]
    alone = study(out=tmp_path / "here", comparisons=(8,), widths=(), ensemble=1)
    alone.folder.mkdir()
    alone.measured(0, lambda row: None)
    np.testing.assert_array_equal(best_of_curves(alone.variants, [alone._stored(0)])[0].gold[0], first["gold"][0])


@pytest.mark.slow
def test_ppo_begins_at_the_reference_goes_away_from_it_and_has_a_curve_of_its_own(here, tmp_path):
    made = study(out=tmp_path, comparisons=(16,), widths=(), ensemble=1, steps=20_000)
    best_of, learning = made.results()
    assert (best_of.optimiser, learning.optimiser) == ("best_of", "learning")
    assert learning.distances.shape == learning.gold.shape == learning.learned.shape
    assert learning.distances[:, 0] == pytest.approx(0.0, abs=1e-3)
    assert (learning.distances[:, -1] > 0.1).all()
    assert learning.sizes[0] == 0 < learning.sizes[-1]
    assert '<section id="comparisons-learning">' in (tmp_path / PAGE).read_text()
    stored = (tmp_path / "seed0" / "ppo-16-1-mean" / "metrics.jsonl").stat().st_mtime_ns
    again = made.results()[1]
    np.testing.assert_array_equal(again.gold, learning.gold)
    assert (tmp_path / "seed0" / "ppo-16-1-mean" / "metrics.jsonl").stat().st_mtime_ns == stored
