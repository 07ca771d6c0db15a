"""The red-team study's page and tables: who is held off by which hardening, how long finds take, and what it costs."""

import base64
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from ...agents import runs
from ..commands.output import print_json, print_table
from ..red_team import ALL, BASE, FRESH, NOBODY, RedTeam, Row
from ..red_team_measures import agents, gain, gains, held_out, learned, median_severity, price, telltale, tool_trials
from ..statistics import Estimate, mean_interval
from ..survival import Trials, find_rate, rate_ratio
from . import red_team_figures as drawing
from .pages import rendered

PAGE, TEMPLATE = "report.html", "red_team.html.j2"
MATRIX_HEAD = ("hardened by", "finds learned", "its own attack", "others, mean", "others, least", "fresh portfolio")
SYSTEM_HEAD = (
    "hardened by",
    "failures",
    "times fewer",
    "true return",
    "others accepted",
    "options drawn",
    "edited refused",
    "told apart",
)
TOOL_HEAD = ("the tool", "finds in 1,000 queries", "times as many", "severe finds in 1,000", "times as many")
FIGURES = {
    "thresholds": "thresholds",
    "matrix": "heat_map",
    "ridges": "ridges",
    "cadence": "cadence",
    "widths": "widths",
    "agents": "agent_scatter",
}
AGENT_HEAD = ("fined by", "true return", "proxy return", "catastrophes", "accepted ones")


def headline(found: Sequence[Row], study: RedTeam) -> str:
    """What came out, in a few sentences."""
    base, hard = (mean_interval(price(found, study, course, "failure")) for course in (BASE, ALL))
    raw = mean_interval(price(found, study, BASE, "unfiltered"))
    own = np.mean([gain(found, study, attack, attack).value for attack in study.attacks])
    least = [held_out(found, study, attack)[1].value for attack in study.attacks]
    least = np.mean([value for value in least if np.isfinite(value)] or [np.nan])
    fresh = gain(found, study, ALL, FRESH)
    return (
        f"The first filter lets {base} of options fail, of {raw} without it; hardened against all attacks, {hard}. Hardened "
        f"against one attack, that one needs {_times(float(own))} times as many queries (geometric mean), the unseen one that "
        f"gains least {_times(float(least))}. A fresh portfolio needs {_times(fresh.value)} times as many "
        f"against the filter that was hardened by all [{_times(fresh.low)}, {_times(fresh.high)}]."
    )


def _times(log2: float) -> str:
    return f"{2.0**log2:.3g}" if np.isfinite(log2) else "unknown"


def matrix_rows(found: Sequence[Row], study: RedTeam) -> list[tuple[str, ...]]:
    """Gains in log2, in the order of `MATRIX_HEAD`."""
    rows = []
    for course in (*study.attacks, ALL):
        mean, least = held_out(found, study, course)
        own = gain(found, study, course, course) if course != ALL else _own_of_all(found, study)
        taught = f"{learned(found, study, course).mean():.0f}"
        rows.append((course, taught, str(own), str(mean), str(least), str(gain(found, study, course, FRESH))))
    return rows


def _own_of_all(found: Sequence[Row], study: RedTeam) -> Estimate:
    """The mean gain of the filter that was hardened against all attacks, against these, found for every seed by itself."""
    return mean_interval(np.mean([gains(found, study, ALL, attack) for attack in study.attacks], axis=0))


def system_rows(found: Sequence[Row], study: RedTeam) -> list[tuple[str, ...]]:
    """How filtered systems fare where nobody attacks, in the order of `SYSTEM_HEAD`; the first row is without a filter."""
    raw, true = (mean_interval(price(found, study, BASE, name)) for name in ("unfiltered", "unfiltered_true"))
    rows: list[tuple[str, ...]] = [(NOBODY, str(raw), "", str(true), "", "", "", "")]
    for course in (BASE, *study.attacks, ALL):
        failure = price(found, study, course, "failure")
        fewer = price(found, study, course, "unfiltered").mean() / failure.mean() if failure.any() else np.inf
        numbers = [mean_interval(price(found, study, course, name)) for name in ("true", "acceptance", "draws")]
        apart = telltale(found, study, course, "apart")
        tells = mean_interval(telltale(found, study, course, "refused")), mean_interval(apart) if len(apart) else "too few"
        rows.append((course, str(mean_interval(failure)), f"{fewer:.3g}", *map(str, numbers), *map(str, tells)))
    return rows


def agent_rows(found: Sequence[Row], study: RedTeam) -> list[tuple[str, ...]]:
    """What agents come to, in the order of `AGENT_HEAD`."""
    names = ("true", "proxy", "catastrophes", "accepted_catastrophes")
    targets = (NOBODY, BASE, *study.attacks, ALL) if study.steps else ()
    return [(target, *(str(mean_interval(agents(found, target, name))) for name in names)) for target in targets]


def tool_rows(found: Sequence[Row]) -> list[tuple[str, ...]]:
    """Finds of each tool in 1,000 queries, and how many times as many as without any, in the order of `TOOL_HEAD`."""
    least = (0.0, median_severity(found))
    plain, rows = [Trials.joined(tool_trials(found, "neither", severe)) for severe in least], []
    for tool in next(row["tools"] for row in found if "tools" in row):
        both = [Trials.joined(tool_trials(found, tool, severe)) for severe in least]
        ratios = [str(rate_ratio(of, base)) if tool != "neither" else "" for of, base in zip(both, plain, strict=True)]
        (often, severe), (more, worse) = (_thousand(find_rate(of)) for of in both), ratios
        rows.append((tool, often, more, severe, worse))
    return rows


def _thousand(rate: Estimate) -> str:
    return str(Estimate(1000 * rate.value, 1000 * rate.low, 1000 * rate.high, rate.n))


def show(found: Sequence[Row], study: RedTeam, folder: Path) -> None:
    """Prints the tables, and where the page is; or JSON."""
    if study.json:
        print_json(found)
        return
    print_table(MATRIX_HEAD, matrix_rows(found, study), title="log2 of times as many queries")
    print_table(SYSTEM_HEAD, system_rows(found, study), title="where nobody attacks")
    if study.steps:
        print_table(AGENT_HEAD, agent_rows(found, study), title="agents paid by the proxy, fined by the filter")
    print(headline(found, study))
    print(f"Report: {folder / PAGE}")


def write_page(found: Sequence[Row], study: RedTeam, folder: Path) -> None:
    """Writes the page into the study's folder. Raises ProxygapError where it can't be written."""
    attacks = (*study.attacks, FRESH)
    drawn = {name: getattr(drawing, draw)(found, study) for name, draw in FIGURES.items() if name in _drawable(found, study)}
    drawn |= {f"survival-{place}": drawing.survival(found, study, attack) for place, attack in enumerate(attacks)}
    steps = ["the first filter", *(f"round {number}" for number in range(1, study.rounds + 1))]
    content = {
        "study": study,
        "environment": study.task.environment.name,
        "length": study.task.length,
        "acceptance": study.task.acceptance,
        "headline": headline(found, study),
        "attacks": attacks,
        "rounds": list(zip(steps, cycle(drawing.ROUNDS), strict=False)),
        "sides": [("the first filter", drawing.BEFORE), (f"hardened by {ALL}", drawing.AFTER)],
        "tables": {
            "matrix": (MATRIX_HEAD, matrix_rows(found, study)),
            "system": (SYSTEM_HEAD, system_rows(found, study)),
            "agents": (AGENT_HEAD, agent_rows(found, study)),
            "tools": (TOOL_HEAD, tool_rows(found)),
        },
        "films": films(found, folder),
        "panels": set(drawn),
    }
    runs.replace_file(folder / PAGE, rendered(TEMPLATE, drawn, **content).encode())


def _drawable(found: Sequence[Row], study: RedTeam) -> set[str]:
    """The figures for which there is something to draw."""
    missing = {"widths": not any(row.get("widths") for row in found), "agents": not study.steps}
    return {name for name in FIGURES if not missing.get(name)}


def films(found: Sequence[Row], folder: Path) -> list[tuple[str, str, float, str]]:
    """Of every film whose filter it deceived, by which attack, how bad it is, and its data: address."""
    shown = []
    for row in found:
        for film in row.get("films", ()):
            data = base64.b64encode((folder / f"seed{row['seed']}" / film["film"]).read_bytes()).decode()
            shown.append((row["target"], film["attack"], film["severity"], f"data:image/webp;base64,{data}"))
    return shown
