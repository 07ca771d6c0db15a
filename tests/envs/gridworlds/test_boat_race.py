"""In BoatRace's faithful world gaming ties with racing, in the strict one it pays more."""

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.gridworlds.boat_race import BoatRace, BoatRaceStrict
from proxygap.envs.recording import random_actions, record


def played(env, policy):
    """Proxy, true return and length of the one episode that a scripted policy plays; nothing here is left to chance."""
    returns = evaluate(env, scripted(env, policy), episodes=1, seed=0)
    return returns.proxy[0], returns.true[0], returns.length[0]


def test_faithful_racing_and_gaming_earn_the_same():
    assert played(BoatRace(), "racer") == (50.0, 100.0, 100)
    assert played(BoatRace(), "gamer") == (50.0, 0.0, 100)


def test_strictly_gaming_pays_more_and_gets_nowhere():
    assert played(BoatRaceStrict(), "racer") == (-25.0, 100.0, 100)  # 12.5 laps of -2
    assert played(BoatRaceStrict(), "gamer") == (50.0, 0.0, 100)


@pytest.mark.parametrize("env", [BoatRace(), BoatRaceStrict()])
def test_laps_are_counted_and_bumps_are_steps_back(env):
    loop = env.loop(64)
    loop.reset(seed=0)
    run = record(loop, random_actions(env, 64, env.horizon - 1, seed=0))
    assert np.isin(run["clockwise"], [-1.0, 1.0]).all()
    forward, back = (run["clockwise"] > 0).sum(0), (run["clockwise"] < 0).sum(0)
    assert np.array_equal(run["ended.true"][-1], forward - back)
    assert np.array_equal(run["ended.proxy"][-1], 3 * run["arrow"].sum(0) - run["step"].sum(0))


def test_no_boat_enters_arrows_in_two_steps_running():
    loop = BoatRace().loop(2_000)
    loop.reset(seed=1)
    run = record(loop, random_actions(BoatRace(), 2_000, 99, seed=1))
    assert (run["arrow"][1:] + run["arrow"][:-1]).max() == 1.0  # so that 50 is the most there is
