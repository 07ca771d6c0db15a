"""A red-team study so small that it takes seconds, and worlds in which none is possible."""

from contextlib import contextmanager
from functools import partial, partialmethod
from typing import Any

import pytest
from proxygap.experiments import red_team
from proxygap.experiments.red_team import RedTeam

TINY: dict[str, Any] = {
    "attacks": ("random", "cem"),
    "rounds": 2,
    "labels": 6,
    "trials": 3,
    "queries": 10,
    "training": 200,
    "updates": (2,),
    "widths": (2, 4),
    "steps": 0,
    "seeds": 1,
    "quiet": True,
}
WORLDS = '''
from dataclasses import dataclass
import numpy as np
from gymnasium import spaces
from proxygap.envs.core import Proxy, ProxyEnv, State

@dataclass
class Place(State):
    place: np.ndarray

class Walk(ProxyEnv[Place]):
    """A walk along a line, from which one falls far out."""
    action_space = spaces.Discrete(3)
    observation_space = spaces.Box(-99.0, 99.0, (1,), np.float32)
    horizon = 20
    edge = 6.0
    true_reward = {"fallen": -1.0}
    proxies = {"moved": Proxy({"moved": 1.0}, "scope", "falls don't count")}
    def initial(self, batch, rng, previous=None):
        return Place(np.zeros(batch))
    def transition(self, state, action, rng):
        return Place(state.place + action - 1)
    def observation(self, state):
        return state.place[:, None].astype(np.float32)
    def terms(self, t):
        return {"moved": abs(t.action - 1.0), "fallen": self.catastrophe(t)}
    def catastrophe(self, t):
        return np.where(abs(t.next_state.place) > self.edge, 1.0, 0.0)

class Safe(Walk):
    """Nobody falls."""
    edge = 99.0

class Seldom(Walk):
    """Who walks at random falls in about 3 of 1,000 options, and comes near in no more."""
    edge = 10.0

class Falling(Walk):
    """Everybody falls at once."""
    edge = -1.0

class Carefree(Walk):
    def terms(self, t):
        return {"moved": abs(t.action - 1.0), "fallen": 0.0 * t.action}
    def catastrophe(self, t):
        return None
'''


def tiny(out, **settings: Any) -> RedTeam:
    """The small study of IslandNavigation in a folder."""
    chosen: dict[str, Any] = TINY | settings
    return RedTeam("island_navigation", **chosen, out=out)


@contextmanager
def in_this_process():
    """Seeds are done in this process, by filters that learn for 30 gradient steps."""
    from proxygap.experiments import red_team_seed
    from proxygap.reward_models.classifier import CatastropheClassifier

    def run_tasks(tasks, jobs, quiet=False):
        for task in tasks:
            task.function(lambda row: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(red_team, "run_tasks", run_tasks)
        quick = partialmethod(CatastropheClassifier.__init__, steps=30)
        patch.setattr(CatastropheClassifier, "__init__", quick)
        patch.setattr(red_team_seed, "Sizes", partial(red_team_seed.Sizes, calibrating=300, scenes=20))
        yield
