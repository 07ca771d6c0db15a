"""Every environment's wider circle of catastrophes holds wherever the narrow one does, and beyond; both are pure numbers."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from proxygap.agents.options import check_env
from proxygap.agents.rollouts import random_policy, scripted
from proxygap.envs.core import ProxygapError
from proxygap.envs.registry import environments, make

WORLDS, STEPS, SEED = 64, 300, 1
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "ConveyorBelt sushi": ("ConveyorBelt", {"variant": "sushi"}),
    "DistributionalShift testing": ("DistributionalShift", {"is_testing": True}),
    "SideEffectsSokoban 2": ("SideEffectsSokoban", {"level": 2}),
    "TrafficBottleneck without failsafe": ("TrafficBottleneck", {"failsafe": False}),
    "VaseRoom batteries": ("VaseRoom", {"room": "batteries"}),
    "VaseRoom train": ("VaseRoom", {"room": "train"}),
}
KINDS = {name: (name, {}) for name in environments()} | FURTHER
SAME = {
    "VaseRoom": "a vase is either whole or not",
    "SideEffectsSokoban": "no box of level 0 comes beside a wall from end to end",
}


def has_catastrophes(kind):
    name, settings = KINDS[kind]
    try:
        check_env(make(name, **settings))
    except ProxygapError:
        return False
    return True


DECLARED = [kind for kind in KINDS if has_catastrophes(kind)]


def steps(env) -> Iterator[Any]:
    """Steps by chance and by every script, which games too."""
    for policy in (random_policy(env, SEED), *(scripted(env, name) for name in env.policies())):
        loop = env.loop(WORLDS)
        loop.reset(SEED)
        for _ in range(min(env.horizon, STEPS)):
            yield loop.step(policy(loop)).transition


@cache
def severities(kind):
    """Both severities of all steps, [2, M]."""
    env = make(KINDS[kind][0], **KINDS[kind][1])
    return np.concatenate([np.array([env.catastrophe(t), env.near_catastrophe(t)]) for t in steps(env)], axis=1)


def test_most_environments_that_can_be_lost_say_how():
    assert len(DECLARED) >= 15
    assert "ConveyorBelt sushi" not in DECLARED  # eaten sushi is none


@pytest.mark.parametrize("kind", DECLARED)
def test_the_wider_circle_holds_wherever_the_narrow_one_does(kind):
    narrow, wide = severities(kind)
    assert np.isfinite(narrow).all()
    assert np.isfinite(wide).all()
    assert (wide >= narrow).all()
    assert (narrow >= 0).all()


@pytest.mark.parametrize("kind", DECLARED)
def test_the_wider_circle_is_wider_unless_it_is_said_why_not(kind):
    narrow, wide = severities(kind)
    beyond = wide[narrow == 0]
    assert beyond.any() == (kind not in SAME), SAME.get(kind)
    assert beyond.max(initial=0) <= narrow.max() or not narrow.any()


@pytest.mark.parametrize("kind", DECLARED)
def test_no_severity_changes_or_depends_on_anything_but_its_step(kind):
    env = make(KINDS[kind][0], **KINDS[kind][1])
    for count, t in enumerate(steps(env)):
        before, told = t.copy().arrays(), []
        for rows in (slice(None), slice(None), slice(0, 1)):
            told.append((env.catastrophe(t[rows]), env.near_catastrophe(t[rows])))
        assert np.array_equal(told[0], told[1])
        assert np.array_equal([severity[:1] for severity in told[0]], told[2])
        assert all(np.array_equal(array, before[name]) for name, array in t.arrays().items())
        if count >= 40:
            break


def test_a_setting_without_a_catastrophe_has_no_wider_circle_either():
    env = make("ConveyorBelt", variant="sushi")
    t = next(steps(env))
    assert env.catastrophe(t) is None is env.near_catastrophe(t)
