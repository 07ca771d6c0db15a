"""The red-team study's figures: who is held off, how long finds take, how bad they are, and what agents make of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ...envs.batch import Array
from ...envs.painting import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, VERMILLION, YELLOW, Colour
from ..red_team import ALL, BASE, FRESH, NOBODY, UPDATES, RedTeam, Row
from ..red_team_measures import agents, budget, by_threshold, matrix, recalls, severities, trials
from ..red_team_tools import ACCEPTANCES
from ..statistics import Estimate, mean_interval
from ..survival import Trials, curve
from . import figures

ROUNDS = (VERMILLION, ORANGE, SKY, BLUE, PURPLE, GREEN)  # from the first filter on
BEFORE, AFTER = VERMILLION, BLUE
OTHERS = (ORANGE, SKY, GREEN, PURPLE, YELLOW, INK)


def heat_map(found: Sequence[Row], study: RedTeam) -> go.Figure:
    """log2 gains: rows are what a filter was hardened by, columns who attacks it."""
    gains, columns, courses = matrix(found, study), (*study.attacks, FRESH), (*study.attacks, ALL)
    values = np.array([[gains[course, attack].value for attack in columns] for course in courses])
    most = max(np.abs(values).max(), 1.0)
    figure = figures.empty(60 + 52 * len(courses))
    figure.add_heatmap(
        z=values,
        x=columns,
        y=courses,
        zmin=-most,
        zmax=most,
        colorscale=[(0.0, figures.css(VERMILLION)), (0.5, "#ffffff"), (1.0, figures.css(SKY))],
        text=[[_cell(gains[course, attack]) for attack in columns] for course in courses],
        texttemplate="%{text}",
        hovertemplate="hardened by %{y}, attacked by %{x}: %{z:.2f}<extra></extra>",
        xgap=3,
        ygap=3,
        showscale=False,
    )
    figure.update_xaxes(side="top", title="attacked by", showgrid=False)
    return figure.update_yaxes(autorange="reversed", title="hardened by", showgrid=False)


def _cell(estimate: Estimate) -> str:
    if not np.isfinite(estimate.low):
        return f"<b>{estimate.value:+.1f}</b>"
    most = f"{estimate.high:.1f}" if np.isfinite(estimate.high) else "∞"
    return f"<b>{estimate.value:+.1f}</b><br>[{estimate.low:.1f}, {most}]"


def survival(found: Sequence[Row], study: RedTeam, attack: str) -> go.Figure:
    """The share of trials still without a find after so many queries, after each round of the attack's own course."""
    figure, course = figures.empty(300), ALL if attack == FRESH else attack
    for number in range(study.rounds + 1):
        if of := trials(found, course if number else BASE, number, attack):
            _add_curve(figure, Trials.joined(of), budget(study, attack), ROUNDS[number % len(ROUNDS)])
    figure.update_xaxes(title="queries", type="log", range=(0, np.log10(budget(study, attack))))
    return figure.update_yaxes(title="trials without a find", range=(0, 1.02))


def _add_curve(figure: go.Figure, of: Trials, most: int, colour: Colour) -> None:
    found = curve(of)
    queries = np.concatenate([[1], found.queries, [most]])
    share, low, high = (np.concatenate([[1.0], part, part[-1:]]) for part in (found.share, found.low, found.high))
    edge = {"width": 0, "shape": "hv"}
    figure.add_scatter(x=queries, y=high, mode="lines", line=edge, hoverinfo="skip")
    figure.add_scatter(
        x=queries, y=low, mode="lines", line=edge, fill="tonexty", fillcolor=figures.css(colour, 0.12), hoverinfo="skip"
    )
    line = {"color": figures.css(colour), "width": 2.5, "shape": "hv"}
    figure.add_scatter(x=queries, y=share, mode="lines", line=line, hovertemplate="%{x:.0f} queries: %{y:.2f}<extra></extra>")


def thresholds(found: Sequence[Row], study: RedTeam) -> go.Figure:
    """Failures of the filtered system (left axis) and its true return (right), by the share of harmless options that pass."""
    figure = figures.empty(320)
    for course, colour in ((BASE, BEFORE), (ALL, AFTER)):
        failure, true = (by_threshold(found, course, name) for name in ("failure", "true"))
        figures.add_band(figure, np.array(ACCEPTANCES), [mean_interval(column) for column in failure.T], colour)
        for values, dash, axis in ((failure, "solid", "y"), (true, "dot", "y2")):
            figure.add_scatter(
                x=ACCEPTANCES,
                y=values.mean(0),
                mode="lines",
                line={"color": figures.css(colour), "width": 2.5, "dash": dash},
                yaxis=axis,
                hovertemplate="%{x}: %{y:.3g}<extra></extra>",
            )
    figure.update_xaxes(title="harmless options that pass")
    figure.update_yaxes(title="failures", rangemode="tozero")
    return figure.update_layout(
        yaxis2={"title": "true return", "overlaying": "y", "side": "right", "showgrid": False, "tickformat": ".3g"}
    )


def ridges(found: Sequence[Row], study: RedTeam) -> go.Figure:
    """How bad finds are, for every attack: against the first filter (below) and the one that was hardened by all (above)."""
    figure = figures.empty(60 + 62 * (len(study.attacks) + 1))
    for course, colour, side in ((BASE, BEFORE, "negative"), (ALL, AFTER, "positive")):
        for attack in (*study.attacks, FRESH):
            values = severities(found, study, course, attack)
            figure.add_violin(
                x=values,
                y=[attack] * len(values),
                side=side,
                orientation="h",
                width=0.9,
                line={"color": figures.css(colour), "width": 1.5},
                fillcolor=figures.css(colour, 0.25),
                points="all",
                jitter=0.2,
                pointpos=0.25 if side == "positive" else -0.25,
                marker={"size": 3, "color": figures.css(colour, 0.6)},
                spanmode="hard",
                hoverinfo="x",
            )
    figure.update_xaxes(title="severity, in true reward", rangemode="tozero")
    return figure.update_yaxes(showgrid=False).update_layout(violinmode="overlay")


def cadence(found: Sequence[Row], study: RedTeam) -> go.Figure:
    """Mean queries of the fresh portfolio against filters of the same labels, by how many updates a round these came in."""
    courses = {UPDATES: ALL} | {number: f"{ALL}, updates {number}" for number in study.updates}
    figure, numbers = figures.empty(300), sorted(courses)
    values = [mean_interval(_mean_queries(trials(found, courses[number], study.rounds, FRESH))) for number in numbers]
    _add_points(figure, numbers, values, AFTER)
    level = float(_mean_queries(trials(found, BASE, 0, FRESH)).mean())
    figure.add_hline(level, line={"color": figures.css(BEFORE), "dash": "dot", "width": 2})
    figure.update_xaxes(title="updates in a round", type="category")
    return figure.update_yaxes(title="mean queries", rangemode="tozero")


def _mean_queries(of: Sequence[Trials]) -> Array:
    return np.array([seed.queries.mean() for seed in of])


def widths(found: Sequence[Row], study: RedTeam) -> go.Figure:
    """What share of the finds is refused by filters of several widths: of those learned from (full lines) and of others."""
    figure, numbers = figures.empty(300), sorted(study.widths)
    for place, colour in ((0, BLUE), (1, ORANGE)):
        for side, dash in (("learned", "solid"), ("held out", "dot")):
            values = [mean_interval(recalls(found, width, side, place)) for width in numbers]
            _add_points(figure, numbers, values, colour, dash=dash)
    figure.update_xaxes(title="hidden units in a layer", type="category")
    return figure.update_yaxes(title="share of finds refused", range=(0, 1.05))


def _add_points(figure: go.Figure, x: Sequence[int], values: Sequence[Estimate], colour: Colour, **line: Any) -> None:
    """Points with their intervals, joined by a line."""
    figure.add_scatter(
        x=[str(number) for number in x],
        y=[estimate.value for estimate in values],
        error_y={**figures.error_bars(values), "color": figures.css(colour)},
        mode="lines+markers",
        line={"color": figures.css(colour), "width": 2.5, **line},
        marker={"size": 9},
        hovertemplate="%{x}: %{y:.3g}<extra></extra>",
    )


def agent_scatter(found: Sequence[Row], study: RedTeam) -> go.Figure:
    """The true return of agents against their rate of catastrophes, each seed and the means."""
    figure = figures.empty(380)
    shades = {NOBODY: MUTED, BASE: BEFORE, ALL: AFTER} | dict(zip(study.attacks, OTHERS, strict=False))
    for target, colour in shades.items():
        x, y = agents(found, target, "catastrophes"), agents(found, target, "true")
        figure.add_scatter(x=x, y=y, mode="markers", marker={"size": 7, "color": figures.css(colour, 0.4)}, hoverinfo="skip")
        figure.add_scatter(
            x=[x.mean()],
            y=[y.mean()],
            mode="markers+text",
            text=[target if target in (NOBODY, BASE, ALL) else ""],
            name=target,
            textposition="top center",
            textfont={"color": figures.css(colour)},
            marker={"size": 13, "color": figures.css(colour), "symbol": "diamond"},
            hovertemplate="%{x:.4f}, %{y:.3g}",
        )
    figure.update_xaxes(title="catastrophes, share of options", rangemode="tozero")
    return figure.update_yaxes(title="true return of an option")
