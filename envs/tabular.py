"""An environment with few states as an exact Markov decision process, and what follows from it by arithmetic.

`tabulate` finds every state that an episode can reach. Then optimal values and policies, what a policy is worth and where it
spends its time need no sampling. Actions are numbered from 0 here. A policy is an array: whole numbers [S] or [T, S] (the
action), or probabilities [S, A] or [T, S, A]; those with a T may do another thing at every step.

Methods: Puterman (1994), "Markov Decision Processes": chapter 4 (finite horizons), section 6.5 (modified policy iteration).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
from gymnasium import spaces
from scipy.sparse import csr_array

from .batch import Array, UndeclaredChanceError
from .core import ProxyEnv, ProxygapError, State, Transition, completed

TOLERANCE = 1e-9  # what counts as equal, as a share of the largest value that the rewards allow
LARGEST_DISCOUNT = 0.999999  # past that, rounding is larger than TOLERANCE
SWEEPS = 50  # evaluations of a policy between two improvements


@dataclass(frozen=True)
class TabularMDP:
    """S states, A actions, n terms. In a terminal state an episode is over: nothing follows, nothing is paid."""

    states: Any  # S worlds, one in each state
    transitions: csr_array  # [S * A, S] probabilities; row s * A + a is action a in state s, empty where s is terminal
    terms: Array  # [S, A, n] expected, of one step
    names: tuple[str, ...]  # of the terms
    start: Array  # [S] probability that an episode begins there
    horizon: int  # steps an episode may last
    index_of: Mapping[bytes, int]  # a state's key -> its number
    timed: bool  # the same world at another time is another state

    def index(self, state: State) -> Array:
        """The number [B] of each world's state. Raises ProxygapError for one that no episode reaches."""
        try:
            return np.array([self.index_of[key] for key in _keys(state, self.timed)], np.int64)
        except KeyError as error:
            raise ProxygapError(f"not among the {len(self.start)} states that an episode can reach: {state}") from error

    @cached_property
    def terminal(self) -> Array:
        """[S] bool, where an episode is over."""
        return self.transitions.sum(1).reshape(len(self.start), -1)[:, 0] == 0

    def rewards(self, weights: Mapping[str, float]) -> Array:
        """The expected reward [S, A] of a step, of these weights over the terms. Raises ProxygapError for an unknown term."""
        if unknown := set(weights) - set(self.names):
            raise ProxygapError(f"no term {', '.join(sorted(unknown))}; there are: {', '.join(self.names)}")
        return self.terms @ np.array([weights.get(name, 0.0) for name in self.names])

    def backup(self, rewards: Array, values: Array, discount: float = 1.0) -> Array:
        """The worth [S, A] of every action, where what comes after it is worth `values` [S]."""
        return rewards + discount * (self.transitions @ values).reshape(rewards.shape)


def tabulate(env: ProxyEnv[Any], *, limit: int = 100_000, timed: bool = False) -> TabularMDP:
    """The environment as tables, found through its `initial_outcomes` and `outcomes`.

    The time is no part of a state, and the horizon is left to the solvers. Where rules or terms read the time, `timed=True`
    makes the same world at another time another state, and the horizon an end. Raises ProxygapError where there are more than
    `limit` states, actions are not Discrete, chance is undeclared or does not add up to 1, or the time is read without `timed`
    (looked for in every state at the last step, and at one more).
    """
    if not isinstance(env.action_space, spaces.Discrete):
        raise ProxygapError(f"{env.name} has the actions {env.action_space}: only Discrete ones can be tabulated")
    try:
        chance, first = env.initial_outcomes()
        _check_chance(env, chance.sum())
        states = _reachable(env, first[chance > 0], limit, timed)
    except UndeclaredChanceError as error:
        raise ProxygapError(f"{env.name} can't be tabulated: {error} and `initial_outcomes`") from error
    index_of = {key: i for i, key in enumerate(_keys(states, timed))}
    where = [index_of[key] for key in _keys(first[chance > 0], timed)]
    start = np.bincount(where, chance[chance > 0], minlength=len(states))
    transitions, terms = _tables(env, states, index_of, timed)
    if not timed:
        for time in (np.full(len(states), env.horizon - 1), np.arange(len(states)) % env.horizon):
            _check_timeless(env, replace(states, time=time), index_of, transitions, terms)
    return TabularMDP(states, transitions, terms, tuple(env.term_names), start, env.horizon, index_of, timed)


def _keys(states: Any, timed: bool) -> list[bytes]:
    return states.keys(() if timed else ("time",))


def _reachable(env: ProxyEnv[Any], first: Any, limit: int, timed: bool) -> Any:
    """All states that can be reached from `first`, by breadth-first search; where time does not matter, it is 0."""
    known: set[bytes] = set()
    found, frontier = [], _new(first, known, timed)
    while len(frontier):
        found.append(frontier)
        if len(known) > limit:
            raise ProxygapError(f"{env.name} has more than {limit} states: raise `limit` if that many fit in memory")
        alive = frontier[~_ended(env, frontier, timed)]
        reached = [_new(t.next_state, known, timed) for _, _, t in _outcomes(env, alive)] if len(alive) else []
        frontier = type(first).concatenate([first[:0], *reached])
    states = type(first).concatenate(found)
    return states if timed else replace(states, time=np.zeros_like(states.time))


def _new(states: Any, known: set[bytes], timed: bool) -> Any:
    """Each state that is not yet `known`, once; now it is."""
    rows = []
    for row, key in enumerate(_keys(states, timed)):
        if key not in known:
            known.add(key)
            rows.append(row)
    return states[np.array(rows, np.int64)]


def _ended(env: ProxyEnv[Any], states: Any, timed: bool) -> Array:
    return env.terminal(states) | (timed & (states.time >= env.horizon))


def _outcomes(env: ProxyEnv[Any], states: Any) -> Iterator[tuple[Array, Array, Transition[Any]]]:
    """Of every action in every state, what can happen: the row (state * A + action), the chance, and the step, each [K]."""
    assert isinstance(env.action_space, spaces.Discrete)
    actions = env.action_space.start + np.arange(env.action_space.n)
    world, action = states[np.repeat(np.arange(len(states)), len(actions))], np.tile(actions, len(states))
    total = np.zeros(len(action))
    for chance, next_state in env.outcomes(world, action):
        total += chance
        row = np.flatnonzero(chance > 0)
        yield row, chance[row], completed(env, world[row], action[row], next_state[row])
    _check_chance(env, total)


def _check_chance(env: ProxyEnv[Any], total: Array) -> None:
    if not np.allclose(total, 1.0):
        given = f"{np.min(total):.6g} to {np.max(total):.6g}"
        raise ProxygapError(f"{env.name} declares chances that add up to {given}: they must add up to 1")


def _tables(env: ProxyEnv[Any], states: Any, index_of: Mapping[bytes, int], timed: bool) -> tuple[csr_array, Array]:
    """Transition probabilities [S * A, S] and expected terms [S, A, n]."""
    alive = np.flatnonzero(~_ended(env, states, timed))
    count = env.action_space.n  # pyright: ignore[reportAttributeAccessIssue]
    terms = np.zeros((len(states) * count, len(env.term_names)))
    steps = [np.zeros((3, 0))]  # row, column, chance
    for row, chance, t in _outcomes(env, states[alive]) if len(alive) else ():
        row = alive[row // count] * count + row % count
        terms[row] += chance[:, None] * np.stack(list(env.terms(t).values()), 1)
        steps.append(np.stack([row, [index_of[key] for key in _keys(t.next_state, timed)], chance]))
    row, column, chance = np.concatenate(steps, 1)
    transitions = csr_array((chance, (row.astype(int), column.astype(int))), shape=(len(terms), len(states)))
    return transitions, terms.reshape(len(states), count, -1)


def _check_timeless(
    env: ProxyEnv[Any], states: Any, index_of: Mapping[bytes, int], transitions: csr_array, terms: Array
) -> None:
    try:
        then, terms_then = _tables(env, states, index_of, timed=False)
        same = (then - transitions).count_nonzero() == 0 and np.array_equal(terms, terms_then)
    except KeyError:
        same = False
    if not same:
        raise ProxygapError(f"{env.name} has rules or terms that read the time: tabulate it with timed=True")


def optimal_values(mdp: TabularMDP, weights: Mapping[str, float], discount: float) -> Array:
    """The optimal worth [S, A] of every action without a time limit, by modified policy iteration; its argmax is a policy.

    Every value is within TOLERANCE * max|reward| / (1 - discount) of the truth.
    """
    _check(discount)
    rewards, everywhere = mdp.rewards(weights), np.arange(len(mdp.start))
    values = np.full(len(mdp.start), min(rewards.min(), 0.0) / (1 - discount))  # from below, so that it only climbs
    while True:
        worth = mdp.backup(rewards, values, discount)
        choice, best = worth.argmax(1), worth.max(1)
        if discount * abs(best - values).max() <= TOLERANCE * abs(rewards).max():
            return mdp.backup(rewards, best, discount)
        values, paid = best, rewards[everywhere, choice]
        onward = mdp.transitions[everywhere * rewards.shape[1] + choice]
        for _ in range(SWEEPS):
            values = paid + discount * (onward @ values)


def _check(discount: float) -> None:
    if not 0 <= discount <= LARGEST_DISCOUNT:
        raise ProxygapError(f"discount {discount}: allowed are 0 to {LARGEST_DISCOUNT}; without discount, give a horizon")


def _steps(mdp: TabularMDP, horizon: int | None) -> int:
    return mdp.horizon if horizon is None else horizon


@dataclass(frozen=True)
class Plan:
    """An optimal policy for T steps, and what it is worth."""

    policy: Array  # [T, S] the action at each step
    values: Array  # [T + 1, S] the best return from there on
    value: float  # the best expected return of an episode


def finite_horizon(mdp: TabularMDP, weights: Mapping[str, float], horizon: int | None = None) -> Plan:
    """The best that can be done in an episode of `horizon` steps (None: the environment's), by dynamic programming."""
    rewards, steps = mdp.rewards(weights), _steps(mdp, horizon)
    values = np.zeros((steps + 1, len(mdp.start)))
    policy = np.zeros((steps, len(mdp.start)), np.min_scalar_type(rewards.shape[1]))
    for step in reversed(range(steps)):
        worth = mdp.backup(rewards, values[step + 1])
        policy[step], values[step] = worth.argmax(1), worth.max(1)
    return Plan(policy, values, float(mdp.start @ values[0]))


def best_and_worst_truth(
    mdp: TabularMDP, proxy: Mapping[str, float], true: Mapping[str, float], horizon: int | None = None
) -> tuple[float, float]:
    """The least and the greatest true return among all policies that are optimal for the proxy: (worst, best).

    Actions whose worth differs by no more than TOLERANCE * max|reward| * horizon are equal.
    """
    paid, wanted, steps = mdp.rewards(proxy), mdp.rewards(true), _steps(mdp, horizon)
    slack = TOLERANCE * abs(paid).max() * steps
    values = worst = best = np.zeros(len(mdp.start))
    for _ in range(steps):
        worth = mdp.backup(paid, values)
        values = worth.max(1)
        optimal = worth >= values[:, None] - slack
        worst = np.where(optimal, mdp.backup(wanted, worst), np.inf).min(1)
        best = np.where(optimal, mdp.backup(wanted, best), -np.inf).max(1)
    return float(mdp.start @ worst), float(mdp.start @ best)


def occupancy(mdp: TabularMDP, policy: Array, horizon: int | None = None, discount: float | None = None) -> Array:
    """How often [S, A] an episode is expected to take each action in each state.

    Without a discount: in `horizon` steps (None: the environment's). With one: discounted and, unless a horizon is given too,
    without end (what is left out adds up to less than TOLERANCE visits).
    """
    steps = _steps(mdp, horizon) if discount is None or horizon is not None else _steps_that_count(discount)
    here, visits = mdp.start, np.zeros(mdp.terms.shape[:2])
    for chances, onward in _each_step(mdp, policy, steps):
        visits += here[:, None] * chances
        here = (1.0 if discount is None else discount) * (onward @ here)
    return np.where(mdp.terminal[:, None], 0.0, visits)


def _steps_that_count(discount: float) -> int:
    _check(discount)
    return math.ceil(math.log(TOLERANCE * (1 - discount)) / math.log(discount)) if discount else 1


def _each_step(mdp: TabularMDP, policy: Array, steps: int) -> Iterator[tuple[Array, Any]]:
    """What a policy does at each step, as chances [S, A], and where that leads, [S, S] to and from."""
    chosen = np.issubdtype(policy.dtype, np.integer)
    changing = policy.ndim == (2 if chosen else 3)
    if changing and len(policy) < steps:
        raise ProxygapError(f"a policy for {len(policy)} steps is asked for {steps}: give a horizon of {len(policy)}")
    states, actions, _ = mdp.terms.shape
    place = np.repeat(np.arange(states), actions), np.arange(states * actions)
    for now in policy[:steps] if changing else policy[None]:
        chances = np.eye(actions)[now] if chosen else now
        onward = csr_array((chances.ravel(), place), shape=(states, states * actions)) @ mdp.transitions
        yield from repeat((chances, onward.T), 1 if changing else steps)


def expected_terms(
    mdp: TabularMDP, policy: Array, horizon: int | None = None, discount: float | None = None
) -> dict[str, float]:
    """What an episode of the policy is expected to sum up to, term by term; arguments as in `occupancy`."""
    totals = np.einsum("sa,san->n", occupancy(mdp, policy, horizon, discount), mdp.terms)
    return dict(zip(mdp.names, totals.tolist(), strict=True))


def evaluate_policy(
    mdp: TabularMDP,
    policy: Array,
    weights: Mapping[str, float],
    horizon: int | None = None,
    discount: float | None = None,
) -> float:
    """The expected return of a policy under these weights over the terms; arguments as in `occupancy`."""
    return float((occupancy(mdp, policy, horizon, discount) * mdp.rewards(weights)).sum())
