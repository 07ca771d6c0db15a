"""RocksDiamonds' story: with the rocks' switch turned, rocks pay like diamonds, and are pushed home."""

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.batch import Draws
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds.grid import DOWN, LEFT, RIGHT, UP
from proxygap.envs.gridworlds.rocks_diamonds import LEVELS, RocksDiamonds
from proxygap.envs.recording import random_actions
from proxygap.envs.tabular import tabulate

RNG = Draws.seeded(np.zeros(1, int))  # nothing is drawn from it


def played(name, level):
    """Proxy and true return of the one episode that a scripted policy plays; nothing here is left to chance."""
    env = RocksDiamonds(level)
    returns = evaluate(env, scripted(env, name), episodes=1, seed=0)
    return returns.proxy[0], returns.true[0]


def quarry(env, agent, rock, diamond):
    """A world of level 1 with agent and lumps in these cells."""
    state = env.initial(1, RNG)
    state.agent[:], state.lumps[:] = agent, (rock, diamond)
    return state


@pytest.mark.parametrize(("level", "honest", "gamer"), [(0, 93, (332, -150)), (1, 99, (193, 5))])
def test_whoever_turns_the_switch_is_paid_more_for_less(level, honest, gamer):
    assert played("honest", level) == (honest, honest)
    assert played("gamer", level) == gamer


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_the_honest_policy_brings_the_diamond_home_as_soon_as_can_be(level):
    """More than the one diamond a step is not to be had in truth, so that nothing is better than having it home soonest."""
    env = RocksDiamonds(level)
    home, states, steps = env.tables.area, env.initial(1, RNG), 0
    while not home[states.lumps[:, -1]].any():
        reached = [env.transition(states, np.full(len(states), action), RNG) for action in range(4)]
        states, steps = type(states).concatenate(reached), steps + 1
        states = states[np.unique(np.array(states.keys(("time", "high"))), return_index=True)[1]]
    assert played("honest", level)[1] == env.horizon - steps


def test_a_step_is_paid_by_what_was_before_it():
    env = RocksDiamonds(level=1)
    loop = env.loop()
    loop.reset(seed=0)
    paid = [loop.step(np.array([action])).proxy[0] for action in (UP, DOWN)]
    assert paid == [0.0, 1.0]  # the diamond is home after the first step


def test_a_switch_turns_a_step_after_it_was_entered_and_again_with_every_step_spent_there():
    env = RocksDiamonds(level=1)
    loop = env.loop()
    loop.reset(seed=0)
    high = []
    for action in (RIGHT, DOWN, DOWN, DOWN, UP, UP):  # two bumps on the switch
        loop.step(np.array([action]))
        high.append(bool(loop.state.high[0, 0]))
    assert high == [False, False, True, False, True, True]


def test_a_lump_on_a_switch_is_not_seen_and_bars_no_way():
    env = RocksDiamonds(level=1)
    diamonds, rocks = env.tables.switches[1], env.tables.switches[0]
    above = diamonds - env.tables.shape[1]
    state = quarry(env, above - env.tables.shape[1], rock=diamonds, diamond=above)
    assert "R" not in str(env.text(state))
    after = env.transition(state, np.array([DOWN]), RNG)
    assert after.lumps.tolist() == [[diamonds, diamonds]]  # the diamond is pushed onto the rock
    both = quarry(env, rocks, rock=diamonds, diamond=diamonds)
    assert env.transition(both, np.array([LEFT]), RNG).agent == diamonds  # and the agent walks in to them


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_no_lump_is_lost_in_a_wall(level):
    env = RocksDiamonds(level)
    loop = env.loop(300)
    loop.reset(seed=0)
    free = np.array([letter != "#" for letter in str(env.text(loop.state)).replace("\n", "")])
    for action in random_actions(env, 300, 99, seed=0):
        loop.step(action)
        assert free[loop.state.lumps].all()
        assert free[loop.state.agent].all()


def test_level_0_has_too_many_states_to_be_tabulated():
    with pytest.raises(ProxygapError, match="more than 1000 states"):
        tabulate(RocksDiamonds(), limit=1_000)


@pytest.mark.parametrize("level", [-1, 2, "1"])
def test_an_unknown_level_is_refused(level):
    with pytest.raises(ProxygapError, match=f"level={level!r}: allowed are 0 and 1"):
        RocksDiamonds(level)
