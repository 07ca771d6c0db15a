"""GoldBandit: one choice, a truth that is a fixed random network, and rewards that are it plus an error.

A context is shown, an action chosen, the episode is over. What the action is truly worth ("gold", as in Gao, Schulman and
Hilton 2023, arXiv:2210.10760) is a function of both that nobody sees. What is paid is that worth and an error, which is
another fixed function of context and action: who optimises what is paid finds the places where the error is large.

All depends on the error's tails (Kwa, Thomas and Garriga-Alonso 2024, arXiv:2407.14503). Of n actions drawn at random the
best by gold + normal error, of standard deviation s, is worth E[max of n standard normals] / sqrt(1 + s^2) of gold: less
than the best by gold is worth, but ever more with n. By gold + an error with the tails of Student's t (two degrees of
freedom) the best is worth ever less from about n = 16 on: the choice is all error, and gold goes back to its mean, 0.
Both are gamed by our definition (more proxy, less truth than by optimising the truth); only the second is ruined.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from gymnasium import spaces
from scipy.special import ndtr

from .batch import Array
from .core import Proxy, ProxyEnv, ProxygapError, State, Transition
from .painting import INK, MUTED, PAPER, PROXY_COLOUR, TRUE_COLOUR, Canvas, Colour

ROUGHNESS = 2.0  # rad per unit of context or action: contexts and actions span 2 units, so a feature waves about once
SAMPLE = 1 << 14  # contexts and actions by which networks are standardised
OPTIONS, TRIED = 256, 4  # actions that scripts choose among, and how many of them the reference looks at
PIXELS = 48  # along each side of a map
LIMIT = 3.0  # standard deviations, where a map's colours end


@dataclass(frozen=True)
class Network:
    """One hidden layer of cosines with random weights: nearly a draw from a Gaussian process with a Gaussian kernel.

    Random Fourier features (Rahimi and Recht 2007, "Random features for large-scale kernel machines", algorithm 1).
    """

    weights: Array  # [inputs, width] rad per unit; float32, whose cosines are ten times as fast
    phases: Array  # [width] rad, float32

    @classmethod
    def drawn(cls, inputs: int, width: int, seed: tuple[int, int]) -> "Network":
        """The network that `seed` stands for."""
        rng = np.random.default_rng(seed)
        weights, phases = rng.normal(0.0, ROUGHNESS, (inputs, width)), rng.uniform(0.0, 2.0 * np.pi, width)
        return cls(weights.astype(np.float32), phases.astype(np.float32))

    def __call__(self, inputs: Array) -> Array:
        """Its output [B] for inputs [B, inputs], of about mean 0 and standard deviation 1; no row depends on another."""
        angle = np.repeat(self.phases[None], len(inputs), 0)
        for column, weights in zip(inputs.astype(np.float32).T, self.weights, strict=True):
            angle += column[:, None] * weights
        return np.sqrt(2.0 / len(self.phases)) * np.cos(angle).sum(1).astype(float)


def heavy(normal: Array) -> Array:
    """Standard normal numbers turned into Student's t with two degrees of freedom, by their quantiles; the order is kept."""
    below, above = ndtr(normal), ndtr(-normal)
    return (below - above) / np.sqrt(2.0 * below * above)


@dataclass
class Choice(State):
    context: Array  # [B, contexts] in [-1, 1]
    chosen: Array  # [B, actions] in [-1, 1], 0 before the choice


@dataclass(frozen=True)
class GoldBandit(ProxyEnv[Choice]):
    """One step: a context is shown, an action chosen.

    Action [actions] and observation [contexts]: numbers in [-1, 1]. Gold has mean 0 and standard deviation 1 where contexts and
    actions are uniform, and so has the normal error, which is uncorrelated with gold there. The heavy error is the same error
    with other tails, so that both order actions alike. The blind proxy takes the last `blind` action features for 0.
    """

    contexts: int = 2  # features of a context
    actions: int = 4  # features of an action
    blind: int = 2  # of these, how many the blind proxy never sees
    width: int = 64  # of the networks
    noise: float = 1.0  # scale of the errors
    network: int = 0  # seed of the networks

    horizon = 1
    shows_time = True  # there is but one step, and nothing after it
    view = (-2.3, -1.35, 2.3, 1.45)
    frames_per_second = 2
    true_reward = {"gold": 1.0}
    proxies = {
        "heavy": Proxy({"gold": 1.0, "heavy_error": 1.0}, "learned", "a rating with rare but enormous errors"),
        "light": Proxy({"gold": 1.0, "light_error": 1.0}, "learned", "a rating with errors as large as what it rates"),
        "blind": Proxy({"seen": 1.0}, "scope", "a rating that never sees some features of what it rates"),
    }

    def __post_init__(self) -> None:
        if not (self.contexts >= 1 and self.actions >= 2 and 1 <= self.blind < self.actions and self.width >= 1):
            raise ProxygapError(
                f"{self}: needed are contexts and width from 1, actions from 2, and blind from 1 to actions - 1"
            )
        if not (np.isfinite(self.noise) and self.noise >= 0) or self.network < 0:
            raise ProxygapError(f"{self}: noise and network must be finite and at least 0")

    @cached_property
    def action_space(self) -> spaces.Space[Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return spaces.Box(-1.0, 1.0, (self.actions,), np.float32)

    @cached_property
    def observation_space(self) -> spaces.Space[Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return spaces.Box(-1.0, 1.0, (self.contexts,), np.float32)

    @cached_property
    def networks(self) -> tuple[Network, Network]:
        """The truth's and the error's."""
        inputs = self.contexts + self.actions
        truth, error = (Network.drawn(inputs, self.width, (self.network, which)) for which in (0, 1))
        return truth, error

    @cached_property
    def scales(self) -> tuple[float, float, float, float, float]:
        """Mean and deviation of the truth; the error's slope on the truth; mean and deviation of what that leaves of it."""
        uniform = np.random.default_rng(self.network).uniform(-1.0, 1.0, (SAMPLE, self.contexts + self.actions))
        truth, error = (network(uniform) for network in self.networks)
        slope = np.cov(truth, error)[0, 1] / truth.var(ddof=1)
        rest = error - slope * truth
        return truth.mean(), truth.std(), slope, rest.mean(), rest.std()

    def initial(self, batch, rng, previous=None):
        return Choice(rng.uniform(-1.0, 1.0, (batch, self.contexts)), np.zeros((batch, self.actions)))

    def transition(self, state, action, rng):
        return Choice(state.context, np.asarray(action, float))

    def observation(self, state):
        return state.context.astype(np.float32)

    def terms(self, t: Transition[Choice]):
        return self.rated(t.state.context, t.next_state.chosen)

    def rated(self, context: Array, action: Array) -> dict[str, Array]:
        """Every term [N] of contexts [N, contexts] and actions [N, actions]."""
        mean, deviation, slope, rest_mean, rest_deviation = self.scales
        seen = np.where(np.arange(self.actions) < self.actions - self.blind, action, 0.0)
        inputs = np.concatenate([context, action], 1)
        truth, error = (network(inputs) for network in self.networks)
        light = (error - slope * truth - rest_mean) / rest_deviation
        return {
            "gold": (truth - mean) / deviation,
            "light_error": self.noise * light,
            "heavy_error": self.noise * heavy(light),
            "seen": (self.networks[0](np.concatenate([context, seen], 1)) - mean) / deviation,
        }

    @cached_property
    def options(self) -> Array:
        """[OPTIONS, actions] the actions that scripts choose among, the same in every context."""
        return np.random.default_rng((self.network, 2)).uniform(-1.0, 1.0, (OPTIONS, self.actions))

    def policies(self):
        """The reference knows the truth but looks at few actions; the others look at many, and choose by what they are paid."""
        paid: dict[str, Callable[[Choice], Array]] = {"expert": partial(self._best, "true", TRIED)}
        for name, reward in {"honest": "true", "gamer": "heavy", "light_gamer": "light", "blind_gamer": "blind"}.items():
            paid[name] = partial(self._best, reward, OPTIONS)
        return paid

    def _best(self, reward: str, tried: int, state: Choice) -> Array:
        """The best of the first `tried` options by a reward, [B, actions]."""
        context, options = np.repeat(state.context, tried, 0), np.tile(self.options[:tried], (len(state), 1))
        worth = self._worth(reward, context, options).reshape(len(state), tried)
        return self.options[worth.argmax(1)].astype(np.float32)

    def _worth(self, reward: str, context: Array, action: Array) -> Array:
        terms = self.rated(context, action)
        return sum((weight * terms[name] for name, weight in self.weights(reward).items()), np.zeros(len(context)))

    def draw(self, state: Choice, canvas: Canvas) -> None:
        """What is wanted (left) and what the heavy proxy pays (right), over the first two features of the action."""
        for reward, title, colour, left in (("true", "wanted", TRUE_COLOUR, -2.2), ("heavy", "paid", PROXY_COLOUR, 0.2)):
            self._draw_map(canvas, state, reward, colour, left)
            canvas.text(title, (left + 1.0, 1.22), 0.2, INK)
            if state.time[0] > 0:
                canvas.circle(state.chosen[0, :2] + (left + 1.0, 0.0), 0.09, INK)
                canvas.circle(state.chosen[0, :2] + (left + 1.0, 0.0), 0.06, PAPER)

    def _draw_map(self, canvas: Canvas, state: Choice, reward: str, colour: Colour, left: float) -> None:
        """A reward over the first two features of the action, the others as chosen; a cross where it is highest."""
        side = (np.arange(PIXELS) + 0.5) / PIXELS * 2.0 - 1.0
        across, up = (axis.ravel() for axis in np.meshgrid(side, side[::-1]))
        action = np.repeat(state.chosen[:1], PIXELS**2, 0)
        action[:, 0], action[:, 1] = across, up
        worth = self._worth(reward, np.repeat(state.context[:1], PIXELS**2, 0), action)
        share = np.clip(worth / LIMIT, -1.0, 1.0)[:, None] / 2 + 0.5
        pixels = (1 - share) * np.array(PAPER) + share * np.array(colour)
        canvas.image(pixels.reshape(PIXELS, PIXELS, 3).astype(np.uint8), (left, -1.0, 2.0, 2.0))
        canvas.rectangle((left, -1.0, 2.0, 2.0), MUTED, width=0.015)
        x, y = left + 1.0 + across[worth.argmax()], up[worth.argmax()]
        for slant in (-0.05, 0.05):
            canvas.line([(x - slant, y - 0.05), (x + slant, y + 0.05)], INK, 0.025)
