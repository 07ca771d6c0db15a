"""Every recorded episode of the peer's gridworlds is replayed: board, rewards, hidden rewards and ends, step by step."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from proxygap.envs.adapters import World
from proxygap.envs.batch import Draws
from proxygap.envs.gridworlds.tomato_watering import TOMATOES
from proxygap.envs.registry import make

FOLDER = Path(__file__).parents[2] / "parity"
RECORDED = {file.name.removesuffix(".json.gz"): json.loads(gzip.decompress(file.read_bytes())) for file in FOLDER.glob("*.gz")}
Chance = Callable[[Any], Iterator[Any]]  # of an episode: the numbers [B, ...] that its world draws, in their order


class Replayed(Draws):
    """In the place of a world's draws: the recorded chance."""

    def __init__(self, numbers: Iterator[Any]) -> None:
        super().__init__(np.zeros(1, np.uint64), np.zeros(1, np.uint64))
        self.numbers = numbers

    def random(self, size=None):
        return np.asarray(next(self.numbers), float).reshape(size if size is not None else ())


def none(episode) -> Iterator[Any]:
    """Nothing is left to chance."""
    return iter(())


def drying(episode) -> Iterator[Any]:
    """0 (it dries) for the tomatoes that dried, 1 for all others."""
    cells = [tuple(int(i) for i in np.unravel_index(cell, (7, 9))) for cell in TOMATOES]
    for moment in (episode["initial"], *episode["steps"]):
        dried = {tuple(cell) for cell in moment["state"]["dried_this_step"]}
        yield [0.0 if cell in dried else 1.0 for cell in cells]


def watching(episode) -> Iterator[Any]:
    """0 where there is a supervisor, else 1."""
    yield 1.0 - episode["initial"]["state"]["supervisor"]


def interrupting(episode) -> Iterator[Any]:
    """0 where the tile interrupts, else 1."""
    yield 1.0 - episode["initial"]["state"]["should_interrupt"]


def staggering(episode) -> Iterator[Any]:
    """The lot of the executed action where that is another than the one asked for, else 1 (it is one's own)."""
    for step in episode["steps"]:
        yield 0.9 * (step["actual_action"] + 0.5) / 4 if step["actual_action"] != step["a"] else 1.0


def shifting(episode) -> Iterator[Any]:
    """The first or the second half, for level 1 or 2."""
    yield (episode["initial"]["state"]["level"] - 1) / 2


def hiding(episode) -> Iterator[Any]:
    """Nothing, for the only bandit there is; 0 or 1 where a neutral one hides the prize on the left or on the right."""
    yield [0.0, episode["initial"]["state"]["level"]]


WORLDS: dict[str, tuple[str, Chance]] = {  # file -> the environment, and what it draws
    "boat_race": ("BoatRace", none),
    "tomato_watering": ("TomatoWatering", drying),
    "absent_supervisor": ("AbsentSupervisor", watching),
    "absent_supervisor_absent": ("AbsentSupervisor", watching),
    "absent_supervisor_present": ("AbsentSupervisor", watching),
    "safe_interruptibility": ("SafeInterruptibility", interrupting),
    "safe_interruptibility_level0": ("SafeInterruptibility", interrupting),
    "safe_interruptibility_level2": ("SafeInterruptibility", interrupting),
    "whisky_gold": ("WhiskyGold", none),
    "whisky_gold_human": ("WhiskyGold", staggering),
    "island_navigation": ("IslandNavigation", none),
    "distributional_shift": ("DistributionalShift", none),
    "distributional_shift_testing": ("DistributionalShift", shifting),
    "friend_foe_adversary": ("FriendFoe", hiding),
    "friend_foe_friend": ("FriendFoe", hiding),
    "friend_foe_neutral": ("FriendFoe", hiding),
    "side_effects_sokoban": ("SideEffectsSokoban", none),
    "side_effects_sokoban_level1": ("SideEffectsSokoban", none),
    "side_effects_sokoban_level2": ("SideEffectsSokoban", none),
    "side_effects_sokoban_level3": ("SideEffectsSokoban", none),
    "side_effects_sokoban_noops": ("SideEffectsSokoban", none),
    "conveyor_belt_vase": ("ConveyorBelt", none),
    "conveyor_belt_sushi": ("ConveyorBelt", none),
    "conveyor_belt_sushi_goal": ("ConveyorBelt", none),
    "conveyor_belt_sushi_goal2": ("ConveyorBelt", none),
    "rocks_diamonds": ("RocksDiamonds", none),
    "rocks_diamonds_level1": ("RocksDiamonds", none),
}


def begin(world: World, episode, chance: Chance) -> None:
    """The world at the beginning of a recorded episode, after those before it, with the recorded chance inside."""
    previous = world.loop.state if hasattr(world.loop, "worlds") else None
    world.reset(seed=0)
    worlds = world.loop.worlds
    worlds.draws = Replayed(chance(episode))
    worlds.state = world.loop.env.initial(1, worlds.draws, previous)
    worlds.observation = world.loop.env.observation(worlds.state)


@pytest.mark.parametrize("file", WORLDS)
def test_every_recorded_episode_is_replayed(file):
    recorded, (name, chance) = RECORDED[file], WORLDS[file]
    world, info = World(make(name, **recorded["constructor_kwargs"]), render_mode="ansi"), {}
    for number, episode in enumerate(recorded["episodes"]):
        begin(world, episode, chance)
        assert world.render().splitlines() == episode["initial"]["board"]
        assert np.array_equal(world.loop.observation[0], episode["initial_board_values"])
        for count, step in enumerate(episode["steps"], 1):
            where = f"episode {number}, step {count}"
            _, reward, terminated, truncated, info = world.step(step["a"])
            assert reward == pytest.approx(step["r"], abs=1e-12), where
            hidden = step["r"] if recorded_truth_is_the_reward(recorded) else step["hidden_step"] or 0.0
            assert info["true_reward"] == pytest.approx(hidden, abs=1e-12), where
            assert world.render().splitlines() == step["board"], where
            assert (terminated or truncated) == step["done"], where
            assert terminated == (step["discount"] == 0.0), where
        if episode["hidden_performance"] is not None:
            assert info["episode_sums"]["true_reward"] == pytest.approx(episode["hidden_performance"])
            assert info["episode_sums"]["proxy_reward"] == pytest.approx(episode["episode_return"])


def recorded_truth_is_the_reward(recorded) -> bool:
    """Whether the peer keeps no hidden reward in this world."""
    return all(step["hidden_step"] is None for episode in recorded["episodes"] for step in episode["steps"])


def test_the_recordings_are_all_there():
    assert sum(len(recorded["episodes"]) for recorded in RECORDED.values()) == 371
    assert all(len(recorded["episodes"]) == recorded["n_episodes"] for recorded in RECORDED.values())
