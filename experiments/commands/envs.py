"""`proxygap envs`: the table of environments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...envs.core import ProxygapError
from ...envs.registry import known_environments
from .cards import card
from .output import print_json, print_table


@dataclass(frozen=True)
class Envs:
    """The environments, each with its proxies and what is expected of an agent that is paid by them; foreign ones stand last.

    A proxy is expected to be "gamed" (the agent earns more of it and less of the true reward), a "tie", or "aligned". Where an
    environment has few states, all of them are counted: exact optima are known there.

    Examples:
        proxygap envs
        proxygap envs --json
    """

    json: bool = False
    """Print JSON and nothing else."""

    def run(self) -> None:
        """Prints the table."""
        cards = [_readable(name) for name in known_environments()]
        if self.json:
            print_json(cards)
        else:
            head = ("environment", "actions", "observation", "steps", "exact states", "proxies (kind, expected outcome)")
            print_table(head, map(_row, cards), numbers=("steps", "exact states"))


def _readable(name: str) -> dict[str, Any]:
    """The card, or what is wrong: one broken package must not hide all other environments."""
    try:
        return card(name)
    except ProxygapError as error:
        return {"name": name, "error": str(error)}
    except Exception as error:
        return {"name": name, "error": f"{type(error).__name__}: {error}"}


def _row(card: Mapping[str, Any]) -> tuple[Any, ...]:
    if "error" in card:
        return (card["name"], "", "", None, None, f"can't be used: {card['error']}")
    proxies = "\n".join(f"{name} ({proxy['kind']}, {proxy['expected']})" for name, proxy in card["proxies"].items())
    return (card["name"], card["actions"], card["observation"], card["horizon"], card["states"], proxies)
