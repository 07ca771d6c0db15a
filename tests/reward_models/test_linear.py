"""Linear rewards: the likeliest weights, how sure of them one can be, and plans that stay away from what nobody spoke about."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from proxygap.envs.batch import Array
from proxygap.envs.core import Proxy, ProxyEnv, ProxygapError, State, Transition
from proxygap.envs.tabular import TabularMDP, expected_terms, optimal_values, tabulate
from proxygap.reward_models.feedback import Stretches
from proxygap.reward_models.linear import LinearReward, Posterior, pessimistic, shown
from proxygap.reward_models.teachers import Rational
from scipy.optimize import check_grad
from scipy.special import expit, log_softmax
from scipy.stats import kstest

from .behaviour import WEIGHTS, behaviour, changed, compared, linear

DISCOUNT = 0.95
ROWS, COLUMNS = 3, 4
START, BETWEEN, GOAL = 4, (5, 6), 7  # cells of the middle row


@dataclass
class Place(State):
    cell: Array  # [B]


@dataclass
class Lavaland(ProxyEnv[Place]):
    """A way to a goal: straight on, over lava where there is any, or two steps longer around it."""

    lava: bool = False

    action_space = spaces.Discrete(4)
    observation_space = spaces.Discrete(ROWS * COLUMNS)
    horizon = 20
    true_reward = {"goal": 1.0, "lava": -1.0}
    proxies = {"without_lava": Proxy({"goal": 1.0}, "scope", "lava was not thought of")}

    def initial(self, batch, rng, previous=None):
        return Place(np.full(batch, START))

    def transition(self, state, action, rng):
        row, column = np.divmod(state.cell, COLUMNS) + np.array([(-1, 1, 0, 0), (0, 0, -1, 1)])[:, action]
        return Place(np.clip(row, 0, ROWS - 1) * COLUMNS + np.clip(column, 0, COLUMNS - 1))

    def observation(self, state):
        return state.cell

    def terminal(self, state):
        return state.cell == GOAL

    def terms(self, t):
        lava = np.isin(t.next_state.cell, BETWEEN) & self.lava
        return {"goal": (t.next_state.cell == GOAL) * 1.0, "lava": lava * 1.0}


def choices(number, options=2, d=3, seed=0):
    """Random features [N, J, d], and what a chooser with the weights `WEIGHTS` takes, [N, J]."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(number, options, d))
    taken = (features @ WEIGHTS[:d] + rng.gumbel(size=(number, options))).argmax(1)
    return features, np.eye(options)[taken]


# The likeliest weights


def test_the_density_is_that_of_choices_and_prior_and_so_are_its_derivatives():
    features, chosen = choices(7, options=4)
    posterior, weights = Posterior(features, chosen, prior=0.7), np.array([0.3, -1.0, 2.0])
    logarithms = [chances[taken == 1].sum() for chances, taken in zip(log_softmax(features @ weights, 1), chosen, strict=True)]
    assert posterior.log_density(weights) == pytest.approx(sum(logarithms) - (weights**2).sum() / (2 * 0.7**2))
    assert check_grad(posterior.log_density, posterior.slope, weights) < 1e-5
    step = 1e-5 * np.eye(3)
    slopes = [(posterior.slope(weights - e) - posterior.slope(weights + e)) / 2e-5 for e in step]
    np.testing.assert_allclose(posterior.precision(weights), slopes, atol=1e-6)


@pytest.mark.parametrize("options", [2, 5])
def test_weights_come_back_as_often_as_their_posterior_says(options):
    away = []
    for seed in range(12):
        found = LinearReward(prior=10.0, samples=1).fit_choices(*choices(250, options, seed=seed))
        posterior = Posterior(*choices(250, options, seed=seed), prior=10.0)
        away.append((found.weights_ - WEIGHTS) @ posterior.precision(found.weights_) @ (found.weights_ - WEIGHTS))
    assert kstest(away, "chi2", args=(3,)).pvalue > 0.001


def test_a_linear_reward_is_found_in_comparisons_of_behaviour():
    def rated(segments):
        return np.where(segments.valid, segments.observation @ WEIGHTS, 0.0)

    model, fresh = LinearReward(prior=3.0).fit(compared(300, reward=rated)), behaviour(100, seed=77, shortest=3)
    assert np.corrcoef(model.predict(fresh)[fresh.valid], rated(fresh)[fresh.valid])[0, 1] > 0.99
    np.testing.assert_allclose(model.returns(fresh), np.where(fresh.valid, model.predict(fresh), 0.0).sum(1))


def test_features_of_ones_own_are_what_counts():
    def features(observed):
        return np.concatenate([observed.observation, observed.action[..., None] == 2], -1)

    pairs = compared(400)
    difference = linear(pairs.first).sum(1) - linear(pairs.second).sum(1)
    model = LinearReward(features, prior=10.0, samples=1).fit(changed(pairs, label=expit(difference)))
    np.testing.assert_allclose(model.weights_, [*WEIGHTS, 1.0], atol=0.05)  # labels are exact chances, the prior is wide


def test_terms_are_weighed_as_the_teacher_does_who_compares_them():
    segments, terms = behaviour(300), np.random.default_rng(0).normal(size=(300, 10, 3))
    first, second = Stretches(segments, terms @ WEIGHTS, terms).pairs(150, np.random.default_rng(1))
    options = np.stack([first.terms.sum(1), second.terms.sum(1)], 1)
    model = LinearReward(prior=10.0, samples=1).fit_choices(options, Rational(1.0).chances(first, second)[:, :2])
    np.testing.assert_allclose(model.weights_, WEIGHTS, atol=0.05)


# The posterior


@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("number", [1, 20])
def test_samples_follow_the_posterior_computed_on_a_grid(scale, number):
    features, chosen = choices(number, d=1)
    features, chosen = features * scale, (features == features.max(1, keepdims=True))[..., 0] * 1.0
    model = LinearReward(samples=1000, prior=2.0).fit_choices(features, chosen)
    grid = np.linspace(-12, 12, 20_001)
    densities = Posterior(features, chosen, 2.0).log_density(grid[:, None])
    below = np.cumsum(np.exp(densities - densities.max()))
    assert kstest(model.samples_[:, 0], lambda weight: np.interp(weight, grid, below / below[-1])).pvalue > 0.001


def test_what_is_told_is_known_and_what_is_not_stays_as_unknown_as_it_was():
    features, chosen = choices(100)
    model = LinearReward(samples=300).fit_choices(np.pad(features, ((0, 0), (0, 0), (0, 1))), chosen)
    assert (model.samples_[:, :3].std(0) < 0.5).all()
    assert kstest(model.samples_[:, 3], "norm").pvalue > 0.001


def test_the_deviation_of_a_step_is_that_of_its_reward_over_the_samples():
    model, fresh = LinearReward().fit(compared(50)), behaviour(4, seed=5)
    each = np.stack([shown(fresh) @ weights for weights in model.samples_])
    np.testing.assert_allclose(model.predict_std(fresh), each.std(0))
    assert model.predict_std(fresh).shape == model.predict(fresh).shape == (4, 10)


# Inverse reward design


def worth(mdp: TabularMDP, weights: Array) -> Array:
    """The optimal worth [S, A] of every action, for weights in the order of the terms."""
    return optimal_values(mdp, dict(zip(mdp.names, weights, strict=True)), DISCOUNT)


def best(mdp: TabularMDP, weights: Array) -> Array:
    """A policy [S] that is optimal for weights."""
    return worth(mdp, weights).argmax(1)


def visits(mdp: TabularMDP, policy: Array) -> Array:
    """The discounted feature expectations [d] of a policy."""
    return np.array(list(expected_terms(mdp, policy, discount=DISCOUNT).values()))


TRAINING, DEPLOYED = tabulate(Lavaland(lava=False)), tabulate(Lavaland(lava=True))
PROXY = np.array([1.0, 0.0])  # what the designer wrote: not a word about lava
STRAIGHT = DISCOUNT**2  # what the goal is worth to who goes straight


@cache
def in_training(policy: bytes) -> Array:
    """The feature expectations there of a policy, given as bytes so that each is evaluated once."""
    return visits(TRAINING, np.frombuffer(policy, np.int64))


def designed(**settings: Any) -> LinearReward:
    """What the proxy tells of the weights that are meant, if it was made for the training world."""
    return LinearReward(**settings).fit_design(PROXY, lambda w: in_training(best(TRAINING, w).tobytes()), rivals=100)


def test_a_design_tells_what_mattered_in_training_by_the_closed_form_and_nothing_else():
    model = designed(beta=5.0, samples=1000)
    rivals = np.random.default_rng(0).standard_normal((100, 2))[:, 0]
    going = 1 + (rivals > 0).sum()  # with the proxy
    grid = np.linspace(-6, 6, 20_001)
    density = np.exp(-(grid**2) / 2) / (going + (101 - going) * np.exp(-5.0 * STRAIGHT * grid))
    below = np.cumsum(density) / density.sum()
    assert kstest(model.samples_[:, 0], lambda weight: np.interp(weight, grid, below)).pvalue > 0.001
    assert kstest(model.samples_[:, 1], "norm").pvalue > 0.001


def test_the_proxy_leads_through_lava_that_it_was_not_made_for_and_pessimism_around_it():
    naive, arrived = visits(DEPLOYED, best(DEPLOYED, PROXY)), []
    np.testing.assert_allclose(naive, [STRAIGHT, 1 + DISCOUNT])
    for seed in range(5):
        weights = designed(beta=100.0, seed=seed).samples_
        goal, lava = visits(DEPLOYED, pessimistic(DEPLOYED, weights, DISCOUNT)[0])
        assert lava < 0.05 * naive[1]
        assert goal == pytest.approx(DISCOUNT**4, abs=0.02) or (weights[:, 0].min() < 0 and goal < 1e-6)
        arrived.append(goal > 0)
    assert any(arrived)  # where one sample is against the goal, doing nothing is safest


# Pessimism


def test_one_weighting_is_planned_for_as_if_it_were_known():
    for weights in np.random.default_rng(0).normal(size=(10, 2)):
        policy, floor = pessimistic(DEPLOYED, weights[None], DISCOUNT)
        optimum = DEPLOYED.start @ worth(DEPLOYED, weights).max(1)
        np.testing.assert_allclose([floor, weights @ visits(DEPLOYED, policy)], optimum, atol=1e-7)


def test_the_floor_is_what_the_worst_weighting_pays_and_no_policy_has_a_higher_one():
    for weights in np.random.default_rng(1).normal(size=(4, 2, 2)):
        policy, floor = pessimistic(DEPLOYED, weights, DISCOUNT)
        np.testing.assert_allclose(policy.sum(1), 1.0)
        assert floor == pytest.approx((weights @ visits(DEPLOYED, policy)).min(), abs=1e-7)
        mixtures = [share * weights[0] + (1 - share) * weights[1] for share in np.linspace(0, 1, 51)]
        bound = min(DEPLOYED.start @ worth(DEPLOYED, mixture).max(1) for mixture in mixtures)
        assert bound - 0.03 < floor < bound + 1e-7  # von Neumann's minimax theorem, on a grid


# What is paid, and mistakes


def test_is_a_reward_that_never_looks_at_hidden_states():
    model, seen = LinearReward(samples=1).fit(compared(20)), behaviour(6)
    t: Any = Transition(seen.observation, seen.action, seen.next_observation, seen.terminated, None, None)  # pyright: ignore[reportArgumentType]

    def features(observed):
        assert not hasattr(observed, "state")
        return shown(observed)

    np.testing.assert_array_equal(replace(model, features=features).fit(compared(20))(t), model.predict(seen))


def test_says_what_is_wrong():
    wrong: list[dict[str, Any]] = [{"prior": 0.0}, {"beta": -1.0}, {"samples": 0}]
    for settings in wrong:
        with pytest.raises(ProxygapError, match=f"{next(iter(settings))} .*above 0"):
            LinearReward(**settings)
    for refused in (LinearReward().predict, LinearReward().predict_std, LinearReward().returns):
        with pytest.raises(ProxygapError, match="call fit first"):
            refused(behaviour(3))
    with pytest.raises(ProxygapError, match="N from 1"):
        LinearReward().fit(compared(20)[np.zeros(0, int)])
    features, chosen = choices(5)
    with pytest.raises(ProxygapError, match=r"options \(5, 2, 3\), chosen \(4, 2\)"):
        LinearReward().fit_choices(features, chosen[:4])
    for spoilt in ((np.where(features > 1, np.nan, features), chosen), (features, 2 * chosen)):
        with pytest.raises(ProxygapError, match="not finite, or chances"):
            LinearReward().fit_choices(*spoilt)
    for weights, discount in ((np.ones((4, 3)), DISCOUNT), (np.ones((4, 2)), 1.0)):
        with pytest.raises(ProxygapError, match=r"needed are \[K, 2\], for goal, lava, and below 1"):
            pessimistic(DEPLOYED, weights, discount)
