"""The values study's page and tables: whom a learned ranking still fits, and how truthful paid reports are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from ...agents import runs
from ...envs.painting import INK, MUTED, SKY, VERMILLION
from ..commands.output import print_json, print_table
from ..statistics import Estimate, mean_interval
from ..values import AGENT, CUES, STRETCH, TAUGHT, TRUTH, WORLDS, Row, Values
from . import figures
from .pages import rendered

PAGE, TEMPLATE = "report.html", "values.html.j2"
RANKING_HEAD = ("taught by", "tested on", "ranks right", "at most (Bayes)")
REPORTS_HEAD = ("spot checks", "error, levels", "at best, by the cues", "truth against belief", "at best, by the cues")
MEASURES = {"error": "mean error, levels", "truthful": "share that is true"}
TAUGHT_COLOURS = dict(zip(TAUGHT, (SKY, VERMILLION), strict=True))
WHO = {AGENT: (VERMILLION, "solid"), CUES: (INK, "dash"), TRUTH: (MUTED, "dot")}  # colour and dash of each line


def estimate(found: Sequence[Row], measure: str, **which: object) -> Estimate:
    """The mean of a measure over the seeds, with its interval, in the rows that are `which`."""
    return mean_interval(np.array([row[measure] for row in found if which.items() <= row.items()]))


def ranking_cells(found: Sequence[Row]) -> list[tuple[str, ...]]:
    """The accuracy of each model in each world, in the order of `RANKING_HEAD`."""
    pairs = [{"taught": taught, "tested": world} for taught in TAUGHT for world in WORLDS]
    return [(*pair.values(), *(str(estimate(found, measure, **pair)) for measure in ("accuracy", "bayes"))) for pair in pairs]


def reports_cells(found: Sequence[Row], study: Values) -> list[tuple[str, ...]]:
    """Both measures for each share of spot checks, in the order of `REPORTS_HEAD`."""
    return [
        (f"{share:g}", *(str(estimate(found, m, who=who, spot_check=share)) for m in MEASURES for who in (AGENT, CUES)))
        for share in study.spot_checks
    ]


def headline(found: Sequence[Row], study: Values) -> str:
    """What came out, in two sentences."""
    ranked = [estimate(found, "accuracy", taught=TAUGHT[0], tested=world) for world in WORLDS]
    least, most = (estimate(found, "truthful", who=AGENT, spot_check=end(study.spot_checks)) for end in (min, max))
    return (
        f"Taught by {TAUGHT[0]}, a model ranks {ranked[0]} of pairs of such people as the teacher does, {ranked[1]} where "
        f"smiles can be bought, and {ranked[2]} and {ranked[3]} of pairs of reserved people. Where the rater is wrong, {least} "
        f"of reports are true at {min(study.spot_checks):g} spot checks, and {most} at {max(study.spot_checks):g}."
    )


def show(found: Sequence[Row], study: Values, folder: Path) -> None:
    """Prints both tables, and where the page is; or JSON."""
    if study.json:
        print_json(found)
        return
    print_table(RANKING_HEAD, ranking_cells(found))
    print_table(REPORTS_HEAD, reports_cells(found, study))
    print(headline(found, study))
    print(f"Report: {folder / PAGE}")


def write_page(found: Sequence[Row], study: Values, folder: Path) -> None:
    """Writes the page into the study's folder. Raises ProxygapError where it can't be written."""
    drawn = {"ranking": ranking(found)} | {measure: reports(found, measure) for measure in MEASURES}
    content = {
        "study": study,
        "stretch": STRETCH,
        "headline": headline(found, study),
        "taught": TAUGHT_COLOURS,
        "who": WHO,
        "ranking": (RANKING_HEAD, ranking_cells(found)),
        "reports": (REPORTS_HEAD, reports_cells(found, study)),
    }
    runs.replace_file(folder / PAGE, rendered(TEMPLATE, drawn, **content).encode())


def ranking(found: Sequence[Row]) -> go.Figure:
    """The accuracy of each model in each world, with its interval; a line is the most that the answers allow."""
    figure = figures.empty(340).update_layout(scattermode="group", scattergap=0.6)
    places = [world.replace(", ", ",<br>") for world in WORLDS]
    for taught, colour in TAUGHT_COLOURS.items():
        cells = [estimate(found, "accuracy", taught=taught, tested=world) for world in WORLDS]
        value, low, high = np.array([(cell.value, cell.low, cell.high) for cell in cells]).T
        error = {"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low}
        marker = {"color": figures.css(colour), "size": 11}
        figure.add_scatter(x=places, y=value, error_y=error, mode="markers", marker=marker, name=taught, offsetgroup=taught)
    most = [estimate(found, "bayes", taught=TAUGHT[0], tested=world).value for world in WORLDS]
    marker = {"symbol": "line-ew", "size": 60, "line": {"color": figures.css(INK), "width": 2}}
    figure.add_scatter(x=places, y=most, mode="markers", marker=marker, name="Bayes", offsetgroup="")
    figure.add_hline(0.5, line={"color": figures.css(MUTED), "dash": "dot", "width": 1.5})
    figure.update_traces(hovertemplate="%{y:.3f}")
    return figure.update_yaxes(title="share ranked as the teacher does", range=(0.4, 1.0))


def reports(found: Sequence[Row], measure: str) -> go.Figure:
    """A measure of truthfulness against the share of spot checks: the agents with their band, and the closed forms."""
    figure = figures.empty(340)
    for who, (colour, dash) in WHO.items():
        shares = np.array(sorted({row["spot_check"] for row in found if row.get("who") == who}))
        cells = [estimate(found, measure, who=who, spot_check=share) for share in shares.tolist()]
        if who == AGENT:
            figures.add_band(figure, shares, cells, colour)
        line = {"color": figures.css(colour), "width": 2.5, "dash": dash}
        mode = "lines+markers" if who == AGENT else "lines"
        figure.add_scatter(x=shares, y=[cell.value for cell in cells], mode=mode, line=line, name=who)
    figure.update_xaxes(title="share of spot checks")
    return figure.update_yaxes(title=MEASURES[measure], rangemode="tozero")
