"""Saliency and substitution: a gradient says where, substitutes are tried there, and the best of them is kept.

The tool of Ziegler et al. 2022, "Adversarial training for high-stakes reliability" (arXiv:2205.01663): it lit up words by the
size of the classifier's gradient, and offered likely substitutes and insertions for one, sorted by the classifier's score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.lib.stride_tricks import sliding_window_view

from ...envs.batch import Array, Batch
from ...envs.core import ProxygapError, Segments
from ..options import Options
from .core import Attack, Hunt, Maker, Target, Tries, at_least_one

EDITS = ("replace", "insert", "delete")


def saliency(target: Target, segments: Segments) -> Array:
    """The norm of the suspicion's gradient by what is shown of each step, [N, T]; 0 for steps that are not valid.

    A choice (a discrete action, say) is shown as a column for each number, as `Inputs` takes it; by choices among numbers that
    are not whole there is no gradient. Raises ProxygapError where there is none by anything.
    """
    tensors, levels = dict(target.inputs_.tensors(segments)), target.inputs_.levels
    choices = [name for name in levels if not levels[name].is_floating_point()]
    tensors |= {name: (tensors[name][..., None] == levels[name]).float() for name in choices}
    shown = [name for name in tensors if name in choices or name not in levels]
    if not shown:
        raise ProxygapError("the target is shown nothing that it has a gradient by: set saliency=False")
    tensors |= {name: tensors[name].detach().clone().requires_grad_() for name in shown}
    suspicion = target.suspicion_tensors(tensors, torch.from_numpy(segments.valid).float()).sum()
    slopes = torch.autograd.grad(suspicion, [tensors[name] for name in shown])
    squares = torch.stack([slope.double().reshape(*slope.shape[:2], -1).square().sum(2) for slope in slopes]).sum(0)
    return np.where(segments.valid, np.nan_to_num(squares.sqrt().numpy()), 0.0)


def sources(edit: str, place: Array, segment: int, length: int) -> Array:
    """Where each step of an edited option comes from, [R, T]: the old step of that number, or, from T on, the new ones."""
    step = np.arange(length)
    since = step - place[:, None]
    if edit == "delete":
        return np.where(since < 0, step, step + segment)
    later = step - segment if edit == "insert" else step
    return np.where(since < 0, step, np.where(since < segment, length + since, later))


@dataclass
class Standing(Batch):
    """The options that R trials are editing."""

    rows: Array  # [R] which trials
    cost: Array  # [R]
    tried: Array  # [R, places] bool, edits there did not help
    options: Options  # [R]

    def moved(self, tries: Tries, place: Array, again: bool) -> None:
        """Goes on with the best of the tries where that is better; a place where it was may be tried `again` at once."""
        each, best = np.arange(len(place)), tries.best(1)[:, 0]
        better = tries.cost[each, best] < self.cost
        taken = (each * tries.cost.shape[1] + best)[better]
        self.cost[better] = tries.cost.ravel()[taken]
        self.options[better] = tries.options[taken]
        self.tried[better] = False
        self.tried[each, place] = ~better if again else True


@dataclass
class Substitution(Attack):
    """Edits one place at a time: the most salient one where edits have not failed since the last that helped.

    An edit replaces a segment, inserts one (what follows comes later, and the last steps fall off) or deletes one (what follows
    comes earlier, and new steps fill the end). Where none helps in any place, the best in a random one is made all the same.
    """

    saliency: bool = True  # else places are random
    ranked: bool = True  # else one edit at random is tried a time; it, too, is kept only if it is better
    edits: Sequence[str] = ("replace",)
    segment: int = 1  # steps
    substitutes: int = 8  # drawn for a segment; but a single discrete action is replaced by every other
    policy: Maker | None = None  # makes, from a seed, who plays substitutes, so that they are likely; None: uniformly drawn

    def __post_init__(self) -> None:
        at_least_one(segment=self.segment, substitutes=self.substitutes)
        if not self.edits or set(self.edits) - set(EDITS):
            raise ProxygapError(f"edits {self.edits!r}: allowed are one or more of {', '.join(EDITS)}")

    def run(self, hunt: Hunt) -> None:
        if self.segment > hunt.length:
            raise ProxygapError(f"a segment of {self.segment} steps: options have {hunt.length}")
        rows, policy = hunt.rows, hunt.policy(self.policy) if self.policy else None
        begun = hunt.query(rows, hunt.cases.action[rows, None])
        never = np.zeros((len(rows), hunt.length - self.segment + 1), bool)
        now = Standing(rows, begun.cost[:, 0], never, begun.options)
        while (still := np.isin(now.rows, hunt.rows)).any():
            now = now[still]
            place = self._place(hunt, now)
            action, fresh = self._edited(hunt, now, place)
            now.moved(hunt.query(now.rows, action, fresh, policy), place, again=not self._exhaustive(hunt))

    def _place(self, hunt: Hunt, now: Standing) -> Array:
        """[R] the step at which the next edit begins."""
        worth, begun = hunt.rng.random(now.tried.shape), now.options.valid[:, : now.tried.shape[1]]
        stuck = np.asarray((now.tried | ~begun).all(1))
        if self.saliency:
            norm = saliency(hunt.target, now.options.segments())
            hunt.ask(now.rows, 1)
            worth = np.where(stuck[:, None], worth, sliding_window_view(norm, self.segment, axis=1).sum(2))
        now.cost[stuck], now.tried[stuck] = np.inf, False
        return np.where(begun & ~now.tried, worth, -1.0).argmax(1)

    def _edited(self, hunt: Hunt, now: Standing, place: Array) -> tuple[Array, Array]:
        """Edited actions [R, P, T, *action], and which of their steps are new, [R, P, T]."""
        fresh = self._fresh(hunt, now.options.action[np.arange(len(place)), place])
        count, length = fresh.shape[1], hunt.length
        both = np.concatenate([np.repeat(now.options.action[:, None], count, 1), fresh], 2)  # [R, S, T + segment, *action]
        found, new = [], []
        for edit in self.edits:
            source = sources(edit, place, self.segment, length)[:, None]
            part = both[:, :1] if edit == "delete" else both  # only the end would be another
            index = source.reshape(*source.shape, *[1] * (both.ndim - 3))
            found.append(np.take_along_axis(part, index, 2))
            new.append(np.repeat(source >= length, part.shape[1], 1))
        action, new = np.concatenate(found, 1), np.concatenate(new, 1)
        if self.ranked:
            return action, new
        one = np.arange(len(place)), hunt.rng.integers(action.shape[1], size=len(place))
        return action[one][:, None], new[one][:, None]

    def _fresh(self, hunt: Hunt, old: Array) -> Array:
        """New segments [R, S, segment, *action], in random order; `old` [R, *action] is done at the place now."""
        if not self._exhaustive(hunt):
            return hunt.random_actions(len(old), self.substitutes, self.segment)
        space: Any = hunt.env.action_space
        others = hunt.rng.permuted(np.tile(np.arange(1, space.n), (len(old), 1)), axis=1)
        return (space.start + (old[:, None] - space.start + others) % space.n)[:, :, None]

    def _exhaustive(self, hunt: Hunt) -> bool:
        """Whether all that can be done instead is tried."""
        space = hunt.env.action_space
        return isinstance(space, spaces.Discrete) and space.n > 1 and self.segment == 1 and self.policy is None
