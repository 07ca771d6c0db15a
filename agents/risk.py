"""Which scenes are dangerous? Learned from agents that are weaker than the one in question, and so fail often enough.

What is dangerous for them mostly is for it, only less so, and that is all that `rare_events.importance` asks for: the scale of
risks does not matter there. Uesato et al. 2018 (arXiv:1812.01647), who learn it from earlier stages of the same training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from ..envs.batch import Array
from ..envs.core import ProxyEnv, ProxygapError
from .filtering import refreshed
from .options import Scenes, check_env, played
from .rollouts import Policy


@dataclass
class Risk:
    """How likely scenes are to end in a catastrophe, by a small network on what they show: learned from weaker agents."""

    hidden: int = 32
    updates: int = 300  # over all scenes at once
    learning_rate: float = 0.02
    seed: int = 0

    def learn(
        self, env: ProxyEnv[Any], weaker: Sequence[Policy], scenes: Scenes, length: int, rng: np.random.Generator
    ) -> Self:
        """Fits what each of the weaker policies did in every scene. Raises ProxygapError if none or all of that failed."""
        check_env(env)
        options = [played(env, refreshed(scenes, rng), length, policy) for policy in weaker]
        self.steps_ = int(sum(option.valid.sum() for option in options))
        failed = np.concatenate([option.severity > 0 for option in options])
        return self.fit(np.concatenate([env.observation(scenes.state)] * len(weaker)), failed)

    def fit(self, observation: Array, failed: Array) -> Self:
        """Learns from scenes' observations [N, ...] and which of them failed [N]."""
        if not 0 < failed.sum() < len(failed):
            raise ProxygapError(
                f"{failed.sum()} failures in {len(failed)} scenes: to learn a risk, some must fail, and not all"
            )
        flat = np.asarray(observation, np.float32).reshape(len(failed), -1)
        self.mean_, self.scale_ = flat.mean(0), np.where(flat.std(0) > 1e-6, flat.std(0), 1.0)
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed)
            self.network_ = nn.Sequential(nn.Linear(flat.shape[1], self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1))
        seen, target = torch.from_numpy((flat - self.mean_) / self.scale_), torch.from_numpy(failed.astype(np.float32))
        adam = torch.optim.Adam(self.network_.parameters(), self.learning_rate)
        for _ in range(self.updates):
            adam.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(self.network_(seen)[:, 0], target).backward()
            adam.step()
        return self

    @torch.no_grad()
    def __call__(self, observation: Array) -> Array:
        """The risk of scenes that show this, [N]."""
        flat = np.asarray(observation, np.float32).reshape(len(observation), -1)
        return self.network_(torch.from_numpy((flat - self.mean_) / self.scale_))[:, 0].double().sigmoid().numpy()
