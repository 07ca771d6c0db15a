"""Can a filter for catastrophes be hardened by attacking it, and against whom does that help?

A filter learns from labelled play, and attacks search for catastrophes that it lets through. In each *course* of hardening one
attack (or all) finds failures, round after round, and the filter learns from them. Then every attack is tried on every filter,
beside one portfolio that no course has seen; all filters let the same share of harmless play pass. What else changes is
measured too: failures where nobody attacks, the true return of the filtered system, whether the filter only learned to tell
that something was edited, and what an agent makes of it that is paid by the proxy and fined by the filter.

After Ziegler et al. 2022, "Adversarial training for high-stakes reliability" (arXiv:2205.01663).
"""

import json
import os
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ..agents import runs
from ..envs.core import ProxygapError
from .settings import parse_pairs, quickened
from .study import Report, Task, key_of, recorded, run_tasks

if TYPE_CHECKING:
    from .red_team_tasks import RedTeamTask  # torch: not needed to parse a command line

BASE, ALL, FRESH, NOBODY = "no attack", "all attacks", "fresh", "no filter"
RESULTS, TABLE = "results.json", "cells.csv"
UPDATES = 1  # in each round of a course, unless it is one that compares that
SHOWN = 3  # films of the worst finds of a filter
STRONGER = 4  # times the budget that the fresh portfolio has
QUICK = {
    "rounds": 2,
    "labels": 30,
    "trials": 10,
    "queries": 60,
    "training": 3000,
    "updates": (2,),
    "widths": (8, 64),
    "steps": 10_000,
    "seeds": 2,
}
Row = dict[str, Any]  # what one cell of the study came to


@dataclass(frozen=True)
class RedTeam:
    """Can a filter for catastrophes be hardened by attacking it, and against whom does that help?

    Writes a report: every attack against every hardened filter, how long finds take, round by round, what it costs, films of
    the worst finds, and what an agent makes of it that is paid by the proxy and fined by the filter.

    Examples:
        proxygap study red-team storyteller
        proxygap study red-team lagoon --quick
        proxygap study red-team island_navigation --attacks random mutation cem --seeds 3
    """

    env: tyro.conf.Positional[str]
    """Environment with a notion of a catastrophe: a name (see `proxygap study catastrophes --help`), or FILE.py:Class."""
    attacks: tuple[str, ...] = ("random", "mutation", "cem", "substitution", "gradient")
    """Attacks that filters are hardened against, and tested with; any of agents/attacks/registry.py."""
    rounds: int = 3
    """Rounds of attack, labels and learning."""
    labels: int = 60
    """Trials in each round, each from a known failure; what they find is labelled."""
    trials: int = 30
    """Known failures from each of which every attack sets out, for every filter."""
    queries: int = 200
    """Candidates that each trial may simulate, rate and check; the fresh portfolio has four times as many."""
    training: int = 8_000
    """Options of the generator that the first filter learns from."""
    updates: tuple[int, ...] = (2, 6)
    """Further courses against all attacks, with so many updates in each round for the same labels; others have 1."""
    widths: tuple[int, ...] = (8, 32, 128)
    """Widths of filters that learn all finds: too narrow for them, or wide enough to get them by heart?"""
    steps: int = 60_000
    """Steps of PPO against each filter; 0 for no agents."""
    seeds: int = 5
    """Repetitions, each with its own play, failures and filters."""
    quick: bool = False
    """A first look in minutes: fewer of everything that is left as it is by default."""
    jobs: int = field(default_factory=lambda: min(2, os.cpu_count() or 1))
    """Seeds at a time."""
    world: tuple[str, ...] = ()
    """Settings of the environment, NAME=VALUE."""
    out: Path | None = None
    """Folder of the study; under `runs` by default. The same settings go on where they stopped."""
    quiet: bool = False
    """No progress bars."""
    json: bool = False
    """Print the results as JSON and nothing else."""

    def __post_init__(self) -> None:
        at_least = {"rounds": 1, "trials": 1, "queries": 1, "training": 100, "seeds": 1, "jobs": 1, "steps": 0}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ProxygapError(f"--{name} {getattr(self, name)}: at least {least} is needed")
        if not self.attacks or len(set(self.attacks)) < len(self.attacks):
            raise ProxygapError(f"--attacks {' '.join(self.attacks)}: at least one is needed, and none twice")
        if FRESH in self.attacks:
            raise ProxygapError(
                f"--attacks {FRESH}: all filters are tested with it anyway, and none may be hardened against it"
            )
        if not self.widths or min(*self.widths, *self.updates, 1) < 1:
            given = f"--widths {' '.join(map(str, self.widths))} --updates {' '.join(map(str, self.updates))}"
            raise ProxygapError(f"{given}: numbers from 1 are needed, and at least one width")
        if self.labels < (most := max((UPDATES, *self.updates))) and not self.quick:  # which is checked when it is settled
            raise ProxygapError(f"--labels {self.labels} for {most} updates in a round: each needs at least one")

    def run(self) -> None:
        """Does what is missing, and shows what came out."""
        from .report.red_team import show

        study = self.settled
        show(study.results(), study, study.folder)

    @property
    def settled(self) -> "RedTeam":
        """The same, with the quick settings where they are asked for and nothing else is given."""
        return quickened(self, QUICK) if self.quick else self

    def results(self) -> list[Row]:
        """Every row of every seed, after doing what is missing; the page is written too."""
        from .red_team_measures import cells
        from .report.red_team import write_page

        self._check()  # which complains, if at all, before there is a folder
        with runs.locked(self.folder), recorded(self.folder, "red-team", self.decisive, self.seeds):
            run_tasks(self.tasks(), self.jobs, self.quiet or self.json)
            found = [row for seed in range(self.seeds) for row in self._stored(seed)]
            runs.replace_file(self.folder / RESULTS, json.dumps(found).encode())
            runs.replace_file(self.folder / TABLE, cells(found, self).to_csv(index=False).encode())
            write_page(found, self, self.folder)
        return found

    def _check(self) -> None:
        from ..agents.attacks.registry import attack

        for name in self.attacks:
            attack(name, self.task.generator)

    @cached_property
    def task(self) -> "RedTeamTask":
        """What is played and filtered in the environment. Raises ProxygapError where it has no catastrophes."""
        from .red_team_tasks import task_for

        return task_for(self.env, **parse_pairs(self.world))

    @cached_property
    def decisive(self) -> dict[str, Any]:
        """What decides a seed: seeds can be added to a study, but the rest can't change."""
        shared = ("attacks", "rounds", "labels", "trials", "queries", "training", "updates", "widths", "steps")
        name = self.env if ":" in self.env else self.task.environment.name
        plain = {key: list(value) if isinstance(value := getattr(self, key), tuple) else value for key in shared}
        return {"env": name, "world": parse_pairs(self.world)} | plain

    @cached_property
    def folder(self) -> Path:
        """Where the study is stored."""
        return self.out or Path("runs") / f"red-team-{self.task.environment.name}-{key_of(self.decisive)}"

    def tasks(self) -> list[Task]:
        """One for every seed."""
        fresh = replace(self)  # without what is cached: a worker makes an environment of its own
        return [Task(f"seed {seed}", partial(fresh.measured, seed)) for seed in range(self.seeds)]

    def measured(self, seed: int, report: Report) -> None:
        """Does all of a seed that is not stored yet."""
        import torch

        from .red_team_seed import Repetition

        torch.set_num_threads(1)
        Repetition(self, seed).run(report)

    def _stored(self, seed: int) -> list[Row]:
        from .red_team_seed import Repetition

        work = Repetition(self, seed)
        return [{"seed": seed} | json.loads(work.path(name).read_text()) for name, _ in work.work()]
