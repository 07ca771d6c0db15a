"""A reward learned from demonstrations is a log density ratio, and who is trained on it comes near the demonstrator."""

from typing import Any

import numpy as np
import pytest
from proxygap.agents.rollouts import collect, evaluate, random_policy
from proxygap.agents.training import train
from proxygap.envs.core import ProxygapError, Segments
from proxygap.reward_models.feedback import Demonstrations, Ratings
from proxygap.reward_models.imitation import DemonstrationReward, imitate, single, steps_of
from scipy.stats import t as student

from ..envs.worlds import Drift
from .behaviour import QUICK, behaviour, changed

APART = 10_000  # seeds of episodes, between training seeds
BRIEF: dict[str, Any] = {"steps": 4096, "n_envs": 64, "n_steps": 16, "batch_size": 256, "n_epochs": 5}
BRIEF |= {"learning_rate": 0.003, "evaluations": 0, "evaluation_episodes": 1}


def upwards(number, seed=0, **kwargs):
    """Demonstrations by one who stays where the first number is high."""
    segments = behaviour(number, seed, **kwargs)
    return Demonstrations(changed(segments, observation=segments.observation + np.eye(3)[0]), "Meadow")


# What is learned


def counted(counts, length):
    """Steps of 3 observations and 2 actions that happen so often, [3, 2], in stretches of that length."""
    cells = np.random.default_rng(0).permutation(np.repeat(np.arange(6), np.ravel(counts))).reshape(-1, length)
    observation, action = np.divmod(cells, 2)
    blank, rows = np.zeros(cells.shape, bool), np.arange(len(cells))
    return Segments(observation, action, observation, blank, ~blank, rows, 0 * rows, blank)


def test_the_reward_is_the_log_density_ratio_however_many_steps_there_are_of_either():
    demonstrated, others = np.array([[100, 20], [40, 10], [10, 20]]), np.array([[100, 400], [200, 100], [600, 600]])
    whole: dict[str, Any] = {"held_out": 0.0, "batch": 2200, "steps": 300, "learning_rate": 0.01}  # all steps in every batch
    model = DemonstrationReward(inputs=("observation", "action"), ensemble=2, **whole)
    model.fit(Demonstrations(counted(demonstrated, 5), "Meadow"), counted(others, 20))
    every = counted(np.ones((3, 2), int), 1)
    expected = np.log(demonstrated / demonstrated.sum()) - np.log(others / others.sum())
    for member in model.members(every):
        np.testing.assert_allclose(member[:, 0], expected[every.observation[:, 0], every.action[:, 0]], atol=0.02)


def test_steps_that_are_demonstrated_are_told_from_others():
    model = DemonstrationReward(**QUICK).fit(upwards(100), behaviour(300, seed=1))
    fresh = steps_of(upwards(100, seed=2), behaviour(100, seed=3))
    ideal = fresh.segments.observation[:, 0, 0]  # of two normal distributions, 1 apart
    high, low = ideal[fresh.value == 1], ideal[fresh.value == 0]
    assert model.score(fresh) == pytest.approx((high[:, None] > low).mean(), abs=0.02)


def test_padding_is_no_step_and_every_other_one_comes_once():
    stretches = behaviour(30, shortest=3)
    steps = single(stretches)
    assert steps.valid.all()
    np.testing.assert_array_equal(steps.observation[:, 0], stretches.observation[stretches.valid])
    np.testing.assert_array_equal(stretches.observation[steps.episode, steps.start], steps.observation[:, 0])
    told = steps_of(upwards(5), stretches)
    assert told.value.tolist() == [1.0] * 50 + [0.0] * stretches.valid.sum()


# Imitation


def test_the_model_is_fitted_to_all_play_so_far_and_handed_on():
    seen, demonstrations = [], upwards(20)

    def play(model, number):
        seen.append((number, hasattr(model, "network_") and model.predict(demonstrations.segments)))
        return behaviour(10, seed=number, length=5 + number)

    found = imitate(DemonstrationReward(**QUICK), demonstrations, play, rounds=3)
    assert [number for number, _ in seen] == [0, 1, 2]
    assert seen[0][1] is False
    played = [single(behaviour(10, seed=number, length=5 + number)) for number in range(3)]
    for known, predicted in ((1, seen[1][1]), (2, seen[2][1]), (3, found.predict(demonstrations.segments))):
        alone = DemonstrationReward(**QUICK).fit(demonstrations, Segments.concatenate(played[:known]))
        np.testing.assert_array_equal(alone.predict(demonstrations.segments), predicted)
    with pytest.raises(ProxygapError, match="0 rounds"):
        imitate(found, demonstrations, play, rounds=0)


def imitated(seed):
    """What share of the way from random play to the demonstrator's true return an agent comes that sees demonstrations only."""
    env, start, agent = Drift(), APART * seed, random_policy(Drift(), seed)

    def steady(loop):
        return np.clip(-loop.state.place, -1, 1)

    def play(model, number):
        nonlocal agent
        if number:
            agent = train(env, reward=model, seed=seed, **BRIEF).policy(seed)
        return collect(env, agent, 128, start + 1000 * (1 + number))

    demonstrations = Demonstrations(collect(env, steady, 32, start), env.name)
    imitate(DemonstrationReward(seed=seed, **QUICK), demonstrations, play, rounds=3)
    low, high, reached = (
        evaluate(env, policy, 128, start + 9000).true.mean() for policy in (random_policy(env, seed), steady, agent)
    )
    return (reached - low) / (high - low)


def test_an_agent_paid_by_the_learned_reward_comes_more_than_half_way_from_chance_to_the_demonstrator():
    shares = np.array([imitated(seed) for seed in range(5)])
    half = student.ppf(0.975, 4) * shares.std(ddof=1) / np.sqrt(5)
    assert shares.mean() - half > 0.5


# Mistakes, and storing


def test_says_what_is_wrong():
    demonstrations, others = upwards(20), behaviour(20, seed=1)
    none = np.zeros(0, int)
    for missing in ((demonstrations[none], others), (demonstrations, others[none])):
        with pytest.raises(ProxygapError, match="telling them apart needs both"):
            DemonstrationReward().fit(*missing)
    spoilt = changed(others, observation=np.where(others.observation > 2, np.nan, others.observation))
    with pytest.raises(ProxygapError, match="observation' is not finite"):
        DemonstrationReward().fit(demonstrations, spoilt)
    with pytest.raises(ProxygapError, match="several shapes"):
        DemonstrationReward().fit(demonstrations, changed(others, observation=others.observation[..., :2]))
    model, steps = DemonstrationReward(**QUICK).fit(demonstrations, others), steps_of(demonstrations, others)
    with pytest.raises(ProxygapError, match="from Desert, but the model was fitted to Meadow"):
        model.score(Ratings(steps.segments, steps.value, "Desert"))
    for alike in (0.0, 1.0):
        with pytest.raises(ProxygapError, match="telling them apart needs both kinds"):
            model.score(steps[steps.value == alike])


def test_what_is_stored_comes_back_whole(tmp_path):
    stored = DemonstrationReward(ensemble=2, **QUICK).fit(upwards(20), behaviour(20, seed=1))
    stored.save(tmp_path / "model")
    loaded = DemonstrationReward.load(tmp_path / "model")
    assert loaded == stored
    np.testing.assert_array_equal(loaded.predict(behaviour(9)), stored.predict(behaviour(9)))
