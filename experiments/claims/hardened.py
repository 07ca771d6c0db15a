"""What claims about hardening share: a repetition of the red team, its first filter, and filters that courses end with."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import torch

from ...envs.batch import Array
from ...reward_models.classifier import CatastropheClassifier
from ...reward_models.filters import Filter
from ...reward_models.hardening import Hardening, Round, harden, mixed
from .. import survival
from ..red_team_bench import Bench, Sizes, bench
from ..red_team_tasks import RedTeamTask
from ..statistics import Estimate
from ..survival import Trials


def repetition(task: RedTeamTask, sizes: Sizes, seed: int) -> Bench:
    """One repetition of the red team."""
    torch.set_num_threads(1)
    return bench(task, sizes, seed)


def first(here: Bench) -> Round:
    """The filter before any attack."""
    return next(harden(here.model(), here.data, here.harmless, mixed([here.finder("random")]), Hardening()))


def hardened(here: Bench, begun: Round, attacks: Sequence[str], settings: Hardening, **learning: Any) -> CatastropheClassifier:
    """The filter that a course against these attacks ends with; `learning` are settings of the filter from then on."""
    model = copy(begun.model)
    for name, value in learning.items():
        setattr(model, name, value)
    course = harden(
        replace(here.model(), **learning),
        here.data,
        here.harmless,
        mixed([here.finder(name) for name in attacks]),
        replace(settings, seed=here.seed),
        done=[replace(begun, model=model)],
    )
    *_, last = course
    return last.model


def queries(here: Bench, target: Filter, attacks: Sequence[str]) -> dict[str, Trials]:
    """What trials of each attack take against the filter."""
    found = {name: here.attacked(target, name) for name in attacks}
    return {name: Trials(of.queries, of.found) for name, of in found.items()}


def gain(before: Sequence[dict[str, Trials]], after: Sequence[dict[str, Trials]], attack: str, most: int) -> Estimate:
    """log2 of how many times as many queries the attack takes after as before, over seeds."""
    return survival.log_ratio([seed[attack] for seed in before], [seed[attack] for seed in after], most)


def gains(before: Sequence[dict[str, Trials]], after: Sequence[dict[str, Trials]], attack: str, most: int) -> Array:
    """The same in each seed, [S]."""
    return survival.gains([seed[attack] for seed in before], [seed[attack] for seed in after], most)
