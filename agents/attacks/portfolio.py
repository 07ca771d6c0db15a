"""Several attacks, one after another: what one of them can't find another may."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...envs.batch import Array
from ...envs.core import ProxygapError
from .core import Attack, Budget, Hunt


@dataclass
class Portfolio(Attack):
    """Each attack may spend an equal share of what a trial's budget has left; the first to find something has found it.

    What is aimed at, and whether to go on after a find, is said here for all of them. After a search `finders_` [N] holds which
    attack found something in each trial, from 0, and -1 where none did.
    """

    attacks: Sequence[Attack]
    finders_: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.attacks:
            raise ProxygapError("a portfolio without attacks: give at least one")

    def run(self, hunt: Hunt) -> None:
        if hunt.budget.queries < len(self.attacks):
            raise ProxygapError(
                f"a budget of {hunt.budget.queries} queries for {len(self.attacks)} attacks: each needs at least one"
            )
        self.finders_, whole = np.full(len(hunt.found), -1), hunt.budget
        for number, attack in enumerate(self.attacks):
            if not len(hunt.rows):
                return
            hunt.budget, before = _share(hunt, whole, len(self.attacks) - number), hunt.found.copy()
            if len(hunt.rows):  # a share of few steps may be less than an option takes
                attack.run(hunt)
            hunt.budget = whole
            self.finders_[hunt.found & ~before] = number


def _share(hunt: Hunt, whole: Budget, sharers: int) -> Budget:
    """A budget up to which the next of so many attacks may spend; trials that are open have spent alike, or get more."""
    limits = {name: limit for name, limit in vars(whole).items() if limit is not None}
    used = {name: int(getattr(hunt, name)[hunt.rows].max()) for name in limits}
    return replace(whole, **{name: used[name] + math.ceil((limit - used[name]) / sharers) for name, limit in limits.items()})
