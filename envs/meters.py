"""The meter panel: what an episode has earned by the proxy and in truth, beside the picture of its world.

A single frame shows the gap: both returns stand on one scale, in numbers, bars and a chart over the episode. Below them is
every term's sum, with the weights that the proxy and the true reward give it.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .batch import Array
from .core import ProxyEnv, ProxygapError, Step
from .painting import (
    INK,
    MUTED,
    PAPER,
    PROXY_COLOUR,
    STONE,
    SUPERSAMPLING,
    TRUE_COLOUR,
    Canvas,
    Colour,
    blend,
    canvas_for,
    pixels_of,
)

HEIGHT, WIDTH, MARGIN = 480, 320, 16  # pixels
CHART = (52, 180, 304, 280)  # left, top, right, bottom
TERMS_TOP, ROW, LOWEST_ROW = 317, 22, 14  # where the terms begin, a row's height and the least that is legible
BAR_LEFT, BAR_RIGHT, SUM_RIGHT, PROXY_RIGHT, TRUE_RIGHT = 118, 172, 214, 262, 304
NOTHING = 1e-9  # the largest return that a scale takes for none
POINTS = 120  # most points of a curve in the chart
PALE = blend(PAPER, STONE, 0.16)
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")


class Painter:
    """Draws one world as its episodes go on: `update` with every moment, `frame` for pixels, `show` for a window."""

    def __init__(self, env: ProxyEnv[Any], proxy_weights: Mapping[str, float], window: bool = False) -> None:
        import pygame

        if window:
            _check_display()
        self.env, self.weights = env, (proxy_weights, env.true_reward)
        names = [name for name, proxy in env.proxies.items() if dict(proxy.weights) == dict(proxy_weights)]
        self.proxy_name = next(iter(names), "own weights")
        self.window: Any = None
        self.closed = False  # the user has closed the window: nothing is shown any more
        self.state: Any = None
        self.returns: list[tuple[float, float]] = [(0.0, 0.0)]  # of proxy and truth after every step of the episode
        self.sums = np.zeros(len(env.term_names))
        self.world = (
            canvas_for(env, HEIGHT) if env.pictured else None
        )  # canvases are kept: making one takes as long as painting it
        self.panel = Canvas(WIDTH, HEIGHT, (0, HEIGHT, WIDTH, 0))  # in pixels, y downwards
        split = self.world.surface.get_width() // SUPERSAMPLING if self.world else 0
        self.surface = pygame.Surface((split + WIDTH, HEIGHT), depth=32)
        self.left = self.surface.subsurface((0, 0, split, HEIGHT))
        self.right = self.surface.subsurface((split, 0, WIDTH, HEIGHT))

    def update(self, state: Any, step: Step | None) -> None:
        """The new moment: a batch of one world, and the step that led to it (None: an episode begins)."""
        self.state = state
        if step is None:
            self.returns, self.sums = [(0.0, 0.0)], np.zeros_like(self.sums)
        else:
            self.returns.append((float(step.sums.proxy[0]), float(step.sums.true[0])))
            self.sums = step.sums.terms[0]

    def frame(self) -> Array:
        """The world and its meters, [480, W, 3] uint8; W is a multiple of 16."""
        return pixels_of(self._paint())

    def show(self) -> None:
        """Shows the frame in a window, at the environment's frames per second at most. Nothing once that was closed."""
        import pygame

        if self.closed:
            return
        surface = self._paint()
        if self.window is None:
            self.window, self.clock = _opened(surface.get_size(), self.env.name), pygame.time.Clock()
        self.window.blit(surface, (0, 0))
        pygame.display.flip()
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()
        else:
            self.clock.tick(self.env.frames_per_second)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self.window is not None:
            import pygame

            pygame.display.quit()
        self.window, self.closed = None, True

    def _paint(self) -> Any:
        self._draw_meters(self.panel)
        self.panel.shown(self.right)
        if self.world is not None:
            self.world.fill(PAPER)
            self.env.draw(self.state, self.world)
            self.world.shown(self.left)
        return self.surface

    def _draw_meters(self, panel: Canvas) -> None:
        panel.fill(PAPER)
        low, high = scale_of(self.returns)
        self._draw_title(panel)
        for y, name, value, colour in zip((61, 114), ("proxy return", "true return"), self.returns[-1], COLOURS, strict=True):
            panel.text(name, (MARGIN, y), 16, colour, "left")
            panel.text(number(value), (WIDTH - MARGIN, y - 2), 28, colour, "right")
            draw_bar(panel, (MARGIN, y + 18, WIDTH - 2 * MARGIN, 14), (low, high), value, colour)
        self._draw_chart(panel, low, high)
        self._draw_terms(panel)

    def _draw_title(self, panel: Canvas) -> None:
        panel.text(self.env.name, (MARGIN, 18), 17, INK, "left")
        panel.text(f"step {len(self.returns) - 1} of {self.env.horizon}", (WIDTH - MARGIN, 18), 14, MUTED, "right")
        panel.text(f"proxy: {self.proxy_name}", (MARGIN, 37), 13, MUTED, "left")

    def _draw_chart(self, panel: Canvas, low: float, high: float) -> None:
        left, top, right, bottom = CHART
        for value in {low, 0.0, high}:
            y = bottom - (value - low) / (high - low) * (bottom - top)
            panel.line([(left, y), (right, y)], MUTED if value == 0 else PALE, 1)
            if value == 0 or abs(value) > 0.12 * (high - low):  # else its label would touch that of zero
                panel.text(number(value), (left - 6, y), 12, MUTED, "right")
        panel.text("return so far", (left, top - 14), 12, MUTED, "left")
        for x, name, colour in zip((right - 104, right - 38), ("proxy", "truth"), COLOURS, strict=True):
            panel.line([(x - 20, top - 14), (x - 7, top - 14)], colour, 4.5 if name == "proxy" else 2)
            panel.text(name, (x, top - 14), 12, INK, "left")
        for share, text in ((0.0, "0"), (0.5, "steps"), (1.0, str(self.env.horizon))):
            panel.text(text, (left + share * (right - left), bottom + 13), 12, MUTED, "right" if share == 1 else "center")
        stride = -(-len(self.returns) // POINTS)
        steps = np.append(np.arange(0, len(self.returns) - 1, stride), len(self.returns) - 1)
        x = left + steps / max(self.env.horizon, len(self.returns) - 1) * (right - left)
        y = bottom - (np.array(self.returns)[steps] - low) / (high - low) * (bottom - top)
        for curve, colour, width in zip(y.T, COLOURS, (4.5, 2.0), strict=True):  # where they agree, both are seen
            panel.line(np.stack([x, curve], 1), colour, width)
            panel.circle((x[-1], curve[-1]), width + 1, colour)

    def _draw_terms(self, panel: Canvas) -> None:
        panel.text("term", (MARGIN, TERMS_TOP), 12, MUTED, "left")
        panel.text("sum, root scale", (SUM_RIGHT, TERMS_TOP), 12, MUTED, "right")
        for x, text, colour in zip((PROXY_RIGHT, TRUE_RIGHT), ("proxy", "truth"), COLOURS, strict=True):
            panel.text(text, (x, TERMS_TOP), 12, colour, "right")
        names = self.env.term_names
        order = sorted(range(len(names)), key=lambda i: not any(weights.get(names[i]) for weights in self.weights))
        rows = order[: (HEIGHT - TERMS_TOP - 12) // LOWEST_ROW]
        height = min(ROW, (HEIGHT - TERMS_TOP - 12) / len(rows))
        largest = max(np.abs(self.sums).max(), 1e-9)
        for place, i in enumerate(rows):
            self._draw_term(panel, TERMS_TOP + 8 + (place + 0.5) * height, names[i], self.sums[i], float(largest))

    def _draw_term(self, panel: Canvas, y: float, name: str, value: float, largest: float) -> None:
        panel.text(shortened(name.replace("_", " "), 15), (MARGIN, y), 13, INK, "left")
        share = np.sign(value) * np.sqrt(abs(value) / largest)  # units differ from term to term: roots keep small sums in sight
        draw_bar(panel, (BAR_LEFT, y - 4, BAR_RIGHT - BAR_LEFT, 8), (-1.0 if (self.sums < 0).any() else 0.0, 1.0), share, STONE)
        panel.text(number(value), (SUM_RIGHT, y), 13, INK, "right")
        for x, weights, colour in zip((PROXY_RIGHT, TRUE_RIGHT), self.weights, COLOURS, strict=True):
            if weight := weights.get(name):
                panel.text(f"{weight:+.3g}", (x, y), 13, colour, "right")


COLOURS = (PROXY_COLOUR, TRUE_COLOUR)


def draw_bar(panel: Canvas, box: Sequence[float], scale: Sequence[float], value: float, colour: Colour) -> None:
    """A bar from zero to `value` in a trough whose ends are `scale`, with a tick at zero."""
    (left, top, width, height), (low, high) = box, scale
    zero, tip = (left + (at - low) / (high - low) * width for at in (0.0, value))
    panel.rectangle(box, PALE, radius=3)
    panel.rectangle((min(zero, tip), top, abs(tip - zero), height), colour, radius=3)
    panel.line([(zero, top - 2), (zero, top + height + 2)], INK, 1.5)


def scale_of(returns: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Round ends, lowest and highest, of a scale that holds all returns and zero."""
    values = np.array(returns)
    low, high = 0.0 - rounded_up(-values.min()), rounded_up(values.max())
    return (low, high) if low < high else (0.0, 1.0)


def rounded_up(value: float) -> float:
    """The next of 1, 2, 3, 4, 5, 6, 8, 10 times a power of ten; 0 for what is not above NOTHING."""
    if value <= NOTHING:
        return 0.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9)))


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shortened(text: str, length: int) -> str:
    """`text`, cut where it is longer than that."""
    return text if len(text) <= length else f"{text[: length - 2]}.."


def _check_display() -> None:
    if sys.platform == "linux" and not any(os.environ.get(name) for name in DISPLAYS):
        raise ProxygapError(NO_DISPLAY)


def _opened(size: tuple[int, int], title: str) -> Any:
    import pygame

    try:
        window = pygame.display.set_mode(size)
    except pygame.error as error:
        raise ProxygapError(f"{NO_DISPLAY} ({error})") from error
    pygame.display.set_caption(f"proxygap: {title}")
    return window


NO_DISPLAY = "there is no display to open a window on; use render_mode='rgb_array', or `proxygap watch --video FILE`"
