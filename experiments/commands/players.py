"""Who can be watched: scripted policies, chance, agents that ship with the package, and agents that the user has trained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ... import agents
from ...agents.rollouts import Policy, random_policy, scripted
from ...agents.runs import MANIFEST, manifest
from ...envs.core import ProxygapError
from ...envs.registry import make

SHIPPED, SUFFIX = Path(agents.__path__[0]) / "pretrained", ".safetensors"  # files called <Environment>-<arm>.safetensors
PREFIX = "trained-"  # of a shipped agent's name, before its arm: a proxy's name, or "true"


@dataclass(frozen=True)
class Player:
    """Somebody who plays in an environment, and the proxy that is measured."""

    name: str
    world: str  # the environment's short name
    env: Any
    policy: Policy
    proxy: str | Mapping[str, float]


def find_player(target: str, agent: str | None, proxy: str | None, seed: int, trust: bool) -> Player:
    """The player whom a run's folder (or an agent's file) or an environment's name, and maybe an agent's name, stand for.

    Raises ProxygapError where there is no such run, environment, proxy or agent.
    """
    path = Path(target)
    if path.suffix == SUFFIX or (path / MANIFEST).is_file():
        player = _stored(path, None, seed, trust)
        player = player if proxy is None else replace(player, proxy=proxy)
        return player if agent is None else _named(player.world, player.env, agent, player.proxy, seed)
    if ":" not in target and path.name != target and path.parts[:1] != ("proxygap",):  # a path; proxygap/Lagoon-v0 is a name
        raise ProxygapError(f"{target} is no run: there is no {MANIFEST} in it. `proxygap runs` lists the runs")
    env = make(target)
    return _named(called(target, env), env, agent or default_agent(env), proxy, seed)


def _stored(path: Path, name: str | None, seed: int, trust: bool, env: Any = None) -> Player:
    if path.is_dir() and "study" in manifest(path):
        inside = ", ".join(sorted(str(file.parent) for file in path.glob(f"*/{MANIFEST}"))) or "none yet"
        raise ProxygapError(f"{path} is a study of many runs: name one of them: {inside}")
    from ...agents.trained import load_policy  # torch: not needed to watch a script

    found = load_policy(path, env=env, trust=trust)
    return Player(name or str(path), called(found.settings.env, found.env), found.env, found.policy(seed), found.settings.proxy)


def _named(world: str, env: Any, agent: str, proxy: str | Mapping[str, float] | None, seed: int) -> Player:
    known = agents_of(env)
    if agent not in known:
        raise ProxygapError(f"{world} has no agent {agent!r}; it has: {', '.join(known)}; or name a run's folder")
    if agent.startswith(PREFIX) and known[agent]:
        player = _stored(known[agent], agent, seed, trust=False, env=env)
        return player if proxy is None else replace(player, proxy=proxy)
    policy = random_policy(env, seed) if agent == "random" else scripted(env, agent)
    return Player(agent, world, env, policy, proxy or next(iter(env.proxies)))


def called(target: str, env: Any) -> str:
    """A short name for the environment that `target` stands for: its class's or its function's."""
    return target.rpartition(":")[2] if ":" in target else env.name


def agents_of(env: Any) -> dict[str, Any]:
    """The names of all who can play in `env`, the default one's first; where one ships with the package, its file."""
    stem = f"{env.name}-"
    shipped = {PREFIX + path.stem.removeprefix(stem): path for path in sorted(SHIPPED.glob(f"{stem}*{SUFFIX}"))}
    return shipped | dict.fromkeys([*scripts(env), "random"])


def default_agent(env: Any) -> str:
    """The agent that ships for the default proxy, else the reference policy, else chance."""
    shipped = PREFIX + next(iter(env.proxies), "")
    return next(name for name in (shipped, *scripts(env), "random") if name in agents_of(env))


def scripts(env: Any) -> list[str]:
    """The names of its scripted policies, the reference first."""
    return list(env.policies())
