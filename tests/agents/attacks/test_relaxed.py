"""Actions as numbers stay what they are, move little by little, and never lead out of their space."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.attacks.relaxed import relaxed
from proxygap.envs.core import ProxygapError

SPACES = {
    "discrete": spaces.Discrete(5, start=-2),
    "several": spaces.MultiDiscrete([2, 5, 3], start=[1, 0, -1]),
    "box": spaces.Box(np.array([0.0, -3.0], np.float32), np.array([1.0, 5.0], np.float32)),
    "flat box": spaces.Box(np.array([2.0, -1.0], np.float32), np.array([2.0, 1.0], np.float32)),
}
any_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def sampled(space, *shape):
    return np.stack([space.sample() for _ in range(np.prod(shape))]).reshape(*shape, *space.shape)


@any_space
def test_actions_are_where_they_lie(space):
    space.seed(0)
    action, kind = sampled(space, 7, 4), relaxed(space)
    found = kind.actions(kind.places(action))
    np.testing.assert_allclose(found, action, atol=1e-6)
    assert found.dtype == space.dtype


@any_space
@given(seed=st.integers(0, 1000), size=st.floats(0, 10))
def test_wherever_one_moves_actions_stay_in_their_space(space, seed, size):
    kind, generator = relaxed(space), torch.Generator().manual_seed(seed)
    places = kind.places(np.broadcast_to(space.sample(), (3, 2, *space.shape)))
    moved = kind.project(places + size * torch.randn(places.shape, generator=generator))
    assert all(space.contains(action) for action in kind.actions(moved).reshape(6, *space.shape))
    if isinstance(space, spaces.Box):
        numbers = kind.numbers(moved).numpy()
        assert ((numbers >= space.low - 1e-5) & (numbers <= space.high + 1e-5)).all()


@pytest.mark.parametrize("name", ["discrete", "several"])
def test_choices_are_weights_of_what_can_be_chosen(name):
    space = SPACES[name]
    kind = relaxed(space)
    action = sampled(space, 6, 3)
    weights = kind.numbers(kind.places(action))
    torch.testing.assert_close(weights.sum(-1), torch.ones(action.shape))
    lowest = int(np.min(space.start))
    np.testing.assert_array_equal(weights.argmax(-1) + lowest, action)
    if name == "several":
        first, last = space.start - lowest, space.start + space.nvec - 1 - lowest
        allowed = (np.arange(6) >= first[:, None]) & (np.arange(6) <= last[:, None])
        assert (weights.numpy()[..., ~allowed] == 0).all()
        assert (weights.numpy()[..., allowed] > 0).all()
    np.testing.assert_array_equal(kind.exact(action), action[..., None] == lowest + np.arange(weights.shape[-1]))


def test_a_step_leads_from_one_choice_to_another_or_to_the_wall():
    kind = relaxed(SPACES["discrete"])
    places = kind.places(np.array([-2]))
    moved = places.clone()
    moved[0, 3] += 1.01
    assert kind.actions(moved) == 1
    box = relaxed(SPACES["box"])
    np.testing.assert_allclose(box.actions(box.places(np.array([0.5, 1.0])) + 1.0), [1.0, 5.0])


@pytest.mark.parametrize("space", [spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(0, 3, (2,), np.int64), spaces.MultiBinary(3)])
def test_other_spaces_are_told_of(space):
    with pytest.raises(ProxygapError, match="gradients move Discrete and MultiDiscrete ones, and those of a Box with bounds"):
        relaxed(space)
