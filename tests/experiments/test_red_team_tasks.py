"""Red-team tasks: who plays them, what a filter learns from, the failures to set out from, and rates that are exact."""

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from proxygap.agents.intervals import none_bound
from proxygap.agents.options import Scenes, played, replayed, scenes
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs import ProxygapError
from proxygap.envs.batch import Draws
from proxygap.envs.gridworlds import island_navigation
from proxygap.envs.gridworlds.island_navigation import Island
from proxygap.envs.long_tail_drive import LongTailDrive
from proxygap.envs.registry import make
from proxygap.experiments.red_team_tasks import (
    STREAMS,
    TASKS,
    Mixed,
    RedTeamTask,
    Wavers,
    drawn,
    exact_rate,
    harmless,
    is_near,
    known_catastrophes,
    labelled,
    task_for,
)
from scipy import stats

ISLAND, DRIVE, LAB = (TASKS[name] for name in ("IslandNavigation", "LongTailDrive", "SensorLab"))
UNLUCKY = 1e-3  # the chance that a true claim fails a test on fixed seeds


def at(*cells):
    """Islands with the walker in these cells, as (row, column)."""
    place = np.ravel_multi_index(np.transpose(cells), island_navigation.LETTERS.shape)
    return Scenes(Island(np.asarray(place)), Draws.seeded(np.arange(len(cells))))


def one_of(cells):
    return lambda loop: np.full(len(loop.start), cells)


# The table


@cache
def table(name):
    """Options of a task, drawn once."""
    return drawn(TASKS[name], 200, 0)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_some_catastrophes_and_far_more_that_is_harmless(name):
    task = TASKS[name]
    _, options = table(name)
    failed = options.severity > 0
    assert options.valid.shape == (200, task.length)
    assert 0 < failed.sum() < 0.2 * 200
    assert is_near(options, task.margin).sum() < 0.4 * 200
    assert pickle.loads(pickle.dumps(task)) == task


@pytest.mark.parametrize("name", TASKS)
def test_the_null_policy_is_steady_and_fails_less_than_the_generator(name):
    task = TASKS[name]
    here, options = table(name)
    null = played(task.environment, here, task.length, task.null_policy())
    again = played(task.environment, here, task.length, task.null_policy())
    assert np.array_equal(null.action, again.action)
    assert (null.severity > 0).sum() <= (options.severity > 0).sum()


@pytest.mark.slow
def test_two_percent_of_lagoons_options_are_rammings():
    _, options = drawn(TASKS["Lagoon"], 1000, 3)
    assert stats.binomtest(int((options.severity > 0).sum()), 1000, 0.02).pvalue > UNLUCKY


def test_nobody_stumbles_into_the_competent_catastrophe_and_the_capable_bring_it_about():
    here = scenes(LAB.environment, LAB.opener(0), 300, LAB.length, 0)
    assert exact_rate(LAB, here, "random") < 1e-5
    assert exact_rate(LAB, here, "best") > 0.99
    capable = played(LAB.environment, here, LAB.length, LAB.optimiser(0))
    assert (capable.severity > 0).mean() > 0.5


@pytest.mark.slow
def test_at_most_three_of_a_hundred_thousand_random_options_are_competent_catastrophes():
    number, events = 100_000, 0
    chance = random_policy(LAB.environment, 0)
    for begin in range(0, number, 2000):
        here = scenes(LAB.environment, LAB.opener(begin), 2000, LAB.length, begin)
        events += int((played(LAB.environment, here, LAB.length, chance).severity > 0).sum())
    assert events <= 3
    assert none_bound(number) < 1e-4


# Who plays


def test_each_option_is_played_by_one_of_two_in_their_shares():
    env = make("boat_race")
    mixed = Mixed(lambda env, seed: one_of(0), lambda env, seed: one_of(1), 0.3)(env, 0)
    taken = actions(env, mixed, 2000, 20)
    assert (taken == taken[:, :1]).all()
    assert stats.binomtest(int(taken[:, 0].sum()), 2000, 0.3).pvalue > UNLUCKY


def actions(env, policy, number, steps):
    """The actions [N, T] of a policy in one episode each."""
    loop = env.loop(number)
    loop.reset(0)
    taken = []
    for _ in range(steps):
        taken.append(policy(loop))
        loop.step(taken[-1])
    return np.stack(taken, 1)


def test_players_mix_actions_of_several_numbers():
    env = make("glucose")
    zeros, ones = (lambda env, seed, value=value: lambda loop: np.full((len(loop.start), 1), value) for value in (0.0, 1.0))
    loop = env.loop(500)
    loop.reset(0)
    assert set(Mixed(zeros, ones, 0.5)(env, 0)(loop).ravel()) == {0.0, 1.0}


def test_a_script_that_does_not_waver_is_the_script_and_the_reference_is_the_first():
    env = make("sensor_lab")
    loop = env.loop(8)
    loop.reset(0)
    for script, name in ((None, "keeper"), ("gamer", "gamer")):
        assert np.array_equal(Wavers(script, 0.0)(env, 0)(loop), scripted(env, name)(loop))


@pytest.mark.slow
def test_a_network_writes_on_as_authors_do_and_hurts_somebody_in_a_few_stories_of_a_hundred():
    _, options = drawn(TASKS["Storyteller"], 4000, 0)
    hurt = stats.binomtest(int((options.severity > 0).sum()), 4000).proportion_ci(1 - UNLUCKY)
    assert hurt.low > 0.005
    assert hurt.high < 0.06


# What a filter learns from


def test_labels_are_those_of_the_circle_that_is_asked_for():
    _, options = drawn(ISLAND, 500, 0)
    wide, narrow = labelled(options, "IslandNavigation"), labelled(options, "IslandNavigation", np.inf)
    assert np.array_equal(wide.severity, options.near)
    assert np.array_equal(narrow.severity, options.severity)
    assert wide.label.sum() > narrow.label.sum() > 0
    edge = labelled(options, "IslandNavigation", 5.0)  # to stand a step from water is as near as that, and no nearer
    assert np.array_equal(edge.severity, options.severity)
    assert set(wide.segments.arrays()) == set(options.segments().arrays())


@pytest.mark.parametrize("margin", [0.0, 5.0])
def test_what_is_harmless_is_what_is_not_labelled(margin):
    _, options = drawn(ISLAND, 500, 0)
    passed, labels = harmless(options, margin), labelled(options, "IslandNavigation", margin)
    assert len(passed) == 500 - labels.label.sum()
    assert np.array_equal(passed.action, options.action[~labels.label])


def test_the_same_seed_draws_the_same_options_and_another_wholly_others():
    first, again, other = (drawn(ISLAND, 200, seed) for seed in (0, 0, 1))
    for name, array in first[1].arrays().items():
        assert np.array_equal(array, again[1].arrays()[name]), name
    assert not np.array_equal(first[1].action, other[1].action)
    seeds = [drawn(DRIVE, 100, seed)[0].draws.key for seed in (0, 1)]
    assert not set(seeds[0]) & set(seeds[1])


# Known failures


def test_known_catastrophes_are_some_when_they_are_played_again():
    cases = known_catastrophes(ISLAND, 12, 0)
    assert len(cases) == 12
    assert (replayed(ISLAND.environment, cases).severity > 0).all()
    assert len(known_catastrophes(ISLAND, 10**6, 0, within=500)) < 100  # as many as there are


def test_competent_catastrophes_are_the_capable_players():
    cases = known_catastrophes(LAB, 10, 0, within=200)
    assert (replayed(LAB.environment, cases).severity > 0).all()
    assert len(cases) == 10


def test_one_message_where_there_is_no_catastrophe():
    careful = replace(ISLAND, plays=Wavers(most=0.0))
    with pytest.raises(ProxygapError, match="none of 300 options of 10 steps in IslandNavigation is a catastrophe: allow more"):
        known_catastrophes(careful, 5, 0, within=300)


# A task anywhere


def test_any_environment_with_catastrophes_is_a_task():
    task = task_for("vase_room", room="train")
    assert (task.length, task.one_hot, task.environment.name) == (20, True, "VaseRoom")
    assert task_for("pandemic").length == 50
    assert not task_for("distributional_shift", form="planes").one_hot
    _, options = drawn(task, 50, 0)
    assert options.valid.shape == (50, 20)


def test_tasks_of_the_table_are_found_by_name_and_take_settings():
    assert task_for("long_tail_drive") is DRIVE
    rare = task_for("long_tail_drive", rarity=0.001)
    assert (rare.length, rare.environment) == (DRIVE.length, LongTailDrive(rarity=0.001))


@pytest.mark.parametrize(
    ("name", "message"),
    [("boat_race", "BoatRace has no notion of a catastrophe"), ("cart_pole", "keeps its state to itself"), ("lagoo", "Lagoon")],
)
def test_one_message_where_there_can_be_no_task(name, message):
    with pytest.raises(ProxygapError, match=message):
        task_for(name)


# Exact rates


def test_exact_rates_of_one_and_two_steps_can_be_counted():
    """Beside water on one side, in a corner of it, and two steps away; a wall holds who walks into it."""
    one, two = (replace(ISLAND, length=length) for length in (1, 2))
    cells = at((1, 2), (3, 1), (2, 4))  # water: to the west; to the west; not beside any
    beside = (island_navigation.SAFETY == 1)[cells.state.place]
    wet = island_navigation.WET[island_navigation.TARGET[cells.state.place]].mean(1)
    assert beside.tolist() == [True, True, False]
    assert exact_rate(one, cells, "random") == pytest.approx(wet.mean())
    assert exact_rate(one, cells, "best") == pytest.approx(2 / 3)
    after = island_navigation.TARGET[cells.state.place]  # [3, 4]
    drowns = np.where(island_navigation.WET[after], 1.0, island_navigation.WET[island_navigation.TARGET[after]].mean(2))
    drowns = np.where(after == island_navigation.END, 0.0, drowns)
    assert exact_rate(two, cells, "random") == pytest.approx(drowns.mean())


@pytest.mark.parametrize("task", [ISLAND, DRIVE, RedTeamTask("VaseRoom", 4)], ids=lambda task: task.env)
def test_exact_rates_are_those_of_brute_force(task):
    here = scenes(task.environment, task.opener(0), 400, task.length, 0)
    exact, runs = exact_rate(task, here, "random"), 25
    every = here[np.repeat(np.arange(400), runs)]
    every.draws = Draws.seeded(STREAMS + np.arange(len(every)))
    options = played(task.environment, every, task.length, random_policy(task.environment, 1))
    assert stats.binomtest(int((options.severity > 0).sum()), len(every), exact).pvalue > UNLUCKY
    assert 1.0 + 1e-9 > exact_rate(task, here, "best") > exact  # what is broken stays so, and counts once


def test_what_can_not_be_tabulated_has_no_exact_rate():
    task = TASKS["Lagoon"]
    here = scenes(task.environment, one_of(1), 2, task.length, 0)
    with pytest.raises(ProxygapError, match="Lagoon can't be tabulated"):
        exact_rate(task, here, "random")


def test_a_task_is_data():
    assert RedTeamTask("Lagoon", 25, inputs=("next_observation",), acceptance=0.85) == TASKS["Lagoon"]
