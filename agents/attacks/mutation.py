"""Replay with mutation: what somebody did is done again with a few steps changed, and what is better is changed further.

A (mu + lambda) evolution strategy: Rechenberg (1973), "Evolutionsstrategie"; Beyer and Schwefel (2002), "Evolution strategies:
a comprehensive introduction", section 2.
"""

from dataclasses import dataclass

import numpy as np

from ...envs.batch import Array
from ...envs.core import ProxygapError
from .core import Attack, Hunt, Maker, Pool, at_least_one


@dataclass
class Mutation(Attack):
    """Evolves the case's own actions: some steps of a child are drawn anew, and parents and children compete to be parents."""

    parents: int = 4
    children: int = 16  # candidates a trial tries at a time
    rate: float = 0.05  # chance of each step to be changed, beside one that always is
    policy: Maker | None = None  # makes, from a seed, who plays the changed steps; None: they are drawn uniformly

    def __post_init__(self) -> None:
        at_least_one(parents=self.parents, children=self.children)
        if not 0 <= self.rate <= 1:
            raise ProxygapError(f"rate {self.rate}: a chance from 0 to 1 is needed")

    def run(self, hunt: Hunt) -> None:
        policy = hunt.policy(self.policy) if self.policy else None
        pool = Pool.of_cases(hunt)
        while len(pool := pool[pool.open(hunt)]):
            action, changed = self._children(hunt, pool)
            pool = pool.joined(hunt.query(pool.rows, action, changed, policy), self.parents)

    def _children(self, hunt: Hunt, pool: Pool) -> tuple[Array, Array]:
        """Actions [R, children, T, *action] and which of their steps are changed [R, children, T]."""
        number, count = len(pool), self.children
        each = np.arange(number)[:, None]
        action = pool.action[each, hunt.rng.integers(pool.action.shape[1], size=(number, count))]
        changed = hunt.rng.random(action.shape[:3]) < self.rate
        changed[each, np.arange(count), hunt.rng.integers(hunt.length, size=(number, count))] = True
        return hunt.redrawn(action, changed), changed
