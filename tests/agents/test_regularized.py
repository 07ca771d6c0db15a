"""Staying near a reference: what is paid, how far an agent went, and where it ends, against exact sums."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from proxygap.agents.regularized import NearReference, clone, divergence, log_probability, noisy
from proxygap.agents.rollouts import collect, evaluate, random_policy, scripted
from proxygap.agents.trained import Trained, load_policy, save_policy
from proxygap.agents.training import resume, train
from proxygap.agents.vec_env import LoopVecEnv
from proxygap.envs.batch import Array
from proxygap.envs.core import Proxy, ProxyEnv, ProxygapError, State
from proxygap.envs.gridworlds.boat_race import BoatRaceStrict
from scipy import stats
from stable_baselines3.common import distributions as sb3

from .runners import outcome
from .worlds import Thermostat

QUICK: dict[str, Any] = {"steps": 64, "n_envs": 4, "n_steps": 8, "batch_size": 16, "evaluations": 2, "evaluation_episodes": 3}
WORTH = np.array([0.0, 0.5, 1.0])  # of the three choices
TOP, STEPS = 2, 3  # rungs; an episode's longest


@dataclass
class Asked(State):
    asked: Array  # [B, 1]


class Choice(ProxyEnv[Asked]):
    """One choice of three, and the episode is over."""

    action_space = spaces.Discrete(3)
    observation_space = spaces.Box(0.0, 1.0, (1,))
    horizon = 1
    true_reward = {"worth": 1.0}
    proxies = {"worth": Proxy({"worth": 1.0}, "scope", "none", "aligned")}

    def initial(self, batch, rng, previous=None):
        return Asked(np.ones((batch, 1), np.float32))

    def transition(self, state, action, rng):
        return Asked(state.asked)

    def observation(self, state):
        return state.asked

    def terminal(self, state):
        return state.time > 0

    def terms(self, t):
        return {"worth": WORTH[t.action]}


@dataclass
class Rung(State):
    height: Array  # [B] rungs


class Ladder(ProxyEnv[Rung]):
    """Up or down, until the top is reached or three steps are over."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-STEPS, TOP, (1,))
    horizon = STEPS
    true_reward = {"height": 1.0}
    proxies = {"height": Proxy({"height": 1.0}, "scope", "none", "aligned")}

    def initial(self, batch, rng, previous=None):
        return Rung(np.zeros(batch, int))

    def transition(self, state, action, rng):
        return Rung(state.height + 2 * action - 1)

    def observation(self, state):
        return state.height[:, None].astype(np.float32)

    def terminal(self, state):
        return state.height == TOP

    def terms(self, t):
        return {"height": t.next_state.height.astype(float)}


def quick(env: Any, folder: Any = None, **settings: Any) -> Trained:
    """A training too short to learn much."""
    return train(env, folder, **{**QUICK, **settings})


def chances(agent: Trained, observation: float = 1.0) -> Array:
    """What the agent does there, [choices]."""
    with torch.no_grad():
        return agent.model.policy.get_distribution(torch.tensor([[observation]])).distribution.probs[0].numpy()


@pytest.fixture(scope="module")
def unsure() -> Trained:
    """Chooses with chances of about 0.6, 0.3 and 0.1."""
    rng = np.random.default_rng(0)
    return clone(
        Choice(), lambda loop: rng.choice(3, len(loop.start), p=[0.6, 0.3, 0.1]), episodes=1000, noise=0.0, updates=300
    )


@pytest.fixture(scope="module")
def climber() -> Trained:
    return clone(Ladder(), lambda loop: np.ones(len(loop.start), int), episodes=200, noise=0.6, updates=200)


SLOWLY: dict[str, Any] = {"n_envs": 64, "n_steps": 4, "batch_size": 256, "n_epochs": 4, "learning_rate": 0.01, "gamma": 1.0}
EXACT: dict[str, Any] = {**SLOWLY, "ent_coef": 0.0, "normalize_advantage": False, "evaluations": 0, "evaluation_episodes": 1}


def test_the_best_that_is_paid_for_one_choice_is_the_reference_times_the_exponential_of_the_reward(unsure):
    expected = chances(unsure) * np.exp(WORTH / 0.5)
    expected /= expected.sum()
    near = NearReference("worth", unsure, beta=0.5)
    settings = EXACT | {"steps": 7_000, "learning_rate": 0.003}
    found = np.array([chances(train(Choice(), reward=near, seed=seed, **settings)) for seed in range(4)])
    half = stats.t.ppf(0.975, 3) * stats.sem(found)
    assert (abs(found.mean(0) - expected) + half < 0.02).all()  # the whole interval: equivalence, not a lack of difference
    assert (abs(chances(unsure) - expected) > 0.05).any()


def test_the_dearer_it_is_the_nearer_it_stays(unsure):
    runs = [train(Choice(), reward=NearReference("true", unsure, beta), steps=3_000, **EXACT) for beta in (0.0, 0.5, 5.0)]
    gone = [run.metrics[-1]["kl"][0] for run in runs]
    assert gone[0] > 3 * gone[1] > 9 * gone[2] >= 0


def test_the_distance_of_whole_episodes_is_the_sum_over_all_that_can_happen(climber):
    near = NearReference("true", climber, beta=0.7)
    agent = train(Ladder(), reward=near, **{**EXACT, "steps": 1000})
    expected = 0.0
    for actions in itertools.product((0, 1), repeat=STEPS):
        height, chance, ratio = 0, 1.0, 0.0
        for action in actions:
            if height < TOP:  # beyond, chance counts each way of going on that is never gone
                ours, theirs = (chances(one, height)[action] for one in (agent, climber))
                chance, ratio, height = chance * ours, ratio + np.log(ours / theirs), height + 2 * action - 1
            else:
                chance /= 2
        expected += chance * ratio
    policy, figures = near.watch(agent.policy(0), 2000)
    found = evaluate(Ladder(), policy, 2000, 0, reward=near)
    assert expected > 0.02
    assert abs(figures["kl"].mean() - expected) < 4 * stats.sem(figures["kl"])
    ratios = (found.true - found.paid) / 0.7
    assert abs(ratios.mean() - expected) < 4 * stats.sem(ratios)
    assert figures["kl"].std() < ratios.std()


def test_every_episode_has_its_own_distance_however_many_are_played_at_a_time(climber):
    near = NearReference("true", climber)
    agent = quick(Ladder(), reward=near)
    policy, figures = near.watch(agent.policy(0), 11)
    played = collect(Ladder(), policy, 11, 0, batch=3)
    expected = (near.divergence(played.observation.reshape(-1, 1)).reshape(11, -1) * played.valid).sum(1)
    np.testing.assert_allclose(figures["kl"], expected, rtol=1e-4)
    assert 2 in played.valid.sum(1)


@pytest.mark.parametrize("algo", ["ppo", "a2c", "trpo"])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_the_learner_begins_at_the_reference_and_every_row_tells_how_far_it_went(algo, beta):
    first = quick(Thermostat(), seed=1)
    size: dict[str, Any] = {} if algo == "a2c" else {"batch_size": 32}
    settings = {name: value for name, value in QUICK.items() if name != "batch_size"} | size
    rows = train(Thermostat(), algo=algo, reward=NearReference("reading", first, beta), **settings).metrics
    assert [len(row["kl"]) for row in rows] == [3, 3, 3]
    assert rows[0]["kl"] == pytest.approx([0, 0, 0], abs=1e-9)
    assert min(rows[-1]["kl"]) > 0
    assert rows[0]["paid"] == pytest.approx(rows[0]["proxy"])
    assert (rows[-1]["paid"] == rows[-1]["proxy"]) == (beta == 0)


def test_only_the_actor_is_the_references_and_it_stays_as_it_was():
    first = quick(Thermostat(), seed=1)
    before = {name: weights.clone() for name, weights in first.model.policy.state_dict().items()}
    near, fresh = NearReference("true", first), quick(Thermostat(), seed=2, steps=32, evaluations=0).model
    critic = fresh.policy.value_net.weight.clone()
    near.bind(fresh)
    assert torch.equal(fresh.policy.action_net.weight, before["action_net.weight"])
    assert torch.equal(fresh.policy.log_std, before["log_std"])
    assert torch.equal(fresh.policy.value_net.weight, critic)
    quick(Thermostat(), reward=near, seed=2)
    assert all(torch.equal(weights, before[name]) for name, weights in first.model.policy.state_dict().items())


def test_a_run_may_begin_elsewhere_with_another_network(unsure):
    agent = quick(Choice(), reward=NearReference("true", unsure, start=False), policy_kwargs={"net_arch": [8]})
    assert agent.metrics[0]["kl"][0] > 0.1
    with pytest.raises(ProxygapError, match=r"network is not the reference's.*start=False"):
        quick(Choice(), reward=NearReference("true", unsure), policy_kwargs={"net_arch": [8]})


class Crash(Exception):  # noqa: N818
    """A power failure, in mid-rollout."""


def test_a_run_broken_off_and_resumed_equals_the_uninterrupted_one_bit_for_bit(tmp_path, monkeypatch):
    first = quick(BoatRaceStrict(), seed=1, evaluations=0, evaluation_episodes=1)

    def near():  # made anew, as another process would
        return NearReference("arrows", first, beta=0.3)

    left, step = [11], LoopVecEnv.step_wait

    def failing(self):
        left[0] -= 1
        if left[0] < 0:
            raise Crash
        return step(self)

    quick(BoatRaceStrict(), tmp_path / "whole", reward=near())
    monkeypatch.setattr(LoopVecEnv, "step_wait", failing)
    with pytest.raises(Crash):
        quick(BoatRaceStrict(), tmp_path / "broken", reward=near())
    monkeypatch.undo()
    with pytest.raises(ProxygapError, match=r"other settings: reward was '.*beta 0.3' and is now '.*beta 0.2'"):
        quick(BoatRaceStrict(), tmp_path / "broken", reward=NearReference("arrows", first, beta=0.2), resume=True)
    with pytest.raises(ProxygapError, match=r"paid by arrows, .*beta 0.3, not by .*beta 0.2"):
        resume(tmp_path / "broken", reward=NearReference("arrows", first, beta=0.2))
    resume(tmp_path / "broken", reward=near())
    np.testing.assert_equal(outcome(tmp_path / "broken"), outcome(tmp_path / "whole"))
    assert load_policy(tmp_path / "broken").metrics[-1]["kl"][0] > 0


def gaussian(*, mean: Any, std: Any) -> Any:
    mean, std = torch.tensor(mean)[None], torch.tensor(std)
    return sb3.DiagGaussianDistribution(mean.shape[1]).proba_distribution(mean, std.log())


P, Q = gaussian(mean=[0.9, -0.2], std=[0.5, 0.3]), gaussian(mean=[0.5, 0.1], std=[0.8, 0.4])


@pytest.mark.parametrize("bound", [0.3, 1.0, np.inf])
def test_in_a_box_the_clipped_actions_are_rated(bound):
    space = spaces.Box(np.float32(-bound), np.float32(bound), (2,))
    torch.manual_seed(0)
    drawn = P.distribution.sample((200_000,))[:, 0].clamp(-bound, bound)
    ratios = log_probability(P, drawn, space) - log_probability(Q, drawn, space)
    found = divergence(P, Q, space).item()
    assert abs(ratios.mean().item() - found) <= 4 * stats.sem(ratios.numpy()) + 1e-9
    whole = torch.distributions.kl_divergence(P.distribution, Q.distribution).sum().item()
    assert found == pytest.approx(whole) if bound == np.inf else found < whole
    assert divergence(P, P, space).item() == pytest.approx(0, abs=1e-12)


def test_the_chances_of_clipped_actions_add_up_to_one():
    space, normal = spaces.Box(-1.0, 1.0, (1,)), gaussian(mean=[0.4], std=[0.7])
    inside = torch.linspace(-1, 1, 10_001)[1:-1, None]
    total = log_probability(normal, inside, space).exp().sum() * 2 / 10_000
    total += log_probability(normal, torch.tensor([[-1.0], [1.0]]), space).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-3)


def test_several_choices_at_once_add_up():
    space = spaces.MultiDiscrete([2, 3])
    p, q = (sb3.MultiCategoricalDistribution([2, 3]).proba_distribution(torch.randn(1, 5)) for _ in range(2))
    every = torch.tensor(list(itertools.product(range(2), range(3))))
    logs = [log_probability(one, every, space).double() for one in (p, q)]
    assert logs[0].exp().sum().item() == pytest.approx(1)
    assert divergence(p, q, space).item() == pytest.approx((logs[0].exp() * (logs[0] - logs[1])).sum().item(), abs=1e-6)
    p, q = (sb3.BernoulliDistribution(2).proba_distribution(torch.randn(1, 2)) for _ in range(2))
    assert divergence(p, q, spaces.MultiBinary(2)).shape == (1,)


def test_a_clone_acts_like_the_script_and_can_do_otherwise(tmp_path):
    racer = clone(BoatRaceStrict(), "racer", episodes=20, noise=0.2, updates=600)
    shown = collect(BoatRaceStrict(), noisy(BoatRaceStrict(), scripted(BoatRaceStrict(), "racer"), 0.2, 7), 5, 7)
    done = shown.action[shown.valid]
    with torch.no_grad():
        seen, _ = racer.model.policy.obs_to_tensor(shown.observation[shown.valid])
        logs = log_probability(racer.model.policy.get_distribution(seen), torch.as_tensor(done), racer.model.action_space)
    best = -(0.85 * np.log(0.85) + 0.15 * np.log(0.05))  # three other ways, 0.05 each
    assert -logs.mean().item() < best + 0.15
    save_policy(racer, tmp_path / "racer.safetensors")
    loaded = load_policy(tmp_path / "racer.safetensors")
    assert NearReference("true", loaded).__name__ == NearReference("true", racer).__name__
    assert loaded.settings.reward == "clone of racer"


def test_a_clone_of_one_that_steers_has_its_mean_and_its_noise():
    heater = clone(Thermostat(), lambda loop: np.full((len(loop.start), 2), [0.5, 0.0]), episodes=40, noise=0.2, updates=800)
    normal = heater.model.policy.get_distribution(torch.tensor([[15.0]])).distribution
    assert normal.mean[0].tolist() == pytest.approx([0.5, 0.0], abs=0.05)
    assert normal.stddev[0].tolist() == pytest.approx([0.1, 0.1], abs=0.03)  # though half of the second's errors are cut off


SENSELESS = {
    "beta=-1": lambda unsure: NearReference("true", unsure, beta=-1),
    "beta=nan": lambda unsure: NearReference("true", unsure, beta=float("nan")),
    "has no proxy 'wort'": lambda unsure: NearReference("wort", unsure),
    "Train with this reward": lambda unsure: evaluate(
        Choice(), random_policy(Choice()), 1, 0, reward=NearReference("true", unsure, 1)
    ),
    "the learner does not": lambda unsure: quick(Ladder(), reward=NearReference("true", unsure)),
    "DQN has no chances": lambda unsure: train(Choice(), algo="dqn", reward=NearReference("true", unsure)),
    "RecurrentPPO has no chances": lambda unsure: train(Choice(), algo="recurrent_ppo", reward=NearReference("true", unsure)),
    "episodes=0": lambda unsure: clone(Choice(), random_policy(Choice()), episodes=0),
    "updates=-1": lambda unsure: clone(Choice(), random_policy(Choice()), updates=-1),
    "noise=1.5": lambda unsure: clone(Choice(), random_policy(Choice()), noise=1.5),
    "no scripted policy 'racer'": lambda unsure: clone(Choice(), "racer"),
}


@pytest.mark.parametrize("message", SENSELESS)
def test_what_makes_no_sense_is_one_message(message, unsure):
    with pytest.raises(ProxygapError, match=message):
        SENSELESS[message](unsure)
