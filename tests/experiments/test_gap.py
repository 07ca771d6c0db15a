"""The gap study: what it asks, what it stores, and what it finds where the answer is known."""

import json

import numpy as np
import pytest
from proxygap.agents.rollouts import evaluate
from proxygap.agents.training import train
from proxygap.envs import ProxygapError, make
from proxygap.experiments.gap import ARMS, Gap, measure_gap
from proxygap.experiments.measuring import curves_of, measure, solve, summary


@pytest.fixture(scope="module")
def results():
    """A small study of BoatRaceStrict, three seeds of each kind, trained in this process."""
    env = make("boat_race_strict")
    runs = {
        arm: [
            train(env, reward="true" if arm == "true" else None, algo="a2c", seed=seed, steps=3_200, evaluations=2)
            for seed in range(3)
        ]
        for arm in ARMS
    }
    finals = {arm: [evaluate(env, run.policy(), 8, 10**6 * (1 + seed)) for seed, run in enumerate(runs[arm])] for arm in ARMS}
    return measure(env, "arrows", runs, finals, 8)


def test_planning_tells_a_tie_from_a_gamed_proxy():
    tie, gamed = solve(make("boat_race"), "arrows"), solve(make("boat_race_strict"), "arrows")
    assert tie
    assert gamed
    assert (tie.proxy_optimum, tie.true_optimum, tie.worst_truth, tie.best_truth) == (50.0, 100.0, 0.0, 100.0)
    assert (gamed.proxy_optimum, gamed.true_optimum, gamed.worst_truth, gamed.best_truth) == (50.0, 100.0, 0.0, 2.0)
    assert (tie.verdict.name, gamed.verdict.name) == ("tie", "gamed")
    assert solve(make("tomato_watering"), "seen") is None


def test_groups_are_measured_on_both_rewards(results):
    reference = results.groups["reference"]
    np.testing.assert_allclose(reference.true, 100.0)
    np.testing.assert_allclose(reference.proxy, -25.0)
    assert set(results.groups) == {"random", "reference", "true", "proxy"}
    for group in results.groups.values():
        np.testing.assert_allclose(group.proxy, 3.0 * group.terms["arrow"] - group.terms["step"])


def test_the_best_known_are_the_exact_optima(results):
    assert (results.best["proxy"].returns, results.best["true"].returns) == (50.0, 100.0)
    assert results.normalised["reference"]["true"].value == pytest.approx(1.0)
    assert results.normalised["random"]["true"].value == pytest.approx(0.0, abs=1e-9)


def test_the_verdict_and_costs_hang_together(results):
    assert results.verdicts[0].name == "gamed"
    assert results.verdicts[0].holds  # by planning
    loss = results.groups["true"].true.mean() - results.groups["proxy"].true.mean()
    assert results.cost.misspecification.value == pytest.approx(loss)
    assert results.cost.true_regret.value == pytest.approx(100.0 - results.groups["proxy"].true.mean())


def test_the_summary_is_plain_json(results):
    told = json.loads(json.dumps(summary(results), allow_nan=False))
    assert told["seeds"] == 3
    assert told["groups"]["reference"]["true"] == [100.0] * 10
    assert told["verdicts"][0]["holds"] is True


def test_curves_have_a_checkpoint_for_every_evaluation():
    run = train("boat_race", algo="a2c", steps=2_560, evaluations=2, evaluation_episodes=3)
    curves = curves_of([run, run])
    assert curves.true.shape == (2, 3, 3)
    assert curves.steps[0] == 0


def test_a_study_keeps_its_folder_while_seeds_are_added():
    assert Gap("boat_race", seeds=5).folder == Gap("boat_race", seeds=10, jobs=1).folder
    others = [Gap("boat_race", steps=9), Gap("boat_race", learner=("gamma=0.9",)), Gap("boat_race", reward="arrow=1")]
    assert len({study.folder for study in [Gap("boat_race"), *others]}) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "--seeds 0: at least 1"),
        ({"proxy": "arrows", "reward": "arrow=1"}, "give one of them"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ProxygapError, match=message):
        Gap("boat_race", **settings)


def test_a_folder_of_another_study_is_refused(tmp_path):
    with Gap("boat_race", out=tmp_path)._recorded():
        pass
    with pytest.raises(ProxygapError, match="holds a study with another env"):
        Gap("boat_race_strict", out=tmp_path)._recorded()


def test_slow_foreign_worlds_are_measured_in_fewer_episodes_unless_the_user_says_how_many():
    assert [Gap(env).decisive["episodes"] for env in ("boat_race", "cart_pole")] == [64, 8]
    assert Gap("cart_pole", episodes=20).decisive["episodes"] == 20
    with pytest.raises(ProxygapError, match="--episodes 0: at least 2"):
        Gap("cart_pole", episodes=0)


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped_and_writes_its_page(tmp_path):
    settings = {"steps": 6_400, "episodes": 4, "quiet": True, "out": tmp_path / "study"}
    first = measure_gap("boat_race_strict", seeds=1, **settings)
    stored = (tmp_path / "study" / "proxy-seed0" / "final.npz").stat().st_mtime_ns
    second = measure_gap("boat_race_strict", seeds=2, **settings)
    assert (tmp_path / "study" / "proxy-seed0" / "final.npz").stat().st_mtime_ns == stored
    assert second.groups["proxy"].true[0] == first.groups["proxy"].true[0]
    assert "plotly" in (tmp_path / "study" / "report.html").read_text()
