"""Distances between rewards: blind to shaping and scale, closed forms in two states, and samples against exact values."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.batch import Array
from proxygap.envs.core import Observed, ProxyEnv, ProxygapError, State, Transition, completed
from proxygap.envs.gridworlds.boat_race import BoatRace
from proxygap.envs.tabular import evaluate_policy, tabulate
from proxygap.reward_models.distances import (
    Dynamics,
    angle,
    dard,
    dard_of_steps,
    epic,
    epic_canonical,
    epic_of_steps,
    projected,
    regret,
    starc,
    starc_canonical,
)

CLOSE = 1e-6
NAMES = ("epic", "dard", "starc")
TWO = Dynamics(np.repeat(np.eye(2)[None], 2, 0), 0.5, np.array([1.0, 0.0]))  # action a leads to state a


def random_dynamics(rng, states=4, actions=3, ends=False, discount=0.9) -> Dynamics:
    chances = rng.random((states, actions, states)) * (rng.random((states, actions, states)) < 0.6) + 1e-3 * np.eye(states)[0]
    chances /= chances.sum(-1, keepdims=True)
    if ends:
        chances[-1] = 0.0
    return Dynamics(chances, discount)


def random_reward(rng, dynamics) -> Array:
    return rng.normal(size=dynamics.chances.shape)


def shaped(rng, reward, dynamics) -> Array:
    """The same wish, at another scale, and with a potential that is 0 in terminal states."""
    potential = rng.normal(0, 10, len(reward)) * dynamics.alive
    return rng.uniform(0.1, 10) * (reward + dynamics.discount * potential - potential[:, None, None])


def distances(first, second, dynamics) -> dict[str, float]:
    values = epic(first, second, dynamics.discount), dard(first, second, dynamics), starc(first, second, dynamics)
    return dict(zip(NAMES, values, strict=True))


@given(seed=st.integers(0, 10**6), ends=st.booleans(), discount=st.sampled_from([0.0, 0.5, 0.9, 0.99]))
def test_shaping_and_scale_change_nothing(seed, ends, discount):
    rng = np.random.default_rng(seed)
    dynamics = random_dynamics(rng, ends=ends, discount=discount)
    reward, other = (random_reward(rng, dynamics) for _ in range(2))
    same = shaped(rng, reward, dynamics)
    before, after = distances(reward, other, dynamics), distances(same, shaped(rng, other, dynamics), dynamics)
    assert before == pytest.approx(after, abs=CLOSE)
    assert distances(reward, same, dynamics) == pytest.approx(dict.fromkeys(NAMES, 0.0), abs=CLOSE)
    assert distances(same, -reward, dynamics) == pytest.approx(dict.fromkeys(NAMES, 1.0), abs=CLOSE)
    assert regret(same, reward, dynamics) == pytest.approx(0.0, abs=CLOSE)
    assert regret(-same, reward, dynamics) == pytest.approx(1.0, abs=CLOSE)
    assert angle(same, reward, dynamics) == pytest.approx(0.0, abs=CLOSE)
    assert angle(-same, reward, dynamics) == pytest.approx(np.pi, abs=CLOSE)


@given(st.integers(0, 10**6))
def test_each_is_a_distance(seed):
    rng = np.random.default_rng(seed)
    dynamics = random_dynamics(rng)
    first, second, third = (random_reward(rng, dynamics) for _ in range(3))
    there, back = distances(first, second, dynamics), distances(second, first, dynamics)
    on, whole = distances(second, third, dynamics), distances(first, third, dynamics)
    for name in NAMES:
        assert 0 <= there[name] == back[name] <= 1
        assert whole[name] <= there[name] + on[name] + 1e-12


def test_starc_and_epic_by_hand_in_two_states():
    """Staying in or going to state a pays `rewards[a]`; the uniform policy is worth the mean for ever, wherever it is."""
    rewards = np.array([1.0, 3.0])
    reward = np.broadcast_to(rewards, (2, 2))
    assert starc_canonical(reward, TWO) == pytest.approx(np.broadcast_to([-1.0, 1.0], (2, 2)))
    # Uniform next states, mean 2 everywhere: R + 0.5 * 2 - 2 - 0.5 * 2
    assert epic_canonical(reward, TWO.discount) == pytest.approx(np.broadcast_to([[-1.0], [1.0]], (2, 2, 2)))
    leave = np.array([[0.0, 1.0], [1.0, 0.0]])  # pays for moving: at right angles to the pay for places
    assert starc(reward, leave, TWO) == pytest.approx(np.sqrt(0.5))
    assert epic(reward, leave, TWO.discount) == pytest.approx(np.sqrt(0.5))


def test_dard_looks_only_at_steps_that_can_happen():
    impossible = np.zeros((2, 2, 2))
    impossible[:, 0, 1] = impossible[:, 1, 0] = 100.0
    rewards = np.broadcast_to([1.0, 3.0], (2, 2))[..., None] + np.zeros((2, 2, 2))
    for distance in (starc, dard):
        assert distance(rewards, rewards + impossible, TWO) == pytest.approx(0.0, abs=CLOSE)
    assert epic(rewards, rewards + impossible, TWO.discount) > 0.5


def test_angle_and_regret_by_hand_in_two_states():
    """Occupancies [S, A] of TWO have two directions: how much time in state 1, and how often to move."""
    stay_in_1, go_to_1 = np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    assert regret(go_to_1, stay_in_1, TWO) == pytest.approx(0.0)
    assert regret(np.eye(2)[::-1], stay_in_1, TWO) == pytest.approx(1.0)  # moves for ever: is never paid for staying
    assert regret(np.zeros((2, 2)), stay_in_1, TWO) == pytest.approx(1.0)  # content with anything: also with the worst
    pulls = [projected(reward, TWO).ravel() for reward in (stay_in_1, go_to_1)]
    assert angle(stay_in_1, go_to_1, TWO) == pytest.approx(np.arccos(pulls[0] @ pulls[1]))
    assert np.isnan(angle(np.ones((2, 2)), go_to_1, TWO))


@given(st.integers(0, 10**6), st.booleans())
def test_what_is_projected_away_is_the_same_for_all_policies(seed, ends):
    rng = np.random.default_rng(seed)
    dynamics = random_dynamics(rng, ends=ends)
    reward = random_reward(rng, dynamics)
    pull, expected = projected(reward, dynamics), dynamics.expected(reward)
    policies = rng.dirichlet(np.ones(3), (6, 4))
    true = np.array([dynamics.begin @ dynamics.values(expected, policy) for policy in policies])
    kept = np.array([dynamics.begin @ dynamics.values(pull, policy) for policy in policies])
    scale = (true - true.mean()) @ (kept - kept.mean()) / ((kept - kept.mean()) ** 2).sum()
    assert true - true.mean() == pytest.approx(scale * (kept - kept.mean()), abs=1e-8)


@given(st.integers(0, 10**6), st.booleans())
def test_regret_equals_brute_force(seed, ends):
    """Over all deterministic policies, with whole rewards that often tie: of those best for the proxy, the worst counts."""
    rng = np.random.default_rng(seed)
    dynamics = random_dynamics(rng, states=3, actions=2, ends=ends)
    proxy, true = rng.integers(-1, 2, (2, 3, 2)).astype(float)
    returns = np.array(
        [
            [dynamics.begin @ dynamics.values(dynamics.expected(r), np.eye(2)[list(choice)]) for r in (proxy, true)]
            for choice in product(range(2), repeat=3)
        ]
    )
    best, worst = returns[:, 1].max(), returns[:, 1].min()
    found = returns[returns[:, 0] >= returns[:, 0].max() - 1e-9, 1].min()
    expected = (best - found) / (best - worst) if best - worst > 1e-9 else 0.0
    assert regret(proxy, true, dynamics) == pytest.approx(expected, abs=CLOSE)


def test_trivial_rewards_lie_halfway_between_opposites():
    reward, trivial = np.array([[0.0, 1.0], [0.0, 1.0]]), np.ones((2, 2))
    assert distances(reward, trivial, TWO) == pytest.approx(dict.fromkeys(NAMES, 0.5))
    assert distances(trivial, 7 * trivial, TWO) == pytest.approx(dict.fromkeys(NAMES, 0.0))
    assert regret(reward, trivial, TWO) == 0.0


def test_an_environment_of_few_states():
    env, discount = BoatRace(), 0.9
    mdp = tabulate(env)
    dynamics = Dynamics.of(mdp, discount)
    policy = np.random.default_rng(0).dirichlet(np.ones(mdp.terms.shape[1]), len(mdp.start))
    paid, true = (mdp.rewards(env.weights(reward)) for reward in (next(iter(env.proxies)), "true"))
    worth = dynamics.begin @ dynamics.values(dynamics.expected(true), policy)
    assert worth == pytest.approx(evaluate_policy(mdp, policy, env.true_reward, discount=discount))
    assert regret(paid, true, dynamics) > 0.1
    assert all(0 < distance < 1 for distance in distances(paid, true, dynamics).values())


@dataclass
class Place(State):
    at: Array  # [B] number of the place


@dataclass
class Places(ProxyEnv[Place]):
    """Any dynamics as a world whose observation [B, 1] is the number of the place."""

    chances: Array  # [S, A, S]
    observation_space = spaces.Box(0.0, 1e9, (1,), np.float64)
    horizon = 9

    def __post_init__(self):
        self.action_space = spaces.Discrete(self.chances.shape[1])

    def initial(self, batch, rng, previous=None):
        return Place(np.zeros(batch, int))

    def transition(self, state, action, rng):
        return Place((rng.random(len(state))[:, None] >= self.chances[state.at, action].cumsum(1)[:, :-1]).sum(1))

    def observation(self, state):
        return state.at[:, None].astype(float)

    def terms(self, t):
        return {"at": t.state.at.astype(float)}


def all_steps(env: Places) -> Transition:
    """Every step once, possible or not."""
    states, actions, _ = env.chances.shape
    s, a, to = np.meshgrid(np.arange(states), np.arange(actions), np.arange(states), indexing="ij")
    return completed(env, Place(s.ravel()), a.ravel(), Place(to.ravel()))


def seen(table: Array):
    """The reward of a step, told by what is seen of it."""
    return lambda t: table[t.observation[:, 0].astype(int), t.action, t.next_observation[:, 0].astype(int)]


def known(table: Array):
    """The reward of a step, told by the hidden states."""
    return lambda t: table[t.state.at, t.action, t.next_state.at]


@given(st.integers(0, 10**6))
def test_samples_too_are_blind_to_shaping_and_scale(seed):
    rng = np.random.default_rng(seed)
    dynamics = random_dynamics(rng)
    env, reward, other = Places(dynamics.chances), *(random_reward(rng, dynamics) for _ in range(2))
    same, steps = shaped(rng, reward, dynamics), all_steps(env)

    def sampled(first, second):
        from_seen = epic_of_steps(seen(first), seen(second), steps.observed(), 0.9, np.random.default_rng(1), samples=20)
        from_world = dard_of_steps(known(first), known(second), env, steps, 0.9, np.random.default_rng(1), samples=3)
        return [from_seen, from_world]

    assert sampled(reward, same) == pytest.approx([0.0, 0.0], abs=CLOSE)
    assert sampled(-reward, same) == pytest.approx([1.0, 1.0], abs=CLOSE)
    assert sampled(same, other) == pytest.approx(sampled(reward, other), abs=CLOSE)


def test_samples_come_to_the_exact_distances():
    rng = np.random.default_rng(3)
    dynamics = random_dynamics(rng)
    env, first, second = Places(dynamics.chances), *(random_reward(rng, dynamics) for _ in range(2))
    second += 0.7 * first
    steps = all_steps(env)
    for as_seen, shown in ((seen, steps.observed()), (known, steps)):
        found = epic_of_steps(as_seen(first), as_seen(second), shown, 0.9, rng, samples=3000)
        assert found == pytest.approx(epic(first, second, 0.9), abs=0.02)
    played = steps[rng.choice(len(steps), 4000, p=dynamics.chances.ravel() / dynamics.chances.sum())]
    found = dard_of_steps(known(first), known(second), env, played, 0.9, rng, samples=200)
    assert found == pytest.approx(dard(first, second, dynamics), abs=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Dynamics(np.ones((2, 2, 2)), 0.9), "add up to 1"),
        (lambda: Dynamics(np.eye(2), 0.9), r"\[S, A, S\]"),
        (lambda: Dynamics(TWO.chances, 1.0), "discount 1.0"),
        (lambda: Dynamics(TWO.chances, 0.9, np.ones(2)), "add up to 1"),
        (lambda: starc(np.ones((2, 3)), np.ones((2, 2)), TWO), r"shape \(2, 3\)"),
        (lambda: epic(np.full((2, 2), np.nan), np.ones((2, 2)), 0.9), "finite"),
        (lambda: epic(np.ones(3), np.ones(3), 0.9), r"\[S, A, S\]"),
    ],
)
def test_what_is_no_mdp_or_no_reward_is_refused(wrong, message):
    with pytest.raises(ProxygapError, match=message):
        wrong()


def test_samples_need_steps_and_one_number_for_each():
    steps: Observed = all_steps(Places(TWO.chances)).observed()
    pay, rng = seen(np.ones((2, 2, 2))), np.random.default_rng(0)
    with pytest.raises(ProxygapError, match="at least 2"):
        epic_of_steps(pay, pay, steps[:1], 0.9, rng)
    with pytest.raises(ProxygapError, match="one finite number"):
        epic_of_steps(pay, lambda t: np.full(len(t.action), np.nan), steps, 0.9, rng)
