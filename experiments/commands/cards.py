"""An environment's card: all that it declares, as plain data."""

import inspect
import sys
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from ...envs.core import ProxyEnv, ProxygapError
from ...envs.foreign import ForeignEnv
from ...envs.registry import environment_class, make
from ...envs.tabular import tabulate
from .players import scripts

MOST_STATES = 10_000  # counted for a card; more take seconds


def card(name: str) -> dict[str, Any]:
    """The card of the environment called `name`. Raises ProxygapError if there is none."""
    env, factory = make(name), environment_class(name)
    foreign = inspect.isclass(factory) and issubclass(factory, ForeignEnv)  # many are declared in one file
    return {
        "name": name if ":" in name else factory.__name__,
        "story": inspect.getdoc(factory if foreign else sys.modules[factory.__module__]) or "",
        "description": inspect.cleandoc(factory.__doc__ or ""),
        "actions": space_text(env.action_space),
        "observation": space_text(env.observation_space),
        "horizon": env.horizon,
        "states": states(env),
        "terms": env.term_names,
        "true_reward": dict(env.true_reward),
        "proxies": {
            name: {"weights": dict(proxy.weights), "kind": proxy.kind, "expected": proxy.expected, "flaw": proxy.flaw}
            for name, proxy in env.proxies.items()
        },
        "policies": scripts(env),
        "settings": settings(env),
        "keys": {key: np.asarray(action).tolist() for key, action in getattr(env, "keys", {}).items()},
    }


def space_text(space: spaces.Space[Any]) -> str:
    """A space in a few characters: its kind, and how many choices or numbers."""
    if isinstance(space, spaces.Discrete):
        return f"{space.n} choices"
    if isinstance(space, spaces.Box):
        return f"{' x '.join(map(str, space.shape))} numbers"
    return str(space)


def states(env: Any) -> int | None:
    """How many states an episode can reach, or None where they are too many, or chance is not declared."""
    if not isinstance(env, ProxyEnv):
        return None
    try:
        return len(tabulate(env, limit=MOST_STATES).start)
    except ProxygapError:
        return None


def settings(env: Any) -> dict[str, Any]:
    """The environment's own settings and their defaults."""
    declared = fields(env) if is_dataclass(env) else ()
    defaults = {part.name: part.default_factory if part.default is MISSING else part.default for part in declared if part.init}
    return {name: str(value) if callable(value) else value for name, value in defaults.items()}
