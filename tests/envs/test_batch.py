"""Batches of records behave like arrays of records; draws are uniform, independent and each world's own."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from proxygap.envs.batch import Array, Batch, Draws, NoChance
from scipy import stats


@dataclass
class Wheel(Batch):
    spin: Array  # [B]


@dataclass
class Cart(Batch):
    place: Array  # [B, 2]
    wheel: Wheel
    broken: Array  # [B] bool


@st.composite
def carts(draw, least=1, most=6):
    size = draw(st.integers(least, most))
    numbers = st.floats(-1e6, 1e6)
    return Cart(
        draw(npst.arrays(float, (size, 2), elements=numbers)),
        Wheel(draw(npst.arrays(np.int64, size, elements=st.integers(-9, 9)))),
        draw(npst.arrays(bool, size)),
    )


def same(one, other):
    return all(np.array_equal(array, other.arrays()[name]) for name, array in one.arrays().items())


@given(carts(), st.data())
def test_rows_are_taken_as_arrays_take_them(cart, data):
    rows = data.draw(
        st.one_of(
            st.lists(st.integers(-len(cart), len(cart) - 1), max_size=8).map(lambda rows: np.array(rows, int)),
            st.slices(len(cart)),
            npst.arrays(bool, len(cart)),
        )
    )
    taken = cart[rows]
    assert len(taken) == len(np.arange(len(cart))[rows])
    assert all(np.array_equal(array, cart.arrays()[name][rows]) for name, array in taken.arrays().items())


@given(carts(), st.data())
def test_assigning_changes_the_named_rows_and_no_other(cart, data):
    rows = np.flatnonzero(data.draw(npst.arrays(bool, len(cart))))
    other = data.draw(carts(len(rows), len(rows))) if len(rows) else cart[rows]
    changed = cart.copy()
    changed[rows] = other
    assert same(changed[rows], other)
    assert same(changed[np.delete(np.arange(len(cart)), rows)], cart[np.delete(np.arange(len(cart)), rows)])


@given(carts(), st.data())
def test_one_row_is_a_batch_of_one_and_can_be_put_back(cart, data):
    i = data.draw(st.integers(0, len(cart) - 1))
    assert len(cart[i]) == 1
    moved = cart.copy()
    moved[0] = cart[i]
    assert same(moved[0], cart[i])
    assert np.ndim(cart.row(i).wheel.spin) == 0


@given(carts())
def test_stacking_rows_gives_the_batch_back(cart):
    assert same(Cart.stack([cart.row(i) for i in range(len(cart))]), cart)


@given(carts(), carts())
def test_joining_and_cutting_are_inverse(one, other):
    both = Cart.concatenate([one, other])
    assert len(both) == len(one) + len(other)
    assert same(both[: len(one)], one)
    assert same(both[len(one) :], other)


@given(carts(), carts())
def test_stored_arrays_are_read_back(cart, form):
    assert set(cart.arrays()) == {"place", "wheel.spin", "broken"}
    assert same(form.filled(cart.arrays()), cart)


def test_a_missing_array_is_named():
    cart = Cart(np.zeros((1, 2)), Wheel(np.zeros(1)), np.zeros(1, bool))
    with pytest.raises(KeyError, match=r"wheel\.spin"):
        cart.filled({"place": np.zeros((1, 2)), "broken": np.zeros(1, bool)})


@given(carts())
def test_copies_and_filled_records_share_nothing(cart):
    for twin in (cart.copy(), cart.filled(cart.arrays())):
        for name, array in cart.arrays().items():
            assert not np.shares_memory(array, twin.arrays()[name])


@given(carts(2))
def test_keys_are_equal_exactly_where_rows_are(cart):
    keys = cart.keys()
    for i, key in enumerate(keys):
        for j, other in enumerate(keys):
            assert (key == other) == all(array[i].tobytes() == array[j].tobytes() for array in cart.arrays().values())
    assert cart.keys(without=("place",)) == Cart(np.zeros_like(cart.place), cart.wheel, cart.broken).keys(without=("place",))


# Draws

seeds = st.integers(0, 2**63 - 1)


@given(
    st.lists(seeds, min_size=1, max_size=5), st.lists(st.sampled_from(["random", "normal", "integers"]), max_size=6), st.data()
)
def test_a_world_draws_the_same_alone_as_in_any_batch(seed, calls, data):
    draw = {
        "random": lambda rng: rng.random((len(rng), 3)),
        "normal": lambda rng: rng.normal(2.0, 3.0, len(rng)),
        "integers": lambda rng: rng.integers(-4, 9, (len(rng), 2, 2)),
    }
    together = Draws.seeded(np.array(seed))
    i = data.draw(st.integers(0, len(seed) - 1))
    alone = Draws.seeded(np.array(seed[i : i + 1]))
    for call in calls:
        assert np.array_equal(draw[call](together)[i : i + 1], draw[call](alone))


@given(seeds, st.integers(0, 50), st.integers(1, 50))
def test_many_numbers_at_once_are_the_same_as_one_after_another(seed, first, more):
    at_once = Draws.seeded(np.array([seed])).random((1, first + more))[0]
    rng = Draws.seeded(np.array([seed]))
    assert np.array_equal(at_once, np.concatenate([rng.random((1, first))[0], [rng.random() for _ in range(more)]]))


@given(seeds)
def test_a_stored_stream_goes_on_where_it_was(seed):
    rng = Draws.seeded(np.array([seed, seed + 1]))
    rng.random((2, 7))
    again = rng.filled(rng.copy().arrays())
    assert np.array_equal(rng.random((2, 9)), again.random((2, 9)))


# 20 tests at these levels raise a false alarm for one generator in 10,000, and the seeds are fixed.
ALARM = 1e-5 / 2


@pytest.mark.parametrize("start", [0, 1, 2**32, 2**62])
def test_numbers_are_uniform_along_streams_and_across_them(start):
    table = Draws.seeded(start + np.arange(300)).random((300, 300))
    assert table.min() >= 0.0
    assert table.max() < 1.0
    for numbers in (table[0], table[:, 0], table[:, 1], table.ravel()):
        assert stats.kstest(numbers, "uniform").pvalue > ALARM
    digits = np.floor(table * 2**20).astype(int) % 2**10  # lower bits too
    assert stats.chisquare(np.bincount(digits.ravel(), minlength=2**10)).pvalue > ALARM


@pytest.mark.parametrize("apart", [1, 2, 7, 2**20])
def test_neighbouring_streams_and_numbers_are_independent(apart):
    table = Draws.seeded(np.arange(2_000) * apart).random((2_000, 200)) - 0.5
    pairs = {
        "streams": (table[:-1], table[1:]),
        "numbers": (table[:, :-1], table[:, 1:]),
        "both": (table[:-1, :-1], table[1:, 1:]),
    }
    for one, other in pairs.values():
        score = (12 * one * other).sum() / one.size**0.5  # standard normal where independent
        assert abs(score) < stats.norm.isf(ALARM / 2)


def test_gaussians_are_gaussian():
    numbers = Draws.seeded(np.arange(200)).normal(3.0, 2.0, (200, 200))
    assert stats.kstest((numbers.ravel() - 3.0) / 2.0, "norm").pvalue > ALARM
    assert np.isfinite(numbers).all()


@given(seeds, st.integers(-100, 100), st.integers(1, 50))
def test_whole_numbers_lie_in_their_range(seed, low, width):
    numbers = Draws.seeded(np.array([seed])).integers(low, low + width, (1, 200))
    assert numbers.min() >= low
    assert numbers.max() < low + width
    assert numbers.dtype == np.int64


def test_whole_numbers_are_equally_frequent():
    counts = np.bincount(Draws.seeded(np.arange(100)).integers(0, 7, (100, 700)).ravel(), minlength=7)
    assert stats.chisquare(counts).pvalue > ALARM


class AlmostOne(Draws):
    def random(self, size=None):
        return np.nextafter(1.0, 0.0)


@given(st.integers(-(2**40), 2**40), st.integers(1, 2**40))
def test_whole_numbers_never_round_up_to_their_bound(low, width):
    assert AlmostOne.seeded(np.zeros(1, int)).integers(low, low + width) == low + width - 1


def test_a_draw_must_have_the_batch_as_its_first_axis():
    with pytest.raises(ValueError, match="first axis must be the batch, 3"):
        Draws.seeded(np.arange(3)).random(2)


def test_where_nothing_is_left_to_chance_a_draw_is_an_error():
    with pytest.raises(TypeError, match="chances must be known"):
        NoChance().random(3)
