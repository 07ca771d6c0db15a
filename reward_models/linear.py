"""Rewards that are linear in features, and how sure one can be of their weights.

A comparison and a reward that somebody designed are the same evidence: a choice among options, made with chances proportional
to exp(beta * return), the return being weights . summed features (Jeon, Milli and Dragan 2020, "Reward-rational (implicit)
choice", arXiv:2002.04833). With two options that is Bradley and Terry's model. A designer chose one proxy, by what it leads to
in training, among all that could have been written (Hadfield-Menell et al. 2017, "Inverse reward design", arXiv:1711.02827):
P(w | proxy) ~ P(w) exp(beta w . phi(proxy)) / Z(w), phi being the feature expectations of a policy that is optimal for a proxy
in the training world. What made no difference there stays as unknown as it was, and `pessimistic` stays away from it.

Weights have a Gaussian prior, so that the best are unique. Samples of the posterior come from elliptical slice sampling
(Murray, Adams and MacKay 2010, arXiv:1001.0175), which has nothing to tune and, unlike Laplace's approximation, is right where
choices tell little more than a sign.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import linprog, minimize
from scipy.sparse import csr_array, eye_array, hstack, kron
from scipy.special import softmax

from ..envs.batch import Array
from ..envs.core import Observed, ProxygapError, Segments, Transition
from ..envs.tabular import LARGEST_DISCOUNT, TOLERANCE, TabularMDP
from .feedback import Comparisons

Features = Callable[[Observed], Array]  # steps [...] -> what the reward is linear in, [..., d]
SWEEPS = 20  # of each chain, from the best weights on


def shown(observed: Observed) -> Array:
    """Observation and action as they are, [..., d]. A discrete action is its number: often, features of one's own say more."""
    axes = np.ndim(observed.terminated)
    parts = [np.asarray(part) for part in (observed.observation, observed.action)]
    return np.concatenate([part.reshape(*part.shape[:axes], math.prod(part.shape[axes:])) for part in parts], -1)


@dataclass
class LinearReward:
    """A reward `features` . `weights_`, with samples of the weights' posterior, `samples_` [K, d].

    As a model of behaviour it is shown what can be observed, and `features` says what of that counts. Who knows an
    environment's terms needs no features: sums of `Stretches.terms` go into `fit_choices`, expectations of terms into
    `fit_design`, and the learned weights, by the terms' names, are a proxy like any other.
    """

    features: Features = shown
    prior: float = 1.0  # standard deviation of every weight before anything is known: bring features to like sizes
    beta: float = 1.0  # how surely the better option is chosen, per unit of return
    samples: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.prior > 0 and self.beta > 0 and self.samples > 0):
            raise ProxygapError(f"prior {self.prior}, beta {self.beta}, samples {self.samples}: numbers above 0 are needed")

    def fit(self, comparisons: Comparisons) -> Self:
        """Learns from N comparisons. Raises ProxygapError for none."""
        sums = [self._sums(side) for side in (comparisons.first, comparisons.second)]
        return self.fit_choices(np.stack(sums, 1), np.stack([comparisons.label, 1 - comparisons.label], 1))

    def fit_design(self, proxy: Array, feature_expectations: Callable[[Array], Array], rivals: int = 200) -> Self:
        """Learns from a `proxy` [d] that a designer settled on in a training world: inverse reward design.

        `feature_expectations` gives phi [d] of weights [d]. Z(w) is summed over the proxy and `rivals` drawn from the prior.
        """
        drawn = self.prior * np.random.default_rng(self.seed).standard_normal((rivals, len(proxy)))
        options = np.stack([feature_expectations(weights) for weights in (np.asarray(proxy), *drawn)])
        return self.fit_choices(options[None], np.eye(1, len(options)))

    def fit_choices(self, options: Array, chosen: Array) -> Self:
        """Learns from N choices among J options with summed features [N, J, d]; `chosen` [N, J] is how likely each was taken.

        Raises ProxygapError for none, for shapes that don't fit, and for values that are not finite.
        """
        options, chosen = np.asarray(options, float), np.asarray(chosen, float)
        if not options.size or options.ndim != 3 or options.shape[:2] != chosen.shape:
            raise ProxygapError(f"options {options.shape}, chosen {chosen.shape}: needed are [N, J, d] and [N, J], N from 1")
        if not np.isfinite(options).all() or not np.allclose(chosen.sum(1), 1.0):
            raise ProxygapError("features that are not finite, or chances that don't add up to 1: leave those choices out")
        posterior = Posterior(self.beta * options, chosen, self.prior)
        self.weights_ = posterior.likeliest()
        self.samples_ = posterior.samples(self.weights_, self.samples, np.random.default_rng(self.seed))
        return self

    def __call__(self, t: Observed) -> Array:
        """The reward of steps, [B]: what agents are paid. Of a Transition nothing but what can be observed is used."""
        return self.predict(t.observed() if isinstance(t, Transition) else t)

    def predict(self, observed: Observed) -> Array:
        """The reward of each step by the likeliest weights, of the leading shape of `observed`."""
        self._check_fitted()
        return self.features(observed) @ self.weights_

    def predict_std(self, observed: Observed) -> Array:
        """How uncertain each step's reward is: its standard deviation under the posterior, of the leading shape."""
        self._check_fitted()
        return (self.features(observed) @ self.samples_.T).std(-1)

    def returns(self, segments: Segments) -> Array:
        """The summed reward of the valid steps of each stretch, [N]: an `EpisodeReward`."""
        self._check_fitted()
        return self._sums(segments) @ self.weights_

    def _sums(self, segments: Segments) -> Array:
        """The summed features of each stretch, [N, d]."""
        return np.where(segments.valid[..., None], self.features(segments), 0.0).sum(1)

    def _check_fitted(self) -> None:
        if not hasattr(self, "weights_"):
            raise ProxygapError("this LinearReward has not learned anything yet: call fit first")


@dataclass(frozen=True)
class Posterior:
    """How likely weights [..., d] are, given choices and a Gaussian prior."""

    options: Array  # [N, J, d] summed features, times beta
    chosen: Array  # [N, J]
    prior: float

    def log_density(self, weights: Array) -> Array:
        """Of weights [..., d], up to a constant: [...]."""
        taken, offered = weights @ np.tensordot(self.chosen, self.options), np.tensordot(weights, self.options, (-1, -1))
        return taken - np.logaddexp.reduce(offered, -1).sum(-1) - (weights**2).sum(-1) / (2 * self.prior**2)

    def slope(self, weights: Array) -> Array:
        """The gradient of the log density, [d]."""
        return np.tensordot(self.chosen, self._apart(weights)[1]) - weights / self.prior**2

    def precision(self, weights: Array) -> Array:
        """Minus the second derivatives of the log density, [d, d]."""
        chances, apart = self._apart(weights)
        return np.tensordot(chances[..., None] * apart, apart, ((0, 1), (0, 1))) + np.eye(len(weights)) / self.prior**2

    def _apart(self, weights: Array) -> tuple[Array, Array]:
        """The chance of each option [N, J], and how far its features are from those expected [N, J, d]."""
        chances = softmax(self.options @ weights, -1)
        return chances, self.options - np.einsum("nj,njd->nd", chances, self.options)[:, None]

    def likeliest(self) -> Array:
        """The weights of the highest density, [d]: the only peak, since its logarithm is concave."""
        found = minimize(
            lambda weights: -self.log_density(weights),
            np.zeros(self.options.shape[-1]),
            jac=lambda weights: -self.slope(weights),
            hess=self.precision,
            method="trust-exact",
        )
        return found.x

    def samples(self, start: Array, number: int, rng: np.random.Generator) -> Array:
        """`number` weights [K, d], each from a chain of its own that begins at `start`, the likeliest.

        Ellipses of the prior go far where choices tell little, those of Laplace's Gaussian move well where they tell much.
        """
        ellipses = (
            (np.zeros_like(start), self.prior * np.eye(len(start))),
            (start, np.linalg.cholesky(np.linalg.inv(self.precision(start)))),
        )
        weights = np.tile(start, (number, 1))
        for _ in range(SWEEPS):
            for centre, root in ellipses:
                weights = self._moved(weights, centre, root, rng)
        return weights

    def _moved(self, weights: Array, centre: Array, root: Array, rng: np.random.Generator) -> Array:
        """Every chain [K, d] one step on, along an ellipse of the Gaussian with this centre and root of its covariance."""

        def height(weights: Array) -> Array:
            return self.log_density(weights) + (np.linalg.solve(root, (weights - centre).T) ** 2).sum(0) / 2

        across, least = rng.standard_normal(weights.shape) @ root.T, height(weights) - rng.exponential(size=len(weights))
        angle = rng.uniform(0, 2 * np.pi, len(weights))
        low, high, found, rows = angle - 2 * np.pi, angle.copy(), weights.copy(), np.arange(len(weights))
        while len(rows):
            turn = angle[rows, None]
            found[rows] = centre + np.cos(turn) * (weights[rows] - centre) + np.sin(turn) * across[rows]
            rows = rows[height(found[rows]) < least[rows]]
            low[rows] = np.where(angle[rows] < 0, angle[rows], low[rows])
            high[rows] = np.where(angle[rows] < 0, high[rows], angle[rows])
            angle[rows] = rng.uniform(low[rows], high[rows])
        return found


def pessimistic(mdp: TabularMDP, weights: Array, discount: float) -> tuple[Array, float]:
    """The policy [S, A] whose discounted return is best under the worst of K weightings [K, n] for it, and that return.

    Exact, by linear programming over occupancies; it may have to draw actions by chance. Weights are in the order of
    `mdp.names`. All doubts count alike: where one sample is against every way, doing nothing is best, and where a step's price
    is as unknown as lava's, some lava is risked for a shorter way. Raises ProxygapError for what does not fit.
    """
    states, actions, terms = mdp.terms.shape
    if weights.shape[1:] != (terms,) or not 0 <= discount <= LARGEST_DISCOUNT:
        raise ProxygapError(
            f"weights {weights.shape}, discount {discount}: needed are [K, {terms}], for {', '.join(mdp.names)}, and below 1"
        )
    leaving, entering = kron(eye_array(states), np.ones((1, actions))), discount * mdp.transitions.T
    found = linprog(  # visits [S * A], and the floor under the return of each weighting, which is to be high
        np.append(np.zeros(states * actions), -1.0),
        A_ub=np.column_stack([-weights @ mdp.terms.reshape(-1, terms).T, np.ones(len(weights))]),
        b_ub=np.zeros(len(weights)),
        A_eq=hstack([leaving - entering, csr_array((states, 1))]),
        b_eq=mdp.start,
        bounds=[(0, None)] * (states * actions) + [(None, None)],
    )
    visits = np.maximum(found.x[:-1], TOLERANCE).reshape(states, actions)  # any action will do where it never comes
    return visits / visits.sum(1, keepdims=True), -found.fun
