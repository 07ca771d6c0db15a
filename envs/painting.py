"""What pictures are made of: a palette, a canvas in world units, and how frames are saved.

The colours are Okabe and Ito's (2008, "Color universal design"), told apart with any kind of colour vision, and tints of them.
The canvas is drawn at twice its size and scaled down, which makes edges smooth. pygame is imported where something is drawn,
not with this file.
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from .batch import Array
from .core import ProxyEnv, ProxygapError

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # pygame greets on standard output, where results are written

Colour = tuple[int, int, int]  # red, green, blue, 0 to 255


def blend(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with a `share` of `other` mixed in, 0 to 1."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(colour, other, strict=True))
    return red, green, blue


ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILLION, PURPLE = (0, 114, 178), (213, 94, 0), (204, 121, 167)
INK, PAPER, MUTED = (38, 43, 51), (250, 249, 246), (124, 130, 140)
WATER, SAND, GRASS, STONE = (198, 226, 240), (240, 226, 190), (196, 217, 176), (106, 113, 124)
PROXY_COLOUR, TRUE_COLOUR = VERMILLION, BLUE  # wherever the two rewards are shown

BLOCK = 16  # pixels: video formats want both sides to be multiples of this
NO_FRAMES = "an animation of no frames: at least 1 is needed"
# WebP settings, by size of the files: flat drawings are smallest without loss, but not once they are scaled and so blurred.
FLAT: dict[str, Any] = {"lossless": True, "quality": 50, "method": 3}
SMOOTH: dict[str, Any] = {"quality": 75, "method": 3, "kmin": 9, "kmax": 1000}
NARROWEST, WIDEST = 0.75, 1.75  # width of a world's picture over its height
SUPERSAMPLING = 2  # pixels drawn for each pixel shown, along either axis
ANCHORS = {"left": 0.0, "center": 0.5, "right": 1.0}  # share of a text's width that lies left of its position


class Canvas:
    """A picture drawn in world units. `view` is left, bottom, right, top of what must be seen; y grows towards top.

    So `(0, 5, 5, 0)` is a board of 5 rows counted downwards. The view is centred and its aspect ratio kept; what lies around it
    is seen too, if it is drawn. Points are `(x, y)`, lists of them or arrays `[N, 2]`; lengths are in world units.
    """

    def __init__(self, width: int, height: int, view: Sequence[float]) -> None:
        import pygame

        self._draw = pygame.draw
        self.surface = pygame.Surface((width * SUPERSAMPLING, height * SUPERSAMPLING), depth=32)
        left, bottom, right, top = view
        self.scale = SUPERSAMPLING * min(width / abs(right - left), height / abs(top - bottom))  # drawn pixels per world unit
        self._factor = np.array([self.scale, self.scale if bottom > top else -self.scale])
        self._shift = np.array(self.surface.get_size()) / 2 - self._factor * np.array([left + right, bottom + top]) / 2
        self.fill(PAPER)

    def fill(self, colour: Colour) -> None:
        """Paints everything, beyond the view too."""
        self.surface.fill(colour)

    def rectangle(self, box: Sequence[float], colour: Colour, radius: float = 0.0, width: float = 0.0) -> None:
        """`box` is x, y, width, height: from (x, y) to (x + width, y + height). `radius` rounds corners, `width` outlines."""
        x, y, wide, high = box
        corners = self._pixels([(x, y), (x + wide, y + high)])
        (left, upper), (right, lower) = np.rint([corners.min(0), corners.max(0)]).astype(int)
        rounding = round(radius * self.scale) or -1
        self._draw.rect(self.surface, colour, (left, upper, right - left, lower - upper), self._width(width), rounding)

    def circle(self, center: ArrayLike, radius: float, colour: Colour, width: float = 0.0) -> None:
        """A disc, or a ring that is `width` wide."""
        x, y = self._pixels(center)
        self._draw.circle(self.surface, colour, (x, y), radius * self.scale, self._width(width))

    def polygon(self, points: ArrayLike, colour: Colour) -> None:
        """The filled polygon with these corners."""
        self._draw.polygon(self.surface, colour, self._pixels(points).tolist())

    def line(self, points: ArrayLike, colour: Colour, width: float) -> None:
        """A line through all points, round at its ends and corners; repeat the first point to close it."""
        pixels = self._pixels(points)
        half = max(width * self.scale, SUPERSAMPLING) / 2
        along = np.diff(pixels, axis=0)
        aside = along[:, ::-1] * (-1, 1) * half / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        start, end = pixels[:-1], pixels[1:]
        for strip in np.stack([start + aside, end + aside, end - aside, start - aside], 1).tolist():
            self._draw.polygon(self.surface, colour, strip)
        for point in pixels.tolist():
            self._draw.circle(self.surface, colour, point, half)

    def arrow(self, start: ArrayLike, end: ArrayLike, colour: Colour, width: float) -> None:
        """A straight arrow whose tip is at `end`; its head is three times as wide as its shaft."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        ahead = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9) * width
        aside, neck = ahead[::-1] * (-1.5, 1.5), end - 2.2 * ahead
        self.line([start, neck], colour, width)
        self.polygon([end, neck + aside, neck - aside], colour)

    def text(self, text: str, position: ArrayLike, size: float, colour: Colour = INK, anchor: str = "center") -> None:
        """One line of text, `size` high, vertically centred on its position; `anchor` is "left", "center" or "right"."""
        x, y = self._pixels(position)
        image = written(text, round(size * self.scale), colour)
        self.surface.blit(image, (x - ANCHORS[anchor] * image.get_width(), y - image.get_height() / 2))

    def image(self, pixels: Array, box: Sequence[float]) -> None:
        """A picture [H, W, 3] uint8, its first row on top, stretched over `box` (as in `rectangle`)."""
        import pygame

        x, y, wide, high = box
        corners = self._pixels([(x, y), (x + wide, y + high)])
        size = np.rint(np.abs(corners[1] - corners[0])).astype(int)
        source = pygame.image.frombytes(np.ascontiguousarray(pixels).tobytes(), pixels.shape[1::-1], "RGB")
        self.surface.blit(pygame.transform.smoothscale(source, size), corners.min(0))

    def shown(self, target: Any = None) -> Any:
        """The finished picture, a pygame Surface of the size asked for (`target`, if one of that size is given)."""
        import pygame

        width, height = (length // SUPERSAMPLING for length in self.surface.get_size())
        target = pygame.Surface((width, height), depth=32) if target is None else target
        return pygame.transform.smoothscale(self.surface, (width, height), target)

    def _pixels(self, points: ArrayLike) -> Array:
        return np.asarray(points, float) * self._factor + self._shift

    def _width(self, width: float) -> int:
        return max(round(width * self.scale), SUPERSAMPLING) if width else 0


font = lru_cache(ImageFont.load_default)  # the scalable font inside Pillow, by size in pixels: no system fonts are needed


@lru_cache(maxsize=1024)
def written(text: str, size: int, colour: Colour) -> Any:
    """`text` as a transparent pygame Surface, its letters `size` pixels high (the em)."""
    import pygame

    letters = font(max(size, 1))
    assert isinstance(letters, ImageFont.FreeTypeFont)
    image = Image.new("RGBA", (max(round(letters.getlength(text)), 1), sum(letters.getmetrics())), (*colour, 0))
    ImageDraw.Draw(image).text((0, 0), text, (*colour, 255), letters)
    return pygame.image.frombytes(image.tobytes(), image.size, "RGBA")


def pixels_of(surface: Any) -> Array:
    """A pygame Surface as [H, W, 3] uint8."""
    import pygame

    width, height = surface.get_size()  # through bytes: four times as fast as pygame.surfarray, whose arrays are transposed
    return np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8).reshape(height, width, 3).copy()


def canvas_for(env: ProxyEnv[Any], pixels: int) -> Canvas:
    """A canvas for the environment's view, `pixels` high and as wide as the view wants within reason, in multiples of 16."""
    left, bottom, right, top = env.view
    aspect = min(max(abs((right - left) / (top - bottom)), NARROWEST), WIDEST)
    return Canvas(BLOCK * round(pixels * aspect / BLOCK), BLOCK * round(pixels / BLOCK), env.view)


def picture(env: ProxyEnv[Any], state: Any, pixels: int = 480) -> Array:
    """The first world of `state` alone, [H, W, 3] uint8 with H = `pixels` (to the nearest multiple of 16)."""
    canvas = canvas_for(env, pixels)
    env.draw(state, canvas)
    return pixels_of(canvas.shown())


def animation(frames: Iterable[Array], path: str | Path, fps: float) -> Path:
    """Saves frames [H, W, 3] uint8 as .webp, .gif or .mp4 (what `path` ends in) and returns the path. Raises ProxygapError."""
    path = Path(path)
    if path.suffix not in (".webp", ".gif", ".mp4"):
        raise ProxygapError(f"{path.name!r} is no animation: let its name end in .webp, .gif or .mp4")
    with replacing(path) as beside:
        if path.suffix == ".mp4":
            _save_video(frames, beside, fps)
        else:
            _save_images(frames, beside, fps, path.suffix[1:])
    return path


def animation_bytes(frames: Iterable[Array], fps: float, width: int | None = None) -> bytes:
    """Frames as an animated WebP to embed in a page, scaled to `width` pixels if that is given."""
    stream = io.BytesIO()
    _save_images(frames, stream, fps, "webp", width)
    return stream.getvalue()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; what was written takes its place only when all went well."""
    beside = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        beside.touch()  # a folder that can't be written to is found out before anything is painted
        yield beside
        beside.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise ProxygapError(f"can't write {path}: {reason}; name a file in a folder you may write to") from error
    finally:
        with suppress(OSError):
            beside.unlink()


def _save_images(frames: Iterable[Array], target: Any, fps: float, kind: str, width: int | None = None) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    if not images:
        raise ProxygapError(NO_FRAMES)
    if width is not None:
        height = round(images[0].height * width / images[0].width)
        images = [image.resize((width, height), Image.Resampling.LANCZOS) for image in images]
    quality = {"gif": {}, "webp": FLAT if width is None else SMOOTH}[kind]
    images[0].save(target, kind, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0, **quality)


def _save_video(frames: Iterable[Array], path: Path, fps: float) -> None:
    try:
        from imageio_ffmpeg import write_frames  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ProxygapError("an .mp4 needs imageio-ffmpeg: pip install 'proxygap[video]', or save a .webp instead") from error
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ProxygapError(NO_FRAMES)
    video = write_frames(str(path), first.shape[1::-1], fps=fps, macro_block_size=BLOCK)
    video.send(None)
    for frame in chain([first], frames):
        video.send(np.ascontiguousarray(frame))
    video.close()
