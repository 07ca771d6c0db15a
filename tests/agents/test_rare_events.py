"""Rare events of known probability: estimates are right on average, their intervals cover, and they beat plain sampling."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from gymnasium import spaces
from proxygap.agents.options import Scenes
from proxygap.agents.rare_events import Split, Weighted, episodes, gain, importance, splitting
from proxygap.agents.risk import Risk
from proxygap.agents.rollouts import random_policy
from proxygap.envs.batch import Draws
from proxygap.envs.core import Proxy, ProxyEnv, ProxygapError, State
from proxygap.envs.gridworlds.sensor_lab import SENSORS, THAWED, SensorLab
from proxygap.envs.tabular import expected_terms, tabulate
from scipy import stats

from .worlds import Thermostat

UP, TOP, STEPS = 0.3, 12, 60  # chance to climb in a step; where it is a catastrophe; of an episode


@dataclass
class Height(State):
    height: np.ndarray  # [B]
    shown: np.ndarray  # [B] noise, that is seen and means nothing


class Walk(ProxyEnv[Height]):
    """A random walk from 1, over for good at 0; at `top` is a catastrophe. An action of 1 makes it climb more often."""

    action_space, observation_space, horizon = spaces.Discrete(2), spaces.Box(-np.inf, np.inf, (2,)), STEPS
    true_reward, proxies = {"height": 1.0}, {"height": Proxy({"height": 1.0}, "scope", "the top is dangerous")}

    def __init__(self, top=TOP):
        self.top = top

    def initial(self, batch, rng, previous=None):
        return Height(np.ones(batch, np.int64), np.zeros(batch))

    def transition(self, state, action, rng):
        climbs = rng.random(len(state)) < UP + 0.2 * action
        return Height(state.height + np.where(climbs, 1, -1), rng.random(len(state)))

    def observation(self, state):
        return np.stack([state.height, state.shown], 1).astype(np.float32)

    def terminal(self, state):
        return (state.height <= 0) | (state.height >= self.top)

    def terms(self, t):
        return {"height": t.next_state.height.astype(float)}

    def catastrophe(self, t):
        return (t.next_state.height >= self.top).astype(float)


def always(action):
    return lambda loop: np.full(len(loop.state), action)


def height(t):
    return t.next_state.height


def reaches(top, steps, up=UP):
    """The chance [top + 1] to reach the top within these steps, from every height."""
    found = np.eye(top + 1)[top]
    for _ in range(steps):
        found[1:top] = up * found[2:] + (1 - up) * found[: top - 1]
    return found


def from_the_start(number, seed, top=TOP):
    return episodes(Walk(top), number, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("top", "score"),
    [(8, height), (12, height), (17, height), (8, lambda t: 0.0 * t.next_state.height), (8, lambda t: t.next_state.shown)],
    ids=["1e-3", "5e-5", "1e-6", "no score at all", "a score of noise"],
)
def test_splitting_is_unbiased_whatever_the_score(top, score):
    """Many repetitions: their mean is the closed form's, to within its error."""
    rng, repetitions, particles = np.random.default_rng(0), 150, 100
    scenes = from_the_start(repetitions * particles, 1, top)
    found = splitting(Walk(top), always(0), score, scenes, STEPS, rng, repetitions, kill=0.2)
    expected = reaches(top, STEPS)[1]
    error = max(found.estimates.std(ddof=1), np.sqrt(expected / particles)) / repetitions**0.5
    assert found.estimates.mean() == pytest.approx(expected, abs=4 * error)
    if score is height:
        assert found.estimates.std() < 2 * expected
        assert gain(expected, found.estimates.var(ddof=1), found.steps.mean(), 2.4) > (2 if top == 8 else 20)


def test_the_walks_chances_are_those_of_the_gamblers_ruin():
    """Without end it is (r - 1) / (r^top - 1) with r = (1 - up) / up; 60 steps are nearly without end."""
    for top, chance in ((8, 1.5e-3), (12, 5.1e-5), (17, 7.4e-7)):
        ruin = 0.7 / 0.3
        assert reaches(top, 2000)[1] == pytest.approx((ruin - 1) / (ruin**top - 1))
        assert reaches(top, STEPS)[1] == pytest.approx(chance, rel=0.1)


def test_splitting_covers_down_to_a_millionth():
    """Forty estimates of ten repetitions each: so many of their intervals cover."""
    rng, studies = np.random.default_rng(2), 40
    found = splitting(Walk(17), always(0), height, from_the_start(studies * 10 * 100, 3, 17), STEPS, rng, studies * 10, 0.3)
    parts = [Split(part, part, part, 100).interval() for part in found.estimates.reshape(studies, 10)]
    covered = sum(low <= reaches(17, STEPS)[1] <= high for _, low, high in parts)
    assert covered >= stats.binom.ppf(1e-3, studies, 0.92)


def test_with_a_perfect_score_the_error_is_near_its_least():
    """Height is all that matters (but for the time): sqrt(-log p / N), and more as levels are few and steps of 1."""
    rng = np.random.default_rng(4)
    found = splitting(Walk(12), always(0), height, from_the_start(100 * 200, 5), STEPS, rng, 100, kill=0.05)
    spread = found.estimates.std(ddof=1) / found.estimates.mean()
    assert found.least_error == pytest.approx(np.sqrt(-np.log(reaches(12, STEPS)[1]) / 200), rel=0.05)
    assert found.least_error < 1.2 * spread
    assert spread < 4 * found.least_error


@cache
def lab_chance():
    mdp = tabulate(SensorLab())
    return expected_terms(mdp, np.full(mdp.terms.shape[:2], 0.25))["loss"]


def looped(t):
    state = t.next_state
    return 2.0 * state.looped + state.cable + np.where(state.looped == SENSORS, state.warmth / THAWED, 0.0)


def test_what_chance_loses_in_the_lab_is_what_its_table_says():
    lab, rng = SensorLab(), np.random.default_rng(6)
    found = splitting(lab, random_policy(lab, 7), looped, episodes(lab, 20 * 200, rng), 150, rng, 20, kill=0.3)
    value, low, high = found.interval()
    assert lab_chance() == pytest.approx(4.8e-5, rel=0.01)
    assert low <= lab_chance() <= high
    assert high < 3 * value
    assert gain(lab_chance(), found.estimates.var(ddof=1), found.steps.mean(), 150) > 10


def test_steps_are_those_that_were_simulated():
    """With no score, all of a repetition die out at once unless one got there: nothing is branched."""
    counted = 0

    def policy(loop):
        nonlocal counted
        counted += len(loop.state)
        return np.zeros(len(loop.state), np.int64)

    scenes = from_the_start(600, 8)
    found = splitting(Walk(), policy, lambda t: 0.0 * t.action, scenes, STEPS, np.random.default_rng(8), 2)
    assert found.steps.sum() == counted
    assert found.steps.sum() / 600 == pytest.approx(2.5, rel=0.15)  # the walk's mean is 1 / (0.7 - 0.3)
    assert (found.levels == 0).all()
    assert found.interval()[:2] == (0.0, 0.0)
    assert found.interval()[2] == pytest.approx(1 - 0.05 ** (1 / 600))


def test_a_catastrophe_that_is_common_needs_no_splitting():
    rng = np.random.default_rng(9)
    found = splitting(Walk(2), always(1), height, from_the_start(20 * 500, 9, 2), STEPS, rng, 20)
    assert found.estimates.mean() == pytest.approx(0.5, abs=0.02)
    assert (found.levels <= 1).all()


# Importance sampling: scenes at any height from 1 to 9, the higher the rarer


@dataclass(frozen=True)
class Setting:
    """A pool of scenes, of which some are played, for so many steps."""

    rarer: float  # by which share, with every step of height
    length: int
    pool: int
    number: int = 250

    @property
    def often(self):
        """[10] the chance of a scene at each height."""
        found = self.rarer ** np.arange(MOST + 1) * (np.arange(MOST + 1) > 0)
        return found / found.sum()

    @property
    def fails(self):
        """[10] the chance of a catastrophe from each height."""
        return reaches(TOP, self.length)[: MOST + 1]

    @property
    def known(self):
        return float(self.often @ self.fails)

    def scenes(self, number, rng):
        height = rng.choice(MOST + 1, number, p=self.often)
        return Scenes(Height(height, rng.random(number)), Draws.seeded(rng.integers(2**62, size=number)))

    def studies(self, risk, studies, seed=0):
        """Estimates with this risk [10] of scenes at each height."""
        rng = np.random.default_rng(seed)
        for _ in range(studies):
            scenes = self.scenes(self.pool, rng)
            yield importance(Walk(), always(0), scenes, risk[scenes.state.height], self.length, self.number, rng)


MOST = 9
USUAL, RARE = Setting(0.6, 12, 5000), Setting(0.35, 6, 20_000)
RISKS = {
    "perfect": USUAL.fails,
    "all alike": np.ones(MOST + 1),
    "nothing": np.zeros(MOST + 1),
    "wrong way round": 0.7 ** np.arange(MOST + 1.0),
}


def test_the_scenes_are_seldom_dangerous():
    assert 1e-3 < USUAL.known < 1e-2
    assert 1e-5 < RARE.known < 1e-4


@pytest.mark.parametrize("name", RISKS)
def test_importance_sampling_is_unbiased_whatever_the_risk_and_its_interval_covers(name):
    studies, known = 200, USUAL.known
    found = list(USUAL.studies(RISKS[name], studies))
    estimates = np.array([each.chance for each in found])
    assert estimates.mean() == pytest.approx(known, abs=4 * estimates.std(ddof=1) / studies**0.5)
    covered = sum(low <= known <= high for _, low, high in (each.interval() for each in found))
    assert covered >= stats.binom.ppf(1e-3, studies, 0.93)
    assert np.mean([len(each.weight) for each in found]) == pytest.approx(250, rel=0.1)
    assert max(each.weight.max() for each in found) <= 10 * 5000 / 250 * 1.001  # 1 / floor times plain sampling's


def test_a_good_risk_errs_as_little_as_the_formula_says_and_is_worth_many_plain_steps():
    """Of M scenes, each played with the chance c and failing with f, the mean varies by (E[f / c] - p^2) / M."""
    root = np.sqrt(RARE.fails)
    chance = np.minimum(RARE.number * (0.9 * root / (RARE.often @ root) + 0.1) / RARE.pool, 1.0)
    expected = (RARE.often @ (RARE.fails / chance) - RARE.known**2) / RARE.pool
    found = list(RARE.studies(RARE.fails, 300))
    variance, steps = np.var([each.chance for each in found], ddof=1), np.mean([each.steps for each in found])
    assert variance == pytest.approx(expected, rel=0.4)
    assert gain(RARE.known, float(variance), float(steps), 2.0) > 10


def test_where_all_risks_are_alike_it_is_plain_sampling():
    variance = np.var([each.chance for each in USUAL.studies(RISKS["all alike"], 300)], ddof=1)
    assert variance == pytest.approx(USUAL.known / 250, rel=0.3)


def test_the_same_scenes_meet_other_chance_when_they_are_played_again():
    rng, scenes = np.random.default_rng(0), Scenes(Height(np.full(300, 9), np.zeros(300)), Draws.seeded(np.arange(300)))
    first, second = (importance(Walk(), always(0), scenes, np.ones(300), 6, 300, rng).failed for _ in range(2))
    assert first.any()
    assert (first != second).any()


def test_the_effective_number_is_all_where_weights_are_alike():
    assert Weighted(np.full(7, 3.0), np.zeros(7, bool), 3.0, 21, 0).effective == pytest.approx(7)
    assert Weighted(np.array([1.0, 1e-9]), np.zeros(2, bool), 1.0, 21, 0).effective == pytest.approx(1)
    assert Weighted(np.zeros(0), np.zeros(0, bool), 1.0, 21, 0).effective == 0


def test_without_a_failure_there_is_a_bound():
    found = Weighted(np.full(300, 10.0), np.zeros(300, bool), 10.0, 3000, 0)
    assert found.interval() == (0.0, 0.0, pytest.approx(-np.log(0.05) / 300))


def test_risks_are_learned_from_weaker_agents():
    """Who climbs more often fails more often, from the same heights: the order is right, and noise that is seen is left out."""
    rng, setting = np.random.default_rng(3), Setting(0.6, 6, 20_000)
    risk = Risk().learn(Walk(), [always(1)], setting.scenes(4000, rng), 6, rng)
    shown = np.array([Walk().observation(Height(np.arange(1, MOST + 1), np.full(MOST, noise))) for noise in (0.2, 0.8)])
    low, high = risk(shown[0]), risk(shown[1])
    assert np.corrcoef(stats.rankdata(low), np.arange(MOST))[0, 1] > 0.95
    np.testing.assert_allclose(low, high, atol=0.05)
    assert 4000 < risk.steps_ <= 4000 * 6
    found = list(setting.studies(np.append(0.0, low), 60, seed=4))
    variance, steps = np.var([each.chance for each in found], ddof=1), np.mean([each.steps for each in found])
    assert gain(setting.known, float(variance), float(steps), 2.0) > 3


def walks(number):
    return from_the_start(number, 0)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: splitting(Walk(), always(0), height, walks(7), 5, RNG, 2), "7 scenes for 2 repetitions"),
        (lambda: splitting(Walk(), always(0), height, walks(2), 5, RNG, 2), "give 2 scenes or more for each"),
        (lambda: splitting(Walk(), always(0), height, walks(8), 5, RNG, 2, kill=1.0), "kill=1.0"),
        (lambda: splitting(Walk(), always(0), height, walks(8), 0, RNG, 2), "0 steps"),
        (lambda: splitting(Walk(), always(0), lambda t: np.nan * t.action, walks(8), 5, RNG, 2), "scores from nan to nan"),
        (lambda: importance(Walk(), always(0), walks(8), np.ones(7), 5, 3, RNG), r"risks of shape \(7,\) for 8 scenes"),
        (lambda: importance(Walk(), always(0), walks(8), -np.ones(8), 5, 3, RNG), "give one number from 0 each"),
        (lambda: importance(Walk(), always(0), walks(8), np.ones(8), 5, 9, RNG), "9 of 8 scenes"),
        (lambda: importance(Walk(), always(0), walks(8), np.ones(8), 5, 3, RNG, floor=0.0), "floor=0.0"),
        (lambda: Risk().learn(Walk(), [always(0)], walks(8), 1, RNG), "0 failures in 8 scenes"),
        (
            lambda: splitting(Thermostat(), always(0), height, walks(8), 5, RNG, 2),
            "Thermostat has no notion of a catastrophe",
        ),
    ],
)
def test_what_can_not_be_is_refused(call, message):
    with pytest.raises(ProxygapError, match=message):
        call()
