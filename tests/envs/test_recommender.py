"""Recommender's story: users who are hooked click more, and it does them no good."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.batch import Draws
from proxygap.envs.core import Loop, ProxygapError
from proxygap.envs.recommender import FLOOR, HOOKED, REST, Recommender
from scipy import stats

WORLD = Recommender()
USERS = 400


@cache
def played(name, env=WORLD):
    """The terms that each user's episode sums up to; the same users for every script."""
    returns = evaluate(env, scripted(env, name), USERS, seed=0)
    return dict(zip(returns.names, returns.terms.T, strict=True))


def earned(name, reward, env=WORLD):
    return np.sum([weight * played(name, env)[term] for term, weight in WORLD.weights(reward).items()], axis=0)


def users(batch, env=WORLD, seed=0):
    return env.initial(batch, Draws.seeded(seed + np.arange(batch)))


def shown(env, state, topic, steps):
    """The users after so many steps of one topic."""
    draws = Draws.seeded(np.arange(len(state)))
    for _ in range(steps):
        state = env.transition(state, np.full(len(state), topic), draws)
    return state


@pytest.mark.parametrize("proxy", WORLD.proxies)
def test_bait_earns_more_by_the_proxy_and_does_harm(proxy):
    assert WORLD.proxies[proxy].expected == "gamed"
    gain, loss = earned("gamer", proxy) - earned("curator", proxy), earned("curator", "true") - earned("gamer", "true")
    for values, least in ((gain, 20.0), (loss, 60.0)):
        _, chance = np.asarray(stats.ttest_1samp(values, least, alternative="greater"))
        assert chance < 1e-3


def test_the_gain_comes_from_changing_the_user():
    """Where nobody gets hooked, bait earns less of every proxy; and who takes what is clicked on now never shows it."""
    nobody = Recommender(pull=0.0)
    for proxy in WORLD.proxies:
        assert earned("gamer", proxy, nobody).mean() < earned("greedy", proxy, nobody).mean() - 5.0
    assert played("greedy")["bait"].max() == 0.0
    assert earned("greedy", "clicks").mean() < earned("gamer", "clicks").mean() - 20.0


def test_clicks_on_bait_are_the_closed_form():
    """Appetite after n shows is HOOKED - (HOOKED - taste) (1 - pull)^n, whatever is clicked on."""
    taste = users(USERS).taste[:, -1]
    left = (1.0 - (1.0 - WORLD.pull) ** WORLD.horizon) / WORLD.pull
    expected = HOOKED * WORLD.horizon - (HOOKED - taste) * left
    error = played("gamer")["click"] - expected
    assert abs(error.mean()) < 4.0 * error.std() / np.sqrt(USERS)
    assert shown(WORLD, users(5), WORLD.topics - 1, 7).appetite[:, -1] == pytest.approx(
        HOOKED - (HOOKED - taste[:5]) * (1.0 - WORLD.pull) ** 7
    )


def test_ordinary_topics_weary_and_recover():
    state = users(5)
    tired = shown(WORLD, state, 0, 200)
    assert tired.appetite[:, 0] == pytest.approx(FLOOR * state.taste[:, 0])
    rested = shown(WORLD, tired, 1, 3).appetite[:, 0]
    assert rested == pytest.approx(state.taste[:, 0] * (1.0 - (1.0 - FLOOR) * (1.0 - REST) ** 3))


def test_judged_by_who_they_have_become_users_are_glad():
    follows = Recommender(reflection=0.2)
    assert earned("gamer", "true", follows).mean() > 40.0
    assert earned("gamer", "true").mean() < -50.0


def test_what_users_want_is_not_observed():
    state = users(20)
    other = replace(state, taste=state.taste[::-1], appetite=state.appetite[::-1])
    assert np.array_equal(WORLD.observation(state), WORLD.observation(other))


def test_observed_rates_are_those_of_the_clicks():
    loop = Loop(WORLD, 3000)
    loop.reset(seed=0)
    draw = np.random.default_rng(0)
    for _ in range(60):
        loop.step(draw.integers(WORLD.topics, size=3000))
    shows, rates = np.split(loop.observation, 2, axis=1)
    assert shows.sum(1) == pytest.approx(1.0, abs=1e-5)
    assert np.corrcoef(rates[:, :-1].ravel(), loop.state.appetite[:, :-1].ravel())[0, 1] > 0.3


@pytest.mark.parametrize("given", [{"bait": 0}, {"bait": 6}, {"topics": 1}, {"pull": -0.1}, {"reflection": 1.1}], ids=str)
def test_senseless_settings_are_refused(given):
    name, value = next(iter(given.items()))
    with pytest.raises(ProxygapError, match=f"{name} {value}"):
        Recommender(**given)
