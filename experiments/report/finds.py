"""Films of what attacks found: the world above, and below it what the filter makes of the option, step by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ...agents.attacks.core import Target
from ...agents.options import Cases, begun, replayed
from ...envs.batch import Array
from ...envs.core import ProxyEnv
from ...envs.meters import number
from ...envs.painting import (
    GREEN,
    INK,
    MUTED,
    PAPER,
    STONE,
    VERMILLION,
    Canvas,
    animation_bytes,
    blend,
    canvas_for,
    pixels_of,
)
from .clips import HOLD, WIDTH, WORLD

METER = 144  # pixels high
CHART = (24, 50, WIDTH - 24, 128)  # left, top, right, bottom of the chart in it


def film(env: ProxyEnv[Any], case: Cases, target: Target) -> bytes:
    """One option, a case of one row, as an animated WebP that loops."""
    said, steps = suspicions(env, case, target)
    option = replayed(env, case)
    states, severities = [], []
    loop = begun(env, case)
    for time in range(steps):
        states.append(loop.state)
        step = loop.step(case.action[:, time])
        severities.append(float(env.catastrophe(step.transition)[0]))  # pyright: ignore[reportOptionalSubscript, reportArgumentType]
    states.append(loop.state)
    meter = Meter(said, target.threshold_, severities, float(option.severity[0]))
    pictures = [np.concatenate([world(env, state), meter.drawn(time)]) for time, state in enumerate(states)]
    rate = min(env.frames_per_second, 10)
    return animation_bytes([*pictures, *pictures[-1:] * round(HOLD * rate)], rate, WIDTH)


def suspicions(env: ProxyEnv[Any], case: Cases, target: Target) -> tuple[Array, int]:
    """How suspicious the option is after each of its steps [T], and how many steps it has."""
    option = replayed(env, case)
    steps = int(option.valid.sum())
    begun_so_far = option[np.zeros(steps, np.int64)]
    begun_so_far.valid = np.tril(np.ones((steps, option.valid.shape[1]), bool))
    return target.suspicion(begun_so_far.segments()), steps


def world(env: ProxyEnv[Any], state: Any) -> Array:
    """The world's picture, [WORLD, WIDTH, 3]."""
    canvas = canvas_for(env, WORLD)
    canvas.fill(PAPER)
    env.draw(state, canvas)
    picture = Image.fromarray(pixels_of(canvas.shown()))
    scale = min(WIDTH / picture.width, WORLD / picture.height)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.HAMMING)
    whole = Image.new("RGB", (WIDTH, WORLD), PAPER)
    whole.paste(picture, ((WIDTH - picture.width) // 2, (WORLD - picture.height) // 2))
    return np.asarray(whole)


class Meter:
    """The filter's opinion as a curve over the option's steps, with the threshold, and when the catastrophe happened."""

    def __init__(self, said: Array, threshold: float, severities: Sequence[float], worst: float) -> None:
        self.said, self.threshold, self.severities, self.worst = said, threshold, severities, worst
        low, high = min(said.min(), threshold), max(said.max(), threshold)
        room = 0.1 * (high - low) or 1.0
        self.low, self.high = low - room, high + room

    def drawn(self, time: int) -> Array:
        """The meter after `time` steps, [METER, WIDTH, 3]."""
        canvas = Canvas(WIDTH, METER, (0, METER, WIDTH, 0))
        left, top, right, bottom = CHART
        self._caption(canvas, time)
        canvas.rectangle((left, top, right - left, bottom - top), blend(PAPER, STONE, 0.12))
        limit = self._height(self.threshold)
        canvas.line([(left, limit), (right, limit)], INK, 1.5)
        across = left + (np.arange(len(self.said)) + 1) / len(self.said) * (right - left)
        for x, severity in zip(across[:time], self.severities, strict=False):
            if severity:
                canvas.line([(x, top), (x, bottom)], VERMILLION, 3)
        if time:
            points = np.stack([across[:time], [self._height(said) for said in self.said[:time]]], 1)
            canvas.line(np.concatenate([[[left, points[0, 1]]], points]), GREEN, 3)
            canvas.circle(points[-1], 5, GREEN)
        return pixels_of(canvas.shown())

    def _caption(self, canvas: Canvas, time: int) -> None:
        said = self.said[max(time - 1, 0)]
        verdict = "accepted" if said <= self.threshold else "refused"
        canvas.text(f"suspicion {number(said)}: {verdict}", (CHART[0], 16), 17, INK, "left")
        if any(self.severities[:time]):
            canvas.text(f"catastrophe, severity {number(self.worst)}", (CHART[2], 16), 17, VERMILLION, "right")
        canvas.text(f"step {time} of {len(self.said)}", (CHART[0], 37), 12, MUTED, "left")
        canvas.text("refused above the line", (CHART[2], 37), 12, MUTED, "right")

    def _height(self, said: float) -> float:
        _, top, _, bottom = CHART
        return float(bottom - (said - self.low) / (self.high - self.low) * (bottom - top))
