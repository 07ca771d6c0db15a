"""Pushing obeys Sokoban's rules, against the same rules in plain Python."""

import numpy as np
from proxygap.envs.gridworlds.grid import MOVES
from proxygap.envs.gridworlds.pushing import NOWHERE, count, push, put, ways

BOARD = ("######", "#    #", "# #  #", "#    #", "######")
WALLS = "".join(BOARD)
WIDTH = len(BOARD[0])
FREE = np.flatnonzero(np.array(list(WALLS)) == " ")


def pushed(agent, action, things, barred):
    """One world's step with ifs: where agent and things are after it."""
    down, right = MOVES[action] if action < 4 else (0, 0)
    step = down * WIDTH + right
    ahead, beyond = agent + step, agent + 2 * step
    if WALLS[ahead] == "#" or not step:
        return agent, things
    if ahead not in things:
        return ahead, things
    if WALLS[beyond] == "#" or beyond in things or beyond in barred:
        return agent, things
    return ahead, [beyond if thing == ahead else thing for thing in things]


def test_every_push_is_as_in_plain_python():
    rng, worlds = np.random.default_rng(0), 5_000
    places = rng.permuted(np.tile(FREE, (worlds, 1)), axis=1)
    agent, things, barred = places[:, 0], places[:, 1:4], places[:, 4:6]
    barred[rng.random(barred.shape) < 0.3] = NOWHERE
    action = rng.integers(5, size=worlds)
    agents, moved = push(ways(BOARD), agent, action, things, things, barred)
    expected = [pushed(*world) for world in zip(agent, action, things.tolist(), barred.tolist(), strict=True)]
    assert agents.tolist() == [place for place, _ in expected]
    assert moved.tolist() == [lie for _, lie in expected]
    assert (moved != things).any(1).sum() > 200


def test_what_is_nowhere_is_neither_pushed_nor_in_the_way():
    nowhere = np.full((1, 2), NOWHERE)
    agent, things = push(ways(BOARD), FREE[:1], np.array([3]), nowhere, nowhere)
    assert agent == FREE[1]
    assert np.array_equal(things, nowhere)


def test_flags_are_counted_row_by_row():
    flags = np.array([[True, False, True], [False, False, False]])
    assert count(flags).tolist() == [2, 0]
    assert count(flags[:, :0]).tolist() == [0, 0]


def test_letters_are_put_where_they_belong():
    boards = np.zeros((2, 4), np.uint8)
    put(boards, np.array([1, 3]), 7)
    put(boards, np.array([0, 0]), np.array([5, 6]))
    assert boards.tolist() == [[5, 7, 0, 0], [6, 0, 0, 7]]
