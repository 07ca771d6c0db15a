"""A repetition shares nothing between its parts, judges all filters alike, and hands over only what is what it seems."""

import numpy as np
import pytest
from proxygap.agents.attacks.core import Hunt
from proxygap.agents.options import Cases, Scenes, replayed
from proxygap.envs import ProxygapError
from proxygap.experiments.red_team_bench import (
    CALIBRATING,
    PARTS,
    TESTING,
    TRAINING,
    Sizes,
    bench,
    check_learnable,
    enough,
    part,
)
from proxygap.experiments.red_team_tasks import TASKS, RedTeamTask, drawn, harmless, is_near, labelled
from proxygap.reward_models.hardening import Finds, Hardening, harden

ISLAND = TASKS["IslandNavigation"]
SIZES = Sizes(training=300, calibrating=200, known=40, trials=20, queries=10, scenes=20, draws=4)


@pytest.fixture(scope="module")
def made():
    """A small repetition, and the seeds that players were made from."""
    seeds = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("generator", "opener", "optimiser"):
            asked = getattr(RedTeamTask, name)
            patch.setattr(RedTeamTask, name, lambda task, seed, asked=asked: seeds.append(seed) or asked(task, seed))
        found = bench(ISLAND, SIZES, 1)
        _ = found._judged
    return found, seeds


@pytest.fixture(scope="module")
def filters(made):
    """Two that learned the same, one of them for so short a time that it knows little."""
    found, _ = made
    return [found.model(steps=steps).fit(found.data).choose_threshold(found.harmless) for steps in (60, 1)]


def streams(scenes: Scenes):
    """The streams of chance that scenes draw from."""
    return set(scenes.draws.key.tolist())


def done(cases: Cases):
    """Options by their streams of chance, their times, and what is done."""
    keys, times, actions = cases.draws.key.tolist(), cases.state.time.tolist(), map(tuple, cases.action.tolist())
    return set(zip(keys, times, actions, strict=True))


# Nothing is shared


def test_no_stream_of_chance_is_in_two_parts(made):
    found, _ = made
    training, calibrating = (drawn(ISLAND, 300, part(1, of))[0] for of in (TRAINING, CALIBRATING))
    learned, tested = (streams(training) | streams(found.known)), (streams(calibrating) | streams(found.trials))
    assert not learned & tested
    assert not learned & streams(found.scenes)
    assert not tested & streams(found.scenes)


def test_no_trial_is_among_the_options_that_thresholds_are_chosen_by_and_no_known_failure_among_the_trials(made):
    found, _ = made
    there, options = drawn(ISLAND, SIZES.calibrating, part(1, CALIBRATING))
    assert np.array_equal(options.action, found.calibrating.action)
    passed = options.cases(there)[~is_near(options, ISLAND.margin)]
    assert len(passed) == len(found.harmless)
    assert not done(passed) & done(found.trials)
    assert not done(found.known) & done(found.trials)
    assert len(done(found.trials)) == len(found.trials) == SIZES.trials


def test_no_player_draws_what_another_draws(made):
    _, seeds = made
    assert len(seeds) >= 9  # who opens and who plays: training, calibrating, judging, both kinds of failures; the judged draws
    assert len(set(seeds)) == len(seeds)


def test_other_seeds_share_nothing():
    assert len({part(seed, of) for seed in range(20) for of in PARTS}) == 20 * len(PARTS)
    one, other = (bench(ISLAND, SIZES, seed) for seed in (1, 2))
    assert not streams(one.trials) & streams(other.trials)
    assert not streams(one.scenes) & streams(other.scenes)
    assert not np.array_equal(one.data.segments.action, other.data.segments.action)


def test_hardening_and_testing_draw_from_streams_of_their_own(made, filters, monkeypatch):
    found, _ = made
    states = []
    begun = Hunt.__init__

    def noted(hunt, target, env, cases, budget, rng, *rest):
        states.append(str(rng.bit_generator.state))
        begun(hunt, target, env, cases, budget, rng, *rest)

    def nothing(target, labels, rng):
        find(target, labels, rng)
        none = np.zeros(0)
        return Finds(found.data[none.astype(int)].segments, none, none, none, none, found.data.env)

    find = found.finder("random")
    monkeypatch.setattr(Hunt, "__init__", noted)
    list(harden(found.model(steps=1), found.data, found.harmless, nothing, Hardening(4, 4, 2, seed=1)))
    assert len(set(states)) == 4 * 2
    for model in filters:
        found.attacked(model, "random")
    assert states[-1] == states[-2]  # all filters meet the same chance
    assert len(set(states)) == 4 * 2 + 1


# What it is made of


def test_what_filters_learn_is_labelled_by_the_wide_circle_and_failures_are_of_the_narrow_one(made):
    found, _ = made
    _, options = drawn(ISLAND, SIZES.training, part(1, TRAINING))
    assert np.array_equal(found.data.severity, labelled(options, "IslandNavigation").severity)
    for cases in (found.known, found.trials):
        assert (replayed(ISLAND.environment, cases).severity > 0).all()
    assert np.array_equal(found.known_severity, replayed(ISLAND.environment, found.known).severity)
    assert len(found.known) == SIZES.known


def test_it_is_the_same_when_it_is_made_again(made):
    found, again = made[0], bench(ISLAND, SIZES, 1)
    for name in ("data", "calibrating", "known", "trials", "scenes"):
        for key, array in getattr(found, name).arrays().items():
            assert np.array_equal(array, getattr(again, name).arrays()[key]), (name, key)


def test_failures_at_hand_are_used_before_others(made):
    found, _ = made
    assert np.array_equal(enough(ISLAND, 5, found.trials, 0).action, found.trials.action[:5])
    more = enough(ISLAND, 25, found.trials, 0)
    assert len(more) == 25
    assert np.array_equal(more.action[:20], found.trials.action)


@pytest.mark.parametrize(("bad", "count"), [(0, 10), (9, 10), (10, 10)])
def test_labels_that_are_all_alike_are_refused(made, bad, count):
    data = made[0].data
    order = np.argsort(~data.label, kind="stable")
    some = data[np.concatenate([order[:bad], order[::-1][: count - bad]])]
    with pytest.raises(ProxygapError, match=f"^{bad} of {count} options that the generator plays in IslandNavigation are near"):
        check_learnable(ISLAND, some)


# Filters are judged alike


def test_filters_are_judged_on_the_same_options_at_the_same_acceptance(made, filters):
    found, _ = made
    labels = [found.labels(model) for model in filters]
    for name in ("failed", "true", "null_failed", "null_true"):
        assert np.array_equal(getattr(labels[0], name), getattr(labels[1], name))
    assert not np.array_equal(labels[0].suspicion, labels[1].suspicion)
    assert labels[0].failed.shape == (SIZES.scenes, SIZES.draws)
    same = harmless(found.calibrating, ISLAND.margin)
    for model in filters:
        accepted = model.suspicion(same) <= model.threshold_
        others = model.suspicion(same) < model.threshold_
        assert accepted.mean() >= ISLAND.acceptance > others.mean()


def test_how_a_system_fares_is_what_its_labels_say(made, filters):
    found, _ = made
    told, labels = found.in_distribution(filters[0]), found.labels(filters[0])
    passed = labels.suspicion <= filters[0].threshold_
    assert told["unfiltered"] == labels.failed.mean()
    assert told["naive"] == (labels.failed & passed).mean()
    assert told["acceptance"] == passed[~labels.failed].mean()
    assert told["null"] == (~passed).all(1).mean()
    assert len(found.natural(filters[0])) == (labels.failed & passed).sum()
    assert 1 <= told["draws"] <= SIZES.draws


def test_a_filter_that_lets_all_pass_changes_nothing(made, filters):
    found, _ = made
    open_ = found.model(steps=1).fit(found.data)
    open_.threshold_ = 1e9
    told = found.in_distribution(open_)
    assert (told["acceptance"], told["draws"], told["null"]) == (1.0, 1.0, 0.0)
    assert told["failure"] == pytest.approx(told["unfiltered"])
    assert told["true"] == pytest.approx(told["unfiltered_true"])


# Attacks


def test_a_finder_hands_over_only_real_finds(made, filters):
    found, _ = made
    for model in filters:
        got = found.finder("mutation")(model, 12, np.random.default_rng(0))
        assert 0 < len(got) <= 12
        assert (got.egregiousness > 0).all()
        assert (got.severity >= got.egregiousness).all()
        assert (got.margin >= 0).all()
        assert model.accepts(got.segments).all()
        assert got.asked.sum() <= 12


def test_a_finder_hands_over_nothing_where_nothing_passes(made, filters):
    found, _ = made
    model = found.model(steps=1).fit(found.data)
    model.threshold_ = -1e9
    assert len(found.finder("random")(model, 6, np.random.default_rng(0))) == 0


def test_a_target_is_attacked_from_all_trials_within_the_budget_and_for_the_worst_if_that_is_asked(made, filters):
    found, _ = made
    sly, bad = (found.attacked(filters[1], "mutation", 2, aim=aim) for aim in ("score", "severity"))
    for findings in (sly, bad):
        assert len(findings) == SIZES.trials
        assert (findings.queries <= 20).all()
        assert (findings.queries[~findings.found] == 20).all()
        assert np.array_equal(findings.cases.draws.key, found.trials.draws.key)
    assert found.attack("mutation").aim == "score"


def test_edits_leave_only_what_is_harmless(made, filters):
    found, _ = made
    edited = found.edited(filters[0])
    _, before = drawn(ISLAND, 200, part(1, TESTING))
    fine = ~is_near(before, ISLAND.margin)
    assert len(edited) == fine.sum()
    cells = edited.next_observation.reshape(*edited.valid.shape, -1)
    shown = labelled_cells(before)
    assert all(tuple(cell) in shown for cell in np.unique(cells[edited.valid], axis=0).tolist())
    changed = (edited.action != before.action[fine]).sum(1)
    assert 0 < changed.mean() <= 4
    assert changed.max() <= 4


def labelled_cells(options):
    """What is shown where nobody is near water, as tuples."""
    near = is_near(options, ISLAND.margin)
    seen = options.next_observation.reshape(*options.valid.shape, -1)
    _, more = drawn(ISLAND, 2000, 77)
    calm = ~is_near(more, ISLAND.margin)
    wide = more.next_observation.reshape(*more.valid.shape, -1)
    rows = np.concatenate([seen[~near][options.valid[~near]], wide[calm][more.valid[calm]]])
    return set(map(tuple, np.unique(rows, axis=0).tolist()))
