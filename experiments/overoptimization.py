"""How much of what we want is left when a reward that was learned from comparisons is optimised, more and more?

A reference policy plays; a teacher compares stretches of its play by the true reward; reward models learn from that, each from
its number of comparisons, of its width, alone or as an ensemble. Then best-of-n optimises each model: over fresh episodes of
the reference, by their learned returns; and so does PPO, which sets out from a clone of the reference. The true ("gold") return
is measured beside. Sources: Gao, Schulman and Hilton 2023 (arXiv:2210.10760), sections 3.1 to 3.3; of the ensembles, Coste et
al. 2024 (arXiv:2310.02743).
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from ..agents import runs
from ..agents.rollouts import Policy, collect, random_policy, scripted
from ..envs.batch import Array
from ..envs.core import ProxyEnv, ProxygapError
from ..envs.painting import replacing
from ..envs.registry import make
from .gold_curves import AT_MOST, Curve, Variant, best_of_curves, learning_curve, summary
from .settings import parse_pairs, stretch_length
from .study import Report, Task, key_of, recorded, run_tasks

if TYPE_CHECKING:
    from ..reward_models.feedback import Comparisons, Stretches  # torch: not needed to parse a command line
    from ..reward_models.teachers import Teacher

RETURNS, RESULTS = "returns.npz", "results.json"
STREAMS = 2**40  # of chance for each seed
TEACHING = 256  # episodes that comparisons are cut from, or as many as hold that many stretches
TOGETHER = 256  # episodes played and rated at a time: as many as fit into memory


@dataclass(frozen=True)
class Overoptimization:
    """How much of what we want is left when a learned reward is optimised? Optimises it by best-of-n, and by PPO.

    Writes curves of the true and the learned return against the square root of the KL divergence, with fits, into a report.

    Examples:
        proxygap study overoptimization lagoon
        proxygap study overoptimization lagoon --comparisons 200 --widths --ensemble 1
        proxygap study overoptimization gold_bandit --inputs observation action --mistakes 0
    """

    env: tyro.conf.Positional[str]
    """Environment: a name (see `proxygap envs`), or FILE.py:Class."""
    comparisons: tuple[int, ...] = (50, 200, 1000)
    """How many comparisons models learn from; the middle one is that of all other variants."""
    widths: tuple[int, ...] = (4, 128)
    """Further widths of the models' hidden layers, which else are 32."""
    ensemble: int = 5
    """Members of ensembles, whose mean, worst and variance-penalised opinion are optimised; 1 for none."""
    inputs: tuple[str, ...] = ("observation",)
    """What models are shown of a step: any of observation, action, next_observation and terminated."""
    stretch: int | None = None
    """Steps of the stretches that are compared; by default 50, or half of an episode where that is less."""
    rationality: float = 3.0
    """Log odds of the teacher's choice for each standard deviation by which the true returns of two stretches differ."""
    mistakes: float = 0.25
    """Share of answers that are the opposite of what the teacher meant; by default that of Coste et al., as among people."""
    script: str | None = None
    """The environment's policy that is the reference; its own reference by default, or chance where there is none."""
    wavering: float = 1.0
    """Actions that are random instead: each episode of the reference has its own share of them, from 0 to this."""
    episodes: int = 4096
    """Episodes that the best are chosen from; n reaches a quarter of them."""
    steps: int | None = None
    """Steps of PPO for each reward; PPO's preset by default, 0 for best-of-n alone."""
    seeds: int = 5
    """Repetitions, each with its own play, answers and models."""
    jobs: int = field(default_factory=lambda: min(2, os.cpu_count() or 1))
    """Seeds at a time."""
    world: tuple[str, ...] = ()
    """Settings of the environment, NAME=VALUE."""
    out: Path | None = None
    """Folder of the study; under `runs` by default. The same settings go on where they stopped."""
    quiet: bool = False
    """No progress bars."""
    json: bool = False
    """Print the results as JSON and nothing else."""

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("jobs", 1), ("ensemble", 1), ("episodes", 8 * AT_MOST)):
            if getattr(self, name) < least:
                raise ProxygapError(f"--{name} {getattr(self, name)}: at least {least} is needed")
        if not self.comparisons or min(*self.comparisons, *self.widths, 1) < 1:
            raise ProxygapError(f"--comparisons {self.comparisons} and --widths {self.widths}: numbers from 1 are needed")
        if not 0 <= self.wavering <= 1 or not 0 <= self.mistakes < 0.5 or not self.rationality > 0:
            raise ProxygapError("--wavering from 0 to 1, --mistakes from 0 to below 0.5 and --rationality above 0 are needed")

    def run(self) -> None:
        """Does what is missing, and shows the curves."""
        from .report.overoptimization import show

        show(self.results(), self, self.folder)

    def results(self) -> list[Curve]:
        """The curve of every variant, after doing what is missing; the page is written too."""
        from .report.overoptimization import write_page

        _ = self.length, self.reference(0)  # which complain, if at all, before there is a folder
        with runs.locked(self.folder), self._recorded():
            run_tasks(self.tasks(), self.jobs, self.quiet or self.json)
            stored = [self._stored(seed) for seed in range(self.seeds)]
            found = best_of_curves(self.variants, stored)
            if self.steps != 0:
                run_tasks(self.trainings(), self.jobs, self.quiet or self.json)
                found += [self._learning_curve(curve, stored) for curve in found if curve.variant in self.trained]
            runs.replace_file(self.folder / RESULTS, json.dumps([summary(curve) for curve in found]).encode())
            write_page(found, self, self.folder)
        return found

    @cached_property
    def environment(self) -> ProxyEnv[Any]:
        """The environment, with the study's settings."""
        return make(self.env, **parse_pairs(self.world))

    @cached_property
    def length(self) -> int:
        """Steps of the stretches that are compared. Raises ProxygapError where episodes are shorter."""
        return stretch_length(self.stretch, self.environment.name, self.environment.horizon)

    @property
    def variants(self) -> list[Variant]:
        """The models that are compared: those of an ensemble follow each other, for they are one fit."""
        numbers = sorted(set(self.comparisons))
        middle = numbers[len(numbers) // 2]
        found = [Variant(number, 32) for number in numbers]
        found += [Variant(middle, width) for width in sorted(set(self.widths) - {32})]
        ways = ("mean", "worst", "penalised") if self.ensemble > 1 else ()
        return found + [Variant(middle, 32, self.ensemble, way) for way in ways]

    @property
    def trained(self) -> list[Variant]:
        """Those that PPO optimises too."""
        return [variant for variant in self.variants if variant.width == 32 and variant.aggregate != "penalised"]

    @cached_property
    def decisive(self) -> dict[str, Any]:
        """What decides a seed: seeds can be added to a study, but the rest can't change."""
        shared = (
            "comparisons",
            "widths",
            "ensemble",
            "inputs",
            "rationality",
            "mistakes",
            "script",
            "wavering",
            "episodes",
            "steps",
        )
        name = self.env if ":" in self.env else self.environment.name
        plain = {key: list(value) if isinstance(value := getattr(self, key), tuple) else value for key in shared}
        return {"env": name, "world": parse_pairs(self.world), "stretch": self.length} | plain

    @cached_property
    def folder(self) -> Path:
        """Where the study is stored."""
        key = key_of(self.decisive)
        return self.out or Path("runs") / f"overoptimization-{self.environment.name}-{key}"

    def _recorded(self) -> AbstractContextManager[None]:
        """Keeps the manifest. Raises ProxygapError if the folder holds a study with other settings."""
        return recorded(self.folder, "overoptimization", self.decisive, self.seeds)

    def tasks(self) -> list[Task]:
        """One for every seed."""
        fresh = replace(self)  # without what is cached: a worker makes an environment of its own
        return [Task(f"seed {seed}", partial(fresh.measured, seed)) for seed in range(self.seeds)]

    def trainings(self) -> list[Task]:
        """PPO on every variant's reward that it optimises, for every seed."""
        fresh = replace(self)
        pairs = [(variant, seed) for seed in range(self.seeds) for variant in self.trained]
        return [Task(f"{variant}, seed {seed}", partial(fresh.learn, variant, seed)) for variant, seed in pairs]

    def _path(self, seed: int) -> Path:
        return self.folder / f"seed{seed}" / RETURNS

    def _model(self, variant: Variant, seed: int) -> Path:
        """Where its model is stored; those of an ensemble share one."""
        return self.folder / f"seed{seed}" / f"model-{variant.comparisons}-{variant.width}-{variant.members}.safetensors"

    def _run(self, variant: Variant, seed: int) -> Path:
        return self.folder / f"seed{seed}" / f"ppo-{variant.comparisons}-{variant.members}-{variant.aggregate}"

    def _stored(self, seed: int) -> dict[str, Array]:
        with np.load(self._path(seed), allow_pickle=False) as stored:
            return dict(stored)

    def measured(self, seed: int, report: Report) -> None:
        """Plays, asks, fits and rates for one seed, and stores the returns: nothing, where they are stored already."""
        if self._path(seed).exists():
            return
        import torch

        torch.set_num_threads(1)
        env, rng = self.environment, np.random.default_rng(seed)
        teaching, fresh, ceiling = self._comparisons(seed, rng)
        self._path(seed).parent.mkdir(exist_ok=True)
        groups = [list(group) for _, group in groupby(self.variants, lambda v: (v.comparisons, v.width, v.members))]
        models, accuracy = [], []
        for done, group in enumerate(groups):
            model = self._fit(group[0], teaching, seed)
            model.save(self._model(group[0], seed))
            models.append((model, group))
            for variant in group:
                model.aggregate = variant.aggregate
                accuracy.append(model.score(fresh))
            report({"fraction": 0.5 * (done + 1) / len(groups)})
        gold, learned = [], []
        for begin in range(0, self.episodes, TOGETHER):
            number = min(TOGETHER, self.episodes - begin)
            place = seed * STREAMS + STREAMS // 2 + begin
            played = collect(env, self.reference(place), number, place)
            gold.append(played.true.sum(1))
            learned.append(_ratings(models, played.segments()))
            report({"fraction": 0.5 + 0.5 * (begin + number) / self.episodes})
        with replacing(self._path(seed)) as beside, open(beside, "wb") as file:
            np.savez_compressed(
                file, gold=np.concatenate(gold), learned=np.concatenate(learned, 1), accuracy=accuracy, ceiling=ceiling
            )

    def learn(self, variant: Variant, seed: int, report: Report) -> None:
        """Trains PPO on the variant's reward from a clone of the reference; goes on, or does nothing, where that was begun."""
        from ..agents.regularized import NearReference, clone
        from ..agents.training import train
        from ..reward_models.preference import PreferenceReward

        model = PreferenceReward.load(self._model(variant, seed))
        model.aggregate = variant.aggregate
        reference = clone(self.environment, self.reference(seed * STREAMS), noise=0.0, seed=seed)
        settings: dict[str, Any] = {} if self.steps is None else {"steps": self.steps}
        train(
            self.environment,
            self._run(variant, seed),
            reward=NearReference(model, reference),
            seed=seed,
            resume=True,
            progress=report,
            name=self.decisive["env"],
            ent_coef=0.0,  # which would be a second thing to optimise
            **settings,
        )

    def _learning_curve(self, best_of: Curve, stored: Sequence[Mapping[str, Array]]) -> Curve:
        """PPO's curve of the variant whose curve of best-of-n this is."""
        metrics = [runs.metrics(self._run(best_of.variant, seed)) for seed in range(self.seeds)]
        row = self.variants.index(best_of.variant)
        return learning_curve(best_of, metrics, np.array([seed["learned"][row] for seed in stored]))

    def _fit(self, variant: Variant, teaching: "Comparisons", seed: int) -> Any:
        """A preference model of that size, learned from the first comparisons; members differ by seed and by a bootstrap."""
        from ..reward_models.preference import PreferenceReward

        width, several = variant.width, variant.members > 1
        model = PreferenceReward(
            ensemble=variant.members, hidden=(width, width), bootstrap=several, inputs=self.inputs, seed=seed
        )
        return model.fit(teaching[np.arange(variant.comparisons)])

    def _comparisons(self, seed: int, rng: np.random.Generator) -> tuple["Comparisons", "Comparisons", float]:
        """The largest number of comparisons to learn from, as many fresh ones, and how many of these can be foretold."""
        from ..reward_models.teachers import compared

        halves, teacher = self.pairs(seed, rng)
        teaching, fresh = (compared(teacher, *half, self.environment.name, rng) for half in halves)
        return teaching, fresh, teacher.bayes_accuracy(*halves[1], against="answers")

    def pairs(self, seed: int, rng: np.random.Generator) -> "tuple[list[tuple[Stretches, Stretches]], Teacher]":
        """Pairs of stretches to learn from, as many fresh ones, and the teacher who compares them."""
        from ..reward_models.feedback import cut
        from ..reward_models.teachers import Mistaken, Rational

        asked, halves = max(self.comparisons), []
        episodes = max(TEACHING, -(-2 * asked // (self.environment.horizon - self.length + 1)))
        for half in range(2):
            place = seed * STREAMS + half * STREAMS // 4
            played = collect(self.environment, self.reference(place), episodes, place)
            stretches = cut(played.segments(), played.true, played.terms, self.length, 2 * asked, rng)
            halves.append(stretches.pairs(asked, rng))
        spread = float(np.std([side.true.sum(1) for side in halves[0]]))
        if not spread > 0:
            raise ProxygapError(f"all stretches of {self.length} steps have the same true return: there is nothing to compare")
        return halves, Mistaken(Rational(self.rationality / spread), self.mistakes)

    def reference(self, seed: int) -> Policy:
        """The policy that plays: a script that wavers, in each episode as much as was drawn for it."""
        env = self.environment
        script = self.script or next(iter(env.policies()), None)
        chance = random_policy(env, seed)
        return chance if script is None else wavering(scripted(env, script), chance, self.wavering, seed)


def wavering(policy: Policy, other: Policy, most: float, seed: int) -> Policy:
    """A policy that lets `other` act instead in some steps: each episode has its own share of those, drawn from 0 to `most`."""
    rng, share = np.random.default_rng((seed, 1)), np.zeros(0)  # a stream of its own: `other` may have been given the seed

    def wavers(loop: Any) -> Array:
        nonlocal share
        drawn = most * rng.random(len(loop.start))
        share = np.where(loop.start, drawn, share) if len(share) == len(drawn) else drawn
        own, others = policy(loop), other(loop)
        lets = rng.random(len(share)) < share
        return np.where(lets.reshape(-1, *[1] * (own.ndim - 1)), others, own)

    return wavers


def _ratings(models: Sequence[tuple[Any, Sequence[Variant]]], segments: Any) -> Array:
    """The learned return of every episode by each variant, [V, N]."""
    found = []
    for model, group in models:
        for variant in group:
            model.aggregate = variant.aggregate
            found.append(model.returns(segments))
    return np.array(found)
