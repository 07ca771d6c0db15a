"""Letting policies play: whole episodes, their returns on both rewards, and their trajectories, in memory and on disk.

A policy is a function of a loop: it sees what the loop shows and gives one action per world. Scripts, chance and trained models
all become one, and whatever has a `loop` can be played. World i of a batch of B plays the episodes i, i + B, i + 2B, ...: which
episodes count is fixed beforehand. Taking those that finish first would favour the short ones.
"""

import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any, Literal, Protocol, Self
from zipfile import BadZipFile

import numpy as np
from gymnasium.vector.utils import batch_space

from ..envs.batch import Array
from ..envs.core import Loop, ProxyEnv, ProxygapError, Reward, Segments, Step, Sums

Policy = Callable[[Loop[Any]], Array]  # a loop of B worlds -> actions [B, *action]
MOST_WORLDS = 256  # side by side, unless a batch is given
UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, BadZipFile, zlib.error)  # np.load's faults


class Playable(Protocol):
    """What can be played: a ProxyEnv, or anything else whose `loop` gives a `Loop`."""

    def loop(self, batch: int = 1, **kwargs: Any) -> Loop[Any]:
        """`batch` episodes side by side; keywords `proxy` and `reward` as in `Loop`."""
        ...


def scripted(env: ProxyEnv[Any], name: str) -> Policy:
    """The environment's own policy called `name`. Raises ProxygapError where there is none."""
    scripts = env.policies()
    if name not in scripts:
        raise ProxygapError(f"{env.name} has no scripted policy {name!r}; it has: {', '.join(scripts) or 'none'}")
    return lambda loop: scripts[name](loop.state)


def random_policy(env: Any, seed: int = 0) -> Policy:
    """Uniform over the action space, or over the actions that the environment's mask allows; drawn from `seed`."""
    rng, space = np.random.default_rng(seed), deepcopy(env.action_space)
    space.seed(seed)
    spaces = cache(lambda batch: batch_space(space, batch))

    def policy(loop: Loop[Any]) -> Array:
        mask = env.action_mask(loop.state) if isinstance(env, ProxyEnv) else None
        if mask is None:
            return spaces(len(loop.start)).sample()
        return space.start + np.where(mask, rng.random(mask.shape), -1.0).argmax(1)

    return policy


def trained(model: Any, deterministic: bool = False, seed: int = 0) -> Policy:
    """A stable-baselines3 or sb3-contrib model as a policy, with its memory (recurrent models) and action masks (MaskablePPO).

    What it draws comes from `seed`, and torch's, numpy's and the action space's generators are left as they were: playing amid
    a training changes nothing in it and can be repeated. DQN and QR-DQN explore at their present rate unless `deterministic`.
    """
    masked = "action_masks" in signature(model.predict).parameters
    rng, memory = np.random.default_rng(seed), None

    def policy(loop: Loop[Any]) -> Array:
        nonlocal memory
        memory = None if loop.start.all() else memory  # a new loop may have another batch
        masks = {"action_masks": loop.env.action_mask(loop.state)} if masked else {}
        with _own_chance(model, int(rng.integers(2**32))):
            action, memory = model.predict(loop.observation, memory, loop.start, deterministic, **masks)
        return action

    return policy


@contextmanager
def _own_chance(model: Any, seed: int) -> Iterator[None]:
    """Inside, everything a model draws comes from `seed`; afterwards all generators are as they were."""
    import torch  # heavy, and not needed for scripts

    explorer = model.action_space.np_random.bit_generator
    tossed = np.random.get_state()  # noqa: NPY002 - DQN tosses numpy's global coin
    explored = explorer.state
    try:
        with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
            # torch.manual_seed asks after every kind of GPU, which takes a millisecond
            (torch.default_generator.manual_seed if model.device.type == "cpu" else torch.manual_seed)(seed)
            np.random.seed(seed)  # noqa: NPY002
            explorer.state = np.random.default_rng(seed).bit_generator.state
            yield
    finally:
        np.random.set_state(tossed)  # noqa: NPY002
        explorer.state = explored


@dataclass
class Returns:
    """What E whole episodes came to."""

    proxy: Array  # [E] summed over the episode
    true: Array  # [E]
    paid: Array  # [E]
    length: Array  # [E] steps
    terms: Array  # [E, n]
    names: tuple[str, ...]  # of the n terms

    def as_dict(self) -> dict[str, Any]:
        """The means over the episodes, ready for JSON."""
        return {
            "episodes": len(self.true),
            "proxy_return": float(self.proxy.mean()),
            "true_return": float(self.true.mean()),
            "paid_return": float(self.paid.mean()),
            "length": float(self.length.mean()),
            "terms": dict(zip(self.names, self.terms.mean(0).tolist(), strict=True)),
        }


def evaluate(
    env: Playable,
    policy: Policy,
    episodes: int,
    seed: int,
    *,
    proxy: str | Mapping[str, float] | None = None,
    reward: Literal["true"] | Reward | None = None,
    batch: int | None = None,
) -> Returns:
    """The returns of exactly `episodes` whole episodes; an episode that would never end ends at the environment's horizon.

    World i draws from the stream seed + i: keep the seeds of separate evaluations at least `batch` apart.
    """
    loop = _loop(env, episodes, batch, proxy, reward)
    sums = Sums.zeros(episodes, len(loop.term_names))
    for episode, step in _play(loop, policy, episodes, seed):
        ended = step.done & (episode < episodes)
        sums[episode[ended]] = step.sums[ended]
    return Returns(sums.proxy, sums.true, sums.paid, sums.length, sums.terms, tuple(loop.term_names))


def _loop(env: Playable, episodes: int, batch: int | None, proxy: Any, reward: Any) -> Loop[Any]:
    if episodes < 1:
        raise ProxygapError(f"{episodes} episodes: at least 1 is needed")
    return env.loop(min(episodes, MOST_WORLDS) if batch is None else batch, proxy=proxy, reward=reward)


def _play(loop: Loop[Any], policy: Policy, episodes: int, seed: int) -> Iterator[tuple[Array, Step]]:
    """Steps until all episodes are over, each with the episode [B] that every world is in; `episodes` and above don't count."""
    loop.reset(seed)
    episode = np.arange(len(loop.start))
    while (episode < episodes).any():
        step = loop.step(policy(loop))
        yield episode, step
        episode = episode + len(episode) * step.done


@dataclass
class Trajectories(Segments):
    """N whole episodes of at most T steps, with what each step was worth."""

    proxy: Array  # [N, T]
    true: Array  # [N, T]
    terms: Array  # [N, T, n]
    names: Array  # [N, n] str, of the terms; the same in every row, so that rows can be taken and joined

    def segments(self) -> Segments:
        """The same episodes without rewards and terms."""
        return Segments(**{part.name: getattr(self, part.name) for part in fields(Segments)})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Stores them compressed, the whole file or nothing. Raises ProxygapError where it can't write."""
        path = Path(path)
        try:
            with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
                with open(beside := Path(folder) / path.name, "wb") as file:
                    np.savez_compressed(file, **self.arrays())  # pyright: ignore[reportArgumentType]
                beside.replace(path)
        except OSError as error:
            raise ProxygapError(f"can't write trajectories to {path} ({error}): give a path that can be written") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """What `save` stored; nothing is unpickled. Raises ProxygapError for a file that is missing, damaged or another's."""
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                found = cls(**{part.name: file[part.name] for part in fields(cls)})
            found._check_shapes()
        except UNREADABLE as error:
            raise ProxygapError(f"can't read trajectories from {path} ({error}): give a file that `save` wrote") from error
        return found

    def _check_shapes(self) -> None:
        steps, terms = self.valid.shape, self.names.shape[1:]
        expected = {"names": (steps[0], *terms), "terms": (*steps, *terms), "episode": steps[:1], "start": steps[:1]}
        for name, array in self.arrays().items():
            shape = expected.get(name, steps)
            if len(steps) != 2 or array.shape[: len(shape)] != shape:
                raise ValueError(f"{name!r} has shape {array.shape}, which does not fit {steps} steps")


def collect(
    env: Playable,
    policy: Policy,
    episodes: int,
    seed: int,
    *,
    proxy: str | Mapping[str, float] | None = None,
    reward: Literal["true"] | Reward | None = None,
    batch: int | None = None,
) -> Trajectories:
    """The trajectories of the episodes that `evaluate` would play, one a row; shorter ones are padded with zeros."""
    loop = _loop(env, episodes, batch, proxy, reward)
    played = [(episode, _recorded(step)) for episode, step in _play(loop, policy, episodes, seed)]
    row, time = np.concatenate([episode for episode, _ in played]), np.concatenate([step["time"] for _, step in played])
    counted = row < episodes
    shape = (episodes, time[counted].max() + 1)

    def arranged(name: str) -> Array:
        values = np.concatenate([step[name] for _, step in played])
        padded = np.zeros((*shape, *values.shape[1:]), values.dtype)
        padded[row[counted], time[counted]] = values[counted]
        return padded

    steps = {name: arranged(name) for name in played[0][1] if name != "time"}
    names = np.repeat(np.array(loop.term_names)[None], episodes, 0)
    return Trajectories(**steps, episode=np.arange(episodes), start=np.zeros(episodes, np.int64), names=names)


def _recorded(step: Step) -> dict[str, Array]:
    """What is kept of a step, each [B, ...]."""
    seen = step.transition
    return {
        "observation": seen.observation,
        "action": seen.action,
        "next_observation": seen.next_observation,
        "terminated": seen.terminated,
        "truncated": step.truncated,
        "valid": np.ones(len(step.done), bool),
        "proxy": step.proxy,
        "true": step.true,
        "terms": np.stack(list(step.terms.values()), 1),
        "time": step.sums.length - 1,
    }
