"""One reward out of several members' opinions: each way is defined here, once, and used for paying, planning and attacking.

Coste, Anwar, Kirk and Krueger (2024), "Reward model ensembles help mitigate overoptimization", arXiv:2310.02743.
Members must speak on one scale before they are compared: `RewardModel.standardise` brings them there.
"""

from collections.abc import Callable

from torch import Tensor

from ..envs.core import ProxygapError


def mean(members: Tensor, penalty: float = 0.0) -> Tensor:
    """What members [K, ...] say on average, [...]."""
    return members.mean(0)


def median(members: Tensor, penalty: float = 0.0) -> Tensor:
    """What the middle one of members [K, ...] says, [...]; the average of the two in the middle where K is even."""
    ordered, last = members.sort(0).values, len(members) - 1
    return (ordered[last // 2] + ordered[(last + 1) // 2]) / 2


def worst(members: Tensor, penalty: float = 0.0) -> Tensor:
    """What the least convinced of members [K, ...] says, [...]: worst-case optimisation, WCO."""
    return members.amin(0)


def penalised(members: Tensor, penalty: float) -> Tensor:
    """The mean of members [K, ...] minus `penalty` times their variance, [...]: uncertainty-weighted, UWO.

    The variance is that of the K members themselves (ddof 0), so that `penalty` means the same everywhere.
    """
    return members.mean(0) - penalty * members.var(0, correction=0)


AGGREGATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "mean": mean,
    "median": median,
    "worst": worst,
    "penalised": penalised,
}


def aggregation(name: str) -> Callable[[Tensor, float], Tensor]:
    """The aggregation of that name. Raises ProxygapError for any other."""
    if name not in AGGREGATIONS:
        raise ProxygapError(f"aggregate {name!r}: allowed are {', '.join(AGGREGATIONS)}")
    return AGGREGATIONS[name]
