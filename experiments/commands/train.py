"""`proxygap train`: one agent, trained on a proxy, a weighting of one's own, the true reward, or a reward learned meanwhile."""

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
        proxygap train lagoon --reward preference --comparisons 500 --stretch 40 --teacher mistaken
    """

    env: tyro.conf.Positional[str]
    """Environment: a name (see `proxygap envs`), or FILE.py:Class."""
    proxy: str | None = None
    """The proxy to be paid by; the environment's first by default. With --reward true, the proxy to measure."""
    reward: str | None = None
    """Be paid by "true", by your own weighting of the terms, such as "turbo=1, progress=0.1", or by "preference": a reward that
    is learned meanwhile, from a teacher's comparisons of what the agent does. The teacher knows the true reward."""
    comparisons: int | None = None
    """With --reward preference: how many comparisons the teacher is asked for, 500 by default."""
    stretch: int | None = None
    """With --reward preference: steps of each stretch that is compared; 50 by default, or half of shorter episodes."""
    teacher: Literal["rational", "greedy", "mistaken", "myopic"] | None = None
    """With --reward preference: whom to ask. "rational" (the default) errs where returns are close, "greedy" never does,
    "mistaken" in a tenth of its answers, and "myopic" forgets how a stretch began."""
    uniform: bool = False
    """With --reward preference: ask about any pairs, not about those on which the learned rewards disagree most."""
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
        asked = self._asked()
        proxy, paid = self._rewards() if asked is None else (self.proxy, None)
        env.weights(proxy or next(iter(env.proxies)))  # a mistake should not cost the seconds that torch takes
        from ...agents.algorithms import default_algorithm
        from ...agents.runs import metrics
        from ...agents.trained import save_policy
        from ...agents.training import train

        algo = self.algo or default_algorithm(env.name)
        folder = self.out or ROOT / self._name(env, proxy, paid if asked is None else "preference", algo)
        overrides = parse_pairs(self.learner) | ({} if self.steps is None else {"steps": self.steps})
        settings: dict[str, Any] = {"algo": algo, "seed": self.seed, "resume": self.resume, **overrides}
        name = self.env if ":" in self.env else None
        with bar(self.quiet, f"Training in {folder}. Ctrl-C stops; the same command with --resume goes on.") as progress:
            settings |= {"name": name, "proxy": proxy, "progress": progress}
            found = train(env, folder, reward=paid, **settings) if asked is None else learned(env, folder, asked, settings)
        if self.export:
            save_policy(found, self.export)
        last = found.metrics[-1] if asked is None else metrics(folder)[-1]
        trust, model = " --trust" if name else "", "" if asked is None else f" and {learning(last)}"
        print(
            f"After {found.steps:,} steps{model}: proxy return {mean(last['proxy']):.4g}, true return {mean(last['true']):.4g}"
        )
        print(f"Watch it: proxygap watch {folder}{trust}")

    def _asked(self) -> dict[str, Any] | None:
        """What to ask, in the words of `experiments.learned.Asking`, or None where no reward is learned."""
        given = {"comparisons": self.comparisons, "length": self.stretch, "teacher": self.teacher}
        asked = {name: value for name, value in given.items() if value is not None}
        asked |= {"choice": "uniform"} if self.uniform else {}
        if self.reward == "preference":
            return asked
        if asked:
            raise ProxygapError("--comparisons, --stretch, --teacher and --uniform go with --reward preference: add it")
        return None

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


def learned(env: Any, folder: Path, asked: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """The agent trained on a reward that was learned meanwhile."""
    from ..learned import TEACHERS, Asking, train_on_preferences

    teacher = TEACHERS[asked.get("teacher", "rational")]
    return train_on_preferences(env, folder, Asking(**{**asked, "teacher": teacher}), **settings).agent


def learning(row: Mapping[str, Any]) -> str:
    """How a learned reward does, in a few words."""
    right = "" if row["accuracy"] is None else f", accuracy {row['accuracy']:.2f}"
    return f"{row['comparisons']} comparisons{right}, learned return {row['learned']:.4g}"


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
        model = f"; {learning(row)}" if "learned" in row else ""
        progress.update(progress.tasks[0].id, completed=row["fraction"], description=f"{row['steps']:,} steps{earned}{model}")

    try:
        yield show
    finally:
        if progress.tasks:
            progress.stop()
