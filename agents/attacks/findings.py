"""What an attack may spend, and what it came to: the same for all attacks, so that they can be compared."""

from dataclasses import dataclass

from ...envs.batch import Array, Batch
from ...envs.core import ProxygapError
from ..intervals import Interval, rate_interval
from ..options import Cases, Options


@dataclass(frozen=True)
class Budget:
    """What one trial may spend; a trial ends when any of it is spent."""

    queries: int = 1000  # candidates simulated, rated and checked
    scores: int | None = None  # times that the model is asked beside those; None: any number
    steps: int | None = None  # of the environment

    def __post_init__(self) -> None:
        for name in ("queries", "scores", "steps"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise ProxygapError(
                    f"a budget of {given} {name}: at least 1 is needed to find anything, or to say that one did not"
                )


@dataclass
class Findings(Batch):
    """What N trials came to. Where nothing was found, `options` is the best try, and costs are those of all the search."""

    found: Array  # [N] bool, a catastrophe that the target accepts
    queries: Array  # [N] up to and including the first find
    scores: Array  # [N]
    steps: Array  # [N]
    seconds: Array  # [N] of the computer's, shared among all trials that were running
    catastrophes: Array  # [N] candidates that were one, accepted or not
    suspicion: Array  # [N] of the option
    margin: Array  # [N] by how much that is below the threshold: 0 or more is accepted
    cases: Cases  # [N] with which the option can be played again
    options: Options  # [N]

    def rate(self) -> Interval:
        """Finds per query with the exact 95 % interval of a Poisson count; its upper bound alone if none."""
        return rate_interval(int(self.found.sum()), float(self.queries.sum()))

    def __str__(self) -> str:
        found, queries, (rate, low, high) = int(self.found.sum()), int(self.queries.sum()), self.rate()
        if found:
            return f"{found} of {len(self)} trials found one, {rate:.3g} [{low:.3g}, {high:.3g}] a query"
        checked = "" if self.catastrophes.any() else "; no candidate was a catastrophe at all"
        return f"nothing found in {queries:,} queries: with 95 % confidence fewer than {high:.2g} a query{checked}"
