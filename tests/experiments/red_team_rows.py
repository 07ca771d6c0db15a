"""Rows of the red-team study made by hand: every number in them is known."""

from collections.abc import Callable, Sequence
from typing import Any

from proxygap.experiments.red_team import ALL, BASE, FRESH, NOBODY, STRONGER, RedTeam, Row
from proxygap.experiments.red_team_tools import ACCEPTANCES, TOOLS

Queries = Callable[[int, str, int, str], Sequence[int]]  # seed, course, round, attack -> the queries of each trial
SYSTEM = {
    "unfiltered": 0.08,
    "failure": 0.02,
    "naive": 0.01,
    "acceptance": 0.95,
    "true": 40.0,
    "unfiltered_true": 38.0,
    "spread": 3.0,
    "draws": 1.25,
    "null": 0.5,
}


def study(**settings: Any) -> RedTeam:
    """A study of two attacks with budgets of 64 queries, 256 of the fresh portfolio."""
    sizes: dict[str, Any] = {"attacks": ("random", "cem"), "rounds": 2, "queries": 64, "trials": 2, "seeds": 3, "steps": 100}
    chosen: dict[str, Any] = sizes | {"updates": (2, 4), "widths": (8, 32)} | settings
    return RedTeam("island_navigation", **chosen)


def twice_a_round(seed: int, course: str, number: int, attack: str) -> Sequence[int]:
    """The first filter is deceived after 4 and 8 queries, and each round takes twice as many."""
    return [4 * 2**number, 8 * 2**number]


def cell(study: RedTeam, attack: str, queries: Sequence[int]) -> Row:
    """A cell: a trial that spent its whole budget has found nothing. The severities are 1, 2, ..."""
    found = [number < study.queries * (STRONGER if attack == FRESH else 1) for number in queries]
    severity = [float(place + 1) for place in range(sum(found))]
    spent = {"scores": 7, "steps": 10 * sum(queries), "seconds": 0.5}
    return {"queries": list(queries), "found": found, "severity": severity, "margin": [0.1] * sum(found)} | spent


def judged(study: RedTeam, seed: int, course: str, number: int, of: Queries, **about: Any) -> Row:
    """The row of a filter, with the cells that the study fills."""
    ends, own = number in (0, study.rounds), [course] if course in study.attacks else list(study.attacks)
    names = [FRESH] if ends and "updates" in course else [*study.attacks, FRESH] if ends else [] if "updates" in course else own
    row: Row = {"seed": seed, "course": course, "round": number, "labels": 100 * number}
    if ends:
        row |= {"system": SYSTEM | about, "telltale": {"refused": 0.25, "apart": 0.75}}
    return row | {"attacks": {name: cell(study, name, of(seed, course, number, name)) for name in names}}


def tried(place: int) -> Row:
    """What a part of the tool takes: one find, after 10 queries for each place from 1, and one trial without."""
    return {"queries": [10 * (place + 1), 64], "found": [True, False], "severity": [float(place), 0.0]}


def fares() -> list[Row]:
    """How a filtered system fares by its threshold: failures are a tenth of what passes."""
    return [{"accepted": share, "failure": share / 10, "true": 40.0} for share in ACCEPTANCES]


def rows(study: RedTeam, of: Queries = twice_a_round, films: Sequence[Row] = ()) -> list[Row]:
    """All that a study comes to, a seed after another; an agent's catastrophes are 0.1 of its place among the targets."""
    courses = [*study.attacks, ALL, *(f"{ALL}, updates {updates}" for updates in study.updates)]
    found: list[Row] = []
    for seed in range(study.seeds):
        found.append(judged(study, seed, BASE, 0, of))
        found += [judged(study, seed, course, 1 + place, of) for course in courses for place in range(study.rounds)]
        recalls = {str(width): {"learned": [0.5, 0.75], "held out": [0.25, 0.125]} for width in study.widths}
        found.append({"seed": seed, "finds": 30, "widths": recalls})
        found.append({"seed": seed, "tools": {tool: tried(place) for place, tool in enumerate(TOOLS)}})
        found.append({"seed": seed, "thresholds": {course: fares() for course in (BASE, ALL)}})
        for place, target in enumerate((NOBODY, BASE, *study.attacks, ALL) if study.steps else ()):
            worth = {
                "true": 30.0 + place,
                "proxy": 50.0,
                "catastrophes": 0.1 * place,
                "near": 0.5,
                "accepted_catastrophes": 0.0,
            }
            found.append({"seed": seed, "target": target, "fine": 50.0} | worth)
        if seed == 0:
            found.append({"seed": seed, "target": BASE, "films": list(films)})
    return found
