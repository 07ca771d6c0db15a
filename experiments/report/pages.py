"""How a page is made: one file that needs no network and no server.

Its Content-Security-Policy lets it load nothing, and run nothing but the two scripts whose hashes it names: the name of a run
or an environment can't smuggle one in.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ...envs.meters import number
from ..statistics import Estimate, mean_interval
from . import figures


def rendered(template: str, drawn: Mapping[str, go.Figure], **content: Any) -> str:
    """The page that `template` makes of `content`, with the figures that it knows by their names."""
    templates = Environment(
        loader=PackageLoader("proxygap.experiments.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "mean": mean_interval,
        "css": figures.css,
        "number": number_text,
        "typed": typed,
        "bounds": bounds_text,
        "sentence": _sentence,
        "hash": _hash,
        "spaced": spaced,
    }
    templates.globals["colours"] = figures.COLOURS
    return templates.get_template(template).render(
        figures={name: Markup(str(figure.to_json()).replace("<", "\\u003c")) for name, figure in drawn.items()},
        plotly=Markup(get_plotlyjs()),
        **content,
    )


def number_text(value: float) -> str:
    """A number for people; an infinite one is unknown."""
    return "unknown" if np.isinf(value) else number(value + 0.0)


def bounds_text(estimate: Estimate) -> str:
    """The interval in brackets; nothing where neither bound is known."""
    known = np.isfinite([estimate.low, estimate.high]).any()
    return f"[{number_text(estimate.low)}, {number_text(estimate.high)}]" if known else ""


def spaced(term: str) -> str:
    """A term's name in words."""
    return term.replace("_", " ")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def typed(value: Any) -> str:
    """A setting as it is typed on a command line."""
    return value if isinstance(value, str) else json.dumps(value)
