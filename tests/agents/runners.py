"""Tiny trainings of every algorithm, and what of a run must be equal after it was broken off and resumed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from proxygap.agents import runs
from proxygap.agents.training import train
from proxygap.envs.gridworlds.boat_race import BoatRaceStrict
from safetensors.numpy import load_file

from .worlds import Corridor, Thermostat

POLICY_GRADIENT = {"n_envs": 4, "n_steps": 8, "batch_size": 16, "n_epochs": 2}
OFF_POLICY = {"n_envs": 4, "buffer_size": 160, "learning_starts": 32, "batch_size": 16, "train_freq": 4, "gradient_steps": 2}
NETWORK = {"policy_kwargs": {"net_arch": [8]}}
TINY: dict[str, tuple[Any, dict[str, Any]]] = {
    "ppo": (BoatRaceStrict, POLICY_GRADIENT),
    "a2c": (Thermostat, {"n_envs": 4, "n_steps": 8}),
    "dqn": (BoatRaceStrict, OFF_POLICY | {"target_update_interval": 64}),
    "sac": (Thermostat, OFF_POLICY),
    "td3": (Thermostat, OFF_POLICY | {"noise_std": 0.1}),
    "recurrent_ppo": (BoatRaceStrict, POLICY_GRADIENT | {"policy_kwargs": {"net_arch": [8], "lstm_hidden_size": 8}}),
    "trpo": (Thermostat, {"n_envs": 4, "n_steps": 8, "batch_size": 32}),
    "qr_dqn": (BoatRaceStrict, OFF_POLICY | {"target_update_interval": 64}),
    "maskable_ppo": (Corridor, POLICY_GRADIENT),
}
STEPS = 320  # the off-policy buffers hold 160: they come round twice


def run(algo: str, folder: Path | None, **more: Any) -> Any:
    """A tiny training of `algo`; with `resume=True` it goes on."""
    env, settings = TINY[algo]
    arguments = {"steps": STEPS, "evaluations": 4, "evaluation_episodes": 3, **NETWORK, **settings, **more}
    return train(env(), folder, algo=algo, seed=3, **arguments)


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run leaves, without what depends on the time it took."""
    checkpoint = sorted((folder / "checkpoint").glob("step-*"))[-1]
    numbers = json.loads((checkpoint / "numbers.json").read_text())
    numbers["episodes"] = [episode | {"t": None} for episode in numbers["episodes"]]
    replayed = [load_file(part)["observations"] for part in sorted(checkpoint.glob("replay-*"))]
    return {
        "arrays": load_file(checkpoint / "policy.safetensors") | load_file(checkpoint / "training.safetensors"),
        "numbers": numbers | {"seconds": None, "cpu_seconds": None},
        "replay": np.concatenate(replayed or [np.zeros(0)])[-40:],
        "metrics": [row | {"seconds": None, "cpu_seconds": None} for row in runs.metrics(folder)],
        "status": runs.manifest(folder)["status"],
    }
