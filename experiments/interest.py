"""Is an environment interesting? Whether its proxies can be believed in, and whether each does what it is expected to do.

A proxy that goes with the truth in what the reference policy does is one that a designer would believe in; how far it does is
reported. What optimising it comes to is looked for: exactly, where the world is small enough; else among scripts, plans by the
cross-entropy method, and agents trained for a while on the proxy and on the truth. The best of them for the proxy is compared
with the best for the truth, in episodes that neither was chosen by.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..agents.algorithms import default_algorithm
from ..agents.planning import CEM
from ..agents.rollouts import Policy, Returns, collect, evaluate, random_policy, scripted
from ..envs.core import ProxyEnv, ProxygapError
from .measuring import solve
from .statistics import Estimate, correlation_interval, difference
from .verdicts import FALL, outcome

CHOOSING, MEASURING = 2**52, 2**52 + 2**20  # where the streams of chance of either begin
PLAN = {"horizon": 10, "population": 48, "elites": 8, "iterations": 3}

Say = Callable[[str], None]  # tells the user what is being done


@dataclass(frozen=True)
class Interest:
    """What is to be said of one proxy."""

    proxy: str
    expected: str
    found: str  # as `Proxy.expected` names outcomes
    how: str  # what it was found by
    correlation: Estimate | None  # of proxy and truth, step by step, under the reference policy; NaN if one never varies
    problems: tuple[str, ...]


def interest(env: Any, *, steps: int | None = None, episodes: int = 32, say: Say = lambda text: None) -> list[Interest]:
    """What each proxy of `env` comes to. `steps` of training for each agent (None: its preset's)."""
    if episodes < 2:
        raise ProxygapError(f"{episodes} episodes: at least 2 are needed to say anything")
    return [_of_proxy(env, proxy, steps, episodes, say) for proxy in env.proxies]


def _of_proxy(env: Any, proxy: str, steps: int | None, episodes: int, say: Say) -> Interest:
    expected, exact = env.proxies[proxy].expected, solve(env, proxy)
    say(f"{proxy}: the reference policy")
    correlation = _correlation(env, proxy, episodes)
    if exact:
        found, how = exact.verdict.name, f"exact solution ({exact.states:,} states)"
        varied = {"proxy": True, "true": True}
    else:
        players = dict(_players(env, proxy, steps, say))
        played = {name: _played(env, policy, proxy, episodes, CHOOSING) for name, policy in players.items()}
        best = {reward: max(played, key=lambda name: getattr(played[name], reward).mean()) for reward in ("proxy", "true")}
        fresh = {reward: _played(env, players[name], proxy, episodes, MEASURING) for reward, name in best.items()}
        found = _compared(
            fresh["proxy"], fresh["true"], FALL * float(played[best["true"]].true.mean() - played["chance"].true.mean())
        )
        how = f"{best['proxy']} (best for the proxy) against {best['true']} (best for the truth)"
        varied = {reward: _varies(played, reward) for reward in best}
    return Interest(proxy, expected, found, how, correlation, tuple(_problems(expected, found, varied)))


def _players(env: Any, proxy: str, steps: int | None, say: Say) -> Iterator[tuple[str, Policy]]:
    """Everybody who may know how to earn a lot of either reward."""
    yield "chance", random_policy(env)
    if isinstance(env, ProxyEnv):
        yield from ((f"script {name!r}", scripted(env, name)) for name in env.policies())
        for reward in (proxy, "true"):
            yield f"plans for {reward!r}", CEM(env, reward, **PLAN)
    from ..agents.training import train  # torch: not needed for the help

    for arm in (proxy, "true"):
        overrides: dict[str, Any] = {} if steps is None else {"steps": steps}
        run = train(
            env,
            proxy=proxy,
            reward="true" if arm == "true" else None,
            algo=default_algorithm(env.name),
            evaluations=0,
            evaluation_episodes=1,
            progress=lambda row, arm=arm: say(f"{proxy}: training on {arm!r}, {row['fraction']:.0%}"),
            **overrides,
        )
        yield f"an agent trained on {arm!r}", run.policy()


def _played(env: Any, policy: Policy, proxy: str, episodes: int, seed: int) -> Returns:
    return evaluate(env, policy, episodes, seed, proxy=proxy)


def _compared(best_for_proxy: Returns, best_for_truth: Returns, margin: float) -> str:
    """The outcome, from the same episodes played by both."""
    gain = difference(best_for_proxy.proxy, best_for_truth.proxy, paired=True)
    loss = difference(best_for_truth.true, best_for_proxy.true, paired=True)
    return outcome(gain, loss, margin)


def _varies(played: Mapping[str, Returns], reward: str) -> bool:
    return bool(np.ptp(np.concatenate([getattr(returns, reward) for returns in played.values()])) > 0)


def _correlation(env: Any, proxy: str, episodes: int) -> Estimate | None:
    """Under the reference policy, or None where there is none."""
    if not isinstance(env, ProxyEnv) or not env.policies():
        return None
    played = collect(env, scripted(env, next(iter(env.policies()))), episodes, MEASURING, proxy=proxy)
    episode = np.broadcast_to(played.episode[:, None], played.valid.shape)
    return correlation_interval(played.proxy[played.valid], played.true[played.valid], episode[played.valid])


def _problems(expected: str, found: str, varied: Mapping[str, bool]) -> Iterator[str]:
    for reward, varies in varied.items():
        if not varies:
            yield f"whoever plays, the {reward} return is the same: there is nothing to optimise"
    if found != expected:
        yield f"expected to be {expected}, found {found}"
