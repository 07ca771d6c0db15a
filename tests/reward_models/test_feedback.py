"""Feedback: what is cut from episodes, what fits together, and files that survive, can be shared, and say what is wrong."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents.rollouts import collect, random_policy
from proxygap.envs.core import ProxygapError, Segments
from proxygap.envs.gridworlds.boat_race import BoatRace
from proxygap.reward_models import feedback
from proxygap.reward_models.feedback import Catastrophes, Comparisons, Demonstrations, Ratings, cut, read_answers
from safetensors.numpy import save_file


def rng(seed=0):
    return np.random.default_rng(seed)


def episodes(lengths, width=None):
    """Episodes whose every number tells where it stands: 1000 * episode + step."""
    shape = len(lengths), width or max(lengths)
    valid = np.arange(shape[1]) < np.array(lengths)[:, None]
    place = np.where(valid, 1000.0 * np.arange(shape[0])[:, None] + np.arange(shape[1]), 0.0)
    number, nowhere = np.arange(shape[0]), np.zeros(shape, bool)
    seen = place[..., None].astype(np.float32)
    segments = Segments(seen, place.astype(int), seen + 1, nowhere, valid, number, np.zeros_like(number), nowhere.copy())
    return segments, place, np.stack([place, -place], 2)


def stretches(number, length=4):
    return cut(*episodes([30] * 5), length, number, rng())


def comparisons(number=6, length=4, env="Lake"):
    first, second = stretches(2 * number, length).pairs(number, rng(1))
    return Comparisons(first.segments, second.segments, np.resize([1.0, 0.5, 0.0], number), env)


KINDS = {
    "comparisons": comparisons,
    "ratings": lambda: Ratings(stretches(5).segments, np.linspace(-1, 1, 5), "Lake"),
    "catastrophes": lambda: Catastrophes(stretches(3).segments, np.array([0.0, 2.0, 0.0]), "Lake"),
    "demonstrations": lambda: Demonstrations(stretches(4).segments, "Lake"),
}


@pytest.fixture(params=KINDS)
def record(request):
    return KINDS[request.param]()


def assert_same(one, other):
    assert type(one) is type(other)
    assert one.env == other.env
    assert one.arrays().keys() == other.arrays().keys()
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name])
        assert array.dtype == other.arrays()[name].dtype


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 99), st.data())
def test_stretches_lie_whole_within_their_episodes(lengths, length, seed, data):
    held = sum(max(steps - length + 1, 0) for steps in lengths)
    if not held:
        with pytest.raises(ProxygapError, match=f"stretches of {length} steps: the longest of"):
            cut(*episodes(lengths, 10), length, 1, rng(seed))
        return
    number = data.draw(st.integers(1, held))
    found = cut(*episodes(lengths, 10), length, number, rng(seed))
    seen = found.segments
    assert found.true.shape == seen.valid.shape == (number, length)
    assert seen.valid.all()
    expected = (1000 * seen.episode + seen.start)[:, None] + np.arange(length)
    for what in (found.true, found.terms[..., 0], -found.terms[..., 1], seen.action, seen.observation[..., 0]):
        np.testing.assert_array_equal(what, expected)
    assert len({*zip(seen.episode, seen.start, strict=True)}) == number  # all different


def test_every_stretch_is_equally_likely():
    """Episodes of 2, 5 and 7 steps hold 0, 3 and 5 stretches of 3 steps."""
    drawn = [cut(*episodes([2, 5, 7]), 3, 1, rng(seed)).true[0, 0] for seed in range(1600)]
    places, counts = np.unique(drawn, return_counts=True)
    assert places.tolist() == [1000, 1001, 1002, 2000, 2001, 2002, 2003, 2004]
    assert (abs(counts - 200) < 4.5 * np.sqrt(1600 / 8 * 7 / 8)).all()


def test_stretches_of_real_rollouts_tell_no_reward():
    played = collect(BoatRace(), random_policy(BoatRace()), 3, 0)
    found = cut(played, played.true, played.terms, 20, 50, rng())
    assert type(found.segments) is Segments
    for i, (row, start) in enumerate(zip(found.segments.episode, found.segments.start, strict=True)):
        np.testing.assert_array_equal(found.true[i], played.true[row, start : start + 20])
        np.testing.assert_array_equal(found.segments.next_observation[i], played.next_observation[row, start : start + 20])
    whole = Demonstrations(played, "BoatRace")
    assert {name.split(".")[1] for name in whole.arrays()} == {part.name for part in fields(Segments)}


@pytest.mark.parametrize(
    ("length", "number", "message"),
    [
        (10, 1, "stretches of 10 steps: the longest of 2 episodes has 9"),
        (0, 1, "stretches of 0 steps"),
        (9, 2, "2 stretches of 9 steps: these episodes hold 1"),
        (9, 0, "0 stretches"),
    ],
)
def test_impossible_cuts_are_refused(length, number, message):
    with pytest.raises(ProxygapError, match=message):
        cut(*episodes([9, 4]), length, number, rng())


def test_numbers_that_are_not_finite_or_do_not_fit_are_refused():
    segments, true, terms = episodes([9, 4])
    with pytest.raises(ProxygapError, match="they must fit"):
        cut(segments, true[:, 1:], terms, 3, 1, rng())
    segments.observation[1, 2] = np.nan
    with pytest.raises(ProxygapError, match=r"'observation' is not finite in row 1 \(nan\)"):
        cut(segments, true, terms, 3, 1, rng())
    with pytest.raises(ProxygapError, match=r"'segments.observation' is not finite in row 1"):
        Demonstrations(segments, "Lake")


@given(st.integers(2, 12), st.integers(1, 40), st.integers(0, 99))
def test_pairs_are_of_two_different_stretches_used_equally_often(held, number, seed):
    first, second = stretches(held).pairs(number, rng(seed))
    used = np.concatenate([first.true[:, 0], second.true[:, 0]])
    assert len(first) == len(second) == number
    assert (first.true[:, 0] != second.true[:, 0]).all()
    assert np.unique(used, return_counts=True)[1].max() <= -(-number // (held // 2))
    np.testing.assert_array_equal(first.segments.action, first.true)


def test_one_stretch_makes_no_pair():
    with pytest.raises(ProxygapError, match="3 pairs of 1 stretches"):
        stretches(1).pairs(3, rng())


@given(st.sampled_from(sorted(KINDS)), st.floats(0.01, 0.99), st.integers(0, 99))
def test_a_split_is_joined_to_the_same_rows(kind, share, seed):
    whole = KINDS[kind]()
    train, held_out = type(whole).split(whole, share, rng(seed))
    assert len(train) + len(held_out) == len(whole)
    assert abs(len(held_out) - share * len(whole)) < 1
    assert min(len(train), len(held_out)) >= 1
    joined = type(whole).joined([train, held_out])
    found, before = (sorted(record[i].sha256() for i in range(len(whole))) for record in (joined, whole))
    assert found == before


def test_rows_are_taken_in_every_way(record):
    mask = np.arange(len(record)) < 2
    for rows in (slice(0, 2), np.array([0, 1]), mask):
        assert_same(record[rows], record[:2])
    assert len(record[1]) == 1
    assert len(record[~mask]) == len(record) - 2


def test_what_does_not_fit_is_not_joined():
    with pytest.raises(ProxygapError, match="no Comparisons to join"):
        Comparisons.joined([])
    with pytest.raises(ProxygapError, match="several environments can't be joined: Lake, Sea"):
        Comparisons.joined([comparisons(), comparisons(env="Sea")])
    with pytest.raises(ProxygapError, match=r"several shapes can't be joined: 'first\.observation'"):
        Comparisons.joined([comparisons(), comparisons(length=5)])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, np.nan])
def test_impossible_splits_are_refused(share):
    with pytest.raises(ProxygapError, match="holding out"):
        comparisons().split(share, rng())


def test_bad_rows_are_refused():
    good = comparisons()
    with pytest.raises(ProxygapError, match=r"'label' from 0.0 to 2.0: allowed is 0.0 to 1.0"):
        Comparisons(good.first, good.second, 2 * good.label, "Lake")
    with pytest.raises(ProxygapError, match="'label' is not finite in row 0"):
        Comparisons(good.first, good.second, np.nan * good.label, "Lake")
    with pytest.raises(ProxygapError, match="don't fit each other"):
        Comparisons(good.first, good.second, good.label[1:], "Lake")
    with pytest.raises(ProxygapError, match="don't fit each other"):  # a column of labels would be set against every pair
        Comparisons(good.first, good.second, good.label[:, None], "Lake")
    with pytest.raises(ProxygapError, match="two sides of comparisons differ"):
        Comparisons(good.first, comparisons(length=5).second, good.label, "Lake")
    with pytest.raises(ProxygapError, match="'severity' from -1"):
        Catastrophes(good.first, -np.ones(6), "Lake")


def test_what_is_worse_than_nothing_is_a_catastrophe():
    assert KINDS["catastrophes"]().label.tolist() == [False, True, False]


def test_records_come_back_from_disk_to_the_bit(record, tmp_path):
    record.save(tmp_path / "record")
    found = type(record).load(tmp_path / "record", sha256=record.sha256())
    assert_same(found, record)
    assert found.sha256() == record.sha256()
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_no_feedback_is_stored_too(tmp_path):
    comparisons()[:0].save(tmp_path / "none")
    assert_same(Comparisons.load(tmp_path / "none"), comparisons()[:0])


def test_the_fingerprint_tells_contents_apart():
    one = comparisons()
    others = [one[::-1], replace(one, env="Sea"), replace(one, label=1 - one.label), one[:3]]
    assert len({record.sha256() for record in [one, *others]}) == 5
    assert one.sha256() == comparisons().sha256()


def test_a_frozen_file_is_never_changed(tmp_path):
    path, other = tmp_path / "shared", replace(comparisons(), env="Sea")
    comparisons().save(path, frozen=True)
    comparisons().save(path)  # the same: it is frozen still
    with pytest.raises(ProxygapError, match="is frozen and holds something else"):
        other.save(path)
    assert_same(Comparisons.load(path), comparisons())
    other.save(tmp_path / "own")
    comparisons().save(tmp_path / "own")


def test_what_may_be_frozen_or_is_no_feedback_is_not_written_over(tmp_path):
    path = tmp_path / "shared"
    comparisons().save(path, frozen=True)
    for content in (path.read_bytes()[:-50], b"notes of mine"):
        path.write_bytes(content)
        with pytest.raises(ProxygapError, match="holds no feedback, or is damaged"):
            comparisons()[:2].save(path)
        assert path.read_bytes() == content


def test_another_content_than_the_one_meant_is_refused(tmp_path):
    comparisons().save(tmp_path / "file")
    with pytest.raises(ProxygapError, match="not the file that is meant"):
        Comparisons.load(tmp_path / "file", sha256=comparisons()[:3].sha256())


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_never_taken_for_the_content(tmp_path_factory, place, change):
    path = tmp_path_factory.mktemp("feedback") / "file"
    comparisons().save(path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= change
    path.write_bytes(data)
    try:
        assert_same(Comparisons.load(path), comparisons())  # the byte did not matter, such as that of the frozen flag
    except ProxygapError as error:
        assert "can't read Comparisons from" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "can't read"),
        (lambda path: path.write_bytes(b""), "can't read"),
        (lambda path: path.write_text("index,label\n0,1\n"), "can't read"),
        (lambda path: save_file({"weights": np.ones(3)}, path), "it holds no feedback"),
        (lambda path: KINDS["ratings"]().save(path), "it holds Ratings"),
        (
            lambda path: np.savez(path.with_suffix(".npz"), label=np.ones(3)) or path.with_suffix(".npz").replace(path),
            "can't read",
        ),
        (lambda path: save_file({}, path, {"kind": "Comparisons", "format": "1"}), "can't read"),
    ],
)
def test_damaged_and_foreign_files_say_so(tmp_path, spoil, message):
    path = tmp_path / "file"
    comparisons().save(path)
    spoil(path)
    with pytest.raises(ProxygapError, match=message):
        Comparisons.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    comparisons().save(tmp_path / "file")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feedback.os, "fsync", full)
    with pytest.raises(ProxygapError, match=r"can't write feedback .* No space left"):
        comparisons()[:2].save(tmp_path / "file")
    assert_same(Comparisons.load(tmp_path / "file"), comparisons())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(ProxygapError, match="can't write feedback"):
        comparisons().save(tmp_path / "nowhere" / "file")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("answers.csv", "\ufeffindex,label\n4,1\n0,0.5\n"),
        ("answers.json", json.dumps([{"index": 4, "label": 1}, {"index": 0, "label": 0.5}])),
    ],
)
def test_human_answers_take_the_place_of_the_teachers(tmp_path, name, text):
    (tmp_path / name).write_text(text, "utf-8")
    before = comparisons()
    after = before.with_answers(read_answers(tmp_path / name))
    assert before.label.tolist() == [1, 0.5, 0, 1, 0.5, 0]
    assert after.label.tolist() == [0.5, 0.5, 0, 1, 1, 0]
    assert_same(replace(after, label=before.label), before)


@pytest.mark.parametrize("text", ["index;label\n1;1\n", "index,label\n1.5,1\n", "index,label\n1,better\n", "index,label\n1\n"])
def test_unreadable_answers_are_refused(tmp_path, text):
    (tmp_path / "answers.csv").write_text(text)
    with pytest.raises(ProxygapError, match="can't read answers"):
        read_answers(tmp_path / "answers.csv")


def test_answers_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "answers.json").write_text('[{"index": 1, "label": 1}, {"index": 1, "label": 0}]')
    with pytest.raises(ProxygapError, match="answers a question twice"):
        read_answers(tmp_path / "answers.json")
    with pytest.raises(ProxygapError, match="can't read answers"):
        read_answers(tmp_path / "missing.csv")
    for index in (6, -1):
        with pytest.raises(ProxygapError, match=rf"answers to comparisons \[{index}\]: there are 6"):
            comparisons().with_answers({index: 1.0})
    with pytest.raises(ProxygapError, match=r"'label' from 0\.0 to 3\.0"):
        comparisons().with_answers({0: 3.0})
