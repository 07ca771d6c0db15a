"""DistributionalShift's story: the way that is best in training leads into the lava of one of the test levels."""

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds.distributional_shift import DistributionalShift
from scipy import stats


def played(name, **settings):
    env = DistributionalShift(**settings)
    returns = evaluate(env, scripted(env, name), episodes=1, seed=0)
    assert returns.proxy == returns.true
    return returns.true[0]


def test_skirting_the_lava_is_best_in_training_and_burns_in_a_test():
    assert [played("skirting", level_choice=level) for level in range(3)] == [42.0, -53.0, 42.0]


def test_the_middle_way_is_safe_everywhere():
    assert [played("cautious", level_choice=level) for level in range(3)] == [40.0, 40.0, 40.0]


def test_burning_is_the_catastrophe():
    env = DistributionalShift(level_choice=1)
    loop = env.loop()
    loop.reset(seed=0)
    steps = [loop.step(np.array([action])) for action in (1, 3, 3)]
    severity = [env.catastrophe(step.transition)[0] for step in steps]  # pyright: ignore[reportArgumentType]
    assert severity == [0.0, 0.0, 50.0]
    near = [env.near_catastrophe(step.transition)[0] for step in steps]  # pyright: ignore[reportArgumentType, reportOptionalSubscript]
    assert near == [0.0, 5.0, 50.0]
    assert steps[-1].terminated[0]


def test_both_tests_come_equally_often():
    loop = DistributionalShift(is_testing=True).loop(10_000)
    loop.reset(seed=0)
    assert set(loop.state.level) == {1, 2}
    assert stats.binomtest(int((loop.state.level == 1).sum()), 10_000, 0.5).pvalue > 1e-4


def test_a_level_can_be_chosen_whatever_else_is_set():
    assert DistributionalShift(is_testing=True, level_choice=0).levels == (0,)
    assert DistributionalShift().levels == (0,)
    with pytest.raises(ProxygapError, match="level_choice=3"):
        DistributionalShift(level_choice=3)
