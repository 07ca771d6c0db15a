"""The table of optima holds a row for every reward of every environment, and its exact rows are what solving gives."""

from dataclasses import asdict

import pytest
from proxygap.envs.registry import list_envs, make
from proxygap.experiments.optima import VARIANTS, Optima, optima, stored

ROWS = stored()
EXACT = [row for row in ROWS if row.by == "exact"]
SMALL = sorted({row.env for row in EXACT if (row.states or 0) < 1_000})


def test_every_reward_of_every_environment_has_a_row_in_each_variant():
    wanted = {
        (name, str(settings), reward)
        for name in list_envs()
        for settings in [{}, *VARIANTS.get(name, [])]
        for reward in ("true", *make(name, **settings).proxies)
    }
    assert {(row.env, str(row.settings), row.reward) for row in ROWS} == wanted
    assert len(ROWS) == len(wanted)


@pytest.mark.parametrize("name", SMALL)
def test_exact_rows_are_what_solving_gives(name, tmp_path):
    told = [row for row in ROWS if row.env == name]
    for row, again in zip(told, optima(name, tmp_path), strict=True):
        for what, value in asdict(row).items():
            other = getattr(again, what)
            assert value == (pytest.approx(other, rel=1e-9, abs=1e-9) if isinstance(value, float) else other), what


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.env}-{row.settings}-{row.reward}")
def test_the_best_known_is_the_best(row):
    slack = 0.02 * abs(row.best - row.random) + 1e-9  # of sampled returns
    assert row.best >= row.random - slack
    assert row.best >= row.reference - slack


@pytest.mark.parametrize("row", [row for row in EXACT if row.reward == "true"], ids=lambda row: f"{row.env}-{row.settings}")
def test_what_is_best_for_the_truth_earns_the_truth(row):
    assert row.worst_truth == pytest.approx(row.best)
    assert row.best_truth == pytest.approx(row.best)


def test_rows_can_be_shown(capsys):
    Optima(("boat_race_strict",)).run()
    assert "exact" in capsys.readouterr().out
