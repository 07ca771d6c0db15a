"""What learning from comparisons costs and comes to: 50,000 agent steps of Pendulum, 200 comparisons of 100 steps, PPO.

That is the work of the documented example of the best-known library for this. There it took 66 CPU seconds a run on a machine
like those this was written on, and the aims are half of that, and a mean true return no worse than its -169. With `--quick`
there is one seed, which has no interval.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import torch
from proxygap.agents.rollouts import evaluate
from proxygap.experiments.learned import Asking, train_on_preferences
from proxygap.experiments.statistics import mean_interval
from proxygap.reward_models.preference import PreferenceReward

from . import Figure, Say, main, number

ASKED = Asking(comparisons=200, length=100, initial=0.2)
MODEL = PreferenceReward(
    ensemble=2, hidden=(64, 64), inputs=("observation", "action"), steps=250, held_out=0.0, learning_rate=0.002
)
LEARNER: dict[str, Any] = {"steps": 50_000, "n_envs": 10, "n_steps": 100, "batch_size": 125, "n_epochs": 10, "gamma": 0.95}
LEARNER |= {"learning_rate": 0.002, "clip_range": 0.1, "ent_coef": 0.01, "evaluations": 8, "evaluation_episodes": 8}
EPISODES, FRESH = 100, 2**55  # to measure what was learned, and their seed
SECONDS, PEER = 33.0, -169.0  # CPU s of a run; mean true return of an episode


def run(seed: int, say: Say, **changed: Any) -> tuple[float, float]:
    """CPU seconds of a run, and the mean true return of the agent that it trained, in fresh episodes."""
    begun = process_time()
    with TemporaryDirectory() as folder:
        found = train_on_preferences(
            "Pendulum",
            Path(folder) / "run",
            ASKED,
            model=MODEL,
            algo="ppo",
            seed=seed,
            progress=lambda row: say(f"seed {seed}: {row['steps']:,} steps"),
            **LEARNER | changed,
        )
    seconds = process_time() - begun
    return seconds, float(evaluate(found.agent.env, found.agent.policy(seed), EPISODES, FRESH).true.mean())


def pendulum(quick: bool, say: Say) -> list[Figure]:
    """The example, with five seeds."""
    run(0, say, steps=1000)  # the first learning in a process also loads what torch needs
    seconds, returns = np.array([run(seed, say) for seed in range(1 if quick else 5)]).T
    highest = returns.mean() if quick else mean_interval(returns).high
    seeds = f"seeds: {', '.join(map(number, returns))}"
    return [
        Figure("Pendulum by 200 comparisons, a run", float(seconds.mean()), "CPU s", SECONDS, at_most=True),
        Figure("mean true return after it", float(returns.mean()), "an episode", note=seeds),
        Figure("upper end of the mean's 95 % interval", float(highest), "an episode", PEER),
    ]


BENCHMARKS = {"pendulum": pendulum}

if __name__ == "__main__":
    torch.set_num_threads(1)
    main(BENCHMARKS, "What learning from comparisons costs, and comes to.")
