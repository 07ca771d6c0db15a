"""proxygap: what happens to what we want when an agent optimises what we measure?

Importing this registers the environments with Gymnasium (`gymnasium.make("proxygap/Lagoon-v0", proxy="turbos")`) and nothing
more: torch, stable-baselines3 and pygame are imported when they are first needed.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from proxygap.envs.registry import register_all

__version__ = version("proxygap")

register_all()

_LAZY = {
    "make": ".envs.registry",
    "list_envs": ".envs.registry",
    "ProxygapError": ".envs.core",
    "evaluate": ".agents.rollouts",
    "measure_gap": ".experiments.gap",
    "load_runs": ".experiments.store",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
