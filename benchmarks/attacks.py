"""How many candidates an attack simulates, rates and checks a second, beside what the simulator alone does with as many steps.

All trials go on to the end of their budget, so that batches keep their size. The filter learns from so few options that it is a
poor one: how fast it rates does not hang on that.
"""

from statistics import median

import numpy as np
import torch
from proxygap.agents.attacks.cem import CEM
from proxygap.agents.attacks.core import TOGETHER, Attack, Budget
from proxygap.agents.attacks.random_search import RandomSearch
from proxygap.agents.attacks.substitution import Substitution
from proxygap.agents.options import Cases, played, replayed, scenes
from proxygap.agents.rollouts import random_policy
from proxygap.envs.registry import make
from proxygap.reward_models.classifier import CatastropheClassifier
from proxygap.reward_models.feedback import Catastrophes

from . import Figure, Say, Work, main, rates, ratio

WORLD, LENGTH = "Lagoon", 25  # steps of an option
LABELLED, TRIALS = 400, 30
ATTACKS: dict[str, Attack] = {
    "random": RandomSearch(keep_going=True),
    "CEM": CEM(keep_going=True),
    "substitution": Substitution(keep_going=True),
}


def attacked() -> tuple[Cases, CatastropheClassifier]:
    """Random behaviour in scenes of random behaviour, and a filter that has learned from some of it."""
    env = make(WORLD)
    where = scenes(env, random_policy(env, 0), TOGETHER, LENGTH, seed=0)
    options = played(env, where, LENGTH, random_policy(env, 1))
    severity = options.near[:LABELLED]
    model = CatastropheClassifier().fit(Catastrophes(options[:LABELLED].segments(), severity, env.name))
    return options.cases(where), model


def searching(attack: Attack, cases: Cases, model: CatastropheClassifier, queries: int) -> Work:
    """Candidates that an attack tries, in whole batches: those that set out from the case query it first."""
    env, budget = make(WORLD), Budget(queries + (not isinstance(attack, RandomSearch)))

    def work() -> float:
        attack.search(model, env, cases[:TRIALS], budget, np.random.default_rng(0))
        return TRIALS * budget.queries

    return work


def simulating(cases: Cases) -> Work:
    """Options that are simulated alone, as many as are simulated together at most."""

    def work() -> float:
        return len(replayed(make(WORLD), cases))

    return work


def throughput(quick: bool, say: Say) -> list[Figure]:
    """Candidates a CPU second."""
    cases, model = attacked()
    works = {name: searching(attack, cases, model, 128 if quick else 512) for name, attack in ATTACKS.items()}
    found = rates(works | {"simulator": simulating(cases)}, 2 if quick else 7, say)
    alone, shape = found.pop("simulator"), f"{LENGTH} steps, {TRIALS} trials side by side"
    figures = [Figure(f"{WORLD}: {name}", median(rate), "candidates/s", note=shape) for name, rate in found.items()]
    figures += [Figure(f"{WORLD}: simulator", median(alone), "options/s", note=f"{LENGTH} steps, {len(cases):,} side by side")]
    shares = [Figure(f"{WORLD}: {name}", 100 * ratio(rate, alone), "% of the simulator's rate") for name, rate in found.items()]
    return figures + shares


BENCHMARKS = {"throughput": throughput}

if __name__ == "__main__":
    torch.set_num_threads(1)
    main(BENCHMARKS, "How fast attacks search.")
