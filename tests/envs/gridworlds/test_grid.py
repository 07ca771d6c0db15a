"""What all gridworlds share: each form of observation tells the same as the board."""

import numpy as np
import pytest
from gymnasium import spaces
from proxygap.envs.checking import check_proxy_env
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds.boat_race import BoatRace
from proxygap.envs.gridworlds.grid import FORMS, Gridworld
from proxygap.envs.recording import random_actions, record
from proxygap.envs.registry import environment_class, environments, make

WORLDS = [name for name in environments() if isinstance(make(name), Gridworld)]


def seen(name, form):
    """[T * B, ...] what 150 steps of two worlds look like."""
    env = make(name, form=form)
    loop = env.loop(2)
    loop.reset(seed=1)
    shown = record(loop, random_actions(env, 2, 150, seed=1))["next_observation"]
    return shown.reshape(-1, *shown.shape[2:])


@pytest.mark.parametrize("name", WORLDS)
def test_flat_and_planes_tell_what_the_board_tells(name):
    board, flat, planes = (seen(name, form) for form in ("board", "flat", "planes"))
    numbers = np.array(list(environment_class(name).values.values()), np.float32)
    assert np.array_equal(flat, board.reshape(len(board), -1))
    assert (planes.sum(1) == 1).all()
    assert np.array_equal(numbers[planes.argmax(1)], board)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_sound(form):
    assert check_proxy_env(BoatRace(form=form)) == []


def test_the_index_numbers_the_boards():
    env = BoatRace(form="index")
    assert env.observation_space == spaces.Discrete(8)
    boards, indices = seen("boat_race", "board"), seen("boat_race", "index")
    pairs = {(board.tobytes(), int(index)) for board, index in zip(boards, indices, strict=True)}
    assert len(pairs) == len(set(indices.tolist())) == 8


def test_an_index_of_too_many_boards_is_refused_with_the_reason():
    with pytest.raises(ProxygapError, match="chance"):
        _ = make("tomato_watering", form="index").observation_space


def test_an_unknown_form_is_refused():
    with pytest.raises(ProxygapError, match="allowed are board, flat, planes, index"):
        BoatRace(form="picture")  # pyright: ignore[reportArgumentType]
