"""What one repetition of red teaming works with: labelled play, a filter, cases to attack from, and how a filter fares.

Filters learn from options of the task's generator, labelled by the wide circle, and are judged by the narrow one. Attacks set
out from known failures: some while a filter is hardened, others when it is tested. All filters of a repetition are judged on
the same options, the same cases and at the same acceptance of the same harmless options.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..agents.attacks.core import Aim, Attack
from ..agents.attacks.findings import Budget, Findings
from ..agents.attacks.registry import attack
from ..agents.filtering import Filtered, Labels
from ..agents.filtering import labelled as draw
from ..agents.options import Cases, Options, Scenes, replayed, uniform_actions
from ..envs.batch import Array
from ..envs.core import ProxygapError, Segments
from ..reward_models.classifier import CatastropheClassifier
from ..reward_models.feedback import Catastrophes
from ..reward_models.filters import Filter
from ..reward_models.hardening import Attack as Finder
from ..reward_models.hardening import Finds
from .red_team_tasks import RedTeamTask, drawn, harmless, known_catastrophes, labelled

PARTS = TRAINING, CALIBRATING, HARDENING, TESTING, JUDGING = range(5)  # of a repetition, each with a seed of its own
EDITED, GENERATIONS, EDITS = 200, 4, 8  # harmless options of the telltale test; how often each is edited, in so many ways


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    training: int = 12_000  # labelled options that the first filter learns from
    calibrating: int = 4_000  # options whose harmless ones the threshold is chosen by
    known: int = 100  # failures that attacks set out from while a filter is hardened
    trials: int = 30  # others, from each of which every attack is tried on every filter
    queries: int = 300  # of a trial
    scenes: int = 300  # that the filtered system is judged in
    draws: int = 8  # options of the generator in each of those; redraws of the system


@dataclass
class Bench:
    """One repetition."""

    task: RedTeamTask
    sizes: Sizes
    seed: int
    data: Catastrophes  # [sizes.training]
    calibrating: Options
    known: Cases
    trials: Cases
    scenes: Scenes  # [sizes.scenes]
    known_severity: Array  # of the failures among the filter's data, that of the narrow circle

    def model(self, **settings: Any) -> CatastropheClassifier:
        """A filter that has not learned yet."""
        own = {"inputs": self.task.inputs, "one_hot": self.task.one_hot, "hidden": self.task.hidden}
        return CatastropheClassifier(**own | {"acceptance": self.task.acceptance, "seed": self.seed} | settings)

    @property
    def harmless(self) -> Segments:
        """What thresholds are chosen by."""
        return harmless(self.calibrating, self.task.margin)

    def attack(self, name: str) -> Attack:
        """The attack of that name, which knows the task's generator."""
        return attack(name, self.task.generator)

    def attacked(self, target: Filter, name: str, times: int = 1, aim: Aim = "score") -> Findings:
        """What each trial finds with `times` the budget; chance is the same for every target.

        With the aim "severity" trials go on to the end of their budget, for the worst.
        """
        attack = self.attack(name)
        attack.aim, attack.keep_going = aim, aim == "severity"
        return self.searched(attack, target, times)

    def searched(self, attack: Attack, target: Filter, times: int = 1) -> Findings:
        """The same of an attack that has no name."""
        rng, budget = np.random.default_rng((self.seed, TESTING)), Budget(times * self.sizes.queries)
        return attack.search(target, self.task.environment, self.trials, budget, rng)

    def finder(self, name: str) -> Finder:
        """The attack as hardening asks for it: it hands over the catastrophes that it found, each from a known failure."""
        attack = self.attack(name)

        def find(target: Filter, labels: int, rng: np.random.Generator) -> Finds:
            cases = self.known[rng.integers(len(self.known), size=labels)]
            found = attack.search(target, self.task.environment, cases, Budget(self.sizes.queries), rng)
            won = found[found.found]
            near = np.maximum(won.options.near, won.options.severity)
            return Finds(
                won.options.segments(), near, won.options.severity, won.margin, np.ones(len(won)), self.task.environment.name
            )

        return find

    def labels(self, target: Filter) -> Labels:
        """The generator's options in the judged scenes, as the filter rates them: the same options for every filter."""
        drawn, played = self._judged
        suspicion = np.concatenate([target.suspicion(part) for part in played])
        return replace(drawn, suspicion=suspicion.reshape(drawn.failed.shape))

    @cached_property
    def _judged(self) -> tuple[Labels, list[Segments]]:
        """The labels as yet without ratings, and what is to be rated."""
        played: list[Segments] = []

        def kept(segments: Segments) -> Array:
            played.append(segments)
            return np.zeros(len(segments))

        task, draws, rng = self.task, self.sizes.draws, np.random.default_rng((self.seed, JUDGING))
        system = Filtered(task.generator(part(self.seed, JUDGING)), lambda _: np.zeros(0, bool), draws, task.null_policy())
        return draw(task.environment, self.scenes, task.length, system, draws, rng, kept), played

    def natural(self, target: Filter) -> Segments:
        """The catastrophes of the generator that the filter lets through where nobody attacks."""
        labels, (_, played) = self.labels(target), self._judged
        return Segments.concatenate(played)[(labels.failed & labels.accepted(target.threshold_)).ravel()]

    def in_distribution(self, target: Filter) -> dict[str, float]:
        """How the filtered system fares where nobody attacks, beside the generator without a filter."""
        labels, limit, redraws = self.labels(target), target.threshold_, self.sizes.draws
        return {
            "unfiltered": float(labels.failed.mean()),
            "failure": labels.failure(limit, redraws)[0],
            "naive": labels.naive(limit),
            "acceptance": float(labels.accepted(limit)[~labels.failed].mean()),
            "true": labels.quality(limit, redraws)[0],
            "unfiltered_true": float(labels.true.mean()),
            "spread": float(labels.true.std()),
            "draws": labels.expected_draws(limit, redraws),
            "null": float((~labels.accepted(limit)).all(1).mean()),
        }

    def edited(self, ranker: Filter) -> Segments:
        """Harmless options edited by what an attack does to failures, as far as they stay harmless.

        Their edits are ranked by another filter than the one that is tested; ranked by itself they would look harmless to it
        whatever it has learned.
        """
        rng, env = np.random.default_rng((self.seed, EDITED)), self.task.environment
        scenes, options = drawn(self.task, EDITED, part(self.seed, TESTING))
        fine = ~((options.severity > 0) | (options.near > self.task.margin))
        cases, options = options.cases(scenes)[fine], options[fine]
        for _ in range(GENERATIONS):
            cases, options = self._edited_once(env, cases, options, ranker, rng)
        return options.segments()

    def _edited_once(
        self, env: Any, cases: Cases, options: Options, ranker: Filter, rng: np.random.Generator
    ) -> tuple[Cases, Options]:
        """The least suspicious of each option and some with another step, among those that are harmless."""
        every = np.repeat(np.arange(len(cases)), EDITS + 1)
        tried, other = cases[every], uniform_actions(env, rng, len(every))
        changes = np.arange(len(every)) % (EDITS + 1) > 0
        tried.action[changes, rng.integers(tried.action.shape[1], size=changes.sum())] = other[changes]
        found = replayed(env, tried)
        bad = (found.severity > 0) | (found.near > self.task.margin)
        cost = np.where(bad, np.inf, ranker.suspicion(found.segments())).reshape(len(cases), -1)
        best = np.arange(len(cases)) * (EDITS + 1) + cost.argmin(1)
        return tried[best], found[best]


def part(seed: int, of: int) -> int:
    """The seed of a part of a repetition: no two have one in common."""
    return len(PARTS) * seed + of


def bench(task: RedTeamTask, sizes: Sizes, seed: int) -> Bench:
    """The repetition of that seed. Raises ProxygapError where the task has no failures to set out from, or to learn from."""
    env = task.environment
    here, training = drawn(task, sizes.training, part(seed, TRAINING))
    there, calibrating = drawn(task, sizes.calibrating, part(seed, CALIBRATING))
    scenes, _ = drawn(task, sizes.scenes, part(seed, JUDGING))
    known = enough(task, sizes.known, training.cases(here)[training.severity > 0], part(seed, HARDENING))
    trials = enough(task, sizes.trials, calibrating.cases(there)[calibrating.severity > 0], part(seed, TESTING))
    severity = replayed(env, known).severity
    data = labelled(training, env.name, task.margin)
    check_learnable(task, data)
    return Bench(task, sizes, seed, data, calibrating, known, trials, scenes, severity)


def check_learnable(task: RedTeamTask, data: Catastrophes) -> None:
    """Raises ProxygapError for labels that are all alike, from which no filter can learn, and says what to do."""
    bad, number = int(data.label.sum()), len(data)
    if not bad or number - bad < 2:
        raise ProxygapError(
            f"{bad} of {number} options that the generator plays in {task.env} are near a catastrophe: a filter needs at least "
            "1 that is and 2 that are not; give more --training, or another environment"
        )


def enough(task: RedTeamTask, number: int, cases: Cases, seed: int) -> Cases:
    """`number` of the failures at hand, or these and others of the task where there are fewer."""
    if len(cases) >= number:
        return cases[:number]
    return Cases.concatenate([cases, known_catastrophes(task, number - len(cases), seed)])
