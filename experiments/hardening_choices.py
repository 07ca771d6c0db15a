"""What makes hardening a filter work: which finds, how many updates, which training, or a better generator instead?

In each *arm* of the study a filter goes through rounds of attack, labels and learning, and arms differ in one choice from a
full recipe or from a plain way (`hardening_arms`). All may have the same number of finds labelled and let the same share of
the same harmless play pass; all are tried by the same attacks from the same failures. A second way to spend labels is to harden
the generator: it learns from a careful player what to do where attacks found failures, and the filter stays as it was.

After Ziegler et al. 2022, "Adversarial training for high-stakes reliability" (arXiv:2205.01663), and the questions it left.
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
from .hardening_arms import Arm, Question, every_arm, questions
from .settings import parse_pairs, quickened
from .study import Report, Task, key_of, recorded, run_tasks

if TYPE_CHECKING:
    from .red_team_tasks import RedTeamTask  # torch: not needed to parse a command line

RESULTS, TABLE = "results.json", "cells.csv"
LONGER = 10  # times the queries, in the test of what was learned from weak attacks
HALVES = ("recipe", "choices")  # of a seed's work, so that two processes share it
QUICK = {"rounds": 2, "labels": 20, "trials": 8, "queries": 60, "training": 1500, "widths": (16, 64), "seeds": 2}
Row = dict[str, Any]  # what one arm came to in one seed


@dataclass(frozen=True)
class HardeningChoices:
    """What makes hardening a filter work: which finds, how many updates, which training, or a better generator instead?

    Writes a report: a recipe without each of its blocks, choices beside a plain way of hardening, and the generator hardened
    instead of the filter, all at the same labels and the same acceptance of harmless play.

    Examples:
        proxygap study hardening storyteller
        proxygap study hardening lagoon --quick
        proxygap study hardening island_navigation --updates 3 10 --seeds 3
    """

    env: tyro.conf.Positional[str]
    """Environment with a notion of a catastrophe: a name (see `proxygap study catastrophes --help`), or FILE.py:Class."""
    attacks: tuple[str, ...] = ("mutation", "cem", "substitution")
    """Attacks that find failures, any of agents/attacks/registry.py; the plain way uses the first alone."""
    rounds: int = 3
    """Rounds of attack, labels and learning."""
    labels: int = 60
    """Trials in each round, each from a known failure; what they find is labelled."""
    trials: int = 20
    """Other known failures, from each of which every attack sets out to test every filter."""
    queries: int = 200
    """Candidates that each trial may simulate, rate and check; the fresh portfolio has four times as many."""
    training: int = 4_000
    """Options of the generator that the first filter learns from."""
    updates: tuple[int, ...] = (2, 6)
    """Updates in each round, for the same labels, that are compared with one."""
    widths: tuple[int, ...] = (16, 64, 256)
    """Widths of filters that are compared with the task's own."""
    seeds: int = 5
    """Repetitions, each with its own play, failures and filters."""
    quick: bool = False
    """A first look in minutes: fewer of everything that is left as it is by default."""
    jobs: int = field(default_factory=lambda: min(2, os.cpu_count() or 1))
    """Halves of a seed at a time."""
    world: tuple[str, ...] = ()
    """Settings of the environment, NAME=VALUE."""
    out: Path | None = None
    """Folder of the study; under `runs` by default. The same settings go on where they stopped."""
    quiet: bool = False
    """No progress bars."""
    json: bool = False
    """Print the results as JSON and nothing else."""

    def __post_init__(self) -> None:
        at_least = {"rounds": 1, "labels": 2, "trials": 1, "queries": 10, "training": 100, "seeds": 1, "jobs": 1}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ProxygapError(f"--{name} {getattr(self, name)}: at least {least} is needed")
        if not self.attacks or len(set(self.attacks)) < len(self.attacks):
            raise ProxygapError(f"--attacks {' '.join(self.attacks)}: at least one is needed, and none twice")
        most = max(2, len(self.attacks), *self.updates, 0)
        if min(*self.updates, *self.widths, 1) < 1 or self.labels < most:
            raise ProxygapError(
                f"--updates {self.updates}, --widths {self.widths}, --labels {self.labels}: numbers from 1 are needed, and "
                f"{most} labels for as many updates a round"
            )

    def run(self) -> None:
        """Does what is missing, and shows what came out."""
        from .report.hardening_choices import show

        study = self.settled
        show(study.results(), study, study.folder)

    @property
    def settled(self) -> "HardeningChoices":
        """The same, with the quick settings where they are asked for and nothing else is given."""
        return quickened(self, QUICK) if self.quick else self

    def results(self) -> list[Row]:
        """Every row of every seed, after doing what is missing; the page is written too."""
        from .hardening_measures import cells
        from .report.hardening_choices import write_page

        self._check()  # which complains, if at all, before there is a folder
        with runs.locked(self.folder), recorded(self.folder, "hardening", self.decisive, self.seeds):
            run_tasks(self.tasks(), self.jobs, self.quiet or self.json)
            found = [row for seed in range(self.seeds) for half in HALVES for row in self._stored(seed, half)]
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

    @property
    def questions(self) -> tuple[Question, ...]:
        """What is asked."""
        return questions(self.updates, self.widths, len(self.attacks))

    @property
    def arms(self) -> dict[str, Arm]:
        """All arms by name."""
        return every_arm(self.questions)

    @cached_property
    def decisive(self) -> dict[str, Any]:
        """What decides a seed: seeds can be added to a study, but the rest can't change."""
        shared = ("attacks", "rounds", "labels", "trials", "queries", "training", "updates", "widths")
        name = self.env if ":" in self.env else self.task.environment.name
        plain = {key: list(value) if isinstance(value := getattr(self, key), tuple) else value for key in shared}
        return {"env": name, "world": parse_pairs(self.world)} | plain

    @cached_property
    def folder(self) -> Path:
        """Where the study is stored."""
        return self.out or Path("runs") / f"hardening-{self.task.environment.name}-{key_of(self.decisive)}"

    def tasks(self) -> list[Task]:
        """Two for every seed."""
        fresh = replace(self)  # without what is cached: a worker makes an environment of its own
        pairs = [(seed, half) for seed in range(self.seeds) for half in HALVES]
        return [Task(f"seed {seed}, {half}", partial(fresh.measured, seed, half)) for seed, half in pairs]

    def measured(self, seed: int, half: str, report: Report) -> None:
        """Does all of a half that is not stored yet."""
        import torch

        from .hardening_seed import Repetition

        torch.set_num_threads(1)
        Repetition(self, seed, half).run(report)

    def _stored(self, seed: int, half: str) -> list[Row]:
        from .hardening_seed import Repetition

        work = Repetition(self, seed, half)
        return [{"seed": seed} | json.loads(work.path(name).read_text()) for name, _ in work.work()]
