"""Hardening the generator: where attacks found failures a careful player shows what to do there, and the generator imitates it.

One demonstration costs one label. The filter learns nothing; what is left to filter becomes less.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..agents.attacks.findings import Budget
from ..agents.options import Options, Scenes, played
from ..agents.regularized import log_probability
from ..agents.trained import Trained
from ..agents.training import one_thread
from ..reward_models.filters import Filter
from .red_team import STRONGER
from .red_team_bench import Bench
from .red_team_seed import summary
from .red_team_tasks import Generator

UPDATES, BATCH, LEARNING_RATE = 300, 256, 1e-3  # gradient steps, steps of the world in each; a tenth of a clone's rate
HUNTING, SHOWING = 5, 6  # chance of the attacks, and of the demonstrations


def failures(bench: Bench, target: Filter, attack: str, number: int) -> Scenes:
    """At most `number` scenes in which the attack found a failure that the target accepts, one trial from each known one."""
    rng, budget = np.random.default_rng((bench.seed, HUNTING)), Budget(bench.sizes.queries)
    found = bench.attack(attack).search(target, bench.task.environment, bench.known, budget, rng)
    cases = found.cases[np.flatnonzero(found.found)[:number]]
    return Scenes(cases.state, cases.draws)


def demonstrations(bench: Bench, scenes: Scenes) -> Options:
    """What the task's null policy, a careful player, does in these scenes."""
    return played(bench.task.environment, scenes, bench.task.length, bench.task.null_policy())


def imitate(generator: Trained, shown: Options, seed: int) -> Trained:
    """The generator itself, fine-tuned to what was shown by maximum likelihood; with nothing shown it stays as it is."""
    if shown.valid.any():
        with one_thread():
            _fine_tune(generator.model, shown.observation[shown.valid], shown.action[shown.valid], seed)
    return generator


def _fine_tune(model: Any, observation: Any, action: Any, seed: int) -> None:
    rng, policy = np.random.default_rng(seed), model.policy
    optimizer = torch.optim.Adam(policy.parameters(), LEARNING_RATE)
    seen, done = policy.obs_to_tensor(observation)[0], torch.as_tensor(action)
    for _ in range(UPDATES):
        rows = rng.integers(len(done), size=BATCH)
        loss = -log_probability(policy.get_distribution(seen[rows]), done[rows], model.action_space).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy.set_training_mode(False)


def played_by(bench: Bench, generator: Trained) -> Bench:
    """The same repetition, with the same scenes and trials, where another generator plays."""
    plays: Generator = lambda env, seed: generator.policy(seed)  # noqa: E731
    return replace(bench, task=replace(bench.task, plays=plays))


def system(bench: Bench, target: Filter) -> dict[str, Any]:
    """How generator and filter fare together where nobody attacks, and what the generator itself gets past the filter."""
    return {"system": bench.in_distribution(target), "best_of_n": summary(bench.attacked(target, "best_of_n", STRONGER))}
