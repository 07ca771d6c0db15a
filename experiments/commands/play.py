"""`proxygap play`: the keyboard is the agent, and the meters show what it earns on both rewards.

Gymnasium's own `play` moves a board game once a frame, so that a tap is lost or counts twice. Here a world whose keys include
"" (no key) runs by itself, and any other waits: one step for each press.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from ...envs.core import ProxygapError, Step
from ...envs.registry import make
from ..settings import parse_pairs, parse_reward
from .screen import painter_of, require_display

ARROWS = {"up": "w", "left": "a", "down": "s", "right": "d"}  # and the letters that they stand for
AGAIN, LEAVE = "return", "escape"
WAITING_RATE = 30  # frames a second, while a world waits for a key
REPEAT = (300, 120)  # ms until a key that is held down repeats, and between repeats


@dataclass(frozen=True)
class Play:
    """Play an environment with the keyboard: its keys (`proxygap show ENV` lists them) or the arrows.

    The meters beside the world show both returns and every term. Escape ends, Enter begins a new episode once one is over.

    Examples:
        proxygap play lagoon
        proxygap play lagoon --proxy bonus
        proxygap play lagoon --reward "turbo=1, progress=0.1"
    """

    env: tyro.conf.Positional[str]
    """Environment: a name (see `proxygap envs`), or FILE.py:Class."""
    proxy: str | None = None
    """The proxy on the meters; the environment's first by default."""
    reward: str | None = None
    """Your own weighting of the terms instead, such as "turbo=1, progress=0.1"."""
    world: tuple[str, ...] = ()
    """Settings of the environment, NAME=VALUE."""
    seed: int | None = None
    """Makes the first episode repeatable."""

    def run(self) -> None:
        """Plays until Escape, or until the window is closed."""
        if self.proxy and self.reward:
            raise ProxygapError("--proxy and --reward both say what is measured: give one of them")
        env = make(self.env, **parse_pairs(self.world))
        if not getattr(env, "keys", {}):
            raise ProxygapError(f"{self.env} names no keys to play it with: give its class `keys`")
        chosen = parse_reward(self.reward) if self.reward else self.proxy
        game = Game(env, chosen, self.seed)
        require_display(f"`proxygap watch {self.env} --video FILE.webp` saves a film of an agent instead")
        game.run()


class Game:
    """A window in which one world is played."""

    def __init__(self, env: Any, proxy: str | Mapping[str, float] | None, seed: int | None) -> None:
        self.env, self.loop = env, env.loop(1, proxy=proxy, autoreset=False)
        self.painter = painter_of(env, self.loop.proxy_weights)
        self.waits = "" not in env.keys
        self.episodes = 0
        self.begin(seed)

    def begin(self, seed: int | None = None) -> None:
        """A new episode."""
        self.loop.reset(seed)
        self.over = False
        self.painter.update(self.loop.state, None)

    def run(self) -> None:
        """Opens the window and plays in it."""
        import pygame

        height, width, _ = self.painter.frame().shape
        self.window = pygame.display.set_mode((width, height))
        pygame.display.set_caption(f"proxygap: {self.env.name}")
        if self.waits:
            pygame.key.set_repeat(*REPEAT)
        clock = pygame.time.Clock()
        while self.react(pygame.event.get()):
            self.show()
            clock.tick(WAITING_RATE if self.waits else self.env.frames_per_second)
        pygame.display.quit()

    def react(self, events: list[Any]) -> bool:
        """Does what the keys ask for; returns whether to go on."""
        import pygame

        tapped = {pygame.key.name(event.key) for event in events if event.type == pygame.KEYDOWN}
        if LEAVE in tapped or any(event.type == pygame.QUIT for event in events):
            return False
        if self.over and AGAIN in tapped:
            self.begin()
        elif not self.over and (tapped or not self.waits):
            self.move(tapped | self._held())
        return True

    def _held(self) -> set[str]:
        import pygame

        pressed = pygame.key.get_pressed()
        names = {letter for combination in self.env.keys for letter in combination} | set(ARROWS)
        return {name for name in names if pressed[pygame.key.key_code(name)]}

    def move(self, pressed: set[str]) -> None:
        """One step, if the keys mean an action."""
        action = action_of(self.env.keys, pressed)
        if action is not None:
            step = self.loop.step(np.asarray(action, self.env.action_space.dtype)[None])
            self.painter.update(self.loop.state, step)
            self.over = bool(step.done[0])
            if self.over:
                self._tell(step)

    def _tell(self, step: Step) -> None:
        self.episodes += 1
        print(
            f"episode {self.episodes}: proxy return {step.sums.proxy[0]:.4g}, true return {step.sums.true[0]:.4g}", flush=True
        )

    def show(self) -> None:
        """Paints the window."""
        import pygame

        from ...envs.painting import INK, PAPER, written

        frame = self.painter.frame()
        self.window.blit(pygame.image.frombuffer(frame.tobytes(), frame.shape[1::-1], "RGB"), (0, 0))
        if self.over:
            text = written("It is over: Enter plays again, Escape leaves", 22, PAPER)
            box = text.get_rect(center=self.window.get_rect().center)
            pygame.draw.rect(self.window, INK, box.inflate(32, 20), border_radius=8)
            self.window.blit(text, box)
        pygame.display.flip()


def action_of(keys: Mapping[str, Any], pressed: set[str]) -> Any:
    """The action of the largest combination among the keys that are pressed, by their names; None if there is none."""
    letters = {ARROWS.get(name, name) for name in pressed}
    meant = [combination for combination in keys if set(combination) <= letters]
    return keys[max(meant, key=len)] if meant else None
