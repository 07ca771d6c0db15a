"""Claims about the red team: that each measures what it says, in small."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from proxygap.envs.tabular import expected_terms
from proxygap.experiments.claims import CLAIMS, rare_failures, system_failure
from proxygap.experiments.claims.hardened import gain, gains
from proxygap.experiments.claims.rare_failures import Run, chances, failing, nearness, occurring, player, table, unbiased
from proxygap.experiments.claims.system_failure import Rates, apart, every_option, opposed
from proxygap.experiments.red_team_bench import Sizes
from proxygap.experiments.red_team_tasks import TASKS
from proxygap.experiments.statistics import Estimate
from proxygap.experiments.survival import Trials

SEEDS = (0, 1)
TINY = {
    "system_failure": {"steps": 60},
    "rare_failures": {"splits": 3, "estimates": 3, "pool": 20_000},
}


@pytest.mark.parametrize("module", TINY)
def test_records_are_whole_and_over_all_seeds(module, monkeypatch):
    monkeypatch.setattr(rare_failures, "PLAYED", 500)
    monkeypatch.setattr(rare_failures, "PARTICLES", 200)
    examine = import_module(f"proxygap.experiments.claims.{module}").examine
    (number,) = [number for number, (_, *modules) in CLAIMS.items() if module in modules]
    records = list(examine(lambda text: None, seeds=SEEDS, **TINY[module]))
    assert len({record.quantity for record in records}) == len(records)
    for record in records:
        assert record.claim == number
        assert record.reading
        assert record.interval.n == (0 if record.interval.low == record.interval.high else len(SEEDS))
        assert np.isfinite([record.interval.low, record.interval.value, record.interval.high]).all()


# A filter that is shown actions alone is easily deceived, and soon learned.
ISLAND = replace(TASKS["IslandNavigation"], inputs=("action",), acceptance=0.9)
SMALL = Sizes(training=400, calibrating=300, known=10, trials=6, queries=24, scenes=20, draws=8)
HARDENED = {
    "conservative_threshold": (13, 3, {}),
    "adversarial_training": (15, 6, {"attacks": ("mutation", "cem")}),
    "which_finds": (16, 4, {}),
    "latent_training": (17, 4, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("module", HARDENED)
def test_hardening_is_claimed_over_all_seeds(module, monkeypatch):
    claim = import_module(f"proxygap.experiments.claims.{module}")
    number, quantities, settings = HARDENED[module]
    monkeypatch.setattr(claim, "TASK", ISLAND)
    monkeypatch.setattr(claim, "LABELS", 12, raising=False)
    monkeypatch.setattr(claim, "KEPT", 6, raising=False)
    told: list[str] = []
    records = list(claim.examine(told.append, sizes=SMALL, seeds=SEEDS, **settings))
    assert [record.claim for record in records] == [number] * quantities
    assert len({record.quantity for record in records}) == quantities
    assert all(np.isfinite(record.interval.value) and record.reading for record in records)
    assert all(any(f"seed {seed}" in text for text in told) for seed in SEEDS)


def test_a_gain_is_the_power_of_two_by_which_queries_grew():
    before, after = ([{"some": Trials(np.array(queries), np.full(3, True))}] * 2 for queries in ([1, 2, 3], [4, 8, 12]))
    assert gains(before, after, "some", 100) == pytest.approx([2.0, 2.0])
    assert gain(before, after, "some", 100).value == pytest.approx(2.0)
    assert gains(before, after, "some", 6) == pytest.approx(2 * [np.log2(16 / 6)])  # what lies beyond the budget is not seen


def made(*scenes):
    """Rates of scenes with so many of 100 options accepted, and so many of these bad."""
    order = np.arange(100)
    accepted, failed = (np.array([order < scene[i] for scene in scenes]) for i in (0, 1))
    return Rates(accepted, failed)


@pytest.mark.parametrize(("scenes", "sign"), [([(90, 3), (20, 10)], -1), ([(90, 30), (20, 1)], 1)])
def test_the_correlation_decides_on_which_side_of_1_the_ratio_is(scenes, sign):
    found = made(*scenes)
    (a, bad), (b, worse) = scenes
    assert found.single == pytest.approx((bad + worse) / 200)
    assert found.among_accepted == pytest.approx((bad + worse) / (a + b))
    assert found.system == pytest.approx((bad / a + worse / b * (1 - 0.8**20)) / 2)
    assert np.sign(found.correlation) == sign
    assert np.sign(1 - found.system / found.among_accepted) == sign
    assert found.system > found.single


def test_two_scenes_by_hand_fall_below_1():
    assert system_failure.contrary() == pytest.approx(made((90, 27), (20, 1)).system / made((90, 27), (20, 1)).among_accepted)
    assert system_failure.contrary() < 1


def test_the_options_are_all_there_are():
    options = every_option()
    assert len(np.unique(options.action[:1024], axis=0)) == 1024
    assert len(options) == 1024 * len(system_failure.PLACES)
    assert 0.3 < (options.severity > 0).mean() < 0.4


def test_verdicts_on_signs():
    high, low, wide = Estimate(1.5, 1.2, 1.8, 5), Estimate(0.5, 0.2, 0.8, 5), Estimate(0.0, -2.0, 2.0, 5)
    up, down = Estimate(0.5, 0.2, 0.8, 5), Estimate(-0.5, -0.8, -0.2, 5)
    assert [apart(high), apart(low), apart(wide)] == ["holds", "holds", "inconclusive"]
    assert [opposed(down, high), opposed(up, low), opposed(up, high), opposed(down, low)] == [
        "holds",
        "holds",
        "fails",
        "fails",
    ]
    assert opposed(wide, high) == opposed(up, wide) == "inconclusive"
    assert [unbiased(Estimate(0, -0.1, 0.1, 5)), unbiased(Estimate(0, -0.3, 0.1, 5)), unbiased(up)] == [
        "holds",
        "inconclusive",
        "fails",
    ]


def test_a_run_that_is_as_good_as_plain_sampling_gains_nothing():
    """A thousand means of 500 options of 10 steps each, with a chance of 1 in 100."""
    rng = np.random.default_rng(0)
    found = Run(rng.binomial(500, 0.01, 1000) / 500, 1000 * 5000, 10, 0.01)
    assert found.gain == pytest.approx(1.0, rel=0.2)
    assert found.error == pytest.approx(0.0, abs=0.03)


def test_known_chances_are_those_of_play():
    """The exact chance from scenes of the player's is what the lab's expected losses say, taken apart by time."""
    assert expected_terms(table(), chances(0.0))["loss"] == pytest.approx(4.807e-5, rel=1e-3)
    assert chances(0.3).sum(1) == pytest.approx(np.ones(len(table().start)))
    often, fails = occurring(), failing()
    assert often.sum() == pytest.approx(1.0)
    assert (fails[table().states.lost] == 1).all()
    assert 5e-5 < often @ fails < 5e-4
    start = int(table().start.argmax())
    within = expected_terms(table(), chances(rare_failures.LOOPING), rare_failures.LENGTH)["loss"]
    assert fails[start] == pytest.approx(within)


def test_a_player_does_what_its_chances_say():
    loop = rare_failures.LAB.loop(20_000)
    loop.reset(0)
    actions = np.bincount(player(0.4, 0)(loop), minlength=4) / 20_000
    assert actions == pytest.approx(chances(0.4)[int(table().start.argmax())], abs=0.02)


def test_nearness_grows_with_every_sensor_looped():
    states = table().states
    looped = [nearness(type("Step", (), {"next_state": states[states.looped == count]})) for count in range(4)]  # pyright: ignore
    assert [near.min() for near in looped] == [0, 2, 4, 6]
    assert all(near.max() < 2 * count + 2.1 for count, near in enumerate(looped))
