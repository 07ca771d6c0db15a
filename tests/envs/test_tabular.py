"""Exact solving, against closed forms, brute force over all policies, and the worlds themselves."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from proxygap.envs.batch import Array
from proxygap.envs.core import Proxy, ProxyEnv, ProxygapError, State
from proxygap.envs.gridworlds.boat_race import BoatRace, BoatRaceStrict
from proxygap.envs.gridworlds.tomato_watering import TomatoWatering
from proxygap.envs.tabular import (
    TOLERANCE,
    best_and_worst_truth,
    evaluate_policy,
    expected_terms,
    finite_horizon,
    occupancy,
    optimal_values,
    tabulate,
)

PAY, WANT = {"pay": 1.0}, {"want": 1.0}


@dataclass
class Place(State):
    at: Array  # [B] number of the place


@dataclass
class Tables(ProxyEnv[Place]):
    """Any small MDP as an environment: places, actions, and two terms that hang on where a step begins and what it does."""

    chances: Array  # [S, A, S]
    pay: Array  # [S, A]
    want: Array  # [S, A]
    begin: Array  # [S]
    ends: Array  # [S] bool, terminal places

    observation_space = spaces.Box(0.0, 1e9, (1,))
    horizon = 4
    true_reward = WANT
    proxies = {"pay": Proxy(PAY, "ontological", "pays for something else")}

    def __post_init__(self):
        self.action_space = spaces.Discrete(self.pay.shape[1])

    def initial(self, batch, rng, previous=None):
        return Place((rng.random(batch)[:, None] >= self.begin.cumsum()[:-1]).sum(1))

    def transition(self, state, action, rng):
        return Place((rng.random(len(state))[:, None] >= self.chances[state.at, action].cumsum(1)[:, :-1]).sum(1))

    def outcomes(self, state, action):
        return [(self.chances[state.at, action, to], Place(np.full(len(state), to))) for to in range(len(self.begin))]

    def initial_outcomes(self):
        return self.begin, Place(np.arange(len(self.begin)))

    def observation(self, state):
        return state.at[:, None].astype(np.float32)

    def terminal(self, state):
        return self.ends[state.at]

    def terms(self, t):
        return {"pay": self.pay[t.state.at, t.action], "want": self.want[t.state.at, t.action]}


def random_tables(seed: int, places: int, actions: int) -> Tables:
    """Sparse chances, small whole rewards (so that ties are common), and perhaps a terminal place; place 0 never is one."""
    rng = np.random.default_rng(seed)
    chances = rng.random((places, actions, places)) * (rng.random((places, actions, places)) < 0.6) + 1e-3 * np.eye(places)[0]
    pay, want = rng.integers(-1, 2, (2, places, actions)).astype(float)
    ends = (rng.random(places) < 0.3) & (np.arange(places) > 0)
    return Tables(chances / chances.sum(-1, keepdims=True), pay, want, np.eye(places)[0], ends)


def returns_of_all_policies(env: Tables, horizon: int) -> Array:
    """[policies, 2] expected pay and want of every policy that may do another thing at each step, by forward simulation."""
    places, actions = env.pay.shape
    choices = np.array(list(product(range(actions), repeat=places * horizon))).reshape(-1, horizon, places)
    here, totals = np.repeat(env.begin[None] * ~env.ends, len(choices), 0), np.zeros((len(choices), 2))
    for step in range(horizon):
        chosen = np.arange(places), choices[:, step]
        totals += np.stack([(here * env.pay[chosen]).sum(1), (here * env.want[chosen]).sum(1)], 1)
        here = np.einsum("ps,pst->pt", here, env.chances[chosen]) * ~env.ends
    return totals


@given(seed=st.integers(0, 10**6), size=st.sampled_from([(2, 2, 4), (2, 3, 3), (3, 2, 3), (3, 3, 2)]))
@settings(max_examples=30, deadline=None)
def test_finite_horizons_equal_brute_force(seed, size):
    places, actions, horizon = size
    env = random_tables(seed, places, actions)
    mdp, all_returns = tabulate(env), returns_of_all_policies(env, horizon)
    plan = finite_horizon(mdp, PAY, horizon)
    best = all_returns[:, 0].max()
    np.testing.assert_allclose(plan.value, best, atol=1e-12)
    np.testing.assert_allclose(evaluate_policy(mdp, plan.policy, PAY, horizon), best, atol=1e-12)
    worse = best - all_returns[:, 0]
    assume(not ((worse > 1e-12) & (worse < 1e-7)).any())  # too close a second for what the solver calls equal
    truths = all_returns[worse <= 1e-12, 1]
    np.testing.assert_allclose(best_and_worst_truth(mdp, PAY, WANT, horizon), [truths.min(), truths.max()], atol=1e-9)


@given(seed=st.integers(0, 10**6), discount=st.floats(0.0, 0.95))
@settings(max_examples=30, deadline=None)
def test_discounted_values_equal_brute_force(seed, discount):
    """Of all stationary policies, each solved as a linear system, the optimal one is best in every state."""
    env = random_tables(seed, 3, 3)
    mdp = tabulate(env)
    size = len(mdp.start)
    onward, pay = mdp.transitions.toarray().reshape(size, 3, size), mdp.rewards(PAY)
    solved = []
    for choice in product(range(3), repeat=size):
        chosen = np.arange(size), np.array(choice)
        solved.append(np.linalg.solve(np.eye(size) - discount * onward[chosen], pay[chosen]))
    worth = optimal_values(mdp, PAY, discount)
    np.testing.assert_allclose(worth.max(1), np.max(solved, 0), atol=2 * TOLERANCE / (1 - discount))
    greedy = evaluate_policy(mdp, worth.argmax(1), PAY, discount=discount)
    np.testing.assert_allclose(greedy, mdp.start @ worth.max(1), atol=1e-6)


def chain(length: int, stay: float) -> Tables:
    """Places in a row, from the first to the terminal last; a step is paid 1, and fails to move on with chance `stay`."""
    onward = stay * np.eye(length) + (1 - stay) * np.eye(length, k=1)
    onward[-1, -1] = 1.0
    return Tables(
        onward[:, None], np.ones((length, 1)), np.zeros((length, 1)), np.eye(length)[0], np.arange(length) == length - 1
    )


@given(length=st.integers(2, 6), stay=st.floats(0.0, 0.9), discount=st.floats(0.0, 0.99))
@settings(max_examples=50, deadline=None)
def test_chains_equal_geometric_series(length, stay, discount):
    """One place takes a geometric time: worth (1 - g**n) / (1 - discount), where g is the discounted chance to get on."""
    mdp, steps_left = tabulate(chain(length, stay)), np.arange(length - 1, -1, -1)
    gain = discount * (1 - stay) / (1 - discount * stay)
    expected = (1 - gain**steps_left) / (1 - discount)
    np.testing.assert_allclose(
        optimal_values(mdp, PAY, discount)[:, 0], expected, rtol=1e-6, atol=2 * TOLERANCE / (1 - discount)
    )
    np.testing.assert_allclose(occupancy(mdp, np.zeros(length, int), discount=discount).sum(), expected[0], rtol=1e-6)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_occupancies_are_what_flows_through(seed):
    """Visits to a state are the starts there and what flows in; without terminal places they add up to the time there is."""
    env = random_tables(seed, 4, 2)
    env.ends = np.zeros(4, bool)
    mdp = tabulate(env)
    policy = np.random.default_rng(seed).dirichlet(np.ones(2), len(mdp.start))
    visits = occupancy(mdp, policy, discount=0.9)
    np.testing.assert_allclose(visits.sum(1), mdp.start + 0.9 * (mdp.transitions.T @ visits.ravel()), atol=1e-8)
    np.testing.assert_allclose(visits, policy * visits.sum(1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose([visits.sum(), occupancy(mdp, policy).sum()], [10.0, env.horizon])
    each_step = np.repeat(policy[None], env.horizon, 0)
    np.testing.assert_allclose(occupancy(mdp, each_step), occupancy(mdp, policy))
    np.testing.assert_allclose(occupancy(mdp, policy, horizon=3, discount=0.5).sum(), 1.75)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_declared_chances_are_the_worlds_own(seed):
    """From every state and action, the world goes where its tables say, as often as they say (within 5 standard errors)."""
    env, draws = random_tables(seed, 4, 2), 2000
    mdp, loop = tabulate(env), env.loop(draws)
    for state in np.flatnonzero(~mdp.terminal):
        for action in range(2):
            loop.reset(seed=seed)
            loop.worlds.state = mdp.states[np.full(draws, state)]
            reached = mdp.index(loop.step(np.full(draws, action)).transition.next_state)  # pyright: ignore[reportAttributeAccessIssue]
            chance = mdp.transitions.toarray()[state * 2 + action]
            shares = np.bincount(reached, minlength=len(chance)) / draws
            assert (abs(shares - chance) <= 5 * np.sqrt(chance * (1 - chance) / draws) + 5 / draws).all()
            assert (shares[chance == 0] == 0).all()


@pytest.mark.parametrize(
    ("env", "arrows_of_random", "truths"), [(BoatRace(), 12.625, (0.0, 100.0)), (BoatRaceStrict(), 6.5625, (0.0, 2.0))]
)
def test_the_boat_race_is_solved(env, arrows_of_random, truths):
    """A random boat moves on with chance 1/4 and is scored as going back with 3/4: true -0.5 a step."""
    mdp, proxy, true = tabulate(env), env.weights("arrows"), env.weights("true")
    assert len(mdp.start) == 8
    assert finite_horizon(mdp, proxy).value == pytest.approx(50.0)
    assert finite_horizon(mdp, true).value == pytest.approx(100.0)
    assert best_and_worst_truth(mdp, proxy, true) == pytest.approx(truths)
    uniform = np.full((8, 4), 0.25)
    assert expected_terms(mdp, uniform) == pytest.approx({"arrow": arrows_of_random, "step": 100.0, "clockwise": -50.0})
    for name, script in env.policies().items():
        assert evaluate_policy(mdp, script(mdp.states), true) == pytest.approx(100.0 if name == "racer" else 0.0)


def test_random_boats_sail_as_the_tables_say():
    """Sampled episodes agree with the exact expectation, within 5 standard errors."""
    env, episodes = BoatRace(), 2000
    exact = expected_terms(tabulate(env), np.full((8, 4), 0.25))
    loop, rng = env.loop(episodes, autoreset=False), np.random.default_rng(0)
    loop.reset(seed=0)
    for _ in range(env.horizon):
        sums = loop.step(rng.integers(4, size=episodes)).sums
    error = sums.terms.std(0) / np.sqrt(episodes)
    assert (abs(sums.terms.mean(0) - list(exact.values())) <= 5 * error + 1e-9).all()


def test_states_are_known_again_at_any_time():
    env = BoatRace()
    mdp, loop = tabulate(env), env.loop(3)
    loop.reset(seed=0)
    loop.step(np.array([3, 3, 0]))
    np.testing.assert_array_equal(mdp.states[mdp.index(loop.state)].place, [1, 1, 0])
    with pytest.raises(ProxygapError, match="not among the 8 states"):
        mdp.index(replace(loop.state, place=np.array([8, 0, 0])))


class Deadline(Tables):
    """Pays only in the last step of an episode."""

    def terms(self, t):
        return {"pay": (t.next_state.time == self.horizon) * 1.0, "want": np.zeros(len(t.action))}


def test_rules_that_read_the_time_need_it_in_the_state():
    plain = chain(3, 0.5)
    env = Deadline(plain.chances, plain.pay, plain.want, plain.begin, np.zeros(3, bool))
    with pytest.raises(ProxygapError, match="timed=True"):
        tabulate(env)
    mdp = tabulate(env, timed=True)
    assert mdp.terminal.sum() == (mdp.states.time == env.horizon).sum() == 3
    assert finite_horizon(mdp, PAY).value == pytest.approx(1.0)
    assert finite_horizon(mdp, PAY, horizon=3).value == pytest.approx(0.0)
    assert optimal_values(mdp, PAY, 0.5)[mdp.start == 1].max() == pytest.approx(0.5**3)


def test_what_cannot_be_tabulated_says_why():
    env = random_tables(0, 3, 2)
    with pytest.raises(ProxygapError, match=r"TomatoWatering can't be tabulated.*declare them in `outcomes`"):
        tabulate(TomatoWatering())
    with pytest.raises(ProxygapError, match="more than 7 states"):
        tabulate(BoatRace(), limit=7)
    with pytest.raises(ProxygapError, match=r"add up to 0\.5"):
        tabulate(replace(env, begin=env.begin / 2))
    with pytest.raises(ProxygapError, match="add up to"):
        tabulate(replace(env, chances=env.chances * 0.9))
    env.action_space = spaces.MultiDiscrete([2, 2])  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ProxygapError, match="only Discrete"):
        tabulate(env)


def test_what_cannot_be_solved_says_why():
    mdp = tabulate(BoatRace())
    with pytest.raises(ProxygapError, match="no term fish; there are: arrow, step, clockwise"):
        finite_horizon(mdp, {"fish": 1.0})
    for discount in (1.0, -0.1):
        with pytest.raises(ProxygapError, match="allowed are 0 to"):
            optimal_values(mdp, {"arrow": 1.0}, discount)
    with pytest.raises(ProxygapError, match="a policy for 5 steps is asked for 100"):
        occupancy(mdp, np.zeros((5, 8), int))


@dataclass
class Cell(State):
    y: Array  # [B]
    x: Array  # [B]


class Lake(ProxyEnv[Cell]):
    """A square lake of 316 x 316 cells: five moves, and with chance 0.2 the next one in the list happens instead."""

    side = 316
    moves = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])
    action_space = spaces.Discrete(5)
    observation_space = spaces.Box(0.0, 1.0, (2,))
    horizon = 100
    true_reward = {"fish": 1.0}
    proxies = {"fish": Proxy({"fish": 1.0}, "scope", "none", expected="aligned")}

    def initial(self, batch, rng, previous=None):
        return Cell(np.zeros(batch, int), np.zeros(batch, int))

    def transition(self, state, action, rng):
        return self.moved(state, np.where(rng.random(len(state)) < 0.2, (action + 1) % 5, action))

    def moved(self, state, action):
        down, right = self.moves[action].T
        return Cell(np.clip(state.y + down, 0, self.side - 1), np.clip(state.x + right, 0, self.side - 1))

    def outcomes(self, state, action):
        sure = np.ones(len(state))
        return [(0.8 * sure, self.moved(state, action)), (0.2 * sure, self.moved(state, (action + 1) % 5))]

    def observation(self, state):
        return np.stack([state.y, state.x], 1).astype(np.float32) / self.side

    def terms(self, t):
        return {"fish": np.sin(7.3 * t.next_state.y + 3.1 * t.next_state.x)}


@pytest.mark.slow
def test_a_hundred_thousand_states_are_solved():
    """The Bellman equation holds everywhere, and the plan for 100 steps earns what its values promise."""
    mdp, fish = tabulate(Lake()), {"fish": 1.0}
    assert len(mdp.start) == Lake.side**2 == 99_856
    worth = optimal_values(mdp, fish, 0.99)
    residual = mdp.backup(mdp.rewards(fish), worth.max(1), 0.99) - worth
    assert abs(residual).max() <= TOLERANCE
    plan = finite_horizon(mdp, fish)
    assert evaluate_policy(mdp, plan.policy, fish) == pytest.approx(plan.value)
