"""`proxygap runs`: what was trained, side by side, and away with it."""

import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Literal

import tyro
from rich.prompt import Confirm

from ...agents.runs import MANIFEST, manifest
from ...envs.core import ProxygapError
from ..store import ROOT, TERM, Run, delete_run, evaluations, find_runs
from .output import print_json, print_table

Positional = tyro.conf.Positional
RETURNS = ("proxy_return", "true_return")
NUMBERS = ("runs", "steps", "proxy return", "true return")  # columns
COMPARED = ("settings", "versions", "platform", "machine", "torch_threads")  # of manifests: what may make results differ


@dataclass(frozen=True)
class Runs:
    """Lists training runs and studies, compares some (what they earn, and in which settings they differ), or deletes some.

    A run is named by its folder, or by its folder's path below the root. Of a study, each kind of agent is one line. Returns
    are means over runs of the last evaluation.

    Examples:
        proxygap runs
        proxygap runs compare train-Lagoon-turbos-ppo-seed0 train-Lagoon-true-ppo-seed0
        proxygap runs delete runs/train-Lagoon-true-ppo-seed0 --yes
    """

    action: Annotated[Positional[Literal["list", "compare", "delete"]], tyro.conf.arg(metavar="list|compare|delete")] = "list"
    """What to do."""
    names: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """The runs to compare or delete; all are listed by default."""
    root: Path = ROOT
    """The folder that holds the runs."""
    yes: bool = False
    """Delete without asking."""
    json: bool = False
    """Print JSON and nothing else."""

    def run(self) -> None:
        """Does it."""
        if self.action != "list" and len(self.names) < (least := 1 + (self.action == "compare")):
            raise ProxygapError(f"name at least {least} to {self.action}; `proxygap runs` lists what there is")
        folders = [find(name, self.root) for name in self.names]
        {"list": self._list, "compare": self._compare, "delete": self._delete}[self.action](folders)

    def _list(self, folders: Sequence[Path]) -> None:
        rows = [line for folder in folders or outermost(self.root) for line in lines(folder)]
        if self.json:
            print_json(rows)
        elif rows:
            print_table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows], NUMBERS)
        else:
            print(f"There are no runs in {self.root}.")

    def _compare(self, folders: Sequence[Path]) -> None:
        rows = [line for folder in folders for line in lines(folder, terms=True)]
        differing = differences({str(folder): manifest(folder) for folder in folders})
        if self.json:
            print_json({"runs": rows, "differences": differing})
            return
        keys = dict.fromkeys(key for row in rows for key in row if key != "run")
        named = [[key.removeprefix(TERM).replace("_", " "), *(row.get(key) for row in rows)] for key in keys]
        print_table(["", *(row["run"] for row in rows)], named)
        settings = [
            [key, *("" if value is None else str(value) for value in values.values())] for key, values in differing.items()
        ]
        print_table(["what differs", *map(str, folders)], settings or [["nothing that is stored"]])

    def _delete(self, folders: Sequence[Path]) -> None:
        named = ", ".join(map(str, folders))
        if not self.yes and not sys.stdin.isatty():
            raise ProxygapError(f"there is nobody to ask whether to delete {named}: say --yes")
        if self.yes or Confirm.ask(f"Delete {named} and all that is in there?"):
            for folder in folders:
                delete_run(folder)
                print(f"Deleted {folder}")


def find(name: str, root: Path) -> Path:
    """The folder of the run of that name. Raises ProxygapError with the nearest name if there is none."""
    for folder in (Path(name), root / name):
        if (folder / MANIFEST).is_file():
            return folder
    near = difflib.get_close_matches(name, [run.name for run in find_runs(root)] if root.is_dir() else [], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ProxygapError(f"no run {name!r}, neither here nor in {root}: {hint}`proxygap runs` lists what there is")


def outermost(root: Path) -> list[Path]:
    """The folders of all studies, and of the training runs that belong to none."""
    found = find_runs(root)
    studies = {run.folder for run in found if run.study}
    return [run.folder for run in found if not studies & set(run.folder.parents)]


def lines(folder: Path, terms: bool = False) -> Iterator[dict[str, Any]]:
    """What is listed of a run: a line for each kind of agent in it, with every term if they are asked for."""
    run = next(run for run in find_runs(folder) if run.folder == folder)
    about = {"run": str(folder), "kind": run.study or "train", "env": str(run.settings.get("env")), "status": run.status}
    latest = {row["run"]: row for row in evaluations(folder)}
    for arm in sorted({row["arm"] for row in latest.values()}):
        group = [row for row in latest.values() if row["arm"] == arm]
        row = about | {name: group[0][name] for name in ("env", "proxy", "algo")} | {"trained_on": arm, "runs": len(group)}
        earned = [*RETURNS, *(name for name in group[0] if terms and name.startswith(TERM))]
        yield row | {name: mean([row[name] for row in group]) for name in ("steps", *earned)}
    if not latest:
        yield _unmeasured(run, about)


def _unmeasured(run: Run, about: dict[str, Any]) -> dict[str, Any]:
    """The line of a run that has not been evaluated yet."""
    known = {
        "proxy": str(run.settings.get("proxy")),
        "algo": run.settings.get("algo"),
        "trained_on": run.settings.get("reward"),
    }
    return about | known | {"runs": 0, "steps": 0} | dict.fromkeys(RETURNS)


def differences(manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Setting -> run -> value, of all settings in which the runs differ."""
    flat = {name: dict(_flat({key: found.get(key) for key in COMPARED})) for name, found in manifests.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    found = {key: {name: values.get(key) for name, values in flat.items()} for key in keys}
    return {
        key: values for key, values in found.items() if any(value != next(iter(values.values())) for value in values.values())
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
