"""Teachers: each against its closed form, what a model of it can reach, and budgets that are exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.core import ProxygapError, Segments
from proxygap.reward_models.feedback import Comparisons, Stretches
from proxygap.reward_models.teachers import (
    Biased,
    Greedy,
    Ledger,
    Mistaken,
    Mixture,
    Myopic,
    Rational,
    Skipping,
    Undecided,
    b_pref,
    compared,
    rated,
)

WEIGHTS = np.array([1.0, -2.0, 0.5])  # of the true reward over three terms
PAIRS, STEPS = 400, 10


def of_terms(terms):
    """Stretches [N, T] with these terms [N, T, 3]."""
    shape = terms.shape[:2]
    number, no = np.arange(shape[0]), np.zeros(shape, bool)
    segments = Segments(terms, no, terms, no, ~no, number, number, no)
    return Stretches(segments, terms @ WEIGHTS, terms)


def of_rewards(*rows):
    """Stretches with these true rewards, one row each."""
    true = np.array(rows, float)
    return of_terms(true[..., None] * [1.0, 0.0, 0.0])


def sides(seed=0, pairs=PAIRS, scale=0.3):
    rng = np.random.default_rng(seed)
    return of_terms(rng.normal(size=(pairs, STEPS, 3)) * scale), of_terms(rng.normal(size=(pairs, STEPS, 3)) * scale)


def gain(first, second):
    return first.true.sum(1) - second.true.sum(1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def choice(p):
    return np.stack([p, 1 - p, 0 * p, 0 * p], 1)


def biased_gain(first, second):
    return (first.terms[..., 0] - second.terms[..., 0]).sum(1)


def recent_gain(first, second):
    return sum(0.8 ** (STEPS - 1 - t) * (first.true[:, t] - second.true[:, t]) for t in range(STEPS))


SEEN = Biased((1.0, 0.0, 0.0))
MARGIN = 0.1  # per step


def closed_undecided(first, second):
    p = choice((gain(first, second) > 0) * 1.0)
    p[abs(gain(first, second)) <= MARGIN * STEPS] = [0, 0, 1, 0]
    return p


def closed_skipping(first, second):
    p = choice((gain(first, second) > 0) * 1.0)
    p[np.maximum(first.true.sum(1), second.true.sum(1)) <= MARGIN * STEPS] = [0, 0, 0, 1]
    return p


CLOSED_FORMS = {
    "rational": (Rational(0.7), lambda a, b: choice(sigmoid(0.7 * gain(a, b)))),
    "greedy": (Greedy(), lambda a, b: choice((gain(a, b) > 0) * 1.0)),
    "mistaken": (Mistaken(Greedy(), 0.2), lambda a, b: choice(np.where(gain(a, b) > 0, 0.8, 0.2))),
    "coin tosses": (Mistaken(Rational(), 0.1 / 2), lambda a, b: choice(0.1 / 2 + 0.9 * sigmoid(gain(a, b)))),
    "myopic": (Rational(1.0, Myopic(0.8)), lambda a, b: choice(sigmoid(recent_gain(a, b)))),
    "biased": (Rational(2.0, SEEN), lambda a, b: choice(sigmoid(2 * biased_gain(a, b)))),
    "undecided": (Undecided(Greedy(), MARGIN), closed_undecided),
    "skipping": (Skipping(Greedy(), MARGIN), closed_skipping),
    "mixture": (
        Mixture((Rational(), Greedy(SEEN)), (0.7, 0.3)),
        lambda a, b: choice(0.7 * sigmoid(gain(a, b)) + 0.3 * (biased_gain(a, b) > 0)),
    ),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_chances_are_those_of_the_closed_form(name):
    teacher, closed_form = CLOSED_FORMS[name]
    np.testing.assert_allclose(teacher.chances(*sides()), closed_form(*sides()), atol=1e-12)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_answers_come_as_often_as_their_chances(name):
    """Sums of 400 x 50 answers against their expectation, within 4.5 standard deviations."""
    teacher, closed_form = CLOSED_FORMS[name]
    chances, rng = closed_form(*sides()), np.random.default_rng(5)
    drawn = [teacher.ask(*sides(), rng) for _ in range(50)]
    labels, skipped = np.stack([answer.label for answer in drawn]), np.stack([answer.skipped for answer in drawn])
    np.testing.assert_array_equal(np.isnan(labels), skipped)
    for column, came in enumerate((labels == 1, labels == 0, labels == 0.5, skipped)):
        p = chances[:, column]
        assert abs(came.sum() - 50 * p.sum()) <= 4.5 * np.sqrt(50 * (p * (1 - p)).sum())
        assert not came[:, p == 0].any()
        assert came[:, p == 1].all()


TEACHERS = st.recursive(
    st.builds(Rational, st.floats(0, 5)) | st.builds(Greedy, st.builds(Myopic, st.floats(0, 1), st.just(SEEN))),
    lambda inner: (
        st.builds(Mistaken, inner, st.floats(0, 1))
        | st.builds(Undecided, inner, st.floats(0, 1))
        | st.builds(Skipping, inner, st.floats(-1, 1))
        | st.builds(lambda *two: Mixture(two), inner, inner)
    ),
    max_leaves=4,
)


@given(TEACHERS, st.integers(0, 99), st.sampled_from([0.0, 0.3, 1e4]))
def test_every_composition_has_chances_and_does_not_care_for_sides(teacher, seed, scale):
    first, second = sides(seed, 20, scale)
    chances = teacher.chances(first, second)
    assert (chances >= 0).all()
    np.testing.assert_allclose(chances.sum(1), 1)
    np.testing.assert_allclose(teacher.chances(second, first), chances[:, [1, 0, 2, 3]], atol=1e-12)
    once, again = (teacher.ask(first, second, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(once.label, again.label)


def test_a_tie_is_a_coin_toss_however_it_is_added_up():
    one, other = of_rewards([0.1, 0.2, 0.3], [3, 0, 0]), of_rewards([0.3, 0.2, 0.1], [0, 3, 0])
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    np.testing.assert_array_equal(Greedy().chances(one, other), choice(np.array([0.5, 0.5])))
    assert Undecided(Greedy(), 0.0).ask(one, other, np.random.default_rng(0)).label.tolist() == [0.5, 0.5]
    assert Greedy().bayes_accuracy(one, other) == Greedy().bayes_accuracy(one, other, "answers") == 0.5


def test_the_outermost_weakness_has_the_last_word():
    tie = of_rewards([1.0]), of_rewards([1.0])
    rng = np.random.default_rng(0)
    assert Undecided(Mistaken(Greedy(), 1.0), 0.1).ask(*tie, rng).label.tolist() == [0.5]
    assert Skipping(Undecided(Greedy(), 0.1), 2.0).ask(*tie, rng).skipped.tolist() == [True]
    assert Undecided(Skipping(Greedy(), 2.0), 0.1).ask(*tie, rng).skipped.tolist() == [False]


def test_thresholds_are_per_step_whatever_the_length():
    for steps in (1, 7, 50):
        first, second = of_rewards([1.0] * steps, [1.0] * steps), of_rewards([1.19] * steps, [1.21] * steps)
        assert Undecided(Greedy(), 0.2).chances(first, second)[:, 2].tolist() == [1, 0]
        assert Skipping(Greedy(), 1.2).chances(first, second)[:, 3].tolist() == [1, 0]


@given(st.floats(0.01, 1.0), st.floats(0.1, 10.0))
def test_a_share_is_multiplied_once(share, mean):
    """B-Pref's training multiplies its margins by the share twice: then a share of 0.1 acts as one of 0.01."""
    within, beyond = 0.99 * share * mean, 1.01 * share * mean
    first, nothing = of_rewards([within] * 3, [beyond] * 3), of_rewards([0.0] * 3, [0.0] * 3)
    assert b_pref(mean, equal=share).chances(first, nothing)[:, 2].tolist() == [1, 0]
    assert b_pref(mean, skip=share).chances(first, nothing)[:, 3].tolist() == [1, 0]


def test_b_pref_is_its_operators_in_its_order():
    first, second = sides()
    expected = Skipping(Undecided(Mistaken(Rational(2.0, Myopic(0.9)), 0.1), 0.2 * 0.5), 0.1 * 0.5)
    found = b_pref(0.5, beta=2.0, gamma=0.9, mistake=0.1, equal=0.2, skip=0.1)
    np.testing.assert_array_equal(found.chances(first, second), expected.chances(first, second))
    np.testing.assert_array_equal(b_pref(-3.0).chances(first, second), Greedy().chances(first, second))
    with pytest.raises(ProxygapError, match=r"shares of a mean step reward of -3\.0"):
        b_pref(-3.0, equal=0.1)


def accuracy_of(values, labels):
    decided = np.isin(labels, (0, 1))
    return ((values > 0) == (labels == 1))[decided].mean()


@pytest.mark.parametrize(
    ("teacher", "truth", "answers"),
    [
        (Greedy(), lambda a, b: 1.0, lambda a, b: 1.0),
        (Rational(0.7), lambda a, b: 1.0, lambda a, b: sigmoid(0.7 * abs(gain(a, b))).mean()),
        (Mistaken(Greedy(), 0.2), lambda a, b: 1.0, lambda a, b: 0.8),
        (Mistaken(Greedy(), 0.7), lambda a, b: 0.0, lambda a, b: 0.7),
        (Mistaken(Greedy(), 0.5), lambda a, b: 0.5, lambda a, b: 0.5),
        (Rational(0.0), lambda a, b: 0.5, lambda a, b: 0.5),
        (Undecided(Greedy(), MARGIN), lambda a, b: 1.0, lambda a, b: 1.0),
        (Greedy(SEEN), lambda a, b: (gain(a, b) * biased_gain(a, b) > 0).mean(), lambda a, b: 1.0),
        (Greedy(Myopic(0.8)), lambda a, b: (gain(a, b) * recent_gain(a, b) > 0).mean(), lambda a, b: 1.0),
        (
            Mixture((Greedy(), Greedy(SEEN)), (0.6, 0.4)),
            lambda a, b: 1.0,
            lambda a, b: np.where(gain(a, b) * biased_gain(a, b) > 0, 1.0, 0.6).mean(),
        ),
        (
            Mixture((Greedy(), Greedy(SEEN)), (0.4, 0.6)),
            lambda a, b: (gain(a, b) * biased_gain(a, b) > 0).mean(),
            lambda a, b: np.where(gain(a, b) * biased_gain(a, b) > 0, 1.0, 0.6).mean(),
        ),
    ],
)
def test_bayes_accuracy_is_that_of_the_closed_form(teacher, truth, answers):
    assert teacher.bayes_accuracy(*sides()) == pytest.approx(truth(*sides()))
    assert teacher.bayes_accuracy(*sides(), "answers") == pytest.approx(answers(*sides()))


def test_the_best_model_reaches_the_bayes_accuracy_on_answers_and_no_other_passes_it():
    """The seen return itself, and two other models, on 20,000 fresh answers; pairs skipped or undecided don't count."""
    teacher = Skipping(Undecided(Mistaken(Rational(0.7, SEEN), 0.1), 0.05), -0.3)
    first, second = sides(3, 20_000)
    labels = teacher.ask(first, second, np.random.default_rng(1)).label
    best, bound = accuracy_of(biased_gain(first, second), labels), teacher.bayes_accuracy(first, second, "answers")
    spread = 4.5 * 0.5 / np.sqrt(np.isin(labels, (0, 1)).sum())
    assert abs(best - bound) < spread
    for other in (gain(first, second), recent_gain(first, second)):
        assert accuracy_of(other, labels) < bound + spread


def test_nothing_can_be_said_of_a_teacher_who_never_decides():
    assert np.isnan(Undecided(Greedy(), 1e9).bayes_accuracy(*sides()))


def test_biases_are_named_by_terms():
    assert Biased.named({"c": 2.0, "a": -1.0}, ["a", "b", "c"]) == Biased((-1.0, 0.0, 2.0))
    with pytest.raises(ProxygapError, match="no terms d; there are: a, b, c"):
        Biased.named({"d": 1.0}, ["a", "b", "c"])
    with pytest.raises(ProxygapError, match="2 weights for 3 terms"):
        Greedy(Biased((1.0, 2.0))).chances(*sides())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rational(-1.0), "beta -1.0: allowed is a number from 0.0"),
        (lambda: Rational(np.inf), "beta inf"),
        (lambda: Mistaken(Greedy(), 1.1), "rate 1.1: allowed is a number from 0.0 to 1.0"),
        (lambda: Myopic(np.nan), "gamma nan"),
        (lambda: Undecided(Greedy(), -0.1), "margin -0.1"),
        (lambda: Skipping(Greedy(), np.nan), "level nan"),
        (lambda: Mixture(()), "0 teachers"),
        (lambda: Mixture((Greedy(),), (0.5,)), "1 teachers with shares"),
        (lambda: Mixture((Greedy(), Greedy()), (1.5, -0.5)), "2 teachers with shares"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ProxygapError, match=message):
        make()


def test_comparisons_leave_out_what_was_skipped_and_the_ledger_does_not():
    first, second = sides()
    teacher, ledger = Skipping(Rational(), MARGIN), Ledger(comparisons=2 * PAIRS)
    answers = teacher.ask(first, second, np.random.default_rng(2))
    found = compared(teacher, first, second, "Lake", np.random.default_rng(2), ledger)
    assert isinstance(found, Comparisons)
    assert 0 < len(found) == (~answers.skipped).sum() < PAIRS
    assert ledger.asked == PAIRS
    np.testing.assert_array_equal(found.label, answers.label[~answers.skipped])
    np.testing.assert_array_equal(found.first.observation, first.terms[~answers.skipped])
    np.testing.assert_array_equal(found.second.observation, second.terms[~answers.skipped])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))), st.integers(0, 30), st.none() | st.integers(0, 30))
def test_a_budget_is_reached_and_never_passed(spendings, comparisons, steps):
    ledger, booked = Ledger(comparisons, steps), np.zeros(2, int)
    for spending in spendings:
        after = booked + spending
        if after[0] <= comparisons and (steps is None or after[1] <= steps):
            ledger.spend(*spending)
            booked = after
        else:
            with pytest.raises(ProxygapError, match="the budget is"):
                ledger.spend(*spending)
        assert (ledger.asked, ledger.taken) == tuple(booked)


def test_a_spent_budget_asks_nothing():
    rng, ledger = np.random.default_rng(0), Ledger(comparisons=PAIRS - 1)
    before = rng.bit_generator.state
    with pytest.raises(ProxygapError, match=f"{PAIRS} comparisons: the budget is {PAIRS - 1}"):
        compared(Greedy(), *sides(), "Lake", rng, ledger)
    assert rng.bit_generator.state == before


def test_marks_are_returns_with_noise():
    stretches, rng = sides(pairs=4000)[0], np.random.default_rng(0)
    exact = rated(stretches, "Lake", rng)
    np.testing.assert_allclose(exact.value, stretches.true.sum(1))
    np.testing.assert_allclose(rated(stretches, "Lake", rng, SEEN).value, stretches.terms[..., 0].sum(1))
    error = rated(stretches, "Lake", rng, noise=2.0).value - exact.value
    assert abs(error.mean()) < 4.5 * 2 / np.sqrt(4000)
    assert abs(error.std() - 2) < 4.5 * 2 / np.sqrt(2 * 4000)
