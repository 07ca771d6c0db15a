"""The page and tables of the study of hardening's choices: one table for each question, and all arms in one figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from ...agents import runs
from ...envs.painting import BLUE, INK, ORANGE, Colour
from ..commands.output import print_json, print_table
from ..hardening_arms import FIRST, LEFT_OUT, PLAIN, RECIPE, Question
from ..hardening_choices import HardeningChoices, Row
from ..hardening_measures import (
    GENERATORS,
    LONG,
    fresh_gain,
    gain,
    generator_gain,
    generator_numbers,
    numbers,
    own_gain,
)
from ..statistics import Estimate, mean_interval
from . import figures
from .pages import rendered

PAGE, TEMPLATE = "report.html", "hardening_choices.html.j2"
HEAD = (
    "arm",
    "finds learned",
    "its own attacks",
    "every attack",
    "fresh portfolio",
    "fresh, against {}",
    "failures",
    "true return",
    "others accepted",
    "edited refused",
)
LONGER_HEAD = "10 times the queries"
GENERATOR_HEAD = (
    "generator, filter",
    "failures unfiltered",
    "failures",
    "true return",
    "others accepted",
    "options drawn",
    "its own way past the filter",
)
FAMILIES = {RECIPE: ORANGE, PLAIN: BLUE}  # by what an arm is a change of


def rows_of(found: Sequence[Row], study: HardeningChoices, question: Question) -> list[tuple[str, ...]]:
    """What the arms of a question come to, in the order of `head_of`; the first filter comes first."""
    return [_row(found, study, question, arm) for arm in (FIRST, *question.compared)]


def head_of(question: Question) -> tuple[str, ...]:
    """The head of a question's table."""
    head = tuple(name.format(question.against) for name in HEAD)
    return (*head, LONGER_HEAD) if question.name == "budget" else head


def _row(found: Sequence[Row], study: HardeningChoices, question: Question, arm: str) -> tuple[str, ...]:
    gains = ["", "", "", ""]
    if arm != FIRST:
        other = "" if arm == question.against else str(fresh_gain(found, study, arm, question.against))
        every = gain(found, study, arm, study.attacks)
        gains = [str(own_gain(found, study, arm)), str(every), str(fresh_gain(found, study, arm)), other]
    fares = [str(mean_interval(numbers(found, arm, name))) for name in ("failure", "true", "acceptance", "refused")]
    row = (arm, f"{numbers(found, arm, 'learned').mean():.0f}", *gains, *fares)
    if question.name != "budget":
        return row
    return (*row, "" if arm == FIRST else str(gain(found, study, arm, [LONG])))


def generator_rows(found: Sequence[Row], study: HardeningChoices) -> list[tuple[str, ...]]:
    """How generators and filters fare together, in the order of `GENERATOR_HEAD`."""
    names = ("unfiltered", "failure", "true", "acceptance", "draws")
    return [
        (
            system,
            *(str(mean_interval(generator_numbers(found, system, name))) for name in names),
            "" if system == GENERATORS[0] else str(generator_gain(found, study, system)),
        )
        for system in GENERATORS
    ]


def headline(found: Sequence[Row], study: HardeningChoices) -> str:
    """What came out, in a few sentences."""
    recipe, plain = (fresh_gain(found, study, arm) for arm in (RECIPE, PLAIN))
    blocks = _verdict(found, study, _blocks(study), RECIPE, "blocks left out")
    choices = _verdict(found, study, _choices(study), PLAIN, "choices beside the plain way")
    return (
        f"A fresh portfolio needs {_times(recipe)} times as many queries against the full recipe's filter as against the first "
        f"one, {_times(plain)} against that of the plain way. {blocks} {choices} {_of_generators(found)}"
    )


def _times(log2: Estimate) -> str:
    low, high = (f"{2.0**bound:.3g}" if np.isfinite(bound) else "unknown" for bound in (log2.low, log2.high))
    return f"{2.0**log2.value:.3g} [{low}, {high}]"


def _blocks(study: HardeningChoices) -> list[str]:
    return [f"without {block}" for block in LEFT_OUT if f"without {block}" in study.arms]


def _choices(study: HardeningChoices) -> list[str]:
    return [arm for question in study.questions[1:] for arm in question.compared[1:]]


def _verdict(found: Sequence[Row], study: HardeningChoices, arms: Sequence[str], against: str, what: str) -> str:
    """Which of some arms do better or worse than another against the fresh portfolio, with intervals clear of 0."""
    apart = {arm: fresh_gain(found, study, arm, against) for arm in arms}
    sides = {
        "it needs fewer queries": [arm for arm, found in apart.items() if found.high < 0],
        "it needs more": [arm for arm, found in apart.items() if found.low > 0],
    }
    told = [f"{words} for {', '.join(side)}" for words, side in sides.items() if side]
    return f"Of {len(arms)} {what}, {'; '.join(told) or 'none makes a difference that is clear of 0'}."


def _of_generators(found: Sequence[Row]) -> str:
    before, filtered, taught = (mean_interval(generator_numbers(found, name, "failure")) for name in GENERATORS[:3])
    return (
        f"Of the options of the generator's clone behind the first filter {before} fail; {taught} once it learned from a "
        f"careful player at as many labels, {filtered} if these harden the filter instead."
    )


def arms_figure(found: Sequence[Row], study: HardeningChoices) -> go.Figure:
    """log2 of times as many queries of the fresh portfolio, for every arm: the points and their intervals, sorted."""
    gains = {arm: fresh_gain(found, study, arm) for arm in study.arms}
    order = sorted(gains, key=lambda arm: gains[arm].value)
    figure = figures.empty(70 + 26 * len(order))
    for arm in order:
        colour = figures.css(colour_of(study, arm))
        figure.add_scatter(
            x=[gains[arm].value],
            y=[arm],
            error_x={**figures.error_bars([_drawable(gains[arm])]), "color": colour},
            mode="markers",
            marker={"size": 10, "color": colour, "symbol": "diamond" if arm in FAMILIES else "circle"},
            hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        )
    figure.add_vline(0, line={"color": figures.css(INK), "dash": "dot", "width": 1.5})
    figure.update_xaxes(title="log2 of times as many queries as against the first filter")
    return figure.update_yaxes(showgrid=False, categoryorder="array", categoryarray=order)


def _drawable(estimate: Estimate) -> Estimate:
    """An interval without an upper bound is drawn as far as the lower one is away."""
    if np.isinf(estimate.high) and np.isfinite(estimate.low):
        return Estimate(estimate.value, estimate.low, 2 * estimate.value - estimate.low, estimate.n)
    return estimate


def colour_of(study: HardeningChoices, arm: str) -> Colour:
    """That of the recipe or of the plain way, as an arm is a change of either."""
    return FAMILIES[RECIPE if arm in study.questions[0].arms and arm != PLAIN else PLAIN]


def show(found: Sequence[Row], study: HardeningChoices, folder: Path) -> None:
    """Prints the tables, and where the page is; or JSON."""
    if study.json:
        print_json(found)
        return
    for question in study.questions:
        print_table(head_of(question), rows_of(found, study, question), title=question.title)
    print_table(GENERATOR_HEAD, generator_rows(found, study), title="harden the generator instead?")
    print(headline(found, study))
    print(f"Report: {folder / PAGE}")


def write_page(found: Sequence[Row], study: HardeningChoices, folder: Path) -> None:
    """Writes the page into the study's folder. Raises ProxygapError where it can't be written."""
    content = {
        "study": study,
        "environment": study.task.environment.name,
        "length": study.task.length,
        "acceptance": study.task.acceptance,
        "headline": headline(found, study),
        "questions": [(question, head_of(question), rows_of(found, study, question)) for question in study.questions],
        "generators": (GENERATOR_HEAD, generator_rows(found, study)),
        "families": [(f"{name}, and what differs from it in one choice", colour) for name, colour in FAMILIES.items()],
        "demonstrations": np.mean([row["demonstrations"] for row in found if "generators" in row]),
        "arms": len(study.arms),
    }
    page = rendered(TEMPLATE, {"arms": arms_figure(found, study)}, **content)
    runs.replace_file(folder / PAGE, page.encode())
