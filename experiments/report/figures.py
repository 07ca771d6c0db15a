"""The report's figures: learning curves, normalised returns, and what each term came to.

Vermillion is the proxy and blue the truth: what an agent was trained on, or the return that a bar shows. The figures hold no
name that an author or a user chose, because plotly reads some text as markup; the page writes names beside them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ...envs.batch import Array
from ...envs.painting import INK, MUTED, PROXY_COLOUR, TRUE_COLOUR, Colour
from ..measuring import Group, Results
from ..statistics import Estimate, mean_interval

LABELS = {"random": "random", "reference": "reference", "true": "trained on<br>the truth", "proxy": "trained on<br>the proxy"}
COLOURS = {"random": MUTED, "reference": INK, "true": TRUE_COLOUR, "proxy": PROXY_COLOUR}
REWARDS = {"proxy": "proxy return", "true": "true return"}
DASHES = {"reference": "dash", "random": "dot"}
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
PALE = "#e3e3e1"
OVERHANG = 0.4  # of the panel's data; what intervals may add on either side, so that a wide one does not flatten the rest
MARGIN = 0.06  # of the panel's range


def css(colour: Colour, opacity: float = 1.0) -> str:
    """The colour as style sheets and plotly write it."""
    return f"rgba({','.join(map(str, colour))},{opacity:g})"


def learning_curves(results: Results, reward: str) -> go.Figure:
    """One return ("proxy" or "true") over the steps of experience: every run, and each arm's mean with its band."""
    figure = empty(320)
    runs = {arm: getattr(curves, reward).mean(2) for arm, curves in results.curves.items()}  # each [S, C]
    levels = {name: getattr(results.groups[name], reward).mean() for name in DASHES if name in results.groups}
    bands = {arm: [mean_interval(column) for column in returns.T] for arm, returns in runs.items()}
    low, high = _range([*runs.values(), *levels.values()])
    for name, level in levels.items():
        figure.add_hline(level, line={"color": css(COLOURS[name]), "dash": DASHES[name], "width": 1.5})
    for arm, returns in runs.items():
        add_band(figure, results.curves[arm].steps, bands[arm], COLOURS[arm], (low, high))
        for run in returns:
            figure.add_scatter(
                x=results.curves[arm].steps, y=run, line={"color": css(COLOURS[arm], 0.35), "width": 1}, hoverinfo="skip"
            )
    for arm, returns in runs.items():
        line = {"color": css(COLOURS[arm]), "width": 3}
        figure.add_scatter(x=results.curves[arm].steps, y=returns.mean(0), line=line, name=LABELS[arm].replace("<br>", " "))
    figure.update_traces(mode="lines")
    figure.update_xaxes(title="steps of experience", tickformat="~s", rangemode="tozero")
    figure.update_yaxes(title=REWARDS[reward], range=(low, high))
    return figure.update_layout(hovermode="x")


def gap_bars(results: Results) -> go.Figure:
    """Both returns of every group, normalised; as they are where `normalisable` says no."""
    figure, points, intervals = empty(340), [0.0], []
    for reward, name in REWARDS.items():
        found = [_shown(results, group, reward) for group in results.groups]
        values, labels = [estimate.value for estimate in found], [LABELS[group] for group in results.groups]
        figure.add_bar(x=labels, y=values, name=name, error_y=error_bars(found), marker_color=css(_reward_colour(reward)))
        points, intervals = points + values, intervals + found
    figure.update_yaxes(
        title="normalised return" if is_normalised(results) else "return, each in its own unit", range=_range(points, intervals)
    )
    figure.update_traces(hovertemplate="%{y:.3g}")
    return figure.update_layout(barmode="group", bargap=0.35, bargroupgap=0.08)


def is_normalised(results: Results) -> bool:
    """Whether both returns can be shown on the scale from random to the best known."""
    return all(estimate is not None for group in results.normalised.values() for estimate in group.values())


def term_sums(groups: dict[str, Group], term: str) -> go.Figure:
    """What one term added up to over an episode in each group: every run, and their mean with its interval."""
    figure = empty(150)
    found = {name: mean_interval(group.terms[term]) for name, group in groups.items()}
    for name, group in groups.items():
        label, colour = LABELS[name].replace("trained on<br>", "on "), css(COLOURS[name])
        runs = group.terms[term]
        figure.add_scatter(
            x=runs, y=[label] * len(runs), marker={"color": css(COLOURS[name], 0.3), "size": 6}, hoverinfo="skip"
        )
        error = {**error_bars([found[name]]), "color": colour}
        figure.add_scatter(
            x=[found[name].value],
            y=[label],
            error_x=error,
            marker={"color": colour, "size": 10, "symbol": "diamond"},
            name="mean",
        )
    low, high = _range([0.0, *(group.terms[term] for group in groups.values())], list(found.values()))
    figure.update_traces(mode="markers")
    figure.update_xaxes(range=(low, high), zeroline=True, nticks=5)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def empty(height: int) -> go.Figure:
    """A figure in the house's style, so many pixels high, with nothing in it."""
    axis: dict[str, Any] = {
        "gridcolor": PALE,
        "zerolinecolor": css(MUTED),
        "linecolor": css(MUTED),
        "automargin": True,
        "fixedrange": True,
    }
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "font": {"family": FONT, "size": 13, "color": css(INK)},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": False,
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def add_band(
    figure: go.Figure, steps: Array, band: Sequence[Estimate], colour: Colour, ends: tuple[float, float] = (-np.inf, np.inf)
) -> None:
    """The interval of the mean at every checkpoint, as far as the panel reaches; none where it is unknown."""
    low, high = np.array([(estimate.low, estimate.high) for estimate in band]).T
    if np.isfinite([low, high]).all():
        x, y = np.append(steps, steps[::-1]), np.clip(np.append(low, high[::-1]), *ends)
        figure.add_scatter(
            x=x, y=y, fill="toself", fillcolor=css(colour, 0.15), line={"width": 0}, mode="lines", hoverinfo="skip"
        )


def _shown(results: Results, group: str, reward: str) -> Estimate:
    normalised = results.normalised[group][reward]
    return normalised if normalised and is_normalised(results) else mean_interval(getattr(results.groups[group], reward))


def error_bars(found: Sequence[Estimate]) -> dict[str, Any]:
    """Asymmetric error bars; of no length where an interval is unknown."""
    ends = [(e.high - e.value, e.value - e.low) if np.isfinite([e.low, e.high]).all() else (0.0, 0.0) for e in found]
    up, down = zip(*ends, strict=True)
    return {
        "type": "data",
        "symmetric": False,
        "array": up,
        "arrayminus": down,
        "color": css(INK),
        "thickness": 1.5,
        "width": 4,
    }


def _reward_colour(reward: str) -> Colour:
    return {"proxy": PROXY_COLOUR, "true": TRUE_COLOUR}[reward]


def _range(points: Sequence[Any], intervals: Sequence[Estimate] = ()) -> tuple[float, float]:
    """An axis that holds all points, and of the intervals what does not flatten them."""
    values = np.concatenate([np.ravel(point) for point in points])
    least, most = values.min(), values.max()
    overhang = OVERHANG * (most - least)
    low = min([least, *(max(estimate.low, least - overhang) for estimate in intervals)])
    high = max([most, *(min(estimate.high, most + overhang) for estimate in intervals)])
    margin = MARGIN * (high - low) or 1.0
    return float(low - margin), float(high + margin)
