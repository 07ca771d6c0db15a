"""Hardening: attack the filter, label what was found, learn from it, set the threshold anew; and again.

After Ziegler et al. 2022, "Adversarial training for high-stakes reliability" (arXiv:2205.01663). Whether it helps to learn from
the worst finds, or to update more often, are questions there that `Hardening` makes settings of. Filters are compared at equal
quality: after every update the threshold lets the same share of the same harmless stretches pass.

Attacks are handed in. Chance comes from the seed, the round and the update alone, so that who goes on from stored rounds comes
to the same end, bit for bit.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from ..envs.batch import Array
from ..envs.core import ProxygapError, Segments
from .classifier import CatastropheClassifier
from .feedback import Catastrophes, Feedback, write
from .filters import Filter
from .robust import Transform

Choice = Literal["random", "egregious", "nearest"]
CHOICES = ("random", "egregious", "nearest")
EVEN = 0.0  # the log odds of probability 0.5, as a threshold of a classifier


@dataclass
class Finds(Feedback):
    """N stretches that an attack had labelled: catastrophes it found, and tries that turned out harmless."""

    allowed = {"severity": (0.0, np.inf), "egregiousness": (0.0, np.inf), "asked": (0.0, np.inf)}
    segments: Segments
    severity: Array  # [N] in the wider circle, which is learned from; 0 where harmless
    egregiousness: Array  # [N] in the narrow circle: how bad a catastrophe it is, or 0
    margin: Array  # [N] by how much it is less suspicious than the threshold: 0 or more was accepted
    asked: Array  # [N] labels that it took to find it
    env: str

    def catastrophes(self) -> Catastrophes:
        """What is learned from them."""
        return Catastrophes(self.segments, self.severity, self.env)


Attack = Callable[[Filter, int, np.random.Generator], Finds]  # target, labels that may be asked for, chance -> finds


def mixed(attacks: Sequence[Attack], shares: Sequence[float] | None = None) -> Attack:
    """Several attacks as one: each has its share of the labels (equal ones by default), and chance of its own."""
    shares = [1.0] * len(attacks) if shares is None else shares
    if not attacks or len(shares) != len(attacks) or not min(shares) > 0:
        raise ProxygapError(f"{len(attacks)} attacks with shares {list(shares)}: give at least one, and a share above 0 each")

    def attack(target: Filter, labels: int, rng: np.random.Generator) -> Finds:
        trios = zip(attacks, portions(labels, shares), rng.spawn(len(attacks)), strict=True)
        return Finds.joined([one(target, number, chance) for one, number, chance in trios if number])

    return attack


def portions(number: int, shares: Sequence[float]) -> list[int]:
    """`number` things divided by `shares`, whole and all of them."""
    edges = np.round(number * np.cumsum([0.0, *shares]) / np.sum(shares)).astype(int)
    return np.diff(edges).tolist()


def recall(target: Filter, catastrophes: Catastrophes, threshold: float | None = None) -> float:
    """The share of catastrophes that is refused at the filter's threshold, or another (`EVEN`, say).

    On finds that were learned from and on others, against width: is the filter too small for them, or has it got them by heart?
    Raises ProxygapError where there is no catastrophe.
    """
    if not (bad := catastrophes.label).any():
        raise ProxygapError(f"{len(bad)} stretches, no catastrophe among them: recall needs at least one")
    suspicion = target.suspicion(catastrophes.segments[bad])
    return float((suspicion > (target.threshold_ if threshold is None else threshold)).mean())


@dataclass(frozen=True)
class Hardening:
    """How a classifier is hardened."""

    rounds: int = 3
    labels: int = 100  # a round
    updates: int = 1  # a round, each with its part of the labels, and an attack on what the last one left
    keep: int | None = None  # catastrophes a round that are learned from; None: all that are found
    choice: Choice = "random"  # which: any, the most egregious, or those nearest to the threshold
    harmless: bool = True  # learn from tries that turned out harmless, too: else what gives an attack away would do for a label
    weight: float = 1.0  # of what was found, in examples
    warm: bool = True  # go on from the last weights; else learn anew from all there is
    seed: int = 0

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ProxygapError(f"choice {self.choice!r}: allowed are {', '.join(CHOICES)}")
        counts = {name: getattr(self, name) for name in ("rounds", "labels", "updates", "keep")}
        if wrong := [f"{name} {value}" for name, value in counts.items() if value is not None and value < 1]:
            raise ProxygapError(f"{', '.join(wrong)}: at least 1 is needed")
        if self.updates > (least := min(self.labels, self.keep or self.labels)):
            raise ProxygapError(f"{self.updates} updates of {least} labels or catastrophes kept a round: each needs at least 1")
        if not self.weight > 0:
            raise ProxygapError(f"weight {self.weight}: a number above 0 is needed")

    def chosen(self, finds: Finds, keep: int | None, rng: np.random.Generator) -> Array:
        """[N] bool, which finds are learned from: `keep` catastrophes (all, if None), and harmless ones if wanted."""
        bad = finds.severity > 0
        key = {"random": 0.0, "egregious": -finds.egregiousness, "nearest": np.abs(finds.margin)}[self.choice]
        order = np.lexsort((rng.random(len(finds)), np.broadcast_to(key, len(finds))))  # chance among those that are even
        best = order[bad[order]][:keep]
        return np.isin(np.arange(len(finds)), best) | (~bad & self.harmless)


@dataclass
class Round:
    """What a round came to; round 0 is the classifier before any attack."""

    number: int
    model: CatastropheClassifier
    finds: Finds  # [N] all that were labelled
    update: Array  # [N] in which update of the round
    chosen: Array  # [N] bool, those learned from

    def records(self) -> list[Catastrophes]:
        """What was learned from in each update."""
        learned = [self.chosen & (self.update == update) for update in np.unique(self.update[self.chosen])]
        return [self.finds[rows].catastrophes() for rows in learned]

    def __str__(self) -> str:
        found, accepted = self.finds.severity > 0, self.finds.margin >= 0
        tail = f"{(found & accepted).sum()} accepted; learned from {self.chosen.sum()} stretches"
        return f"round {self.number}: {found.sum()} catastrophes for {self.finds.asked.sum():.0f} labels, {tail}"

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Stores the round in a folder, which is made; what `load` needs last. Raises ProxygapError if that can't be done."""
        try:
            (folder := Path(folder)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProxygapError(f"can't write a round to {folder} ({error}): give a folder that can be written") from error
        self.model.save(folder / "model.safetensors")
        self.finds.save(folder / "finds.safetensors")
        about = {"number": self.number, "update": self.update.tolist(), "chosen": self.chosen.tolist()}
        write(folder / "round.json", json.dumps(about).encode(), "a round")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """The round that `save` stored. Raises ProxygapError where there is none, or it is damaged."""
        folder = Path(folder)
        try:
            about = json.loads((folder / "round.json").read_text())
            update, chosen = np.array(about["update"], int), np.array(about["chosen"], bool)
            number = int(about["number"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProxygapError(f"can't read a round from {folder} ({error!r}): give a folder that `save` wrote") from error
        model, finds = CatastropheClassifier.load(folder / "model.safetensors"), Finds.load(folder / "finds.safetensors")
        return cls(number, model, finds, update, chosen)


@dataclass(frozen=True)
class _Course:
    """All that a course of hardening is given."""

    model: CatastropheClassifier
    data: Catastrophes
    harmless: Segments
    attack: Attack
    settings: Hardening
    alike: Sequence[Transform]

    def rounds(self, done: list[Round]) -> Iterator[Round]:
        for number in range(len(done), self.settings.rounds + 1):
            done.append(self.round(number, done) if number else self.first())
            yield done[-1]

    def first(self) -> Round:
        model = replace(self.model).fit(self.data, alike=self.alike).choose_threshold(self.harmless)
        nothing = np.zeros(0)
        return Round(0, model, _none(self.data), nothing.astype(int), nothing.astype(bool))

    def round(self, number: int, done: Sequence[Round]) -> Round:
        settings, model, found, picked = self.settings, done[-1].model, [], []
        records = [self.data, *(record for old in done for record in old.records())]
        even = [1.0] * settings.updates
        kept = [None] * settings.updates if settings.keep is None else portions(settings.keep, even)
        for update, (labels, keep) in enumerate(zip(portions(settings.labels, even), kept, strict=True)):
            chance, choosing = np.random.default_rng((settings.seed, number, update)).spawn(2)
            finds = self._checked(self.attack(model, labels, chance), labels)
            chosen = settings.chosen(finds, keep, choosing)
            if chosen.any():
                records.append(finds[chosen].catastrophes())
                model = self._learned(model, records)
            found.append(finds)
            picked.append(chosen)
        updates = np.repeat(np.arange(len(found)), [len(finds) for finds in found])
        return Round(number, model, Finds.joined(found), updates, np.concatenate(picked))

    def _learned(self, model: CatastropheClassifier, records: Sequence[Catastrophes]) -> CatastropheClassifier:
        learn = copy(model).refit if self.settings.warm else replace(self.model).fit
        return learn(*records, weight=self.settings.weight, alike=self.alike).choose_threshold(self.harmless)

    def _checked(self, finds: Finds, labels: int) -> Finds:
        if finds.env != self.data.env:
            raise ProxygapError(f"an attack in {finds.env} on a classifier of {self.data.env}: attack it in {self.data.env}")
        if (asked := max(len(finds), int(finds.asked.sum()))) > labels:
            raise ProxygapError(f"an attack had {asked} stretches labelled, where {labels} were allowed")
        return finds


def harden(
    model: CatastropheClassifier,
    data: Catastrophes,
    harmless: Segments,
    attack: Attack,
    settings: Hardening = Hardening(),
    *,
    alike: Sequence[Transform] = (),
    done: Sequence[Round] = (),
) -> Iterator[Round]:
    """Round after round of hardening, beginning with round 0, the classifier that `data` alone makes.

    `model` only lends its settings. After every update its threshold lets the share `acceptance` of the stretches `harmless`
    pass: give stretches that are not in `data`. `done` are stored rounds, from 0, after which to go on. An attack that finds
    no catastrophe is a result, not a fault: harmless tries are learned from like others, and where there is nothing to learn
    from the classifier stays as it is. Raises ProxygapError for no harmless stretches, rounds that don't follow each other or
    are of another environment, and an attack that does not stay in the environment or within its labels.
    """
    if not len(harmless):
        raise ProxygapError("no harmless stretches to choose a threshold by: give at least one")
    if [old.number for old in done] != list(range(len(done))):
        raise ProxygapError(f"rounds {[old.number for old in done]} to go on after: give all from 0 on, in order")
    if others := {old.finds.env for old in done} - {data.env}:
        raise ProxygapError(f"rounds in {', '.join(sorted(others))} to go on after, but labels of {data.env}")
    return _Course(model, data, harmless, attack, settings, alike).rounds(list(done))


def _none(data: Catastrophes) -> Finds:
    """No finds, of stretches as in `data`."""
    empty = np.zeros(0)
    return Finds(data[empty.astype(int)].segments, empty, empty, empty, empty, data.env)
