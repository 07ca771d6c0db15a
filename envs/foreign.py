"""Any existing Gymnasium environment, with terms declared for it: one reward to want, another to be paid.

Wrap one that is there:

    env = ProxyGapWrapper(
        gymnasium.make("CartPole-v1"),
        terms={"upright": lambda t: 1.0 - abs(t.next_observation[2]), "alive": lambda t: t.reward},
        true={"upright": 1.0},
        proxy={"alive": 1.0},
    )

or declare a class that makes its own (`ForeignEnv`; see foreign_worlds.py), which reads like a native world. Either is
measured, trained and watched like a native one. It keeps its simulators to itself: there is no state to plan with or to branch,
and a loop is restored by playing its episodes' actions again.

Simulators are stepped one after another, and one whose episode ends begins its next in the same step (Gymnasium's SAME_STEP).
Gymnasium's own vectorisation was measured and not taken. Steps a second of 8 simulators on two cores, in turn as here, in a
SyncVectorEnv, and in an AsyncVectorEnv (Gymnasium 1.4): CartPole 82,000, 68,000, 7,700; HalfCheetah 15,300, 12,400, 6,500;
River Raid 2,170, 2,230, 2,850; highway merge 49, 48, 92. Processes pay for the slowest simulators only, and the runs of a study
(`--jobs`) fill the cores better: each is a process of its own, and they wait for nobody.

Environments of the old `gym` come through Shimmy (pip install 'shimmy[gym-v26]' gym):
`gymnasium.make("GymV26Environment-v0", env_id="Old-v0")` is one to wrap.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np

from .adapters import info_of
from .batch import Array
from .core import Proxy, ProxyEnv, ProxygapError, Script
from .foreign_loop import ForeignLoop, Moment, Shown
from .painting import Canvas

Term = str | Callable[[Moment], Any]  # a key of `info`, or a function


def always(action: Any) -> Script:
    """A script that acts the same in every world, whatever is shown."""
    return lambda state: np.repeat(np.asarray(action)[None], len(state), 0)


class ForeignEnv(ABC):
    """An environment of somebody else's. A subclass gives its `id`, `horizon`, rewards and `terms`, as a native world does.

    `id` is what `gymnasium.make` takes; "module:Name-v0" imports the module first. `extra` names proxygap's extra that installs
    what it needs. A subclass with settings is a dataclass. Raises ProxygapError where a package is missing.
    """

    id: str
    extra: str | None = None
    horizon: int  # steps an episode may last
    true_reward: Mapping[str, float]
    proxies: Mapping[str, Proxy]
    keys: Mapping[str, Any] = {}  # as in ProxyEnv
    view: tuple[float, float, float, float] = (0.0, 0.0, 1.5, 1.0)  # of a picture of any shape
    shows_time = False
    pictured: bool  # by default, whether it was made with render_mode="rgb_array"
    frames_per_second: int  # by default, what the environment says

    def __init__(self) -> None:
        self.__post_init__()

    def __post_init__(self) -> None:  # which dataclasses call
        first = self.simulator()
        self.observation_space, self.action_space = first.observation_space, first.action_space
        self._look_up(first)

    def _look_up(self, first: gymnasium.Env[Any, Any]) -> None:
        """What the environment says of its pictures, where the class does not."""
        if not hasattr(type(self), "pictured"):
            self.pictured = first.render_mode == "rgb_array"
        if not hasattr(type(self), "frames_per_second"):
            self.frames_per_second = first.metadata.get("render_fps", 30)

    weights = ProxyEnv.weights  # the same rules, and the same messages
    text = ProxyEnv.text

    @property
    def name(self) -> str:
        """What the environment is called in tables, titles and presets."""
        return type(self).__name__

    @abstractmethod
    def terms(self, t: Moment) -> Mapping[str, Any]:
        """What can be measured in a step of one world, each a number: rewards are weightings of these."""

    def simulator(self) -> gymnasium.Env[Any, Any]:
        """A fresh copy of the environment. To wrap it, override this and wrap what `made` gives."""
        return self.made()

    def made(self, **options: Any) -> gymnasium.Env[Any, Any]:
        """The environment as Gymnasium makes it, with further `options`. Raises ProxygapError where a package is missing."""
        options |= {"max_episode_steps": self.horizon, "render_mode": "rgb_array", "disable_env_checker": True}
        try:
            return gymnasium.make(self.id, **options)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            need = f"pip install 'proxygap[{self.extra}]'" if self.extra else error
            raise ProxygapError(f"{self.name} needs a package that is not installed: {need}") from error

    @cached_property
    def term_names(self) -> list[str]:
        """The names of all terms, found by measuring one step."""
        simulator, space = self.simulator(), deepcopy(self.action_space)
        space.seed(0)
        observation, action = simulator.reset(seed=0)[0], space.sample()
        seen, reward, terminated, _, info = simulator.step(action)
        return list(self.terms(Moment(observation, action, seen, float(reward), terminated, info, simulator.unwrapped)))

    def policies(self) -> Mapping[str, Script]:
        """Scripted policies by name, functions of what is `Shown`; the first is the reference policy."""
        return {}

    def look(self, simulator: Any) -> Array:
        """What `draw` needs of one simulator; by default its own picture."""
        return simulator.render()

    def draw(self, state: Shown, canvas: Canvas) -> None:
        """Paints the first world: by default its own picture, as large as fits into `view`."""
        height, width = state.picture.shape[1:3]
        _, _, right, top = self.view
        scale = min(right / width, top / height)
        canvas.image(state.picture[0], ((right - width * scale) / 2, (top - height * scale) / 2, width * scale, height * scale))

    def loop(self, batch: int = 1, **kwargs: Any) -> "ForeignLoop":
        """`batch` simulators side by side; keywords as in `Loop`."""
        return ForeignLoop(self, [self.simulator() for _ in range(batch)], **kwargs)


class ProxyGapWrapper(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs, ForeignEnv):
    """`env` with `terms`, each a function of a `Moment` or a key of `info`; `true` and `proxy` are weights over them.

    It is a Gymnasium environment itself, whose `info` has both rewards. `proxy` may also be a mapping of names to `Proxy`.
    Where the environment has no time limit, episodes are cut off after `horizon` steps. `scripts` are policies, functions of
    what is `Shown`, the reference first. Raises ProxygapError for weights of terms that were not declared.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        terms: Mapping[str, Term],
        true: Mapping[str, float],
        proxy: Mapping[str, float] | Mapping[str, Proxy],
        horizon: int = 1000,
        scripts: Mapping[str, Script] | None = None,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, terms=terms, true=true, proxy=proxy, horizon=horizon, scripts=scripts
        )
        gymnasium.Wrapper.__init__(self, env)
        self._look_up(env)
        self.term_names = list(terms)
        self.declared, self.true_reward, self.scripts = dict(terms), dict(true), dict(scripts or {})
        named = {name: value for name, value in proxy.items() if isinstance(value, Proxy)}
        own = {name: value for name, value in proxy.items() if not isinstance(value, Proxy)}
        self.proxies = named or {"proxy": Proxy(own, "ontological", "declared by the user")}
        self.horizon = (env.spec.max_episode_steps if env.spec else None) or horizon
        for reward in ({"true": self.true_reward} | {name: proxy.weights for name, proxy in self.proxies.items()}).values():
            self.weights(reward)
        self.single: ForeignLoop | None = None

    @property
    def name(self) -> str:
        """The wrapped environment's id, or its class."""
        return self.env.spec.id if self.env.spec else type(self.env.unwrapped).__name__

    def terms(self, t: Moment) -> dict[str, Any]:
        """Every declared term's value. Raises ProxygapError where `info` lacks a term's key."""
        return {name: term(t) if callable(term) else self._told(term, t.info) for name, term in self.declared.items()}

    def _told(self, key: str, info: Mapping[str, Any]) -> Any:
        if key not in info:
            raise ProxygapError(f"no {key!r} in the environment's info; it has: {', '.join(info) or 'nothing'}")
        return info[key]

    def policies(self) -> Mapping[str, Script]:
        """The scripts."""
        return self.scripts

    def simulator(self) -> gymnasium.Env[Any, Any]:
        """A fresh copy of the wrapped environment."""
        return gymnasium.make(self.env.spec) if self.env.spec else deepcopy(self.env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode of this one environment."""
        self.single = self.single or ForeignLoop(self, [self.env], autoreset=False)
        return self.single.reset(seed=seed)[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step, paid by the first proxy; `info` has both rewards and the terms beside what the environment tells."""
        if self.single is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        step = self.single.step(np.asarray(action)[None])
        told = self.single.infos[0] | info_of(step, self.single)
        return step.observation[0], float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), told
