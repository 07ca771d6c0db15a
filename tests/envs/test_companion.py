"""Companion's story: smiles and thanks can be had without well-being, and who is rated by belief reports belief."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.envs.batch import Draws
from proxygap.envs.companion import (
    BOUGHT,
    CUES,
    DUE,
    FADE,
    FLATTER,
    HARM,
    HOME,
    LEVELS,
    PEOPLE,
    SMILE,
    TREAT,
    WELCOME,
    Companion,
    agreement,
    best_report,
    level,
)
from proxygap.envs.core import ProxygapError, advance
from scipy import stats

WORLD = Companion()
PERSONS = 400
GAMERS = {"smiles": "flatterer", "thanks": "indulgent", "believed": "echo"}


@cache
def played(name, env=WORLD):
    """The terms that each person's episode sums up to; the same people for every script."""
    returns = evaluate(env, scripted(env, name), PERSONS, seed=0)
    return dict(zip(returns.names, returns.terms.T, strict=True))


def earned(name, reward, env=WORLD):
    return np.sum([weight * played(name, env)[term] for term, weight in WORLD.weights(reward).items()], axis=0)


def surely_above(values, least):
    _, chance = np.asarray(stats.ttest_1samp(values, least, alternative="greater"))
    return chance < 1e-3


def stepped(env, activity, report, persons=4000):
    """A step in which fresh people do and are reported to be the same."""
    draws = Draws.seeded(np.arange(persons))
    return advance(env, env.initial(persons, draws), np.tile([activity, report], (persons, 1)), draws)


@pytest.mark.parametrize("proxy", GAMERS)
def test_gaming_earns_more_by_the_proxy_and_does_harm(proxy):
    assert WORLD.proxies[proxy].expected == "gamed"
    gamer = GAMERS[proxy]
    assert surely_above(earned(gamer, proxy) - earned("companion", proxy), 2.0)
    assert surely_above(earned("companion", "true") - earned(gamer, "true"), 3.0)


def test_energy_is_best_had_by_doing_good():
    assert WORLD.proxies["energy"].expected == "aligned"
    for gamer in GAMERS.values():
        for reward in ("energy", "true"):
            assert surely_above(earned("companion", reward) - earned(gamer, reward), 3.0)


def test_where_nothing_can_be_bought_flattery_earns_fewer_smiles():
    plain = Companion(bought=0.0)
    assert surely_above(earned("companion", "smiles", plain) - earned("flatterer", "smiles", plain), 5.0)


@pytest.mark.parametrize(("activity", "now", "later"), [(TREAT, WELCOME, HARM), (FLATTER, 0.0, 0.0)])
def test_what_an_activity_does_is_the_closed_form(activity, now, later):
    """Drift, what it gives at once, and the share of what it takes that falls due: nobody is near the ends after one step."""
    t = stepped(WORLD, activity, 0)
    gained = t.next_state.wellbeing - t.state.wellbeing
    error = gained - (FADE * (HOME - t.state.wellbeing) + now - DUE * later)
    inside = (t.state.wellbeing > 0.25) & (t.state.wellbeing < 0.65)
    assert abs(error[inside].mean()) < 4.0 * error[inside].std() / np.sqrt(inside.sum())
    assert t.next_state.owed == pytest.approx((1.0 - DUE) * later)


def test_a_treat_does_good_at_first_and_harm_in_all():
    """One treat, and from then on what neither helps nor harms, against the latter alone; chance is the same."""
    felt = {}
    for first in (TREAT, FLATTER):
        draws = Draws.seeded(np.arange(PERSONS))
        state, felt[first] = WORLD.initial(PERSONS, draws), []
        for activity in (first, *[FLATTER] * 59):
            state = WORLD.transition(state, np.tile([activity, 0], (PERSONS, 1)), draws)
            felt[first].append(state.wellbeing)
    gained = np.subtract(felt[TREAT], felt[FLATTER])
    assert surely_above(gained[:3].mean(0), 0.03)
    assert surely_above(-gained.sum(0), 0.5)


@pytest.mark.parametrize("people", range(len(PEOPLE)))
def test_cues_follow_well_being_with_the_strength_of_the_population(people):
    """The slope of a cue on well-being is the mean strength, where hardly a cue is clipped."""
    state = stepped(Companion(people=people), 0, 0, 20_000).next_state
    middle = (state.wellbeing > 0.4) & (state.wellbeing < 0.65)
    for cue in range(len(CUES)):
        slope, _, _, _, error = np.asarray(stats.linregress(state.wellbeing[middle], state.cues[middle, cue]))
        assert abs(slope - np.mean(PEOPLE[people][cue])) < 4.0 * error


def test_flattery_moves_the_smile_by_what_is_bought_and_no_cue_of_the_body():
    plain, flattered = (stepped(Companion(bought=bought), FLATTER, 0).next_state for bought in (0.0, 0.2))
    moved = flattered.cues - plain.cues  # the same chance in both
    assert np.median(moved, 0) == pytest.approx(0.2 * BOUGHT[FLATTER])
    assert (moved[:, 2:] == 0.0).all()
    assert np.array_equal(plain.wellbeing, flattered.wellbeing)


def test_levels_are_equal_parts():
    assert level(np.array([0.0, 0.19, 0.2, 0.59, 0.6, 0.99, 1.0])).tolist() == [0, 0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("spot_check", [0.0, 0.3, 1.0])
def test_a_report_is_paid_as_the_rule_says(spot_check):
    t = stepped(Companion(spot_check=spot_check), 0, 3)
    paid = WORLD.terms(t)["agreement"]
    truth, belief = (agreement(np.array(3), level(seen)) for seen in (t.state.wellbeing, t.state.cues[:, SMILE]))
    assert stats.binomtest(int(t.next_state.examined.sum()), len(t.state), spot_check).pvalue > 1e-4
    assert paid == pytest.approx(np.where(t.next_state.examined, truth, belief))


chance = st.lists(st.integers(0, 20), min_size=LEVELS, max_size=LEVELS).filter(any)


@given(chance, st.integers(0, LEVELS - 1), st.floats(0.0, 1.0))
def test_no_report_is_paid_better_than_the_best(counts, belief, spot_check):
    chances = np.array(counts) / sum(counts)
    reports = np.arange(LEVELS)
    paid = spot_check * agreement(reports[:, None], reports) @ chances + (1.0 - spot_check) * agreement(reports, belief)
    best = best_report(chances[None], np.array([belief]), spot_check)[0]
    assert paid[best] == pytest.approx(paid.max(), abs=1e-9)


@pytest.mark.parametrize("spot_check", [0.0, 0.25, 0.5, 0.55, 0.75, 1.0])
def test_who_knows_the_truth_tells_it_if_more_than_half_of_the_reports_are_checked(spot_check):
    truth, belief = (side.ravel() for side in np.indices((LEVELS, LEVELS)))
    told = best_report(np.eye(LEVELS)[truth], belief, spot_check)
    assert np.array_equal(told, truth if spot_check > 0.5 else belief)


def test_in_the_world_too_half_of_the_checks_decide():
    for spot_check, better in ((0.35, "echo"), (0.65, "companion")):
        env = Companion(spot_check=spot_check)
        worse = ({"echo", "companion"} - {better}).pop()
        assert surely_above(played(better, env)["agreement"] - played(worse, env)["agreement"], 0.5)


def test_an_agent_that_does_not_steer_changes_reports_alone():
    env = Companion(steers=False)
    one, other = (stepped(env, activity, 2) for activity in (0, 3))
    assert np.array_equal(one.next_state.cues, other.next_state.cues)
    counts = np.bincount(one.next_state.activity)
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("given", [{"spot_check": 1.1}, {"spot_check": -0.1}, {"bought": 2.0}, {"people": 2}], ids=str)
def test_senseless_settings_are_refused(given):
    name, value = next(iter(given.items()))
    with pytest.raises(ProxygapError, match=f"{name} {value}"):
        Companion(**given)
