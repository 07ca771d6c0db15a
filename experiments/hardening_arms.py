"""The arms of the study of hardening's choices, as data: a recipe of many blocks, a plain way, and single changes of either.

Whether a block helps depends on what else is done. So it is left out of a recipe that has all, and choices are tried one by one
in a way that has nothing but a warm start. All arms may have as many finds labelled, and let the same harmless play pass.

What is chosen here are the questions that Redwood's researchers were left with after Ziegler et al. 2022 (arXiv:2205.01663).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

FIRST, PLAIN, RECIPE, WEAK = "first filter", "plain", "recipe", "weak attacks"
WEAKER = 10  # times fewer queries that the weak attacks have while a filter is hardened


@dataclass(frozen=True)
class Arm:
    """One way to harden a filter; the defaults are the plain way."""

    attacks: Literal["first", "mixed", "round", "update"] = "first"  # the first alone, all mixed, or in turn
    wide: bool = False  # the generator's near misses are labelled as catastrophes, too
    choice: Literal["all", "random", "egregious", "nearest"] = "random"  # which half of the finds is learned from, or all
    updates: int = 1  # in each round, for the same labels
    warm: bool = True  # go on from the last weights, or learn anew from all there is
    latent: bool = False  # learn from activations as an attack would move them, in updates
    invariance: bool = False  # say the same of play that means the same
    ensemble: int = 1  # filters, of which the most suspicious counts
    width: int | None = None  # hidden units in a layer; None: those of the task
    weaker: int = 1  # times fewer queries for its attacks

    def own(self, attacks: Sequence[str], rounds: int) -> tuple[str, ...]:
        """Those of the study's attacks that it was hardened against."""
        return tuple(attacks[: {"first": 1, "round": rounds}.get(self.attacks, len(attacks))])


WHOLE = Arm(attacks="mixed", wide=True, choice="egregious", updates=2, latent=True, invariance=True, ensemble=3, width=64)
LEFT_OUT: dict[str, dict[str, Any]] = {  # each block, and what is done instead
    "mixed attacks": {"attacks": "first"},
    "wide labels": {"wide": False},
    "egregious finds": {"choice": "random"},
    "several updates": {"updates": 1},
    "warm start": {"warm": False},
    "latent attacks": {"latent": False},
    "invariance": {"invariance": False},
    "ensemble": {"ensemble": 1},
    "width 64": {"width": None},
}


@dataclass(frozen=True)
class Question:
    """Arms that are compared with one, from which each differs in one choice."""

    name: str
    title: str
    against: str
    arms: dict[str, Arm]

    @property
    def compared(self) -> tuple[str, ...]:
        """All arms, that which the others are compared with first."""
        return (self.against, *(name for name in self.arms if name != self.against))


def questions(updates: Sequence[int], widths: Sequence[int], attacks: int) -> tuple[Question, ...]:
    """What is asked, with so many updates a round, filters of these widths, and that number of attacks."""
    blocks = {f"without {block}": replace(WHOLE, **instead) for block, instead in LEFT_OUT.items()}
    chosen = {f"{choice} finds": {"choice": choice} for choice in ("egregious", "nearest", "all")}
    batches = {
        "all attacks mixed": {"attacks": "mixed"},
        "one attack a round": {"attacks": "round"},
        "one attack an update": {"attacks": "update", "updates": attacks},
    }
    return (
        Question(
            "blocks", "Which block of a full recipe is worth something?", RECIPE, {RECIPE: WHOLE} | blocks | {PLAIN: Arm()}
        ),
        _choices("finds", "Which finds should be learned from?", chosen),
        _choices("cadence", "How often should it be updated?", {f"{n} updates a round": {"updates": n} for n in updates}),
        _choices("start", "Go on from the last weights, or learn anew?", {"learned anew": {"warm": False}}),
        _choices("width", "How wide should the filter be?", {f"width {n}": {"width": n} for n in widths}),
        _choices("batches", "Few batches of many attacks, or many batches of one attack each?", batches),
        _choices("budget", "Does it help against strong attacks to learn from weak ones?", {WEAK: {"weaker": WEAKER}}),
    )


def _choices(name: str, title: str, changes: dict[str, dict[str, Any]]) -> Question:
    return Question(name, title, PLAIN, {PLAIN: Arm()} | {arm: Arm(**change) for arm, change in changes.items()})


def every_arm(asked: Sequence[Question]) -> dict[str, Arm]:
    """All arms by name, each once."""
    return {name: arm for question in asked for name, arm in question.arms.items()}
