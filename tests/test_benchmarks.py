"""Benchmarks report what they measured: right windows, right sides of an aim, censored runs kept, and JSON that can be read."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def benchmarks():
    """The package, which is imported from the repository's root and not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        import benchmarks
        import benchmarks.training

    return benchmarks


def run(*options, module="environments"):
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *options], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_takes_turns_and_leaves_out_the_warm_up(benchmarks, monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr(benchmarks, "process_time", lambda: clock[0])

    def work(name, seconds):
        def done():
            order.append(name)
            clock[0] += seconds * (10.0 if len(order) <= 2 else 1.0)  # slow at first, as everything is
            return 6.0

        return done

    found = benchmarks.rates({"fast": work("fast", 1.0), "slow": work("slow", 3.0)}, 2, lambda doing: None)
    assert order == ["fast", "slow"] * 3
    assert found == {"fast": [6.0, 6.0], "slow": [2.0, 2.0]}
    assert benchmarks.ratio(found["fast"], found["slow"]) == 3.0


@pytest.mark.parametrize(
    ("measured", "at_most", "met"), [(3.0, False, True), (1.0, False, False), (1.0, True, True), (3.0, True, False)]
)
def test_an_aim_is_met_on_its_good_side(benchmarks, measured, at_most, met):
    figure = benchmarks.Figure("speed", measured, "m/s", 2.0, at_most)
    assert figure.met is met
    assert ("met" in figure.row()[3]) is met


def test_a_run_that_never_gets_there_meets_no_limit_and_is_null_in_json(benchmarks):
    figure = benchmarks.Figure("time", math.inf, "s", 60.0, at_most=True)
    assert figure.met is False
    assert figure.row()[1] == "never s"
    assert json.loads(json.dumps(figure.as_dict(), allow_nan=False))["measured"] is None
    assert benchmarks.training.censored([1.0, math.inf, 2.0]) == "seeds: 1, never, 2; 1 of 3 never got there"


@given(groups=st.lists(st.lists(st.integers(-50, 50), max_size=12), max_size=12))
def test_a_window_holds_the_latest_whole_groups_of_at_least_ten_episodes(benchmarks, groups):
    window, latest = benchmarks.training.Window(), []
    for group in groups:
        window.add(group)
    for group in reversed(groups):
        if len(latest) >= 10:
            break
        latest += group
    expected = sum(latest) / len(latest) if len(latest) >= 10 else -math.inf
    assert window.mean() == pytest.approx(expected)


def test_learning_stops_when_it_is_good_enough_and_a_short_run_is_censored(benchmarks):
    training = benchmarks.training
    model, _ = training.ours("BoatRace", "a2c", seed=0)
    assert training.seconds_until(model, 3000, -math.inf, 100, lambda doing: None) == math.inf  # no whole episode yet
    assert 0 < training.seconds_until(model, 20_000, -100.0, 100, lambda doing: None) < math.inf
    assert model.num_timesteps < 20_000


def test_prints_json_alone_and_progress_elsewhere():
    done = run("--quick", "--only", "draws", "--json")
    (figure,) = json.loads(done.stdout)
    assert figure["measured"] > 0
    assert figure["met"] is (figure["measured"] <= figure["aim"])
    assert "draws" in done.stderr


def test_names_what_can_be_measured():
    done = run("--only", "weather")
    assert done.returncode == 2
    assert all(name in done.stderr for name in ("boat_race", "lagoon", "draws"))


@pytest.mark.slow
def test_all_worlds_are_measured_and_shown():
    done = run("--quick")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("BoatRace", "TomatoWatering", "Lagoon", "against the scalar world"))


@pytest.mark.slow
def test_a_share_of_time_is_a_share(benchmarks):
    assert 0.0 < benchmarks.training.share_outside("BoatRace", 5000, lambda doing: None) < 0.5


@pytest.mark.slow
def test_the_table_of_checkers_in_the_docs_is_what_is_found():
    printed = run(module="checkers").stdout.splitlines()
    found = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in printed if line.startswith("│")]
    page = (ROOT / "docs" / "checking.md").read_text().splitlines()
    told = [[cell.strip() for cell in line.strip("| ").split("|")] for line in page if line.startswith("|")]
    assert found == told[2:]
    assert all(row[-1] == "yes" for row in found)
