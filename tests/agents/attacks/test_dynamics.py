"""A network learns what comes next from what was seen, by its own chance, and says where nothing was seen."""

import numpy as np
import pytest
import torch
from proxygap.agents.attacks.dynamics import BLUR, LearnedDynamics, blurred
from proxygap.agents.attacks.relaxed import relaxed
from proxygap.agents.options import replayed
from proxygap.agents.rollouts import random_policy
from proxygap.envs.core import ProxygapError

from .holes import FLOWS, Tank, cases

CONTROLS = "settings", "continuous", "valves"


def seen(control, number, seed):
    env = Tank(control)
    return replayed(env, cases(env, random_policy(env, seed), number, seed)).segments()


@pytest.mark.parametrize("control", CONTROLS)
def test_the_rules_of_the_tank_are_learned(control):
    known, fresh = seen(control, 200, 1), seen(control, 100, 1000)
    rules, kind = LearnedDynamics().fit(known, Tank(control).action_space), relaxed(Tank(control).action_space)
    flat = [part.reshape(-1, *part.shape[2:]) for part in (fresh.observation, fresh.action, fresh.next_observation)]
    told = rules(torch.from_numpy(flat[0]), kind.exact(flat[1])).numpy()
    error = abs(told - flat[2])[:, 0].mean()
    assert error < 0.1 * flat[2][:, 0].std()
    assert error < 0.2 * abs(flat[2] - flat[0])[:, 0].mean()


def test_blurred_choices_are_understood():
    """Of 200 stretches; a choice with 0.85 of the weight moves the level (far from empty) as it does with all of it."""
    rules = LearnedDynamics().fit(seen("settings", 200, 1), Tank().action_space)
    level, weights = torch.tensor([[2.0, 0.2]]).repeat(6, 1), 0.82 * torch.eye(6) + 0.03
    moved = (rules(level, weights) - level)[:, 0].numpy()
    np.testing.assert_allclose(moved, FLOWS, atol=0.2)


def test_blurring_gives_part_of_the_weight_to_what_can_be_chosen():
    allowed = torch.tensor([[True, True, False, False], [True, True, True, True]])
    weights = torch.zeros(5000, 2, 4)
    weights[:, 0, 1] = weights[:, 1, 3] = 1.0
    found = blurred(weights, allowed, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.sum(-1), torch.ones(5000, 2))
    assert (found[:, ~allowed] == 0).all()
    assert found[:, [0, 1], [1, 3]].min() >= 1 - BLUR
    np.testing.assert_allclose(found[:, 1, :3].mean(0), BLUR / 2 / 4, atol=0.003)


def test_gradients_reach_what_is_done():
    rules = LearnedDynamics().fit(seen("continuous", 200, 1), Tank("continuous").action_space)
    action = torch.zeros(4, 1, requires_grad=True)
    (slope,) = torch.autograd.grad(rules(torch.tensor([[2.0, 0.4]] * 4), action)[:, 0].sum(), action)
    np.testing.assert_allclose(slope.numpy(), 1.0, atol=0.2)


def test_its_chance_is_its_own():
    known, space = seen("settings", 20, 1), Tank().action_space
    found = []
    for noise, seed in ((0, 3), (1, 3), (0, 4)):
        torch.manual_seed(noise)
        before = torch.random.get_rng_state()
        rules = LearnedDynamics(steps=20, seed=seed).fit(known, space)
        assert torch.equal(before, torch.random.get_rng_state())
        found.append(rules(torch.ones(1, 2), torch.ones(1, 6)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_steps_that_are_padding_teach_nothing():
    known = seen("continuous", 20, 1)
    known.valid[:, 6:] = False
    first = LearnedDynamics(steps=20).fit(known, Tank("continuous").action_space)
    known.observation[:, 6:] = 1e6
    again = LearnedDynamics(steps=20).fit(known, Tank("continuous").action_space)
    pairs = zip(first.network_.parameters(), again.network_.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_nothing_seen_is_told_of():
    known = seen("settings", 3, 1)
    known.valid[:] = False
    with pytest.raises(ProxygapError, match="3 stretches without a step"):
        LearnedDynamics().fit(known, Tank().action_space)
