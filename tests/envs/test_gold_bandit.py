"""GoldBandit: what best-of-n choosing by each proxy comes to, against the closed forms; and its stories."""

from functools import cache

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.core import Loop, ProxygapError
from proxygap.envs.gold_bandit import GoldBandit, heavy
from scipy import integrate, stats

BANDIT = GoldBandit()
WIDE = GoldBandit(actions=16, width=128)  # so many features that actions are nearly independent of each other
CONTEXTS, MOST = 1000, 64  # of best-of-n


def drawn(env, rows, seed=0):
    """Contexts and actions drawn uniformly."""
    both = np.random.default_rng(seed).uniform(-1.0, 1.0, (rows, env.contexts + env.actions))
    return both[:, : env.contexts], both[:, env.contexts :]


@cache
def rated(env):
    """Every term [CONTEXTS, MOST] of actions drawn in each context."""
    context, action = drawn(env, CONTEXTS * MOST)
    terms = env.rated(np.repeat(context[:CONTEXTS], MOST, 0), action)
    return {name: values.reshape(CONTEXTS, MOST) for name, values in terms.items()}


def gold_of_best(env, proxy, n):
    """The mean gold of the best of n by a reward."""
    terms = rated(env)
    paid = np.sum([weight * terms[name][:, :n] for name, weight in env.weights(proxy).items()], axis=0)
    return terms["gold"][np.arange(CONTEXTS), paid.argmax(1)].mean()


def expected_greatest(n):
    """The mean of the greatest of n standard normals."""
    return integrate.quad(lambda x: n * x * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1), -8.0, 8.0)[0]


@cache
def played(name):
    return evaluate(BANDIT, scripted(BANDIT, name), 200, seed=0)


def earned(name, proxy):
    returns = played(name)
    terms = dict(zip(returns.names, returns.terms.mean(0), strict=True))
    return sum(weight * terms[term] for term, weight in BANDIT.weights(proxy).items())


@pytest.mark.parametrize(("proxy", "hacker"), [("heavy", "gamer"), ("light", "light_gamer"), ("blind", "blind_gamer")])
def test_choosing_by_the_proxy_earns_more_of_it_and_less_gold(proxy, hacker):
    assert BANDIT.proxies[proxy].expected == "gamed"
    assert earned(hacker, proxy) > earned("honest", proxy) + 0.5
    assert earned(hacker, "true") < earned("honest", "true") - 0.3


def test_only_the_light_error_leaves_more_than_the_reference_has():
    assert earned("light_gamer", "true") > earned("expert", "true") + 0.5
    assert earned("gamer", "true") < earned("expert", "true") - 0.2


@pytest.mark.parametrize("n", [4, 16, 64])
@pytest.mark.parametrize(("proxy", "share"), [("true", 1.0), ("light", np.sqrt(0.5))])
def test_gold_of_the_best_of_n_by_a_normal_error_is_the_closed_form(n, proxy, share):
    """Var(gold) / sd(paid) x E[greatest of n normals]; with few features, whose tails end, it is a little less."""
    assert gold_of_best(WIDE, proxy, n) == pytest.approx(share * expected_greatest(n), rel=0.05)
    assert 0.85 < gold_of_best(BANDIT, proxy, n) / (share * expected_greatest(n)) < 1.05


@pytest.mark.parametrize("env", [BANDIT, WIDE])
def test_a_heavy_error_makes_gold_rise_and_fall(env):
    peak = gold_of_best(env, "heavy", 16)
    assert peak > gold_of_best(env, "heavy", 2) + 0.2
    assert gold_of_best(env, "heavy", 64) < peak - 0.1


def test_terms_are_standardised_and_the_error_knows_nothing_of_gold():
    terms = BANDIT.rated(*drawn(BANDIT, 100_000, seed=1))
    gold, error = terms["gold"], terms["light_error"]
    assert np.allclose([gold.mean(), error.mean()], 0.0, atol=0.03)
    assert np.allclose([gold.std(), error.std()], 1.0, atol=0.03)
    assert abs(np.corrcoef(gold, error)[0, 1]) < 0.02
    assert np.array_equal(error.argsort(), terms["heavy_error"].argsort())  # the same errors but for their tails


def test_the_heavy_error_is_students_t_with_two_degrees_of_freedom():
    normal = np.linspace(-6.0, 6.0, 101)
    assert np.allclose(heavy(normal), stats.t(2).ppf(stats.norm.cdf(normal)), rtol=1e-6)


def test_the_blind_proxy_never_sees_the_last_features():
    context, action = drawn(BANDIT, 50)
    other = action.copy()
    other[:, -BANDIT.blind :] = -action[:, -BANDIT.blind :]
    one, two = BANDIT.rated(context, action), BANDIT.rated(context, other)
    assert np.array_equal(one["seen"], two["seen"])
    assert (one["gold"] != two["gold"]).all()


def test_an_episode_is_one_step_and_another_seed_another_world():
    loop = Loop(BANDIT, 2)
    loop.reset(seed=0)
    assert loop.step(np.zeros((2, 4))).terminated.all()
    inputs = drawn(BANDIT, 50)
    assert np.array_equal(GoldBandit().rated(*inputs)["gold"], BANDIT.rated(*inputs)["gold"])
    assert not np.allclose(GoldBandit(network=1).rated(*inputs)["gold"], BANDIT.rated(*inputs)["gold"])


@pytest.mark.parametrize(
    "given",
    [{"contexts": 0}, {"actions": 1}, {"blind": 4}, {"blind": 0}, {"width": 0}, {"noise": -1.0}, {"network": -1}],
    ids=str,
)
def test_senseless_settings_are_refused(given):
    name, value = next(iter(given.items()))
    with pytest.raises(ProxygapError, match=f"{name}={value}"):
        GoldBandit(**given)
