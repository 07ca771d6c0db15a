"""What is shown on, and with what. Without a screen SDL draws off-screen and says nothing, so it is asked for its driver."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from ...envs.core import ProxygapError

OFFSCREEN = ("dummy", "offscreen")  # SDL's drivers that nobody can see


def display() -> str | None:
    """The video driver that would open a window, or None where nobody would see it."""
    if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")):
        return None
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
    except pygame.error:
        return None
    return None if driver in OFFSCREEN else driver


def require_display(instead: str) -> None:
    """Raises ProxygapError where there is no screen; `instead` says what to do then."""
    if display() is None:
        raise ProxygapError(f"there is no display to open a window on: {instead}")


def painter_of(env: Any, proxy_weights: Mapping[str, float], window: bool = False) -> Any:
    """A painter for one world of `env`. Raises ProxygapError for an environment that can't be drawn."""
    from ...envs.meters import Painter  # pygame: only where something is drawn

    if not hasattr(type(env), "draw"):
        raise ProxygapError(f"a {env.name} can't be drawn: `proxygap watch --headless` measures what happens in it")
    return Painter(env, proxy_weights, window=window)
