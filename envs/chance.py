"""Chance that worlds share: numbers of successes, drawn exactly from one uniform number each."""

import numpy as np

from .batch import Array


def binomial(tries: Array, probability: Array | float, uniform: Array) -> Array:
    """How many of `tries` [...] (up to 1,000) succeed, each with `probability`: int64, of the shape of `uniform` in [0, 1).

    Inverts the distribution: adds up the chances of 0, 1, 2, ... successes until they exceed `uniform` (Devroye 1986,
    "Non-uniform random variate generation", chapter X.4). That is exact but for the rounding of float64, and takes one number a
    draw, so that a draw depends on nothing beside it in the array. It takes as many passes as there are successes: so failures
    are counted where they are the rarer, and each pass looks only at what is not settled yet.
    """
    tries, probability = np.broadcast_to(tries, uniform.shape), np.broadcast_to(probability, uniform.shape)
    often = probability > 0.5
    counted = np.zeros(uniform.size, np.int64)
    unsettled = np.flatnonzero((tries > 0) & (probability > 0) & (probability < 1))
    rare = np.where(often, 1.0 - probability, probability).ravel()[unsettled]
    left, odds = tries.ravel()[unsettled], rare / (1.0 - rare)
    chance = (1.0 - rare) ** left
    rest = uniform.ravel()[unsettled] - chance
    while len(further := np.flatnonzero((rest >= 0) & (left > 0))):
        unsettled, left, odds = unsettled[further], left[further], odds[further]
        counted[unsettled] += 1
        chance = chance[further] * odds * left / counted[unsettled]
        rest, left = rest[further] - chance, left - 1
    counted = counted.reshape(uniform.shape)
    return np.where(often, tries - counted, counted)
