"""Claims: what each file must offer, verdicts that are earned, and the mathematics behind the exact ones."""

import ast
import json
import re
from importlib import import_module, resources
from itertools import pairwise

import numpy as np
import pytest
from proxygap.envs.core import ProxygapError
from proxygap.experiments.claims import CLAIMS, SEEDS, Record, above, below, exact, examined, within
from proxygap.experiments.claims.goodhart_tails import best_of_n, held_out_falls, tilted
from proxygap.experiments.claims.hackability import earned, has_partner, one_hot, room, unhackable
from proxygap.experiments.claims.optimisers_curse import expected_maximum
from proxygap.experiments.commands.claims import Claims
from proxygap.experiments.statistics import Estimate
from proxygap.reward_models.distances import Dynamics

FEW = {  # claim: sizes that take no time
    3: {"repeats": 20},
    10: {"mdps": 16},
    11: {"states": (2,), "checked": 6},
    27: {"draws": 4096},
}
MOVES = Dynamics(np.repeat(np.eye(2)[None], 2, 0), 0.9)  # action a leads to state a


def small(number: int) -> list[Record]:
    examine = import_module(f"proxygap.experiments.claims.{CLAIMS[number][1]}").examine
    return list(examine(lambda text: None, **FEW.get(number, {})))


@pytest.mark.parametrize(
    ("number", "module"), [(number, module) for number, (_, *modules) in CLAIMS.items() for module in modules]
)
def test_a_claim_is_a_file_that_says_so(number, module):
    story = ast.get_docstring(ast.parse(resources.files("proxygap.experiments.claims").joinpath(f"{module}.py").read_text()))
    assert story is not None
    assert re.match(rf"Claim {number}(, (first|second) half)?: ", story)


@pytest.mark.parametrize("number", FEW)
def test_records_are_whole_and_over_five_seeds_or_exact(number):
    records = small(number)
    assert len({record.quantity for record in records}) == len(records)
    for record in records:
        interval = record.interval
        assert record.claim == number
        assert record.reading
        assert np.isfinite([interval.low, interval.value, interval.high]).all()
        assert interval.low <= interval.value <= interval.high
        assert interval.n == (0 if interval.low == interval.high else SEEDS)


@pytest.mark.parametrize("number", [11, 10])
def test_what_is_proven_holds_at_any_size(number):
    """All that is exact in these claims: of claim 10, that is the invariance."""
    assert {record.verdict for record in small(number) if record.interval.n == 0} == {"holds"}


def test_verdicts_need_whole_intervals():
    wide, narrow = Estimate(1.0, 0.5, 1.5, 5), Estimate(1.0, 0.99, 1.01, 5)
    assert [above(wide), above(wide, 1.2), above(wide, 2.0)] == ["holds", "inconclusive", "fails"]
    assert [below(wide, 2.0), below(wide, 1.2), below(wide, 0.1)] == ["holds", "inconclusive", "fails"]
    assert [within(narrow, 1.0, 0.1), within(wide, 1.0, 0.1), within(narrow, 2.0, 0.1)] == ["holds", "inconclusive", "fails"]
    assert [above(exact(0.0)), below(exact(0.0), 0.0), within(exact(1.0), 1.0, 0.0)] == ["fails", "fails", "holds"]


@pytest.mark.parametrize(
    ("n", "value"), [(1, 0.0), (2, np.pi**-0.5), (3, 1.5 * np.pi**-0.5), (10, 1.5387527), (1000, 3.2414358)]
)
def test_expected_maximum_of_normals(n, value):
    """Closed forms for 2 and 3; tables of normal order statistics beyond."""
    assert expected_maximum(n) == pytest.approx(value, abs=1e-6)


def test_the_best_of_one_is_anything_and_the_best_of_more_is_better_where_tails_are_light():
    gold = best_of_n("normal", 500, 0)
    assert gold[0] == pytest.approx(0.0, abs=0.01)
    assert gold[:5] == pytest.approx([expected_maximum(n) / 2**0.5 for n in (1, 2, 4, 8, 16)], abs=0.03)


def test_the_fall_is_measured_where_others_peak():
    gold = np.array([[0.0, 1.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.2, 9.0]])
    assert list(held_out_falls(gold)) == [(2, 0.0), (2, 0.0), (1, pytest.approx(-8.8))]


def test_a_penalty_on_normal_errors_leaves_the_square_root_of_its_nats():
    for kl in (0.1, 1.0, 5.0):
        assert tilted("normal", 1e6, kl) == pytest.approx((kl**0.5, 2 * kl**0.5), rel=1e-4)


@pytest.mark.parametrize("error", ["t2", "Cauchy"])
def test_with_heavy_tails_the_same_nats_buy_ever_more_proxy_and_no_gold(error):
    for (gold, proxy), (more_gold, more_proxy) in pairwise(tilted(error, cap, 2.0) for cap in (1e2, 1e3, 1e4, 1e5, 1e6)):
        assert more_gold < gold / 5
        assert more_proxy > 5 * proxy


def test_linear_programs_by_hand():
    """By occupancies: time in state 1 against time in state 0 (opposite), itself (the same), and moving (neither)."""
    place, moving = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    assert room(place, 1.0 - place, MOVES) == pytest.approx(9.0)  # from never to always, but for the first step
    assert room(place, 3.0 * place + 1.0, MOVES) == pytest.approx(0.0, abs=1e-6)
    assert room(place, np.ones((2, 2)), MOVES) == pytest.approx(0.0, abs=1e-6)
    assert room(place, moving, MOVES) > 0.1


def test_unhackable_pairs_by_hand():
    """Of three policies: a reward and one that can't tell the upper two apart; not an equal, a trivial, or a contrary one."""
    ranks, merged = [0.0, 1.0, 2.0], [0.0, 1.0, 1.0]
    assert unhackable(np.array([ranks, merged]).T) == 1
    assert unhackable(np.array([ranks, [0.0, 5.0, 6.0]]).T) == 0
    assert unhackable(np.array([ranks, [3.0, 3.0, 3.0]]).T) == 0
    assert unhackable(np.array([ranks, [0.0, 2.0, 1.0]]).T) == 0
    assert unhackable(np.array([merged, [0.0, 0.0, 1.0]]).T) == 1
    assert unhackable(np.array([[0.0, 1.0], [1.0, 3.0]]).T) == 0, "over two policies all that is not equivalent is hackable"


def test_deterministic_policies_earn_what_follows_by_hand():
    """Paid for each step in state 1, from either state: always to 0, staying, swapping, always to 1."""
    returns = earned(one_hot(2), np.array([[[0.0, 0.0], [1.0, 1.0]]]), MOVES)[:, 0]
    swapping = (1.0 + 0.9) / (1.0 - 0.9**2) / 2
    assert returns == pytest.approx([0.5, 5.0, swapping, 9.5])


def test_every_reward_has_a_partner():
    rng = np.random.default_rng(0)
    assert all(has_partner(rng, MOVES) for _ in range(50))


def test_the_command_prints_json_and_tables(capsys, monkeypatch):
    monkeypatch.setattr("proxygap.experiments.claims.optimisers_curse.OPTIONS", (64,))
    Claims((27,), json=True).run()
    records = json.loads(capsys.readouterr().out)
    assert {"claim", "quantity", "interval", "verdict", "cpu_seconds", "reading"} == records[0].keys()
    assert {"low", "value", "high"} < records[0]["interval"].keys()
    assert records[0]["cpu_seconds"] > 0
    Claims((27,)).run()
    out = capsys.readouterr().out
    assert "27: " in out
    assert all(record["quantity"] in out for record in records)


def test_progress_is_told_and_an_unknown_claim_is_refused():
    said = []
    next(examined((3,), said.append))
    assert said[0] == f"3: {CLAIMS[3][0]}"
    assert said[1].startswith("3: best of n")
    with pytest.raises(ProxygapError, match="no claim 999: there are "):
        next(examined((999,)))
