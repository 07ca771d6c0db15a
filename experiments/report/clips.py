"""Clips for a page: a whole episode in ten seconds, the world above and its meters below, so that three fit side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ...agents.rollouts import Policy
from ...envs.batch import Array
from ...envs.core import ProxyEnv
from ...envs.meters import WIDTH as METERS
from ...envs.meters import Painter
from ...envs.painting import PAPER, animation_bytes

FRAMES, SECONDS = 120, 10.0  # the most frames of a clip, and how long those take
HOLD = 1.5  # s, for which the last frame stands, so that the final returns can be read
WIDTH, WORLD = 480, 320  # pixels: of a clip, and the height that its world fits in


def clip(env: ProxyEnv[Any], policy: Policy, proxy: str | Mapping[str, float], seed: int, frames: int = FRAMES) -> list[Array]:
    """Pictures [H, 480, 3] of the first episode, from its beginning to its end; evenly sampled if it has more than `frames`."""
    loop = env.loop(1, proxy=proxy, autoreset=False)
    loop.reset(seed)
    moments: list[Any] = [(loop.state, None)]
    while len(moments) == 1 or not moments[-1][1].done[0]:
        step = loop.step(policy(loop))
        moments.append((loop.state, step))
    shown = set(np.linspace(0, len(moments) - 1, min(frames, len(moments))).round().astype(int))
    painter, pictures = Painter(env, loop.proxy_weights), []
    for i, moment in enumerate(moments):
        painter.update(*moment)
        if i in shown:
            pictures.append(stacked(painter.frame()))
    return pictures


def film(env: ProxyEnv[Any], policy: Policy, proxy: str | Mapping[str, float], seed: int) -> bytes:
    """The clip as an animated WebP that loops: short episodes at their own speed, long ones in ten seconds."""
    pictures = clip(env, policy, proxy, seed)
    rate = env.frames_per_second if len(pictures) < FRAMES else FRAMES / SECONDS
    return animation_bytes([*pictures, *pictures[-1:] * round(HOLD * rate)], rate, WIDTH)


def stacked(frame: Array) -> Array:
    """A painter's frame with its meters below the world instead of beside it, [H, 480, 3]: legible in a narrow column."""
    world, meters = Image.fromarray(frame[:, :-METERS]), Image.fromarray(frame[:, -METERS:])
    if not world.width:  # an environment without pictures
        return np.asarray(_centred(meters))
    scale = min(WIDTH / world.width, WORLD / world.height)
    world = world.resize((round(world.width * scale), round(world.height * scale)), Image.Resampling.HAMMING)
    return np.concatenate([_centred(world), _centred(meters)])


def _centred(image: Image.Image) -> Array:
    whole = Image.new("RGB", (WIDTH, image.height), PAPER)
    whole.paste(image, ((WIDTH - image.width) // 2, 0))
    return np.asarray(whole)
