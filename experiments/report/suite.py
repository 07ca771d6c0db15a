"""The suite's page: what every proxy has left of the truth, at a glance and in numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ...agents import runs
from . import figures
from .pages import rendered

PAGE, TEMPLATE = "report.html", "suite.html.j2"
LEFT, RIGHT = -0.6, 1.15  # what the figure shows of the normalised true return
SYMBOLS = {"reference": "diamond-open", "true": "circle", "proxy": "circle"}
LINE, MARGIN = 24, 90  # pixels: of a proxy, and of the axis


def write_page(rows: Sequence[Any], names: Mapping[str, str], folder: Path) -> None:
    """Writes the page of the suite's `rows` into its folder; `names` are those of the groups of agents."""
    shown = [row for row in rows if all(row.normalised.values())]
    content = {
        "rows": rows,
        "names": names,
        "seeds": min(row.seeds for row in rows),
        "left_out": [f"{row.env} ({row.proxy})" for row in rows if row not in shown],
    }
    folder.mkdir(parents=True, exist_ok=True)
    runs.replace_file(folder / PAGE, rendered(TEMPLATE, {"truth": truth_left(shown)}, **content).encode())


def truth_left(rows: Sequence[Any]) -> go.Figure:
    """A line for every proxy: the normalised true return of each group of agents, with its interval."""
    figure = figures.empty(LINE * len(rows) + MARGIN)
    labels = [f"{row.env}, {row.proxy}" for row in rows]
    for name, symbol in SYMBOLS.items():
        found = [row.normalised.get(name) for row in rows]
        values = np.array([estimate.value if estimate else np.nan for estimate in found])
        beyond = values < LEFT
        ends = [(e.high - e.value, e.value - e.low) if e and np.isfinite(e.high) else (0.0, 0.0) for e in found]
        up, down = np.where(beyond, 0.0, np.array(ends).reshape(-1, 2).T)
        figure.add_scatter(
            x=np.clip(values, LEFT, None),
            y=labels,
            mode="markers",
            name=names_of(name),
            marker={
                "color": figures.css(figures.COLOURS[name]),
                "size": 10,
                "symbol": np.where(beyond, "triangle-left", symbol).tolist(),
            },
            error_x={"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.5, "width": 3},
            customdata=values,
            hovertemplate="%{customdata:.3g}",
        )
    figure.add_vline(0.0, line={"color": figures.css(figures.COLOURS["random"]), "width": 1, "dash": "dot"})
    figure.update_xaxes(title="normalised true return", range=(LEFT - 0.05, RIGHT), side="top")
    return figure.update_yaxes(autorange="reversed")


def names_of(group: str) -> str:
    """What a group is called where the pointer is."""
    return figures.LABELS[group].replace("<br>", " ")
