"""Claims of the literature as code: each a file whose `examine` says what is found of it here, quantity by quantity.

Sizes, margins and seeds stand as constants in the files and were set before the first run (where a size was too small to tell
and has grown since, the file says so): a claim that fails here is a finding to report, never a number to adjust. Numbers of
claims are those of docs and reports, and never change.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

from ...envs.core import ProxygapError
from ..statistics import Estimate

SEEDS = 5  # independent runs behind every interval that is not exact
CLAIMS: dict[int, tuple[str, ...]] = {  # number: one line, files
    1: ("Of what is wanted, the best of n by a learned reward brings first more, then less.", "best_of_n"),
    2: ("Models of more comparisons can be optimised further, if these cover what is optimised.", "more_comparisons"),
    3: (
        "Heavy-tailed error of a proxy is catastrophic under strong optimisation, light-tailed error is not.",
        "goodhart_tails",
    ),
    4: ("A penalty on the divergence acts like stopping earlier: gold at equal divergence is the same.", "kl_penalty"),
    5: ("Careful ensembles reduce the overoptimisation that noisy answers cause.", "noisy_ensembles"),
    6: ("Ensembles do not repair what no member sees.", "shared_blind_spot"),
    7: (
        "Smaller reward models are overoptimised earlier, and more capable agents game a proxy more.",
        "model_width",
        "agent_capability",
    ),
    10: ("STARC tells regret better than EPIC and DARD; shaping and scale change none of them.", "starc"),
    11: ("Over all stochastic policies any two rewards that differ can be hacked; over finite sets some can't.", "hackability"),
    13: ("A conservative threshold makes failures many times rarer, at little cost in quality.", "conservative_threshold"),
    14: (
        "A filtered system fails at another rate than the base rate times the share of catastrophes that is missed.",
        "system_failure",
    ),
    15: ("Hardening doubles the queries of the attack that it trains on; other attacks gain less.", "adversarial_training"),
    16: ("Learning from the worst finds, and often, beats random finds and few updates, at equal labels.", "which_finds"),
    17: ("Latent adversarial training helps against attacks that nobody trained on.", "latent_training"),
    22: ("A model that tells nearly all pairs apart may still choose badly.", "distractors"),
    24: ("A model that is calibrated where it was taught is too sure of what its optimisation finds.", "overconfidence"),
    25: ("Splitting and importance sampling tell how rare a failure is, without bias and cheaply.", "rare_failures"),
    27: ("The best of many noisy estimates disappoints, by a known amount.", "optimisers_curse"),
}
Judgement = Literal["holds", "fails", "inconclusive"]
Say = Callable[[str], None]  # tells the user what is being done


@dataclass(frozen=True)
class Record:
    """One quantity of one claim, with its 95 % interval over seeds (or exact: three times the same, of 0 seeds)."""

    claim: int
    quantity: str
    interval: Estimate
    verdict: Judgement
    reading: str
    cpu_seconds: float = 0.0  # since the last record of the same claim: they add up to what the claim took


def examined(numbers: Sequence[int] = (), say: Say = lambda text: None) -> Iterator[Record]:
    """The records of these claims (none: of all), one by one as they are found. Raises ProxygapError for an unknown number."""
    if unknown := set(numbers) - set(CLAIMS):
        known = ", ".join(map(str, CLAIMS))
        raise ProxygapError(f"no claim {', '.join(map(str, sorted(unknown)))}: there are {known}")
    for number in numbers or CLAIMS:
        line, *modules = CLAIMS[number]
        say(f"{number}: {line}")
        for module in modules:
            examine = import_module(f".{module}", __name__).examine
            started = time.process_time()
            for record in examine(lambda text, number=number: say(f"{number}: {text}")):
                yield replace(record, cpu_seconds=time.process_time() - started)
                started = time.process_time()


def exact(value: Any) -> Estimate:
    """A value that is known, not estimated."""
    return Estimate(float(value), float(value), float(value), 0)


def above(estimate: Estimate, level: float = 0.0) -> Judgement:
    """Whether the quantity is greater than `level`: surely, surely not, or not to be told."""
    return "holds" if estimate.low > level else "fails" if estimate.high <= level else "inconclusive"


def below(estimate: Estimate, level: float) -> Judgement:
    """Whether the quantity is smaller than `level`."""
    return "holds" if estimate.high < level else "fails" if estimate.low >= level else "inconclusive"


def within(estimate: Estimate, target: float, margin: float) -> Judgement:
    """Whether the quantity is `target`, up to `margin`: the whole interval must lie there (no less strict than TOST)."""
    if estimate.low > target + margin or estimate.high < target - margin:
        return "fails"
    return "holds" if target - margin <= estimate.low and estimate.high <= target + margin else "inconclusive"
