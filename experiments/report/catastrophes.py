"""The catastrophes study's page and table: each task's rate against what the agents can do, and whether anyone knew."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from ...agents import runs
from ...agents.intervals import share_interval
from ...envs.painting import BLUE, INK, MUTED, ORANGE, PURPLE, VERMILLION, Colour
from ..capability import BEST, CHANCE, GAMER, GROUPS, LEARNER, PLANNED, PLANNER, REFERENCE
from ..catastrophes import Catastrophes, Row
from ..commands.output import print_json, print_table
from ..red_team_tasks import RedTeamTask
from ..statistics import Estimate, mean_interval
from . import figures
from .pages import rendered

PAGE, TEMPLATE = "report.html", "catastrophes.html.j2"
HEAD = ("agent", "rate of catastrophes", "near one", "failures", "passed the filter", "nobody knew", "refused though harmless")
COLOURS: dict[str, Colour] = dict(zip(GROUPS, (MUTED, INK, ORANGE, PURPLE, VERMILLION, BLUE), strict=True))
LEAST, MOST = 1e-7, 0.04  # rates below the least are drawn there; every panel reaches down to a quarter of the most
CAPABLE = {  # what makes an agent of each group more capable
    CHANCE: "acts at random",
    REFERENCE: "with fewer random actions",
    GAMER: "games the proxy by a script",
    PLANNER: "with more plans tried",
    LEARNER: "trained for longer",
    BEST: "exact, where states are few",
}


def show(found: Sequence[Row], study: Catastrophes) -> None:
    """Prints a table for each task, and where the page is; or JSON."""
    if study.json:
        print_json(found)
        return
    for task in study.red_team:
        print_table(HEAD, cells(found, task.environment.name), title=heading(task))
    print("\n".join(headlines(found, study)))
    print(f"Report: {study.folder / PAGE}")


def heading(task: RedTeamTask) -> str:
    """The task in a line."""
    return f"{task.environment.name}, options of {task.length} steps"


def agents(found: Sequence[Row], task: str) -> dict[tuple[str, str], list[Row]]:
    """The rows of each agent in a task, a seed each, from weak to capable."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        if row["task"] == task:
            rows.setdefault((row["group"], row["agent"]), []).append(row)
    return rows


def rate(rows: Sequence[Row], count: str = "catastrophes") -> Estimate:
    """The share of an agent's options that are so: exact, or with an interval that covers options and seeds.

    Where exact it is so in each seed's scenes, and the interval is over them. Else it is the wider of two intervals: Clopper
    and Pearson's over all options, which takes seeds for alike, and Student's over seeds, which is nothing where none fails.
    """
    if count == "catastrophes" and all("exact" in row for row in rows):
        return _within(mean_interval(np.array([row["exact"] for row in rows])))
    shares = mean_interval(np.array([row[count] / row["options"] for row in rows]))
    value, low, high = share_interval(sum(row[count] for row in rows), sum(row["options"] for row in rows))
    if np.isfinite([shares.low, shares.high]).all():
        low, high = min(low, shares.low), max(high, shares.high)
    return _within(Estimate(value, low, high, len(rows)))


def _within(estimate: Estimate) -> Estimate:
    """The same, of what can't lie outside of 0 and 1."""
    return Estimate(estimate.value, max(estimate.low, 0.0), min(estimate.high, 1.0), estimate.n)


def cells(found: Sequence[Row], task: str) -> list[tuple[str, ...]]:
    """The table of a task, in the order of `HEAD`."""
    return [_cells(f"{group}: {agent}", rows) for (group, agent), rows in agents(found, task).items()]


def _cells(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    exact = " (exact)" if "exact" in rows[0] else ""
    if "options" not in rows[0]:
        return (name, f"{rate(rows)}{exact}", *[""] * 5)
    total = {key: sum(row[key] for row in rows) for key in ("options", "catastrophes", "passed", "unknown", "refused")}
    harmless = total["options"] - total["catastrophes"]
    refused = f"{total['refused'] / harmless:.1%}" if harmless else "none is"
    failures = f"{total['catastrophes']:,} of {total['options']:,}"
    return (
        name,
        f"{rate(rows)}{exact}",
        str(rate(rows, "near")),
        failures,
        f"{total['passed']:,}",
        f"{total['unknown']:,}",
        refused,
    )


def headlines(found: Sequence[Row], study: Catastrophes) -> list[str]:
    """For each task, what chance comes to, and the agent that does most harm; and of all failures, how many nobody knew."""
    played = [row for row in found if "options" in row]
    failures, passed, unknown = (sum(row[key] for row in played) for key in ("catastrophes", "passed", "unknown"))
    knew = f"Of all {failures:,} failures the filter let {passed:,} pass, and {unknown:,} of these nobody knew."
    return [*(_extremes(found, task.environment.name) for task in study.red_team), knew]


def _extremes(found: Sequence[Row], task: str) -> str:
    rows = {name: these for name, these in agents(found, task).items() if name[0] != BEST}
    chance = rate(next(iter(rows.values())))
    group, agent = max(rows, key=lambda name: rate(rows[name]).value)
    return f"{task}: {chance} by chance, {rate(rows[group, agent])} by {group} ({agent})."


def write_page(found: Sequence[Row], study: Catastrophes) -> None:
    """Writes the page into the study's folder. Raises ProxygapError where it can't be written."""
    names = [task.environment.name for task in study.red_team]
    content = {
        "sizes": study.sizes,
        "planned": min(study.sizes["options"], PLANNED),
        "headlines": headlines(found, study),
        "legend": [(group, COLOURS[group], CAPABLE[group]) for group in GROUPS],
        "head": HEAD,
        "panels": [(name, heading(task), cells(found, name)) for name, task in zip(names, study.red_team, strict=True)],
    }
    drawn = {name: panel(found, name) for name in names}
    runs.replace_file(study.folder / PAGE, rendered(TEMPLATE, drawn, **content).encode())


def panel(found: Sequence[Row], task: str) -> go.Figure:
    """The rate of every agent in a task, from weak to capable; a triangle is the upper bound where nothing happened."""
    figure, rows = figures.empty(330), agents(found, task)
    every = {name: rate(these) for name, these in rows.items()}
    shown = [bound for each in every.values() for bound in (each.value, each.high) if bound > 0]
    floor = max(min([MOST, *shown]) / 4, LEAST)
    for group in GROUPS:
        own = {agent: each for (of, agent), each in every.items() if of == group}
        if own:
            _add(figure, group, own, floor)
    figure.update_xaxes(tickangle=-50, tickfont={"size": 11})
    return figure.update_yaxes(
        type="log", range=(np.log10(floor), 0.15), title="share of options", dtick=1, exponentformat="power", showexponent="all"
    )


def _add(figure: go.Figure, group: str, own: dict[str, Estimate], floor: float) -> None:
    """The agents of a group as points with their intervals, joined by a line."""
    seen = [each.value > 0 for each in own.values()]
    places = np.array([each.value if each.value > 0 else each.high for each in own.values()])
    low = np.array([each.low if np.isfinite(each.low) else each.value for each in own.values()])
    high = np.array([each.high if np.isfinite(each.high) else each.value for each in own.values()])
    error = {
        "type": "data",
        "symmetric": False,
        "array": np.where(seen, high - places, 0.0),
        "arrayminus": np.where(seen, places - np.clip(low, floor, places), 0.0),
        "thickness": 1.5,
        "width": 3,
    }
    colour = figures.css(COLOURS[group])
    figure.add_scatter(
        x=[f"{agent}<br>" if group == BEST else agent for agent in own],
        y=np.maximum(places, floor),
        error_y=error,
        mode="lines+markers",
        line={"color": colour, "width": 1.5},
        marker={"color": colour, "size": 9, "symbol": ["circle" if any_ else "triangle-down-open" for any_ in seen]},
        hovertemplate="%{y:.3g}",
        name=group,
    )
