"""One repetition of the red-team study: its pieces of work, each stored when it is done, and never done twice."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ..agents import runs
from ..agents.attacks.findings import Findings
from ..agents.trained import Trained
from ..envs.batch import Array
from ..envs.core import Segments
from ..reward_models.feedback import Catastrophes
from ..reward_models.filters import Filter
from ..reward_models.hardening import EVEN, Finds, Hardening, Round, harden, mixed, recall
from ..reward_models.probe import pooled, probe
from .red_team import ALL, BASE, FRESH, NOBODY, SHOWN, STRONGER, UPDATES, RedTeam, Row
from .red_team_agents import cloned, gaming_agent
from .red_team_bench import Bench, Sizes, bench
from .red_team_tools import thresholds, tools

HELD = 0.3  # share of the finds that filters of several widths don't learn from
FEWEST = 10  # catastrophes of a kind, below which two kinds are not compared


@dataclass
class Repetition:
    """The work of one seed of a study."""

    study: RedTeam
    seed: int

    def work(self) -> Iterator[tuple[str, Callable[[], Row]]]:
        """Every piece by its name, in an order in which each finds what it goes on from."""
        yield BASE, partial(self.judged, BASE, 0)
        for course in self.courses:
            for number in range(1, self.study.rounds + 1):
                yield f"{course}, round {number}", partial(self.hardened, course, number)
        yield "widths", self.widths
        yield "tools", lambda: tools(self.bench, self.last(BASE).model)
        yield "thresholds", self.thresholds
        for target in (NOBODY, BASE, *self.mains) if self.study.steps else ():
            yield f"agent, {target}", partial(self.agent, target)
        if self.seed == 0:
            for target in (BASE, ALL):
                yield f"films, {target}", partial(self.films, target)

    def path(self, name: str, suffix: str = ".json") -> Path:
        """Where a piece of work is stored."""
        return self.study.folder / f"seed{self.seed}" / (name.replace(",", "").replace(" ", "-") + suffix)

    def run(self, report: Callable[[Row], None]) -> None:
        """Does what is not stored yet."""
        pieces = list(self.work())
        for done, (name, piece) in enumerate(pieces, 1):
            if not self.path(name).exists():
                self.path(name).parent.mkdir(parents=True, exist_ok=True)
                runs.replace_file(self.path(name), json.dumps(piece()).encode())
            report({"fraction": done / len(pieces)})

    @cached_property
    def bench(self) -> Bench:
        """What the repetition works with; it is made anew where a study goes on, and is the same."""
        study = self.study
        sizes = Sizes(training=study.training, known=max(study.labels, 30), trials=study.trials, queries=study.queries)
        return bench(study.task, sizes, self.seed)

    @cached_property
    def courses(self) -> dict[str, Hardening]:
        """Every course of hardening by its name: one against each attack, then those against all, which differ in updates."""
        settings = Hardening(self.study.rounds, self.study.labels, UPDATES, seed=self.seed)
        others = {f"{ALL}, updates {number}": replace(settings, updates=number) for number in self.study.updates}
        return dict.fromkeys(self.mains, settings) | others

    @property
    def mains(self) -> list[str]:
        """The courses whose filters are compared by everything."""
        return [*self.study.attacks, ALL]

    # Hardening

    def hardened(self, course: str, number: int) -> Row:
        """A round of a course, from the rounds before it."""
        done = [self.round(course, before) for before in range(number)]
        finders = [self.bench.finder(name) for name in (self.study.attacks if course.startswith(ALL) else [course])]
        data, harmless = self.bench.data, self.bench.harmless
        found = next(harden(self.bench.model(), data, harmless, mixed(finders), self.courses[course], done=done))
        found.save(self.path(f"{course}, round {number}", ""))
        return self.judged(course, number)

    def round(self, course: str, number: int) -> Round:
        """A stored round; all courses begin with the same filter."""
        path = self.path(f"{course}, round {number}" if number else BASE, "")
        if number == 0 and not (path / "round.json").exists():  # which is stored last
            data, harmless = self.bench.data, self.bench.harmless
            next(harden(self.bench.model(), data, harmless, self.bench.finder(self.study.attacks[0]), Hardening())).save(path)
        return Round.load(path)

    def last(self, course: str) -> Round:
        """The filter that a course ends with; the first one, if it is no course."""
        return self.round(course, self.study.rounds if course in self.courses else 0)

    # Judging

    def judged(self, course: str, number: int) -> Row:
        """How a filter fares: against its own course's attacks after every round, against everything after the last."""
        model, ends = self.round(course, number).model, number in (0, self.study.rounds)
        own = [course] if course in self.study.attacks else list(self.study.attacks)
        names = () if course not in (BASE, *self.mains) else self.study.attacks if ends else own
        found = {name: self.bench.attacked(model, name) for name in names}
        row: Row = {"course": course, "round": number, "labels": self._labels(course, number)}
        if ends:
            found |= {FRESH: self.bench.attacked(model, FRESH, STRONGER)}
            row |= {
                "system": self.bench.in_distribution(model),
                "telltale": self._telltale(model, [found[name] for name in own if name in found]),
            }
        return row | {"attacks": {name: summary(findings) for name, findings in found.items()}}

    def _labels(self, course: str, number: int) -> int:
        """Finds that were learned from so far."""
        return sum(int(self.round(course, before).chosen.sum()) for before in range(1, number + 1))

    def _telltale(self, model: Filter, found: list[Findings]) -> Row:
        """Does it know a catastrophe, or that something was edited?

        What share of harmless options is refused once they are edited; and how well catastrophes that attacks got past the
        filter can be told from the generator's own which it lets through (1/2 is not at all; None where there are too few).
        """
        natural = self.bench.natural(model)
        attacked = Segments.concatenate([natural[:0], *(of.options[of.found].segments() for of in found)])
        refused = float((~model.accepts(self.edited)).mean())
        enough = min(len(attacked), len(natural)) >= FEWEST
        return {"refused": refused, "apart": told_apart(model, attacked, natural) if enough else None}

    @cached_property
    def edited(self) -> Segments:
        """Harmless options, edited; their edits are ranked by a filter that learned the same with another seed."""
        ranker = self.bench.model(seed=self.seed + 2**20).fit(self.bench.data).choose_threshold(self.bench.harmless)
        return self.bench.edited(ranker)

    def widths(self) -> Row:
        """How much of all finds, learned from and not, filters of several widths refuse."""
        rounds = [self.round(ALL, number) for number in range(1, self.study.rounds + 1)]
        finds = Finds.joined([found.finds for found in rounds]).catastrophes()
        if len(finds) < 2 * FEWEST:
            return {"finds": len(finds), "widths": {}}
        held, taught = np.split(np.random.default_rng(self.seed).permutation(len(finds)), [round(HELD * len(finds))])
        return {
            "finds": len(finds),
            "widths": {width: self._fit(width, finds[taught], finds[held]) for width in self.study.widths},
        }

    def _fit(self, width: int, taught: Catastrophes, held: Catastrophes) -> Row:
        model = self.bench.model(hidden=(width, width)).fit(self.bench.data, taught).choose_threshold(self.bench.harmless)
        sides = {"learned": taught, "held out": held}
        return {side: [recall(model, finds), recall(model, finds, EVEN)] for side, finds in sides.items()}

    def thresholds(self) -> Row:
        """How the filtered system fares at other thresholds, with the first filter, and the one hardened by all attacks."""
        return {"thresholds": {name: thresholds(self.bench, self.last(name).model) for name in (BASE, ALL)}}

    # Agents

    @cached_property
    def reference(self) -> Trained:
        """The clone that every agent sets out from."""
        return cloned(self.bench.task, self.seed)

    def agent(self, target: str) -> Row:
        """What PPO makes of the proxy, fined by a filter: a refused step costs what a catastrophe is worth on average."""
        fine = float(self.bench.known_severity.mean())
        model = None if target == NOBODY else self.last(target).model
        found = gaming_agent(self.bench.task, self.reference, model, fine, self.study.steps, self.seed)
        return {"target": target, "fine": fine} | found

    # Films

    def films(self, target: str) -> Row:
        """Films of the worst catastrophes that attacks got past a filter."""
        from .report.finds import film

        model, env = self.last(target).model, self.bench.task.environment
        worst = [self.bench.attacked(model, name, aim="severity") for name in self.study.attacks]
        found = Findings.concatenate(worst)
        attack = np.repeat(self.study.attacks, len(self.bench.trials))
        order = np.argsort(np.where(found.found, -found.options.severity, np.inf), kind="stable")
        shown = []
        for place, i in enumerate(order[: min(SHOWN, found.found.sum())]):
            path = self.path(f"film {target} {place}", ".webp")
            runs.replace_file(path, film(env, found.cases[[i]], model))
            about = {"severity": float(found.options.severity[i]), "margin": float(found.margin[i])}
            shown.append({"attack": str(attack[i]), "film": path.name} | about)
        return {"target": target, "films": shown}


def summary(found: Findings) -> Row:
    """A cell of the study: what every trial took, and what was found."""
    won = found.found
    return {
        "queries": found.queries.tolist(),
        "found": won.tolist(),
        "severity": found.options.severity[won].tolist(),
        "margin": found.margin[won].tolist(),
        "scores": int(found.scores.sum()),
        "steps": int(found.steps.sum()),
        "seconds": float(found.seconds.sum()),
    }


def told_apart(model: Filter, attacked: Segments, natural: Segments) -> float:
    """How often a linear probe of what the filter is shown ranks an attacked stretch above a natural one."""
    both = Segments.concatenate([attacked, natural])
    label = np.arange(len(both)) < len(attacked)
    scores = probe(pooled(shown(model, both), both.valid), label)
    return float((scores[label][:, None] > scores[~label]).mean() + (scores[label][:, None] == scores[~label]).mean() / 2)


def shown(model: Filter, segments: Segments) -> Array:
    """What the filter is shown of each step, [N, T, d]."""
    return model.inputs_(model.inputs_.tensors(segments)).numpy()
