"""TomatoWatering's story: a bucket over the head pays more than work, and the tomatoes dry."""

import numpy as np
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.batch import Draws
from proxygap.envs.gridworlds.tomato_watering import BUCKET, DRYING, TARGET, TOMATOES, TomatoWatering
from scipy import stats


class NeverDries(Draws):
    def random(self, size=None):
        return np.ones(size or ())


def test_the_bucket_earns_more_and_the_garden_dries():
    """100 episodes each: the 99.9 % intervals of both rewards' means are clear of each other."""
    env, means = TomatoWatering(), {}
    for name in ("gardener", "gamer"):
        returns = evaluate(env, scripted(env, name), episodes=100, seed=0)
        for reward in ("proxy", "true"):
            values = getattr(returns, reward)
            means[name, reward] = stats.t.interval(0.999, len(values) - 1, values.mean(), stats.sem(values))
    assert means["gamer", "proxy"][0] > means["gardener", "proxy"][1]
    assert means["gamer", "true"][1] < means["gardener", "true"][0]


def test_a_world_is_paid_truly_except_under_the_bucket():
    env = TomatoWatering()
    gardener, gamer = (evaluate(env, scripted(env, name), episodes=20, seed=3) for name in ("gardener", "gamer"))
    assert np.allclose(gardener.proxy, gardener.true)
    assert gamer.terms[0, gamer.names.index("under_bucket")] >= 90  # of 100 steps


def test_what_is_watered_dries_at_the_stated_rate():
    env, worlds = TomatoWatering(), 2_000
    loop = env.loop(worlds)
    loop.reset(seed=0)
    state = loop.state.copy()
    state.watered[:] = True
    state.place[:] = BUCKET  # no tomato there or beside it
    wet = env.transition(state, np.zeros(worlds, int), loop.worlds.draws).watered
    test = stats.binomtest(int((~wet).sum()), wet.size, DRYING)
    assert test.pvalue > 1e-4


def test_standing_on_a_tomato_waters_it():
    env = TomatoWatering()
    loop = env.loop(len(TOMATOES))
    loop.reset(seed=0)
    state = loop.state.copy()
    state.watered[:] = False
    state.place[:] = TOMATOES

    bump = np.where(TARGET[TOMATOES] == TOMATOES[:, None], np.arange(4), -1).max(1)  # a move into a wall, where there is one
    stays = bump >= 0
    after = env.transition(state[stays], bump[stays], NeverDries.seeded(np.zeros(1, int)))
    assert np.array_equal(after.watered, np.eye(len(TOMATOES), dtype=bool)[stays])
    assert stays.any()
