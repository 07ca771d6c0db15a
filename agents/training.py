"""Training an agent on a proxy (or on the truth, or on any reward), and measuring it on both rewards while it learns.

Everything that happens beside learning happens at a boundary, before a rollout begins: evaluations, checkpoints, stops.
Evaluations and training share no generator, so that how often an agent is looked at does not change what it learns.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from ..envs.batch import Array
from ..envs.core import ProxygapError, Reward
from ..envs.registry import known_environments, make
from . import checkpoints, runs, snapshots
from .algorithms import build, check_suits, preset
from .rollouts import Policy, evaluate
from .runs import Interrupted
from .trained import Settings, Trained, environment, read_settings
from .vec_env import LoopVecEnv

MEASURED = {"evaluations": 20, "evaluation_episodes": 32}  # while learning, unless the preset says otherwise
STREAMS = 2**20  # of chance, for each training seed: its worlds' own, so that no two seeds share one
EVALUATION = 2**53  # where the streams of evaluations begin; every evaluation of a run plays the same ones
LARGEST_SEED = 2**32 - 1  # numpy's global generator takes no larger
PROGRESS_EVERY = 0.1  # s

Progress = Callable[[Mapping[str, Any]], None]


@runtime_checkable
class LearnersReward(Protocol):
    """A reward that depends on who learns, as `regularized.NearReference` does."""

    __call__: Reward

    def bind(self, learner: Any) -> None:
        """Told once, before learning begins or goes on, which model of stable-baselines3 it is that learns."""

    def watch(self, policy: Policy, episodes: int) -> tuple[Policy, dict[str, Array]]:
        """The policy, and by name what each of its next `episodes` comes to [episodes], filled in while it is played."""
        ...


def train(
    env: Any,
    folder: str | Path | None = None,
    *,
    proxy: str | Mapping[str, float] | None = None,
    reward: Literal["true"] | Reward | None = None,
    algo: str = "ppo",
    seed: int = 0,
    evaluations: int | None = None,
    evaluation_episodes: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
    **overrides: Any,
) -> Trained:
    """Trains `algo` in `env` (a name, or an environment that can be made again by `name`), paid by `proxy` or else by `reward`.

    A `folder` stores the run, and lets it be resumed exactly: with `resume`, a run that is there goes on, and a finished one is
    loaded. The agent is evaluated, in `evaluation_episodes` on both rewards, at the beginning, at the end of each of
    `evaluations` equal parts; both come from the preset by default, or else are 20 and 32. `progress` is handed a row of
    figures up to ten times a second, and at every evaluation.
    `overrides` are laid over the preset: `steps`, `n_envs`, and what the algorithm takes.
    Raises ProxygapError for settings that make no sense, and Interrupted when a signal has stopped the run.
    """
    measured = {"evaluations": evaluations, "evaluation_episodes": evaluation_episodes}
    overrides |= {key: value for key, value in measured.items() if value is not None}
    settings, env = settings_of(env, proxy=proxy, reward=reward, algo=algo, seed=seed, name=name, **overrides)
    return _run(settings, env, reward, None if folder is None else Path(folder), resume, progress)


def settings_of(
    env: Any, *, proxy: Any = None, reward: Any = None, algo: str = "ppo", seed: Any = 0, name: Any = None, **overrides: Any
) -> tuple[Settings, Any]:
    """What `train` would store of these arguments, and the environment. Raises ProxygapError for what makes no sense."""
    name, env = _named(env, name)
    hyperparameters = MEASURED | preset(env.name, algo, overrides)
    settings = Settings(
        env=name,
        env_settings=_own_settings(env),
        proxy=dict(proxy) if isinstance(proxy, Mapping) else proxy or next(iter(env.proxies)),
        reward=name_of(reward),
        algo=algo,
        seed=_whole("seed", seed, 0, LARGEST_SEED),
        evaluations=_whole("evaluations", hyperparameters.pop("evaluations"), 0),
        evaluation_episodes=_whole("evaluation_episodes", hyperparameters.pop("evaluation_episodes"), 1),
        hyperparameters=hyperparameters,
    )
    return settings, env


def resume(
    folder: str | Path, *, env: Any = None, trust: bool = False, reward: Reward | None = None, progress: Progress | None = None
) -> Trained:
    """Goes on with the run in `folder` as if it had never stopped, by its own manifest.

    A run in an environment of the user's own needs that `env`, or `trust` to import the code that the manifest names; one that
    was paid by a function needs that as `reward`. Raises ProxygapError and Interrupted as `train` does.
    """
    folder = Path(folder)
    settings = read_settings(runs.manifest(folder)["settings"], folder / runs.MANIFEST)
    paid = "true" if settings.reward == "true" else reward
    if settings.reward not in ("proxy", "true") and reward is None:
        raise ProxygapError(f"the run in {folder} is paid by {settings.reward}, a function: hand it in as reward=")
    if reward is not None and name_of(paid) != settings.reward:
        raise ProxygapError(f"the run in {folder} is paid by {settings.reward}, not by {name_of(paid)}: hand in that one")
    return _run(settings, environment(settings, env, trust), paid, folder, True, progress)


def _run(settings: Settings, env: Any, reward: Any, folder: Path | None, resumed: bool, progress: Progress | None) -> Trained:
    trial = env.loop(1, proxy=settings.proxy)
    trial.reset(seed=0)
    check_suits(settings.algo, trial)  # before a folder is made
    with one_thread():
        if folder is None:
            return _Session(settings, env, reward, None, progress).run()
        with runs.locked(folder):
            stored = _stored(settings, folder, resumed)
            return _Session(settings, env, reward, folder, progress, stored).run()


def _stored(settings: Settings, folder: Path, resumed: bool) -> checkpoints.Checkpoint | None:
    """The checkpoint to go on from. Raises ProxygapError where the folder's run is another, or was not to be resumed."""
    if not (folder / runs.MANIFEST).exists():
        return None
    if not resumed:
        raise ProxygapError(f"{folder} already holds a run: resume it, or choose another folder")
    there, here = runs.manifest(folder)["settings"], snapshots.plain(asdict(settings))
    if differing := [key for key in here if here[key] != there.get(key)]:
        wanted = "; ".join(f"{key} was {there.get(key)!r} and is now {here[key]!r}" for key in differing)
        raise ProxygapError(f"the run in {folder} has other settings: {wanted}")
    return checkpoints.latest(folder)


class _Session(BaseCallback):
    """One process's work on a run: SB3 calls it when learning starts, at every boundary, and when learning ends."""

    def __init__(
        self,
        settings: Settings,
        env: Any,
        reward: Any,
        folder: Path | None,
        progress: Progress | None,
        checkpoint: checkpoints.Checkpoint | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.env, self.reward, self.folder, self.progress = settings, env, reward, folder, progress
        self.checkpoint = checkpoint
        self.rows: list[dict[str, Any]] = []
        self.steps, self.clock, self.signals, self.shown = settings.hyperparameters["steps"], runs.Clock(), runs.Signals(), 0.0
        self.loop = env.loop(settings.hyperparameters["n_envs"], proxy=settings.proxy, reward=reward)
        self.loop.reset(seed=settings.seed * STREAMS)
        venv = LoopVecEnv(self.loop, stagger=True)
        self.learner = build(settings.algo, venv, settings.hyperparameters, settings.seed)
        venv.seed(settings.seed * STREAMS)
        if isinstance(reward, LearnersReward):
            reward.bind(self.learner)

    def run(self) -> Trained:
        """Learns to the end; where that is done already, only loads what was learned."""
        if self.folder and self.checkpoint and self.checkpoint.numbers["finished"]:
            self._restore(self.checkpoint)
            runs.update_manifest(self.folder, status="finished", error=None)  # it may have died before it could say so
        else:
            with self._recorded():
                self.learner.learn(self.steps, callback=self, log_interval=None)  # pyright: ignore[reportArgumentType]
        return Trained(self.settings, self.env, self.learner, self.rows, self.folder)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        if self.folder is None:
            yield
            return
        about = {"settings": snapshots.plain(asdict(self.settings)), "torch_threads": torch.get_num_threads()}
        with runs.recorded(self.folder, **about), self.signals:
            yield

    def _on_training_start(self) -> None:
        self.clock = runs.Clock()
        if self.checkpoint:
            self._restore(self.checkpoint)
        if self.folder:  # what was measured after the checkpoint will be measured again
            runs.replace_metrics(self.folder, self.rows)

    def _restore(self, checkpoint: checkpoints.Checkpoint) -> None:
        assert self.folder
        checkpoints.restore(checkpoint, self.learner, self.loop)
        numbers = checkpoint.numbers
        self.rows = runs.metrics(self.folder)[: numbers["rows"]]
        self.clock = runs.Clock(numbers["seconds"], numbers["cpu_seconds"])

    def _on_rollout_start(self) -> None:
        done = self.learner.num_timesteps
        with self.clock.paused():
            if self.folder and self.signals.received:
                self._store()
                raise Interrupted(self.signals.received, self.folder, done)
            if not self.rows or self._part(done) > self._part(self.rows[-1]["steps"]):
                self._evaluate()
            self._show()

    def _part(self, steps: int) -> int:
        """In which part of the training a step lies; an evaluation stands at the beginning of each."""
        return steps * self.settings.evaluations // self.steps

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        with self.clock.paused():
            self._evaluate(finished=True)

    def _evaluate(self, finished: bool = False) -> None:
        """Adds a row, what the agent as it is now earns on both rewards, and stores a checkpoint."""
        agent = Trained(self.settings, self.env, self.learner, self.rows)
        seed, episodes = self.settings.seed * STREAMS + EVALUATION, self.settings.evaluation_episodes
        policy, figures = agent.policy(seed), {}
        if isinstance(self.reward, LearnersReward):
            policy, figures = self.reward.watch(policy, episodes)
        found = evaluate(self.env, policy, episodes, seed, proxy=self.settings.proxy, reward=self.reward)
        row = {"steps": agent.steps, **self.clock.read()}
        row |= {name: getattr(found, name).tolist() for name in ("proxy", "true", "paid", "length")}
        row |= {name: values.tolist() for name, values in figures.items()}
        row["terms"] = dict(zip(found.names, found.terms.mean(0).tolist(), strict=True))
        self.rows.append(row)
        if self.folder:
            runs.append_metrics(self.folder, row)
            self._store(finished)
        self._show(evaluation=row)

    def _store(self, finished: bool = False) -> None:
        assert self.folder
        about = {"algo": self.settings.algo, "env": self.settings.env}
        checkpoints.save(
            self.folder, self.learner, self.loop, about, {"rows": len(self.rows), "finished": finished, **self.clock.read()}
        )
        runs.update_manifest(self.folder, steps=self.learner.num_timesteps)

    def _show(self, **more: Any) -> None:
        """Hands `progress` how far it is, and what the latest training episodes (up to 100) earned on average."""
        now = time.perf_counter()
        if self.progress is None or (not more and now - self.shown < PROGRESS_EVERY):
            return
        self.shown, done = now, self.learner.num_timesteps
        episodes = self.learner.ep_info_buffer or ()
        recent = {name: [episode[name] for episode in episodes] for name in ("proxy", "true")}
        means = {name: float(np.mean(returns)) if returns else None for name, returns in recent.items()}
        left = self.clock.read()["seconds"] * max(self.steps - done, 0) / done if done else None
        self.progress({"steps": done, "fraction": min(done / self.steps, 1.0), "seconds_left": left, **means, **more})


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: faster for small networks, and the same to the bit every time; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _named(env: Any, name: str | None) -> tuple[str, Any]:
    """The name by which an environment can be made again, a registered one in its proper spelling, and the environment."""
    if isinstance(env, str):
        name, env = name or (env if ":" in env else None), make(env)
    place = f"{type(env).__module__}:{type(env).__qualname__}"
    return name or {known: short for short, known in known_environments().items()}.get(place, place), env


def _own_settings(env: Any) -> dict[str, Any]:
    return {part.name: getattr(env, part.name) for part in fields(env) if part.init} if is_dataclass(env) else {}


def name_of(reward: Any) -> str:
    """What a run calls the reward that it was paid by: "proxy", "true", or a function's name."""
    if reward is None or reward == "true":
        return reward or "proxy"
    return getattr(reward, "__name__", type(reward).__name__)


def _whole(name: str, value: Any, low: int, high: int = 2**63 - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise ProxygapError(f"{name}={value!r}: allowed are whole numbers from {low} to {high}")
    return int(value)
