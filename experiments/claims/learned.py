"""What claims about learned rewards share: lessons, models of what is seen, and the best of n fresh episodes by what they say.

A reference policy that wavers plays, and a teacher compares stretches of that play, all as in the study of overoptimisation.
Returns are counted in standard deviations of the episodes that the reference plays, from their mean: 0 is no optimisation.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ...agents.rollouts import Trajectories, collect
from ...agents.selection import best_of
from ...envs.batch import Array
from ...envs.core import Segments
from ...reward_models.aggregation import aggregation
from ...reward_models.feedback import Comparisons, Stretches
from ...reward_models.preference import PreferenceReward
from ...reward_models.teachers import Teacher, compared
from ..gold_curves import Curve, Variant, best_of_curves
from ..overoptimization import STREAMS, TOGETHER, Overoptimization
from ..statistics import Estimate, mean_interval
from . import Say

View = Callable[[Array, Array], Array]  # observations [N, T, ...] and true rewards [N, T] -> what models are shown instead
WAYS = ("mean", "worst", "penalised")
PENALTY = 0.5  # of the members' variance: that of best of n in Coste et al.


@dataclass(frozen=True)
class Lessons:
    """What one seed's models learn from."""

    teaching: Comparisons
    fresh: Comparisons  # as many, of other episodes
    teacher: Teacher
    ceiling: float  # the accuracy on fresh comparisons that the teacher allows


def as_it_is(observation: Array, true: Array) -> Array:
    """All that there is to see."""
    return observation


def viewed(segments: Segments, true: Array, view: View) -> Segments:
    """The same stretches as models are shown them, which learn from the observation alone."""
    return segments if view is as_it_is else replace(segments, observation=view(segments.observation, true))


def lessons(study: Overoptimization, seed: int, view: View = as_it_is, without: str | None = None) -> Lessons:
    """A seed's comparisons by the study's teacher, who judges by the truth whatever the models are shown.

    `without`: a term, of which what is compared has nothing; pairs that have are left out.
    """
    rng = np.random.default_rng(seed)
    halves, teacher = study.pairs(seed, rng)
    if without is not None:
        term = study.environment.term_names.index(without)
        kept = [~np.any([side.terms[..., term].any(1) for side in half], 0) for half in halves]
        halves = [(first[rows], second[rows]) for (first, second), rows in zip(halves, kept, strict=True)]

    def seen(side: Stretches) -> Stretches:
        return replace(side, segments=viewed(side.segments, side.true, view))

    teaching, fresh = (compared(teacher, seen(one), seen(other), study.environment.name, rng) for one, other in halves)
    return Lessons(teaching, fresh, teacher, teacher.bayes_accuracy(*halves[1], against="answers"))


def learner(teaching: Comparisons, seed: int, **settings: Any) -> PreferenceReward:
    """A model of the comparisons, or an ensemble, that is shown observations only."""
    torch.set_num_threads(1)
    return PreferenceReward(inputs=("observation",), seed=seed, **settings).fit(teaching)


def episodes(study: Overoptimization, seed: int, scripts: Sequence[str] = ()) -> Iterator[tuple[str, Trajectories]]:
    """Fresh episodes to choose from, as many by each script (none: by the reference), some at a time to save memory."""
    for stream, script in enumerate(scripts or ("",)):
        by = replace(study, script=script or study.script)
        for begin in range(0, study.episodes, TOGETHER):
            place = seed * STREAMS + STREAMS // 2 + stream * STREAMS // 8 + begin
            yield script, collect(by.environment, by.reference(place), min(TOGETHER, study.episodes - begin), place)


def standard(values: Array, among: Array | None = None) -> Array:
    """Values [..., N] in standard deviations from the mean, those of `among` [..., M] if given."""
    among = values if among is None else among
    return (values - among.mean(-1, keepdims=True)) / (among.std(-1, keepdims=True) or 1.0)


def optimised(
    members: Callable[[Segments], Array],
    study: Overoptimization,
    seed: int,
    n: int,
    view: View = as_it_is,
    scripts: Sequence[str] = (),
) -> dict[str, float]:
    """Gold of the best of n by each way of `WAYS` to make one reward of members' rewards [K, N, T], by the mean `single`
    member, and of the `pool` itself; counted among episodes of the first script."""
    gold, rated = [], []
    for _, played in episodes(study, seed, scripts):
        said = torch.from_numpy(members(viewed(played.segments(), played.true, view)))
        each = torch.cat([torch.stack([aggregation(way)(said, PENALTY) for way in WAYS]), said])
        rated.append((each * torch.from_numpy(played.valid)).sum(-1).numpy())
        gold.append(played.true.sum(1))
    found = np.concatenate(gold)
    found = standard(found, found[: study.episodes])
    best = [float(best_of(score, found, [n])[0]) for score in np.concatenate(rated, 1)]
    return dict(zip(WAYS, best, strict=False)) | {"single": float(np.mean(best[len(WAYS) :])), "pool": float(found.mean())}


def learned_curves(
    study: Overoptimization, variants: Sequence[Variant], seeds: Sequence[int], say: Say, taught: Overoptimization | None = None
) -> list[Curve]:
    """How gold goes with n for single models of these sizes, optimised in the study; `taught`: in another one's lessons."""
    stored = []
    for seed in seeds:
        say(f"seed {seed}: {len(variants)} models")
        given = lessons(taught or study, seed)
        models = [learner(given.teaching[: each.comparisons], seed, hidden=(each.width, each.width)) for each in variants]
        gold, rated = [], []
        for _, played in episodes(study, seed):
            gold.append(played.true.sum(1))
            rated.append([model.returns(played.segments()) for model in models])
        accuracy = np.array([model.score(given.fresh) for model in models])
        found = {"gold": standard(np.concatenate(gold)), "learned": np.concatenate(rated, 1)}
        stored.append(found | {"accuracy": accuracy, "ceiling": np.array(given.ceiling)})
    return best_of_curves(variants, stored)


def peaks(found: Sequence[Curve]) -> Array:
    """Where the fits peak, [V, S]: at most at the largest distance that was measured, for what lies beyond is not known."""
    return np.array([[min(fit.peak, curve.distance[-1]) for fit in curve.fits] for curve in found])


def trend(levels: Array, values: Array) -> Estimate:
    """By how much values [V, S] rise, per unit of `levels` [V], a slope for each seed."""
    return mean_interval(np.polyfit(levels, values, 1)[0])
