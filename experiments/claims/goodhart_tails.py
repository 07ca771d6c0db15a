"""Claim 3: where a proxy's errors are heavy-tailed, strong optimisation loses the truth again; where light-tailed, it does not.

A behaviour is worth V (gold, standard normal) and rated U = V + error, of scale 1: normal, Student's t with 2 degrees of
freedom, or Cauchy. Two optimisers: the best of n by U, and the policy p(x) ~ p0(x) exp(U(x) / beta) that is optimal under a
KL penalty.

- Best of n, normal errors: gold is E[max of n standard normals] / sqrt(2), ever more. (This is the regressional Goodhart
  effect: less than the proxy promises, but no catastrophe.) Heavy-tailed: the best is all error, and gold goes back to its
  mean, 0.
- Under a KL penalty V and the error are tilted apart from each other, so gold is 1 / beta whatever the error: what matters is
  which beta a budget of KL buys. Normal: gold = sqrt(KL). Heavy-tailed: there is no optimum, for the rating has no bound;
  with errors capped at c there is one, and as c grows, the same KL buys any amount of U and no gold.

Kwa, Thomas and Garriga-Alonso 2024 (arXiv:2407.14503), whose theorems are about KL penalties; KL of best of n as in Beirami
et al. (arXiv:2401.01879). Sizes set 2026-11-24.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from ...envs.batch import Array
from ..statistics import mean_interval
from . import SEEDS, Record, Say, above, below, exact, within
from .optimisers_curse import expected_maximum

COUNTS = 2 ** np.arange(11)  # n: 1 to 1,024
REPEATS = 2_000  # choices at the largest n, in a run; at smaller n the same draws give more
ERRORS: dict[str, Any] = {"normal": stats.norm(), "t2": stats.t(2), "Cauchy": stats.cauchy()}
CAP = 1e6  # of errors, in standard deviations of gold, so that the penalised optimum exists
GRID = 40_001
MARGIN = 0.05  # share of the closed form up to which gold agrees with it
CATASTROPHE = 0.1  # share of the gold that normal errors leave, below which it is lost


def examine(say: Say, repeats: int = REPEATS) -> Iterator[Record]:
    """Gold at the largest n and how it came there, then gold of the penalised optimum at the same KL."""
    n, light = COUNTS[-1], expected_maximum(COUNTS[-1]) / 2**0.5
    for error in ERRORS:
        say(f"best of n, {error} errors")
        gold = np.array([best_of_n(error, repeats, seed) for seed in range(SEEDS)])  # [SEEDS, len(COUNTS)]
        last, name = mean_interval(gold[:, -1]), f"gold of best of {n:,}, {error} errors"
        if error == "normal":
            rise, reading = mean_interval(gold[:, -1] - gold[:, -2]), f"from {gold[:, -2].mean():.2f} to {last.value:.2f}"
            yield Record(3, name, last, within(last, light, MARGIN * light), f"the formula says {light:.3f}")
            yield Record(3, f"rise of gold from n = {n // 2}, {error} errors", rise, above(rise), reading)
        else:
            peaks, falls = zip(*held_out_falls(gold), strict=True)
            fall, at = mean_interval(np.array(falls)), COUNTS[int(np.median(peaks))]
            yield Record(3, name, last, below(last, CATASTROPHE * light), f"normal errors leave {light:.2f}")
            reading = f"gold was {gold.mean(0).max():.2f} at its peak, near n = {at}"
            yield Record(3, f"fall of gold from its peak, {error} errors", fall, above(fall), reading)
    kl = float(np.log(n) - (n - 1) / n)
    for error in ERRORS:
        say(f"KL penalty, {error} errors")
        gold, proxy = tilted(error, CAP, kl)
        name = f"gold of the KL-penalised optimum at KL {kl:.2f} nats, {error} errors up to {CAP:.0e}"
        verdict = within(exact(gold), kl**0.5, MARGIN) if error == "normal" else below(exact(gold), CATASTROPHE * kl**0.5)
        yield Record(3, name, exact(gold), verdict, f"its proxy is {proxy:,.4g}; normal errors leave sqrt(KL) = {kl**0.5:.2f}")


def best_of_n(error: str, repeats: int, seed: int) -> Array:
    """Mean gold [len(COUNTS)] of the best of n by the proxy, in one run; every n has the same draws, in groups of n."""
    rng = np.random.default_rng((3, list(ERRORS).index(error), seed))
    gold = rng.normal(size=repeats * COUNTS[-1])
    proxy, means = gold + ERRORS[error].rvs(gold.shape, random_state=rng), [gold.mean()]
    for _ in COUNTS[1:]:  # a tournament: the best of 2 n is the better one of two that are best of n
        first = proxy[::2] >= proxy[1::2]
        gold, proxy = (np.where(first, each[::2], each[1::2]) for each in (gold, proxy))
        means.append(gold.mean())
    return np.array(means)


def held_out_falls(gold: Array) -> Iterator[tuple[int, float]]:
    """Per run, where in COUNTS the peak of all other runs is, and how far the run's gold falls from there to the last n."""
    for run in range(len(gold)):
        peak = int(np.delete(gold, run, 0).mean(0).argmax())
        yield peak, float(gold[run, peak] - gold[run, -1])


def tilted(error: str, cap: float, kl: float) -> tuple[float, float]:
    """Gold and proxy of the optimum under a KL penalty that spends `kl` nats, with errors within -cap and cap."""
    place = np.linspace(-np.arcsinh(cap), np.arcsinh(cap), GRID)
    errors = np.sinh(place)
    chance = ERRORS[error].logpdf(errors) + np.log(np.cosh(place))
    chance -= special.logsumexp(chance)

    def spent(log_strength: float) -> tuple[float, float]:
        """KL and mean error at 1 / beta: the penalty tilts V to mean 1 / beta, for 1 / (2 beta^2) nats."""
        strength = np.exp(log_strength)
        tilt = chance + strength * errors
        mean = float(np.exp(tilt - special.logsumexp(tilt)) @ errors)
        return float(strength**2 / 2 + strength * mean - special.logsumexp(tilt)), mean

    found = optimize.root_scalar(lambda x: spent(x)[0] - kl, bracket=(-np.log(cap) - 10, 5.0), xtol=1e-12).root
    gold = float(np.exp(found))
    return gold, gold + spent(found)[1]
