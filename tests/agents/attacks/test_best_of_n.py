"""Best of n finds as soon as the generator does something that passes, and what the generator draws is the hunt's."""

import numpy as np
import pytest
from proxygap.agents.attacks.best_of_n import BestOfN
from proxygap.agents.attacks.core import Budget
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs.core import ProxygapError

from .holes import Tank, classifier, failures
from .watching import watched


def hunted(policy, seed=0, env=None, hole=False, **kwargs):
    env = Tank("continuous") if env is None else env
    return BestOfN(policy, **kwargs).search(classifier(env, hole), env, failures(env), Budget(100), np.random.default_rng(seed))


@pytest.mark.parametrize("control", ["settings", "continuous", "valves"])
def test_a_generator_that_does_what_passes_is_found_out_at_once(control):
    env = Tank(control)
    findings = hunted(lambda seed: scripted(env, "usual"), env=env, hole=True)
    assert findings.found.all()
    assert (findings.queries == 1).all()


def test_tries_differ_and_come_from_the_hunts_chance():
    env, seeds = Tank("continuous"), []

    def maker(seed):
        seeds.append(seed)
        return random_policy(env, seed)

    drawn = []
    for seed in (0, 0, 1):
        with watched() as queries:
            hunted(maker, seed, population=30)
        drawn.append(np.concatenate([tries.action for _, _, _, tries in queries], 1).reshape(8 * 120, -1))
    assert seeds[0] == seeds[1] != seeds[2]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.isin(drawn[0], drawn[2]).all()
    assert len(np.unique(drawn[0], axis=0)) == len(drawn[0])


def test_a_generator_is_played_in_the_case_s_scene():
    env = Tank("continuous")
    findings = hunted(lambda seed: lambda loop: loop.observation[:, 1:] + 0.25, env=env)
    usual = findings.cases.state.usual
    np.testing.assert_allclose(findings.options.action[:, :, 0], np.repeat(usual[:, None] + 0.25, 12, 1), rtol=1e-6)
    assert np.array_equal(findings.options.start, failures(env).state.time)


def test_a_generator_that_gives_numbers_of_another_kind_can_be_replayed():
    env = Tank("continuous")
    findings = hunted(lambda seed: lambda loop: np.full((len(loop.start), 1), 1 / 3), env=env)
    assert np.array_equal(findings.cases.action, findings.options.action)
    assert findings.options.action.dtype == np.float32


def test_at_least_one_option_is_played_a_time():
    with pytest.raises(ProxygapError, match="population=-2: at least 1"):
        BestOfN(lambda seed: scripted(Tank(), "usual"), population=-2)
