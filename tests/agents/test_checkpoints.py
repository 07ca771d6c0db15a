"""A run that was broken off goes on as if nothing had happened; what is damaged is named; no file runs code."""

import errno
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxygap.agents import checkpoints, runs
from proxygap.agents.algorithms import ALGORITHMS
from proxygap.agents.rollouts import evaluate
from proxygap.agents.trained import load_policy, save_policy
from proxygap.agents.training import resume, train
from proxygap.agents.vec_env import LoopVecEnv
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds.boat_race import BoatRace
from proxygap.envs.gridworlds.tomato_watering import TomatoWatering
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from .runners import STEPS, TINY, outcome, run


class Crash(Exception):  # noqa: N818
    """A power failure, in mid-rollout."""


@pytest.fixture
def breaking(monkeypatch):
    """Called with n, lets the n-th step of worlds from then on fail."""

    def at(step):
        left, original = [step], LoopVecEnv.step_wait

        def step_wait(self):
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            return original(self)

        patch.setattr(LoopVecEnv, "step_wait", step_wait)

    with monkeypatch.context() as patch:
        at.undo = patch.undo  # pyright: ignore[reportFunctionMemberAccess]
        yield at


def broken_off(breaking, algo, folder, step):
    breaking(step)
    with pytest.raises(Crash):
        run(algo, folder, resume=True)
    breaking.undo()


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_run_broken_off_twice_and_resumed_equals_the_uninterrupted_one_bit_for_bit(algo, tmp_path, breaking):
    run(algo, tmp_path / "whole")
    moments = random.Random(algo)
    for _ in range(2):
        broken_off(breaking, algo, tmp_path / "broken", moments.randrange(5, 40))
        assert runs.manifest(tmp_path / "broken")["status"] == "failed"
    run(algo, tmp_path / "broken", resume=True)
    np.testing.assert_equal(outcome(tmp_path / "broken"), outcome(tmp_path / "whole"))


@pytest.mark.parametrize("algo", ["ppo", pytest.param("sac", marks=pytest.mark.slow)])
def test_evaluations_do_not_disturb_learning(algo, tmp_path):
    often, never = (outcome(run(algo, tmp_path / str(n), evaluations=n).folder) for n in (9, 0))
    np.testing.assert_equal(often["arrays"], never["arrays"])


def killed(algo, folder, seconds):
    """A child process works on the run until it is killed; says whether it was."""
    child = multiprocessing.get_context("fork").Process(target=run, args=(algo, folder), kwargs={"resume": True})
    child.start()
    child.join(seconds)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_kill_9_at_ten_random_moments_loses_nothing(algo, tmp_path):
    begun = time.perf_counter()
    run(algo, tmp_path / "whole")
    duration = time.perf_counter() - begun
    moments, kills = random.Random(algo), 0
    while kills < 10:
        kills += killed(algo, tmp_path / "killed", moments.uniform(0.0, duration))
        manifest = tmp_path / "killed" / runs.MANIFEST
        if manifest.exists() and json.loads(manifest.read_text())["status"] == "finished":
            np.testing.assert_equal(outcome(tmp_path / "killed"), outcome(tmp_path / "whole"))
            shutil.rmtree(tmp_path / "killed")
    run(algo, tmp_path / "killed", resume=True)
    np.testing.assert_equal(outcome(tmp_path / "killed"), outcome(tmp_path / "whole"))


@pytest.mark.slow
def test_another_process_comes_to_the_same_bits(tmp_path, breaking):
    run("ppo", tmp_path / "whole")
    broken_off(breaking, "ppo", tmp_path / "broken", 50)
    code = f"from proxygap.agents.training import resume; resume({str(tmp_path / 'broken')!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_equal(outcome(tmp_path / "broken"), outcome(tmp_path / "whole"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run whose files no test may change."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run("ppo", folder)
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run to damage, and its last checkpoint."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run", sorted((tmp_path / "run" / "checkpoint").iterdir())[-1]


MEMBERS = ["policy.safetensors", "training.safetensors", "numbers.json"]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "flipped"])
def test_damage_is_named_and_so_is_the_checkpoint_before(copied, member, damage):
    folder, last = copied
    data = (last / member).read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    (last / member).unlink()
    if damage != "missing":
        (last / member).write_bytes({"cut": data[:middle], "empty": b"", "flipped": flipped}[damage])
    said = {"missing": "is missing", "flipped": "sha256"}.get(damage, f"bytes and had {len(data):,}")
    with pytest.raises(ProxygapError, match=rf"{member}.*{said}.*step-0+\d+, is whole"):
        resume(folder)
    shutil.rmtree(last)  # as the message says
    assert run("ppo", folder, resume=True).metrics[-1]["steps"] >= STEPS
    assert len(runs.metrics(folder)) == 5


def test_no_single_byte_of_a_manifest_can_be_lost_without_a_message(copied):
    folder, last = copied
    path = last / "manifest.json"
    whole = path.read_bytes()
    for i in range(0, len(whole), 7):
        path.write_bytes(whole[:i])
        with pytest.raises(ProxygapError):
            checkpoints.latest(folder)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*MEMBERS, "manifest.json"]), st.binary(max_size=200), st.integers(0, 2**31))
def test_whatever_is_written_over_a_checkpoint_it_loads_whole_or_is_refused(copied, member, junk, place):
    folder, last = copied
    whole = (last / member).read_bytes()
    start = place % len(whole)
    (last / member).write_bytes(whole[:start] + junk + whole[start + len(junk) :])
    try:
        checkpoints.latest(folder)
    except ProxygapError as error:
        assert str(last) in str(error)  # noqa: PT017
    finally:
        (last / member).write_bytes(whole)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_pickle_is_never_executed(copied, member, monkeypatch):
    folder, last = copied
    monkeypatch.chdir(folder)
    manifest = json.loads((last / "manifest.json").read_text())
    (last / member).write_bytes(pickle.dumps(Evil()))
    manifest["files"][member] = checkpoints._write_member(last / member, pickle.dumps(Evil()))[member]
    (last / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ProxygapError):
        resume(folder)
    assert not (folder / "executed").exists()


def test_code_named_by_a_file_is_not_imported_unless_trusted(copied):
    folder, _ = copied
    (folder / "evil.py").write_text(f"open({str(folder / 'executed')!r}, 'w')")
    manifest = runs.manifest(folder)
    runs.update_manifest(folder, settings=manifest["settings"] | {"env": f"{folder / 'evil.py'}:Evil"})
    for load in (load_policy, resume):
        with pytest.raises(ProxygapError, match="code of its own"):
            load(folder)
    assert not (folder / "executed").exists()


@pytest.mark.parametrize(
    "change", [{"algo": "sac"}, {"algo": "a2cc"}, {"seed": "x"}, {"more": 1}, {"hyperparameters": {"gama": 1}}], ids=str
)
def test_a_manifest_with_senseless_settings_is_one_message(copied, change):
    folder, _ = copied
    runs.update_manifest(folder, settings=runs.manifest(folder)["settings"] | change)
    for load in (load_policy, resume):
        with pytest.raises(ProxygapError):
            load(folder)


def test_spaces_that_differ_are_named(finished):
    with pytest.raises(ProxygapError, match=r"observation space has shape \[5, 5\]; here it is \[7, 9\]"):
        load_policy(finished, env=TomatoWatering())
    with pytest.raises(ProxygapError, match="other settings: env was 'BoatRaceStrict' and is now 'BoatRace'"):
        train(BoatRace(), finished, algo="ppo", resume=True)
    with pytest.raises(ProxygapError, match="algo was 'ppo' and is now 'a2c'"):
        train("BoatRaceStrict", finished, algo="a2c", resume=True)


@pytest.mark.parametrize(("path", "said"), [("nothing", "no run and"), ("folder", "no manifest"), ("file", "not a policy")])
def test_what_is_no_run_is_one_message(path, said, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"PK")
    with pytest.raises(ProxygapError, match=said):
        load_policy(tmp_path / path)


def test_a_full_disk_at_any_write_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    run("dqn", tmp_path / "whole")
    writes = count(monkeypatch, lambda: run("dqn", tmp_path / "counted"))
    for n in np.linspace(6, writes - 1, 4, dtype=int):
        folder = tmp_path / str(n)
        with pytest.raises(ProxygapError, match="No space left"), full_disk(monkeypatch, n):
            run("dqn", folder)
        checkpoints.latest(folder)  # raises if it is not whole
        run("dqn", folder, resume=True)
        np.testing.assert_equal(outcome(folder), outcome(tmp_path / "whole"))


@contextmanager
def full_disk(monkeypatch, after):
    """Every write to disk after the first `after` fails."""
    left, original = [after], os.fsync

    def fsync(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield left


def count(monkeypatch, work):
    """How often `work` writes to disk."""
    with full_disk(monkeypatch, 10**6) as left:
        work()
    return 10**6 - left[0]


@pytest.mark.parametrize("algo", ["ppo", "recurrent_ppo", "dqn", "sac"])
def test_a_loaded_agent_acts_as_the_trained_one_did(algo, tmp_path):
    made = run(algo, tmp_path / "run")
    env = TINY[algo][0]()
    save_policy(made, tmp_path / "agent.safetensors")
    expected = evaluate(env, made.policy(7), 3, 5)
    for path in (tmp_path / "run", tmp_path / "agent.safetensors"):
        loaded = load_policy(path, env=env)
        assert loaded.steps == made.steps
        np.testing.assert_equal(vars(evaluate(env, loaded.policy(7), 3, 5)), vars(expected))
    assert (tmp_path / "agent.safetensors").stat().st_size < 40_000


def test_a_registered_environment_is_made_again_from_the_file(finished, tmp_path):
    agent = load_policy(finished)
    save_policy(agent, tmp_path / "agent")
    assert type(load_policy(tmp_path / "agent").env).__name__ == "BoatRaceStrict"


def test_networks_of_another_shape_are_refused(copied, tmp_path):
    agent = load_policy(copied[0])
    save_policy(agent, tmp_path / "agent")
    weights = load_file(tmp_path / "agent")
    weights["policy/action_net.bias"] = weights["policy/action_net.bias"][:-1]
    with safe_open(tmp_path / "agent", "numpy") as file:
        metadata = file.metadata()
    save_file(weights, tmp_path / "agent", metadata)
    with pytest.raises(ProxygapError, match=r"action_net\.bias"):
        load_policy(tmp_path / "agent")


def test_of_a_replay_buffer_only_new_rows_are_written(tmp_path):
    run("dqn", tmp_path, buffer_size=4000)
    *_, last = sorted((tmp_path / "checkpoint").iterdir())
    rows = [checkpoints._rows(part.name) for part in sorted(last.glob("replay-*"))]
    assert [first for first, _ in rows[1:]] == [stop for _, stop in rows[:-1]]  # end to end, no row twice
    assert rows[-1][1] == run("dqn", tmp_path, buffer_size=4000, resume=True).steps // 4
    assert all(part.stat().st_nlink > 1 for part in sorted(last.glob("replay-*"))[:-1])


def test_a_manifest_too_large_to_be_one_is_not_read(copied):
    folder, last = copied
    os.truncate(last / "manifest.json", runs.LARGEST_JSON + 1)  # sparse: it takes no room
    with pytest.raises(ProxygapError, match=r"manifest\.json has 67,?108,?865 bytes, more than"):
        checkpoints.latest(folder)
