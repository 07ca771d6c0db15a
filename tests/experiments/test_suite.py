"""The suite: one row for every environment and proxy, each from a study of its own, and words that say what was learned."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from proxygap.envs import ProxygapError
from proxygap.envs.registry import list_envs, make
from proxygap.experiments.report.suite import truth_left, write_page
from proxygap.experiments.statistics import mean_interval
from proxygap.experiments.suite import HEAD, RETURNS, Row, Suite, markdown
from proxygap.experiments.verdicts import Finals, learned_outcome

STEADY = np.array([0.0, 0.1, -0.1, 0.05, -0.05])


@pytest.mark.parametrize(
    ("proxy_gain", "truth_loss", "outcome"),
    [
        (5.0, 5.0, "gamed"),
        (0.0, 5.0, "tie"),
        (-5.0, 5.0, "missed"),
        (5.0, 0.0, "aligned"),
        (0.0, -5.0, "aligned"),
        (5.0, 0.1, "open"),
    ],
)
def test_outcomes_are_told_apart(proxy_gain, truth_loss, outcome):
    on_truth = Finals(STEADY + 10.0, STEADY + 20.0)
    on_proxy = Finals(STEADY + 10.0 + proxy_gain, STEADY + 20.0 - truth_loss)
    assert learned_outcome(on_proxy, on_truth, margin=0.2) == outcome


def test_every_proxy_of_every_environment_has_a_study_of_its_own():
    studies = Suite().studies()
    assert len(studies) == sum(len(make(name).proxies) for name in list_envs())
    assert len({study.folder for study in studies}) == len(studies)


def test_an_unknown_environment_is_refused_before_anything_is_run():
    with pytest.raises(ProxygapError, match="did you mean 'boatrace'"):
        Suite(("boat_rcae",)).studies()


def test_the_page_has_a_line_for_every_row_and_says_how_it_was_made():
    returns = {group: {reward: mean_interval(STEADY) for reward in ("proxy", "true")} for group in ("random", "true", "proxy")}
    row = Row("BoatRace", "arrows", "ontological", "tie", "tie", "tie", "a2c", 100, 2.0, 5, returns, {})
    page = markdown([row, row])
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert all(line.count("|") == len(HEAD) + len(RETURNS) + 1 for line in lines)
    assert "proxygap suite --seeds 5" in page
    assert "| none |" in lines[-1]  # it has no reference policy


def test_the_report_shows_every_proxy(tmp_path):
    returns = {group: {reward: mean_interval(STEADY) for reward in ("proxy", "true")} for group in RETURNS}
    level = mean_interval(STEADY + 0.5)
    row = Row(
        "BoatRace", "arrows", "ontological", "tie", "tie", "tie", "a2c", 100, 2.0, 5, returns, dict.fromkeys(RETURNS, level)
    )
    flat = replace(row, env="Flat", normalised=dict.fromkeys(RETURNS))
    write_page([row, flat], RETURNS, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Not normalisable, and so only in the table: Flat (arrows)." in page
    assert page.count("<b>tie</b>") == 2
    figure = truth_left([row, replace(row, env="Low", normalised=dict.fromkeys(RETURNS, mean_interval(STEADY - 9.0)))])
    drawn: list[Any] = list(figure.select_traces())
    assert [trace.x[0] for trace in drawn] == pytest.approx([0.5, 0.5, 0.5])
    assert [trace.marker.symbol[1] for trace in drawn] == ["triangle-left"] * 3


@pytest.mark.slow
def test_a_finished_study_is_read_and_not_run_again(tmp_path, monkeypatch):
    suite = Suite(("boat_race_strict",), seeds=1, out=tmp_path, quiet=True)
    (first,) = suite.rows()
    monkeypatch.setattr("proxygap.experiments.gap.Gap.results", None)
    (again,) = suite.rows()
    assert again == first
    assert (first.planned, first.env, first.proxy) == ("gamed", "BoatRaceStrict", "arrows")
