"""The gap study: train on the proxy, train on the truth, and measure both on both.

What it stores: a folder for each training run (`proxy-seed0`, `true-seed0`, ...), what all agents came to (`results.json`), and
the page that shows it (`report.html`). The words and verdicts are those of `verdicts`.
"""

import json
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from ..agents import runs
from ..agents.rollouts import Returns, evaluate
from ..envs.core import ProxyEnv, ProxygapError
from ..envs.foreign import ForeignEnv
from ..envs.painting import replacing
from ..envs.registry import make
from .measuring import BLOCK, FINAL, Results, measure, summary
from .settings import parse_pairs, parse_reward
from .study import Report, Task, key_of, recorded, run_tasks

if TYPE_CHECKING:  # torch: not needed to parse a command line, and so imported only where it is used
    from ..agents.trained import Trained

ARMS = ("proxy", "true")  # what agents are trained on
RESULTS, EPISODES = "results.json", "final.npz"


@dataclass(frozen=True)
class Gap:
    """How far does what an agent earns come apart from what was wanted?

    Trains agents on the proxy and on the true reward, measures both on both rewards, beside the reference policy and chance,
    and writes the verdict into a report.

    Examples:
        proxygap gap lagoon
        proxygap gap lagoon --proxy camera --seeds 10
        proxygap gap lagoon --reward "turbo=1, progress=0.1"
        proxygap gap lagoon --world respawn=7.8 --learner gamma=0.97
        proxygap gap my_world.py:MyWorld --algo a2c --steps 100000
    """

    env: tyro.conf.Positional[str]
    """Environment: a name (see `proxygap envs`), or FILE.py:Class."""
    proxy: str | None = None
    """The proxy to train on; the environment's first by default."""
    reward: str | None = None
    """Your own weighting of the terms instead of a proxy, such as "turbo=1, progress=0.1"."""
    algo: str | None = None
    """Learning algorithm; by default the first that ships with settings for the environment."""
    seeds: int = 5
    """Training runs of each kind; verdicts from fewer than 5 are only indicative."""
    steps: int | None = None
    """Steps of experience for each run; the algorithm's preset by default."""
    jobs: int = field(default_factory=lambda: min(2, os.cpu_count() or 1))
    """Training runs at a time."""
    episodes: int | None = None
    """Episodes of each final evaluation; 64 by default, 8 in foreign environments, whose simulators are slow."""
    world: tuple[str, ...] = ()
    """Settings of the environment, NAME=VALUE."""
    learner: tuple[str, ...] = ()
    """Settings of the algorithm, NAME=VALUE."""
    out: Path | None = None
    """Folder of the study; under `runs` by default. The same settings go on where they stopped."""
    quiet: bool = False
    """No progress bars."""
    json: bool = False
    """Print the results as JSON and nothing else."""

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("jobs", 1), ("episodes", 2)):
            given = getattr(self, name)
            if given is not None and given < least:
                raise ProxygapError(f"--{name} {given}: at least {least} is needed")
        if self.proxy and self.reward:
            raise ProxygapError("--proxy and --reward both say what to train on: give one of them")

    def run(self) -> None:
        """Trains what is missing, measures, and writes the page."""
        from .report.gap import show

        show(self.results(), self.folder, self.json)

    def results(self) -> Results:
        """What came out, after training what is missing; the page is written too."""
        from rich.console import Console

        from .report.gap import write_page

        quiet = self.quiet or self.json
        with runs.locked(self.folder), self._recorded():
            run_tasks(self.tasks(), self.jobs, quiet)
            trained = {arm: [self.trained(arm, seed) for seed in range(self.seeds)] for arm in ARMS}
            finals = {arm: [self.final(arm, seed) for seed in range(self.seeds)] for arm in ARMS}
            with Console(stderr=True, quiet=quiet).status("measuring what was not trained") as status:
                results = measure(self.environment, self.measured, trained, finals, self.evaluated)
                runs.replace_file(self.folder / RESULTS, json.dumps(summary(results)).encode())
                status.update("drawing the page")
                write_page(results, self.environment, self.measured, trained, self.folder)
        return results

    @cached_property
    def environment(self) -> ProxyEnv[Any]:
        """The environment, with the study's settings."""
        return make(self.env, **parse_pairs(self.world))

    @property
    def named(self) -> str:
        """The environment's name in its proper spelling, or the FILE.py:Class that it was given as."""
        return self.env if ":" in self.env else self.environment.name

    @cached_property
    def measured(self) -> str | dict[str, float]:
        """The proxy: its name, or the user's own weights. Raises ProxygapError for terms that there are not."""
        chosen = parse_reward(self.reward) if self.reward else self.proxy or next(iter(self.environment.proxies))
        self.environment.weights(chosen)
        return chosen

    @cached_property
    def algorithm(self) -> str:
        """The learning algorithm."""
        from ..agents.algorithms import default_algorithm

        return self.algo or default_algorithm(self.environment.name)

    @cached_property
    def evaluated(self) -> int:
        """Episodes of each final evaluation."""
        return self.episodes or (8 if isinstance(self.environment, ForeignEnv) else 64)

    @cached_property
    def decisive(self) -> dict[str, Any]:
        """What decides a single training run: seeds can be added to a study, but the rest can't change."""
        overrides = parse_pairs(self.learner) | ({} if self.steps is None else {"steps": self.steps})
        return {
            "env": self.named,
            "world": parse_pairs(self.world),
            "proxy": self.measured,
            "algo": self.algorithm,
            "overrides": overrides,
            "episodes": self.evaluated,
        }

    @cached_property
    def folder(self) -> Path:
        """Where the study is stored."""
        proxy = self.measured if isinstance(self.measured, str) else "weights"
        return self.out or Path("runs") / f"gap-{self.environment.name}-{proxy}-{self.algorithm}-{key_of(self.decisive)}"

    def _recorded(self) -> AbstractContextManager[None]:
        """Keeps the manifest. Raises ProxygapError if the folder holds a study with other settings."""
        return recorded(self.folder, "gap", self.decisive, self.seeds)

    def tasks(self) -> list[Task]:
        """A training run for every seed, on the proxy and on the truth."""
        fresh = replace(self)  # without what is cached: a worker makes an environment of its own
        return [Task(run_name(arm, seed), partial(fresh.final, arm, seed)) for seed in range(self.seeds) for arm in ARMS]

    def trained(self, arm: str, seed: int, report: Report | None = None) -> "Trained":
        """The training run of that arm and seed: begun, taken up, or just loaded, as its folder needs."""
        from ..agents.training import train

        return train(
            self.environment,
            self.folder / run_name(arm, seed),
            proxy=self.measured,
            reward="true" if arm == "true" else None,
            algo=self.algorithm,
            seed=seed,
            resume=True,
            progress=report,
            name=self.named,
            **self.decisive["overrides"],
        )

    def final(self, arm: str, seed: int, report: Report | None = None) -> Returns:
        """What that run's agent earns in the end, in episodes that nothing else uses; stored with the run."""
        path = self.folder / run_name(arm, seed) / EPISODES
        if not path.exists():
            run = self.trained(arm, seed, report)
            returns = evaluate(self.environment, run.policy(), self.evaluated, FINAL + (1 + seed) * BLOCK, proxy=self.measured)
            with replacing(path) as beside, open(beside, "wb") as file:
                np.savez_compressed(file, **vars(returns))
        with np.load(path, allow_pickle=False) as stored:
            return Returns(**stored)


def run_name(arm: str, seed: int) -> str:
    """The folder of a training run."""
    return f"{arm}-seed{seed}"


def measure_gap(env: str, **settings: Any) -> Results:
    """The gap study as a function; `settings` are those of `Gap`. Trains what is missing, writes the page, returns the results.

    A script that calls it needs `if __name__ == "__main__":` around the call, for training runs are processes of their own.
    """
    return Gap(env, **settings).results()
