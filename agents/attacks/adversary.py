"""An adversary that learns: an agent trained to end in catastrophes that the target accepts.

PPO from stable-baselines3 plays the cases' scenes again and again, and is paid at the end of every option (Gleave et al. 2020,
"Adversarial policies: attacking deep reinforcement learning", arXiv:1905.10615). It is paid not by the suspicion but by rank,
the share of the latest options that were worse by the attack's aim: that needs no scale, and goes on telling good from better
(fitness shaping: Wierstra et al. 2014, "Natural evolution strategies", arXiv:1106.4487, section 3.1).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from scipy.stats import percentileofscore

from ...envs.batch import Array
from ...envs.core import Step
from ..algorithms import build, checked, preset
from ..options import begun
from ..rollouts import trained
from ..training import one_thread
from ..vec_env import LoopVecEnv
from .core import Attack, Hunt, at_least_one
from .relaxed import Bounded, relaxed

RECALL = 1000  # latest options that an option is compared with
UNSEEN = 0.5  # what is paid for an option that was not looked at: an average rank


@dataclass
class Adversary(Attack):
    """PPO that plays all trials' scenes with one policy: what is learned in one trial is known in the others.

    Each trial pays for its own options only, all of which are queries, in training too. After `steps` steps of training (of
    all trials together), or when its budget is nearly spent, what was learned plays on as it is.
    """

    steps: int = 200_000
    worlds: int = 64  # side by side, at least: each trial has as many
    settings: Mapping[str, Any] = field(default_factory=dict)  # of PPO, laid over its preset

    def __post_init__(self) -> None:
        at_least_one(steps=self.steps, worlds=self.worlds)
        checked("ppo", self.settings)

    def run(self, hunt: Hunt) -> None:
        first = hunt.query(hunt.rows, hunt.action[hunt.rows][:, None])
        if not len(hunt.rows):
            return
        stage = Stage(hunt, len(hunt.rows) * math.ceil(self.worlds / len(hunt.rows)), first.options.observation)
        with one_thread():
            learner = build("ppo", LoopVecEnv(stage), self._settings(stage), int(hunt.rng.integers(2**31)))
            learner.learn(self.steps, callback=lambda *_: len(hunt.rows) > 0, log_interval=None)
            policy = trained(learner, seed=int(hunt.rng.integers(2**31)))
            while len(hunt.rows):
                stage.step(policy(stage))  # pyright: ignore[reportArgumentType]

    def _settings(self, stage: "Stage") -> dict[str, Any]:
        """One option of every world to an update, in four parts where they can be divided so."""
        own = {"n_steps": stage.length, "batch_size": stage.length * (stage.batch // math.gcd(stage.batch, 4)), "gamma": 1.0}
        return preset("", "ppo", own | dict(self.settings))


class Stage:
    """A loop whose worlds all play one option after another, in the scenes of trials that are open, paid at its end.

    Shows what the environment shows, in standard deviations, and how much of the option is gone. Actions in a box are taken
    from -1 to 1. A world whose episode ends early waits for the others.
    """

    def __init__(self, hunt: Hunt, batch: int, seen: Array) -> None:
        self.hunt, self.batch, self.length = hunt, batch, hunt.length
        self.env, space = hunt.env, hunt.env.action_space
        self.box = relaxed(space) if isinstance(space, spaces.Box) else None
        self.action_space = spaces.Box(-1.0, 1.0, space.shape) if isinstance(space, spaces.Box) else space
        rows = seen.reshape(len(seen) * self.length, -1).astype(float)
        self.mean, deviation = rows.mean(0), rows.std(0)
        self.deviation = np.where(deviation > 1e-6, deviation, 1.0)
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(self.mean) + 1,))
        self.latest = np.zeros(0)  # costs
        self.reset()

    def reset(self, seed: Any = None) -> Array:
        """Begins an option in every world, the open trials taking turns. All chance is the cases' own."""
        rows = self.hunt.rows
        self.trial = np.resize(rows if len(rows) else np.arange(len(self.hunt.found)), self.batch)
        self.loop, self.taken = begun(self.env, self.hunt.cases[self.trial]), []
        return self.observation

    @property
    def start(self) -> Array:
        """[B] bool, where an option begins."""
        return np.full(self.batch, not self.taken)

    @property
    def observation(self) -> Array:
        """[B, d + 1], what the agent sees now."""
        seen = (self.loop.observation.reshape(self.batch, -1) - self.mean) / self.deviation
        gone = np.full((self.batch, 1), len(self.taken) / self.length)
        return np.concatenate([seen, gone], 1).astype(np.float32)

    def step(self, action: Array) -> Step:
        """A step in every world; with the last of the option all begin anew."""
        if isinstance(self.box, Bounded):
            action = self.box.actions(self.box.project(torch.from_numpy(np.asarray(action, np.float32))))
        step = self.loop.step(action)
        self.taken.append(action)
        over = len(self.taken) == self.length
        reward = self._ranks(np.stack(self.taken, 1)) if over else np.zeros(self.batch)
        if over:
            self.reset()
        done = np.full(self.batch, over)
        return replace(step, observation=self.observation, reward=reward, terminated=done, truncated=np.zeros_like(done))

    def _ranks(self, action: Array) -> Array:
        """What is paid for options [B, T, *action]."""
        cost = self._costs(action)
        seen = np.isfinite(cost)
        self.latest = np.concatenate([self.latest, cost[seen]])[-RECALL:]
        return np.where(seen, percentileofscore(-self.latest, -cost, "mean") / 100 if seen.any() else UNSEEN, UNSEEN)

    def _costs(self, action: Array) -> Array:
        """What the hunt says of options [B, T, *action], which are queried now; infinite where none is wanted any more."""
        cost, trials = np.full(self.batch, np.inf), len(np.unique(self.trial))
        whole = self.batch // trials * trials  # worlds; of the rest some trials have one more
        for worlds in (np.arange(whole).reshape(-1, trials).T, np.arange(whole, self.batch)[:, None]):  # of a trial a row
            worlds = worlds[np.isin(self.trial[worlds[:, 0]], self.hunt.rows)]
            if worlds.size:
                cost[worlds] = self.hunt.query(self.trial[worlds[:, 0]], action[worlds]).cost
        return cost
