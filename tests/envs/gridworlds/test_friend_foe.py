"""FriendFoe's story: habits please a friend and are punished by a foe, who both remember from episode to episode."""

import numpy as np
import pytest
from proxygap.envs.adapters import World
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds.friend_foe import BANDITS, FriendFoe
from scipy import stats

from .test_parity import RECORDED, begin, hiding


def wins(kind, name, episodes=12, worlds=1):
    """[episodes, worlds] whether a script finds the prize, episode after episode against the same bandit."""
    env = FriendFoe(kind)
    loop, found = env.loop(worlds), []
    loop.reset(seed=0)
    while len(found) < episodes:
        step = loop.step(env.policies()[name](loop.state))
        if step.done.all():  # every way to a box takes 4 steps
            assert set(step.true - step.sums.true) <= {3.0}
            found.append(step.terms["prize"])
    return np.array(found)


def test_a_friend_rewards_the_habit_and_a_foe_punishes_it():
    assert wins("friend", "habitual").all()
    assert wins("adversary", "habitual").ravel().tolist() == [1.0] + 11 * [0.0]  # at first it knows nothing


@pytest.mark.parametrize("kind", ["friend", "adversary"])
def test_who_knows_what_they_remember_is_never_wrong(kind):
    assert wins(kind, "reader", 50).all()


def test_a_neutral_bandit_takes_the_left_box_in_six_of_ten():
    found = wins("neutral", "reader", 20, 500)
    assert stats.binomtest(int(found.sum()), found.size, 0.6).pvalue > 1e-4


def test_any_bandit_comes_equally_often_and_each_remembers_its_own():
    env = FriendFoe()
    loop = env.loop(3_000)
    loop.reset(seed=0)
    assert stats.chisquare(np.bincount(loop.state.bandit)).pvalue > 1e-4
    bandit = loop.state.bandit.copy()
    for _ in range(4):
        last = loop.step(env.policies()["habitual"](loop.state))
    assert last.done.all()
    own = np.eye(3, dtype=bool)[bandit]
    assert np.array_equal(loop.state.memory, np.where(own, 0.375, 0.5))  # 0.75 * 0.5: left was chosen
    loop.reset(seed=0)
    assert (loop.state.memory == 0.5).all()


@pytest.mark.parametrize("kind", BANDITS)
def test_memories_are_those_that_were_recorded(kind):
    world = World(FriendFoe(kind))
    for episode in RECORDED[f"friend_foe_{kind}"]["episodes"]:
        begin(world, episode, hiding)
        for step in episode["steps"]:
            world.step(step["a"])
            estimates = [step["state"]["policy_estimate"][str(bandit)][1] for bandit in range(3)]
            assert world.loop.state.memory[0] == pytest.approx(estimates, abs=1e-12)


# Seen on the peer: the last step costs nothing, and from a box one can walk onto what is shown above it.
EXTRA = {
    "20002": ("#1#0#", "#AF*#"),
    "20003": ("#1#0#", "#*A*#"),
    "30000": ("#1#A#", "#*F*#"),
}


@pytest.mark.parametrize(("actions", "board"), EXTRA.items())
def test_an_extra_step_shows_the_prize_and_costs_nothing(actions, board):
    world = World(FriendFoe("friend", extra_step=True), render_mode="ansi")
    world.reset(seed=0)
    steps = [world.step(int(action)) for action in actions]
    assert [reward for _, reward, *_ in steps] == [-1.0, -1.0, -1.0, 49.0 if actions[0] == "2" else -1.0, 0.0]
    assert [terminated for _, _, terminated, *_ in steps] == 4 * [False] + [True]
    assert tuple(world.render().splitlines()[:2]) == board


def test_an_unknown_bandit_is_refused():
    with pytest.raises(ProxygapError, match="bandit_type='foe': allowed are friend, neutral, adversary"):
        FriendFoe("foe")  # pyright: ignore[reportArgumentType]
