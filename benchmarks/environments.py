"""Worlds, draws and pictures a second: a batch of worlds against the same rules as a scalar Gymnasium environment.

The scalar worlds are those that the tests hold the batch to, step by step (`tests/oracles`); they run in stable-baselines3's
DummyVecEnv of 8. Both sides give both rewards, all terms, and a fresh episode where one ends.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from proxygap.envs.adapters import World
from proxygap.envs.batch import Draws
from proxygap.envs.core import Loop
from proxygap.envs.recording import random_actions
from proxygap.envs.registry import list_envs, make

from tests.oracles import boat_race, lagoon, tomato_watering

from . import Figure, Say, Work, main, rates, ratio

BATCH, SCALAR_BATCH = 1024, 8  # worlds side by side
ACTIONS = 100  # steps whose random actions are drawn beforehand, and used over and over
DRAWN = (BATCH, 13)  # numbers a draw, as in TomatoWatering


def batch_steps(name: str, steps: int) -> Work:
    """`steps` steps of a batch of worlds, acting at random."""
    env = make(name)
    loop = Loop(env, BATCH)
    loop.reset(seed=0)
    actions = list(random_actions(env, BATCH, ACTIONS))

    def work() -> float:
        for i in range(steps):
            loop.step(actions[i % ACTIONS])
        return steps * BATCH

    return work


def scalar_steps(world: Callable[[], Any], steps: int) -> Work:
    """The same with scalar worlds in a DummyVecEnv."""
    from stable_baselines3.common.vec_env import DummyVecEnv  # loads torch, which takes seconds

    venv = DummyVecEnv([world] * SCALAR_BATCH)
    venv.reset()
    actions = list(random_actions(world(), SCALAR_BATCH, ACTIONS))

    def work() -> float:
        for i in range(steps):
            venv.step(actions[i % ACTIONS])
        return steps * SCALAR_BATCH

    return work


def against_scalar(name: str, world: Callable[[], Any], steps: int, least: float, least_rate: float | None = None) -> Any:
    """The benchmark of one world: `steps` of a batch a round, with aims for the ratio and the rate."""

    def benchmark(quick: bool, say: Say) -> list[Figure]:
        shorter = 4 if quick else 1
        contestants = {"batch": batch_steps(name, steps // shorter), "scalar": scalar_steps(world, 2000 // shorter)}
        found = rates(contestants, 3 if quick else 7, say)
        scalar = f"scalar: {median(found['scalar']) / 1e3:.3g} thousand worlds/s in DummyVecEnv({SCALAR_BATCH})"
        return [
            Figure(f"{name}, B = {BATCH}", median(found["batch"]) / 1e6, "million worlds/s", least_rate, note="full step"),
            Figure(f"{name} against the scalar world", ratio(found["batch"], found["scalar"]), "times", least, note=scalar),
        ]

    return benchmark


# Steps a CPU second of peers, as recorded on a machine like ours (one process, random actions, resets included): DeepMind's
# ai-safety-gridworlds, highway-env's merge and simglucose. Where a range was seen, its middle.
GRIDWORLDS = {
    "BoatRace": 6_300,
    "TomatoWatering": 3_800,
    "SideEffectsSokoban": 3_500,
    "AbsentSupervisor": 6_000,
    "IslandNavigation": 4_800,
    "WhiskyGold": 5_350,
    "SafeInterruptibility": 6_200,
    "DistributionalShift": 6_750,
    "FriendFoe": 6_850,
    "ConveyorBelt": 5_200,
    "RocksDiamonds": 2_800,
}
SIMULATORS = {"TrafficMerge": 50, "TrafficBottleneck": 50, "Pandemic": 50, "Glucose": 35}


def worlds(quick: bool, say: Say) -> list[Figure]:
    """Every native environment's rate, beside what 500 times the gridworlds' and 1,000 times the simulators' peers would be."""
    aims = {name: 500 * rate for name, rate in GRIDWORLDS.items()} | {name: 1000 * rate for name, rate in SIMULATORS.items()}
    found = rates({name: batch_steps(name, 20 if quick else 100) for name in list_envs()}, 1 if quick else 3, say)
    return [
        Figure(f"{name}, B = {BATCH}", median(values) / 1e3, "thousand worlds/s", aims[name] / 1e3 if name in aims else None)
        for name, values in found.items()
    ]


def draws(quick: bool, say: Say) -> list[Figure]:
    """What a stream for every world costs, against numpy's one Generator for all."""
    ours, theirs, times = Draws.seeded(np.arange(BATCH)), np.random.default_rng(0), 200 if quick else 1000
    numbers = times * DRAWN[0] * DRAWN[1]

    def draw(rng: Any) -> Work:
        def work() -> float:
            for _ in range(times):
                rng.random(DRAWN)
            return numbers

        return work

    found = rates({"Draws": draw(ours), "Generator": draw(theirs)}, 7, say)
    note = f"{median(found['Draws']) / 1e6:.3g} against {median(found['Generator']) / 1e6:.3g} million numbers/s"
    cost = ratio(found["Generator"], found["Draws"])
    return [Figure("a random number, against numpy's Generator", cost, "times the cost", 2.0, at_most=True, note=note)]


def drawing(quick: bool, say: Say) -> list[Figure]:
    """Frames a second, as arrays with meters beside the world: a step and its picture."""

    def draw(name: str) -> Work:
        env = make(name)
        world, frames = World(env, render_mode="rgb_array"), 20 if quick else 100
        world.reset(seed=0)
        script = next(iter(env.policies().values()))

        def work() -> float:
            for _ in range(frames):
                *_, terminated, truncated, _ = world.step(script(world.loop.state)[0])
                world.render()
                if terminated or truncated:
                    world.reset()
            return frames

        return work

    found = rates({name: draw(name) for name in ("Lagoon", "BoatRace", "TomatoWatering")}, 3 if quick else 5, say)
    return [Figure(f"{name} drawn with its meters", median(frames), "frames/s") for name, frames in found.items()]


BENCHMARKS = {
    "boat_race": against_scalar("BoatRace", boat_race.BoatRace, 1000, 20.0, 3.0),
    "tomato_watering": against_scalar("TomatoWatering", tomato_watering.TomatoWatering, 400, 10.0, 1.9),
    "lagoon": against_scalar("Lagoon", lagoon.Lagoon, 200, 10.0),
    "worlds": worlds,
    "draws": draws,
    "drawing": drawing,
}

if __name__ == "__main__":
    main(BENCHMARKS, "Worlds, draws and pictures a second.")
