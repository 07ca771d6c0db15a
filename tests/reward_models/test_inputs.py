"""Choices may be given by weights, which gradients reach, whatever kind of numbers a board is written in."""

import numpy as np
import pytest
import torch
from proxygap.envs.core import Observed
from proxygap.reward_models.inputs import Inputs


def boards(dtype, values=(0, 2, 5)):
    rng = np.random.default_rng(0)
    board = rng.choice(values, (6, 4, 3)).astype(dtype)
    return Observed(board, rng.integers(2, size=(6, 4)), board, np.zeros((6, 4), bool)), np.ones((6, 4), bool)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64])
def test_weights_of_a_boards_numbers_are_taken_for_them(dtype):
    observed, valid = boards(dtype)
    inputs = Inputs.of(observed, valid, ("observation",), one_hot=True)
    plain = inputs.tensors(observed)
    weights = (plain["observation"][..., None] == inputs.levels["observation"]).float().requires_grad_()
    assert torch.equal(inputs({"observation": weights}), inputs(plain))
    inputs({"observation": weights}).sum().backward()
    assert weights.grad is not None
    assert (weights.grad == 1).all()


@pytest.mark.parametrize("stranger", [3, 2.5, -1, -0.5, 6])
def test_a_number_that_was_never_seen_is_all_zeros(stranger):
    observed, valid = boards(np.float32)
    inputs = Inputs.of(observed, valid, ("observation",), one_hot=True)
    observed.observation[2, 1] = stranger
    rows = inputs(inputs.tensors(observed))
    assert not rows[2, 1].any()
    assert (rows.sum(-1) == 3).sum() == 23


def test_numbers_that_are_not_whole_are_choices_too():
    observed, valid = boards(np.float32, values=(0.0, 1 / 6, 1.0))
    inputs = Inputs.of(observed, valid, ("observation",), one_hot=True)
    assert (inputs(inputs.tensors(observed)).sum(-1) == 3).all()
