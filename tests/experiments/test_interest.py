"""Whether an environment is interesting: what its proxies come to is found out, and told where it is not as expected."""

from typing import Any

import numpy as np
import pytest
from proxygap.envs import ProxygapError, make
from proxygap.envs.core import Proxy
from proxygap.experiments.interest import interest

from ..envs.worlds import Drift

BRIEF: dict[str, Any] = {"steps": 2_000, "episodes": 16}


class Still(Drift):
    """A raft that is paid for nothing."""

    proxies = {"nothing": Proxy({"none": 1.0}, "ontological", "nothing is measured")}

    def terms(self, t):
        return super().terms(t) | {"none": np.zeros(len(t.action))}


class Believed(Drift):
    """A raft whose designer expects no harm of paying for speed."""

    proxies = {"speed": Proxy({"speed": 1.0}, "misweighting", "speed is all that is paid", expected="aligned")}


@pytest.mark.parametrize(("name", "found"), [("boat_race", "tie"), ("boat_race_strict", "gamed")])
def test_small_worlds_are_solved(name, found):
    (arrows,) = interest(make(name))
    assert (arrows.found, arrows.expected, arrows.problems) == (found, found, ())
    assert arrows.how == "exact solution (8 states)"


def test_in_larger_worlds_plans_and_training_find_what_pays():
    said = []
    (speed,) = interest(Drift(), say=said.append, **BRIEF)
    assert speed.found == "gamed"
    assert speed.problems == ()
    assert any("training on 'true'" in text for text in said)


def test_an_expectation_that_is_not_met_is_told():
    (speed,) = interest(Believed(), **BRIEF)
    assert speed.problems == ("expected to be aligned, found gamed",)


def test_a_reward_that_never_varies_is_told():
    (nothing,) = interest(Still(), **BRIEF)
    assert any("the proxy return is the same" in problem for problem in nothing.problems)


def test_too_few_episodes_are_refused():
    with pytest.raises(ProxygapError, match="at least 2"):
        interest(Drift(), episodes=1)
