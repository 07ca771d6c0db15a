"""What the rows of the red-team study come to: ratios of queries, rates and prices, each with its interval over seeds."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..envs.batch import Array
from . import survival
from .red_team import ALL, BASE, FRESH, STRONGER, RedTeam, Row
from .statistics import Estimate, mean_interval
from .survival import Trials, restricted_mean, times_as_many

if TYPE_CHECKING:
    from pandas import DataFrame


def judged(found: Sequence[Row]) -> list[Row]:
    """The rows that judge a filter."""
    return [row for row in found if "attacks" in row]


def trials(found: Sequence[Row], course: str, number: int, attack: str) -> list[Trials]:
    """The trials of an attack on the filter that a course has after a round, for each seed; none where it was not tried."""
    rows = [row for row in judged(found) if (row["course"], row["round"]) == (course, number)]
    cells = [row["attacks"][attack] for row in rows if attack in row["attacks"]]
    return [Trials(np.array(cell["queries"]), np.array(cell["found"])) for cell in cells]


def budget(study: RedTeam, attack: str) -> int:
    """The queries that a trial of the attack may spend."""
    return study.queries * (STRONGER if attack == FRESH else 1)


def gain(found: Sequence[Row], study: RedTeam, course: str, attack: str) -> Estimate:
    """log2 of how many times more queries the attack takes against the course's last filter than against the first."""
    return times_as_many(*_sides(found, study, course, attack), budget(study, attack))


def matrix(found: Sequence[Row], study: RedTeam) -> dict[tuple[str, str], Estimate]:
    """The gain for every course that is compared by everything, and every attack."""
    pairs = product((*study.attacks, ALL), (*study.attacks, FRESH))
    return {(course, attack): gain(found, study, course, attack) for course, attack in pairs}


def held_out(found: Sequence[Row], study: RedTeam, course: str) -> tuple[Estimate, Estimate]:
    """The mean and the least of the gains against attacks that the course has not seen, each found for every seed by itself.

    An attack that never found anything against the first filter can't gain, and is left out; NaN where none is left.
    """
    others = [attack for attack in (*study.attacks, FRESH) if attack != course and (course != ALL or attack == FRESH)]
    able = [attack for attack in others if any(seed.found.any() for seed in trials(found, BASE, 0, attack))]
    if not able:
        unknown = Estimate(np.nan, -np.inf, np.inf, study.seeds)
        return unknown, unknown
    each = np.array([gains(found, study, course, attack) for attack in able])  # [attacks, S]
    return mean_interval(each.mean(0)), mean_interval(each.min(0))


def gains(found: Sequence[Row], study: RedTeam, course: str, attack: str) -> Array:
    """The gain in each seed, [S]."""
    return survival.gains(*_sides(found, study, course, attack), budget(study, attack))


def _sides(found: Sequence[Row], study: RedTeam, course: str, attack: str) -> tuple[list[Trials], list[Trials]]:
    """The attack's trials on the first filter, and on the one that the course ends with."""
    return trials(found, BASE, 0, attack), trials(found, course, study.rounds, attack)


def learned(found: Sequence[Row], study: RedTeam, course: str) -> Array:
    """How many finds the course's last filter learned from, for each seed [S]."""
    return np.array([row["labels"] for row in judged(found) if (row["course"], row["round"]) == (course, study.rounds)])


def price(found: Sequence[Row], study: RedTeam, course: str, name: str) -> Array:
    """A number of how the filtered system fares where nobody attacks, with the course's last filter, for each seed [S]."""
    last = 0 if course == BASE else study.rounds
    return np.array([row["system"][name] for row in judged(found) if (row["course"], row["round"]) == (course, last)])


def telltale(found: Sequence[Row], study: RedTeam, course: str, name: str) -> Array:
    """A number of the telltale test of the course's last filter, of the seeds in which it could be found."""
    last = 0 if course == BASE else study.rounds
    rows = [row["telltale"] for row in judged(found) if (row["course"], row["round"]) == (course, last)]
    return np.array([row[name] for row in rows if row[name] is not None])


def agents(found: Sequence[Row], target: str, name: str) -> Array:
    """A number of the agents that were fined by a filter, for each seed [S]."""
    return np.array([row[name] for row in found if "fine" in row and row["target"] == target])


def severities(found: Sequence[Row], study: RedTeam, course: str, attack: str) -> Array:
    """How bad the finds were that the attack made against the course's last filter, over all seeds."""
    last = 0 if course == BASE else study.rounds
    rows = [row for row in judged(found) if (row["course"], row["round"]) == (course, last)]
    return np.array([severity for row in rows for severity in row["attacks"][attack]["severity"]])


def recalls(found: Sequence[Row], width: int, side: str, place: int) -> Array:
    """What share of finds "learned" from, or "held out", filters of a width refuse: at their threshold (0), or EVEN (1)."""
    rows = [row["widths"] for row in found if "widths" in row]
    return np.array([row[str(width)][side][place] for row in rows if row])


def tool_trials(found: Sequence[Row], tool: str, severe: float = 0.0) -> list[Trials]:
    """The trials of a tool against the first filter, for each seed; a find counts if it is worse than `severe`."""
    rows = [row["tools"][tool] for row in found if "tools" in row]
    return [Trials(np.array(row["queries"]), np.array(row["found"]) & (np.array(row["severity"]) > severe)) for row in rows]


def median_severity(found: Sequence[Row]) -> float:
    """Of all finds of all tools."""
    cells = [cell for row in found if "tools" in row for cell in row["tools"].values()]
    severity = np.concatenate([np.array(cell["severity"])[np.array(cell["found"])] for cell in cells])
    return float(np.median(severity)) if len(severity) else 0.0


def by_threshold(found: Sequence[Row], course: str, name: str) -> Array:
    """A number of the filtered system where nobody attacks, for each share of harmless options that passes: [S, shares]."""
    return np.array([[each[name] for each in row["thresholds"][course]] for row in found if "thresholds" in row])


def cells(found: Sequence[Row], study: RedTeam) -> "DataFrame":
    """Every cell of every seed as a tidy table."""
    from pandas import DataFrame

    rows = []
    for row in judged(found):
        for attack, cell in row["attacks"].items():
            of = Trials(np.array(cell["queries"]), np.array(cell["found"]))
            about = {"seed": row["seed"], "hardened_by": row["course"], "round": row["round"], "labels": row["labels"]}
            spent = {"queries": int(of.queries.sum()), **{name: cell[name] for name in ("scores", "steps", "seconds")}}
            mean = restricted_mean(of, budget(study, attack))
            rows.append(about | {"attack": attack, "trials": len(of.found), "found": int(of.found.sum())} | spent)
            rows[-1] |= {"budget": budget(study, attack), "mean_queries": mean}
            rows[-1] |= {"worst_severity": max(cell["severity"], default=None)}
    return DataFrame(rows)
