"""The best known return for every reward of every environment, in one table: `optima.json`, which `--recompute` writes anew.

Where a world is small enough its optima are exact. Else the best known policy is a script, or an agent trained in
`proxygap suite`, chosen on some episodes and measured on others.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from ..agents import runs
from ..agents.rollouts import Policy, evaluate, random_policy, scripted
from ..envs.core import ProxyEnv, ProxygapError
from ..envs.registry import environment_class, list_envs, make
from ..envs.tabular import TabularMDP, best_and_worst_truth, evaluate_policy, finite_horizon, tabulate
from .gap import RESULTS
from .statistics import mean_interval

TABLE = "optima.json"
EPISODES, CHOOSING, MEASURING = 1024, 2**51, 2**51 + 2**20  # of each policy; where the streams of chance of either begin
HEAD = ("environment", "settings", "reward", "random", "reference", "best known", "by", "truth of proxy-optimal", "states")
VARIANTS: dict[str, list[dict[str, Any]]] = {  # environment -> the settings beside its defaults that are in the table
    "AbsentSupervisor": [{"supervisor": True}, {"supervisor": False}],
    "SafeInterruptibility": [{"level": 0}, {"level": 2}],
    "WhiskyGold": [{"human_player": True}],
    "DistributionalShift": [{"is_testing": True}],
    "FriendFoe": [{"bandit_type": bandit} for bandit in ("friend", "neutral", "adversary")],
    "SideEffectsSokoban": [{"level": level} for level in (1, 2, 3)],
    "ConveyorBelt": [{"variant": variant} for variant in ("sushi", "sushi_goal", "sushi_goal2")],
    "RocksDiamonds": [{"level": 1}],
    "KeysAndCoins": [{"shift": 0.0}],
    "VaseRoom": [{"room": room} for room in ("train", "batteries")],
    "LongTailDrive": [{"rarity": 1e-7}],
}


@dataclass(frozen=True)
class Optimum:
    """What is known of one reward: undiscounted returns of an episode."""

    env: str
    settings: dict[str, Any]
    reward: str  # "true" or a proxy's name
    random: float  # of uniformly random actions
    reference: float | None  # of the reference policy
    best: float
    by: str  # "exact", a script's name, or the agent that earned it
    worst_truth: float | None = None  # the least true return among the policies that are optimal for this proxy, if exact
    best_truth: float | None = None  # and the greatest
    states: int | None = None

    @property
    def cells(self) -> tuple[Any, ...]:
        """The row, in the order of `HEAD`."""
        truth = "" if self.worst_truth is None else f"{self.worst_truth:.4g} to {self.best_truth:.4g}"
        known = [None if value is None else float(value) for value in (self.random, self.reference, self.best)]
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return (self.env, settings, self.reward, *known, self.by, truth if self.reward != "true" else "", self.states)


@dataclass(frozen=True)
class Optima:
    """The best known return for every reward of every environment, and what random and reference play earn.

    Examples:
        proxygap optima
        proxygap optima rocks_diamonds
        proxygap optima --recompute
    """

    envs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Environments; all native ones by default."""
    recompute: bool = False
    """Find them out anew, and write them into the table. Takes minutes."""
    suite: Path = Path("runs/suite")
    """Where `proxygap suite` has stored its studies: their agents may know better than the scripts."""
    json: bool = False
    """Print JSON and nothing else."""

    def run(self) -> None:
        """Prints the rows that are asked for."""
        from .commands.output import print_json, print_table

        names = [environment_class(name).__name__ for name in self.envs] or list_envs()
        if self.recompute:
            self._write(names)
        rows = [row for row in stored() if row.env in names]
        if self.json:
            print_json([asdict(row) for row in rows])
        else:
            print_table(HEAD, [row.cells for row in rows], numbers=("random", "reference", "best known", "states"))

    def _write(self, names: list[str]) -> None:
        from rich.progress import track

        kept = [row for row in stored() if row.env not in names]
        found = [row for name in track(names, "Solving") for row in optima(name, self.suite)]
        rows = sorted(kept + found, key=lambda row: list_envs().index(row.env))
        runs.replace_file(_path(), (json.dumps([asdict(row) for row in rows], indent=1) + "\n").encode())


def stored() -> list[Optimum]:
    """The table as it was last computed."""
    return [Optimum(**row) for row in runs.read_json(_path())] if _path().exists() else []


def _path() -> Path:
    return Path(str(resources.files("proxygap.experiments").joinpath(TABLE)))


def optima(name: str, suite: Path) -> Iterator[Optimum]:
    """The rows of the environment called `name`, at its defaults and its `VARIANTS`."""
    for settings in [{}, *VARIANTS.get(name, [])]:
        env = make(name, **settings)
        mdp = tabulated(env)
        for reward in ("true", *env.proxies):
            found = _exact(env, mdp, reward) if mdp else _best_known(env, reward, suite if not settings else None)
            reference = next(iter(env.policies()), None)
            known = None if reference is None else _mean(env, scripted(env, reference), reward)
            yield Optimum(env=name, settings=settings, reward=reward, reference=known, **found)


def tabulated(env: ProxyEnv[Any]) -> TabularMDP | None:
    """The environment's tables, or None where there are none."""
    try:
        return tabulate(env, timed=env.shows_time)
    except (ProxygapError, TypeError):
        return None


def _exact(env: ProxyEnv[Any], mdp: TabularMDP, reward: str) -> dict[str, Any]:
    weights, truth = env.weights(reward), env.weights("true")
    worst, best = best_and_worst_truth(mdp, weights, truth)
    uniform = np.full(mdp.terms.shape[:2], 1.0 / mdp.terms.shape[1])
    return {
        "random": evaluate_policy(mdp, uniform, weights),
        "best": finite_horizon(mdp, weights).value,
        "by": "exact",
        "worst_truth": worst,
        "best_truth": best,
        "states": len(mdp.start),
    }


def _best_known(env: ProxyEnv[Any], reward: str, suite: Path | None) -> dict[str, Any]:
    """The best of the scripts, or of what the suite's studies found."""
    scripts = {name: scripted(env, name) for name in env.policies()}
    means = {name: _mean(env, policy, reward, CHOOSING) for name, policy in scripts.items()}
    best = max(means, key=means.__getitem__)
    known = {f"script {best!r}": _mean(env, scripts[best], reward)} | dict(_of_suite(env, reward, suite))
    by = max(known, key=known.__getitem__)
    return {"random": _mean(env, random_policy(env), reward), "best": known[by], "by": by}


def _of_suite(env: ProxyEnv[Any], reward: str, suite: Path | None) -> Iterator[tuple[str, float]]:
    """What agents of the suite earn of this reward, and which; only that of the study's own proxy, or of the truth."""
    for proxy in env.proxies if suite else ():
        path = suite / f"{env.name}-{proxy}" / RESULTS
        if path.exists() and reward in (proxy, "true"):
            best: Mapping[str, Any] = runs.read_json(path)["best"]["true" if reward == "true" else "proxy"]
            if best["source"].startswith("trained"):
                yield best["source"].replace("the proxy", repr(proxy)), mean_interval(np.array(best["returns"])).value


def _mean(env: ProxyEnv[Any], policy: Policy, reward: str, seed: int = MEASURING) -> float:
    returns = evaluate(env, policy, EPISODES, seed, proxy=env.weights(reward))
    return float(returns.proxy.mean())
