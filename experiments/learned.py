"""Learning a reward from comparisons while an agent learns from that reward: collect, ask, fit, train, and ask again.

The agent is trained once, by `agents.training.train`, and paid by one function whose model is exchanged at every evaluation:
the agent as it is then plays, a teacher compares stretches of that, and the model is fitted anew to all answers so far. A round
needs nothing that is not on disk (checkpoint, answers), so that a run which was stopped goes on as if it had not been.

Christiano et al. (2017), "Deep reinforcement learning from human preferences", arXiv:1706.03741: sections 2.2.3 (an ensemble
fitted to pairs), 2.2.4 (asking where its members disagree), and a rate of questions that falls hyperbolically.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from scipy.special import expit

from ..agents import runs, snapshots
from ..agents.algorithms import algorithm, default_algorithm, preset
from ..agents.checkpoints import latest
from ..agents.rollouts import MOST_WORLDS, Trajectories, collect, trained
from ..agents.trained import Trained, untrained
from ..agents.training import STREAMS, Progress, settings_of, train
from ..envs.batch import Array
from ..envs.core import Observed, ProxygapError
from ..envs.registry import make
from ..reward_models.feedback import Comparisons, Stretches, cut, places
from ..reward_models.preference import PreferenceReward
from ..reward_models.teachers import Greedy, Ledger, Mistaken, Myopic, Rational, Teacher, Undecided, compared
from .settings import stretch_length

TEACHERS: dict[str, Teacher] = {
    "rational": Rational(),
    "greedy": Greedy(),
    "mistaken": Mistaken(Greedy(), 0.1),
    "myopic": Rational(sees=Myopic(0.9)),
}
FEEDBACK, MODEL = "comparisons.safetensors", "reward.safetensors"  # in a run's folder
ROUNDS = 10  # of asking, unless `evaluations` says otherwise
FALL = 10.0  # how much rarer questions are at the end than at the beginning, less one
POOL = 10  # pairs to choose each comparison from
FEWEST, MEASURED, PAIRS = 8, 16, 200  # episodes to ask about at least; episodes and pairs of them to measure a model on
ASKING, APART = 2**54, 2**10  # where the streams of these episodes begin, beyond those of evaluations; from round to round
SEEN = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)  # spaces of arrays of numbers


@dataclass(frozen=True)
class Asking:
    """What is asked, and of whom."""

    comparisons: int = 500  # in all; those that a teacher skips count
    length: int | None = None  # steps of each stretch; None: 50, or half of an episode where that is less
    initial: float = 0.1  # share of the comparisons that is asked before training
    choice: Literal["disagreement", "uniform"] = "disagreement"  # which pairs are asked, once there is a model
    teacher: Teacher = TEACHERS["rational"]

    def __post_init__(self) -> None:
        if self.comparisons < 1 or not 0 < self.initial <= 1:
            raise ProxygapError(
                f"{self.comparisons} comparisons, a share of {self.initial} of them before training: at least 1 comparison is "
                "needed, and a share above 0 and up to 1"
            )

    def plan(self, rounds: int) -> list[int]:
        """How many comparisons each round asks, exactly `comparisons` in all: after the first the rate is 1 / (1 + 10 t).

        t is the share of the training that is done. In the paper's Atari games the rate after T frames is about proportional to
        5e6 / (T + 5e6) (appendix A.2); how far it falls until the end, by a factor of 11, is our choice.
        """
        if rounds == 1:
            return [self.comparisons]
        first = max(1, round(self.initial * self.comparisons))
        upto = (1 / (1 + FALL * np.arange(1, rounds) / rounds)).cumsum()
        return [first, *np.diff(np.rint(upto / upto[-1] * (self.comparisons - first)).astype(int), prepend=0).tolist()]


@dataclass(frozen=True)
class Learned:
    """What training on preferences came to."""

    agent: Trained
    model: PreferenceReward
    comparisons: Comparisons  # those with an answer
    ledger: Ledger  # comparisons asked, and steps of the episodes that were asked about
    records: list[dict[str, Any]]  # the run's metrics: a row a round, and the end


def train_on_preferences(
    env: Any,
    folder: str | Path,
    asking: Asking | None = None,
    *,
    model: PreferenceReward | None = None,
    proxy: str | Mapping[str, float] | None = None,
    algo: str | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
    **overrides: Any,
) -> Learned:
    """Trains an agent on a reward that is learned meanwhile from comparisons of its own stretches; `folder` keeps the run.

    It asks at the beginning of each of `evaluations` (10) equal parts of the training, which takes exactly `steps`: to that end
    the preset's `n_envs`, `n_steps` and `batch_size` may become a little smaller. In every row of the run's metrics are also
    `comparisons` (answered), `asked`, `asking_steps`, and, of the model just fitted, on fresh episodes that nobody is asked
    about: `accuracy`, the share of pairs that it puts in the order of their true returns (None where no pair has one), and
    `learned`, the mean return. `progress` is handed `train`'s rows with the latest of these; all else is as in `train`.

    Raises ProxygapError for no comparisons, stretches longer than episodes, worlds that are not shown as arrays, algorithms
    that replay old rewards, steps that can't be cut into whole rollouts, and as `train` does; Interrupted as `train` does.
    """
    if isinstance(env, str):
        name, env = name or (env if ":" in env else None), make(env)
    asking, algo = asking or Asking(), algo or default_algorithm(env.name)
    _check_shown(env)
    length = stretch_length(asking.length, env.name, env.horizon)
    if algorithm(algo).greedy:
        raise ProxygapError(f"{algo} replays rewards of models that are gone: take one that doesn't, such as ppo or a2c")
    settings = whole_rollouts(preset(env.name, algo, overrides))
    rounds = min(settings.pop("evaluations", ROUNDS), settings["steps"] // (settings["n_envs"] * settings["n_steps"]))
    if rounds < 1:
        raise ProxygapError(f"evaluations={rounds}: the teacher is asked at evaluations, so at least 1 is needed")
    model = replace(model or PreferenceReward(ensemble=3, steps=1000, patience=200), seed=seed)
    if asking.choice == "disagreement" and model.ensemble < 2:
        raise ProxygapError("an ensemble of 1 can't disagree: take more members, or choose comparisons uniformly")
    player = untrained(settings_of(env, algo=algo, seed=seed, **settings)[0], env)
    learning = _Learning(env, Path(folder), asking, length, rounds, model, player, seed, progress)
    if resume:
        learning.check_same()
    settings |= {"proxy": proxy, "algo": algo, "seed": seed, "evaluations": rounds, "resume": resume, "name": name}
    agent = train(env, folder, reward=learning.preference, progress=learning.progress, **settings)
    learning.catch_up()
    assert learning.answered is not None
    return Learned(agent, learning.model, learning.answered, learning.ledger, runs.metrics(folder))


def _check_shown(env: Any) -> None:
    """Raises ProxygapError where a model can't be shown the steps."""
    for what, space in (("observation", env.observation_space), ("action", env.action_space)):
        if not isinstance(space, SEEN):
            kind = type(space).__name__
            raise ProxygapError(f"{env.name} has a {kind} {what} space: a model is shown arrays of numbers, so flatten it")


def whole_rollouts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the largest `n_envs`, `n_steps` and `batch_size`, up to theirs, that use exactly all `steps`.

    Raises ProxygapError where rollouts would have to shrink to less than half.
    """
    steps, wanted = settings["steps"], settings["n_envs"] * settings["n_steps"]
    n_envs = _divisor(steps, settings["n_envs"])
    n_steps = _divisor(steps // n_envs, settings["n_steps"])
    if 2 * n_envs * n_steps < min(wanted, steps):
        raise ProxygapError(f"{steps} steps can't be cut into rollouts of about {wanted}: take a multiple of {wanted}")
    found = {**settings, "n_envs": n_envs, "n_steps": n_steps}
    return found | ({"batch_size": _divisor(n_envs * n_steps, found["batch_size"])} if "batch_size" in found else {})


def _divisor(number: int, most: int) -> int:
    return next(d for d in range(min(number, most), 0, -1) if number % d == 0)


@dataclass
class _Learning:
    """The reward that pays the agent, and the rounds in which it is learned."""

    env: Any
    folder: Path
    asking: Asking
    length: int  # of stretches, steps
    rounds: int
    model: PreferenceReward
    player: Any  # is given the learner's weights at every round: to build one then would disturb what the learner draws
    seed: int
    tell: Progress | None

    def __post_init__(self) -> None:
        self.ledger, self.latest = Ledger(self.asking.comparisons), {}

    @cached_property
    def answered(self) -> Comparisons | None:
        """All comparisons so far, to which the model is fitted; of a run that goes on those that its checkpoint knew of."""
        checkpoint = latest(self.folder)
        rows = runs.metrics(self.folder)[: checkpoint.numbers["rows"]] if checkpoint else []
        done = [row for row in rows if "asked" in row]
        if not done:
            return None
        self.latest, self.ledger.asked, self.ledger.taken = _told(done[-1]), done[-1]["asked"], done[-1]["asking_steps"]
        answered, number = Comparisons.load(self.folder / FEEDBACK), done[-1]["comparisons"]
        if answered.env != self.env.name or len(answered) < number:
            raise ProxygapError(
                f"{self.folder / FEEDBACK} holds {len(answered)} comparisons of {answered.env}, and the run asked {number} of "
                f"{self.env.name}: put its own file back"
            )
        answered = answered[:number]
        self.model.fit(answered)
        return answered

    def preference(self, t: Observed) -> Array:
        """What the model of the moment pays [B]; nothing before there is one."""
        return np.zeros(len(t.terminated)) if self.answered is None else self.model(t)

    def progress(self, row: Mapping[str, Any]) -> None:
        """What `train` calls at its boundaries."""
        self.catch_up()
        if self.tell:
            self.tell({**row, **self.latest})

    def catch_up(self) -> None:
        """Does the round of the last evaluation, if that was not done: asks, fits, and completes the row of metrics."""
        rows = runs.metrics(self.folder)
        if "asked" in rows[-1]:
            return
        answered, number = self.answered, (*self.asking.plan(self.rounds), 0)[len(rows) - 1]
        checkpoint = latest(self.folder)
        assert checkpoint is not None
        snapshots.load_weights(self.player, checkpoint.arrays)
        rng, seed = np.random.default_rng([self.seed, len(rows)]), self.seed * STREAMS + ASKING + 2 * APART * len(rows)
        if number:
            new = self._ask(number, seed, rng)
            self.answered = new if answered is None else Comparisons.joined([answered, new])
            self.model.fit(self.answered)
            self.answered.save(self.folder / FEEDBACK)
            self.model.save(self.folder / MODEL)
        rows[-1] |= self._measured(seed + APART, rng)
        self.latest = _told(rows[-1])
        runs.update_manifest(self.folder, preference=self._described())
        runs.replace_metrics(self.folder, rows)

    def _ask(self, number: int, seed: int, rng: np.random.Generator) -> Comparisons:
        """Answers about the agent as it plays now, in so many episodes that the stretches asked about need not overlap."""
        episodes = min(max(ceil(2 * number * self.length / self.env.horizon), FEWEST), MOST_WORLDS)
        played = collect(self.env, trained(self.player, seed=seed), episodes, seed)
        self.ledger.spend(steps=played.valid.size)  # worlds whose episode ended early went on until the last had
        active = self.answered is not None and self.asking.choice == "disagreement"
        pool = number * POOL if active else number
        first, second = self._stretches(played, 2 * pool, rng).pairs(pool, rng)
        if active:
            asked = Comparisons(first.segments, second.segments, np.full(pool, 0.5), self.env.name)
            doubted = np.argsort(-expit(self.model.differences(asked)).std(0), kind="stable")[:number]
            first, second = first[doubted], second[doubted]
        return compared(self.asking.teacher, first, second, self.env.name, rng, self.ledger)

    def _measured(self, seed: int, rng: np.random.Generator) -> dict[str, Any]:
        """What a row of metrics also has; measuring is not part of the budgets."""
        assert self.answered is not None
        played = collect(self.env, trained(self.player, seed=seed), MEASURED, seed)
        return {
            "comparisons": len(self.answered),
            "asked": self.ledger.asked,
            "asking_steps": self.ledger.taken,
            "accuracy": self._accuracy(played, rng),
            "learned": float(self.model.returns(played).mean()),
        }

    def _accuracy(self, played: Trajectories, rng: np.random.Generator) -> float | None:
        if self._places(played) < 2:
            return None
        first, second = self._stretches(played, 2 * PAIRS, rng).pairs(PAIRS, rng)
        truth = compared(Undecided(Greedy(), 0.0), first, second, self.env.name, rng)
        return self.model.score(truth) if (truth.label != 0.5).any() else None

    def _stretches(self, played: Trajectories, number: int, rng: np.random.Generator) -> Stretches:
        """`number` stretches, or as many as there are. Raises ProxygapError where all episodes are shorter than one."""
        number = max(min(number, self._places(played)), 1)
        return cut(played, played.true, played.terms, self.length, number, rng)

    def _places(self, played: Trajectories) -> int:
        """How many different stretches the episodes hold."""
        return int(places(played, self.length).sum())

    def _described(self) -> dict[str, Any]:
        """All settings that `train` does not know of, ready for JSON."""
        teacher = re.sub(r"<function (\w+) at \w+>", r"\1", repr(self.asking.teacher))
        return snapshots.plain({**vars(self.asking), "length": self.length, "teacher": teacher, "model": asdict(self.model)})

    def check_same(self) -> None:
        """Raises ProxygapError where the run in the folder, if there is one, asks otherwise than this."""
        stored = runs.manifest(self.folder).get("preference") if (self.folder / runs.MANIFEST).exists() else None
        here = self._described()
        if stored and (differing := [key for key in here if here[key] != stored.get(key)]):
            wanted = "; ".join(f"{key} was {stored.get(key)!r} and is now {here[key]!r}" for key in differing)
            raise ProxygapError(f"the run in {self.folder} asks otherwise: {wanted}")


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """What progress shows of a row of metrics."""
    return {name: row[name] for name in ("comparisons", "accuracy", "learned")}
