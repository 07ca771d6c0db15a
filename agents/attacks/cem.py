"""The cross-entropy method on action sequences: drawn from a distribution that moves towards the best of them.

As the planner of that name does it (`agents.planning`, which tells the sources), with a distribution for each trial: the best
so far stay in the running, and the first of them is what was done in the case. A little noise keeps the distributions from
dying out, as in Szita and Lorincz (2006), "Learning Tetris using the noisy cross-entropy method".
"""

from dataclasses import dataclass

from ...envs.core import ProxygapError
from ..planning import distribution
from .core import Attack, Hunt, Pool, at_least_one


@dataclass
class CEM(Attack):
    """Steps are drawn apart from each other: normally in a box, else from a chance for each action."""

    population: int = 32  # candidates a trial tries at a time
    elites: int = 6  # the best so far, which the distribution follows
    noise: float = 0.05  # chance of each step to be drawn uniformly all the same

    def __post_init__(self) -> None:
        at_least_one(population=self.population, elites=self.elites)
        if self.elites > self.population or not 0 <= self.noise <= 1:
            raise ProxygapError(
                f"elites={self.elites} of population={self.population}, noise={self.noise}: "
                "allowed are 1 to population, and 0 to 1"
            )

    def run(self, hunt: Hunt) -> None:
        search, pool = distribution(hunt.env.action_space), Pool.of_cases(hunt)
        search = search.start(len(pool), hunt.length)
        while (still := pool.open(hunt)).any():
            pool, search = pool[still], search.among(still)
            action = search.sample(hunt.rng, self.population)
            action = hunt.redrawn(action, hunt.rng.random(action.shape[:3]) < self.noise)
            pool = pool.joined(hunt.query(pool.rows, action), self.elites)
            search = search.towards(pool.action)
