"""Scripts that gridworlds share: exact ones are the best there is, and plans are played to their end."""

import pickle

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.batch import Draws
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds.boat_race import BoatRaceStrict
from proxygap.envs.gridworlds.grid import DOWN, LEFT, RIGHT, UP
from proxygap.envs.gridworlds.scripts import Optimal, by_heart
from proxygap.envs.tabular import finite_horizon, tabulate

RNG = Draws.seeded(np.zeros(1, int))  # nothing is drawn from it


class Solved(BoatRaceStrict):
    def policies(self):
        return Optimal.scripts(self, true=self.true_reward, arrows=self.proxies["arrows"].weights)


def test_the_optimal_script_earns_the_optimum():
    env = Solved()
    mdp = tabulate(env)
    true, arrows = (evaluate(env, scripted(env, name), episodes=1, seed=0) for name in env.policies())
    assert true.true[0] == finite_horizon(mdp, env.true_reward).value == 100.0
    assert arrows.proxy[0] == finite_horizon(mdp, env.proxies["arrows"].weights).value == 50.0


def test_the_optimal_script_refuses_what_no_episode_reaches_and_can_be_stored():
    env = BoatRaceStrict()
    script = pickle.loads(pickle.dumps(Optimal.scripts(env, true=env.true_reward)["true"]))
    state = env.initial(1, RNG)
    assert script(state) == RIGHT
    state.place[:] = 8
    with pytest.raises(ProxygapError, match="not among the 8 states"):
        script(state)


def test_a_plan_is_played_by_the_clock_and_its_last_move_for_ever():
    state = BoatRaceStrict().initial(6, RNG)
    state.time = np.arange(6)
    assert by_heart("udlr")(state).tolist() == [UP, DOWN, LEFT, RIGHT, RIGHT, RIGHT]
