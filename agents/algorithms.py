"""The learning algorithms by name, which action spaces they suit, and the settings that ship for each environment.

The algorithms are stable-baselines3's and sb3-contrib's, unchanged. Settings come from `presets.yaml`, in the manner of
rl-zoo: the algorithm's `default` entry, then the environment's own, then what the caller overrides. What an override may be is
read from the algorithm's own signature, and nothing is ever evaluated as code.
"""

import difflib
import inspect
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from typing import Any

import numpy as np
import yaml
from gymnasium import spaces
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ..envs.core import ProxygapError
from .vec_env import LoopVecEnv, action_mask

FINITE = ("Discrete", "MultiDiscrete", "MultiBinary")


@dataclass(frozen=True)
class Algorithm:
    """Where an algorithm is, the kinds of action space it suits, and what its name for a policy network is."""

    place: str
    actions: tuple[str, ...]
    policy: str = "MlpPolicy"
    greedy: bool = False  # learns off-policy: its exploration is no part of what it learned

    def load(self) -> Any:
        """The class, imported only now: torch takes seconds."""
        module, name = self.place.split(":")
        return getattr(import_module(module), name)


ALGORITHMS = {
    "ppo": Algorithm("stable_baselines3:PPO", (*FINITE, "Box")),
    "a2c": Algorithm("stable_baselines3:A2C", (*FINITE, "Box")),
    "dqn": Algorithm("stable_baselines3:DQN", ("Discrete",), greedy=True),
    "sac": Algorithm("stable_baselines3:SAC", ("Box",), greedy=True),
    "td3": Algorithm("stable_baselines3:TD3", ("Box",), greedy=True),
    "recurrent_ppo": Algorithm("sb3_contrib:RecurrentPPO", (*FINITE, "Box"), "MlpLstmPolicy"),
    "trpo": Algorithm("sb3_contrib:TRPO", (*FINITE, "Box")),
    "qr_dqn": Algorithm("sb3_contrib:QRDQN", ("Discrete",), greedy=True),
    "maskable_ppo": Algorithm("sb3_contrib:MaskablePPO", FINITE),
}
# Worlds side by side; whether networks see boards one-hot; exploring noise, where half the action range is 1.
OURS = {"n_envs": int, "one_hot": bool, "noise_std": float}
MEASURING = {"evaluations": int, "evaluation_episodes": int}  # how often and how long a run is measured while it learns
WITHHELD = {  # decided by `train`, or state that a checkpoint does not hold
    *("policy", "env", "seed", "device", "verbose", "tensorboard_log", "stats_window_size", "_init_setup_model"),
    *("action_noise", "use_sde", "sde_sample_freq", "use_sde_at_warmup", "optimize_memory_usage"),
    *("rollout_buffer_class", "rollout_buffer_kwargs", "replay_buffer_class", "replay_buffer_kwargs"),
}
POSITIVE = {"learning_rate", "n_envs", "n_steps", "batch_size", "n_epochs", "buffer_size", "train_freq", "noise_std"}


def algorithm(name: str) -> Algorithm:
    """The algorithm called `name`. Raises ProxygapError with the nearest name if there is none."""
    if name not in ALGORITHMS:
        raise ProxygapError(f"no algorithm {name!r}: {_meant(name, ALGORITHMS)}there are {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def check_suits(algo: str, loop: Any) -> None:
    """Raises ProxygapError, naming those that suit, where the algorithm can't act in the loop's (reset) worlds."""
    kind = type(loop.action_space).__name__
    suiting = [name for name, known in ALGORITHMS.items() if kind in known.actions]
    if kind not in algorithm(algo).actions:
        raise ProxygapError(f"{algo} can't act in a {kind} action space; these can: {', '.join(suiting) or 'none'}")
    if algo == "maskable_ppo" and action_mask(loop) is None:
        raise ProxygapError(f"maskable_ppo needs an environment with an action mask, and this one has none; use {suiting[0]}")


@cache
def presets() -> dict[str, dict[str, dict[str, Any]]]:
    """`presets.yaml`: environment's class name (or "default") -> algorithm -> settings."""
    return yaml.safe_load(resources.files("proxygap.agents").joinpath("presets.yaml").read_text("utf-8"))


def default_algorithm(env: str) -> str:
    """The first algorithm that ships with settings for the environment of class `env`, or PPO, which acts everywhere."""
    return next(iter(presets().get(env, {"ppo": {}})))


def preset(env: str, algo: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every setting of the algorithm in the environment of class `env`: steps, n_envs, and its own keyword arguments.

    Overrides may be strings (from a command line): they become what the algorithm's signature asks for.
    """
    overrides = checked(algo, overrides or {})
    return presets()["default"][algo] | presets().get(env, {}).get(algo, {}) | overrides


def checked(algo: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with values of the right type. Raises ProxygapError for unknown names, wrong types, senseless values."""
    known = _known(algo)
    typed = {}
    for name, value in settings.items():
        if name not in known:
            raise ProxygapError(f"{algo} has no setting {name!r}: {_meant(name, known)}it has {', '.join(sorted(known))}")
        typed[name] = _typed(name, value, known[name])
        _check_range(name, typed[name])
    return typed


@cache
def _known(algo: str) -> dict[str, Any]:
    """The settings that a caller may choose, and their types."""
    parameters = inspect.signature(algorithm(algo).load()).parameters
    own = {name: kind for name, kind in OURS.items() if name != "noise_std" or "action_noise" in parameters}
    return {"steps": int} | own | MEASURING | {name: p.annotation for name, p in parameters.items() if name not in WITHHELD}


def _typed(name: str, value: Any, hint: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        value = yaml.safe_load(value)
    try:
        if callable(value):
            raise ValueError("a function can't be stored with the run")
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except (ValidationError, ValueError, yaml.YAMLError) as error:
        message = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ProxygapError(f"{name}={value!r}: {message}") from None


def _check_range(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and not math.isfinite(value):
        raise ProxygapError(f"{name}={value}: it must be a finite number")
    if number and name == "gamma" and not 0 < value <= 1:
        raise ProxygapError(f"gamma={value}: the discount must lie in (0, 1]")
    if number and name in POSITIVE and value <= 0:
        raise ProxygapError(f"{name}={value}: it must be above 0")
    if name == "steps" and value < 1:
        raise ProxygapError(f"steps={value}: at least 1 is needed")


def build(algo: str, venv: LoopVecEnv, settings: Mapping[str, Any], seed: int) -> Any:
    """A fresh stable-baselines3 model over `venv`, on the CPU, silent. Raises ProxygapError for settings that it refuses."""
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.noise import NormalActionNoise

    known = algorithm(algo)
    arguments = {name: deepcopy(value) for name, value in settings.items() if name not in ("steps", *OURS)}  # SB3 changes them
    if settings.get("noise_std"):
        size = spaces.flatdim(venv.action_space)
        arguments["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, settings["noise_std"]))
    if settings.get("one_hot"):
        from .one_hot import OneHot

        arguments["policy_kwargs"] = (arguments.get("policy_kwargs") or {}) | {"features_extractor_class": OneHot}
    try:
        model = known.load()(known.policy, venv, seed=seed, device="cpu", verbose=0, **arguments)
    except (AssertionError, ValueError, TypeError) as error:
        raise ProxygapError(f"{algo} refuses these settings or this environment: {error}") from error
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own would leave folders behind
    return model


def _meant(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? " if near else ""
