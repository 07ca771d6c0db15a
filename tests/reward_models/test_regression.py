"""A reward learned from marks is in their unit, and knows what a step without any merit is worth."""

import numpy as np
import pytest
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.feedback import Ratings
from proxygap.reward_models.regression import RegressionReward

from .behaviour import QUICK, behaviour, changed, linear


def rated(number, seed=0, value=lambda s: linear(s).sum(1), env="Meadow", **kwargs):
    segments = behaviour(number, seed, **kwargs)
    return Ratings(segments, value(segments), env)


def test_returns_are_the_marks_and_steps_are_what_they_are_made_of():
    def pounds(segments):
        return np.where(segments.valid, 1000 * linear(segments) - 300, 0.0)

    model = RegressionReward(ensemble=2, steps=1000).fit(rated(1000, value=lambda s: pounds(s).sum(1), shortest=3))
    fresh = behaviour(300, seed=9, shortest=3)
    assert model.score(rated(300, 9, lambda s: pounds(s).sum(1), shortest=3)) > 0.95
    off = model.predict(fresh)[fresh.valid] - pounds(fresh)[fresh.valid]
    assert abs(off.mean()) < 60  # lengths differ, and so the constant is known
    assert off.std() < 0.35 * pounds(fresh)[fresh.valid].std()


def test_marks_that_are_all_alike_are_returned():
    model = RegressionReward(**QUICK).fit(rated(50, value=lambda s: np.full(50, 30.0)))
    np.testing.assert_allclose(model.returns(behaviour(20, seed=5)), 30.0, atol=2.0)
    np.testing.assert_allclose(model.predict(behaviour(20, seed=5)).mean(), 3.0, atol=0.1)


def test_a_scale_of_the_marks_is_one_of_the_reward_and_no_more():
    plain, large = (RegressionReward(**QUICK).fit(rated(80, value=lambda s, k=k: k * linear(s).sum(1))) for k in (1, 1e6))
    np.testing.assert_allclose(large.predict(behaviour(9)), 1e6 * plain.predict(behaviour(9)), rtol=1e-2, atol=1e4)


def test_the_score_is_the_share_explained():
    ratings = rated(100)
    model = RegressionReward(**QUICK).fit(ratings)
    assert model.score(changed(ratings, value=model.returns(ratings.segments))) == 1.0
    returns = model.returns(ratings.segments)
    assert model.score(changed(ratings, value=2 * returns.mean() - returns)) == pytest.approx(-3.0)  # all the wrong way round


def test_says_what_is_wrong_with_ratings():
    ratings = rated(20)
    with pytest.raises(ProxygapError, match="no ratings"):
        RegressionReward().fit(ratings[np.zeros(0, int)])
    model = RegressionReward(**QUICK).fit(ratings)
    with pytest.raises(ProxygapError, match="all alike"):
        model.score(changed(ratings, value=np.ones(20)))
    with pytest.raises(ProxygapError, match="fitted to Meadow"):
        model.score(changed(ratings, env="Desert"))
