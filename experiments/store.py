"""Runs on disk: finding them, reading all of them as one table, and deleting them.

A run is a folder with a manifest, as `agents.runs` writes it: either one training run, or a study that holds many.
"""

import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from ..agents import runs
from ..envs.core import ProxygapError
from .settings import weights_text

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path("runs")
FINAL = "final.npz"  # a study's last evaluation of a training run, in fresh episodes
TERM = "term_"  # before a term's name, in names of columns
COLUMNS = ("study", "run", "env", "proxy", "algo", "arm", "seed", "steps", "proxy_return", "true_return", "final")


@dataclass(frozen=True)
class Run:
    """A training run's folder, or a study's."""

    folder: Path
    name: str  # the folder's path below the root, with slashes
    manifest: Mapping[str, Any]

    @property
    def study(self) -> str | None:
        """Which study this is, or None for a single training run."""
        return self.manifest.get("study")

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the run."""
        return self.manifest["settings"]

    @cached_property
    def status(self) -> str:
        """ "running", "finished", "stopped" or "failed"; "killed" if it says that it runs, and no process does."""
        status = self.manifest.get("status", "unknown")
        return "killed" if status == "running" and not in_use(self.folder) else status


def find_runs(root: str | PathLike[str] = ROOT) -> list[Run]:
    """Every run and study below `root`, by name. One whose manifest is damaged is left out, with a warning."""
    root = Path(root)
    if not root.is_dir():
        raise ProxygapError(f"no folder {str(root)!r} here: `proxygap train` or `proxygap gap` makes it, or name another")
    return list(_below(root, root))


def _below(folder: Path, root: Path) -> Iterator[Run]:
    """The run in `folder`, and all in the folders inside; a training run holds no others."""
    if (folder / runs.MANIFEST).is_file():
        try:
            yield (run := Run(folder, folder.relative_to(root).as_posix(), runs.manifest(folder)))
        except ProxygapError as error:
            warnings.warn(f"left out: {error}", stacklevel=3)
            return
        if not run.study:
            return
    for inside in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from _below(inside, root)


def load_runs(root: str | PathLike[str] = ROOT) -> "pd.DataFrame":
    """Every evaluation of every training run below `root`, one a row: what it was (columns `COLUMNS`) and what it earned.

    `study` names the kind of study that the run belongs to, "train" if none; `run` is its folder below `root`, `arm` what it
    was paid by ("proxy" or "true"). Returns and terms (`term_<name>`) are means over the evaluation's episodes, undiscounted.
    `final` marks one row of each finished run: a study's own evaluation in fresh episodes where there is one, else the last.
    """
    import pandas as pd  # it takes a second, which command lines that need only the rows do without

    rows = evaluations(root)
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])))


def evaluations(root: str | PathLike[str] = ROOT) -> list[dict[str, Any]]:
    """The rows of `load_runs`: run after run, and each run's in the order in which they were made."""
    found = find_runs(root)
    studies = {run.folder: run.study for run in found if run.study}
    return [row for run in found if not run.study for row in records(run, studies)]


def records(run: Run, studies: Mapping[Path, str | None]) -> Iterator[dict[str, Any]]:
    """A training run's rows of that table."""
    settings = run.settings
    proxy = settings.get("proxy")
    about = {
        "study": next((studies[folder] for folder in run.folder.parents if folder in studies), "train"),
        "run": run.name,
        "env": settings.get("env"),
        "proxy": proxy if isinstance(proxy, str) else weights_text(proxy or {}),
        "algo": settings.get("algo"),
        "arm": settings.get("reward"),
        "seed": settings.get("seed"),
    }
    evaluations, last = runs.metrics(run.folder), _final(run.folder)
    finished = run.manifest.get("status") == "finished"
    for count, row in enumerate(evaluations, 1):
        final = finished and last is None and count == len(evaluations)
        yield about | _earned(row["steps"], row["proxy"], row["true"], row["terms"], final)
    if last and finished:
        yield about | _earned(evaluations[-1]["steps"], last["proxy"], last["true"], last["terms"], True)


def _final(folder: Path) -> dict[str, Any] | None:
    if not (folder / FINAL).is_file():
        return None
    try:
        with np.load(folder / FINAL, allow_pickle=False) as stored:
            terms = dict(zip(stored["names"].tolist(), stored["terms"].mean(0).tolist(), strict=True))
            return {"proxy": stored["proxy"], "true": stored["true"], "terms": terms}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise ProxygapError(f"{folder / FINAL} is damaged ({error}): delete it, and start the study again") from error


def _earned(steps: int, proxy: Any, true: Any, terms: Mapping[str, float], final: bool) -> dict[str, Any]:
    returns = {"steps": steps, "proxy_return": float(np.mean(proxy)), "true_return": float(np.mean(true)), "final": final}
    return returns | {TERM + name: value for name, value in terms.items()}


def in_use(folder: Path) -> bool:
    """Whether a process is at work there."""
    try:
        with runs.locked(folder):
            return False
    except ProxygapError:
        return True


def delete_run(folder: Path) -> None:
    """Deletes a run or a study with all that it holds. Raises ProxygapError if it is none, is in use, or can't be deleted."""
    runs.manifest(folder)
    if folder.is_symlink():
        raise ProxygapError(f"{folder} is a link: name the folder that it leads to")
    for run in find_runs(folder):
        with runs.locked(run.folder):
            pass  # nobody is at work there
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ProxygapError(f"can't delete all of {folder} ({error})") from error
