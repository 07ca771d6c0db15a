"""`proxygap train`: one agent, trained on a proxy, on a weighting of one's own, or on the true reward."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ...envs.core import ProxygapError
from ...envs.registry import make
from ..settings import parse_pairs, parse_reward
from ..store import ROOT
from .players import called


@dataclass(frozen=True)
class Train:
    """Trains an agent and measures it on both rewards while it learns.

    The run is a folder. Ctrl-C stops it at the next boundary, and the same command with --resume goes on as if it had never
    stopped. Settings come from the preset of the environment and the algorithm; --learner changes any of them.

    Examples:
        proxygap train lagoon
        proxygap train lagoon --reward true --seed 3
        proxygap train lagoon --reward "turbo=1, progress=0.1" --steps 500000
        proxygap train boat_race --algo ppo --learner gamma=0.97 n_envs=32 --out runs/patient
    """

    env: tyro.conf.Positional[str]
    """Environment: a name (see `proxygap envs`), or FILE.py:Class."""
    proxy: str | None = None
    """The proxy to be paid by; the environment's first by default. With --reward true, the proxy to measure."""
    reward: str | None = None
    """Be paid by "true", or by your own weighting of the terms, such as "turbo=1, progress=0.1"."""
    algo: str | None = None
    """Learning algorithm; by default the first that ships with settings for the environment."""
    steps: int | None = None
    """Steps of experience; the preset's by default."""
    seed: int = 0
    """Of everything that chance decides."""
    world: tuple[str, ...] = ()
    """Settings of the environment, NAME=VALUE."""
    learner: tuple[str, ...] = ()
    """Settings of the algorithm, NAME=VALUE."""
    out: Path | None = None
    """Folder of the run; under `runs` by default."""
    export: Path | None = None
    """Also save the trained policy alone, as one FILE.safetensors."""
    resume: bool = False
    """Go on with the run that is there."""
    quiet: bool = False
    """No progress bar."""

    def run(self) -> None:
        """Trains, and says where the run is and how to watch it."""
        env = make(self.env, **parse_pairs(self.world))
        proxy, paid = self._rewards()
        env.weights(proxy or next(iter(env.proxies)))  # a mistake should not cost the seconds that torch takes
        from ...agents.algorithms import default_algorithm
        from ...agents.trained import save_policy
        from ...agents.training import train

        algo = self.algo or default_algorithm(env.name)
        folder = self.out or ROOT / self._name(env, proxy, paid, algo)
        overrides = parse_pairs(self.learner) | ({} if self.steps is None else {"steps": self.steps})
        settings: dict[str, Any] = {"algo": algo, "seed": self.seed, "resume": self.resume, **overrides}
        name = self.env if ":" in self.env else None
        with bar(self.quiet, f"Training in {folder}. Ctrl-C stops; the same command with --resume goes on.") as progress:
            found = train(env, folder, name=name, proxy=proxy, reward=paid, progress=progress, **settings)
        if self.export:
            save_policy(found, self.export)
        last = found.metrics[-1]
        trust = " --trust" if name else ""
        print(f"After {found.steps:,} steps: proxy return {mean(last['proxy']):.4g}, true return {mean(last['true']):.4g}")
        print(f"Watch it: proxygap watch {folder}{trust}")

    def _rewards(self) -> tuple[str | dict[str, float] | None, Literal["true"] | None]:
        """The proxy to measure, and "true" if that is what is paid."""
        chosen = parse_reward(self.reward) if self.reward else None
        if chosen == "true":
            return self.proxy, "true"
        if chosen and self.proxy:
            raise ProxygapError("--proxy and --reward both say what to be paid by: give one of them")
        return chosen or self.proxy, None

    def _name(self, env: Any, proxy: str | dict[str, float] | None, paid: str | None, algo: str) -> str:
        paid_by = paid or proxy or next(iter(env.proxies))
        return f"train-{called(self.env, env)}-{paid_by if isinstance(paid_by, str) else 'weights'}-{algo}-seed{self.seed}"


def mean(values: Any) -> float:
    """The mean of an evaluation's episodes."""
    return sum(values) / len(values)


@contextmanager
def bar(quiet: bool, title: str) -> Iterator[Any]:
    """A progress bar on standard error, as the function to be handed `train`'s rows; nothing is shown before the first."""
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    progress = Progress(*columns, console=Console(stderr=True), disable=quiet)

    def show(row: Mapping[str, Any]) -> None:
        if not progress.tasks:
            if not quiet:
                progress.console.print(title, soft_wrap=True, markup=False)
            progress.add_task("", total=1.0)
            progress.start()
        earned = "" if row["proxy"] is None else f", proxy {row['proxy']:.4g}, true {row['true']:.4g}"
        progress.update(progress.tasks[0].id, completed=row["fraction"], description=f"{row['steps']:,} steps{earned}")

    try:
        yield show
    finally:
        if progress.tasks:
            progress.stop()
