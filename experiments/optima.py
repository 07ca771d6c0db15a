"""The best known return for every reward of every environment, in one table: `optima.json`, which `--recompute` writes anew.

Where a world is small enough its optima are exact. Else the best known policy is a script, or an agent trained in
`proxygap suite`, chosen on some episodes and measured on others.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from ..agents import runs
from ..agents.rollouts import Policy, Returns, evaluate, random_policy, scripted
from ..envs.batch import Array
from ..envs.core import ProxyEnv, ProxygapError
from ..envs.registry import environment_class, list_envs, make
from ..envs.tabular import TabularMDP, best_and_worst_truth, evaluate_policy, finite_horizon, tabulate
from .gap import RESULTS

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
    reference: float  # of the reference policy
    best: float
    by: str  # "exact", a script's name, or the agent that earned it
    worst_truth: float | None = None  # the least true return among the policies that are optimal for this proxy, if exact
    best_truth: float | None = None  # and the greatest
    states: int | None = None

    @property
    def cells(self) -> tuple[Any, ...]:
        """The row, in the order of `HEAD`."""
        truth = "" if self.worst_truth is None else f"{self.worst_truth:.4g} to {self.best_truth:.4g}"
        known = (self.random, self.reference, self.best)
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
        from rich.console import Console
        from rich.progress import track

        kept = [row for row in stored() if row.env not in names]
        found = [row for name in track(names, "Solving", console=Console(stderr=True)) for row in optima(name, self.suite)]
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
        find = partial(_exact, env, mdp) if mdp else partial(_best_known, *_sampled(env), suite if not settings else None)
        for reward in ("true", *env.proxies):
            yield Optimum(env=name, settings=settings, reward=reward, **find(reward))


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
        "reference": evaluate_policy(mdp, _as_table(env, mdp, next(iter(env.policies()))), weights),
        "best": finite_horizon(mdp, weights).value,
        "by": "exact",
        "worst_truth": worst,
        "best_truth": best,
        "states": len(mdp.start),
    }


def _as_table(env: ProxyEnv[Any], mdp: TabularMDP, script: str) -> Array:
    """What a script does at each step in each state, [T, S] actions from 0, or [S] where states hold the time."""
    times = range(1 if mdp.timed else mdp.horizon)
    states = (mdp.states if mdp.timed else replace(mdp.states, time=np.full(len(mdp.start), time)) for time in times)
    table = np.stack([env.policies()[script](state) for state in states])
    table = table - env.action_space.start  # pyright: ignore[reportAttributeAccessIssue]
    return table[0] if mdp.timed else table


def _sampled(env: ProxyEnv[Any]) -> tuple[ProxyEnv[Any], Returns, Mapping[str, Sequence[Returns]]]:
    """The environment, what random play earns, and what each script earns in the episodes to choose and to measure by."""
    played = {name: [_played(env, scripted(env, name), seed) for seed in (CHOOSING, MEASURING)] for name in env.policies()}
    return env, _played(env, random_policy(env), MEASURING), played


def _best_known(
    env: ProxyEnv[Any], random: Returns, played: Mapping[str, Sequence[Returns]], suite: Path | None, reward: str
) -> dict[str, Any]:
    """The best of the scripts, or of what the suite's studies found."""
    weights = env.weights(reward)
    best = max(played, key=lambda name: _mean(played[name][0], weights))
    known = {f"script {best!r}": _mean(played[best][1], weights)} | dict(_of_suite(env, reward, suite))
    by = max(known, key=known.__getitem__)
    reference = _mean(next(iter(played.values()))[1], weights)
    return {"random": _mean(random, weights), "reference": reference, "best": known[by], "by": by}


def _of_suite(env: ProxyEnv[Any], reward: str, suite: Path | None) -> Iterator[tuple[str, float]]:
    """What agents of the suite earn of this reward, and which; only that of the study's own proxy, or of the truth."""
    for proxy in env.proxies:
        path = suite and suite / f"{env.name}-{proxy}" / RESULTS
        if path and path.exists() and reward in (proxy, "true"):
            best: Mapping[str, Any] = runs.read_json(path)["best"]["true" if reward == "true" else "proxy"]
            if best["source"].startswith("trained"):
                yield (
                    best["source"].replace("the proxy", repr(proxy)).replace("the true", "the truth"),
                    float(np.mean(best["returns"])),
                )


def _played(env: ProxyEnv[Any], policy: Policy, seed: int) -> Returns:
    return evaluate(env, policy, EPISODES, seed)


def _mean(returns: Returns, weights: Mapping[str, float]) -> float:
    """What these weights would have paid on average."""
    return float(sum(weight * returns.terms[:, returns.names.index(term)].mean() for term, weight in weights.items()))
