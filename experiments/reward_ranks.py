"""Does a number rank reward models as the true returns of agents that were trained on them do?

Spearman's rank correlation (1904) over the models of a seed; the interval is over seeds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ..envs.batch import Array
from .statistics import Estimate, difference, mean_interval

JUDGED = {"accuracy": 1, "Brier": -1, "NLL": -1, "ECE": -1}
NUMBERS = {  # of what -> number -> 1 where more is better, -1 where less is
    "its agent": {"learned return": 1},
    "held-out answers of its teacher": {"own accuracy": 1},
    "fresh comparisons": JUDGED,
    "comparisons of its agent's play": {f"on-policy {name}": sign for name, sign in JUDGED.items()},
    "distance from the true reward": {"EPIC": -1, "DARD": -1, "STARC": -1, "regret": -1},
}
SIGNS = {name: sign for group in NUMBERS.values() for name, sign in group.items()}
OUTCOME = "true return"
FEWEST = 3  # models that can be ranked

Measured = dict[str, Array]  # number, or OUTCOME -> [M, S] of every model, the truth first, and seed; nan where not known


def estimate(values: Array) -> Estimate | None:
    """The mean over seeds [S], of those in which it is known."""
    known = values[np.isfinite(values)]
    return mean_interval(known) if len(known) else None


def correlations(found: Measured) -> dict[str, Array]:
    """Of each number, how well it ranks the models, without the truth, [S]: 1 where whatever is better has the better agent.

    Nan in seeds where it does not vary, or is known of too few models.
    """
    return {
        name: np.array([_rank(sign * a, b) for a, b in zip(found[name][1:].T, found[OUTCOME][1:].T, strict=True)])
        for name, sign in SIGNS.items()
    }


def _rank(number: Array, true: Array) -> float:
    number, true = number[known := np.isfinite(number)], true[known]
    if len(number) < FEWEST or np.ptp(number) == 0 or np.ptp(true) == 0:
        return np.nan
    return float(np.corrcoef(rankdata(number), rankdata(true))[0, 1])


def headline(found: Measured) -> str:
    """Which number foretold best, in a sentence."""
    ranks = {name: ranks for name, ranks in correlations(found).items() if np.isfinite(ranks).all()}
    if not ranks:
        return "No number could be held against the true returns in every seed."
    best = max(ranks, key=lambda name: float(ranks[name].mean()))
    reached = mean_interval(ranks[best])
    if not reached.low > 0:
        return f"No number is shown to foretell the true return of a fresh agent: {best} comes nearest, at {reached}."
    near = [name for name in ranks if name != best and difference(ranks[best], ranks[name], paired=True).low <= 0]
    told = f", not clear of {', '.join(near)}" if near else ", clear of all others"
    return f"The true return of a fresh agent was foretold best by {best}, at a rank correlation of {reached}{told}."


def summary(found: Measured, models: Sequence[str]) -> dict[str, Any]:
    """All numbers as plain data for JSON, with their means over seeds; what is unknown is None."""
    ranks = {name: _plain(values) for name, values in correlations(found).items()}
    rows = [
        {"model": model, "numbers": {name: _plain(values[row]) for name, values in found.items()}}
        for row, model in enumerate(models)
    ]
    return {"headline": headline(found), "models": rows, "rank_correlation": ranks}


def _plain(values: Array) -> dict[str, Any]:
    mean = estimate(values)
    parts = {} if mean is None else {name: getattr(mean, name) for name in ("value", "low", "high")}
    return {name: value if np.isfinite(value) else None for name, value in parts.items()} | {
        "seeds": [value if np.isfinite(value) else None for value in values.tolist()]
    }
