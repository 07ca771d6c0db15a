"""A loop of worlds as stable-baselines3 knows environments: a `VecEnv` without Python per world and step.

Rewards, terms and sums stay arrays: `venv.last` is the loop's `Step`. An info dict of its own is made only for a world whose
episode has just ended.
"""

import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from ..envs.batch import Array
from ..envs.core import Step


def action_mask(loop: Any) -> Array | None:
    """Which discrete actions make sense now, `[B, n]` bool, or None where the loop's environment has no mask."""
    mask = getattr(getattr(loop, "env", None), "action_mask", None)
    return mask(loop.state) if mask is not None and hasattr(loop, "state") else None


class LoopVecEnv(VecEnv):
    """B worlds of a `Loop` (or of anything with its interface), paid by the loop's reward.

    An episode's end brings the info "episode" (r: what was paid, l: steps, t: seconds since the start, and the returns proxy
    and true), "terminal_observation", and "TimeLimit.truncated" (was it cut off?). All other worlds share one empty dict.
    `stagger`: the first episodes after a reset end one after another (see `Loop.stagger`).
    """

    last: Step  # the latest step, with both rewards and all terms

    def __init__(self, loop: Any, stagger: bool = False) -> None:
        self.loop, self.stagger, self.started = loop, stagger, time.perf_counter()
        # The spaces of an environment belong to its class: with copies, no one else draws from this training's generators.
        super().__init__(loop.batch, deepcopy(loop.observation_space), deepcopy(loop.action_space))

    def reset(self) -> Array:
        """New episodes; after `seed(s)` world i is the single world of seed s + i, else the worlds' own streams go on."""
        seeds = None if self._seeds[0] is None else self._seeds
        self._reset_seeds()
        self.loop.reset(seed=seeds)
        if self.stagger:
            self.loop.stagger()
        return self.loop.observation

    def step_async(self, actions: Array) -> None:
        """Keeps the actions `[B, *action]` for `step_wait`."""
        self.actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Observations after any reset `[B, ...]`, rewards `[B]` float32, dones `[B]`, infos."""
        self.last = step = self.loop.step(self.actions)
        done = step.done
        infos: list[dict[str, Any]] = [{}] * self.num_envs
        for i in np.flatnonzero(done):
            infos[i] = self._ended(step, int(i))
        # float32 is what SB3 stores, and a copy what it may change: it adds the value of a cut-off episode's rest in place
        return step.observation, step.reward.astype(np.float32), done, infos

    def _ended(self, step: Step, i: int) -> dict[str, Any]:
        sums = {"r": step.sums.paid[i], "proxy": step.sums.proxy[i], "true": step.sums.true[i], "l": step.sums.length[i]}
        return {
            "episode": {name: value.item() for name, value in sums.items()} | {"t": time.perf_counter() - self.started},
            "terminal_observation": step.transition.next_observation[i],
            "TimeLimit.truncated": bool(step.truncated[i]),
        }

    def close(self) -> None:
        """Nothing to close: there are no processes and no windows."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """`action_masks` where the environment has a mask, or an attribute that all worlds share. Raises AttributeError."""
        if attr_name == "action_masks":
            return self.env_method(attr_name, indices=indices)
        value = None if attr_name == "render_mode" else getattr(self.loop, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: worlds are rows of arrays, none has attributes of its own."""
        raise AttributeError(f"worlds of a loop have no attribute {attr_name!r} of their own to set")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """`action_masks`, a row `[n]` for each world: the one method that SB3 calls. Raises AttributeError for others."""
        mask = action_mask(self.loop) if method_name == "action_masks" else None
        if mask is None:
            raise AttributeError(f"worlds of a loop have no method {method_name!r}")
        return [mask[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """False for every world: there are no wrappers."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[Array | None]:
        """No pictures: training shows none, `watch` draws the worlds itself."""
        return [None] * self.num_envs
