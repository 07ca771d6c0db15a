"""Which number of a reward model foretells what an agent comes to that is trained on it?

Reward models of very different quality learn from the same comparisons of a reference's play: from few or many, from teachers
with weaknesses, as an ensemble, blind to observations, and from shuffled answers as a negative control. Each is measured in all
the usual ways (`reward_measures`). Then a fresh agent is trained on each, frozen, as McKinney et al. 2023 (arXiv:2301.03652)
do: an agent that learned along with its model may do well for what the model said on the way. Per seed, does a number rank the
models as the true returns of their agents do (`reward_ranks`)? The true reward stands beside as an anchor, and is not ranked.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from ..agents import runs
from ..agents.rollouts import Trajectories, collect, evaluate
from ..envs.batch import Array
from ..envs.core import ProxygapError
from ..envs.tabular import LARGEST_DISCOUNT
from ..reward_models.feedback import Comparisons, cut, places
from ..reward_models.teachers import Biased, Mistaken, Myopic, Rational, Teacher, the_truth
from .overoptimization import STREAMS, Overoptimization
from .reward_measures import Distances, Learned, Sides, Truth, accuracy, distances_to, judged
from .reward_ranks import OUTCOME, SIGNS, Measured, summary
from .settings import parse_pairs
from .study import Report, Task, key_of, recorded, run_tasks

TRUTH = "the truth"
RESULTS, FOUND = "results.json", "numbers.json"
MISTAKES, MYOPIA, MEMBERS = 0.3, 0.5, 5  # of the mistaken teacher, of the myopic one, of the ensemble
LEARNING = {"steps": 1000, "patience": 200}  # gradient steps of a model
EPISODES, PAIRS = 128, 500  # of an agent's play; pairs of it that are judged, and at least of fresh ones
EVALUATIONS = 5  # of an agent while it learns: where a training that is killed goes on


@dataclass(frozen=True)
class Model:
    """A reward model of the study."""

    name: str
    comparisons: int
    teacher: Literal["plain", "mistaken", "myopic", "biased"] = "plain"  # biased: sees what the default proxy pays for
    members: int = 1
    inputs: tuple[str, ...] = ("observation", "action", "next_observation")
    shuffled: bool = False


@dataclass(frozen=True)
class RewardQuality:
    """Which number foretells what an agent comes to that is trained on a learned reward?

    Measures accuracy, calibration and distances of reward models of very different quality, and trains a fresh agent on each.

    Examples:
        proxygap study reward-quality
        proxygap study reward-quality vase_room --seeds 10
        proxygap study reward-quality tomato_watering --comparisons 50 500 --steps 200000
    """

    env: tyro.conf.Positional[str] = "boat_race_strict"
    """Environment: a name (see `proxygap envs`), or FILE.py:Class."""
    comparisons: tuple[int, ...] = (20, 100, 500)
    """How many comparisons models learn from: ensembles the middle number, those with another weakness the largest."""
    stretch: int | None = None
    """Steps of the stretches that are compared; by default 50, or half of an episode where that is less."""
    rationality: float = 3.0
    """Log odds of a teacher's choice for each standard deviation by which the returns that it sees of two stretches differ."""
    steps: int | None = None
    """Steps of training for each agent; those of the environment's preset by default."""
    seeds: int = 5
    """Repetitions, each with its own play, answers, models and agents."""
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
        for name in ("seeds", "jobs", "steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ProxygapError(f"--{name} {value}: at least 1 is needed")
        if min(self.comparisons, default=0) < 2:
            raise ProxygapError(f"--comparisons {self.comparisons}: numbers from 2 are needed")
        if not 0 < self.rationality < np.inf:
            raise ProxygapError(f"--rationality {self.rationality}: a number above 0 is needed")

    def run(self) -> None:
        """Does what is missing, and shows the numbers."""
        from .report.reward_quality import show

        show(self.results(), self)

    def results(self) -> Measured:
        """Every number of every model, after doing what is missing; the page is written too."""
        from .report.reward_quality import write_page

        decisive = self.decisive
        self.play.reference(0)  # both complain, if at all, before there is a folder
        with runs.locked(self.folder), recorded(self.folder, "reward-quality", decisive, self.seeds):
            run_tasks(self.tasks(), self.jobs, self.quiet or self.json)
            found = self.stored()
            runs.replace_file(self.folder / RESULTS, json.dumps(summary(found, [model.name for model in self.models])).encode())
            write_page(found, self)
        return found

    @cached_property
    def play(self) -> Overoptimization:
        """Whose reference plays what is compared."""
        asked = (max(*self.comparisons, PAIRS),)  # and as many fresh ones
        return Overoptimization(self.env, asked, stretch=self.stretch, rationality=self.rationality, world=self.world)

    @cached_property
    def models(self) -> list[Model]:
        """The truth, which learns nothing, and then those that learn."""
        numbers = sorted(set(self.comparisons))
        middle, most = numbers[len(numbers) // 2], numbers[-1]
        return [
            Model(TRUTH, 0),
            *(Model(f"{number} comparisons", number) for number in numbers),
            Model("ensemble", middle, members=MEMBERS),
            Model("mistaken teacher", most, "mistaken"),
            Model("myopic teacher", most, "myopic"),
            Model("biased teacher", most, "biased"),
            Model("blind", most, inputs=("action",)),
            Model("shuffled answers", most, shuffled=True),
        ]

    @cached_property
    def decisive(self) -> dict[str, Any]:
        """What decides a seed: seeds can be added to a study, but the rest can't change."""
        name = self.env if ":" in self.env else self.play.environment.name
        chosen = {"comparisons": list(self.comparisons), "rationality": self.rationality, "steps": self.steps}
        return {"env": name, "world": parse_pairs(self.world), "stretch": self.play.length} | chosen

    @cached_property
    def folder(self) -> Path:
        """Where the study is stored."""
        return self.out or Path("runs") / f"reward-quality-{self.play.environment.name}-{key_of(self.decisive)}"

    def tasks(self) -> list[Task]:
        """One for every seed."""
        fresh = replace(self)  # without what is cached: a worker makes an environment of its own
        return [Task(f"seed {seed}", partial(fresh.measured, seed)) for seed in range(self.seeds)]

    def stored(self) -> Measured:
        """Every number of every model and seed, from disk."""
        rows = [[json.loads((self._path(m, seed) / FOUND).read_text()) for seed in range(self.seeds)] for m in self.models]
        return {name: np.array([[cell.get(name) for cell in row] for row in rows], float) for name in (*SIGNS, OUTCOME)}

    def _path(self, model: Model, seed: int) -> Path:
        return self.folder / f"seed{seed}" / model.name.replace(" ", "-")

    def measured(self, seed: int, report: Report) -> None:
        """Teaches, measures and optimises the models of one seed, and stores their numbers: those that are not stored yet."""
        import torch

        torch.set_num_threads(1)
        halves, _ = self.play.pairs(seed, np.random.default_rng(seed))
        truth = Truth(self.play.environment, self.teacher("plain", halves[0]))
        place = seed * STREAMS + 3 * STREAMS // 4
        distances = distances_to(truth, self.play.reference(place), self.discount, place)
        for done, model in enumerate(self.models):

            def progress(row: Mapping[str, Any], done: int = done) -> None:
                report({**row, "fraction": (done + row["fraction"]) / len(self.models)})

            if not (path := self._path(model, seed) / FOUND).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                found = self._numbers(model, seed, halves, truth, distances, progress)
                known = {name: value for name, value in found.items() if np.isfinite(value)}
                runs.replace_file(path, json.dumps(known).encode())
            progress({"fraction": 1.0})

    def _numbers(
        self, model: Model, seed: int, halves: list[Sides], truth: Truth, distances: Distances, progress: Report
    ) -> dict[str, float]:
        """All numbers of a model, of those that are known; its agent is trained on the way."""
        taught, fresh = halves
        rng, learns = np.random.default_rng((seed, 2)), model.name != TRUTH
        reward = self._fitted(model, seed, taught) if learns else truth
        said = reward.probability(fresh)
        found = {"own accuracy": accuracy(said, self.answers(model, fresh, taught, rng))}
        found |= judged(said, truth.probability(fresh)) | distances(reward)
        played, returns = self._optimised(model, seed, reward if learns else "true", progress)
        if pairs := _pairs(played, self.play.length, rng):
            own = judged(reward.probability(pairs), truth.probability(pairs))
            found |= {f"on-policy {name}": value for name, value in own.items()}
        return found | returns

    def teacher(self, kind: str, taught: Sides) -> Teacher:
        """The teacher of that kind, by what it sees as rational as was asked for; who never sees a difference tosses coins."""
        env = self.play.environment
        proxy = Biased.named(env.weights(next(iter(env.proxies))), env.term_names)
        sees = {"myopic": Myopic(MYOPIA), "biased": proxy}.get(kind, the_truth)
        spread = float(np.std([sees(side).sum(1) for side in taught]))
        teacher = Rational(self.rationality / spread if spread > 0 else 0.0, sees)
        return Mistaken(teacher, MISTAKES) if kind == "mistaken" else teacher

    def answers(self, model: Model, sides: Sides, taught: Sides, rng: np.random.Generator) -> Array:
        """What the model is told of pairs, [N]."""
        label = self.teacher(model.teacher, taught).ask(*sides, rng).label
        return rng.permutation(label) if model.shuffled else label

    def _fitted(self, model: Model, seed: int, taught: Sides) -> Learned:
        from ..reward_models.preference import PreferenceReward

        first, second = taught
        label = self.answers(model, taught, taught, np.random.default_rng((seed, 1)))  # one teacher, the same answers
        told = Comparisons(first.segments, second.segments, label, self.play.environment.name)[: model.comparisons]
        several = model.members > 1
        settings: dict[str, Any] = {"inputs": model.inputs, "seed": seed} | LEARNING
        fitted = PreferenceReward(ensemble=model.members, bootstrap=several, **settings).fit(told)
        fitted.save(self._path(model, seed) / "model.safetensors")
        true = np.concatenate([first.true, second.true])
        return Learned(fitted, float(true.mean()), float(true.std()))

    @cached_property
    def algorithm(self) -> str:
        """What agents learn by."""
        from ..agents.algorithms import default_algorithm  # stable-baselines3: not needed to parse a command line

        return default_algorithm(self.play.environment.name)

    @cached_property
    def discount(self) -> float:
        """That of the agents, at which distances are measured too."""
        from ..agents.algorithms import preset

        return min(preset(self.play.environment.name, self.algorithm)["gamma"], LARGEST_DISCOUNT)

    def _optimised(self, model: Model, seed: int, reward: Any, progress: Report) -> tuple[Trajectories, dict[str, float]]:
        """Play of a fresh agent that was trained on the reward, and its returns; a training that was stopped goes on."""
        from ..agents.training import train

        env, place = self.play.environment, seed * STREAMS + STREAMS // 2
        settings: dict[str, Any] = {} if self.steps is None else {"steps": self.steps}
        agent = train(
            env,
            self._path(model, seed) / "agent",
            reward=reward,
            algo=self.algorithm,
            seed=seed,
            evaluations=EVALUATIONS,
            resume=True,
            progress=progress,
            name=self.decisive["env"],
            **settings,
        )
        returns = evaluate(env, agent.policy(place), EPISODES, place, reward=reward)
        played = collect(env, agent.policy(place), EPISODES, place)  # the same episodes
        return played, {"learned return": float(returns.paid.mean()), OUTCOME: float(returns.true.mean())}


def _pairs(played: Trajectories, length: int, rng: np.random.Generator) -> Sides | None:
    """Pairs of stretches of the play, up to PAIRS; None where there are none because episodes are shorter."""
    if (most := int(places(played, length).sum())) < 2:
        return None
    stretches = cut(played.segments(), played.true, played.terms, length, min(most, 2 * PAIRS), rng)
    return stretches.pairs(len(stretches) // 2, rng)
