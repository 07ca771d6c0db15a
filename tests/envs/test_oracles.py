"""The benchmarked worlds give, step by step, what a scalar world in plain Python gives that was written on its own."""

import numpy as np
import pytest
from proxygap.envs.batch import Draws
from proxygap.envs.core import Loop
from proxygap.envs.gridworlds.boat_race import BoatRace
from proxygap.envs.gridworlds.tomato_watering import TomatoWatering
from proxygap.envs.lagoon import Lagoon

from ..oracles import boat_race, lagoon, tomato_watering

WORLDS = {
    "BoatRace": (BoatRace, lambda chance: boat_race.BoatRace()),
    "TomatoWatering": (TomatoWatering, tomato_watering.TomatoWatering),
    "Lagoon": (Lagoon, lagoon.Lagoon),
}
EXACT = 0.0  # tolerance of gridworlds
ROUNDED, SHOWN = 1e-9, 1e-6  # of Lagoon, whose sines may round differently, and of its float32 observation
PLAYED = [("BoatRace", 24, 220, EXACT, EXACT), ("TomatoWatering", 24, 220, EXACT, EXACT), ("Lagoon", 8, 520, ROUNDED, SHOWN)]


def player(env, batch, seed):
    """Acts by a script in every world (the reference's in odd ones), with more and more slips from the first to the last."""
    rng, (reference, gamer) = np.random.default_rng(seed), env.policies().values()

    def act(state):
        scripted = np.where(np.arange(batch) % 2, reference(state), gamer(state))
        slips = rng.random(batch) < np.linspace(-0.5, 1.0, batch)
        return np.where(slips, rng.integers(env.action_space.n, size=batch), scripted)

    return act


def assert_close(one, other, tolerance, where):
    np.testing.assert_allclose(one, other, rtol=0.0, atol=tolerance, err_msg=where)


@pytest.mark.parametrize(("name", "batch", "steps", "tolerance", "shown"), PLAYED)
@pytest.mark.parametrize("seed", [0, 1000])
def test_equals_the_scalar_world(name, batch, steps, tolerance, shown, seed):
    env, oracle = WORLDS[name][0](), WORLDS[name][1]
    loop, act = Loop(env, batch), player(env, batch, seed)
    first = loop.reset(seed=seed)
    singles = [oracle(Draws.seeded(np.array([seed + i]))) for i in range(batch)]  # the same draws, world by world
    assert_close(first, [single.reset()[0] for single in singles], shown, "reset")
    happened = dict.fromkeys(env.term_names, 0.0)
    for where in map("step {}".format, range(steps)):
        actions = act(loop.state)
        step = loop.step(actions)
        given = [single.step(action) for single, action in zip(singles, actions.tolist(), strict=True)]
        observations, rewards, terminated, truncated, infos = zip(*given, strict=True)
        assert_close(step.transition.next_observation, observations, shown, where)
        assert_close(step.reward, rewards, tolerance, where)
        assert_close(step.proxy, [info["proxy_reward"] for info in infos], tolerance, where)
        assert_close(step.true, [info["true_reward"] for info in infos], tolerance, where)
        for term, values in step.terms.items():
            assert_close(values, [info["reward_terms"][term] for info in infos], tolerance, f"{term} in {where}")
            happened[term] += abs(values).sum()
        assert set(step.terms) == set(infos[0]["reward_terms"])
        assert (step.terminated.tolist(), step.truncated.tolist()) == (list(terminated), list(truncated)), where
        for i in np.flatnonzero(step.done):
            assert_close(step.observation[i], singles[i].reset()[0], shown, where)
    assert min(happened.values()) > 0, f"never seen, so never compared: {happened}"
