"""Pictures: what primitives paint, what frames look like and show, and how they are saved and put on a screen."""

import subprocess
import sys
from itertools import combinations
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from proxygap.envs import adapters, meters, painting
from proxygap.envs.core import ProxygapError
from proxygap.envs.gridworlds import grid
from proxygap.envs.gridworlds.boat_race import BoatRace
from proxygap.envs.gridworlds.tomato_watering import TomatoWatering
from proxygap.envs.painting import BLUE, GREEN, INK, ORANGE, PAPER, PROXY_COLOUR, TRUE_COLOUR, VERMILLION, Canvas

UPWARDS, DOWNWARDS = (0, 0, 10, 10), (0, 10, 10, 0)
PIXELS = 100  # of the test canvases, so that a world unit is 10 pixels

# Machado, Oliveira and Fernandes (2009), "A physiologically-based model for simulation of color vision deficiency", severity 1.
VISIONS = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # of linear sRGB, D65
CLEARLY_APART = 25.0  # CIE 1976 colour difference; 2.3 is just noticeable


@pytest.fixture
def headless(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def made(name: str, **settings: Any) -> Any:
    """The world as Gymnasium makes it, drawn as arrays."""
    make = gymnasium.make_vec if "num_envs" in settings else gymnasium.make
    return make(f"proxygap/{name}-v0", render_mode="rgb_array", **settings)


def drawn(draw, view=UPWARDS):
    """What `draw(canvas)` leaves on a small canvas, [100, 100, 3]."""
    canvas = Canvas(PIXELS, PIXELS, view)
    draw(canvas)
    return painting.pixels_of(canvas.shown())


def has(image, x, y, colour):
    """Whether the pixel right of and below (x, y) has exactly this colour."""
    return tuple(image[y, x]) == colour


def extent(image):
    """First and last column and row that are not paper."""
    rows, columns = np.nonzero((image != PAPER).any(-1))
    return columns.min(), columns.max(), rows.min(), rows.max()


def seen(colour, vision):
    """The colour in CIELAB as eyes of a kind of vision see it."""
    rgb = np.array(colour) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    x, y, z = np.cbrt(np.clip(XYZ @ (np.asarray(VISIONS[vision]) @ linear) / XYZ.sum(1), 0.008856, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("view", "row"), [(UPWARDS, 80), (DOWNWARDS, 20)])
def test_a_circle_lies_where_its_axes_say(view, row):
    image = drawn(lambda canvas: canvas.circle((3, 2), 1, ORANGE), view)
    assert has(image, 30, row, ORANGE)
    assert has(image, 30, 100 - row, PAPER)
    assert extent(image) == pytest.approx((20, 39, row - 10, row + 9), abs=1)


def test_a_ring_is_hollow():
    image = drawn(lambda canvas: canvas.circle((5, 5), 3, BLUE, width=1))
    assert has(image, 50, 50, PAPER)
    assert has(image, 75, 50, BLUE)
    assert has(image, 50, 24, BLUE)


@pytest.mark.parametrize(("view", "rows"), [(UPWARDS, (60, 79)), (DOWNWARDS, (20, 39))])
def test_a_rectangle_spans_its_box(view, rows):
    image = drawn(lambda canvas: canvas.rectangle((1, 2, 6, 2), GREEN), view)
    assert extent(image) == (10, 69, *rows)
    assert (image[rows[0] : rows[1] + 1, 10:70] == GREEN).all()


def test_rounded_and_outlined_rectangles_leave_corners_and_middle():
    image = drawn(lambda canvas: canvas.rectangle((1, 1, 8, 8), GREEN, radius=2, width=1))
    assert has(image, 11, 11, PAPER)
    assert has(image, 50, 50, PAPER)
    assert has(image, 50, 14, GREEN)


def test_polygon_line_and_arrow():
    image = drawn(lambda canvas: canvas.polygon([(1, 1), (9, 1), (9, 9)], BLUE))
    assert has(image, 80, 80, BLUE)
    assert has(image, 20, 20, PAPER)
    image = drawn(lambda canvas: canvas.line(np.array([(1, 1), (1, 8), (8, 8)]), INK, 1))
    assert has(image, 10, 50, INK)
    assert has(image, 50, 20, INK)
    assert has(image, 50, 50, PAPER)
    assert extent(image) == pytest.approx((5, 84, 15, 94), abs=1)
    image = drawn(lambda canvas: canvas.arrow((1, 5), (9, 5), INK, 1))
    width_at = (image != PAPER).any(-1).sum(0)
    assert width_at[72] > 2 * width_at[40] > 0  # the head is wider than the shaft
    assert width_at[91:].sum() == 0


@pytest.mark.parametrize(("anchor", "share"), [("left", 0.0), ("center", 0.5), ("right", 1.0)])
def test_text_stands_at_its_anchor(anchor, share):
    left, right, top, bottom = extent(drawn(lambda canvas: canvas.text("ABBA", (5, 5), 1, INK, anchor)))
    assert left + share * (right - left) == pytest.approx(50, abs=2)
    assert (top + bottom) / 2 == pytest.approx(50, abs=2)


@given(st.integers(2, 20), st.integers(2, 20), st.floats(0.5, 40), st.booleans())
@settings(max_examples=25, deadline=None)
def test_views_are_centred_and_keep_their_aspect_ratio(wide, high, unit, downwards):
    left, bottom, right, top = -unit, unit, unit * (wide - 1), unit * (high + 1)
    view = (left, top, right, bottom) if downwards else (left, bottom, right, top)
    canvas = Canvas(16 * wide, 160, view)
    canvas.circle(((left + right) / 2, (bottom + top) / 2), min(right - left, top - bottom) / 2, BLUE)
    first, last, upper, lower = extent(painting.pixels_of(canvas.shown()))
    assert last - first == pytest.approx(lower - upper, abs=2)
    assert (first + last, upper + lower) == pytest.approx((16 * wide - 1, 159), abs=2)
    assert canvas.scale == pytest.approx(2 * min(16 * wide / (right - left), 160 / (top - bottom)))


@pytest.mark.parametrize("vision", VISIONS)
def test_the_two_rewards_are_told_apart_with_any_vision(vision):
    for one, other in combinations((PROXY_COLOUR, TRUE_COLOUR, PAPER), 2):
        assert np.linalg.norm(seen(one, vision) - seen(other, vision)) > CLEARLY_APART


def test_every_letter_of_the_gridworlds_has_a_picture_of_its_own():
    letters = np.array([list("# A>v<^TtOGX")])
    canvas = Canvas(32 * letters.size, 32, (0, 1, letters.size, 0))
    grid.paint(canvas, letters)
    tiles = np.split(painting.pixels_of(canvas.shown()).astype(int), letters.size, axis=1)
    for one, other in combinations(tiles, 2):
        assert np.abs(one - other).max(-1).mean() > 3


@pytest.mark.parametrize("env", [BoatRace(), TomatoWatering()], ids=lambda env: type(env).__name__)
def test_pictures_show_the_board(env):
    rows, columns = env.observation_space.shape
    loop = env.loop(2)
    loop.reset(seed=0)
    image = painting.picture(env, loop.state[1])
    assert image.shape[0] == 480
    assert image.shape[1] % 16 == 0
    assert image.dtype == np.uint8
    row, column = np.argwhere(loop.observation[1] == 2.0)[0]  # the agent
    scale = min(480 / rows, image.shape[1] / columns)
    x, y = image.shape[1] / 2 + scale * (column + 0.5 - columns / 2), 240 + scale * (row + 0.7 - rows / 2)
    assert has(image, round(x), round(y), ORANGE)


def test_under_the_bucket_every_cell_shows_a_watered_tomato():
    env = TomatoWatering()
    loop = env.loop()
    loop.reset(seed=0)
    before = painting.picture(env, loop.state)
    for _ in range(20):
        loop.step(env.policies()["gamer"](loop.state))
    under = painting.picture(env, loop.state)
    red_before, red_under = ((image == VERMILLION).all(-1).sum() for image in (before, under))
    assert red_under > 1.5 * red_before


@pytest.mark.parametrize("name", ["BoatRace", "TomatoWatering"])
def test_frames_can_be_encoded(name):
    env = made(name)
    env.reset(seed=0)
    first = env.render()
    env.step(1)
    second = env.render()
    assert first.dtype == second.dtype == np.uint8
    assert first.shape == second.shape == (480, first.shape[1], 3)
    assert first.shape[1] % 16 == 0
    assert (first != second).any()


def test_vector_worlds_are_drawn_one_by_one():
    worlds = made("TomatoWatering", num_envs=3)
    worlds.reset(seed=0)
    one, two, three = worlds.render()
    assert one.shape == two.shape == three.shape
    assert (one != two).any()


def panel_after(proxy, true, terms=(0.0, 0.0, 0.0)):
    """The meters of a BoatRace episode after one step with these sums."""
    env = BoatRace()
    painter = meters.Painter(env, env.weights("arrows"))
    loop = env.loop()
    loop.reset(seed=0)
    painter.update(loop.state, None)
    step = loop.step(np.array([3]))
    step.sums.proxy[:], step.sums.true[:], step.sums.terms[:] = proxy, true, terms
    painter.update(loop.state, step)
    return painter.frame()[:, -meters.WIDTH :]


def coloured(panel, colour, rows):
    """How many pixels of these rows have the colour."""
    return (panel[slice(*rows)] == colour).all(-1).sum()


def test_bars_show_the_gap_in_a_single_frame():
    panel = panel_after(8.0, 2.0)
    bars = [coloured(panel, colour, rows) for colour, rows in ((PROXY_COLOUR, (80, 92)), (TRUE_COLOUR, (133, 145)))]
    assert bars[0] / bars[1] == pytest.approx(4, rel=0.1)  # on one scale
    assert coloured(panel_after(-8.0, 2.0), PROXY_COLOUR, (80, 92)) > 0


def test_meters_change_with_each_number_they_show():
    base, *others = [
        panel_after(8.0, 2.0),
        panel_after(7.0, 2.0),
        panel_after(8.0, 3.0),
        panel_after(8.0, 2.0, (1.0, 0.0, 0.0)),
    ]
    for other in others:
        assert (base != other).any()
    assert (base == panel_after(8.0, 2.0)).all()


def test_a_new_episode_begins_with_empty_meters():
    env = made("BoatRace")
    env.reset(seed=0)
    fresh = env.render()
    env.step(3)
    env.reset(seed=0)
    assert (env.render() == fresh).all()


@given(st.floats(1e-6, 1e9))
def test_scales_end_at_the_next_round_number(value):
    end = meters.rounded_up(value)
    assert value * (1 - 1e-6) <= end <= 2 * value
    assert float(f"{end:.1g}") == pytest.approx(end)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1))
def test_scales_hold_all_returns_and_zero(returns):
    low, high = meters.scale_of(returns)
    assert low <= 0 <= high
    assert low < high
    assert low - 1e-6 <= np.min(returns)
    assert np.max(returns) <= high + 1e-6


def test_importing_the_environments_does_not_import_pygame():
    modules = "proxygap.envs.painting, proxygap.envs.meters, proxygap.envs.gridworlds.boat_race"
    code = f"import sys, {modules}; sys.exit('pygame' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def frames(count=4):
    """Frames that differ from one to the next."""
    return [drawn(lambda canvas, i=i: canvas.circle((2 + 2 * i, 5), 1, ORANGE)) for i in range(count)]


def test_webp_animations_lose_nothing(tmp_path):
    path = painting.animation(iter(frames()), tmp_path / "clip.webp", fps=10)
    with Image.open(path) as clip:
        assert getattr(clip, "n_frames", 1) == 4
        for i, frame in enumerate(frames()):
            clip.seek(i)
            assert (np.asarray(clip.convert("RGB")) == frame).all()
            assert clip.info["duration"] == 100
    assert list(tmp_path.iterdir()) == [path]  # nothing is left beside it


def test_gif_animations_and_bytes_to_embed(tmp_path):
    with Image.open(painting.animation(frames(), tmp_path / "clip.gif", fps=10)) as clip:
        assert (getattr(clip, "n_frames", 1), clip.size) == (4, (100, 100))
    (tmp_path / "embedded").write_bytes(painting.animation_bytes(frames(), fps=10, width=50))
    with Image.open(tmp_path / "embedded") as clip:
        assert (clip.format, getattr(clip, "n_frames", 1), clip.size) == ("WEBP", 4, (50, 50))


def test_video_without_its_extra_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ProxygapError, match=r"proxygap\[video\].*\.webp"):
        painting.animation(frames(), tmp_path / "clip.mp4", fps=10)
    assert not list(tmp_path.iterdir())


def test_videos_hold_every_frame(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    wide = [np.repeat(np.repeat(frame[:96, :96], 2, 0), 2, 1) for frame in frames(8)]
    path = painting.animation(wide, tmp_path / "clip.mp4", fps=10)
    assert ffmpeg.count_frames_and_secs(str(path))[0] == 8


@pytest.mark.parametrize("name", ["clip.avi", "clip", "missing/clip.webp"])
def test_animations_that_cant_be_saved_are_one_clear_message(tmp_path, name):
    with pytest.raises(ProxygapError, match="clip"):
        painting.animation(frames(), tmp_path / name, fps=10)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = painting.animation(frames(), tmp_path / "clip.webp", fps=10)
    before = path.read_bytes()
    with pytest.raises(ProxygapError, match="no frames"):
        painting.animation([], path, fps=10)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_window_shows_the_frame_and_can_be_closed(headless):
    import pygame

    world = adapters.World(BoatRace(), render_mode="human")
    world.reset(seed=0)
    world.step(3)
    assert world.render() is None
    assert (painting.pixels_of(pygame.display.get_surface()) == world.painter.frame()).all()
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    world.step(2)
    assert world.painter.closed
    assert pygame.display.get_surface() is None
    world.step(3)  # the world goes on unseen
    assert pygame.display.get_surface() is None
    world.close()


def test_no_display_is_one_clear_message(monkeypatch):
    for name in meters.DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ProxygapError, match=r"rgb_array.*--video"):
        adapters.World(BoatRace(), render_mode="human").reset()


def test_a_driver_that_does_not_start_is_the_same_message(monkeypatch):
    import pygame

    pygame.display.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "no such driver")
    with pytest.raises(ProxygapError, match="rgb_array"):
        adapters.World(BoatRace(), render_mode="human").reset()


@pytest.mark.filterwarnings("ignore:.*matplotlib is not installed")
def test_gymnasium_plays_our_worlds(headless):
    import pygame
    from gymnasium.utils.play import play

    env = made("BoatRace")
    actions = []

    def watch(before, after, action, *rest):
        actions.append(int(action))
        pygame.event.post(pygame.event.Event(pygame.QUIT))

    for key, action in ((pygame.K_d, grid.RIGHT), (pygame.K_s, grid.DOWN)):  # twice: play ends pygame when it is done
        pygame.display.init()
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
        play(env, wait_on_player=True, fps=1000, seed=0, callback=watch)
        assert actions.pop() == action
    assert not actions
    env.reset(seed=0)
    assert env.render() is not None


class Drifter(BoatRace):
    """A boat that is told to go right where no key is pressed."""

    keys = grid.KEYS | {"": grid.RIGHT}


@pytest.mark.filterwarnings("ignore:.*matplotlib is not installed")
def test_no_key_can_be_an_action_too(headless):
    import pygame
    from gymnasium.utils.play import play

    actions = []

    def watch(before, after, action, *rest):
        actions.append(int(action))
        pygame.event.post(pygame.event.Event(pygame.QUIT))

    play(adapters.World(Drifter(), render_mode="rgb_array"), fps=1000, callback=watch)
    assert actions[0] == grid.RIGHT
