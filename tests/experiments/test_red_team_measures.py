"""What rows of the red-team study come to: exact where it is known, a bound where trials ended without a find."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs import ProxygapError
from proxygap.experiments.red_team import ALL, BASE, FRESH, NOBODY
from proxygap.experiments.red_team_measures import (
    agents,
    budget,
    by_threshold,
    cells,
    gain,
    gains,
    held_out,
    judged,
    learned,
    matrix,
    median_severity,
    price,
    recalls,
    severities,
    telltale,
    tool_trials,
    trials,
)
from proxygap.experiments.red_team_tools import ACCEPTANCES
from proxygap.experiments.statistics import mean_interval
from proxygap.experiments.survival import log_ratio

from .red_team_rows import rows, study, twice_a_round

STUDY = study()
ROWS = rows(STUDY)


def once(before, after, course="random", attack="cem"):
    """Queries of seeds [S][trials] against the first filter, and against the last one of a course; others as usual."""

    def of(seed, name, number, by):
        if by != attack or (name, number) not in ((BASE, 0), (course, STUDY.rounds)):
            return twice_a_round(seed, name, number, by)
        return (before if name == BASE else after)[seed]

    return of


# Gains


def test_twice_as_many_queries_a_round_are_two_powers_of_two_after_two_rounds():
    assert (gain(ROWS, STUDY, "random", "cem").value, gain(ROWS, STUDY, ALL, FRESH).value) == (2.0, 2.0)
    found = rows(STUDY, once([[8, 8]] * 3, [[16, 16]] * 3))
    estimate = gain(found, STUDY, "random", "cem")
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (1.0, 1.0, 1.0, 3)


@given(before=st.integers(1, 60), after=st.integers(1, 60))
def test_a_gain_is_the_logarithm_of_the_ratio_and_back_it_is_a_loss(before, after):
    there, back = (
        gain(rows(STUDY, once([[one] * 2] * 3, [[other] * 2] * 3)), STUDY, "random", "cem").value
        for one, other in ((before, after), (after, before))
    )
    assert there == pytest.approx(np.log2(after / before))
    assert there == pytest.approx(-back)


def test_the_interval_is_that_of_seeds_and_trials():
    found = rows(STUDY, once([[4, 8], [5, 9], [6, 6]], [[20, 30], [10, 12], [40, 60]]))
    before, after = trials(found, BASE, 0, "cem"), trials(found, "random", 2, "cem")
    assert [trial.queries.tolist() for trial in after] == [[20, 30], [10, 12], [40, 60]]
    assert gain(found, STUDY, "random", "cem") == log_ratio(before, after, 64)
    assert gain(found, STUDY, "random", "cem").low < gain(found, STUDY, "random", "cem").value


def test_the_fresh_portfolio_has_its_own_budget():
    assert (budget(STUDY, "cem"), budget(STUDY, FRESH)) == (64, 256)
    found = rows(STUDY, once([[8, 8]] * 3, [[128, 128]] * 3, ALL, FRESH))
    assert gain(found, STUDY, ALL, FRESH).value == 4.0


def test_trials_without_a_find_give_a_lower_bound():
    found = rows(STUDY, once([[8, 8]] * 3, [[64, 64]] * 3))
    assert not trials(found, "random", 2, "cem")[0].found.any()
    estimate = gain(found, STUDY, "random", "cem")
    assert (estimate.value, estimate.low, estimate.high) == (3.0, 3.0, np.inf)
    some = gain(rows(STUDY, once([[8, 8]] * 3, [[64, 32]] * 3)), STUDY, "random", "cem")
    assert some.value == pytest.approx(np.log2(48 / 8))
    assert np.isfinite(some.high)


def test_one_seed_gives_no_interval():
    one = study(seeds=1)
    estimate = gain(rows(one), one, "random", "cem")
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (2.0, -np.inf, np.inf, 1)
    assert str(estimate).endswith("(no interval)")


def test_the_matrix_has_every_main_course_and_every_attack():
    found = matrix(ROWS, STUDY)
    assert list(found) == [(course, attack) for course in ("random", "cem", ALL) for attack in ("random", "cem", FRESH)]
    assert found["cem", FRESH] == gain(ROWS, STUDY, "cem", FRESH)


# Attacks that a course has not seen


def unseen(attack, factors):
    """Rows in which the attack takes so many times as many queries, in each seed, after a course against random search."""

    def of(seed, course, number, by):
        times = factors[by][seed] if (course, number) == ("random", 2) and by in factors else 1
        return [2 * times, 2 * times]

    return rows(STUDY, of)


def test_the_mean_and_the_least_are_those_of_each_seed():
    found = unseen("random", {"cem": [2, 8, 4], FRESH: [8, 2, 4], "random": [1, 1, 1]})
    mean, least = held_out(found, STUDY, "random")
    assert mean == mean_interval(np.array([2.0, 2.0, 2.0]))  # of 1 and 3, 3 and 1, 2 and 2
    assert least == mean_interval(np.array([1.0, 1.0, 2.0]))
    assert gains(found, STUDY, "random", "cem").tolist() == [1.0, 3.0, 2.0]


def test_who_was_hardened_by_all_has_seen_all_but_the_fresh_portfolio():
    mean, least = held_out(rows(STUDY, once([[8, 8]] * 3, [[64, 128]] * 3, ALL, FRESH)), STUDY, ALL)
    assert mean == least == mean_interval(np.log2(np.array([12.0, 12.0, 12.0])))


# Other numbers


def test_what_was_not_tried_has_no_trials():
    assert trials(ROWS, "random", 1, "cem") == []
    assert trials(ROWS, f"{ALL}, updates 4", 1, "cem") == []
    assert trials(ROWS, f"{ALL}, updates 4", 2, "cem") == []
    assert len(trials(ROWS, f"{ALL}, updates 4", 2, FRESH)) == len(trials(ROWS, ALL, 1, "cem")) == 3


def test_the_first_filter_is_that_of_round_0_and_others_those_of_the_last():
    found = rows(STUDY)
    for row in judged(found):
        if "system" in row:
            row["system"]["failure"] = 0.1 * row["seed"] + (1.0 if row["course"] == BASE else 0.0)
    assert price(found, STUDY, BASE, "failure") == pytest.approx([1.0, 1.1, 1.2])
    assert price(found, STUDY, "cem", "failure") == pytest.approx([0.0, 0.1, 0.2])
    assert learned(found, STUDY, "cem").tolist() == [200, 200, 200]


def test_seeds_in_which_too_few_could_be_told_apart_are_left_out():
    found = rows(STUDY)
    last = [row for row in judged(found) if row["course"] == ALL and row["round"] == 2]
    last[1]["telltale"]["apart"] = None
    last[2]["telltale"]["apart"] = 0.5
    assert telltale(found, STUDY, ALL, "apart").tolist() == [0.75, 0.5]
    assert telltale(found, STUDY, ALL, "refused").tolist() == [0.25] * 3
    assert telltale(found, STUDY, BASE, "apart").tolist() == [0.75] * 3


def test_severities_are_those_of_all_finds_of_all_seeds():
    found = rows(STUDY, once([[4, 64]] * 3, [[64, 64]] * 3, ALL))
    assert severities(found, STUDY, BASE, "cem").tolist() == [1.0] * 3
    assert severities(found, STUDY, ALL, "cem").tolist() == []
    assert severities(found, STUDY, ALL, "random").tolist() == [1.0, 2.0] * 3


def test_agents_and_widths_are_found_by_name():
    assert agents(ROWS, NOBODY, "catastrophes").tolist() == [0.0] * 3
    assert agents(ROWS, ALL, "true").tolist() == [34.0] * 3
    assert [recalls(ROWS, 8, side, place).tolist() for side in ("learned", "held out") for place in (0, 1)] == [
        [0.5] * 3,
        [0.75] * 3,
        [0.25] * 3,
        [0.125] * 3,
    ]
    few = [row | ({"widths": {}} if "widths" in row and row["seed"] else {}) for row in ROWS]
    assert len(recalls(few, 8, "learned", 0)) == 1


# The tool, and thresholds


def test_a_severe_find_is_one_that_is_worse_than_the_median():
    assert median_severity(ROWS) == 3.0  # of 0 to 6
    both = [tool_trials(ROWS, "both", severe) for severe in (0.0, 3.0, 2.9)]
    assert [trial.found.tolist() for trial, *_ in both] == [[True, False], [False, False], [True, False]]
    assert [trial.queries.tolist() for trial in both[0]] == [[40, 64]] * 3


def test_thresholds_have_a_row_for_each_seed():
    assert by_threshold(ROWS, ALL, "failure") == pytest.approx(np.tile(np.array(ACCEPTANCES) / 10, (3, 1)))


# The table


def test_the_table_has_a_row_for_each_cell_of_each_seed():
    """The first filter and 3 main courses meet 3 attacks after the last round, 2 others 1; after the first 1, 1 and 2."""
    found = cells(rows(STUDY, once([[8, 8]] * 3, [[8, 64]] * 3)), STUDY)
    assert len(found) == 3 * (4 * 3 + 2 * 1 + 1 + 1 + 2)
    assert not found.duplicated(["seed", "hardened_by", "round", "attack"]).any()
    (one,) = found.query("seed == 1 and hardened_by == 'random' and round == 2 and attack == 'cem'").to_dict("records")
    assert one == {
        "seed": 1,
        "hardened_by": "random",
        "round": 2,
        "labels": 200,
        "attack": "cem",
        "trials": 2,
        "found": 1,
        "queries": 72,
        "scores": 7,
        "steps": 720,
        "seconds": 0.5,
        "budget": 64,
        "mean_queries": 36.0,
        "worst_severity": 1.0,
    }


def test_a_cell_without_finds_has_no_worst_severity():
    found = cells(rows(STUDY, once([[8, 8]] * 3, [[64, 64]] * 3)), STUDY)
    (one,) = found.query("seed == 0 and hardened_by == 'random' and round == 2 and attack == 'cem'").to_dict("records")
    assert (one["found"], one["mean_queries"]) == (0, 64.0)
    assert np.isnan(one["worst_severity"])


def test_trials_that_ended_before_their_budget_without_a_find_are_refused():
    found = rows(STUDY)
    for row in judged(found):
        if "cem" in row["attacks"]:
            row["attacks"]["cem"] |= {"queries": [32, 32], "found": [False, False]}
    with pytest.raises(ProxygapError, match="a mean restricted to 64 queries of trials that were followed for 32"):
        gain(found, STUDY, "random", "cem")


def test_who_never_found_anything_counts_for_nothing_among_those_held_out():
    of = study()
    found, (first, *_) = rows(of), of.attacks
    for row in (row for row in found if "attacks" in row):
        for attack in row["attacks"].keys() - {first}:
            row["attacks"][attack]["found"] = [False] * len(row["attacks"][attack]["found"])
    mean, least = held_out(found, of, first)
    assert np.isnan([mean.value, least.value]).all()
    assert not mean.clear_of(0)
