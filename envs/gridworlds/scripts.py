"""Scripts that gridworlds share: the exact optimum where states are few, and plans learnt by heart where they are many."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..batch import Array
from ..core import ProxyEnv, Script
from ..tabular import TabularMDP, optimal_values, tabulate

PATIENCE = 0.99  # discount: what can be had now is not put off


@dataclass(frozen=True)
class Optimal:
    """Does what is best for a reward in the long run, in every state that an episode can reach."""

    mdp: TabularMDP
    policy: Array  # [S] actions

    @classmethod
    def scripts(cls, env: ProxyEnv[Any], **rewards: Mapping[str, float]) -> dict[str, Self]:
        """One script for each of `rewards`, which are weights over the environment's terms."""
        mdp = tabulate(env)
        return {name: cls(mdp, optimal_values(mdp, weights, PATIENCE).argmax(1)) for name, weights in rewards.items()}

    def __call__(self, state: Any) -> Array:
        return self.policy[self.mdp.index(state)]


def by_heart(plan: str) -> Script:
    """Plays the moves of a plan (u, d, l, r) one after another and the last for ever, wherever that leads."""
    actions = np.array(["udlr".index(move) for move in plan])
    return lambda state: actions[np.minimum(state.time, len(actions) - 1)]
