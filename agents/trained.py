"""Trained agents: what a run came to, loading one to watch it, and shipping one as a single small file.

A file or folder from a stranger can't run code: weights are safetensors, the rest is JSON, and an environment that is not
registered (its name in the file would be imported) is refused unless the caller vouches for it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from ..envs.batch import Array
from ..envs.core import ProxygapError
from ..envs.registry import make
from . import runs, snapshots
from .algorithms import algorithm, build, check_suits, checked
from .checkpoints import FORMAT, arrays_of, check_fits, described, latest
from .rollouts import Policy, trained
from .vec_env import LoopVecEnv

KEY = "proxygap"  # under which a policy's file keeps its JSON


@dataclass(frozen=True)
class Settings:
    """Everything that decides a training run, as its manifest stores it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    env: str  # a registered name, FILE.py:Class or module:Class
    env_settings: Mapping[str, Any]
    proxy: str | Mapping[str, float]  # a name, or weights over the terms
    reward: str  # what is paid: "proxy", "true", or the name of a function
    algo: str
    seed: int
    evaluations: int  # while learning, beside those at its beginning and end
    evaluation_episodes: int
    hyperparameters: Mapping[str, Any]  # steps, n_envs and the algorithm's own


@dataclass
class Trained:
    """What a training run came to."""

    settings: Settings
    env: Any
    model: Any  # of stable-baselines3
    metrics: list[dict[str, Any]]  # an evaluation each; none where only the policy was loaded
    folder: Path | None = None

    @property
    def steps(self) -> int:
        """Steps really done: whole rollouts, so there may be more than were asked for."""
        return self.model.num_timesteps

    def policy(self, seed: int = 0) -> Policy:
        """The agent as it is evaluated: greedy where it learns off-policy, else drawing its actions."""
        return trained(self.model, deterministic=algorithm(self.settings.algo).greedy, seed=seed)


def read_settings(stored: Any, path: Path) -> Settings:
    """Settings from a file. Raises ProxygapError for any that are unknown, missing or senseless."""
    try:
        settings = TypeAdapter(Settings).validate_python(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise ProxygapError(f"{path} is damaged: setting {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    checked(settings.algo, settings.hyperparameters)
    return settings


def environment(settings: Settings, env: Any = None, trust: bool = False) -> Any:
    """The environment that a file names, or `env`. Raises ProxygapError for code that is not registered, unless trusted."""
    if env is not None:
        return env
    if ":" in settings.env and not trust:
        raise ProxygapError(f"trained in {settings.env}, which is code of its own: look at that, then trust it or hand it in")
    return make(settings.env, **settings.env_settings)


def untrained(settings: Settings, env: Any) -> Any:
    """A model of these settings that has learned nothing yet, ready to act in `env`. Raises ProxygapError if it can't."""
    loop = env.loop(settings.hyperparameters["n_envs"])
    loop.reset(seed=0)
    check_suits(settings.algo, loop)
    return build(settings.algo, LoopVecEnv(loop), settings.hyperparameters, settings.seed)


def load_policy(path: str | Path, *, env: Any = None, trust: bool = False) -> Trained:
    """The agent in a run's folder, or in a file of `save_policy`, ready to play.

    `env`: where it shall play, if not where it was trained. Raises ProxygapError if the file is damaged or does not fit.
    """
    path = Path(path)
    settings, about, arrays = _from_run(path) if path.is_dir() else _from_file(path)
    env = environment(settings, env, trust)
    model = untrained(settings, env)
    check_fits(about, model.env.loop, path)
    snapshots.load_weights(model, arrays)
    model.num_timesteps = about["steps"]
    return Trained(settings, env, model, runs.metrics(path) if path.is_dir() else [], path if path.is_dir() else None)


def _from_run(folder: Path) -> tuple[Settings, dict[str, Any], dict[str, Array]]:
    settings = read_settings(runs.manifest(folder)["settings"], folder / runs.MANIFEST)
    checkpoint = latest(folder)
    if checkpoint is None:
        raise ProxygapError(f"{folder} has no checkpoint yet: let it train longer")
    return settings, checkpoint.about, checkpoint.arrays


def _from_file(path: Path) -> tuple[Settings, dict[str, Any], dict[str, Array]]:
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})[KEY])
        if about["format"] != FORMAT:
            raise ProxygapError(f"{path} is not of format {FORMAT}: another version of proxygap wrote it")
        return read_settings(about.pop("settings"), path), about, arrays_of(path, path.read_bytes())
    except FileNotFoundError:
        raise ProxygapError(f"no run and no policy at {path}") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ProxygapError):
            raise
        raise ProxygapError(f"{path} is damaged, or not a policy that proxygap stored: {error}") from error


def save_policy(agent: Trained, path: str | Path) -> None:
    """Stores the agent alone, without what learning on would need, as one safetensors file."""
    arrays, _ = snapshots.capture(agent.model, agent.model.env.loop)
    policy = {name: array for name, array in arrays.items() if name.startswith("policy/")}
    about = {"format": FORMAT, "env": agent.settings.env, "steps": agent.steps, "spaces": described(agent.model.env.loop)}
    metadata = json.dumps(about | {"settings": snapshots.plain(asdict(agent.settings))})
    runs.replace_file(Path(path), to_bytes(policy, {KEY: metadata}))
