"""Best-of-n: let a reference policy play n whole episodes, and keep the one that is rated best.

The simplest optimiser of a reward, and one whose distance from the reference is known: no training, no tuning. Sources: Gao,
Schulman and Hilton 2023 (arXiv:2210.10760), section 2 and appendix I (the estimator); Beirami et al. 2024 (arXiv:2401.01879).
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from ..envs.batch import Array
from ..envs.core import ProxygapError


def best_of(score: Array, values: Array, sizes: Sequence[int] | Array) -> Array:
    """What the best of n episodes by `score` [N] is worth on average, for each n in `sizes`: [len(sizes), ...].

    `values` [N, ...] is anything known of those N episodes. The estimate is unbiased for every n, and uses each of the N: the
    i-th worst of them is the best of n that are drawn without replacement in C(i - 1, n - 1) / C(N, n) of all cases. Equal
    scores share their chances, as if ties were broken at random. Raises ProxygapError for an n that is not from 1 to N.
    """
    score, values = np.asarray(score), np.asarray(values, float)
    if score.shape != values.shape[:1] or not np.isfinite(score).all():
        raise ProxygapError(f"scores {score.shape} for values {values.shape}: one finite score an episode is needed")
    if len(wrong := [n for n in sizes if not 1 <= n <= len(score)]):
        raise ProxygapError(f"best of {wrong[0]} from {len(score)} episodes: allowed are 1 to {len(score)}")
    order, rank = np.argsort(score), np.arange(1, len(score) + 1)
    _, tie, tied = np.unique(score[order], return_inverse=True, return_counts=True)
    found = []
    for n in sizes:
        chance = np.zeros(len(score))
        chance[n - 1 :] = np.exp(_log_choose(rank[n - 1 :] - 1, n - 1) - _log_choose(len(score), n))
        shared = (np.bincount(tie, chance) / tied)[tie]
        found.append(np.tensordot(shared / shared.sum(), values[order], 1))  # which sum to 1 but for rounding
    return np.array(found)


def best_of_divergence(n: Array | int) -> Array:
    """KL(best of n || reference) in nats, of whole episodes: log n - (n - 1) / n.

    Exact where no two episodes are rated alike, and an upper bound else (Beirami et al. 2024, theorem 1).
    """
    n = np.asarray(n, float)
    return np.log(n) - (n - 1) / n


def _log_choose(n: Array | int, k: int) -> Array:
    return gammaln(np.asarray(n) + 1.0) - gammaln(k + 1.0) - gammaln(np.asarray(n) - k + 1.0)
