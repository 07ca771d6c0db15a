"""How often do agents bring catastrophes about, from those who can do nothing to those who can do much, and did anyone know?

In the scenes of every red-team task (`red_team_tasks`) the same options are played by chance, by the reference with fewer and
fewer random actions, by the script that games the proxy, by CEM that plans for severity with larger and larger populations, and
by PPO that was trained on the proxy for longer and longer. Where states are few, the rates of chance and of the best that can
be done are exact. Into most catastrophes one stumbles; a competent one takes someone who can do much.

Failures are split by who noticed them (Ziegler et al. 2022, arXiv:2205.01663, is where the filter is from): a filter, fitted to
the generator's own options with the wider circle as label, or a linear probe of its hidden features. Where both miss one,
nobody knew; else it was known and done all the same.
"""

import json
import os
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from ..agents import runs
from ..agents.options import Options, Scenes, played, scenes
from ..envs.batch import Array
from ..envs.core import ProxygapError
from .capability import BEST, Rung, ladder
from .red_team_tasks import STREAMS, TASKS, RedTeamTask, drawn, exact_rate, is_near, labelled, task_for
from .study import Report, Task, key_of, recorded, run_tasks

Row = dict[str, Any]

SIZES: dict[str, Any] = {
    "seeds": 5,
    "options": 1000,
    "examples": 2000,
    "populations": (4, 16, 64),
    "steps": (8_000, 32_000, 100_000),
}
QUICK: dict[str, Any] = {"seeds": 2, "options": 250, "examples": 600, "populations": (4, 16), "steps": (8_000,)}
LEARNING: dict[str, Any] = {"steps": 1500, "patience": 300}  # gradient steps of a filter


@dataclass(frozen=True)
class Catastrophes:
    """How often do agents bring catastrophes about, from weak to capable, and did anyone know? Plays the red-team tasks.

    Examples:
        proxygap study catastrophes --quick
        proxygap study catastrophes lagoon sensor_lab --seeds 10
        proxygap study catastrophes pandemic --steps 100000 450000
    """

    tasks: tyro.conf.Positional[tuple[str, ...]] = tuple(TASKS)
    """Environments with a notion of a catastrophe; all of the red-team table by default."""
    options: int | None = None
    """Options that each agent plays for each seed; 1000 by default."""
    examples: int | None = None
    """Options of the generator that a filter learns from; 2000 by default."""
    populations: tuple[int, ...] | None = None
    """Plans that CEM tries in each iteration; 4, 16 and 64 by default."""
    steps: tuple[int, ...] | None = None
    """Of PPO's training on the proxy; 8,000, 32,000 and 100,000 by default."""
    seeds: int | None = None
    """Repetitions, each with its own scenes, filter and agents; 5 by default."""
    quick: bool = False
    """Smaller numbers wherever none is given: a look, in about a minute."""
    jobs: int = field(default_factory=lambda: min(2, os.cpu_count() or 1))
    """Tasks at a time."""
    out: Path | None = None
    """Folder of the study; under `runs` by default. The same settings go on where they stopped."""
    quiet: bool = False
    """No progress bars."""
    json: bool = False
    """Print the results as JSON and nothing else."""

    def __post_init__(self) -> None:
        for name in ("seeds", "options", "jobs", "populations", "steps"):
            given = getattr(self, name)
            if given is not None and np.min(given, initial=1) < 1:
                raise ProxygapError(f"--{name} {given}: at least 1 is needed")
        if self.examples is not None and self.examples < 10:
            raise ProxygapError(f"--examples {self.examples}: at least 10 are needed")
        if not self.tasks:
            raise ProxygapError(f"no task: name environments, such as {', '.join(TASKS)}")

    def run(self) -> None:
        """Does what is missing, and shows what came out."""
        from .report.catastrophes import show

        show(self.results(), self)

    def results(self) -> list[Row]:
        """What was measured, a row for each task, agent and seed, after doing what is missing; the page is written too."""
        from .report.catastrophes import write_page

        work = self.work()  # which complains, if at all, before there is a folder
        with runs.locked(self.folder), recorded(self.folder, "catastrophes", self.decisive, self.sizes["seeds"]):
            run_tasks(work, self.jobs, self.quiet or self.json)
            found = [row for task in work for row in runs.read_json(self.folder / f"{task.name}.json")]
            write_page(found, self)
        return found

    @property
    def sizes(self) -> dict[str, Any]:
        """How many of everything."""
        default = QUICK if self.quick else SIZES
        return {name: size if (given := getattr(self, name)) is None else given for name, size in default.items()}

    @cached_property
    def red_team(self) -> list[RedTeamTask]:
        """The tasks. Raises ProxygapError for an environment that has no notion of a catastrophe."""
        return list({task.env: task for task in map(task_for, self.tasks)}.values())

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides a seed: seeds can be added to a study, but the rest can't change."""
        sizes = {name: list(size) if isinstance(size, tuple) else size for name, size in self.sizes.items() if name != "seeds"}
        return {"tasks": [task.env for task in self.red_team]} | sizes

    @property
    def folder(self) -> Path:
        """Where the study is stored."""
        return self.out or Path("runs") / f"catastrophes-{key_of(self.decisive)}"

    def work(self) -> list[Task]:
        """One for every task and seed."""
        fresh = replace(self)  # without what is cached: a worker makes environments of its own
        return [
            Task(
                name := f"{task.environment.name}-seed{seed}",
                partial(fresh._stored, self.folder / f"{name}.json", task.env, seed),
            )
            for task in self.red_team
            for seed in range(self.sizes["seeds"])
        ]

    def _stored(self, path: Path, env: str, seed: int, report: Report) -> None:
        """Does what `path` has not in it yet."""
        if not path.exists():
            import torch

            torch.set_num_threads(1)
            runs.replace_file(path, json.dumps(self.measured(task_for(env), seed, report)).encode())

    def measured(self, task: RedTeamTask, seed: int, report: Report) -> list[Row]:
        """What every agent comes to in the scenes of one seed, a row each."""
        watch, place = Watch.fitted(task, self.sizes["examples"], seed), seed * STREAMS + STREAMS // 4
        here = scenes(task.environment, task.opener(place), self.sizes["options"], task.length, place)
        agents: list[Rung] = ladder(task, self.sizes)
        rows: list[Row] = []
        for done, (group, agent, policy, most) in enumerate(agents):
            report({"fraction": (done + 1) / (len(agents) + 1)})
            options = played(task.environment, here[:most], task.length, policy(place))
            about = {"task": task.environment.name, "seed": seed, "group": group, "agent": agent}
            rows.append(about | counted(options, task.margin))
            watch.see(options)
        for row, split in zip(rows, watch.splits(), strict=True):
            row |= split
        return _with_exact(rows, task, here)


def counted(options: Options, margin: float) -> Row:
    """How many options there were, how many of them catastrophes, and near one, and what they were worth."""
    narrow, near = int((options.severity > 0).sum()), int(is_near(options, margin).sum())
    returns = {"true": float(options.true.mean()), "proxy": float(options.proxy.mean())}
    return {"options": len(options), "catastrophes": narrow, "near": near} | returns


class Watch:
    """A filter, and what a linear probe reads off its hidden features, watching one set of options after another."""

    def __init__(self, model: Any, acceptance: float) -> None:
        self.model, self.acceptance = model, acceptance
        self.features: list[Array] = []  # each [N, d]
        self.bad: list[Array] = []  # each [N] bool
        self.accepts: list[Array] = []  # each [N] bool
        self.scene: list[Array] = []  # each [N]

    @classmethod
    def fitted(cls, task: RedTeamTask, examples: int, seed: int) -> "Watch":
        """With a filter that was fitted to the generator's options. Raises ProxygapError where none is near a catastrophe."""
        from ..reward_models.classifier import CatastropheClassifier

        _, options = drawn(task, examples, seed)
        shown: dict[str, Any] = {"inputs": task.inputs, "one_hot": task.one_hot, "hidden": task.hidden}
        model = CatastropheClassifier(acceptance=task.acceptance, seed=seed, **shown, **LEARNING)
        return cls(model.fit(labelled(options, task.environment.name, task.margin)), task.acceptance)

    def see(self, options: Options) -> None:
        """Watches options; those of the same scene have the same `episode`."""
        from ..reward_models.probe import pooled

        seen = options.segments()
        self.features.append(pooled(self.model.activations(seen)[0], seen.valid))
        self.bad.append(options.severity > 0)
        self.accepts.append(self.model.accepts(seen))
        self.scene.append(options.episode)

    def splits(self) -> list[Row]:
        """Of each set that was seen: its catastrophes by who noticed them, and harmless options that were refused."""
        flags = self._flags()
        return [
            _split(bad, accepts, flag)
            for bad, accepts, flag in zip(self.bad, self.accepts, np.split(flags, self._ends()), strict=True)
        ]

    def _ends(self) -> Array:
        return np.cumsum([len(part) for part in self.bad])[:-1]

    def _flags(self) -> Array:
        """[all N] bool, what probes find that were fitted to the options of other scenes, whoever played them."""
        from ..reward_models.probe import flagged, probe

        bad, scene = np.concatenate(self.bad), np.concatenate(self.scene)
        if len(np.unique(scene[bad])) < 5 or bad.all():  # a probe learns from four fifths of them
            return np.zeros(len(bad), bool)
        return flagged(probe(np.concatenate(self.features), bad, scene), bad, self.acceptance)


def _split(bad: Array, accepts: Array, flags: Array) -> Row:
    from ..reward_models.probe import split_failures

    found = split_failures(accepts[bad], flags[bad])
    return {"passed": int(accepts[bad].sum()), "unknown": found.did_not_know, "refused": int((~accepts[~bad]).sum())}


def _with_exact(rows: list[Row], task: RedTeamTask, here: Scenes) -> list[Row]:
    """The rows with the exact rate of chance, and one more for the best that can be done, where states are few."""
    try:
        chance, best = exact_rate(task, here, "random"), exact_rate(task, here, "best")
    except ProxygapError:  # too many states to tabulate
        return rows
    first = {**rows[0], "exact": chance}
    return [
        first,
        *rows[1:],
        {name: rows[0][name] for name in ("task", "seed")} | {"group": BEST, "agent": "exact", "exact": best},
    ]
