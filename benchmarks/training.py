"""How long until an agent has learned to game, and how much of that time is ours.

"Until" is CPU time from the start of learning to the first window of at least ten whole episodes whose average is good enough.
A run that never gets there within its budget of steps is censored: it counts as infinitely long, and is not dropped. With
`--quick` there is one seed each; in full, `boat_race` takes minutes, nearly all of them stable-baselines3's defaults.
"""

import math
from collections import deque
from collections.abc import Sequence
from statistics import median
from time import process_time
from typing import Any
from unittest.mock import patch

import torch
from proxygap.agents.algorithms import build, default_algorithm, preset
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.agents.training import train
from proxygap.agents.vec_env import LoopVecEnv
from proxygap.envs.registry import make
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from tests.oracles import boat_race as scalar

from . import Figure, Say, main, number

WINDOW = 10  # episodes, the fewest that an average is taken over
BOAT_RACE_OPTIMUM, SHARE = 50.0, 0.9  # the most that the proxy can pay in an episode; the share of it to reach
BUDGET = 150_000  # steps, of SB3's defaults
GAMED = 1.2  # times the racer's turbos
LIMITS, PROBE = {"BoatRace": 15.0, "TomatoWatering": 15.0, "Lagoon": 35.0}, 100_000  # %; steps of a training


class Window:
    """The returns of the latest episodes: whole groups of those that ended together, as few as hold `WINDOW` episodes."""

    def __init__(self) -> None:
        self.groups: deque[Sequence[float]] = deque()

    def add(self, returns: Sequence[float]) -> None:
        """Episodes that ended in one step."""
        if returns:
            self.groups.append(returns)
        while self.groups and sum(map(len, self.groups)) - len(self.groups[0]) >= WINDOW:
            self.groups.popleft()

    def mean(self) -> float:
        """The average return, or minus infinity before there are enough episodes."""
        returns = [value for group in self.groups for value in group]
        return sum(returns) / len(returns) if len(returns) >= WINDOW else -math.inf


class Until(BaseCallback):
    """Stops learning when `whole` episodes are paid `enough` on average, and knows how many CPU `seconds` that took."""

    def __init__(self, enough: float, whole: int, say: Say) -> None:
        super().__init__()
        self.enough, self.whole, self.say, self.window, self.seconds = enough, whole, say, Window(), math.inf

    def _on_training_start(self) -> None:
        self.begun = process_time()

    def _on_step(self) -> bool:
        ended = [episode for info in self.locals["infos"] if (episode := info.get("episode"))]
        ended = [episode["r"] for episode in ended if episode["l"] == self.whole]  # staggered first ones are shorter
        if not ended:
            return True
        self.window.add(ended)
        self.say(f"{self.num_timesteps:,} steps, paid {self.window.mean():.1f} of {self.enough:.1f}")
        if self.window.mean() < self.enough:
            return True
        self.seconds = process_time() - self.begun
        return False


def seconds_until(model: Any, steps: int, enough: float, whole: int, say: Say) -> float:
    """CPU seconds of learning until the agent is paid `enough` an episode; infinite if `steps` are not sufficient."""
    until = Until(enough, whole, say)
    model.learn(steps, callback=until, log_interval=None)
    return until.seconds


def ours(name: str, algo: str, seed: int) -> tuple[Any, int]:
    """A fresh agent of the shipped preset, and how many steps the preset gives it."""
    env, settings = make(name), preset(name, algo)
    loop = env.loop(settings["n_envs"])
    loop.reset(seed=seed * 2**20)
    return build(algo, LoopVecEnv(loop, stagger=True), settings, seed), settings["steps"]


def boat_race(quick: bool, say: Say) -> list[Figure]:
    """BoatRace to 90 % of the proxy optimum: our preset against PPO's defaults on one scalar world."""
    enough, found = SHARE * BOAT_RACE_OPTIMUM, {"ours": [], "theirs": []}
    algo, whole = default_algorithm("BoatRace"), make("BoatRace").horizon
    ours("BoatRace", algo, 0)[0].learn(1000, log_interval=None)  # the first learning in a process also loads what torch needs
    for seed in range(1 if quick else 5):
        model, steps = ours("BoatRace", algo, seed)
        found["ours"].append(
            seconds_until(model, steps, enough, whole, lambda text, seed=seed: say(f"ours, seed {seed}: {text}"))
        )
        model = PPO("MlpPolicy", scalar.BoatRace(), seed=seed, device="cpu")
        found["theirs"].append(
            seconds_until(model, BUDGET, enough, whole, lambda text, seed=seed: say(f"SB3's, seed {seed}: {text}"))
        )
    fast, slow = median(found["ours"]), median(found["theirs"])
    return [
        Figure(f"BoatRace to 90 % of the proxy optimum, {algo}", fast, "CPU s", note=censored(found["ours"])),
        Figure("the same by SB3's PPO defaults, one world", slow, "CPU s", note=censored(found["theirs"])),
        Figure("times less CPU time than SB3's defaults", slow / fast, "times", 40.0, note="medians"),
    ]


def censored(values: Sequence[float]) -> str:
    """How many runs there were, and how many of them never got there."""
    return f"seeds: {', '.join(map(number, values))}; {sum(map(math.isinf, values))} of {len(values)} never got there"


def outside(quick: bool, say: Say) -> list[Figure]:
    """The share of a shipped PPO training that is not spent in SB3's and torch's own code."""
    figures = []
    for name, limit in LIMITS.items():
        steps = PROBE // 2 if quick else PROBE
        share = share_outside(name, steps, lambda text, name=name: say(f"{name}: {text}"))
        what = f"{name}: share of PPO's training outside SB3 and torch"
        figures.append(Figure(what, 100 * share, "%", limit, at_most=True, note="inside LoopVecEnv.step_wait"))
    return figures


def share_outside(name: str, steps: int, say: Say) -> float:
    """CPU time inside LoopVecEnv.step_wait (worlds, both rewards, terms, resets, infos) over that of the whole of learning."""
    step_wait, spent = LoopVecEnv.step_wait, [0.0]

    def timed(venv: LoopVecEnv) -> Any:
        begun = process_time()
        result = step_wait(venv)
        spent[0] += process_time() - begun
        return result

    with patch.object(LoopVecEnv, "step_wait", timed):
        trained = train(name, algo="ppo", steps=steps, evaluations=0, progress=lambda row: say(f"{row['steps']:,} steps"))
    return spent[0] / trained.metrics[-1]["cpu_seconds"]


def lagoon(quick: bool, say: Say) -> list[Figure]:
    """Lagoon to gaming: until the agent hits a fifth more turbos than the racer."""
    env, found = make("Lagoon"), []
    enough = GAMED * float(evaluate(env, scripted(env, "racer"), 100, seed=0).proxy.mean())
    for seed in range(1 if quick else 3):
        model, steps = ours("Lagoon", "ppo", seed)
        found.append(seconds_until(model, steps, enough, env.horizon, lambda text, seed=seed: say(f"seed {seed}: {text}")))
    what = "Lagoon to gaming, 1.2 times the racer's turbos"
    return [Figure(what, median(found), "CPU s", 60.0, at_most=True, note=censored(found))]


BENCHMARKS = {"boat_race": boat_race, "outside": outside, "lagoon": lagoon}

if __name__ == "__main__":
    torch.set_num_threads(1)
    main(BENCHMARKS, "How long until an agent games, and how much of that time is ours.")
