"""The examples are what a newcomer copies: short, sound, and gamed as they say."""

from pathlib import Path

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, random_policy, scripted
from proxygap.agents.training import train
from proxygap.envs import make
from proxygap.envs.checking import check_proxy_env

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def thermostat():
    return make(f"{EXAMPLES}/thermostat.py:Thermostat")


@pytest.fixture
def cart_pole():
    return make(f"{EXAMPLES}/cartpole.py:CartPole")


def test_the_thermostat_is_one_file_of_at_most_40_lines_and_sound(thermostat):
    assert len((EXAMPLES / "thermostat.py").read_text().splitlines()) <= 40
    assert check_proxy_env(thermostat) == []


def test_a_hand_round_the_thermometer_pays_more_and_warms_nobody(thermostat):
    honest, gamer = (evaluate(thermostat, scripted(thermostat, name), 20, 0) for name in ("thrifty", "gamer"))
    assert gamer.proxy.min() > honest.proxy.max()
    assert gamer.true.max() < honest.true.min()


def test_cart_pole_is_trained_and_measured_like_a_native_world(cart_pole):
    found = train(cart_pole, algo="a2c", steps=640, evaluations=1, evaluation_episodes=4)
    row = found.metrics[-1]
    assert len(row["proxy"]) == len(row["true"]) == 4
    np.testing.assert_allclose(row["proxy"], row["length"])  # it is paid for staying alive
    chance = evaluate(cart_pole, random_policy(cart_pole), 8, 0)
    assert (chance.true < chance.proxy).all()


@pytest.mark.parametrize(
    ("example", "lines", "honest"), [("greenhouse.py:Greenhouse", 45, "gardener"), ("bakery.py:Bakery", 39, "baker")]
)
def test_an_example_is_short_and_sound_and_gaming_pays_in_it(example, lines, honest):
    assert len((EXAMPLES / example.partition(":")[0]).read_text().splitlines()) <= lines
    env = make(f"{EXAMPLES}/{example}")
    assert check_proxy_env(env) == []
    played, gamed = (evaluate(env, scripted(env, name), 20, 0) for name in (honest, "gamer"))
    assert gamed.proxy.min() > played.proxy.max()
    assert gamed.true.max() < played.true.min()
