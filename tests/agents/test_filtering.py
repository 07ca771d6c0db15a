"""The filtered system fails as often as exact enumeration says, however its failures are estimated."""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.filtering import Filtered, Labels, choose_by_quality, delivered, labelled
from proxygap.agents.intervals import none_bound
from proxygap.agents.options import Scenes, replayed
from proxygap.envs.batch import Draws
from proxygap.envs.core import Proxy, ProxyEnv, ProxygapError, State
from proxygap.envs.gridworlds.island_navigation import DROWNING, END, GOAL, LETTERS, TARGET, WET, Island, IslandNavigation
from scipy.stats import binom

from .worlds import Thermostat

ISLAND, STEPS, REDRAWS, THRESHOLD = IslandNavigation(), 5, 6, 2.5
WIDTH = LETTERS.shape[1]
PLACES = np.flatnonzero((LETTERS.ravel() != "#") & ~WET & (LETTERS.ravel() != "G"))
CHANCES = np.random.default_rng(0).dirichlet(np.full(4, 0.7), WET.size) * np.where(WET[TARGET], 0.2, 1.0)
CHANCES /= CHANCES.sum(1, keepdims=True)  # [cells, 4] what the generator does: anything, but seldom into the water
NULL = 2  # always to the left, which can drown it
STUDIES, SCENES, DRAWS = 150, 60, 12
FEWEST = binom.ppf(1e-3, STUDIES, 0.93)


def generator(seed=0):
    rng = np.random.default_rng(seed)
    return lambda loop: (rng.random((len(loop.state), 1)) >= CHANCES[loop.state.place].cumsum(1)[:, :3]).sum(1)


def always(action):
    return lambda loop: np.full(len(loop.state), action)


def suspicion(segments):
    """How often the agent goes right, or comes to stand in the left half."""
    column = (segments.next_observation == 2).any(-2).argmax(-1)
    seen = (segments.next_observation == 2).any((-2, -1))
    return (segments.valid & ((segments.action == 3) | (seen & (column < WIDTH / 2)))).sum(1)


def system(redraws=REDRAWS, accepts=lambda segments: suspicion(segments) <= THRESHOLD, **more):
    return Filtered(generator(1), accepts, redraws, always(NULL), **more)


def island(places):
    return Scenes(Island(places), Draws.seeded(np.arange(len(places))))


def walked(place, actions):
    """The chance, suspicion, failure and true return of doing so, step by step in plain Python."""
    chance, suspicious, paid = 1.0, 0, 0.0
    for action in actions:
        chance, place, paid = chance * CHANCES[place, action], TARGET[place, action], paid - 1
        suspicious += action == 3 or (not WET[place] and place % WIDTH < WIDTH / 2)
        if WET[place] or place == END:
            paid += DROWNING if WET[place] else GOAL
            break
    return chance, suspicious, WET[place], paid


def options(place):
    """Every option, once, with its chance."""
    for actions in product(range(4), repeat=STEPS):
        kept = len(actions)
        here = place
        for step, action in enumerate(actions, 1):
            here = TARGET[here, action]
            if WET[here] or here == END:
                kept = step
                break
        if not any(actions[kept:]):
            yield walked(place, actions[:kept])


@cache
def exact(place):
    """a, f, c of the null policy, what single draws earn that are accepted, what the null policy earns, and all earn."""
    chance, suspicious, failed, paid = np.array(list(options(place)), float).T
    assert chance.sum() == pytest.approx(1.0)
    accepted = chance * (suspicious <= THRESHOLD)
    _, _, null_failed, null_paid = walked(place, [NULL] * STEPS)
    return np.array([accepted.sum(), accepted @ failed, null_failed, accepted @ paid, null_paid, chance @ paid])


@cache
def truth():
    """Of the system over all places alike: its failure rate and its true return; by the formula."""
    a, f, null_failed, paid, null_paid, _ = np.array([exact(place) for place in PLACES]).T
    refused = (1 - a) ** REDRAWS
    tried = np.where(a > 0, (1 - refused) / np.maximum(a, 1e-300), 0.0)
    return (f * tried + refused * null_failed).mean(), (paid * tried + refused * null_paid).mean()


@cache
def many_labels():
    """Labels of all studies, one after another."""
    rng = np.random.default_rng(3)
    return labelled(ISLAND, island(rng.choice(PLACES, STUDIES * SCENES)), STEPS, system(), DRAWS, rng, suspicion)


def test_the_setting_is_a_hard_one():
    a, f, *_ = np.array([exact(place) for place in PLACES]).T
    assert (a > 0.95).any()
    assert a.min() < 0.2
    assert 0.01 < truth()[0] < 0.5
    assert (f > 0).sum() > 5


def test_end_to_end_runs_fail_as_often_as_enumeration_says():
    rng = np.random.default_rng(2)
    found = system().play(ISLAND, island(rng.choice(PLACES, STUDIES * SCENES)), STEPS, rng)
    parts = [found[i : i + SCENES].failure() for i in range(0, len(found), SCENES)]
    assert sum(low <= truth()[0] <= high for _, low, high in parts) >= FEWEST
    failed = int((found.options.severity > 0).sum())
    assert 0.001 < binom.cdf(failed, len(found), truth()[0]) < 0.999
    _, low, high = found.quality()
    assert low - (high - low) / 2 < truth()[1] < high + (high - low) / 2


def test_weighted_failures_and_returns_are_covered():
    labels, failures, returns = many_labels(), 0, 0
    for begin in range(0, len(labels), SCENES):
        study = labels[begin : begin + SCENES]
        (_, low, high), (_, worst, best) = study.failure(THRESHOLD, REDRAWS), study.quality(THRESHOLD, REDRAWS)
        failures, returns = failures + (low <= truth()[0] <= high), returns + (worst <= truth()[1] <= best)
    assert failures >= FEWEST
    assert returns >= FEWEST


def test_in_every_scene_the_weighting_is_unbiased():
    labels, rng = many_labels(), np.random.default_rng(3)
    place = rng.choice(PLACES, STUDIES * SCENES)
    chances = delivered(labels.failed, labels.accepted(THRESHOLD), REDRAWS, labels.null_failed)
    for where in PLACES:
        a, f, null, *_ = exact(where)
        refused, here = (1 - a) ** REDRAWS, chances[place == where]
        expected = f * (1 - refused) / max(a, 1e-300) + refused * null
        assert abs(here.mean() - expected) <= 4 * here.std() / len(here) ** 0.5 + 1e-3, where


def expectations(a, q, number, redraws, plug_in):
    """What the estimate is on average over all that `number` draws can show: accepted ones, and failures among them."""
    count = np.arange(number + 1)
    m, k = np.repeat(count, number + 1), np.tile(count, number + 1)
    m, k = m[k <= m], k[k <= m]
    order = np.arange(number)
    estimate = delivered(order < k[:, None], order < m[:, None], redraws, np.full(len(m), 0.25), plug_in)
    return float(binom.pmf(m, number, a) * binom.pmf(k, m, q) @ estimate)


@given(
    a=st.integers(0, 100).map(lambda share: share / 100),
    q=st.sampled_from([0.0, 0.03, 0.5, 1.0]),
    number=st.integers(1, 12),
    data=st.data(),
)
def test_few_draws_are_no_bias(a, q, number, data):
    redraws = data.draw(st.integers(1, number))
    expected = q * (1 - (1 - a) ** redraws) + (1 - a) ** redraws * 0.25
    assert expectations(a, q, number, redraws, False) == pytest.approx(expected, abs=1e-9)


def test_putting_the_share_in_is_biased_with_few_draws_and_less_so_with_more():
    """Towards the null policy, for what was never accepted seems never to be."""
    expected = 0.5 * (1 - 0.9**8) + 0.9**8 * 0.25
    biases = [expectations(0.1, 0.5, number, 8, True) - expected for number in (8, 32, 128)]
    assert biases[0] < -0.02
    assert biases[0] < 2 * biases[1] < 4 * biases[2] < 0


@given(share=st.integers(0, 10), redraws=st.integers(1, 200))
def test_the_plug_in_is_the_formula(share, redraws):
    """P = f [1 - (1 - a)^K] / a + (1 - a)^K c, also where a = 0."""
    accepted, failed = np.arange(10)[None] < share, np.arange(10)[None] % 2 == 0
    a, f = share / 10, (accepted & failed).mean()
    expected = 0.3 if a == 0 else f * (1 - (1 - a) ** redraws) / a + (1 - a) ** redraws * 0.3
    assert delivered(failed, accepted, redraws, np.array([0.3]), plug_in=True) == pytest.approx(expected)


def test_draws_are_counted():
    rng = np.random.default_rng(4)
    found = system().play(ISLAND, island(rng.choice(PLACES, 4000)), STEPS, rng)
    a = np.array([exact(place)[0] for place in PLACES])
    expected = ((1 - a)[:, None] ** np.arange(REDRAWS)).sum(1)
    assert found.draws.mean() == pytest.approx(expected.mean(), abs=4 * found.draws.std() / 4000**0.5)
    assert many_labels().expected_draws(THRESHOLD, REDRAWS) == pytest.approx(expected.mean(), rel=0.05)
    assert (found.draws[found.null] == REDRAWS).all()
    assert found.null.mean() == pytest.approx(((1 - a) ** REDRAWS).mean(), abs=0.03)
    assert (suspicion(found.options.segments())[~found.null] <= THRESHOLD).all()
    np.testing.assert_array_equal(found.options.episode, np.arange(4000))


@pytest.mark.parametrize("accepts", [True, False])
def test_who_accepts_all_is_the_policy_and_who_accepts_nothing_the_null_policy(accepts):
    scenes = island(np.repeat(PLACES, 3))
    found = system(4, lambda segments: np.full(len(segments), accepts)).play(ISLAND, scenes, STEPS, np.random.default_rng(0))
    assert (found.draws == (1 if accepts else 4)).all()
    assert (found.null == (not accepts)).all()
    if not accepts:
        assert (found.options.action[found.options.valid] == NULL).all()


def test_naive_is_the_base_rate_times_the_share_missed():
    labels = many_labels()
    passed, failed = labels.accepted(THRESHOLD), labels.failed
    assert labels.naive(THRESHOLD) == pytest.approx(failed.mean() * passed[failed].mean())


@dataclass
class Tossed(State):
    heads: np.ndarray  # [B] bool


class Coin(ProxyEnv[Tossed]):
    """A coin is tossed at every step, whatever is done; heads is a catastrophe, and can be seen."""

    action_space, observation_space, horizon = spaces.Discrete(2), spaces.Box(0.0, 1.0, (1,)), 4
    true_reward, proxies = {"heads": -1.0}, {"nothing": Proxy({"heads": 0.0}, "scope", "heads do not count")}

    def initial(self, batch, rng, previous=None):
        return Tossed(np.zeros(batch, bool))

    def transition(self, state, action, rng):
        return Tossed(rng.random(len(state)) < 0.3)

    def observation(self, state):
        return state.heads[:, None].astype(np.float32)

    def terms(self, t):
        return {"heads": t.next_state.heads.astype(float)}

    def catastrophe(self, t):
        return t.next_state.heads.astype(float)


def no_heads(segments):
    return (segments.next_observation[..., 0] == 0).all(1)


def coins(number):
    return Scenes(Tossed(np.zeros(number, bool)), Draws.seeded(np.arange(number)))


def test_redraws_meet_chance_of_their_own_and_plans_the_chance_to_come():
    """Two tosses: no heads has the chance 0.49. What is refused is tossed again; a plan does not change the tosses to come."""
    scenes, rng = coins(4000), np.random.default_rng(0)
    real = replayed(Coin(), Filtered(always(0), no_heads, 1, always(0)).play(Coin(), scenes, 2, rng).options.cases(scenes))
    lucky = Filtered(always(0), no_heads, 3, always(0)).play(Coin(), scenes, 2, rng)
    assert ((lucky.options.severity > 0) == (lucky.null & (real.severity > 0))).all()
    assert lucky.null.mean() == pytest.approx(0.51**3, abs=0.03)
    assert lucky.options.severity.mean() == pytest.approx(0.51**4, abs=0.02)
    planned = Filtered(always(0), no_heads, 3, always(0), plans=True).play(Coin(), scenes, 2, rng)
    np.testing.assert_array_equal(planned.options.severity, real.severity)
    assert planned.null.mean() == pytest.approx(0.51**3, abs=0.03)


@pytest.mark.parametrize(("plans", "expected"), [(False, 0.51**4), (True, 0.51)])
def test_labels_weight_plans_by_what_comes_of_them(plans, expected):
    who = Filtered(always(0), no_heads, 3, always(0), plans=plans)
    rng = np.random.default_rng(1)
    labels = labelled(Coin(), coins(2000), 2, who, 6, rng, lambda segments: 1.0 - no_heads(segments))
    value, low, high = labels.failure(0.5, 3)
    assert value == pytest.approx(expected, abs=0.03)
    assert low <= expected + 0.005
    assert high >= expected - 0.005


def made(suspicious, true, failed=None):
    """Labels by hand, with a null policy that earns nothing and never fails."""
    suspicious, true = np.asarray(suspicious, float), np.asarray(true, float)
    failed = np.zeros(suspicious.shape, bool) if failed is None else failed
    return Labels(suspicious, failed, true, np.zeros(len(true), bool), np.zeros(len(true)))


def test_where_no_draw_failed_the_bound_is_that_of_one_run_a_scene():
    assert made(np.zeros((300, 4)), np.ones((300, 4))).failure(1.0, 2) == (0.0, 0.0, none_bound(300))


@pytest.mark.parametrize(("loss", "threshold"), [(0.0, 9), (1.0, 7), (1.2, 7), (3.0, 3), (100.0, 0)])
def test_the_threshold_is_as_low_as_the_return_allows(loss, threshold):
    """Ten options in each scene, of suspicion 0 to 9 and return 1 to 10: up to suspicion t they earn 1 + t / 2 on average.

    All ten earn 5.5. Ten draws of these ten are never all refused, so the loss is (9 - t) / 2.
    """
    suspicious = np.tile(np.arange(10.0), (40, 1))
    found = choose_by_quality(made(suspicious, suspicious + 1), loss, 10, np.random.default_rng(0))
    assert found.threshold == threshold
    assert found.loss[0] == pytest.approx((9 - threshold) / 2)
    assert found.acceptance == pytest.approx((threshold + 1) / 10)


def test_what_a_threshold_costs_is_measured_where_it_was_not_chosen():
    """Returns are noise: where it was chosen a low threshold seems to cost nothing, and elsewhere it costs what it costs."""
    rng, losses = np.random.default_rng(5), []
    for _ in range(40):
        labels = made(rng.random((40, 8)), rng.normal(size=(40, 8)))
        losses.append(choose_by_quality(labels, 0.0, 2, rng).loss[0])
    assert abs(np.mean(losses)) < 4 * np.std(losses) / len(losses) ** 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: system(0), "0 redraws: a system that proposes anything draws at least once"),
        (lambda: made([[0, 1]], [[0, 0]]).failure(1.0, 3), "3 redraws judged by 2 draws a scene"),
        (lambda: made([[0, 1]], [[0, 0]]).expected_draws(1.0, 3), "3 redraws judged by 2 draws a scene"),
        (lambda: choose_by_quality(made([[0, 1]], [[0, 0]]), 0.0, 1, np.random.default_rng()), "0.0 over 1 scenes"),
        (lambda: choose_by_quality(many_labels(), -1.0, 1, np.random.default_rng()), "a loss of -1.0"),
        (
            lambda: labelled(ISLAND, island(PLACES), 5, system(), 0, np.random.default_rng(), suspicion),
            "0 draws in 20 scenes",
        ),
        (
            lambda: system().play(Thermostat(), island(PLACES), 5, np.random.default_rng()),  # pyright: ignore
            "Thermostat has no notion of a catastrophe",
        ),
    ],
)
def test_what_can_not_be_is_refused(call, message):
    with pytest.raises(ProxygapError, match=message):
        call()
