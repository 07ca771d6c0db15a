"""The reward-quality study: measures where the answer is known, how numbers are ranked, and the study from end to end."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from proxygap.agents.rollouts import collect, scripted
from proxygap.envs import ProxygapError, make
from proxygap.envs.core import weighted
from proxygap.envs.tabular import tabulate
from proxygap.experiments import cli, reward_quality
from proxygap.experiments.report.reward_quality import PAGE, marked, text
from proxygap.experiments.reward_measures import Learned, Truth, accuracy, distances_to, judged, table
from proxygap.experiments.reward_quality import FOUND, RewardQuality
from proxygap.experiments.reward_ranks import OUTCOME, SIGNS, correlations, headline, summary
from proxygap.reward_models.teachers import Biased, Greedy, Mistaken, Myopic, Rational, the_truth
from scipy import stats

DISCOUNT = 0.97
TINY: dict[str, Any] = {"env": "vase_room", "comparisons": (8,), "steps": 2048, "seeds": 2, "quiet": True}
HEAVY = ("torch", "stable_baselines3", "sb3_contrib", "pygame", "plotly", "pandas")


@dataclass
class Weighing:
    """A reward that weighs terms otherwise, in the place of a learned one."""

    env: Any
    weights: dict[str, float]

    def __call__(self, t: Any) -> Any:
        return weighted(self.weights, self.env.terms(t))


@pytest.fixture(scope="module")
def room():
    return make("vase_room")


def in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Studies are done in this process, by models that learn for 40 gradient steps and agents that are hardly looked at."""

    def run_tasks(tasks, jobs, quiet=False):
        for task in tasks:
            task.function(lambda row: None)

    patch.setattr(reward_quality, "run_tasks", run_tasks)
    for name, value in {"LEARNING": {"steps": 40}, "EPISODES": 8, "EVALUATIONS": 1, "PAIRS": 50}.items():
        patch.setattr(reward_quality, name, value)


@pytest.fixture
def here(monkeypatch):
    in_this_process(monkeypatch)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A tiny study that has been done, and what it found."""
    made = RewardQuality(out=tmp_path_factory.mktemp("study"), **TINY)
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        return made, made.results()


def strict(words: str) -> Any:
    """JSON without the NaN and Infinity that it has not."""
    return json.loads(words, parse_constant=lambda name: pytest.fail(name))


# Probabilities


def test_accuracy_counts_ties_of_the_model_half_and_leaves_out_ties_of_the_truth():
    said, wanted = np.array([0.9, 0.2, 0.5, 0.6]), np.array([0.6, 0.7, 0.9, 0.5])
    assert accuracy(said, wanted) == 0.5  # right, wrong, a tie, and one that is not decided
    assert np.isnan(accuracy(said, np.full(4, 0.5)))
    assert accuracy(said, 0.5 + 1e-12 * np.ones(4)) is np.nan


def test_probabilities_are_judged_by_hand():
    found = judged(np.array([0.8, 0.8, 0.0]), np.array([1.0, 0.5, 0.0]))
    assert found["accuracy"] == 1.0
    assert found["Brier"] == pytest.approx((0.2**2 + 0.3**2) / 3)
    assert found["NLL"] == pytest.approx(-(np.log(0.8) + 0.5 * np.log(0.8) + 0.5 * np.log(0.2)) / 3)
    assert found["ECE"] == pytest.approx(2 / 3 * 0.05)  # 0.8 was said twice, and 0.75 came true
    assert np.isfinite(judged(np.array([0.0]), np.array([1.0]))["NLL"])  # certain and wrong


# Distances


def test_the_table_of_the_truth_is_what_the_environment_pays(room):
    mdp = tabulate(room)
    chances = mdp.transitions.toarray().reshape(*mdp.terms.shape[:2], -1)
    np.testing.assert_allclose((chances * table(Truth(room, Greedy()), room, mdp)).sum(2), mdp.rewards(room.true_reward))


def test_a_model_is_asked_about_what_states_look_like_and_paid_on_the_scale_of_the_truth(room):
    asked = []

    def model(t):
        asked.append(t)
        return np.arange(len(t.action), dtype=float)

    mdp = tabulate(room)
    found = table(Learned(model, mean=2.0, deviation=3.0), room, mdp)  # pyright: ignore[reportArgumentType]
    states, actions = mdp.terms.shape[:2]
    np.testing.assert_array_equal(found[7], 2 + 3 * np.arange(actions * states).reshape(actions, states))
    seen = room.observation(mdp.states)
    np.testing.assert_array_equal(asked[7].observation, np.repeat(seen[7:8], actions * states, 0))
    np.testing.assert_array_equal(asked[7].action[[0, states - 1, states]], [0, 0, 1])
    np.testing.assert_array_equal(asked[7].next_observation[states : 2 * states], seen)


def test_exact_distances_of_the_truth_of_its_negative_and_of_the_proxy(room):
    truth = Truth(room, Greedy())
    measure = distances_to(truth, scripted(room, "careful"), DISCOUNT, 0)
    names = ("EPIC", "DARD", "STARC", "regret")
    assert measure(truth) == dict.fromkeys(names, 0.0)
    assert measure(lambda t: 3 * truth(t) - 1) == pytest.approx(dict.fromkeys(names, 0.0), abs=1e-12)
    assert measure(lambda t: -truth(t)) == pytest.approx(dict.fromkeys(names, 1.0))
    # The flag is two steps away over the vase, four around it; a broken vase costs 1 a step, and is the worst by itself.
    best, hasty, worst = (value / (1 - DISCOUNT) for value in (DISCOUNT**3, DISCOUNT - 1, -1))
    regret = measure(Weighing(room, {"at_flag": 1.0}))["regret"]
    assert regret == pytest.approx((best - hasty) / (best - worst))


def test_where_states_are_many_distances_are_sampled_and_the_others_not_known():
    env = make("tomato_watering")
    truth = Truth(env, Greedy())
    measure = distances_to(truth, scripted(env, "gardener"), DISCOUNT, 0)
    assert measure(lambda t: 3 * truth(t) - 1) == pytest.approx({"EPIC": 0.0, "DARD": 0.0}, abs=1e-6)
    assert measure(lambda t: -truth(t)) == pytest.approx({"EPIC": 1.0, "DARD": 1.0})
    assert measure(truth).keys() == {"EPIC", "DARD"}
    assert distances_to(Truth(make("pendulum"), Greedy()), lambda loop: np.zeros(1), DISCOUNT, 0)(truth) == {}


# Teachers


def test_teachers_differ_in_what_they_see_and_are_as_rational_by_it():
    study = RewardQuality(**TINY)
    taught = study.play.pairs(0, np.random.default_rng(0))[0][0]
    plain, mistaken, myopic, biased = (study.teacher(kind, taught) for kind in ("plain", "mistaken", "myopic", "biased"))
    assert mistaken == Mistaken(plain, 0.3)
    sees: list[Any] = []
    for teacher in (plain, myopic, biased):
        assert isinstance(teacher, Rational)
        sees.append(teacher.sees)
        assert teacher.beta * np.std([teacher.sees(side).sum(1) for side in taught]) == pytest.approx(3.0)
    assert sees == [the_truth, Myopic(0.5), Biased((1.0, 0.0, 0.0, 0.0, 0.0))]  # the flag alone, as the proxy


def test_who_never_sees_a_difference_tosses_coins():
    study = RewardQuality(**TINY)
    side = SimpleNamespace(true=np.zeros((4, 2)), terms=np.ones((4, 2, 5)))
    sides: Any = (side, side)
    np.testing.assert_array_equal(study.teacher("biased", sides).chances(*sides)[:, :2], 0.5)


def test_models_of_one_teacher_are_told_the_same_and_the_control_the_same_in_another_order():
    study = RewardQuality(**TINY)
    taught = study.play.pairs(0, np.random.default_rng(0))[0][0]
    told = {m.name: study.answers(m, taught, taught, np.random.default_rng(1)) for m in study.models}
    np.testing.assert_array_equal(told["8 comparisons"], told["blind"])
    assert told["shuffled answers"].sum() == told["blind"].sum()
    agreement = (told["shuffled answers"] == told["blind"]).mean()
    assert abs(agreement - 0.5) < 4 * 0.5 / len(taught[0]) ** 0.5
    plain, mistaken = (study.teacher(kind, taught).chances(*taught)[:, 0] for kind in ("plain", "mistaken"))
    agreement = (told["mistaken teacher"] == told["blind"]).mean()  # by the same draws
    assert abs(agreement - 1 + abs(plain - mistaken).mean()) < 4 * 0.5 / len(taught[0]) ** 0.5


def test_episodes_that_are_shorter_than_stretches_have_no_pairs(room):
    played = collect(room, scripted(room, "careful"), 4, 0)
    rng = np.random.default_rng(0)
    first, second = reward_quality._pairs(played, 19, rng)  # pyright: ignore[reportGeneralTypeIssues]
    assert len(first) == len(second) == 4
    assert reward_quality._pairs(played, 21, rng) is None


# Ranks


def numbers(**given: Any) -> dict[str, Any]:
    """Hand-made numbers of five models, the first of them the truth, in two seeds; those not given are unknown."""
    unknown = np.full((5, 2), np.nan)
    true = np.array([[9, 1, 2, 3, 4], [9, 4, 3, 2, 1]], float).T
    return dict.fromkeys(SIGNS, unknown) | {OUTCOME: true} | {name: np.array(found, float).T for name, found in given.items()}


GOOD, ANY = [[0, 1, 2, 3, 4], [0, 40, 30, 20, 10]], [[0, 1, 3, 2, 4], [0, 1, 2, 3, 4]]


def test_a_number_that_ranks_as_the_true_returns_do_has_the_correlation_1_whichever_way_it_counts():
    ranks = correlations(numbers(accuracy=GOOD, Brier=-np.array(GOOD), EPIC=GOOD, STARC=ANY))
    np.testing.assert_allclose([ranks[name] for name in ("accuracy", "Brier", "EPIC")], [[1, 1], [1, 1], [-1, -1]])
    np.testing.assert_allclose(ranks["STARC"], [-0.8, 1.0])
    assert np.isnan(ranks["ECE"]).all()


def test_ranks_with_ties_are_spearmans_and_the_truth_is_none_of_them():
    rng = np.random.default_rng(0)
    found = dict.fromkeys(SIGNS, rng.integers(0, 5, (9, 20)).astype(float)) | {OUTCOME: rng.integers(0, 5, (9, 20)) * 1.0}
    columns = zip(found["STARC"][1:].T, found[OUTCOME][1:].T, strict=True)
    expected = np.array([stats.spearmanr(*pair)[0] for pair in columns], float)
    np.testing.assert_allclose(correlations(found)["accuracy"], expected)
    np.testing.assert_allclose(correlations(found)["STARC"], -expected)
    found[OUTCOME][0] += 100
    np.testing.assert_allclose(correlations(found)["accuracy"], expected)


def test_models_without_the_number_are_left_out_and_too_few_or_equal_ones_have_no_ranks():
    few, same = [[0, 1, 2, np.nan, np.nan], [0, 4, 3, np.nan, 1]], [[1] * 5, GOOD[1]]
    ranks = correlations(numbers(accuracy=few, STARC=same))
    np.testing.assert_array_equal(np.isnan([ranks["accuracy"], ranks["STARC"]]), [[True, False], [True, False]])
    assert ranks["accuracy"][1] == pytest.approx(1.0)


def test_the_headline_names_the_best_and_what_it_is_not_clear_of():
    wrong = -np.array(GOOD)
    best = "The true return of a fresh agent was foretold best by accuracy, at a rank correlation of 1 [1, 1]"
    assert headline(numbers(accuracy=GOOD, EPIC=GOOD)) == f"{best}, clear of all others."
    assert headline(numbers(accuracy=GOOD, EPIC=wrong)) == f"{best}, not clear of EPIC."
    assert headline(numbers(accuracy=wrong)).startswith("No number is shown to foretell")
    assert headline(numbers(accuracy=ANY)).startswith("No number is shown to foretell")  # one seed for, one against
    assert headline(numbers()) == "No number could be held against the true returns in every seed."


def test_what_is_unknown_is_none_in_json_and_told_in_tables():
    found = summary(numbers(accuracy=[GOOD[0], [np.nan] * 5]), list("tabcd"))
    assert strict(json.dumps(found))["models"][1]["numbers"]["accuracy"] == {
        "value": 1.0, "low": None, "high": None, "seeds": [1.0, None]
    }  # fmt: skip
    assert found["models"][1]["numbers"]["STARC"] == {"seeds": [None, None]}
    assert text(np.array([1.0, np.nan])) == "1 (no interval) in 1 of 2 seeds"
    assert text(np.array([np.nan])) == "n/a"


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "--seeds 0: at least 1"),
        ({"jobs": 0}, "--jobs 0: at least 1"),
        ({"steps": 0}, "--steps 0: at least 1"),
        ({"comparisons": ()}, "numbers from 2 are needed"),
        ({"comparisons": (50, 1)}, "numbers from 2 are needed"),
        *(({"rationality": value}, "a number above 0 is needed") for value in (0.0, -1.0, np.inf, np.nan)),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ProxygapError, match=message) as refused:
        RewardQuality(**settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": "vase_romm"}, "did you mean 'vaseroom'"),
        ({"world": ("size=3",)}, "does not take these settings"),
        ({"stretch": 21}, "stretches of 21 steps"),
    ],
)
def test_what_the_environment_has_not_is_refused_before_there_is_a_folder(tmp_path, settings, message):
    with pytest.raises(ProxygapError, match=message):
        RewardQuality(**TINY | {"out": tmp_path / "study"} | settings).results()
    assert not (tmp_path / "study").exists()


def test_other_settings_are_another_folder_and_seeds_are_not():
    made = RewardQuality(**TINY)
    assert made.folder == replace(made, seeds=9, jobs=1, json=True, stretch=10).folder
    changes: list[dict[str, Any]] = [
        {"comparisons": (9,)},
        {"stretch": 9},
        {"rationality": 1.0},
        {"steps": 9},
        {"world": ("room=train",)},
    ]
    assert len({made.folder, *(replace(made, **change).folder for change in changes)}) == 1 + len(changes)


# From end to end


def test_every_number_is_known_of_every_model(done):
    made, found = done
    assert found.keys() == {*SIGNS, OUTCOME}
    assert [m.name for m in made.models][:3] == ["the truth", "8 comparisons", "ensemble"]
    for name, values in found.items():
        assert values.shape == (len(made.models), 2)
        assert np.isfinite(values).all() or name.startswith("on-policy")
    np.testing.assert_array_equal(found["learned return"][0], found[OUTCOME][0])
    for name in ("Brier", "ECE", "EPIC", "DARD", "STARC", "regret"):
        np.testing.assert_allclose(found[name][0], 0.0, atol=1e-12)
    np.testing.assert_array_equal(found["accuracy"][0], 1.0)
    assert (found["EPIC"][1:] > 0.1).all()


def test_what_is_stored_is_not_done_again_and_what_is_missing_is(done, here, tmp_path):
    made, found = done
    shutil.copytree(made.folder, tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "seed1")
    gone = tmp_path / "study" / "seed0" / "blind"
    shutil.rmtree(gone)
    kept = tmp_path / "study" / "seed0" / "ensemble" / FOUND
    written = kept.stat().st_mtime_ns
    again = replace(made, out=tmp_path / "study", seeds=1).results()
    assert kept.stat().st_mtime_ns == written
    assert (gone / FOUND).exists()
    for name, values in again.items():
        np.testing.assert_array_equal(values[:, 0], found[name][:, 0], name)


def test_progress_goes_from_nothing_to_all(done):
    made, _ = done
    rows: list[Any] = []
    made.measured(0, rows.append)
    assert [row["fraction"] for row in rows] == pytest.approx(np.arange(1, 9) / 8)


def test_the_page_holds_the_headline_and_every_number_and_needs_nothing_else(done):
    made, found = done
    page = (made.folder / PAGE).read_text()
    assert headline(found) in page
    plain = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for values in [*found.values(), correlations(found).values()]:
        for row in values:
            value, _, bounds = text(row).partition(" ")
            assert f"<td>{value} <small>{bounds}</small></td>" in plain
    assert all(f'id="figure-{name}"' in page for name in SIGNS)
    assert "default-src 'none'" in page
    assert not re.search(r"\b(src|href|srcset|action)\s*=|url\(|@import|<link", plain)


def test_any_number_of_models_are_told_apart_by_colour_and_symbol():
    looks = {(colour, symbol) for _, colour, symbol, _ in marked([str(number) for number in range(20)])}
    assert len(looks) == 20


def arguments(folder: Any, *more: str) -> list[str]:
    """The tiny study as it is typed."""
    words = "--comparisons 8 --steps 2048 --seeds 2 --quiet"
    return ["study", "reward-quality", "vase_room", *words.split(), "--out", str(folder), *more]


def test_the_command_prints_json_and_nothing_else_or_tables(done, here, capsys):
    made, found = done
    assert cli.main(arguments(made.folder, "--json")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert strict(out) == strict((made.folder / "results.json").read_text())
    assert strict(out)["models"][1]["numbers"]["STARC"]["seeds"] == found["STARC"][1].tolist()
    assert cli.main(arguments(made.folder)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(model.name in out for model in made.models)
    assert headline(found) in out
    assert f"Report: {made.folder / PAGE}" in out


def test_another_study_in_the_same_folder_costs_one_message(done, capsys):
    made, _ = done
    assert cli.main(arguments(made.folder, "--rationality", "1")) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"proxygap: {made.folder} holds a study with another rationality: choose another --out\n")


def test_help_has_examples_and_imports_nothing_heavy():
    quiet = "try: main(['study', 'reward-quality', '--help'])\nexcept SystemExit: pass"
    code = f"import sys\nfrom proxygap.__main__ import main\n{quiet}\nsys.exit(repr([m for m in {HEAVY} if m in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr.strip() == "[]"
    assert "proxygap study reward-quality" in found.stdout.split("Examples:")[1]
