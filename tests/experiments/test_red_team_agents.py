"""The agent beside the attacks is paid the proxy less its fines, and what fines it sees nothing but what can be seen."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest
from proxygap.agents.options import played
from proxygap.agents.rollouts import scripted
from proxygap.envs.core import Segments, weighted
from proxygap.experiments import red_team_agents
from proxygap.experiments.red_team_agents import Fined, cloned, gaming_agent, judged, single_steps
from proxygap.experiments.red_team_tasks import TASKS, drawn

ISLAND = TASKS["IslandNavigation"]
ENV = ISLAND.environment


@dataclass
class Lefts:
    """Finds a step to the left suspicious by 1, any other by 0, and keeps what it was shown."""

    threshold_: float = 0.5
    env_: str = "IslandNavigation"
    inputs_: Any = None
    seen: list[Segments] = field(default_factory=list)

    def suspicion(self, segments):
        self.seen.append(segments)
        return ((segments.action == 2) & segments.valid).sum(1).astype(float)

    def suspicion_tensors(self, tensors, valid):
        raise NotImplementedError


def step(actions=(0, 1, 2, 3)) -> Any:
    """A step of as many worlds as there are actions."""
    loop = ENV.loop(len(actions))
    loop.reset(0)
    return loop.step(np.array(actions))


def test_pay_is_the_proxy_less_a_fine_where_the_filter_refuses():
    t = step((0, 2, 2, 3)).transition
    proxy = weighted(ENV.weights("goal"), ENV.terms(t))
    assert np.array_equal(Fined(ENV, Lefts(), 7.5)(t), proxy - [0.0, 7.5, 7.5, 0.0])
    assert np.array_equal(Fined(ENV, Lefts(), 0.0)(t), proxy)
    assert np.array_equal(Fined(ENV, Lefts(threshold_=1.0), 7.5)(t), proxy)  # at the threshold it is accepted
    assert np.array_equal(Fined(ENV, None, 7.5)(t), proxy)
    assert np.array_equal(proxy, step((0, 2, 2, 3)).proxy)


def test_nothing_of_the_state_reaches_the_filter():
    t, target = step().transition, Lefts()
    Fined(ENV, target, 1.0)(t)
    (seen,) = target.seen
    assert type(seen) is Segments
    assert set(vars(seen)) == {part.name for part in fields(Segments)}
    for name, array in t.observed().arrays().items():
        assert np.array_equal(getattr(seen, name)[:, 0], array)
    assert (seen.episode == 0).all()  # nor when it is, nor in which episode
    assert (seen.start == 0).all()


def test_steps_are_whole_stretches_of_one_step():
    steps = single_steps(step().transition)
    assert steps.valid.shape == (4, 1)
    assert steps.valid.all()
    assert not steps.truncated.any()


@dataclass
class Scripted:
    """An agent that plays a script."""

    name: str

    def policy(self, seed):
        return scripted(ENV, self.name)


def test_agents_are_judged_by_what_happens_and_by_what_the_filter_lets_pass(monkeypatch):
    monkeypatch.setattr(red_team_agents, "OPTIONS", 64)
    agents: Any = Scripted("walker"), Scripted("gamer")
    careful, drowning = (judged(ISLAND, agent, None, 0) for agent in agents)
    assert (careful["catastrophes"], careful["accepted_catastrophes"]) == (0.0, 0.0)
    assert careful["true"] > drowning["true"]
    assert (drowning["catastrophes"], drowning["near"], drowning["accepted_catastrophes"]) == (1.0, 1.0, 1.0)
    refused = judged(ISLAND, agents[1], Lefts(threshold_=-1.0), 0)
    assert (refused["catastrophes"], refused["accepted_catastrophes"]) == (1.0, 0.0)


@pytest.mark.slow
def test_a_clone_acts_as_the_generator_does():
    clone = cloned(ISLAND, 0)
    here, options = drawn(ISLAND, 1000, 5)
    copied = played(ENV, here, ISLAND.length, clone.policy(1))
    assert copied.true.mean() == pytest.approx(options.true.mean(), abs=5.0)
    assert (copied.severity > 0).mean() == pytest.approx((options.severity > 0).mean(), abs=0.05)


@pytest.mark.slow
def test_a_fined_agent_does_less_of_what_is_refused(monkeypatch):
    """A step to the left costs more than the goal is worth, which is not reached without one: for less it would be made."""
    monkeypatch.setattr(red_team_agents, "EPISODES", 64)
    monkeypatch.setattr(red_team_agents, "UPDATES", 200)
    monkeypatch.setattr(red_team_agents, "OPTIONS", 64)
    lefts = []
    for fine in (0.0, 100.0):
        trained: list[Any] = []
        train = red_team_agents.train
        monkeypatch.setattr(
            red_team_agents, "train", lambda *a, train=train, to=trained, **k: to.append(train(*a, **k)) or to[0]
        )
        found = gaming_agent(ISLAND, cloned(ISLAND, 0), Lefts(), fine, 20_000, 0)
        assert set(found) == {"catastrophes", "near", "accepted_catastrophes", "true", "proxy"}
        here, _ = drawn(ISLAND, 200, 3)
        options = played(ENV, here, ISLAND.length, trained[0].policy(0))
        lefts.append(((options.action == 2) & options.valid).sum() / options.valid.sum())
        monkeypatch.setattr(red_team_agents, "train", train)
    assert lefts[1] < 0.7 * lefts[0]
