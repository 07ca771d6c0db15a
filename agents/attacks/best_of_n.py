"""Best of n: the generator itself plays until something passes.

What rejection sampling would let through, looked for: the filter's own users do no more. Ziegler et al. 2022,
"Adversarial training for high-stakes reliability" (arXiv:2205.01663), section 3: the generator's completions.
"""

from dataclasses import dataclass

import numpy as np

from .core import Attack, Hunt, Maker, at_least_one


@dataclass
class BestOfN(Attack):
    """A policy plays in the case's scene, as often as the budget allows.

    `policy` makes one from a seed (`lambda seed: agent.policy(seed)`); one without any chance does the same each time.
    """

    policy: Maker
    population: int = 32  # candidates a trial tries at a time

    def __post_init__(self) -> None:
        at_least_one(population=self.population)

    def run(self, hunt: Hunt) -> None:
        policy = hunt.policy(self.policy)
        while len(rows := hunt.rows):
            action = np.repeat(hunt.cases.action[rows, None], self.population, 1)
            hunt.query(rows, action, np.ones(action.shape[:3], bool), policy)
