"""The overoptimisation study's page and table: what best-of-n makes of each learned reward, and what is left of the gold."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from ...agents import runs
from ...envs.batch import Array
from ...envs.painting import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, Colour
from ..commands.output import print_json, print_table
from ..fits import peak_interval
from ..gold_curves import Curve, Variant, summary
from ..overoptimization import Overoptimization
from ..statistics import mean_interval
from . import figures
from .pages import rendered

PAGE, TEMPLATE = "report.html", "overoptimization.html.j2"
PALETTE = (SKY, BLUE, PURPLE, ORANGE, GREEN, VERMILLION)
HEAD = (
    "reward model",
    "accuracy",
    "of at most",
    "gold at first",
    "best n or steps",
    "rises by",
    "falls by",
    "turned",
    "a",
    "b",
    "R2",
    "peak",
)
TOLD = 8  # columns that a terminal shows


def show(found: Sequence[Curve], study: Overoptimization, folder: Path) -> None:
    """Prints a line for every variant, and where the page is; or JSON."""
    if study.json:
        print_json([summary(curve) for curve in found])
        return
    print_table(HEAD[:TOLD], [cells(curve)[:TOLD] for curve in found])
    print(headline(found))
    print(f"Report: {folder / PAGE}")


def cells(curve: Curve) -> tuple[str, ...]:
    """A variant in texts, in the order of `HEAD`: means over seeds with their intervals."""
    numbers = [curve.accuracy, curve.ceiling, curve.gold[:, 0]]
    fitted = [np.array([getattr(fit, name) for fit in curve.fits]) for name in ("a", "b", "r_squared")]
    first, last = ([_mean(values) for values in columns] for columns in (numbers, fitted))
    turned = f"{curve.turned} of {len(curve.gold)}"
    changes = (f"{curve.peak:,}", str(curve.rise), str(curve.drop), turned)
    return (str(curve), *first, *changes, *last, str(peak_interval(curve.fits)))


def _mean(values: Array) -> str:
    """Of [S] seeds with its interval, or how many of them have no such number."""
    unknown = int((~np.isfinite(values)).sum())
    return f"none in {unknown} of {len(values)} seeds" if unknown else str(mean_interval(values))


def headline(found: Sequence[Curve]) -> str:
    """What came out, in a sentence."""
    over = [str(curve) for curve in found if curve.overoptimised]
    if not over:
        most = max(found, key=lambda curve: curve.turned)
        turned = f"; it does so in {most.turned} of {len(most.gold)} seeds by {most}" if most.turned else ""
        return (
            "No model is shown to be overoptimised: gold does not surely rise and then fall while the learned return "
            f"rises{turned}."
        )
    return f"Overoptimised, gold rising and then falling while the learned return rises: {'; '.join(over)}."


def write_page(found: Sequence[Curve], study: Overoptimization, folder: Path) -> None:
    """Writes the page into the study's folder. Raises ProxygapError where it can't be written."""
    panels = {
        f"{name}-{way}": curves
        for way in ("best_of", "learning")
        for name, curves in _panels([curve for curve in found if curve.optimiser == way])
    }
    drawn = {f"{reward}-{name}": returns(curves, reward) for name, curves in panels.items() for reward in ("gold", "learned")}
    content = {
        "study": study,
        "environment": study.environment.name,
        "head": HEAD,
        "rows": [cells(curve) for curve in found],
        "headline": headline(found),
        "panels": {name: legend(curves) for name, curves in panels.items()},
        "largest": int(found[0].sizes[-1]),
    }
    runs.replace_file(folder / PAGE, rendered(TEMPLATE, drawn, **content).encode())


def _panels(found: Sequence[Curve]) -> list[tuple[str, list[Curve]]]:
    """The curves that differ in one thing alone, by its name; those that differ in nothing are left out."""
    if not found:
        return []
    middle = sorted({curve.variant.comparisons for curve in found if curve.variant.members == 1})
    shared = middle[len(middle) // 2]
    single = [curve for curve in found if curve.variant.members == 1]
    by_data = [curve for curve in single if curve.variant.width == 32]
    by_width = sorted((c for c in single if c.variant.comparisons == shared), key=lambda curve: curve.variant.width)
    plain = [curve for curve in by_data if curve.variant.comparisons == shared]
    by_members = plain + [curve for curve in found if curve.variant.members > 1]
    named = [("comparisons", by_data), ("width", by_width), ("ensemble", by_members)]
    return [(name, curves) for name, curves in named if len(curves) > 1 or name == "comparisons"]


def legend(found: Sequence[Curve]) -> list[tuple[str, Colour]]:
    """What each line of a panel is called, and its colour."""
    names = [_short(curve.variant, found) for curve in found]
    return list(zip(names, cycle(PALETTE), strict=False))


def _short(variant: Variant, found: Sequence[Curve]) -> str:
    """What tells a variant from the others of its panel."""
    if len({curve.variant.members for curve in found}) > 1:
        return "one model" if variant.members == 1 else f"{variant.members} members, {variant.aggregate}"
    if len({curve.variant.width for curve in found}) > 1:
        return f"width {variant.width}"
    return f"{variant.comparisons:,} comparisons"


def returns(found: Sequence[Curve], reward: str) -> go.Figure:
    """The "gold" or the "learned" return against the square root of the divergence, means over seeds; fits are dotted."""
    figure = figures.empty(340)
    for curve, (name, colour) in zip(found, legend(found), strict=True):
        values = getattr(curve, reward)
        distance = curve.distances.mean(0)
        figures.add_band(figure, distance, [mean_interval(column) for column in values.T], colour)
        figure.add_scatter(
            x=distance,
            y=values.mean(0),
            mode="lines+markers",
            line={"color": figures.css(colour), "width": 2.5},
            marker={"size": 5},
            name=name,
            customdata=curve.sizes,
            hovertemplate=("n" if curve.optimiser == "best_of" else "steps") + " = %{customdata}: %{y:.4g}",
        )
        if reward == "gold":
            _add_fit(figure, curve, colour)
    titles = {"gold": "true return", "learned": "learned return, standard deviations"}
    figure.update_xaxes(title="√KL, nats", rangemode="tozero")
    return figure.update_yaxes(title=titles[reward])


def _add_fit(figure: go.Figure, curve: Curve, colour: Colour) -> None:
    distance = np.linspace(0, curve.distances.mean(0).max(), 61)[1:]
    fit = np.mean([fit(distance) for fit in curve.fits], 0) + curve.gold[:, 0].mean()
    line = {"color": figures.css(colour), "width": 1.5, "dash": "dot"}
    figure.add_scatter(x=distance, y=fit, mode="lines", line=line, hoverinfo="skip")
