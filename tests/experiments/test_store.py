"""Runs on disk: what is found, how it becomes one table, and what can be deleted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from proxygap.agents import runs
from proxygap.envs.core import ProxygapError
from proxygap.experiments.store import COLUMNS, FINAL, delete_run, find_runs, load_runs

TERMS = ("arrow", "clockwise")


def training_run(folder: Path, *, arm="proxy", seed=0, proxy: Any = "arrows", status="finished", evaluations=3) -> Path:
    """A folder as a training run leaves it: evaluation k earned k and k + 2 of the proxy, and half of that in truth."""
    folder.mkdir(parents=True)
    settings = {
        "env": "BoatRace",
        "proxy": proxy,
        "reward": arm,
        "algo": "a2c",
        "seed": seed,
        "hyperparameters": {"gamma": 0.99},
    }
    runs.update_manifest(folder, settings=settings, status=status)
    for k in range(evaluations):
        terms = dict(zip(TERMS, (1.0 * k, -1.0 * k), strict=True))
        row = {"steps": 100 * k, "proxy": [k, k + 2], "true": [k / 2, k / 2 + 1], "terms": terms}
        runs.append_metrics(folder, row)
    return folder


def study(folder: Path) -> Path:
    """A gap study of one seed, whose proxy arm has a last evaluation in fresh episodes."""
    for arm in ("proxy", "true"):
        training_run(folder / f"{arm}-seed0", arm=arm)
    arrays: dict[str, Any] = {
        "proxy": np.array([7.0, 9.0]),
        "true": np.array([0.0, 1.0]),
        "terms": np.array([[1.0, 2.0], [3.0, 4.0]]),
    }
    np.savez(folder / "proxy-seed0" / FINAL, names=np.array(TERMS), **arrays)
    runs.update_manifest(folder, study="gap", settings={"env": "boat_race"}, status="finished")
    return folder


def test_every_evaluation_is_a_row(tmp_path):
    study(tmp_path / "gap-a")
    training_run(tmp_path / "deep" / "alone", proxy={"arrow": 1.0, "step": -0.5}, seed=4)
    table = load_runs(tmp_path)
    assert list(table.columns) == [*COLUMNS, "term_arrow", "term_clockwise"]
    assert len(table) == 3 * 3 + 1
    alone = table[table["run"] == "deep/alone"]
    assert set(alone["study"]) == {"train"}
    assert set(alone["proxy"]) == {"arrow=1, step=-0.5"}
    assert alone["proxy_return"].tolist() == [1.0, 2.0, 3.0]
    assert alone["true_return"].tolist() == [0.5, 1.0, 1.5]
    assert alone["term_clockwise"].tolist() == [0.0, -1.0, -2.0]
    assert alone["steps"].tolist() == [0, 100, 200]
    assert set(alone["seed"]) == {4}


def test_each_finished_run_has_one_final_row(tmp_path):
    study(tmp_path / "gap-a")
    training_run(tmp_path / "half", status="stopped")
    table = load_runs(tmp_path)
    final = table[table["final"]].set_index("run")
    assert sorted(final.index) == ["gap-a/proxy-seed0", "gap-a/true-seed0"]
    assert final.loc["gap-a/proxy-seed0", "proxy_return"] == 8.0  # of the fresh episodes
    assert final.loc["gap-a/proxy-seed0", "term_arrow"] == 2.0
    assert final.loc["gap-a/true-seed0", "proxy_return"] == 3.0  # of the last evaluation, for want of better
    assert set(final["study"]) == {"gap"}


def test_a_half_written_row_and_a_damaged_manifest_cost_no_more_than_themselves(tmp_path):
    with open(training_run(tmp_path / "cut") / runs.METRICS, "a") as file:
        file.write('{"steps": 300, "pro')
    (training_run(tmp_path / "bad") / runs.MANIFEST).write_text("{")
    with pytest.warns(UserWarning, match="bad"):
        table = load_runs(tmp_path)
    assert table["run"].unique().tolist() == ["cut"]
    assert len(table) == 3


def test_checkpoints_and_foreign_folders_are_no_runs(tmp_path):
    folder = training_run(tmp_path / "one")
    checkpoint = folder / "checkpoint" / "step-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / runs.MANIFEST).write_text(json.dumps({"format": 1, "settings": {}}))
    (tmp_path / "notes").mkdir()
    assert [run.name for run in find_runs(tmp_path)] == ["one"]


def test_an_empty_folder_is_an_empty_table_and_a_missing_one_an_error(tmp_path):
    assert list(load_runs(tmp_path).columns) == list(COLUMNS)
    assert load_runs(tmp_path).empty
    with pytest.raises(ProxygapError, match="no folder"):
        load_runs(tmp_path / "nowhere")


def test_a_run_that_says_it_runs_is_asked_whether_it_does(tmp_path):
    folder = training_run(tmp_path / "one", status="running")
    assert find_runs(folder)[0].status == "killed"
    with runs.locked(folder):
        assert find_runs(folder)[0].status == "running"


def test_what_is_in_use_or_is_no_run_is_not_deleted(tmp_path):
    folder = study(tmp_path / "gap-a")
    with runs.locked(folder / "true-seed0"), pytest.raises(ProxygapError, match="in use"):
        delete_run(folder)
    (tmp_path / "mine").mkdir()
    for name in ("mine", "nowhere"):
        with pytest.raises(ProxygapError, match=r"manifest\.json"):
            delete_run(tmp_path / name)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ProxygapError, match="link"):
        delete_run(tmp_path / "link")
    assert len(find_runs(folder)) == 3
    delete_run(folder)
    assert not folder.exists()
    assert (tmp_path / "mine").exists()


def test_the_package_offers_the_table(tmp_path):
    import proxygap

    training_run(tmp_path / "one")
    assert len(proxygap.load_runs(tmp_path)) == 3
