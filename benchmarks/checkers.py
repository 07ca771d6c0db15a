"""Who notices? Worlds with one planted fault each, shown to several checkers of environments: `python -m benchmarks.checkers`.

Gymnasium's and stable-baselines3's `check_env` are run as they are; what they raise, or warn of and don't in
a sound world, counts as noticed. The seed test is
written after PettingZoo's `seed_test`: two worlds with the same seed, stepped side by side, and once more after other episodes.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import check_env
from proxygap.envs.adapters import World
from proxygap.envs.checking import check_proxy_env
from rich.console import Console
from rich.table import Table

from tests.envs.faults import PLANTED

CYCLES = 500  # steps, as PettingZoo's seed test takes
RANDOM_SEED = 42


def gymnasiums(env: Any) -> None:
    """Gymnasium's."""
    check_env(World(env, render_mode="rgb_array"))


def sb3s(env: Any) -> None:
    """stable-baselines3's."""
    from stable_baselines3.common.env_checker import check_env as check

    check(World(env, render_mode="rgb_array"))


def seed_test(env: Any) -> None:
    """Two worlds with the same seed give the same; so do they after a reset with the same seed."""
    worlds = [World(type(env)()) for _ in range(2)]
    for _ in range(2):
        played = [_played(world) for world in worlds]
        for step, (one, other) in enumerate(zip(*played, strict=True)):
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True)), f"step {step}"


def _played(world: World) -> list[tuple[Any, ...]]:
    """Observation, reward and end of many steps under random actions."""
    world.action_space.seed(RANDOM_SEED)
    seen: list[tuple[Any, ...]] = [(world.reset(seed=RANDOM_SEED)[0],)]
    for _ in range(CYCLES):
        observation, reward, terminated, truncated, _ = world.step(world.action_space.sample())
        seen.append((np.array(observation), reward, terminated, truncated))
        if terminated or truncated:
            seen.append((world.reset()[0],))
    return seen


def ours(env: Any) -> None:
    """proxygap's."""
    assert not check_proxy_env(env)


CHECKERS: dict[str, Callable[[Any], None]] = {
    "Gymnasium check_env": gymnasiums,
    "SB3 check_env": sb3s,
    "seed test": seed_test,
    "proxygap check": ours,
}


def notices(checker: Callable[[Any], None], world: type[Any]) -> bool:
    """Whether the checker raises in this world, or warns of what it does not warn of in the sound one that it derives from."""
    said, before = (_said(checker, shown) for shown in world.__mro__[:2])
    return bool(said - before)


def _said(checker: Callable[[Any], None], world: type[Any]) -> set[str]:
    """Errors and warnings."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            checker(world())
        except Exception as error:
            return {f"{type(error).__name__}: {error}"}
    return {str(warning.message) for warning in warned}


def main() -> None:
    """Prints the table."""
    table = Table("planted fault", *CHECKERS, title="Who notices?")
    for fault, (world, _) in PLANTED.items():
        table.add_row(fault, *("yes" if notices(checker, world) else "-" for checker in CHECKERS.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
