"""A ProxyEnv as Gymnasium knows environments: one world, or a batch of them.

`info` carries `true_reward`, `proxy_reward` and `reward_terms`, and where an episode ends its sums as `episode_sums`; that of
`reset` carries nothing, and neither do observations.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from .batch import Array
from .core import Loop, ProxyEnv, ProxygapError, Step
from .registry import make


def make_world(name: str, **settings: Any) -> "World":
    """What `gymnasium.make` calls: `World` of the environment `name`; settings are World's and the environment's own."""
    options = {key: settings.pop(key) for key in ("proxy", "reward", "render_mode") if key in settings}
    return World(make(name, **settings), **options)


def make_worlds(name: str, num_envs: int = 1, max_episode_steps: int | None = None, **settings: Any) -> "WorldBatch":
    """What `gymnasium.make_vec` calls: the native batch. The horizon is the environment's: `max_episode_steps` must be None."""
    if max_episode_steps is not None:
        raise ProxygapError(f"max_episode_steps={max_episode_steps}: the horizon belongs to the environment; leave it out")
    options = {key: settings.pop(key) for key in ("proxy", "reward", "render_mode") if key in settings}
    return WorldBatch(make(name, **settings), num_envs, **options)


class World(gymnasium.Env[Any, Any]):
    """One world. `proxy`: a proxy's name or weights over the terms; `reward`: what is paid, as in `Loop`."""

    metadata = {"render_modes": ["human", "rgb_array", "ansi"]}

    def __init__(
        self,
        env: ProxyEnv[Any],
        proxy: str | Mapping[str, float] | None = None,
        reward: Any = None,
        render_mode: str | None = None,
    ) -> None:
        modes = [mode for mode in self.metadata["render_modes"] if mode != "ansi" or type(env).text is not ProxyEnv.text]
        if render_mode is not None and render_mode not in modes:
            raise ProxygapError(f"render_mode {render_mode!r}: {env.name} has {', '.join(modes)}")
        self.loop = env.loop(1, proxy=proxy, reward=reward, autoreset=False)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.metadata = {"render_modes": modes, "render_fps": env.frames_per_second}
        self.render_mode = render_mode
        self.over = True  # no episode is under way
        self.painter: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """A new episode; without a seed the world's own stream of chance goes on."""
        super().reset(seed=seed)
        self.over = False
        return self._shown(self.loop.reset(seed=seed)[0], None), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """One step; the reward is a float, `info` as in this module's first lines. Raises ResetNeeded between episodes."""
        if self.over:
            raise gymnasium.error.ResetNeeded("no episode is under way: call reset() first")
        step = self.loop.step(np.asarray(action)[None])
        self.over = bool(step.done[0])
        observation = self._shown(step.observation[0], step)
        return observation, float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), info_of(step, self.loop)

    def _shown(self, observation: Array, step: Step | None) -> Array:
        """Hands the new moment to the painter, if this world is drawn."""
        if self.render_mode in ("human", "rgb_array"):
            if self.painter is None:
                from .meters import Painter  # pygame: only where something is drawn

                self.painter = Painter(self.loop.env, self.loop.proxy_weights, window=self.render_mode == "human")
            self.painter.update(self.loop.state, step)
            if self.render_mode == "human":
                self.painter.show()
        return observation

    def render(self) -> Any:
        """The frame [H, W, 3] uint8, the board as text, or None when the window shows it."""
        if self.render_mode == "ansi":
            return self.loop.env.text(self.loop.state)
        return self.painter.frame() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self.painter is not None:
            self.painter.close()

    def get_keys_to_action(self) -> dict[str, Any]:
        """The keys that `gymnasium.utils.play` listens to; "" stands for none, if the environment says what to do then."""
        return {key: np.asarray(action, self.action_space.dtype) for key, action in self.loop.env.keys.items()}


class WorldBatch(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """B worlds at once, in Gymnasium's vector form with SAME_STEP autoreset: gives what `SyncVectorEnv` over `World`s gives."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array"]}

    def __init__(
        self,
        env: ProxyEnv[Any],
        num_envs: int,
        proxy: str | Mapping[str, float] | None = None,
        reward: Any = None,
        render_mode: str | None = None,
    ) -> None:
        self.loop = env.loop(num_envs, proxy=proxy, reward=reward)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        self.observation_space = batch_space(env.observation_space, num_envs)
        self.action_space = batch_space(env.action_space, num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """New episodes everywhere; world i of seed s is the single world of seed s + i."""
        return self.loop.reset(seed=seed).copy(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One step of every world. Ended worlds show how their next episode begins; `final_obs` and `final_info` the end."""
        step = self.loop.step(np.asarray(actions))
        infos: dict[str, Any] = {}
        if not step.done.all():
            infos |= _masked(_infos(step, self.loop), ~step.done)
        if step.done.any():
            final = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(step.done):
                final[i] = step.transition.next_observation[i]
            infos |= {"final_obs": final, "_final_obs": step.done}
            ended = _infos(step, self.loop) | {"episode_sums": _sums(step, self.loop)}
            infos |= {"final_info": _masked(ended, step.done), "_final_info": step.done}
        return step.observation.copy(), step.reward, step.terminated, step.truncated, infos

    def render(self) -> tuple[Array, ...]:
        """A frame [H, W, 3] of every world, without meters."""
        from .painting import picture  # pygame: only where something is drawn

        return tuple(picture(self.loop.env, self.loop.state[i]) for i in range(self.num_envs))


def _infos(step: Step, loop: Loop[Any]) -> dict[str, Any]:
    return {"true_reward": step.true, "proxy_reward": step.proxy, "reward_terms": step.terms}


def _sums(step: Step, loop: Loop[Any]) -> dict[str, Any]:
    sums = step.sums
    terms = dict(zip(loop.term_names, sums.terms.T, strict=True))
    return {"true_reward": sums.true, "proxy_reward": sums.proxy, "reward_terms": terms, "length": sums.length}


def info_of(step: Step, loop: Loop[Any]) -> dict[str, Any]:
    """A single world's `info`."""
    infos = _infos(step, loop) | ({"episode_sums": _sums(step, loop)} if step.done[0] else {})
    return _first(infos)


def _first(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _first(value) if isinstance(value, dict) else value[0].item() for key, value in values.items()}


def _masked(values: dict[str, Any], mask: Array) -> dict[str, Any]:
    """Gymnasium's form of batched infos: every key has a mask beside it, and rows outside it are zero."""
    masked: dict[str, Any] = {}
    for key, value in values.items():
        masked[key] = _masked(value, mask) if isinstance(value, dict) else np.where(mask, value, np.zeros_like(value))
        masked[f"_{key}"] = mask
    return masked
