"""The gap study's results for people: a page that needs no network and no server, and tables in a terminal.

How a page is put together is told in `pages`.
"""

import base64
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from rich import box
from rich.console import Console
from rich.table import Table

from ...agents import runs
from ...agents.rollouts import Policy, scripted
from ...agents.training import Trained
from ...envs.core import ProxyEnv
from ..measuring import ANCHORS, Results, Weights, summary
from ..statistics import Estimate, mean_interval
from ..verdicts import FEWEST, Survival
from . import figures
from .clips import film
from .pages import bounds_text, number_text, rendered, spaced, typed

PAGE, TEMPLATE, CLIPS = "report.html", "gap.html.j2", "clips"
EPISODE = 2**56  # the stream of chance of the episode that all clips show; no evaluation uses it
NAMES = {"random": "random", "reference": "reference", "true": "trained on the truth", "proxy": "trained on the proxy"}


@dataclass(frozen=True)
class Clip:
    """A film of one policy, and whose it is."""

    name: str
    caption: str
    webp: bytes

    @property
    def address(self) -> str:
        """The film as a data: address, for a page that loads nothing."""
        return f"data:image/webp;base64,{base64.b64encode(self.webp).decode()}"


def write_page(
    results: Results, env: ProxyEnv[Any], proxy: Weights, trained: Mapping[str, Sequence[Trained]], folder: Path
) -> None:
    """Writes `report.html`, a page in one file, and its clips as files beside it, into the study's folder.

    `trained` holds the agents of each arm, "proxy" and "true". Raises ProxygapError where the folder can't be written.
    """
    films = [Clip(name, caption, film(env, policy, proxy, EPISODE)) for name, caption, policy in _filmed(results, env, trained)]
    (folder / CLIPS).mkdir(exist_ok=True)
    for clip in films:
        runs.replace_file(folder / CLIPS / f"{clip.name}.webp", clip.webp)
    manifest = runs.manifest(folder)
    page = rendered(
        TEMPLATE,
        _figures(results),
        results=results,
        specification=env.proxies.get(results.proxy),
        headline=headline(results),
        rows=returns_rows(results),
        clips=films,
        normalised=figures.is_normalised(results),
        manifest=manifest,
        hyperparameters=trained["proxy"][0].settings.hyperparameters,
        command=command(manifest["settings"]),
        names=NAMES,
        fewest=FEWEST,
        anchors=ANCHORS,
        median=_median,
    )
    runs.replace_file(folder / PAGE, page.encode())


def show(results: Results, folder: Path, as_json: bool) -> None:
    """Prints what came out, and where the page is; or the results as JSON and nothing else."""
    if as_json:
        print(json.dumps(summary(results)))
        return
    console = Console(markup=False, highlight=False)
    console.print(_returns_table(results))
    console.print(f"misspecification cost: {results.cost}")
    console.print(f"proxy gap: {results.gap or 'not normalisable'}; share of seeds that gamed: {results.gaming_share}")
    for verdict in results.verdicts:
        console.print(f"- {verdict}")
    if results.exact:
        console.print(f"exact optima: {results.exact.verdict}")
    print(f"Report: {folder / PAGE}")


@dataclass(frozen=True)
class Row:
    """A return or a term, and its mean in every group."""

    name: str
    cells: list[Estimate]


def returns_rows(results: Results) -> list[Row]:
    """What every group earned: both returns, then each term."""
    groups = results.groups.values()
    returns = [
        Row(label, [mean_interval(getattr(group, reward)) for group in groups]) for reward, label in figures.REWARDS.items()
    ]
    return returns + [
        Row(spaced(term), [mean_interval(group.terms[term]) for group in groups]) for term in results.groups["proxy"].terms
    ]


def headline(results: Results) -> str:
    """The verdict in a few words: what holds, or that the proxy was not gamed."""
    holding = [verdict for verdict in results.verdicts if verdict.holds]
    words = " and ".join(verdict.name for verdict in holding) or "not gamed"
    return f"{words} (indicative)" if any(verdict.indicative for verdict in holding or results.verdicts[:1]) else words


def command(settings: Mapping[str, Any]) -> str:
    """What to type to get the study with these settings, those of its manifest, again."""
    proxy, overrides = settings["proxy"], dict(settings["overrides"])
    own = ", ".join(f"{term}={weight}" for term, weight in proxy.items()) if isinstance(proxy, Mapping) else None
    paid = ["--reward", own] if own else ["--proxy", proxy]
    words = ["proxygap", "gap", settings["env"], *paid, "--algo", settings["algo"]]
    words += ["--steps", str(overrides.pop("steps"))] if "steps" in overrides else []
    for option in ("seeds", "episodes"):
        words += [f"--{option}", str(settings[option])]
    for option, chosen in (("--world", settings["world"]), ("--learner", overrides)):
        words += [option, *(f"{name}={typed(value)}" for name, value in chosen.items())] if chosen else []
    return shlex.join(words)


def _filmed(
    results: Results, env: ProxyEnv[Any], trained: Mapping[str, Sequence[Trained]]
) -> Iterator[tuple[str, str, Policy]]:
    """Name, caption and policy of each clip: the reference, and each arm's run with the median of what that arm was paid."""
    if results.reference:
        yield "reference", f"the script “{results.reference}”", scripted(env, results.reference)
    for arm in ("proxy", "true"):
        returns = getattr(results.groups[arm], arm)
        run = trained[arm][returns.argsort()[(len(returns) - 1) // 2]]
        yield arm, f"seed {run.settings.seed}, whose {figures.REWARDS[arm]} is the median one", run.policy()


def _figures(results: Results) -> dict[str, go.Figure]:
    """Every figure of the page, by the id that the template knows it by."""
    terms = results.groups["proxy"].terms
    curves = {f"curves-{reward}": figures.learning_curves(results, reward) for reward in figures.REWARDS}
    sums = {f"term-{i}": figures.term_sums(results.groups, term) for i, term in enumerate(terms)}
    return curves | {"gap": figures.gap_bars(results)} | sums


def _median(survival: Survival, first: float) -> str:
    """The median onset of runs whose first checkpoint was at step `first`."""
    median = survival.median
    if np.isinf(median.value):
        return "not within the runs"
    return f"{'from the start' if median.value <= first else f'step {number_text(median.value)}'} {bounds_text(median)}"


def _returns_table(results: Results) -> Table:
    """A row for each return and term, a column for each group."""
    table = Table(
        title=f"{results.env}, proxy: {results.proxy} (mean and 95 % interval over {results.seeds} seeds)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("summed over an episode")
    for name in results.groups:
        table.add_column(NAMES[name], justify="right")
    for row in returns_rows(results):
        cells = (f"{number_text(cell.value)}\n{bounds_text(cell)}" for cell in row.cells)
        table.add_row(row.name, *cells, end_section=row.name == "true return")
    return table
