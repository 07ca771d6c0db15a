"""Training: it learns, it is measured on both rewards, and it refuses what makes no sense."""

import multiprocessing
import os
import signal
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from proxygap.agents import runs
from proxygap.agents.algorithms import ALGORITHMS, build, default_algorithm, preset, presets
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.agents.trained import Trained, load_policy
from proxygap.agents.training import Interrupted, train
from proxygap.agents.vec_env import LoopVecEnv
from proxygap.envs.core import Loop, ProxygapError
from proxygap.envs.gridworlds.boat_race import BoatRace, BoatRaceStrict
from proxygap.envs.registry import known_environments
from scipy import stats

from .runners import STEPS, run
from .worlds import Corridor, Thermostat

QUICK: dict[str, Any] = {"steps": 64, "n_envs": 4, "n_steps": 8, "evaluations": 0, "evaluation_episodes": 2}


def quick(env: Any, **settings: Any) -> Trained:
    """A training too short to learn anything."""
    return train(env, **{**QUICK, **settings})


def test_paid_by_the_proxy_the_boat_learns_to_game():
    env = BoatRaceStrict()
    racer = evaluate(env, scripted(env, "racer"), 1, 0)
    last = [
        train(env, algo="a2c", steps=30_000, seed=seed, evaluations=0, evaluation_episodes=16).metrics[-1] for seed in range(3)
    ]
    proxy, true = (np.array([np.mean(row[name]) for row in last]) for name in ("proxy", "true"))
    low = proxy.mean() - stats.t.ppf(0.975, 2) * stats.sem(proxy)
    assert low > 0.8 * 50  # going to and fro over one arrow earns 50, and nothing earns more
    assert low > racer.proxy.mean()
    assert true.max() < racer.true.mean() / 2


def test_both_rewards_and_every_term_are_measured_from_the_first_step_to_the_last():
    trained = quick(Thermostat(), algo="a2c", evaluations=4)
    assert [row["steps"] for row in trained.metrics] == [0, 32, 64]  # four were asked for, but a rollout takes 32 steps
    for row in trained.metrics:
        assert {"proxy", "true", "paid", "length", "terms", "seconds", "cpu_seconds"} <= set(row)
        assert len(row["proxy"]) == len(row["true"]) == QUICK["evaluation_episodes"]
        assert np.mean(row["true"]) == pytest.approx(row["terms"]["comfort"] - 2 * row["terms"]["heating"])
    assert [row["seconds"] for row in trained.metrics] == sorted(row["seconds"] for row in trained.metrics)


def test_the_steps_really_done_are_told():
    assert quick(BoatRace(), algo="ppo", steps=100, n_envs=1, n_steps=64, batch_size=64).steps == 128


def test_any_reward_can_be_paid_and_both_of_ours_are_still_measured():
    trained = quick(Thermostat(), algo="a2c", reward=lambda t: np.full(len(t), 0.5))
    assert trained.metrics[-1]["paid"] == [0.5 * Thermostat.horizon] * 2
    assert trained.metrics[-1]["true"] != trained.metrics[-1]["paid"]


def test_the_mask_is_what_teaches_the_way():
    masked = quick(Corridor(), algo="maskable_ppo", batch_size=32).metrics[-1]
    blind = quick(Corridor(), algo="ppo", batch_size=32, evaluation_episodes=50).metrics[-1]
    assert masked["length"] == [Corridor.horizon] * 2  # never through a closed door, which would end it
    assert np.mean(blind["length"]) < Corridor.horizon / 2


def test_seeds_differ_and_repeat():
    first, again, other = (quick(BoatRace(), algo="a2c", seed=seed).model.policy.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_progress_tells_how_far_it_is_and_what_both_rewards_are():
    rows = []
    quick(BoatRace(), algo="a2c", progress=rows.append, steps=1000, evaluations=5)
    assert [row["fraction"] for row in rows] == sorted(row["fraction"] for row in rows)
    assert rows[-1]["fraction"] == 1.0
    assert {"evaluation", "seconds_left"} <= set(rows[-1])
    assert -100 <= rows[-1]["proxy"] <= 50
    assert -100 <= rows[-1]["true"] <= 100


def test_torch_has_as_many_threads_afterwards_as_before():
    before = torch.get_num_threads()
    quick(BoatRace(), algo="a2c")
    assert torch.get_num_threads() == before


SENSELESS = {
    "no algorithm 'pppo': did you mean 'ppo'": {"algo": "pppo"},
    "learnin_rate.*did you mean 'learning_rate'": {"learnin_rate": 1},
    "gamma=1.5.*\\(0, 1\\]": {"gamma": 1.5},
    "gamma=0": {"gamma": 0.0},
    "learning_rate=-1": {"learning_rate": -1},
    "learning_rate=0": {"learning_rate": "0"},
    "learning_rate=nan": {"learning_rate": float("nan")},
    "learning_rate='fast'": {"learning_rate": "fast"},
    "a function can't be stored": {"learning_rate": lambda left: left},
    "n_steps=.__import__": {"n_steps": "__import__('os').abort()"},
    "steps=-5": {"steps": -5},
    "steps=0": {"steps": 0},
    "n_envs=0": {"n_envs": 0},
    "seed=-1": {"seed": -1},
    "seed=1.5": {"seed": 1.5},
    "seed=1099511627776": {"seed": 2**40},
    "evaluation_episodes=0": {"evaluation_episodes": 0},
    "has no proxy 'turbos'": {"proxy": "turbos"},
    "no setting 'device'": {"device": "cuda"},
    "sac can't act in a Discrete.*ppo, a2c, dqn": {"algo": "sac"},
    "maskable_ppo needs .* mask": {"algo": "maskable_ppo"},
}


@pytest.mark.parametrize("message", SENSELESS)
def test_what_makes_no_sense_is_refused_before_anything_is_written(message, tmp_path):
    with pytest.raises(ProxygapError, match=message):
        train(BoatRace(), tmp_path / "run", **{"algo": "ppo", **SENSELESS[message]})
    assert not (tmp_path / "run" / runs.MANIFEST).exists()


def test_an_algorithm_for_choices_refuses_to_steer():
    with pytest.raises(ProxygapError, match=r"dqn can't act in a Box.*sac, td3"):
        train(Thermostat(), algo="dqn")


def test_overrides_become_what_the_signature_asks_for():
    settings = preset("BoatRace", "ppo", {"learning_rate": "1e-4", "n_steps": "8", "normalize_advantage": "false"})
    assert [settings[name] for name in ("learning_rate", "n_steps", "normalize_advantage")] == [1e-4, 8, False]
    assert preset("BoatRace", "ppo", {"policy_kwargs": "{net_arch: [8, 8]}"})["policy_kwargs"] == {"net_arch": [8, 8]}


def test_settings_are_never_changed_in_place():
    """stable-baselines3's A2C writes its optimiser into the `policy_kwargs` that it is given."""
    settings, shipped = {"policy_kwargs": {"net_arch": [8]}}, deepcopy(presets())
    build("a2c", LoopVecEnv(Loop(BoatRace(), 1)), settings, seed=0)
    assert settings == {"policy_kwargs": {"net_arch": [8]}}
    assert preset("BoatRace", "a2c", {"gamma": 0.5})["gamma"] == 0.5
    assert presets() == shipped


def test_every_algorithm_ships_settings_that_it_accepts():
    shipped = presets()
    assert set(shipped["default"]) == set(ALGORITHMS)
    assert set(shipped) <= {"default", *known_environments()}
    for env, of in shipped.items():
        for algo in of:
            settings = preset(env, algo)
            assert preset(env, algo, settings) == settings


def test_the_first_algorithm_with_settings_of_its_own_is_the_default():
    assert default_algorithm("BoatRace") == "a2c"
    assert default_algorithm("Thermostat") == "ppo"


class Broken(Thermostat):
    """Its thermometer breaks after a while, where four rooms are heated at once: in training, never in an evaluation."""

    def terms(self, t):
        broken = (t.state.time == 15) & (len(t) == 4)
        return super().terms(t) | {"heating": np.where(broken, np.nan, t.action[:, 0])}


def test_a_reward_that_is_not_finite_fails_the_run_and_keeps_its_last_checkpoint(tmp_path):
    with pytest.raises(ProxygapError, match="not finite"):
        train(Broken(), tmp_path, algo="a2c", steps=64, n_envs=4, n_steps=8, evaluations=0, evaluation_episodes=1)
    manifest = runs.manifest(tmp_path)
    assert manifest["status"] == "failed"
    assert "not finite" in manifest["error"]
    assert load_policy(tmp_path, env=Thermostat()).steps == 0


def test_the_manifest_holds_what_decides_the_run(tmp_path):
    trained = run("ppo", tmp_path)
    manifest = runs.manifest(tmp_path)
    assert manifest["status"] == "finished"
    assert manifest["steps"] == trained.steps
    assert manifest["torch_threads"] == 1
    assert manifest["settings"]["env"] == "BoatRaceStrict"
    assert manifest["settings"]["hyperparameters"]["learning_rate"] == preset("BoatRaceStrict", "ppo")["learning_rate"]
    assert {"python", "numpy", "torch", "proxygap", "stable-baselines3", "gymnasium"} <= set(manifest["versions"])
    assert runs.metrics(tmp_path) == trained.metrics


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    run("a2c", tmp_path)
    before = (tmp_path / runs.METRICS).read_bytes()
    with pytest.raises(ProxygapError, match="already holds a run"):
        run("a2c", tmp_path)
    with pytest.raises(ProxygapError, match=r"other settings: .*'gamma': 0\.5"):
        run("a2c", tmp_path, resume=True, gamma=0.5)
    assert (tmp_path / runs.METRICS).read_bytes() == before


def test_a_folder_in_use_is_refused_and_one_whose_process_died_is_not(tmp_path):
    def second():
        with pytest.raises(ProxygapError, match=f"in use by process {os.getppid()}"):
            run("a2c", tmp_path)

    def during(row):
        child = multiprocessing.get_context("fork").Process(target=second)
        if row["steps"] and not codes:
            child.start()
            child.join()
            codes.append(child.exitcode)

    codes = []
    run("a2c", tmp_path, progress=during)
    assert codes == [0]
    assert run("a2c", tmp_path, resume=True).steps >= STEPS


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ProxygapError, match=r"can't write to .*choose another folder"):
        run("a2c", tmp_path / "file" / "run")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_first_signal_stops_at_the_next_boundary_with_everything_stored(number, code, tmp_path):
    def interrupt(row):
        if row["steps"] and runs.manifest(tmp_path)["status"] == "running":
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="resume it to go on") as stop:
        run("a2c", tmp_path, progress=interrupt)
    assert stop.value.exit_code == code
    assert runs.manifest(tmp_path)["status"] == "stopped"
    assert signal.getsignal(number) is before
    assert run("a2c", tmp_path, resume=True).metrics[-1]["steps"] >= STEPS


def test_a_second_signal_stops_at_once(tmp_path, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def insist(row):
        if row["steps"]:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run("a2c", tmp_path, progress=insist)
    assert runs.manifest(tmp_path)["status"] == "stopped"
