"""Teachers that know the true reward and answer questions about it, each with a weakness that people have.

A teacher is a table of chances: for every pair of stretches, how likely it calls the first better, the second better, neither,
or gives no answer. What it is asked draws from that table; how good a model of its answers can be follows from it. Weaknesses
wrap teachers, the outermost having the last word: `Undecided(Mistaken(Rational(2.0)), 0.1)` never mistakes a tie for a choice.
What a teacher sees of a step (`sees`) is the true reward, or a distortion of it: `Greedy(Myopic(0.9, Biased((1.0, 0.0))))`.

Lee, Smith, Dragan and Abbeel (2021), "B-Pref" (the weaknesses); Christiano et al. (2017), "Deep RL from human preferences".
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self

import numpy as np

from ..envs.batch import Array
from ..envs.core import ProxygapError
from .feedback import Comparisons, Ratings, Stretches

FIRST, SECOND, NEITHER, SKIPPED = range(4)  # columns of a table of chances
ROUNDING = 1e-12  # relative error of a sum, at most
LABELS = np.array([1.0, 0.0, 0.5, np.nan])  # of each, as `Comparisons.label` has them


class Judged(Protocol):
    """What can be judged: N stretches of T steps, all of the same length."""

    true: Array  # [N, T] true reward
    terms: Array  # [N, T, n]


Sees = Callable[[Judged], Array]  # the reward of every step as a teacher sees it, [N, T]


def the_truth(stretches: Judged) -> Array:
    """The true reward of every step, [N, T]."""
    return stretches.true


def _check(what: str, value: float, low: float, high: float = math.inf) -> None:
    if not low <= value <= high or math.isinf(value):
        raise ProxygapError(f"{what} {value}: allowed is a number from {low} to {high}")


@dataclass(frozen=True)
class Biased:
    """Sees a weighting of its own of the terms, `[N, T]`: some not at all, some too strongly."""

    weights: tuple[float, ...]  # of the n terms, in their order

    @classmethod
    def named(cls, weights: Mapping[str, float], names: Sequence[str]) -> Self:
        """The same by the terms' names, 0 where a term is not seen. Raises ProxygapError for one that there is not."""
        if unknown := set(weights) - set(names):
            raise ProxygapError(f"no terms {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
        return cls(tuple(weights.get(name, 0.0) for name in names))

    def __call__(self, stretches: Judged) -> Array:
        if stretches.terms.shape[2] != len(self.weights):
            raise ProxygapError(f"{len(self.weights)} weights for {stretches.terms.shape[2]} terms: give one for each")
        return stretches.terms @ np.array(self.weights)


@dataclass(frozen=True)
class Myopic:
    """Forgets early steps: step t of H counts gamma^(H - 1 - t), the last one fully. [N, T]"""

    gamma: float = 0.9
    sees: Sees = the_truth

    def __post_init__(self) -> None:
        _check("gamma", self.gamma, 0.0, 1.0)

    def __call__(self, stretches: Judged) -> Array:
        seen = self.sees(stretches)
        return seen * self.gamma ** np.arange(seen.shape[1])[::-1]


class Answers(NamedTuple):
    """What a teacher says to N questions."""

    label: Array  # [N] 1: the first is better, 0: the second, 0.5: neither; nan where skipped
    skipped: Array  # [N] bool, no answer was given


class Teacher(ABC):
    """Base of all teachers."""

    @abstractmethod
    def chances(self, first: Judged, second: Judged) -> Array:
        """How likely the teacher answers FIRST, SECOND, NEITHER or not at all (SKIPPED), `[N, 4]`; rows add up to 1."""

    def ask(self, first: Judged, second: Judged, rng: np.random.Generator) -> Answers:
        """The teacher's answers, one number drawn a pair."""
        upto = self.chances(first, second).cumsum(1)[:, :SKIPPED]
        answer = (rng.random(len(upto))[:, None] >= upto).sum(1)
        return Answers(LABELS[answer], answer == SKIPPED)

    def bayes_accuracy(self, first: Judged, second: Judged, against: Literal["truth", "answers"] = "truth") -> float:
        """The expected accuracy of the best model of this teacher's answers: one that says of each pair what it likelier says.

        `against` "truth": how often that agrees with the true return (a tie on either side counts half). "answers": how often
        with a fresh answer of the teacher, which is the most that accuracy on held-out comparisons can come to. Pairs count by
        the chance that they are decided; nan where none ever is.
        """
        chances = self.chances(first, second)
        for_first, decided = chances[:, FIRST] - chances[:, SECOND], chances[:, FIRST] + chances[:, SECOND]
        if against == "truth":
            right = decided * (1 + np.sign(for_first) * np.sign(_gain(the_truth, first, second))) / 2
        else:
            right = chances[:, [FIRST, SECOND]].max(1)
        return float(right.sum() / decided.sum()) if decided.any() else math.nan


def _gain(sees: Sees, first: Judged, second: Judged) -> Array:
    """By how much the first's return is seen to be the larger, [N]; 0 where only the order of adding tells them apart."""
    one, other = sees(first), sees(second)
    gain = one.sum(1) - other.sum(1)
    return np.where(abs(gain) <= ROUNDING * (abs(one).sum(1) + abs(other).sum(1)), 0.0, gain)


def _choice(for_first: Array) -> Array:
    """Chances [N, 4] of one who always chooses, from those [N] of the first."""
    never = np.zeros_like(for_first)
    return np.stack([for_first, 1 - for_first, never, never], 1)


@dataclass(frozen=True)
class Rational(Teacher):
    """Boltzmann-rational: chooses the first with chance 1 / (1 + exp(-beta * difference of the returns seen))."""

    beta: float = 1.0  # per unit of return
    sees: Sees = the_truth

    def __post_init__(self) -> None:
        _check("beta", self.beta, 0.0)

    def chances(self, first: Judged, second: Judged) -> Array:
        return _choice(np.exp(-np.logaddexp(0.0, -self.beta * _gain(self.sees, first, second))))


@dataclass(frozen=True)
class Greedy(Teacher):
    """Always chooses the larger return; tosses a coin where they are equal."""

    sees: Sees = the_truth

    def chances(self, first: Judged, second: Judged) -> Array:
        return _choice((1 + np.sign(_gain(self.sees, first, second))) / 2)


@dataclass(frozen=True)
class Mistaken(Teacher):
    """Says the opposite of what `teacher` chose, at a rate. A rate e of coin tosses (Christiano et al.) is Mistaken(e/2)."""

    teacher: Teacher
    rate: float = 0.1

    def __post_init__(self) -> None:
        _check("rate", self.rate, 0.0, 1.0)

    def chances(self, first: Judged, second: Judged) -> Array:
        meant = self.teacher.chances(first, second)
        return (1 - self.rate) * meant + self.rate * meant[:, [SECOND, FIRST, NEITHER, SKIPPED]]


@dataclass(frozen=True)
class Undecided(Teacher):
    """Calls two stretches equal where the rewards seen differ by no more than `margin` on average: with 0, exact ties only."""

    teacher: Teacher
    margin: float  # reward per step, whatever the stretch's length
    sees: Sees = the_truth

    def __post_init__(self) -> None:
        _check("margin", self.margin, 0.0)

    def chances(self, first: Judged, second: Judged) -> Array:
        alike = abs(_gain(self.sees, first, second)) <= self.margin * first.true.shape[1]
        return np.where(alike[:, None], np.eye(4)[NEITHER], self.teacher.chances(first, second))


@dataclass(frozen=True)
class Skipping(Teacher):
    """Gives no answer where both stretches are no better than `level`: there is nothing to see in them."""

    teacher: Teacher
    level: float  # reward per step, whatever the stretch's length
    sees: Sees = the_truth

    def __post_init__(self) -> None:
        _check("level", self.level, -math.inf)

    def chances(self, first: Judged, second: Judged) -> Array:
        dull = np.maximum(self.sees(first).mean(1), self.sees(second).mean(1)) <= self.level
        return np.where(dull[:, None], np.eye(4)[SKIPPED], self.teacher.chances(first, second))


@dataclass(frozen=True)
class Mixture(Teacher):
    """Several teachers who may want different things: every question goes to one of them, drawn by `shares`."""

    teachers: tuple[Teacher, ...]
    shares: tuple[float, ...] = ()  # adding up to 1; none: all alike

    def __post_init__(self) -> None:
        shares = self.shares or (1 / max(len(self.teachers), 1),) * len(self.teachers)
        if len(shares) != len(self.teachers) or min(shares, default=-1.0) < 0 or not math.isclose(sum(shares), 1.0):
            raise ProxygapError(f"{len(self.teachers)} teachers with shares {shares}: give each one, from 0, adding up to 1")
        object.__setattr__(self, "shares", shares)

    def chances(self, first: Judged, second: Judged) -> Array:
        each = np.stack([teacher.chances(first, second) for teacher in self.teachers])
        return np.tensordot(self.shares, each, 1)


def b_pref(
    step_reward: float,
    *,
    beta: float | None = None,
    gamma: float = 1.0,
    mistake: float = 0.0,
    equal: float = 0.0,
    skip: float = 0.0,
) -> Teacher:
    """B-Pref's teacher, its weaknesses in B-Pref's order; without `beta` it is greedy. 0 (gamma: 1) switches one off.

    `equal` and `skip` are shares of `step_reward`, the mean true reward of a step: this is the only place where a share becomes
    a threshold. Raises ProxygapError where that is not above 0, since a share of a loss means nothing.
    """
    if (equal or skip) and not step_reward > 0:
        raise ProxygapError(
            f"shares of a mean step reward of {step_reward}: give thresholds with Undecided and Skipping instead"
        )
    sees = Myopic(gamma)
    teacher: Teacher = Mistaken(Greedy(sees) if beta is None else Rational(beta, sees), mistake)
    teacher = Undecided(teacher, equal * step_reward) if equal else teacher
    return Skipping(teacher, skip * step_reward) if skip else teacher


@dataclass
class Ledger:
    """A budget of comparisons asked and environment steps taken, kept exactly: it is reached, and never passed."""

    comparisons: int | None = None  # allowed; None: any number
    steps: int | None = None
    asked: int = 0  # comparisons so far, skipped ones too
    taken: int = 0  # steps so far, those not used too

    def spend(self, comparisons: int = 0, steps: int = 0) -> None:
        """Books both, or neither: raises ProxygapError where more is wanted than is left."""
        asked, taken = self.asked + comparisons, self.taken + steps
        for what, spent, allowed in (("comparisons", asked, self.comparisons), ("steps", taken, self.steps)):
            if allowed is not None and spent > allowed:
                raise ProxygapError(f"{spent} {what}: the budget is {allowed}; ask for less, or allow more")
        self.asked, self.taken = asked, taken


def compared(
    teacher: Teacher, first: Stretches, second: Stretches, env: str, rng: np.random.Generator, ledger: Ledger | None = None
) -> Comparisons:
    """The teacher's comparisons, without those skipped; all of them are booked before any is asked."""
    if ledger is not None:
        ledger.spend(comparisons=len(first))
    label, skipped = teacher.ask(first, second, rng)
    return Comparisons(first[~skipped].segments, second[~skipped].segments, label[~skipped], env)


def rated(stretches: Stretches, env: str, rng: np.random.Generator, sees: Sees = the_truth, noise: float = 0.0) -> Ratings:
    """The return seen in each stretch as a mark, with Gaussian noise of that standard deviation."""
    _check("noise", noise, 0.0)
    return Ratings(stretches.segments, sees(stretches).sum(1) + noise * rng.standard_normal(len(stretches)), env)
