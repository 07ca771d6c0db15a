"""What the rows of the study of hardening's choices come to: ratios of queries and rates, each with its interval over seeds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..envs.batch import Array
from .hardening_arms import FIRST
from .hardening_choices import LONGER, HardeningChoices, Row
from .red_team import FRESH, STRONGER
from .statistics import Estimate
from .survival import Trials, restricted_mean, times_as_many

if TYPE_CHECKING:
    from pandas import DataFrame

LONG = "longer"  # the first attack with more queries, as an attack
GENERATORS = tuple(f"{generator}, {target}" for generator in ("as it was", "hardened") for target in (FIRST, "plain"))


def budget(study: HardeningChoices, attack: str) -> int:
    """The queries that a trial of the attack may spend."""
    return study.queries * {FRESH: STRONGER, LONG: LONGER, "best_of_n": STRONGER}.get(attack, 1)


def of_arm(found: Sequence[Row], arm: str) -> list[Row]:
    """The rows of an arm, one for each seed."""
    return [row for row in found if row.get("arm") == arm]


def trials_of(cell: Row) -> Trials:
    """A stored cell's trials."""
    return Trials(np.array(cell["queries"]), np.array(cell["found"]))


def trials(found: Sequence[Row], arm: str, attacks: Sequence[str]) -> list[Trials]:
    """The trials of some attacks, all together, on the filter that an arm ends with, for each seed."""
    rows = [row["attacks"] | {LONG: row.get(LONG)} for row in of_arm(found, arm)]
    return [Trials.joined([trials_of(row[attack]) for attack in attacks]) for row in rows]


def gain(found: Sequence[Row], study: HardeningChoices, arm: str, attacks: Sequence[str], against: str = FIRST) -> Estimate:
    """log2 of how many times more queries attacks with the same budget take against one arm's filter than against another's."""
    return times_as_many(trials(found, against, attacks), trials(found, arm, attacks), budget(study, attacks[0]))


def own_gain(found: Sequence[Row], study: HardeningChoices, arm: str) -> Estimate:
    """The gain against the attacks that an arm was hardened against, all together."""
    return gain(found, study, arm, study.arms[arm].own(study.attacks, study.rounds))


def fresh_gain(found: Sequence[Row], study: HardeningChoices, arm: str, against: str = FIRST) -> Estimate:
    """The gain against the portfolio that no arm has seen."""
    return gain(found, study, arm, [FRESH], against)


def numbers(found: Sequence[Row], arm: str, name: str) -> Array:
    """A number of an arm's filter, or of the filtered system where nobody attacks, for each seed [S]."""
    return np.array([(row["system"] | row)[name] for row in of_arm(found, arm)])


def generator_numbers(found: Sequence[Row], system: str, name: str) -> Array:
    """A number of a generator with a filter where nobody attacks, for each seed [S]."""
    return np.array([row["generators"][system]["system"][name] for row in found if "generators" in row])


def generator_gain(found: Sequence[Row], study: HardeningChoices, system: str) -> Estimate:
    """log2 of how many times more queries the generator takes to get something past the filter than it took at first."""
    rows = [row["generators"] for row in found if "generators" in row]
    before, after = ([trials_of(row[name]["best_of_n"]) for row in rows] for name in (GENERATORS[0], system))
    return times_as_many(before, after, budget(study, "best_of_n"))


def cells(found: Sequence[Row], study: HardeningChoices) -> "DataFrame":
    """Every cell of every seed as a tidy table."""
    from pandas import DataFrame

    rows = []
    for row in found:
        about = {"seed": row["seed"], "arm": row.get("arm"), "labels": row["labels"], "learned": row.get("learned")}
        if "generators" in row:
            about["learned"] = row["demonstrations"]
            for system, cell in row["generators"].items():
                rows.append(
                    about | {"arm": f"generator {system}"} | _cell(study, "best_of_n", cell["best_of_n"]) | cell["system"]
                )
            continue
        attacks = row["attacks"] | ({LONG: row[LONG]} if LONG in row else {})
        rows += [
            about | _cell(study, attack, cell) | row["system"] | {"refused": row["refused"]} for attack, cell in attacks.items()
        ]
    return DataFrame(rows)


def _cell(study: HardeningChoices, attack: str, cell: Row) -> Row:
    of, most = trials_of(cell), budget(study, attack)
    found = {"trials": len(of.found), "found": int(of.found.sum()), "mean_queries": restricted_mean(of, most)}
    spent = {name: cell[name] for name in ("scores", "steps", "seconds")}
    return {"attack": attack, "budget": most} | found | {"queries": int(of.queries.sum())} | spent
