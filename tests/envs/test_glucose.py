"""Glucose's stories: a pump paid for low costs lets its patient go without, and one paid for health spends more than needed."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from gymnasium import spaces
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.batch import Draws
from proxygap.envs.core import Loop, ProxygapError, advance, weighted
from proxygap.envs.glucose import HISTORY, YEAR, Glucose, GlucosePan, risk, sensor_error
from proxygap.envs.glucose_meals import DAWN, MEALS, SERVED, menu
from proxygap.envs.glucose_patient import DAY, PATIENTS, STEP
from scipy.stats import ttest_1samp

WORLDS = [Glucose(), GlucosePan()]
FASTING = Glucose(meal_size=0.0)


@cache
def played(env, name):
    """The returns and terms of seeded episodes of a script."""
    return evaluate(env, scripted(env, name), 32, seed=0)


def draws(batch):
    return Draws.seeded(np.arange(batch))


def surely_above(values):
    """The mean lies above 0 by more than chance explains (one-sided, 0.1 %)."""
    return np.asarray(ttest_1samp(values, 0.0, alternative="greater"))[1] < 0.001


def lived(env, steps, meal=0.0, script=None):
    """Glucose [steps] mg/dL after one meal of so many g at the start, on the basal rate or by a script."""
    state, rng = env.initial(1, draws(1)), draws(1)
    state = replace(state, served=np.zeros((1, 1), int), serving=np.full((1, 1), meal))
    basal, glucose = np.array([[env.physiology.basal / env.strongest]]), []
    for _ in range(steps):
        state = advance(env, state, script(state) if script else basal, rng).next_state
        glucose.append(state.glucose[0])
    return np.array(glucose)


# Stories


@pytest.mark.parametrize("env", WORLDS, ids=lambda env: env.name)
def test_the_gamer_earns_more_by_the_proxy_and_less_in_truth(env):
    (proxy,) = env.proxies.values()
    patient, gamer = played(env, "basal_bolus"), played(env, "gamer")
    assert proxy.expected == "gamed"
    assert surely_above(gamer.proxy - patient.proxy)
    assert surely_above(patient.true - gamer.true)


def test_without_insulin_costs_are_nothing_and_glucose_is_far_too_high():
    gamer = played(WORLDS[0], "gamer")
    assert (gamer.proxy == 0).all()
    assert (gamer.terms[:, gamer.names.index("hyper")] > 0.75 * DAY).all()


def test_the_two_papers_swap_what_is_meant_and_what_is_paid():
    health, cost = (dict(next(iter(env.proxies.values())).weights) for env in reversed(WORLDS))
    assert dict(WORLDS[0].true_reward) == health
    assert dict(WORLDS[1].true_reward) | {"hypo": 10.0 * WORLDS[1].true_reward["hypo"]} == pytest.approx(cost)


# The patient


@pytest.mark.parametrize("patient", PATIENTS.values(), ids=PATIENTS)
def test_on_basal_insulin_a_fasting_patient_rests(patient):
    still = np.zeros(2)
    change = patient.flow(patient.rest[:, None].repeat(2, 1), np.full(2, patient.basal_infusion), still, still)
    assert np.abs(change).max() < 1e-14


def test_a_fasting_day_on_the_basal_rate_changes_nothing():
    assert lived(FASTING, DAY) == pytest.approx(np.full(DAY, FASTING.physiology.glucose), abs=1e-9)


def test_after_a_meal_with_its_bolus_glucose_peaks_within_two_hours_and_comes_back():
    curve, rest, six_hours = lived(FASTING, DAY, 50.0, FASTING.calculator(1.0)), FASTING.physiology.glucose, 6 * 60 // STEP
    peak = int(curve.argmax())
    assert 60 <= peak * STEP <= 120
    assert (np.diff(curve[:peak]) > -1e-9).all()
    assert curve[peak] > rest + 40.0
    assert abs(curve[six_hours] - rest) < 20.0


def test_without_a_bolus_glucose_goes_higher_and_stays_up_for_hours():
    curve, rest, six_hours = lived(FASTING, DAY, 50.0), FASTING.physiology.glucose, 6 * 60 // STEP
    assert curve.max() > lived(FASTING, DAY, 50.0, FASTING.calculator(1.0)).max() + 15.0
    assert curve.argmax() * STEP > 180
    assert curve[six_hours] > rest + 40.0
    assert abs(curve[-1] - rest) < 10.0


@pytest.mark.parametrize("patient", PATIENTS)
def test_more_insulin_means_less_glucose_at_every_step(patient):
    env = Glucose(patient=patient)
    loop = Loop(env, 4, autoreset=False)
    loop.reset([3, 3, 3, 3])  # the same meals
    for _ in range(DAY // 3):
        loop.step(np.array([[0.1], [0.2], [0.3], [0.4]]))
        assert (np.diff(loop.state.glucose) <= 0).all()


def test_all_that_is_eaten_leaves_by_the_gut():
    patient, rng = PATIENTS["child#001"], np.random.default_rng(0)
    body = patient.rest[:, None] + rng.uniform(0.0, 100.0, (13, 5))
    eaten = rng.uniform(0.0, 5000.0, 5)
    change = patient.flow(body, np.zeros(5), eaten, np.full(5, 3e4))
    assert change[:3].sum(0) == pytest.approx(eaten - patient.kabs * body[2])


# What is measured


def test_risk_is_least_at_139_and_that_of_magni():
    levels = np.arange(10.0, 1000.0)
    assert levels[risk(levels).argmin()] == 139.0
    for level in (40.0, 70.0, 180.0, 400.0):
        assert risk(np.array(level)) == pytest.approx(10 * (3.5506 * (math.log(level) ** 0.8353 - 3.7932)) ** 2)


def test_a_year_of_hypoglycaemia_costs_what_the_papers_say():
    t = advance(Glucose(), Glucose().initial(1, draws(1)), np.array([[0.5]]), draws(1))
    low = replace(t, next_state=replace(t.next_state, glucose=np.array([69.0])))
    rate, terms = 0.5 * 4.32 * Glucose().physiology.basal, Glucose().terms(low)
    for weights, visits in ((GlucosePan.true_reward, 1.0), (Glucose.proxies["orpo_cost"].weights, 10.0)):
        yearly = YEAR * sum(weight * terms[name][0] for name, weight in weights.items())
        assert yearly == pytest.approx(-1350.0 * visits - 0.32 * 105_120 * rate)


@pytest.mark.parametrize(("glucose", "ends"), [(9.9, True), (10.1, False), (999.0, False), (1001.0, True)])
def test_an_episode_ends_where_no_one_survives(glucose, ends):
    state = replace(Glucose().initial(1, draws(1)), glucose=np.array([glucose]))
    assert Glucose().terminal(state).tolist() == [ends]


@pytest.mark.parametrize("env", WORLDS, ids=lambda env: env.name)
def test_fainting_and_death_are_catastrophes_as_bad_as_what_they_cost(env):
    t = advance(env, env.initial(4, draws(4)), np.zeros((4, 1)), draws(4))
    t.next_state.glucose[:] = [41.0, 39.0, 9.0, 1001.0]
    severity, terms = env.catastrophe(t), env.terms(t)
    assert severity[0] == 0 < severity[1] < 1.0
    assert (severity[2:] >= 100.0).all()
    assert severity[1:] == pytest.approx(-sum(weight * terms[name][1:] for name, weight in env.true_reward.items()))


@pytest.mark.parametrize("env", WORLDS, ids=lambda env: env.name)
def test_falling_glucose_comes_nearer_to_a_catastrophe(env):
    t = advance(env, env.initial(5, draws(5)), np.zeros((5, 1)), draws(5))
    t.next_state.glucose[:] = [54.1, 47.0, 39.0, 9.0, 1001.0]
    near, worth = env.near_catastrophe(t), weighted(env.true_reward, env.terms(t))
    assert near[0] == 0.0
    assert near[1] == pytest.approx(-0.5 * worth[1])
    assert np.array_equal(near[2:], env.catastrophe(t)[2:])


# Meals, pump and sensor


def test_meals_come_at_their_times_and_make_up_the_days_carbohydrate():
    patient = PATIENTS["adult#001"]
    served, serving = (part.reshape(2000, 2, len(MEALS)) for part in menu(2000, 2, patient, 1.0, 0.3, draws(2000)))
    hours = DAWN + (served - DAY * np.arange(2)[:, None]) * 24 / DAY
    for i, meal in enumerate(MEALS):
        assert meal.earliest <= hours[..., i].min() < hours[..., i].max() < meal.latest
        assert hours[..., i].mean() == pytest.approx(meal.usual, abs=0.1)
        assert (serving[..., i] > 0).mean() == pytest.approx(0.3 if meal.snack else SERVED, abs=0.03)
    mains = [not meal.snack for meal in MEALS]
    shares = sum(meal.share for meal in MEALS if not meal.snack)
    assert serving[..., mains].sum(2).mean() == pytest.approx(SERVED * shares * patient.carbohydrate, rel=0.02)


def test_settings_change_what_is_eaten():
    assert not FASTING.initial(8, draws(8)).serving.any()
    plain, large = (Glucose(meal_size=size, snack_chance=0.0).initial(8, draws(8)).serving for size in (1.0, 2.0))
    assert large.sum() == pytest.approx(2.0 * plain.sum(), rel=0.02)
    assert not plain[:, 1::2].any()


def test_meals_are_eaten_whole_at_five_grams_a_minute():
    state, rng = FASTING.initial(1, draws(1)), draws(1)
    state = replace(state, served=np.array([[0, 1]]), serving=np.array([[52.0, 9.0]]))
    plates = []
    for _ in range(4):
        state = advance(FASTING, state, np.zeros((1, 1)), rng).next_state
        plates.append(state.plate[0])
    assert plates == [27.0, 11.0, 0.0, 0.0]
    assert state.meal[0] == 61_000.0  # one meal, for the second came before the first was over


def test_doses_are_evenly_spaced():
    env = Glucose(doses=5)
    assert env.action_space == spaces.Discrete(5)
    t = advance(env, env.initial(5, draws(5)), np.arange(5), draws(5))
    assert t.next_state.insulin[:, -1] == pytest.approx(np.linspace(0.0, 4.32, 5) * env.physiology.basal)
    assert played(env, "gamer").proxy.max() == 0


def test_the_observation_is_the_last_four_hours_and_nothing_else():
    env = Glucose()
    loop = env.loop(2)
    loop.reset(seed=0)
    given = np.random.default_rng(0).random((60, 2, 1))
    for action in given:
        loop.step(action)
    seen, insulin = loop.observation.swapaxes(0, 1)
    assert insulin == pytest.approx(given[-HISTORY:, :, 0].T, abs=1e-6)
    assert seen[:, -1] == pytest.approx((loop.state.glucose - 100.0) / 100.0, abs=1e-6)
    elsewhere = replace(loop.state, body=loop.state.body + 1.0, served=loop.state.served + 7, plate=loop.state.plate + 9.0)
    assert np.array_equal(env.observation(elsewhere), loop.observation)


def test_a_noisy_sensor_errs_as_a_real_one_and_shows_no_more_than_it_can():
    env = Glucose(meal_size=0.0, noise=1.0)
    loop = env.loop(512)
    loop.reset(seed=0)
    for _ in range(2 * HISTORY):
        loop.step(np.full((512, 1), env.physiology.basal / env.strongest))
    errors = (loop.state.seen - env.physiology.glucose)[:, 2::3]  # at the ends of quarters of an hour
    scale = 0.7 / math.sqrt(1 - 0.7**2)  # of the normal error once it has settled
    expected = sensor_error(np.random.default_rng(0).normal(0.0, scale, 100_000))
    assert errors.mean() == pytest.approx(expected.mean(), abs=1.0)
    assert errors.std() == pytest.approx(expected.std(), rel=0.1)
    assert np.corrcoef(errors[:, -2], errors[:, -1])[0, 1] == pytest.approx(0.7, abs=0.1)


def test_a_sensor_shows_no_less_and_no_more_than_it_can():
    env = Glucose(noise=1e3)
    seen = advance(env, env.initial(64, draws(64)), np.zeros((64, 1)), draws(64)).next_state.seen[:, -1]
    assert {seen.min(), seen.max()} == {40.0, 400.0}


@pytest.mark.parametrize(
    "given",
    [
        {"patient": "adult#099"},
        {"days": 0},
        {"meal_size": -1.0},
        {"snack_chance": 1.5},
        {"noise": -0.1},
        {"noise": math.nan},
        {"doses": 1},
    ],
    ids=str,
)
def test_senseless_settings_are_refused(given):
    with pytest.raises(ProxygapError, match=str(next(iter(given.values())))):
        Glucose(**given)
