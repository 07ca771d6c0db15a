"""Planners: the exact one earns what the tables promise, the sampling one comes near it, and both refuse what they can't do."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.agents.planning import CEM, ExactPlanner
from proxygap.agents.rollouts import collect, evaluate, random_policy
from proxygap.envs.batch import Array
from proxygap.envs.core import Proxy, ProxyEnv, ProxygapError, State
from proxygap.envs.gridworlds.boat_race import BoatRace, BoatRaceStrict
from proxygap.envs.tabular import finite_horizon, tabulate


@dataclass
class Way(State):
    left: Array  # [B] steps to the treasure
    luck: Array  # [B] whether the last step forward came off


@dataclass
class Treasure(ProxyEnv[Way]):
    """Pick a coin here (action 3) or go on (action 4, comes off with chance `sure`) to a treasure that is `far` steps away.

    Near the end of an episode the treasure is out of reach: what is best hangs on the time. The actions' numbers begin at 3.
    """

    far: int = 3
    prize: float = 10.0
    sure: float = 1.0
    shows_luck: bool = True

    action_space = spaces.Discrete(2, start=3)
    observation_space = spaces.Box(0.0, 100.0, (2,))
    horizon = 8
    true_reward = {"coin": 1.0, "treasure": 1.0}
    proxies = {"coins": Proxy({"coin": 1.0}, "scope", "leaves out the treasure")}

    def initial(self, batch, rng, previous=None):
        return Way(np.full(batch, self.far), np.ones(batch, bool))

    def stepped(self, state, action, luck):
        left = np.where(state.left == 0, self.far, state.left) - ((action == 4) & luck)
        return Way(left, luck)

    def transition(self, state, action, rng):
        return self.stepped(state, action, rng.random(len(state)) < self.sure)

    def outcomes(self, state, action):
        came_off = np.ones(len(state), bool)
        parts = ((self.sure, came_off), (1 - self.sure, ~came_off))
        return [(np.full(len(state), chance), self.stepped(state, action, luck)) for chance, luck in parts]

    def initial_outcomes(self):
        return np.ones(1), Way(np.full(1, self.far), np.ones(1, bool))

    def observation(self, state):
        return np.stack([state.left, state.luck * self.shows_luck], 1).astype(np.float32)

    def terms(self, t):
        found = (t.next_state.left == 0) * self.prize
        return {"coin": (t.action == 3) * 1.0, "treasure": found}


class Countdown(Treasure):
    """The same way, with the time in what is seen."""

    shows_time = True

    def observation(self, state):
        return np.stack([state.left * 2 + state.luck, state.time], 1).astype(np.float32)


def return_through_predict(env, planner, episodes):
    """The mean true return of a planner used as stable-baselines3's models are: observations, memory and episode starts."""
    loop, memory = env.loop(episodes, autoreset=False), None
    loop.reset(seed=0)
    for _ in range(env.horizon):
        action, memory = planner.predict(loop.observation, state=memory, episode_start=loop.start)
        sums = loop.step(action).sums
    return sums.true.mean()


@given(far=st.integers(1, 6), prize=st.floats(0.0, 12.0))
@settings(max_examples=25, deadline=None)
def test_the_exact_planner_earns_the_optimum(far, prize):
    """In 8 steps a walker digs up k treasures in k * far steps, if they are worth it, and picks coins in the others."""
    for env in (Treasure(far, prize), Countdown(far, prize)):
        optimum = max(k * prize + 8 - k * far for k in range(8 // far + 1))
        planner = ExactPlanner(env, "true")
        np.testing.assert_allclose(evaluate(env, planner, 3, seed=0).true, optimum)
        np.testing.assert_allclose(return_through_predict(env, planner, 3), optimum)


def test_with_chance_the_exact_planner_earns_what_is_promised():
    env, episodes = Treasure(sure=0.7), 4000
    promised = finite_horizon(tabulate(env), env.true_reward).value
    returns = evaluate(env, ExactPlanner(env, "true"), episodes, seed=1)
    assert abs(returns.true.mean() - promised) < 5 * returns.true.std() / np.sqrt(episodes)


def test_the_exact_planner_maximises_the_reward_it_is_given():
    env = BoatRaceStrict()
    proxy, true = (evaluate(env, ExactPlanner(env, name), 1, seed=0) for name in ("arrows", "true"))
    assert (proxy.proxy[0], true.true[0]) == (50.0, 100.0)
    assert proxy.true[0] <= 2.0
    backwards = evaluate(env, ExactPlanner(env, {"clockwise": -1.0}), 1, seed=0)
    assert backwards.true[0] == -100.0


def test_a_discount_leaves_the_time_out():
    """Without a time limit the far treasure is worth the way in every step, too late in an episode included."""
    env = Treasure()
    actions = collect(env, ExactPlanner(env, "true", discount=0.99), 1, seed=0).action
    assert (actions == 4).all()
    assert collect(env, ExactPlanner(env, "true"), 1, seed=0).action.ravel().tolist().count(3) == 2
    assert (collect(env, ExactPlanner(env, "true", discount=0.1), 1, seed=0).action == 3).any()


def test_predict_takes_one_world_or_many():
    planner, env = ExactPlanner(BoatRace(), "true"), BoatRace()
    loop = env.loop(2)
    shown = loop.reset(seed=0)
    many, _ = planner.predict(shown)
    one, memory = planner.predict(shown[0])
    assert many.shape == (2,)
    assert one == many[0]
    assert memory[0].tolist() == [1]


def test_predict_refuses_what_it_cannot_tell_apart():
    env = Treasure(sure=0.5, shows_luck=False)
    planner = ExactPlanner(env, "true")
    with pytest.raises(ProxygapError, match="looks the same in states"):
        planner.predict(np.zeros((1, 2), np.float32))
    assert evaluate(env, planner, 2, seed=0).true.shape == (2,)  # as a policy it knows the state
    with pytest.raises(ProxygapError, match="no state of this environment"):
        ExactPlanner(BoatRace(), "true").predict(np.zeros((1, 5, 5), np.float32))


@dataclass
class Float(State):
    x: Array  # [B, 2] m


class Buoy(ProxyEnv[Float]):
    """Moves by up to STEP a step in each direction, paid less the farther from GOAL; there the optimum is known."""

    action_space = spaces.Box(-0.5, 1.0, (2,), np.float64)
    observation_space = spaces.Box(-10.0, 10.0, (2,))
    horizon = 12
    true_reward = {"distance": -1.0}
    proxies = {"speed": Proxy({"speed": 1.0}, "ontological", "speed stands in for getting there")}
    goal = np.array([3.2, -1.3])  # m; 4 steps to the right (1.0 each), 3 down (0.5 each), the last ones shorter

    def initial(self, batch, rng, previous=None):
        return Float(np.zeros((batch, 2)))

    def transition(self, state, action, rng):
        return Float(state.x + action)

    def observation(self, state):
        return state.x.astype(np.float32)

    def terms(self, t):
        return {"distance": abs(t.next_state.x - self.goal).sum(1), "speed": abs(t.action).sum(1)}


BEST_BUOY = -(2.2 + 1.2 + 0.2 + 0.8 + 0.3)  # what is left after each step, both directions


def test_cem_comes_near_the_optimum_of_a_continuous_world():
    env = Buoy()
    planner = CEM(env, "true", horizon=5, population=200, elites=20, iterations=8)
    planned = evaluate(env, planner, 3, seed=0).true
    chance = evaluate(env, random_policy(env), 50, seed=0).true.mean()
    assert (planned <= BEST_BUOY + 1e-9).all()
    assert (planned > BEST_BUOY + 0.05 * (chance - BEST_BUOY)).all()


@pytest.mark.parametrize(("env", "reward", "optimum"), [(BoatRace(), "true", 100.0), (BoatRaceStrict(), "arrows", 50.0)])
def test_cem_comes_near_the_optimum_of_a_gridworld(env, reward, optimum):
    planner = CEM(env, reward, horizon=4, population=200, elites=20, iterations=4)
    assert (evaluate(env, planner, 3, seed=0, reward="true" if reward == "true" else None).paid >= 0.95 * optimum).all()


def test_cem_takes_any_reward():
    env = BoatRace()
    still = CEM(env, lambda t: (t.next_state.place == t.state.place) * 1.0, horizon=3, population=100, elites=10)
    assert (evaluate(env, still, 2, seed=0).true == -100.0).all()  # bumping into the walls


@dataclass
class Cliff(Treasure):
    """What comes after the first treasure would be worth far more, but the episode is over."""

    def terminal(self, state):
        return state.left == 0

    def terms(self, t):
        after = (t.state.left == 0) * 1000.0
        return {"coin": (t.action == 3) * 1.0, "treasure": (t.next_state.left == 0) * -1.0 + after}


def test_cem_counts_nothing_after_the_end():
    """Neither past a terminal state nor past the time limit."""
    env = Cliff(far=1)
    assert (evaluate(env, CEM(env, "true", horizon=4, population=64, elites=8), 2, seed=0).true == 8.0).all()
    late = Treasure(far=3, prize=100.0)
    loop = late.loop(1)
    loop.reset(seed=0)
    loop.worlds.state = replace(loop.state, time=np.array([late.horizon - 2]))
    assert CEM(late, "true", horizon=4, population=200, elites=20).plan(loop.state)[0, :2].tolist() == [3, 3]


@pytest.mark.parametrize("replan", [1, 3, 5])
def test_cem_replans_every_few_steps_and_where_an_episode_begins(replan, monkeypatch):
    planned = []
    plan = CEM.plan
    monkeypatch.setattr(CEM, "plan", lambda self, state, hint: planned.append(len(state)) or plan(self, state, hint))
    env = Treasure()
    planner = CEM(env, "true", horizon=5, population=8, elites=2, iterations=1, replan=replan)
    evaluate(env, planner, 4, seed=0, batch=2)
    assert planned == [2] * 2 * ceil(env.horizon / replan)
    evaluate(env, planner, 3, seed=0)  # another batch
    assert planned[-1] == 3


def test_cem_is_never_worse_than_the_hint():
    """Without chance, what is found earns at least what the hinted sequence earns."""
    env = Treasure(far=7, prize=1000.0)  # one sequence of 128 finds it
    loop = env.loop(1)
    loop.reset(seed=0)
    planner = CEM(env, "true", horizon=7, population=4, elites=1, iterations=3)
    assert (planner.plan(loop.state, np.full((1, 7), 4)) == 4).all()


def test_cem_leaves_the_worlds_chance_alone_and_repeats():
    env = Treasure(sure=0.5)
    loop = env.loop(3)
    loop.reset(seed=0)
    before = loop.snapshot()
    first, again, other = (CEM(env, "true", population=16, elites=4, seed=seed)(loop) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert other.shape == first.shape == (3,)
    for name, array in loop.snapshot().items():
        np.testing.assert_array_equal(array, before[name])


def test_cem_refuses_what_it_cannot_plan():
    env = Treasure()
    for wrong in ({"elites": 0}, {"elites": 9, "population": 8}, {"replan": 0}, {"replan": 11}, {"iterations": 0}):
        with pytest.raises(ProxygapError, match="allowed are"):
            CEM(env, "true", **wrong)
    for space in (spaces.MultiBinary(2), spaces.Box(-np.inf, np.inf, (1,))):
        env.action_space = space  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(ProxygapError, match="Box ones with bounds"):
            CEM(env, "true")
