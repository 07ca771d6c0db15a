"""How far a reward is from the true one, told without training on it: EPIC, DARD, STARC, exact regret, and an angle.

Two rewards may differ in every number and yet mean the same: neither a positive scale nor potential shaping changes which
policy is optimal (Ng, Harada and Russell 1999). EPIC, DARD and STARC each bring a reward into a canonical form in which shaping
is gone, then to length 1, and take half the distance of two such: 0 for rewards that mean the same, 1 for a reward and its
negative. They differ in what they compare. EPIC knows no dynamics and also looks at steps that can't happen; DARD averages over
those that can; STARC compares what actions are worth above the uniform policy. A trivial reward, under which all policies are
worth the same, has the canonical form 0 (for EPIC and DARD: one that is shaping and a constant), and is 1/2 from any other.

A reward is an array, of steps [S, A, S] or of actions [S, A]; or, where states can't be counted, a function of steps.
Potentials must be 0 in terminal states, where nothing follows. Regret and angle look at what episodes can reach.

EPIC: Gleave et al. 2021 (arXiv:2006.13900), definition 4.1 and the Pearson distance. DARD: Wulfe et al. 2022
(arXiv:2201.10081). STARC: Skalse et al. 2024 (arXiv:2309.15257), value-adjusted levelling with the L2 norm and metric, there
from 0 to 2. The angle: Karwowski et al. 2024 (arXiv:2310.09144).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from ..envs.batch import Array, Draws
from ..envs.core import Observed, ProxyEnv, ProxygapError, Transition, advance
from ..envs.tabular import LARGEST_DISCOUNT, TOLERANCE, TabularMDP

ROUNDING = 1e-12  # share of the numbers that a canonical form is computed from, below which it is 0
Rating = Callable[[Any], Array]  # steps -> reward [N]: a model's `predict`, or a `Reward` where the steps are Transitions


@dataclass(frozen=True)
class Dynamics:
    """How S states follow on each other under A actions, discounted for ever; raises ProxygapError if that is no MDP."""

    chances: Array  # [S, A, S]; a terminal state's are all 0
    discount: float
    start: Array | None = None  # [S] probability that an episode begins there; None: the same in all that are not terminal

    def __post_init__(self) -> None:
        shape, rows = np.shape(self.chances), np.sum(self.chances, -1)
        if len(shape) != 3 or shape[0] != shape[2] or np.min(self.chances) < 0 or not np.isclose(rows, rows[:, :1] > 0).all():
            raise ProxygapError(f"chances of shape {shape}: needed are [S, A, S] that add up to 1, or to 0 where terminal")
        if not 0 <= self.discount <= LARGEST_DISCOUNT:
            raise ProxygapError(f"discount {self.discount}: allowed are 0 to {LARGEST_DISCOUNT}")
        if self.start is not None and (np.shape(self.start) != shape[:1] or not np.isclose(np.sum(self.start), 1.0)):
            raise ProxygapError(f"start of shape {np.shape(self.start)}: needed are {shape[0]} chances that add up to 1")

    @classmethod
    def of(cls, mdp: TabularMDP, discount: float) -> Self:
        """Those of an environment's tables."""
        states, actions, _ = mdp.terms.shape
        return cls(mdp.transitions.toarray().reshape(states, actions, states), discount, mdp.start)

    @cached_property
    def alive(self) -> Array:
        """[S] bool, states that are not terminal."""
        return self.chances.sum((1, 2)) > 0

    @cached_property
    def begin(self) -> Array:
        """[S] probability that an episode begins there."""
        return self.alive / self.alive.sum() if self.start is None else self.start

    @cached_property
    def visited(self) -> Array:
        """[S] bool, states that are not terminal and that an episode can reach."""
        reached, leads = self.begin > 0, np.any(self.chances > 0, axis=1)
        for _ in range(len(reached)):
            reached = reached | np.any(leads[reached], axis=0)
        return reached & self.alive

    def expected(self, reward: Array) -> Array:
        """The reward [S, A] that an action can expect."""
        return (self.chances * _of_steps(reward, self.chances.shape)).sum(-1)

    def values(self, expected: Array, policy: Array) -> Array:
        """What a policy [S, A] is worth in each state, [S]."""
        onward = np.einsum("sa,sat->st", policy, self.chances)
        return np.linalg.solve(np.eye(len(onward)) - self.discount * onward, (policy * expected).sum(1))


def epic_canonical(reward: Array, discount: float) -> Array:
    """The canonically shaped reward [S, A, S] (definition 4.1), for states and actions that are uniform."""
    reward = _of_steps(reward)
    mean = reward.mean((1, 2))  # of what may follow on each state
    return reward + discount * mean - mean[:, None, None] - discount * mean.mean()


def epic(first: Array, second: Array, discount: float, coverage: Array | None = None) -> float:
    """The EPIC distance, 0 to 1. `coverage` [S, A, S]: how much each step counts (None: all the same, possible or not)."""
    forms = [epic_canonical(reward, discount) for reward in (first, second)]
    return _pearson(forms, np.ones(forms[0].shape) if coverage is None else coverage, _sizes(first, second))


def dard_canonical(reward: Array, dynamics: Dynamics) -> Array:
    """The dynamics-aware form [S, A, S]: like EPIC's, but next states follow from uniform actions by the dynamics.

    E[R + discount R(s', A, S'') - R(s, A, S') - discount R(S', A, S'')], where S' follows on s and S'' on s'.
    """
    chances, reward = dynamics.chances, _of_steps(reward, dynamics.chances.shape)
    mean = dynamics.expected(reward).mean(1)
    lasting = chances + np.diag(~dynamics.alive)[:, None]  # after the end: the end
    across = np.einsum("sap,pat,qat->sq", chances, reward, lasting, optimize=True) / chances.shape[1]
    return reward + dynamics.discount * (mean - across[:, None]) - mean[:, None, None]


def dard(first: Array, second: Array, dynamics: Dynamics, coverage: Array | None = None) -> float:
    """The DARD distance, 0 to 1. `coverage` as in `epic` (None: all actions the same, next states by the dynamics)."""
    forms = [dard_canonical(reward, dynamics) for reward in (first, second)]
    return _pearson(forms, dynamics.chances if coverage is None else coverage, _sizes(first, second))


def starc_canonical(reward: Array, dynamics: Dynamics) -> Array:
    """Value-adjusted levelling [S, A], E[R + discount V(S') - V(s)]: what actions are worth above the uniform policy's V."""
    expected = dynamics.expected(reward)
    values = dynamics.values(expected, np.full(expected.shape, 1.0 / expected.shape[1]))
    return expected + dynamics.discount * (dynamics.chances @ values) - values[:, None]


def starc(first: Array, second: Array, dynamics: Dynamics) -> float:
    """The STARC distance, 0 to 1, with values under the uniform policy and the L2 norm; half of a trivial one to any other."""
    forms = [starc_canonical(reward, dynamics) for reward in (first, second)]
    return _distance(forms, np.ones(forms[0].shape), _sizes(first, second) / (1 - dynamics.discount))


def regret(proxy: Array, true: Array, dynamics: Dynamics) -> float:
    """What optimising `proxy` costs of `true`: 0 where it leads to the best policy, 1 where it leads to the worst.

    Exact, by policy iteration (Puterman 1994, section 6.4). Of several policies that are optimal for `proxy`, the one that is
    worst for `true` counts. 0 if all policies are worth the same.
    """
    paid, wanted = dynamics.expected(proxy), dynamics.expected(true)
    slack_paid, slack_wanted = TOLERANCE * _sizes(paid, wanted) / (1 - dynamics.discount)
    anything, worth = np.ones(paid.shape, bool), _optimal(paid, dynamics, np.ones(paid.shape, bool))
    content = worth >= worth.max(1, keepdims=True) - slack_paid
    best = dynamics.begin @ _optimal(wanted, dynamics, anything).max(1)
    worst, found = (-(dynamics.begin @ _best(_optimal(-wanted, dynamics, allowed), allowed)) for allowed in (anything, content))
    return float(np.clip((best - found) / (best - worst), 0.0, 1.0)) if best - worst > slack_wanted else 0.0


def angle(first: Array, second: Array, dynamics: Dynamics) -> float:
    """The angle, in rad, 0 to pi, of two rewards projected on the affine hull of the occupancy polytope; NaN if one is trivial.

    The hull's directions are those along which occupancies [S, A] can change, so what is projected away is shaping: 0 says that
    both order all policies alike, pi that they order them the other way round.
    """
    first, second = projected(first, dynamics), projected(second, dynamics)
    if not (first.any() and second.any()):
        return float("nan")
    return float(2 * np.arctan2(np.linalg.norm(first - second), np.linalg.norm(first + second)))


def projected(reward: Array, dynamics: Dynamics) -> Array:
    """The direction [S, A], of length 1 or 0, in which a reward pulls occupancies: what shaping can't explain of it."""
    expected, (states, actions, _) = dynamics.expected(reward), dynamics.chances.shape
    rows = np.repeat(dynamics.visited, actions)
    shaping = np.repeat(np.eye(states), actions, 0) - dynamics.discount * dynamics.chances.reshape(-1, states)
    shaping, pull = shaping[rows][:, dynamics.visited], np.zeros(states * actions)
    potential, *_ = np.linalg.lstsq(shaping, expected.ravel()[rows])
    pull[rows] = expected.ravel()[rows] - shaping @ potential
    return _unit(pull, 1.0, _sizes(expected)[0] / (1 - dynamics.discount)).reshape(states, actions)


def epic_of_steps(
    first: Rating, second: Rating, steps: Observed, discount: float, rng: np.random.Generator, samples: int = 256
) -> float:
    """The EPIC distance over stored steps [N], its expectations over `samples` actions and states drawn from them, apart.

    Both rewards are judged on the same draws, so that shaping makes no difference. Steps that never happened are put together
    from stored ones and rated: a reward must bear that. Each reward is asked about 2 N + samples steps, `samples` times.
    """
    rows, other = rng.integers(len(_enough(steps)), size=(2, samples))
    begin = type(steps).concatenate([steps, _onward(steps), _onward(steps[rows])])
    means = np.zeros((2, len(begin)))
    for action, end in zip(other, rows, strict=True):
        action, end = np.full((2, len(begin)), [[action], [end]])
        means += _rated((first, second), _crossed(begin, steps.action[action], steps[end])) / samples
    here, there, anywhere = np.split(means, [len(steps), 2 * len(steps)], axis=1)
    forms = _rated((first, second), steps) + discount * there - here - discount * anywhere.mean(1, keepdims=True)
    return _pearson(forms, np.ones(len(steps)), _sizes(*means))


def dard_of_steps(
    first: Rating,
    second: Rating,
    env: ProxyEnv[Any],
    steps: Transition[Any],
    discount: float,
    rng: np.random.Generator,
    samples: int = 16,
) -> float:
    """The DARD distance over stored steps [N]: as `epic_of_steps`, with next states that the world itself gives, 2 per sample.

    The world goes on where an episode would have ended.
    """
    draws = Draws.seeded(rng.integers(2**62, size=len(_enough(steps))))
    ratings, rated = (first, second), _rated((first, second), steps)
    forms = rated.copy()
    for _ in range(samples):
        action = steps.action[rng.integers(len(steps), size=len(steps))]
        now, onward = (advance(env, state, action, draws) for state in (steps.state, steps.next_state))
        across = _crossed(_onward(now), action, onward)
        forms += (discount * _rated(ratings, onward) - _rated(ratings, now) - discount * _rated(ratings, across)) / samples
    return _pearson(forms, np.ones(len(steps)), _sizes(*rated))


def _of_steps(reward: Array, shape: Sequence[int] | None = None) -> Array:
    """The reward [S, A, S] of each step."""
    reward = np.asarray(reward, float)
    wanted = (*reward.shape[:2], reward.shape[0]) if shape is None else tuple(shape)
    if reward.ndim not in (2, 3) or reward.shape != wanted[: reward.ndim] or not np.isfinite(reward).all():
        raise ProxygapError(f"a reward of shape {reward.shape}: needed are finite numbers, [S, A, S] or [S, A], for {wanted}")
    return np.broadcast_to(reward[..., None] if reward.ndim == 2 else reward, wanted)


def _sizes(*rewards: Array) -> Array:
    """The largest number of each reward."""
    return np.array([np.abs(reward).max() for reward in rewards])


def _pearson(forms: Sequence[Array] | Array, weights: Array, sizes: Array) -> float:
    """sqrt((1 - r) / 2), r being the correlation of both: half the distance of what is centred and of length 1."""
    return _distance([form - np.average(form, weights=weights) for form in forms], weights, sizes)


def _distance(forms: Sequence[Array], weights: Array, sizes: Array) -> float:
    """Half the distance of the directions of both forms: so computed, and not from 1 - r, it is 0 where both are the same."""
    first, second = (_unit(form, weights, size) for form, size in zip(forms, sizes, strict=True))
    return float(0.5 * np.sqrt((weights / np.sum(weights) * (first - second) ** 2).sum()))


def _unit(form: Array, weights: Array | float, size: float) -> Array:
    """The form at length 1 (its weights taken to add up to 1), or 0 where it is but the rounding of numbers of this size."""
    share = weights / np.sum(weights)
    length = np.sqrt((share * form**2).sum())
    return form / length if length > ROUNDING * size else np.zeros_like(form)


def _optimal(expected: Array, dynamics: Dynamics, allowed: Array) -> Array:
    """The optimal worth [S, A] of every action, where only those `allowed` [S, A] are ever taken."""
    states, total = np.arange(len(allowed)), -np.inf
    choice = allowed.argmax(1)
    while True:
        values = dynamics.values(expected, np.eye(allowed.shape[1])[choice])
        worth = expected + dynamics.discount * (dynamics.chances @ values)
        better = _best(worth, allowed) > worth[states, choice] + TOLERANCE * abs(expected).max()
        if not better.any() or values.sum() <= total:  # the second: rounding alone, for ever
            return worth
        total, choice = values.sum(), np.where(better, np.where(allowed, worth, -np.inf).argmax(1), choice)


def _best(worth: Array, allowed: Array) -> Array:
    return np.where(allowed, worth, -np.inf).max(1)


def _enough(steps: Observed) -> Observed:
    if len(steps) < 2:
        raise ProxygapError(f"{len(steps)} steps: at least 2 are needed to correlate rewards")
    return steps


def _rated(ratings: Sequence[Rating], steps: Observed) -> Array:
    """What each reward pays for the steps, [2, N]; raises ProxygapError for what is not finite."""
    rated = np.stack([np.asarray(rating(steps), float) for rating in ratings])
    if rated.shape != (len(ratings), len(steps)) or not np.isfinite(rated).all():
        raise ProxygapError(f"rewards of shape {rated.shape[1:]} for {len(steps)} steps: needed is one finite number for each")
    return rated


def _onward(steps: Any) -> Any:
    """Steps that begin where these end; all else of them is as it was."""
    now = {"observation": steps.next_observation} | ({"state": steps.next_state} if isinstance(steps, Transition) else {})
    return replace(steps, **now)


def _crossed(begin: Any, action: Array, end: Any) -> Any:
    """Steps that begin like `begin`, do `action`, and end like `end`."""
    now = {"observation": begin.observation} | ({"state": begin.state} if isinstance(begin, Transition) else {})
    return replace(end, action=action, **now)
