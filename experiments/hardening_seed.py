"""Half a seed of the study of hardening's choices: its pieces of work, each stored when it is done, and never done twice."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from ..agents import runs
from ..envs.core import Segments
from ..reward_models.classifier import CatastropheClassifier
from ..reward_models.feedback import Catastrophes
from ..reward_models.hardening import Attack, Choice, Finds, Hardening, Round, harden, mixed
from ..reward_models.robust import Dropped, Noise, Transform
from .hardening_arms import FIRST, PLAIN, WEAK, Arm
from .hardening_choices import LONGER, HardeningChoices, Row
from .hardening_generator import demonstrations, failures, imitate, played_by, system
from .red_team import FRESH, STRONGER
from .red_team_agents import cloned
from .red_team_bench import TRAINING, Bench, Sizes, bench, part
from .red_team_seed import summary
from .red_team_tasks import RedTeamTask, drawn, labelled

AFRESH = {"steps": 1000, "patience": 200}  # gradient steps of a filter that learns anew,
UPDATE = {"steps": 200, "patience": 100}  # and of one that goes on
LATENT = {"latent_epsilon": 0.1, "latent_steps": 2}  # of larger ones filters forget what they knew
RESOLUTION = 0.01  # of sensors, in standard deviations of what they show
GENERATORS = "generators"


@dataclass
class Repetition:
    """The work of one half of a seed."""

    study: HardeningChoices
    seed: int
    half: str  # "recipe", or "choices"
    _firsts: dict[Any, Round] = field(default_factory=dict, init=False, repr=False)

    def work(self) -> Iterator[tuple[str, Callable[[], Row]]]:
        """Every piece by its name, in an order in which each finds what it goes on from."""
        recipe = [name for name in self.study.questions[0].arms if name != PLAIN]
        if self.half == "recipe":
            yield from ((name, partial(self.hardened, name)) for name in recipe)
            return
        yield FIRST, self.unhardened
        yield from ((name, partial(self.hardened, name)) for name in self.study.arms if name not in recipe)
        yield GENERATORS, self.generators

    def path(self, name: str, suffix: str = ".json") -> Path:
        """Where a piece of work is stored."""
        return self.study.folder / f"seed{self.seed}" / (name.replace(" ", "-") + suffix)

    def run(self, report: Callable[[Row], None]) -> None:
        """Does what is not stored yet."""
        pieces = list(self.work())
        for done, (name, piece) in enumerate(pieces, 1):
            if not self.path(name).exists():
                self.path(name).parent.mkdir(parents=True, exist_ok=True)
                began = time.process_time()
                row = piece()
                runs.replace_file(self.path(name), json.dumps(row | {"seconds": time.process_time() - began}).encode())
            report({"fraction": done / len(pieces)})

    @cached_property
    def bench(self) -> Bench:
        """What the repetition works with; it is made anew where a study goes on, and is the same."""
        study = self.study
        known = study.rounds * study.labels
        sizes = Sizes(training=study.training, known=known, trials=study.trials, queries=study.queries)
        return bench(study.task, sizes, self.seed)

    # Learning

    def model(self, arm: Arm) -> CatastropheClassifier:
        """The arm's filter, which has not learned yet."""
        settings: dict[str, Any] = {**AFRESH, **(LATENT if arm.latent else {})}
        if arm.ensemble > 1:
            settings |= {"ensemble": arm.ensemble, "aggregate": "worst"}
        return self.bench.model(**settings, **({"hidden": (arm.width, arm.width)} if arm.width else {}))

    def data(self, arm: Arm) -> Catastrophes:
        """What the generator plays, labelled by the arm's circle."""
        return self.bench.data if arm.wide else self.narrow

    @cached_property
    def narrow(self) -> Catastrophes:
        """The bench's data, labelled by the narrow circle."""
        task = self.bench.task
        _, options = drawn(task, self.study.training, part(self.seed, TRAINING))
        return labelled(options, task.environment.name, np.inf)

    def alike(self, arm: Arm) -> tuple[Transform, ...]:
        """What makes other play that means the same, for an arm that is to be invariant."""
        return (alike(self.bench.task, self.bench.data.segments),) if arm.invariance else ()

    def first(self, arm: Arm) -> Round:
        """The arm's filter before any attack; nobody reaches into one that learns from the beginning and is to go on."""
        key = arm.wide, arm.invariance, arm.ensemble, arm.width
        if key not in self._firsts:
            model = replace(self.model(arm), latent_epsilon=0.0)
            self._firsts[key] = next(self._course(arm, model, self.finder(arm, 0), []))
        return self._firsts[key]

    def course(self, arm: Arm) -> list[Round]:
        """All rounds of an arm, from 0."""
        first = self.first(arm)
        going_on = copy(first.model)
        for name, value in {**UPDATE, **(LATENT if arm.latent else {})}.items():
            setattr(going_on, name, value)
        done = [replace(first, model=going_on)]
        for number in range(1, self.study.rounds + 1):
            done.append(next(self._course(arm, self.model(arm), self.finder(arm, number), done)))
        return done

    def _course(self, arm: Arm, model: CatastropheClassifier, finder: Attack, done: Sequence[Round]) -> Iterator[Round]:
        settings = Hardening(self.study.rounds, self.study.labels, arm.updates, warm=arm.warm, seed=self.seed)
        return harden(model, self.data(arm), self.bench.harmless, finder, settings, alike=self.alike(arm), done=done)

    def finder(self, arm: Arm, number: int) -> Attack:
        """What looks for failures in a round of an arm."""
        sizes = replace(self.bench.sizes, queries=max(1, self.study.queries // arm.weaker))
        finders = [replace(self.bench, sizes=sizes).finder(name) for name in self.study.attacks]
        found = {
            "first": finders[0],
            "mixed": mixed(finders),
            "round": finders[(number - 1) % len(finders)],
            "update": by_turns(finders),
        }[arm.attacks]
        return found if arm.choice == "all" else halved(found, arm.choice)

    # Judging

    def unhardened(self) -> Row:
        """How the first filter fares, by which all others are measured."""
        first = self.first(Arm())
        first.model.save(self.path(FIRST, ".safetensors"))
        return self.judged(FIRST, first.model, [first])

    def hardened(self, name: str) -> Row:
        """How the filter fares that an arm ends with."""
        rounds = self.course(self.study.arms[name])
        rounds[-1].model.save(self.path(name, ".safetensors"))
        return self.judged(name, rounds[-1].model, rounds)

    def judged(self, name: str, model: CatastropheClassifier, rounds: Sequence[Round]) -> Row:
        """What every attack finds, how the system fares where nobody attacks, and what share of edited harmless play passes."""
        found = {attack: summary(self.bench.attacked(model, attack)) for attack in self.study.attacks}
        found[FRESH] = summary(self.bench.attacked(model, FRESH, STRONGER))
        row: Row = {"arm": name, "labels": sum(float(past.finds.asked.sum()) for past in rounds), "attacks": found}
        if name in (FIRST, PLAIN, WEAK):
            row["longer"] = summary(self.bench.attacked(model, self.study.attacks[0], LONGER))
        return row | {
            "learned": sum(int(past.chosen.sum()) for past in rounds),
            "system": self.bench.in_distribution(model),
            "refused": float((~model.accepts(self.edited)).mean()),
        }

    @cached_property
    def edited(self) -> Segments:
        """Harmless options, edited; their edits are ranked by a filter that learned the same with another seed."""
        ranker = replace(self.model(Arm()), seed=self.seed + 2**20).fit(self.narrow).choose_threshold(self.bench.harmless)
        return self.bench.edited(ranker)

    # The generator instead

    def generators(self) -> Row:
        """The generator's clone and one that learned from demonstrations, each before the first filter and the plain way's."""
        first, hard = (CatastropheClassifier.load(self.path(name, ".safetensors")) for name in (FIRST, PLAIN))
        labels = round(json.loads(self.path(PLAIN).read_text())["labels"])
        shown = demonstrations(self.bench, failures(self.bench, first, self.study.attacks[0], labels))
        hardened = imitate(cloned(self.bench.task, self.seed), shown, self.seed)
        rows = {}
        for generator, player in (("as it was", cloned(self.bench.task, self.seed)), ("hardened", hardened)):
            here = played_by(self.bench, player)
            rows |= {f"{generator}, {name}": system(here, model) for name, model in ((FIRST, first), (PLAIN, hard))}
        return {"generators": rows, "demonstrations": len(shown), "labels": labels}


def halved(finder: Attack, choice: Choice) -> Attack:
    """Hands over half of what is found, rounded up and so chosen; the other half was labelled in vain, and is counted."""
    rule = Hardening(choice=choice)

    def find(target: Any, labels: int, rng: np.random.Generator) -> Finds:
        searching, choosing = rng.spawn(2)
        finds = finder(target, labels, searching)
        kept = finds[rule.chosen(finds, -(-len(finds) // 2), choosing)]
        return replace(kept, asked=kept.asked * finds.asked.sum() / max(kept.asked.sum(), 1.0))

    return find


def by_turns(finders: Sequence[Attack]) -> Attack:
    """One of them after another, each time that it is asked."""
    turns = cycle(finders)
    return lambda target, labels, rng: next(turns)(target, labels, rng)


def alike(task: RedTeamTask, segments: Segments) -> Transform:
    """What makes play that means the same: observations read within the sensors' resolution, or, of words and boards, a later
    beginning, which is as harmless as the whole.
    """
    seen = segments.observation[segments.valid]
    if task.one_hot or seen.dtype.kind != "f":
        return Dropped(1)
    return Noise((RESOLUTION * seen.std(0)).tolist())
