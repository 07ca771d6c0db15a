"""The whole loop of learning from comparisons: exact budgets, good questions, exact resuming, and one message a mistake."""

import json
from collections import Counter
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from shutil import copytree
from typing import Any, get_args

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from proxygap.agents import runs
from proxygap.agents.algorithms import preset
from proxygap.agents.rollouts import evaluate, scripted
from proxygap.agents.trained import load_policy
from proxygap.envs.batch import Array
from proxygap.envs.core import Proxy, ProxyEnv, ProxygapError, State
from proxygap.experiments import cli
from proxygap.experiments.commands.train import Train
from proxygap.experiments.learned import FEEDBACK, MODEL, TEACHERS, Asking, train_on_preferences, whole_rollouts
from proxygap.experiments.statistics import mean_interval
from proxygap.reward_models.feedback import Comparisons
from proxygap.reward_models.preference import PreferenceReward

QUICK = PreferenceReward(ensemble=2, hidden=(16,), steps=100, held_out=0.0, learning_rate=0.01)
SMALL = {"steps": 1536, "n_envs": 8, "n_steps": 32, "batch_size": 64, "evaluations": 3, "evaluation_episodes": 4}


class Meadow(ProxyEnv[State]):
    """Action [1]: where to stand, -1 to 1. The truth is to stand at 0.5; nothing in the proxy says so. Episodes of 10 steps."""

    action_space = spaces.Box(-1.0, 1.0, (1,))
    observation_space = spaces.Box(-1.0, 1.0, (1,))
    horizon = 10
    true_reward = {"near": 1.0}
    proxies = {"far": Proxy({"right": 1.0}, "misweighting", "further right is paid, not nearer")}

    def initial(self, batch, rng, previous=None):
        return State(time=np.zeros(batch, np.int64))

    def transition(self, state, action, rng):
        return State(time=state.time)

    def observation(self, state):
        return np.zeros((len(state), 1), np.float32)

    def terms(self, t):
        place = np.clip(t.action[:, 0], -1.0, 1.0).astype(float)
        return {"near": -10 * abs(place - 0.5), "right": place}

    def policies(self):
        return {"still": lambda state: np.zeros((len(state), 1))}


class Nested(Meadow):
    observation_space = spaces.Dict({"place": spaces.Box(-1.0, 1.0, (1,))})


@dataclass
class Standing(State):
    place: Array  # [B]


class Counted(Meadow):
    """A meadow that whoever stands far to the right leaves, and which counts the steps taken in it."""

    def __init__(self):
        super().__init__()
        self.taken = Counter()  # by the number of worlds side by side

    def initial(self, batch, rng, previous=None):
        return Standing(np.zeros(batch))

    def transition(self, state, action, rng):
        self.taken[len(state)] += len(state)
        return Standing(action[:, 0].astype(float))

    def terminal(self, state: Any):
        return state.place > 0.7


def learn(folder, seed=0, asking=None, env=None, **settings):
    asking = asking or Asking(40, length=4, initial=0.25)
    chosen: dict[str, Any] = {"model": QUICK, **SMALL, **settings}
    return train_on_preferences(env or Meadow(), folder, asking, algo="ppo", seed=seed, **chosen)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return learn(tmp_path_factory.mktemp("learned") / "run")


# Budgets


@given(st.integers(1, 2000), st.floats(0.01, 1.0), st.integers(1, 50))
def test_the_plan_asks_exactly_as_often_as_is_allowed(comparisons, initial, rounds):
    plan = Asking(comparisons, initial=initial).plan(rounds)
    assert sum(plan) == comparisons
    assert len(plan) == rounds
    assert min(plan) >= 0
    assert plan[0] >= 1


def test_the_rate_falls_hyperbolically():
    plan = Asking(10_000).plan(10)
    assert plan[0] == 1000
    expected = 1 / (1 + 10 * np.arange(1, 10) / 10)
    assert np.array(plan[1:]) == pytest.approx(9000 * expected / expected.sum(), abs=1)


@given(st.integers(1, 600_000), st.integers(1, 128), st.integers(1, 64), st.integers(1, 2048))
def test_rollouts_use_exactly_all_steps_or_it_says_why_not(steps, n_envs, n_steps, batch_size):
    wanted = {"steps": steps, "n_envs": n_envs, "n_steps": n_steps, "batch_size": batch_size}
    with suppress(ProxygapError):
        check_whole(wanted, whole_rollouts(wanted))


def check_whole(wanted, given):
    steps = wanted["steps"]
    rollout = given["n_envs"] * given["n_steps"]
    assert steps % rollout == 0
    assert rollout % given["batch_size"] == 0
    assert all(given[name] <= wanted[name] for name in wanted)


def test_shipped_settings_can_be_used_exactly():
    for env, algo in (("Lagoon", "ppo"), ("BoatRace", "a2c"), ("Pendulum", "ppo")):
        given = whole_rollouts(preset(env, algo, {}))
        assert given["steps"] % (given["n_envs"] * given["n_steps"]) == 0


def test_all_budgets_are_exact_and_written_down(found):
    assert found.agent.steps == SMALL["steps"]
    assert [row["steps"] for row in found.records] == [0, 512, 1024, 1536]
    assert [row["asked"] for row in found.records] == [10, 29, 40, 40]
    assert found.ledger.asked == found.ledger.comparisons == len(found.comparisons) == 40
    episodes = np.array([8, 16, 9])  # of 10 steps: as many as two stretches of 4 a question need, and at least 8
    assert [row["asking_steps"] for row in found.records] == [*(10 * episodes.cumsum()), 10 * episodes.sum()]


def test_no_step_is_taken_that_is_not_counted(tmp_path):
    """Training has 8 worlds side by side, evaluating 4, measuring a model 16, a look at the terms 1; asking others."""
    env = Counted()
    found = learn(tmp_path / "run", asking=Asking(100, length=4, initial=0.25), env=env)
    assert env.taken[8] == found.agent.steps == SMALL["steps"]
    asking = {worlds: steps for worlds, steps in env.taken.items() if worlds not in (1, 4, 8, 16)}
    assert len(asking) == 3
    assert sum(asking.values()) == found.ledger.taken == found.records[-1]["asking_steps"]


# Learning


def test_it_learns_what_is_wanted_from_comparisons_alone(tmp_path):
    stand = float(evaluate(Meadow(), scripted(Meadow(), "still"), 4, 0).true.mean())  # -50
    settings = {"steps": 2560, "learning_rate": 0.01, "n_epochs": 8, "ent_coef": 0.0, "gamma": 0.5, "evaluations": 2}
    ends = [learn(tmp_path / str(seed), seed, Asking(60, 4, 0.25), **settings).records for seed in range(5)]
    gain = mean_interval(np.array([np.mean(records[-1]["true"]) - np.mean(records[0]["true"]) for records in ends]))
    right = mean_interval(np.array([records[0]["accuracy"] for records in ends]))
    assert gain.low > 15  # of the 70 or so that the first agent loses
    assert right.low > 0.75
    assert np.mean([np.mean(records[-1]["true"]) for records in ends]) > stand


def test_the_run_holds_feedback_model_and_metrics(found):
    folder = found.agent.folder
    stored, model = Comparisons.load(folder / FEEDBACK), PreferenceReward.load(folder / MODEL)
    assert stored.sha256() == found.comparisons.sha256()
    np.testing.assert_array_equal(model.predict(stored.first), found.model.predict(stored.first))
    assert found.records == runs.metrics(folder)
    assert all(0 <= row["accuracy"] <= 1 for row in found.records)
    assert runs.manifest(folder)["settings"]["reward"] == "preference"
    assert runs.manifest(folder)["preference"]["comparisons"] == 40
    assert load_policy(folder, env=Meadow()).steps == SMALL["steps"]


def test_the_agent_is_paid_what_the_model_says(found):
    again = evaluate(Meadow(), found.agent.policy(0), 200, 0, reward=found.model)
    assert again.paid.mean() == pytest.approx(found.records[-1]["learned"], abs=4 * again.paid.std() / 4)


def test_it_asks_where_the_members_disagree(tmp_path):
    doubts = {}
    for choice in ("disagreement", "uniform"):
        found = learn(tmp_path / choice, asking=Asking(40, 4, 0.25, choice))
        first = replace(QUICK, seed=0).fit(found.comparisons[:10])  # the model that chose the second round
        doubts[choice] = (1 / (1 + np.exp(-first.differences(found.comparisons[10:29])))).std(0).mean()
    assert doubts["disagreement"] > 1.5 * doubts["uniform"]


def test_a_stopped_run_goes_on_as_if_it_had_not_been(found, tmp_path):
    def stop(row):
        if row["steps"] >= 1024:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "run", progress=stop)
    again = learn(tmp_path / "run", resume=True)
    assert again.comparisons.sha256() == found.comparisons.sha256()
    assert again.ledger == found.ledger
    for one, other in zip(found.records, again.records, strict=True):
        assert {**one, "seconds": 0, "cpu_seconds": 0} == {**other, "seconds": 0, "cpu_seconds": 0}


def test_a_round_that_was_cut_off_is_done_again(found, tmp_path, monkeypatch):
    full, calls = Comparisons.save, []

    def cut_off(self, path, **kwargs):
        full(self, path, **kwargs)
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Comparisons, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "run")
    again = learn(tmp_path / "run", resume=True)
    assert again.comparisons.sha256() == found.comparisons.sha256()
    assert [row["accuracy"] for row in again.records] == [row["accuracy"] for row in found.records]
    assert again.ledger == found.ledger


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path, stored: path.unlink(), "No such file"),
        (lambda path, stored: path.write_bytes(path.read_bytes()[:-100]), "can't read Comparisons"),
        (lambda path, stored: path.write_bytes(path.read_bytes()[:-1] + b"?"), r"content \(sha256\) has changed"),
        (lambda path, stored: replace(stored, env="Sea").save(path), "40 comparisons of Sea, and the run asked 40 of Meadow"),
        (lambda path, stored: stored[:39].save(path), "39 comparisons of Meadow, and the run asked 40 of Meadow"),
    ],
)
def test_a_run_goes_on_with_its_own_answers_alone_and_else_is_left_as_it_was(found, tmp_path, spoil, message):
    folder = copytree(found.agent.folder, tmp_path / "run")
    spoil(folder / FEEDBACK, found.comparisons)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ProxygapError, match=message):
        learn(folder, resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_is_handed_in_stays_as_it_was(tmp_path):
    model, handed = replace(QUICK), {"policy_kwargs": {"net_arch": [8]}, "proxy": {"right": 2.0}}
    before, envs = deepcopy((vars(model), handed)), deepcopy((Meadow.true_reward, Meadow.proxies))
    learn(tmp_path / "run", seed=3, model=model, **handed)
    assert (vars(model), handed) == before  # settings alone: it has learned nothing
    assert (Meadow.true_reward, Meadow.proxies) == envs


# Mistakes


@pytest.mark.parametrize(
    ("asking", "settings", "message"),
    [
        ({"comparisons": 0}, {}, "0 comparisons"),
        ({"initial": 0.0}, {}, "a share above 0"),
        ({"length": 11}, {}, "an episode of Meadow has 10"),
        ({"length": 0}, {}, "stretches of 0 steps"),
        ({}, {"algo": "sac"}, "replays rewards"),
        ({}, {"evaluations": 0}, "at least 1"),
        ({}, {"steps": 1537}, "take a multiple of 256"),
        ({}, {"model": replace(QUICK, ensemble=1)}, "can't disagree"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(asking, settings, message, tmp_path):
    chosen: dict[str, Any] = {"algo": "ppo", "model": QUICK, **SMALL, **settings}
    if chosen["algo"] == "sac":
        chosen = {"algo": "sac"}
    with pytest.raises(ProxygapError, match=message) as error:
        train_on_preferences(Meadow(), tmp_path / "run", Asking(**asking), **chosen)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_worlds_that_are_no_arrays_are_refused(tmp_path):
    with pytest.raises(ProxygapError, match="Nested has a Dict observation space"):
        train_on_preferences(Nested(), tmp_path / "run")


def test_another_way_of_asking_is_another_run(found):
    with pytest.raises(ProxygapError, match="comparisons was 40 and is now 50"):
        learn(found.agent.folder, asking=Asking(50, length=4, initial=0.25), resume=True)


# The command


def test_the_command_does_the_whole_loop_and_the_run_can_be_watched(tmp_path, capsys):
    out = tmp_path / "run"
    small = ["--steps", "512", "--learner", "n_envs=8", "n_steps=32", "batch_size=64", "evaluations=2", "--stretch", "10"]
    asked = ["--reward", "preference", "--comparisons", "12", "--teacher", "greedy"]
    assert cli.main(["train", "boat_race", "--algo", "ppo", *asked, *small, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "After 512 steps and 12 comparisons, accuracy " in told.out
    assert "accuracy" in told.err  # the progress bar
    assert cli.main(["watch", str(out), "--headless", "--episodes", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--comparisons", "10"], "go with --reward preference"),
        (["--reward", "preference", "--comparisons", "0"], "0 comparisons"),
        (["--reward", "preference", "--stretch", "1000"], "an episode of BoatRace has"),
    ],
)
def test_the_command_tells_mistakes(options, message, capsys):
    assert cli.main(["train", "boat_race", *options]) == cli.MISTAKE
    assert message in capsys.readouterr().err


def test_every_teacher_can_be_named():
    named = [hint for hint in get_args(Train.__annotations__["teacher"]) if hint is not type(None)]
    assert set(get_args(named[0])) == set(TEACHERS)
