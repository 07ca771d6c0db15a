"""One-hot boards: what the network gets says the same as the board, and runs that saw it so can be loaded."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.one_hot import OneHot
from proxygap.agents.trained import load_policy
from proxygap.agents.training import train
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds.rocks_diamonds import RocksDiamonds

LEAST, MOST = -2, 5
BOARDS = st.lists(st.lists(st.integers(LEAST, MOST), min_size=6, max_size=6), min_size=1, max_size=4)


@given(BOARDS)
def test_every_cell_is_one_of_its_numbers_and_the_board_can_be_read_back(boards):
    given = np.array(boards).reshape(-1, 2, 3)
    layer = OneHot(spaces.Box(LEAST, MOST, (2, 3), np.float32))
    seen = layer(torch.as_tensor(given, dtype=torch.float32))
    assert seen.shape == (len(given), layer.features_dim)
    cells = seen.numpy().reshape(len(given), 6, MOST - LEAST + 1)
    assert (np.sort(cells, -1) == np.eye(MOST - LEAST + 1)[-1]).all()
    assert (cells.argmax(-1) + LEAST == given.reshape(-1, 6)).all()


def test_the_whole_network_gets_them_and_a_stored_agent_acts_as_before(tmp_path):
    short: dict[str, Any] = {"steps": 256, "n_envs": 4, "n_steps": 32, "batch_size": 64, "evaluations": 0}
    trained = train(RocksDiamonds(), tmp_path / "run", one_hot=True, **short)
    assert trained.model.policy.features_extractor.features_dim == 7 * 9 * 10
    boards = np.random.default_rng(0).integers(0, 10, (8, 7, 9)).astype(np.float32)
    loaded = load_policy(tmp_path / "run", env=RocksDiamonds())
    assert (loaded.model.predict(boards, deterministic=True)[0] == trained.model.predict(boards, deterministic=True)[0]).all()


@pytest.mark.parametrize("space", [spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(0, 1e4, (2,)), spaces.Discrete(4)])
def test_what_is_no_board_is_refused_in_one_message(space):
    with pytest.raises(ProxygapError, match="one_hot needs boards of at most 256 whole numbers"):
        OneHot(space)
