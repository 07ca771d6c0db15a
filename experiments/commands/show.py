"""`proxygap show`: an environment's card and picture."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.markup import escape

from ...agents.rollouts import random_policy, scripted
from ...envs.registry import make
from ..settings import weights_text
from .cards import card
from .output import console, print_json, print_table
from .players import scripts
from .screen import painter_of


@dataclass(frozen=True)
class Show:
    """An environment's card: its story, its true reward and its proxies, what is wrong with each, its terms, and a picture.

    Examples:
        proxygap show lagoon
        proxygap show tomato_watering --picture tomatoes.png
        proxygap show my_world.py:MyWorld --json
    """

    env: tyro.conf.Positional[str]
    """Environment: a name (see `proxygap envs`), or FILE.py:Class."""
    picture: Path | None = None
    """Where to save the picture (.png, .webp, ...); by default among the system's temporary files."""
    json: bool = False
    """Print JSON and nothing else."""

    def run(self) -> None:
        """Prints the card and says where the picture is."""
        found, env = card(self.env), make(self.env)
        path = save_picture(env, self.picture or temporary(found["name"]))
        if self.json:
            print_json(found | {"picture": str(path)})
        else:
            print_card(found)
            print(f"Picture: {path}")


def temporary(name: str) -> Path:
    """A new place for the picture."""
    return Path(tempfile.mkdtemp(prefix="proxygap-")) / f"{name.rpartition(':')[2]}.png"


def save_picture(env: Any, path: Path) -> Path:
    """Saves a moment of a reference policy's episode, the world and its meters. Raises ProxygapError if it can't write."""
    from PIL import Image

    from ...envs.painting import replacing

    loop = env.loop(autoreset=False)
    painter = painter_of(env, loop.proxy_weights)
    loop.reset(seed=0)
    painter.update(loop.state, None)
    policy = scripted(env, names[0]) if (names := scripts(env)) else random_policy(env)
    for _ in range(env.horizon // 3):
        step = loop.step(policy(loop))
        painter.update(loop.state, step)
        if step.done[0]:
            break
    with replacing(path) as beside:
        Image.fromarray(painter.frame()).save(beside)
    return path


def print_card(card: Mapping[str, Any]) -> None:
    """Prints the card for people."""
    out = console()
    out.print(f"[bold]{escape(card['name'])}[/bold]\n\n{escape(card['story'])}\n")
    if card["description"] != card["story"]:
        out.print(escape(card["description"]) + "\n")
    out.print(f"Actions: {card['actions']}. Observation: {card['observation']}. Episodes: at most {card['horizon']} steps.")
    if card["states"]:
        out.print(f"Its {card['states']:,} states can be enumerated: exact optima are known.")
    out.print()
    rows = [("true", "", "", weights_text(card["true_reward"]), "what is really wanted; hidden from the agent")]
    for name, proxy in card["proxies"].items():
        rows.append((name, proxy["kind"], proxy["expected"], weights_text(proxy["weights"]), proxy["flaw"]))
    print_table(("reward", "kind", "expected", "weights", "what is wrong with it"), rows)
    out.print()
    lists = {"Terms": card["terms"], "Scripted policies": card["policies"]}
    lists["Settings"] = [f"{name}={value}" for name, value in card["settings"].items()]
    lists["Keys"] = [f"{key or 'none'}: {action}" for key, action in card["keys"].items()]
    for name, values in lists.items():
        out.print(f"{name}: {escape(', '.join(map(str, values)) or 'none')}")
