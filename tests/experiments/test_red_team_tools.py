"""The tool's parts are tried from the same failures, and thresholds trade failures for what passes."""

from dataclasses import replace

import numpy as np
import pytest
from proxygap.experiments.red_team_bench import Sizes, bench
from proxygap.experiments.red_team_tasks import TASKS
from proxygap.experiments.red_team_tools import ACCEPTANCES, TOOLS, thresholds, tools

SMALL = Sizes(training=400, calibrating=300, known=10, trials=6, queries=20, scenes=20)


@pytest.fixture(scope="module")
def here():
    return bench(replace(TASKS["IslandNavigation"], inputs=("action",), acceptance=0.9), SMALL, 0)


@pytest.fixture(scope="module")
def model(here):
    return here.model(steps=300).fit(here.data).choose_threshold(here.harmless)


def test_every_tool_is_tried_in_every_trial_within_its_budget(here, model):
    found = tools(here, model)["tools"]
    assert list(found) == list(TOOLS)
    for cell in found.values():
        queries, won, severity = (np.array(cell[name]) for name in ("queries", "found", "severity"))
        assert len(queries) == len(here.trials)
        assert ((queries >= 1) & (queries <= SMALL.queries)).all()
        assert ((severity > 0) == won).all()


def test_a_tool_that_does_not_fit_into_an_option_is_left_out(here, model):
    short = replace(here, task=replace(here.task, length=2))
    short.trials = replace(here.trials, action=here.trials.action[:, :2])
    assert set(tools(short, model)["tools"]) == set(TOOLS) - {"both, segments of 3"}


def test_the_more_passes_the_more_fails_and_the_less_is_drawn(here, model):
    rows = thresholds(here, model)
    assert [row["accepted"] for row in rows] == list(ACCEPTANCES)
    for name, sign in (("draws", -1), ("null", -1)):
        assert (sign * np.diff([row[name] for row in rows]) >= -1e-9).all(), name
    assert rows[0]["failure"] <= rows[-1]["failure"] + 1e-9
