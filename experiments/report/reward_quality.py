"""The page and the tables of the reward-quality study: every number of every model beside the true return of its agent."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from ...agents import runs
from ...envs.batch import Array
from ...envs.painting import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, VERMILLION, Colour
from ..commands.output import print_json, print_table
from ..reward_quality import RewardQuality
from ..reward_ranks import NUMBERS, OUTCOME, SIGNS, Measured, correlations, estimate, headline, summary
from . import figures
from .pages import rendered

PAGE, TEMPLATE = "report.html", "reward_quality.html.j2"
COLOURS = (INK, SKY, BLUE, PURPLE, ORANGE, GREEN, VERMILLION, MUTED)
SYMBOLS = (("circle", "●"), ("diamond", "◆"), ("square", "■"), ("triangle-up", "▲"))  # plotly's, and the same as text
Mark = tuple[str, Colour, str, str]  # a model's name, colour, symbol, and that as text
GROUPS = {**NUMBERS, "its agent": {OUTCOME: 1, **NUMBERS["its agent"]}}


def show(found: Measured, study: RewardQuality) -> None:
    """Prints what was measured, group by group, how each number ranks the models, and where the page is; or JSON."""
    names = [model.name for model in study.models]
    if study.json:
        print_json(summary(found, names))
        return
    for group, numbers in GROUPS.items():
        rows = [(name, *(text(found[number][row]) for number in numbers)) for row, name in enumerate(names)]
        print_table(("reward model", *numbers), rows, title=f"Of {group}")
    ranks = [(name, text(values)) for name, values in correlations(found).items()]
    print_table(("number", f"rank correlation with the {OUTCOME}"), ranks)
    print(headline(found))
    print(f"Report: {study.folder / PAGE}")


def text(values: Array) -> str:
    """The mean over seeds [S] with its interval, and of how many seeds it is where not of all."""
    mean = estimate(values)
    if mean is None:
        return "n/a"
    return f"{mean}" if mean.n == len(values) else f"{mean} in {mean.n} of {len(values)} seeds"


def write_page(found: Measured, study: RewardQuality) -> None:
    """Writes the page into the study's folder. Raises ProxygapError where it can't be written."""
    marks = marked([model.name for model in study.models])
    ranks = correlations(found)
    known = [name for name in SIGNS if np.isfinite(found[name]).any()]
    content = {
        "study": study,
        "environment": study.play.environment.name,
        "length": study.play.length,
        "headline": headline(found),
        "marks": marks,
        "groups": GROUPS,
        "rows": [
            (mark[0], [text(found[name][row]) for group in GROUPS.values() for name in group]) for row, mark in enumerate(marks)
        ],
        "ranks": {name: text(values) for name, values in ranks.items()},
        "panels": sorted(known, key=lambda name: -np.nan_to_num(ranks[name], nan=-1.0).mean()),
        "less": [name for name, sign in SIGNS.items() if sign < 0],
    }
    drawn = {name: panel(found, name, marks) for name in known}
    runs.replace_file(study.folder / PAGE, rendered(TEMPLATE, drawn, **content).encode())


def marked(names: Sequence[str]) -> list[Mark]:
    """How each model is drawn: the colours in turn, with another symbol every time round."""
    looks = [(colour, *symbol) for symbol in SYMBOLS for colour in COLOURS]
    return [(name, *look) for name, look in zip(names, cycle(looks), strict=False)]


def panel(found: Measured, number: str, marks: Sequence[Mark]) -> go.Figure:
    """One number of every model against the true return of its agent; every point is a seed."""
    figure = figures.empty(260)
    for row, (name, colour, symbol, _) in enumerate(marks):
        figure.add_scatter(
            x=found[number][row],
            y=found[OUTCOME][row],
            mode="markers",
            marker={"color": figures.css(colour, 0.75), "symbol": symbol, "size": 9},
            name=name,
            hovertemplate="%{x:.3g}: %{y:.3g}",
        )
    figure.update_xaxes(title=number, nticks=5)
    return figure.update_yaxes(title=OUTCOME)
