"""Staying near a reference policy: a reward less what it costs to act otherwise, and how far an agent has gone.

An agent pi that starts as the reference pi0 and is paid reward - beta log(pi(a|s) / pi0(a|s)) learns to earn the reward and to
keep KL(pi || pi0), of whole episodes in nats, small. For one step the best it can become is pi ~ pi0 exp(reward / beta).

    pi0 = clone("lagoon", "racer")  # or: train("lagoon", steps=20_000)
    near = NearReference(model, pi0, beta=0.05)  # a model, any Reward, "true" or the name of a proxy
    for row in train("lagoon", reward=near).metrics:
        np.sqrt(np.mean(row["kl"])), np.mean(row["true"])  # a point of the curve of overoptimisation

With beta = 0 nothing is held back, and the distance is recorded all the same: the two are to be compared at equal KL, since a
penalty acts much like stopping earlier. How far an agent went says nothing where it did not begin at the reference.

The fresh agent, retrained on the frozen model, needs nothing from here: `train(env, reward=model)`, which begins at random
weights, with a `seed` that no agent had whose episodes the model was fitted to. What it truly earns tells whether the model is
right, or only was right about the agents that it was learned with (McKinney et al. 2023, arXiv:2301.03652).

Sources: Gao, Schulman and Hilton 2023 (arXiv:2210.10760); Ziegler et al. 2019 (arXiv:1909.08593) for the penalty; Laidlaw,
Singhal and Dragan 2024 (arXiv:2403.03185) on why this may be the wrong distance.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.distributions import kl_divergence
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.distributions import Normal
from torch.special import log_ndtr

from ..envs.batch import Array
from ..envs.core import Loop, ProxygapError, Reward, Transition, weighted
from .rollouts import Policy, collect, random_policy, scripted
from .trained import Trained, untrained
from .training import STREAMS, name_of, one_thread, settings_of

FAR = 1e6  # stands for an infinite bound, whose derivatives would not be numbers
BATCH, LEARNING_RATE = 256, 0.01  # of a clone's fit: steps of the world a gradient; Adam's rate, which falls to 0


@dataclass
class NearReference:
    """A `Reward`: `reward` - `beta` log(pi(a|s) / pi0(a|s)), where pi is whoever learns and pi0 the `reference` as it is now.

    `reward` is a function, or else the name or the weights of a reward of the reference's environment. The learner `start`s
    with the reference's actor, and with a critic of its own, unless it is told not to. `train` binds it to the learner, and
    records "kl" in every row of its metrics: KL(pi || pi0) in nats of each evaluated episode, the sum over its steps of that of
    the two distributions of actions. Their mean is the KL of whole episodes, and varies less than that of the log-ratios
    which are paid; but what is paid must depend on the action that was drawn, or PPO could not learn from it. Mean paid plus
    beta times mean kl estimates what the reward alone came to.

    Both policies are of stable-baselines3's PPO, A2C or TRPO, unmodified. In a Box, where the worlds are given clipped
    actions, it is those that are rated: a bound has the probability of all that lies beyond it. That is what the worlds see of
    an agent, and at most the KL of its Gaussians. PPO's `ent_coef` pulls towards uniform and `gamma` < 1 discounts the penalty,
    too: with 0 and 1 the aim is exactly E[sum of rewards] - beta KL. A learning rate that suits a random start can break a
    policy that knows its way: take a tenth of it.
    Raises ProxygapError for a beta below 0, and for policies that have no such distributions or do not fit each other.
    """

    reward: Reward | str | Mapping[str, float]
    reference: Trained
    beta: float = 0.0  # reward per nat
    start: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.beta < np.inf:
            raise ProxygapError(f"beta={self.beta}: the price of a nat must be a finite number from 0")
        self._reference = _frozen(_actor(self.reference.model))
        self._reward = self.reward if callable(self.reward) else _declared(self.reference.env, self.reward)
        self._learner: Any = None

    @property
    def __name__(self) -> str:  # by which a stored run knows that it is resumed with the same
        weights = b"".join(tensor.numpy().tobytes() for tensor in _actors_own(self._reference).values())
        began = "begun at" if self.start else "near"
        return f"{name_of(self._reward)}, {began} {hashlib.sha256(weights).hexdigest()[:12]}, beta {self.beta!r}"

    def bind(self, learner: Any) -> None:
        """From now on `learner`, a model of stable-baselines3, is whom this pays; gives it the reference's actor."""
        policy, known = _actor(learner), self.reference.model
        if (learner.observation_space, learner.action_space) != (known.observation_space, known.action_space):
            raise ProxygapError(
                f"the reference acts in {known.action_space} on {known.observation_space}: the learner does not"
            )
        if self.start:
            _start(policy, self._reference)
        self._learner = learner

    @torch.no_grad()
    def __call__(self, t: Transition[Any]) -> Array:
        """What each step is paid, [B]."""
        if not self.beta:
            return self._reward(t)
        pi, pi0 = self._distributions(t.observation)
        space, action = self._learner.action_space, torch.as_tensor(t.action)
        return self._reward(t) - self.beta * (log_probability(pi, action, space) - log_probability(pi0, action, space)).numpy()

    @torch.no_grad()
    def divergence(self, observation: Array) -> Array:
        """KL(pi(.|s) || pi0(.|s)) in nats for observations [B, ...]: [B]."""
        return divergence(*self._distributions(observation), self._learner.action_space).numpy()

    def watch(self, policy: Policy, episodes: int) -> tuple[Policy, dict[str, Array]]:
        """The policy, to be played once for that many episodes, and under "kl" what they come to meanwhile, [episodes]."""
        total, episode = np.zeros(episodes), None

        def watched(loop: Loop[Any]) -> Array:
            nonlocal episode
            worlds = len(loop.start)
            episode = np.arange(worlds) if episode is None else episode + worlds * loop.start
            counted = episode < episodes
            total[episode[counted]] += self.divergence(loop.observation)[counted]
            return policy(loop)

        return watched, {"kl": total}

    def _distributions(self, observation: Array) -> tuple[Any, Any]:
        if self._learner is None:
            raise ProxygapError("who is to stay near the reference? Train with this reward, or bind it to a model")
        seen, _ = self._reference.obs_to_tensor(observation)
        return self._learner.policy.get_distribution(seen), self._reference.get_distribution(seen)


def log_probability(distribution: Any, action: torch.Tensor, space: spaces.Space[Any]) -> torch.Tensor:
    """log pi(a|s) [B] of actions [B, ...] as the worlds are given them: in a Box a bound stands for all beyond it."""
    if not isinstance(space, spaces.Box):
        return distribution.log_prob(action)
    normal, low, high = _clipped(distribution, space)
    action = action.float().double().flatten(1)
    below, above = log_ndtr((low - normal.mean) / normal.stddev), log_ndtr((normal.mean - high) / normal.stddev)
    return torch.where(action <= low, below, torch.where(action >= high, above, normal.log_prob(action))).sum(1)


def divergence(p: Any, q: Any, space: spaces.Space[Any]) -> torch.Tensor:
    """KL(p || q) [B] in nats of two distributions of actions of stable-baselines3, exactly; in a Box of the clipped actions."""
    if not isinstance(space, spaces.Box):
        found = kl_divergence(p, q)
        return found.reshape(len(found), -1).sum(1).clamp(min=0)
    (p, low, high), (q, _, _) = _clipped(p, space), _clipped(q, space)
    found = _inside(p, q, low, high)
    for sign, bound in ((1, low), (-1, high)):
        log_p, log_q = (log_ndtr(sign * (bound - normal.mean) / normal.stddev) for normal in (p, q))
        found = found + log_p.exp() * (log_p - log_q)
    return found.sum(1).clamp(min=0)


def _inside(p: Normal, q: Normal, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """The integral of p log(p / q) from `low` to `high`, by the first two moments of a truncated normal distribution."""
    a, b = (low - p.mean) / p.stddev, (high - p.mean) / p.stddev
    unit = Normal(torch.zeros_like(a), 1.0)
    at_a, at_b = unit.log_prob(a).exp(), unit.log_prob(b).exp()
    mass, first = unit.cdf(b) - unit.cdf(a), at_a - at_b
    second = mass + a * at_a - b * at_b
    apart = p.mean - q.mean
    from_q = (p.variance * second + 2 * p.stddev * apart * first + apart**2 * mass) / q.variance
    return mass * (q.stddev / p.stddev).log() + (from_q - second) / 2


def _clipped(distribution: Any, space: spaces.Box) -> tuple[Normal, torch.Tensor, torch.Tensor]:
    """A Gaussian of stable-baselines3 [B, d] in double precision, and the bounds [d] at which its actions are clipped."""
    low, high = (torch.as_tensor(np.clip(bound, -FAR, FAR)).double().flatten() for bound in (space.low, space.high))
    return Normal(distribution.distribution.mean.double(), distribution.distribution.stddev.double()), low, high


def _actor(model: Any) -> ActorCriticPolicy:
    policy = model.policy
    if not isinstance(policy, ActorCriticPolicy) or isinstance(policy, RecurrentActorCriticPolicy):
        kind = type(model).__name__
        raise ProxygapError(
            f"{kind} has no chances of actions for what it sees: take ppo, a2c or trpo as learner and reference"
        )
    return policy


def _frozen(policy: ActorCriticPolicy) -> ActorCriticPolicy:
    """A copy, made as stable-baselines3 loads one: `deepcopy` fails on the gradients of the distribution last looked at."""
    copied = type(policy)(**policy._get_constructor_parameters())
    copied.load_state_dict(policy.state_dict())
    copied.set_training_mode(False)
    return copied


def _actors_own(policy: ActorCriticPolicy) -> dict[str, torch.Tensor]:
    """The weights that decide how it acts, without those of its critic."""
    weights = policy.state_dict()
    return {name: weights[name] for name in weights if "value_net" not in name and not name.startswith("vf_")}


def _start(policy: ActorCriticPolicy, reference: ActorCriticPolicy) -> None:
    own, given = policy.state_dict(), _actors_own(reference)
    if {name: w.shape for name, w in given.items()} != {name: w.shape for name, w in _actors_own(policy).items()}:
        raise ProxygapError("the learner's network is not the reference's: give both the same policy_kwargs, or start=False")
    policy.load_state_dict(own | given)


def _declared(env: Any, reward: str | Mapping[str, float]) -> Reward:
    weights = env.weights(reward)

    def declared(t: Transition[Any]) -> Array:
        return weighted(weights, env.terms(t))

    declared.__name__ = reward if isinstance(reward, str) else str(dict(reward))
    return declared


def clone(
    env: Any,
    policy: str | Policy,
    *,
    episodes: int = 64,
    noise: float = 0.1,
    updates: int = 2000,
    seed: int = 0,
    **overrides: Any,
) -> Trained:
    """A PPO policy that was taught to act like `policy`, a script's name or any policy: a behavioural clone.

    It is fitted by maximum likelihood, in so many `updates` of 256 steps each, to `episodes` of the policy with `noise`:
    one that never does otherwise would be infinitely far from all others. A choice is made at random with that chance (each of
    several), and to an action in a Box is added a normal error whose standard deviation is that share of half its range.
    `overrides` are those of `train`, such as `policy_kwargs`; the critic stays as it was drawn. The clone can be stored by
    `save_policy`. Raises ProxygapError for senseless settings.
    """
    for name, value, least in (("episodes", episodes, 1), ("updates", updates, 0)):
        if value < least:
            raise ProxygapError(f"{name}={value}: at least {least} is needed")
    settings, env = settings_of(env, algo="ppo", seed=seed, **overrides)
    name = policy if isinstance(policy, str) else name_of(policy)
    agent = Trained(replace(settings, reward=f"clone of {name}"), env, untrained(settings, env), [])
    teacher = scripted(env, policy) if isinstance(policy, str) else policy
    shown = collect(env, noisy(env, teacher, noise, seed), episodes, seed * STREAMS)
    with one_thread():
        _fit(agent.model, shown.observation[shown.valid], shown.action[shown.valid], updates, seed)
    return agent


def noisy(env: Any, policy: Policy, noise: float, seed: int = 0) -> Policy:
    """The policy with noise as `clone` describes it, drawn from `seed`. Raises ProxygapError for a noise outside [0, 1]."""
    space, rng, chance = env.action_space, np.random.default_rng(seed), random_policy(env, seed)
    if not 0 <= noise <= 1:
        raise ProxygapError(f"noise={noise}: allowed are 0 to 1")
    if isinstance(space, spaces.Box):
        if noise and not space.is_bounded():
            raise ProxygapError(f"noise={noise}: {space} has no bounds, so no range; take 0, or a policy with noise of its own")
        scale = noise * (space.high - space.low) / 2 if noise else np.zeros(space.shape)
        return lambda loop: (action := np.asarray(policy(loop))) + scale * rng.standard_normal(action.shape)
    return lambda loop: np.where(rng.random((action := np.asarray(policy(loop))).shape) < noise, chance(loop), action)


def _fit(model: Any, observation: Array, action: Array, updates: int, seed: int) -> None:
    """Maximises the likelihood of actions [N, ...] where observations [N, ...] were seen."""
    policy, space = model.policy, model.action_space
    rng, optimizer = np.random.default_rng(seed), torch.optim.Adam(policy.parameters(), LEARNING_RATE)
    seen, done = policy.obs_to_tensor(observation)[0], torch.as_tensor(action)
    for left in range(updates, 0, -1):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * left / updates
        rows = rng.integers(len(done), size=BATCH)
        loss = -log_probability(policy.get_distribution(seen[rows]), done[rows], space).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy.set_training_mode(False)
