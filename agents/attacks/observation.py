"""Adversarial observations: nothing is done otherwise, but what is shown of it is wrong by a little, in every number.

Against the filter, `SeenOtherwise` shows it a known catastrophe through sensors that err; the label stays. Against the agent,
`Perturbed` is an environment whose action is the error of what the agent is shown, so that every attack can search for errors
that drive it into catastrophes. Both in an L-infinity ball: the state-adversarial Markov decision process of Zhang et al. 2020
(arXiv:2003.08938), whose best adversary is an agent itself (Zhang et al. 2021, arXiv:2101.08452). The descent is that of Madry
et al. 2018 (arXiv:1706.06083).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ...envs.batch import Array, Draws
from ...envs.core import Observed, ProxyEnv, ProxygapError, Segments, Transition
from ..options import Options
from .core import Attack, Hunt, Target, at_least_one
from .descent import descend, gradient_of

Agent = Callable[[Array], Array]  # what is shown [B, *observation] -> actions [B, *action], always the same for the same


@dataclass
class SeenOtherwise(Attack):
    """Errs in what the target is shown of each case's own option, by at most `epsilon` standard deviations of each number.

    The deviations are those that the target's model standardises with; a number that never varied is shown as it is. What is
    seen after a step and before the next errs alike. A query is one descent's end, rated and checked; its steps are booked as
    if it had been played. A score is one gradient. The options of the findings hold what the target was shown.
    """

    epsilon: float = 0.1  # standard deviations
    population: int = 4  # descents of a trial side by side, each from a random point
    descents: int = 20  # gradient steps of each

    def __post_init__(self) -> None:
        at_least_one(population=self.population, descents=self.descents)
        if not self.epsilon > 0:
            raise ProxygapError(f"epsilon {self.epsilon}: a number above 0 is needed")

    def run(self, hunt: Hunt) -> None:
        radius = torch.from_numpy(self.epsilon * deviations(hunt.target, hunt.env)).float()
        options = floating(hunt.simulated(hunt.cases))
        if hunt.options is not None:  # of another attack before this one, which may have kept whole numbers
            hunt.options = floating(hunt.options)
        rows = hunt.rows
        hunt.judge(rows, options[rows], hunt.cases.action[rows, None])
        while len(rows := hunt.rows):
            tried = options[np.repeat(rows, self.population)]
            shown = Shown(hunt.target, tried)
            wall = radius.expand(shown.shape)
            error = descend(hunt.rng, lambda now, shown=shown: shown.gradient(now).sign(), -wall, wall, self.descents)
            hunt.ask(rows, self.population * self.descents)
            hunt.judge(rows, erring(tried, error.numpy()), np.repeat(hunt.cases.action[rows, None], self.population, 1))


def deviations(target: Target, env: ProxyEnv[Any]) -> Array:
    """The standard deviation of each number of an observation, [*observation], as the target's model knows it.

    Raises ProxygapError where it is shown no observation, or only choices.
    """
    known = target.inputs_.normalisers
    names = [name for name in ("observation", "next_observation") if name in known]
    if not names:
        raise ProxygapError(
            f"a target that is shown {', '.join(target.inputs_.shapes)}, no observation as numbers: there is nothing to err in"
        )
    found = (known[names[0]].squares / known[names[0]].count).sqrt().numpy()
    return found.reshape(env.observation_space.shape or ())


def floating(options: Options) -> Options:
    """The same with observations as numbers that can be a little wrong."""
    seen = {name: getattr(options, name).astype(np.float32) for name in ("observation", "next_observation")}
    return replace(options, **seen)


def erring(options: Options, error: Array) -> Options:
    """Options whose observations are wrong by errors [M, T + 1, *observation]."""
    before, after = options.observation + error[:, :-1], options.next_observation + error[:, 1:]
    return replace(options, observation=before, next_observation=after)


class Shown:
    """How suspicious M options are, by how wrong what is shown of them is."""

    def __init__(self, target: Target, options: Options) -> None:
        self.target, self.shown = target, target.inputs_.tensors(options.segments())
        self.valid = torch.from_numpy(options.valid).float()
        self.names = [name for name in ("observation", "next_observation") if name in target.inputs_.normalisers]
        self.shape = (len(options), options.valid.shape[1] + 1, *options.observation.shape[2:])

    def gradient(self, error: Tensor) -> Tensor:
        """How the suspicion rises with errors [M, T + 1, *observation]."""
        return gradient_of(self.suspicion, error)

    def suspicion(self, error: Tensor) -> Tensor:
        """[M]."""
        parts = {"observation": error[:, :-1], "next_observation": error[:, 1:]}
        tensors = dict(self.shown) | {name: self.shown[name] + parts[name] for name in self.names}
        return self.target.suspicion_tensors(tensors, self.valid)


class Perturbed(ProxyEnv[Any]):
    """An environment in which an agent acts, and whose action is by how much what the agent is shown is wrong.

    An action [B, *observation] in [-1, 1] is an error in units of `epsilon` (a number, or one for each of an observation's).
    The state is the environment's own, so that its scenes are this one's, too; what is done there is `done`. A filter of the
    environment that is shown actions must be attacked as `watched_by(filter)`: it then sees what the agent does.
    """

    def __init__(self, env: ProxyEnv[Any], agent: Agent, epsilon: float | Array) -> None:
        space = env.observation_space
        if not isinstance(space, spaces.Box):
            raise ProxygapError(f"observations {space}: only those in a Box can be a little wrong")
        if not (np.asarray(epsilon) >= 0).all() or not (np.asarray(epsilon) > 0).any():
            raise ProxygapError(f"epsilon {epsilon}: numbers from 0 are needed, and one above it")
        self.env, self.agent, self.epsilon = env, agent, np.broadcast_to(epsilon, space.shape)
        self.action_space, self.observation_space = spaces.Box(-1.0, 1.0, space.shape), space
        for name in ("horizon", "shows_time", "true_reward", "proxies", "view", "frames_per_second"):
            setattr(self, name, getattr(env, name))

    @property
    def name(self) -> str:
        """That of the environment, so that its filters are recognised."""
        return self.env.name

    def done(self, observation: Array, action: Array) -> Array:
        """What the agent does, [B, *action], when what it is shown is wrong by so much."""
        shown = (observation + self.epsilon * action).astype(np.result_type(observation.dtype, np.float32))
        return self.agent(shown)

    def watched_by(self, target: Target) -> Target:
        """The target as one that sees what the agent does instead of the errors."""
        return Watching(target, self) if "action" in target.inputs_.shapes else target

    def initial(self, batch: int, rng: Draws, previous: Any = None) -> Any:
        return self.env.initial(batch, rng, previous)

    def transition(self, state: Any, action: Array, rng: Draws) -> Any:
        return self.env.transition(state, self.done(self.env.observation(state), action), rng)

    def observation(self, state: Any) -> Array:
        return self.env.observation(state)

    def terminal(self, state: Any) -> Array:
        return self.env.terminal(state)

    def terms(self, t: Transition[Any]) -> dict[str, Array]:
        return self.env.terms(self._inner(t))

    def catastrophe(self, t: Transition[Any]) -> Array | None:
        return self.env.catastrophe(self._inner(t))

    def near_catastrophe(self, t: Transition[Any]) -> Array | None:
        return self.env.near_catastrophe(self._inner(t))

    @property
    def pictured(self) -> bool:
        return self.env.pictured

    def text(self, state: Any) -> str | None:
        return self.env.text(state)

    def draw(self, state: Any, canvas: Any) -> None:
        self.env.draw(state, canvas)

    def _inner(self, t: Transition[Any]) -> Transition[Any]:
        return replace(t, action=self.done(t.observation, t.action))


class Watching:
    """A target that is told what an agent does, where the action of the environment is an error in what the agent is shown.

    The agent is only a function, through which no gradient leads: it leads through what comes to be seen of it.
    """

    def __init__(self, target: Target, env: Perturbed) -> None:
        self.target, self.env, self.env_, self.threshold_ = target, env, target.env_, target.threshold_
        self.inputs_ = WatchedInputs(target.inputs_)

    def suspicion(self, segments: Segments) -> Array:
        """How suspicious each stretch is, [N]."""
        return self.target.suspicion(replace(segments, action=self._done(segments.observation, segments.action)))

    def suspicion_tensors(self, tensors: Mapping[str, Tensor], valid: Tensor) -> Tensor:
        """The same as a tensor."""
        done = self._done(*(tensors[name].detach().numpy() for name in ("observation", "action")))
        levels = self.target.inputs_.levels.get("action")
        action = torch.from_numpy(done).to(torch.float32 if levels is None else levels.dtype)
        return self.target.suspicion_tensors({**tensors, "action": action}, valid)

    def _done(self, observation: Array, error: Array) -> Array:
        """What the agent does, [N, T, *action]."""
        done = self.env.done(*(part.reshape(-1, *part.shape[2:]) for part in (observation, error)))
        return done.reshape(*observation.shape[:2], *done.shape[1:])


class WatchedInputs:
    """What a model is shown when it watches: actions as errors, with the observations that are needed to make them out."""

    def __init__(self, inputs: Any) -> None:
        parts = {
            part: {name: value for name, value in getattr(inputs, part).items() if name != "action"}
            for part in ("shapes", "levels", "normalisers")
        }
        self.others = replace(inputs, **parts)
        self.shapes, self.levels, self.normalisers = parts["shapes"], parts["levels"], parts["normalisers"]

    def tensors(self, observed: Observed) -> dict[str, Tensor]:
        """All of it, by name."""
        needed = {name: torch.from_numpy(getattr(observed, name)) for name in ("observation", "action")}
        return needed | self.others.tensors(observed)
