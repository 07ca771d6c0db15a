"""Foreign environments: Gymnasium's own, with terms declared for them."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from proxygap.envs import Proxy, ProxygapError, ProxyGapWrapper
from proxygap.envs.recording import first_difference, random_actions, record

TERMS = {"alive": lambda t: t.reward, "lean": lambda t: abs(t.next_observation[2])}


def cart_pole(**changes):
    declared = {"terms": TERMS, "true": {"alive": 1.0, "lean": -5.0}, "proxy": {"alive": 1.0}} | changes
    return ProxyGapWrapper(gymnasium.make("CartPole-v1"), **declared)


class Told(gymnasium.Env):
    """Tells of its speed in `info`; never ends by itself."""

    observation_space, action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {"speed": float(action)}


def test_the_wrapper_is_a_gymnasium_environment_with_both_rewards_in_info():
    env = cart_pole()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of wrappers, and of CartPole's own bounds
        check_env(env, skip_render_check=True)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(0)
    lean = info["reward_terms"]["lean"]
    assert reward == info["proxy_reward"] == 1.0
    assert info["true_reward"] == pytest.approx(1.0 - 5.0 * lean)
    assert lean > 0


def test_terms_can_be_read_from_info_and_endless_environments_are_cut_off():
    env = ProxyGapWrapper(Told(), terms={"speed": "speed"}, true={"speed": -1.0}, proxy={"speed": 1.0}, horizon=3)
    env.reset(seed=0)
    ends = [env.step(1)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    wrong = ProxyGapWrapper(Told(), terms={"pace": "pace"}, true={"pace": 1.0}, proxy={"pace": 1.0})
    wrong.reset(seed=0)
    with pytest.raises(ProxygapError, match="no 'pace' in the environment's info; it has: speed"):
        wrong.step(0)


def test_weights_of_undeclared_terms_are_refused():
    with pytest.raises(ProxygapError, match=r"measures no 'turbo'; its terms are: alive, lean"):
        cart_pole(proxy={"turbo": 1.0})


def test_proxies_can_be_named_and_told_apart():
    env = cart_pole(proxy={"alive": Proxy({"alive": 1.0}, "ontological", "leaning is as good as standing")})
    assert env.weights("alive") == {"alive": 1.0}
    assert env.weights("true") == {"alive": 1.0, "lean": -5.0}


def test_worlds_of_a_batch_are_those_that_stand_alone():
    env, actions = cart_pole(), list(random_actions(cart_pole(), 3, 60))
    whole, alone = env.loop(3), env.loop(1)
    whole.reset(seed=5)
    alone.reset(seed=7)
    run = record(whole, actions)
    last = record(alone, (action[2:] for action in actions))
    assert first_difference({name: values[:, 2:] for name, values in run.items()}, last) is None


def test_a_restored_loop_goes_on_exactly():
    env, actions = cart_pole(), list(random_actions(cart_pole(), 4, 80))
    loop, other = env.loop(4), env.loop(4)
    loop.reset(seed=1)
    record(loop, actions[:37])
    snapshot = loop.snapshot()
    other.restore(snapshot)
    assert first_difference(record(loop, actions[37:]), record(other, actions[37:])) is None


@pytest.mark.parametrize(("term", "what"), [("alive", "reward"), ("lean", "true reward")])
def test_a_reward_that_is_not_finite_stops_the_loop_with_its_place(term, what):
    loop = cart_pole(terms=TERMS | {term: lambda t: np.nan}).loop(2)
    loop.reset(seed=0)
    with pytest.raises(ProxygapError, match=rf"CartPole-v1 gave a {what} that is not finite .* in world 0 at step 1"):
        loop.step(np.array([0, 1]))


def test_simulators_cannot_be_branched():
    loop = cart_pole().loop(2)
    loop.reset(seed=0)
    with pytest.raises(ProxygapError, match="can't be branched"):
        loop.branch([0])
