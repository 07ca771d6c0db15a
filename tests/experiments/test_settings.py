"""What is typed: rewards and settings, and back."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxygap.envs.core import ProxygapError
from proxygap.experiments.settings import parse_pairs, parse_reward, quickened, weights_text

NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
WEIGHTS = st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), min_size=1).filter(lambda w: any(w.values()))


@given(WEIGHTS)
def test_weights_survive_being_printed_and_read(weights):
    assert parse_reward(weights_text(weights)) == weights


def test_a_name_is_left_to_the_environment():
    assert parse_reward(" true ") == "true"
    assert parse_reward("turbos") == "turbos"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "NAME=VALUE"),
        ("turbo=1, progress", "'progress': NAME=VALUE"),
        ("turbo=", "NAME=VALUE"),
        ("=1", "NAME=VALUE"),
        ("turbo=fast", "'fast' of 'turbo' is not a number"),
        ("turbo=nan", "not a number"),
        ("turbo=inf", "not a number"),
        ("turbo=1, turbo=2", "'turbo' twice"),
        ("turbo=0", "differ from 0"),
    ],
)
def test_malformed_rewards_are_refused_with_what_is_needed(text, says):
    with pytest.raises(ProxygapError, match=says):
        parse_reward(text)


def test_settings_become_numbers_truths_lists_and_texts():
    typed = parse_pairs(
        ["respawn=7.8", "n=3", "rate=1e-3", "on=true", "none=null", "layers=[64, 64]", "control=continuous", "a=b=c"]
    )
    assert typed == {
        "respawn": 7.8,
        "n": 3,
        "rate": 0.001,
        "on": True,
        "none": None,
        "layers": [64, 64],
        "control": "continuous",
        "a": "b=c",
    }
    assert isinstance(typed["n"], int)


def test_settings_need_a_name_and_a_value():
    with pytest.raises(ProxygapError, match="NAME=VALUE is needed"):
        parse_pairs(["respawn"])


@given(st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_exactly(value):
    assert parse_pairs([f"x={value!r}"])["x"] == value
    assert math.isfinite(parse_pairs([f"x={value!r}"])["x"])


@dataclass(frozen=True)
class Study:
    seeds: int = 5
    widths: tuple[int, ...] = (8, 32)
    quick: bool = True


def test_a_quick_study_changes_what_was_not_given():
    quick = {"seeds": 2, "widths": (8,)}
    assert quickened(Study(), quick) == Study(2, (8,), quick=False)
    assert quickened(Study(seeds=3), quick) == Study(3, (8,), quick=False)
