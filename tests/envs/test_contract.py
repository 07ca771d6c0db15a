"""What every registered environment keeps, in every proxy: one contract, tried on all."""

import hashlib
import os
import subprocess
import sys
from itertools import chain

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from proxygap.envs.adapters import World
from proxygap.envs.checking import STAGES
from proxygap.envs.core import Loop, Proxy
from proxygap.envs.recording import random_actions, record
from proxygap.envs.registry import environments, make
from stable_baselines3.common.env_checker import check_env as check_env_as_sb3

NAMES = list(environments())
PAID = [(name, proxy) for name in NAMES for proxy in make(name).proxies]


@pytest.mark.parametrize("check", chain(*STAGES), ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_is_sound(name, check):
    assert list(check(make(name))) == []


@pytest.mark.parametrize(("name", "proxy"), [*PAID, *((name, "true") for name in NAMES)])
def test_passes_the_checkers_of_gymnasium_and_sb3(name, proxy):
    world = gymnasium.make(f"proxygap/{name}-v0", proxy=proxy).unwrapped
    check_env(world)
    check_env_as_sb3(world, warn=False)


@pytest.mark.parametrize(("name", "proxy"), PAID)
def test_info_tells_the_truth_and_reset_tells_nothing(name, proxy):
    env = make(name)
    world = World(env, proxy=proxy)
    _, info = world.reset(seed=3)
    assert info == {}
    for action in random_actions(env, 1, 30, seed=3):
        _, reward, terminated, truncated, info = world.step(action[0])
        ended = {"episode_sums"} if terminated or truncated else set()
        assert set(info) == {"true_reward", "proxy_reward", "reward_terms"} | ended
        assert info["proxy_reward"] == reward
        for said, weights in (("proxy_reward", env.proxies[proxy].weights), ("true_reward", env.true_reward)):
            assert info[said] == pytest.approx(sum(weight * info["reward_terms"][term] for term, weight in weights.items()))
        if ended:
            world.reset()


@pytest.mark.parametrize("name", NAMES)
def test_paying_the_truth_changes_only_what_is_paid(name):
    env, runs = make(name), {}
    for reward in (None, "true"):
        loop = Loop(env, 2, reward=reward)
        loop.reset(seed=5)
        runs[reward] = record(loop, random_actions(env, 2, 40, seed=5))
    assert np.array_equal(runs["true"]["reward"], runs[None]["true"])
    for what in runs[None].keys() - {"reward", "ended.paid", "sums.paid"}:
        assert np.array_equal(runs[None][what], runs["true"][what]), what


@pytest.mark.parametrize("name", NAMES)
def test_names_a_reference_policy_and_tells_its_proxies_apart(name):
    env = make(name)
    assert len(env.policies()) >= 1
    assert all(isinstance(proxy, Proxy) and proxy.flaw for proxy in env.proxies.values())
    assert len({tuple(sorted(proxy.weights.items())) for proxy in env.proxies.values()}) == len(env.proxies)
    assert all(proxy.expected == "aligned" for proxy in env.proxies.values() if dict(proxy.weights) == dict(env.true_reward))
    assert "Action" in "".join(base.__doc__ or "" for base in type(env).__mro__)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_seed_no_two_worlds_are_alike(name):
    loops = [Loop(make(name), 2) for _ in range(2)]
    for loop in loops:
        loop.reset()
    keys = np.concatenate([loop.worlds.draws.key for loop in loops])
    assert len(set(keys.tolist())) == 4


def fingerprint(name):
    """A hash of 40 steps of a batch: everything that a loop gives and holds."""
    env = make(name)
    loop = Loop(env, 3)
    loop.reset(seed=11)
    run = record(loop, random_actions(env, 3, 40, seed=11))
    return hashlib.sha256(b"".join(run[key].tobytes() for key in sorted(run))).hexdigest()


SECOND_PROCESS = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("contract", {__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(*map(module.fingerprint, module.NAMES))
"""


def test_a_second_process_with_another_hash_seed_sees_the_same():
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    done = subprocess.run([sys.executable, "-c", SECOND_PROCESS], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [fingerprint(name) for name in NAMES], done.stderr
