"""Claim 11: over all stochastic policies every two rewards can be hacked; over finite sets of policies some can't.

Two rewards are hackable if of two policies one earns more by the first and less by the second. They never are if one is
trivial (all policies earn the same), or if they are equivalent (order all policies alike); the claim is about all others.

Over all stochastic policies: occupancies fill a polytope, and those of the uniform policy lie inside it, so from there one
can go a little way in every direction of its hull. If two rewards pull in different directions u and v (see
`distances.projected`), the step u - v is up for the first and down for the second; if they pull the same way, they are
equivalent. So every pair gets its two policies, which are then evaluated; linear programs, which look for any two
occupancies, check some pairs of both kinds. Over finite sets all pairs of policies are compared. All rewards of whole numbers
-1, 0, 1 are paired, in random MDPs.

Skalse et al. 2022 (arXiv:2209.13085). Sizes set 2026-11-24.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy import optimize

from ...envs.batch import Array
from ...reward_models.distances import Dynamics, projected
from . import SEEDS, Judgement, Record, Say, above, exact, within

STATES, ACTIONS, DISCOUNT = (2, 3), 2, 0.9
CHECKED = 40  # pairs per MDP that linear programs look at
STOCHASTIC, PARTNERS = 5, 100  # random policies in a finite set; rewards for which a partner is built, per MDP
SAME = 1e-9  # returns and directions, of order 1 to 10, that differ by less are equal
SOLVED = 1e-5  # of a linear program, whose own tolerance is 1e-7


def examine(say: Say, states: tuple[int, ...] = STATES, checked: int = CHECKED) -> Iterator[Record]:
    """All pairs over all stochastic policies, the check by linear programs, and all pairs over finite sets."""
    certified, agreed, finite, partners = np.zeros(2, int), np.zeros(2, int), [], []
    for size, seed in product(states, range(SEEDS)):
        say(f"{size} states, MDP {seed + 1} of {SEEDS}")
        rng = np.random.default_rng((11, size, seed))
        dynamics = Dynamics(rng.dirichlet(np.ones(size), (size, ACTIONS)), DISCOUNT)
        rewards = np.array(list(product((-1.0, 0.0, 1.0), repeat=size * ACTIONS))).reshape(-1, size, ACTIONS)
        pulls = np.array([projected(reward, dynamics) for reward in rewards])
        rewards, pulls = rewards[pulls.any((1, 2))], pulls[pulls.any((1, 2))]  # none of them trivial
        first, second = np.triu_indices(len(rewards), 1)
        apart = np.linalg.norm(pulls[first] - pulls[second], axis=(1, 2)) > SAME
        hacked = hackable(rewards, pulls, first[apart], second[apart], dynamics)
        certified += hacked.sum(), hacked.size
        for kind in (True, False):
            for pair in rng.choice(np.flatnonzero(apart == kind), checked // 2):
                agreed += (room(rewards[first[pair]], rewards[second[pair]], dynamics) > SOLVED) == kind, 1
        finite.append(unhackable(earned(one_hot(size), rewards, dynamics)))
        partners += [has_partner(rng, dynamics) for _ in range(PARTNERS)]
    share, agreement = exact(certified[0] / certified[1]), exact(agreed[0] / agreed[1])
    reading = f"{certified[1]:,} pairs that are neither trivial nor equivalent, in {len(finite)} MDPs"
    yield Record(11, "share hackable over all stochastic policies", share, whole(share.value), reading)
    reading = f"{agreed[1]} pairs, half of them hackable by the argument and half not"
    yield Record(11, "share in which linear programs agree", agreement, whole(agreement.value), reading)
    fewest, reading = exact(min(finite)), f"up to {max(finite):,}; neither trivial nor equivalent over these policies"
    yield Record(11, "fewest unhackable pairs in an MDP over its deterministic policies", fewest, above(fewest), reading)
    share, reading = exact(np.mean(partners)), f"over {STOCHASTIC} random policies, for {len(partners):,} random rewards"
    yield Record(11, "share of rewards with an unhackable partner, stochastic policies", share, whole(share.value), reading)


def whole(share: float) -> Judgement:
    """The verdict on a share that is known exactly and has to be 1."""
    return within(exact(share), 1.0, 0.0)


def hackable(rewards: Array, pulls: Array, first: Array, second: Array, dynamics: Dynamics) -> Array:
    """Whether the uniform policy and one a step away earn what hacking means, [K], for pairs of rewards [R, S, A]."""
    uniform = np.full((1, *rewards.shape[1:]), 1.0 / ACTIONS)
    start, step = occupancies(uniform, dynamics), pulls[first] - pulls[second]
    length = 0.5 / (-step / start).max((1, 2))  # half way to where an occupancy would be 0
    moved = start + length[:, None, None] * step
    change = occupancies(moved / moved.sum(2, keepdims=True), dynamics) - start
    gain, loss = ((change * rewards[which]).sum((1, 2)) for which in (first, second))
    return (gain > SAME) & (loss < -SAME)


def room(first: Array, second: Array, dynamics: Dynamics) -> float:
    """How much two policies can differ at least in both rewards [S, A], in opposite directions: 0 if the pair can't be hacked.

    A linear program over two occupancies x and y, flat, and the room: y earns that much more by the first, x by the second.
    """
    states, actions = first.shape
    flow = np.repeat(np.eye(states), actions, 1) - dynamics.discount * dynamics.chances.reshape(-1, states).T
    one, two = first.ravel(), second.ravel()
    found = optimize.linprog(
        np.append(np.zeros(2 * one.size), -1.0),
        A_ub=np.array([[*one, *-one, 1.0], [*-two, *two, 1.0]]),
        b_ub=np.zeros(2),
        A_eq=np.hstack([np.kron(np.eye(2), flow), np.zeros((2 * states, 1))]),
        b_eq=np.tile(dynamics.begin, 2),
        bounds=(0.0, None),
    )
    return float(found.x[-1])


def occupancies(policies: Array, dynamics: Dynamics) -> Array:
    """Discounted visits [K, S, A] of policies [K, S, A]."""
    onward = np.einsum("ksa,sat->kst", policies, dynamics.chances)
    visits = np.linalg.solve(np.eye(onward.shape[1]) - dynamics.discount * onward.swapaxes(1, 2), dynamics.begin[:, None])
    return visits * policies


def earned(policies: Array, rewards: Array, dynamics: Dynamics) -> Array:
    """What policies [K, S, A] earn by rewards [R, S, A], [K, R]."""
    return np.einsum("ksa,rsa->kr", occupancies(policies, dynamics), rewards)


def one_hot(states: int) -> Array:
    """All deterministic policies, [K, S, A]."""
    return np.eye(ACTIONS)[list(product(range(ACTIONS), repeat=states))]


def unhackable(returns: Array) -> int:
    """How many pairs of rewards can't be hacked, are not trivial and not equivalent, over a set of policies: returns [K, R]."""
    first, second = np.triu_indices(len(returns), 1)
    gap = (returns[second] - returns[first]).T  # [R, pairs of policies]
    order = np.where(abs(gap) > SAME, np.sign(gap), 0.0)
    order = order[order.any(1)]
    kind = np.unique(order, axis=0, return_inverse=True)[1].ravel()
    up, down = (order > 0).astype(float), (order < 0).astype(float)
    hacked = up @ down.T + down @ up.T > 0
    return int((~hacked & (kind[:, None] != kind)).sum()) // 2


def has_partner(rng: np.random.Generator, dynamics: Dynamics) -> bool:
    """Whether a random reward has an unhackable partner over a few random policies.

    On the way from it to another reward, the first change of the policies' order is a tie of two of them: stop there.
    """
    policies = rng.dirichlet(np.ones(ACTIONS), (STOCHASTIC, len(dynamics.chances)))
    here, there = earned(policies, rng.normal(size=(2, *policies.shape[1:])), dynamics).T
    before, after = (returns[:, None] - returns for returns in (here, there))
    if not (before * after < 0).any():  # the same order: nothing changes on the way, but all does on the way to the opposite
        there, after = -there, -after
    changes = before * after < 0
    share = (before[changes] / (before - after)[changes]).min()
    return unhackable(np.stack([here, here + share * (there - here)], 1)) == 1
