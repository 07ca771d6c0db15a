"""Environments of others: sound, told apart, and each proxy does what is said of it, between the scripts of its world."""

import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs import ProxygapError
from proxygap.envs.checking import check_proxy_env
from proxygap.envs.painting import picture
from proxygap.envs.recording import columns, first_difference, random_actions, record
from proxygap.envs.registry import FOREIGN, environment_class, environments, make

EXTRAS = {name: environment_class(name).extra for name in FOREIGN}
NAMES = [pytest.param(name, marks=[pytest.mark.extras] if extra else []) for name, extra in EXTRAS.items()]
PROXIES = [
    pytest.param(name, proxy, marks=[pytest.mark.extras] if EXTRAS[name] else [])
    for name in FOREIGN
    for proxy in environment_class(name).proxies
]
EPISODES = {"RiverRaid": 2, "Ant": 8}  # else 10


@pytest.mark.parametrize("name", NAMES)
def test_is_sound(name):
    assert check_proxy_env(make(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_passes_gymnasiums_checker_under_its_own_id(name):
    world = gymnasium.make(f"proxygap/{name}-v0").unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of bounds that are infinite
        check_env(world, skip_render_check=True)
    world.reset(seed=0)
    info = world.step(world.action_space.sample())[-1]
    assert set(info) >= {"true_reward", "proxy_reward", "reward_terms"}


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_parts_and_restores_exactly(name):
    env = make(name)
    whole, alone, other = env.loop(2), env.loop(1), env.loop(2)
    actions = list(random_actions(env, 2, 24))
    whole.reset(seed=5)
    alone.reset(seed=6)
    first = record(whole, actions[:12])
    snapshot = whole.snapshot()
    assert first_difference(columns(first, slice(1, 2)), record(alone, (action[1:] for action in actions[:12]))) is None
    other.restore(snapshot)
    assert first_difference(record(whole, actions[12:]), record(other, actions[12:])) is None


@pytest.mark.parametrize(("name", "proxy"), PROXIES)
def test_the_story_of_every_proxy(name, proxy):
    env = make(name)
    scripts = list(env.policies())
    found = {
        script: evaluate(env, scripted(env, script), EPISODES.get(name, 10), 0, proxy=proxy) for script in (scripts[0], "gamer")
    }
    honest, gamer = found[scripts[0]], found["gamer"]
    if (name, proxy) == ("HighwayMerge", "speed"):  # who is paid for speed alone does not dawdle
        gamer = evaluate(env, scripted(env, "racer"), 10, 0, proxy=proxy)
    assert gamer.true.mean() < honest.true.mean()
    expected = env.proxies[proxy].expected
    if expected == "gamed":
        assert gamer.proxy.mean() > honest.proxy.mean()
    elif expected == "tie":
        np.testing.assert_array_equal(gamer.proxy, honest.proxy)
    else:
        assert gamer.proxy.mean() < honest.proxy.mean()


@pytest.mark.parametrize("name", NAMES)
def test_is_drawn_and_tells_its_flaws(name, monkeypatch):
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)  # highway-env draws nothing on SDL's dummy
    env = make(name)
    loop = env.loop()
    loop.reset(seed=0)
    assert len(np.unique(picture(env, loop.state).reshape(-1, 3), axis=0)) > 2
    assert all(proxy.flaw and proxy.kind for proxy in env.proxies.values())
    assert "Action" in (type(env).__doc__ or "")
    assert "Source:" in (type(env).__doc__ or "")


def test_foreign_names_stay_apart_from_the_native_ones():
    assert not set(FOREIGN) & set(environments())
    for name, place in FOREIGN.items():
        assert environment_class(place).__name__ == name


def test_a_missing_package_is_answered_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "highway_env", None)
    with pytest.raises(ProxygapError, match=r"^HighwayMerge needs a package .* pip install 'proxygap\[highway\]'"):
        make("highway_merge")


def test_the_pendulums_truth_is_the_packages_own_reward():
    env = make("Pendulum")
    simulator = gymnasium.make("Pendulum-v1")
    loop: Any = env.loop()
    loop.reset(seed=3)
    simulator.reset(seed=int(loop.episode_seed[0]))
    for action in random_actions(env, 1, 20):
        assert loop.step(action).true[0] == pytest.approx(simulator.step(action[0])[1], rel=1e-4)


@pytest.mark.extras
@pytest.mark.parametrize("sticky", [-0.1, 1.5])
def test_a_senseless_probability_is_refused(sticky):
    with pytest.raises(ProxygapError, match="a probability from 0 to 1"):
        make("RiverRaid", sticky=sticky)
