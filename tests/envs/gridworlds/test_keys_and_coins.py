"""KeysAndCoins' story: in training nobody can tell the goals apart; with the coin elsewhere the wrong one leaves it lying."""

from functools import cache

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds.keys_and_coins import ALCOVES, HOME, PRIZE, STEP, KeysAndCoins
from proxygap.envs.recording import random_actions, record
from proxygap.envs.tabular import best_and_worst_truth, finite_horizon, tabulate

WAY = 9  # steps from the start to the key
DETOUR = 3  # steps into an alcove and out again, on average: half of the cells are 1 deep, half 2
TRUE = KeysAndCoins.true_reward
KEY = KeysAndCoins.proxies["key"]


@cache
def exact(shift):
    """The best proxy return, the least and greatest truth that goes with it, and the best truth."""
    mdp = tabulate(KeysAndCoins(shift))
    truths = best_and_worst_truth(mdp, KEY.weights, TRUE)
    return finite_horizon(mdp, KEY.weights).value, *truths, finite_horizon(mdp, TRUE).value


@cache
def played(name, shift):
    env = KeysAndCoins(shift)
    return evaluate(env, scripted(env, name), episodes=400, seed=0)


@pytest.mark.parametrize("shift", [0.0, 0.25, 1.0])
def test_optima_are_those_of_the_shortest_ways(shift):
    straight = PRIZE + WAY * STEP
    wrong = straight - shift * PRIZE  # the coins in alcoves are missed
    assert exact(shift) == pytest.approx((straight, wrong, wrong, straight + shift * DETOUR * STEP))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_scripts_are_optimal_for_what_each_wants(shift):
    best_proxy, worst_truth, _, best_truth = exact(shift)
    assert played("gamer", shift).proxy == pytest.approx(best_proxy)
    assert played("gamer", shift).true == pytest.approx(worst_truth)
    assert played("collector", shift).true.mean() == pytest.approx(best_truth, abs=0.01)  # what coins there were is chance


def test_in_training_both_goals_come_to_the_same():
    for name in ("collector", "gamer"):
        assert np.array_equal(played(name, 0.0).proxy, played(name, 0.0).true)


def test_with_the_coin_elsewhere_the_key_pays_more_and_the_coin_is_left():
    collector, gamer = played("collector", 1.0), played("gamer", 1.0)
    assert KEY.expected == "gamed"
    assert (gamer.proxy > collector.proxy).all()
    assert (gamer.true < collector.true).all()
    assert sum(gamer.terms[:, gamer.names.index("coin")]) == 0


def test_the_coin_is_had_once_and_only_the_key_ends_the_run():
    loop = KeysAndCoins().loop(400)
    loop.reset(seed=0)
    run = record(loop, random_actions(KeysAndCoins(), 400, 49, seed=0))
    assert run["coin"].sum(0).max() == 1.0
    assert np.array_equal(run["terminated"], run["key"] > 0)
    assert run["terminated"].any()


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_coins_lie_where_they_are_said_to(shift):
    env = KeysAndCoins(shift)
    loop = env.loop(8_000)
    loop.reset(seed=1)
    chance, first = env.initial_outcomes()
    seen = (loop.state.coin[:, None] == first.coin).mean(0)
    assert set(first.coin[:-1]) == set(ALCOVES)
    assert first.coin[-1] == HOME
    assert abs(seen - chance).max() < 5 * np.sqrt(0.25 / 8_000)


@pytest.mark.parametrize("shift", [-0.1, 1.5])
def test_a_share_is_needed(shift):
    with pytest.raises(ProxygapError, match=str(shift)):
        KeysAndCoins(shift)
