"""How the traffic worlds are drawn: roads from above, as functions of plain arrays.

The agent's cars are orange; everybody else's colour is their speed. A car that stands shows red lights. Cars and lanes are
drawn wider than they are, or one would hardly see them.
"""

import numpy as np

from .batch import Array
from .car_following import ARC
from .painting import BLUE, GRASS, INK, ORANGE, PAPER, PURPLE, SKY, STONE, VERMILLION, Canvas, Colour, blend

LANE, WIDTH, BODY = 6.0, 3.4, 5.0  # m
ASPHALT, PAINT = blend(STONE, INK, 0.45), blend(PAPER, STONE, 0.25)
STANDING = 0.5  # m/s
SCALE_OF_SPEED = (PURPLE, PAPER, SKY, BLUE)  # from standing to as fast as people like
FAR = 400.0  # m, beyond the picture's edges


def colour_of(share: float) -> Colour:
    """The colour of a speed that is this share of what people like."""
    place = min(max(share, 0.0), 1.0) * (len(SCALE_OF_SPEED) - 1)
    lower = min(int(place), len(SCALE_OF_SPEED) - 2)
    return blend(SCALE_OF_SPEED[lower], SCALE_OF_SPEED[lower + 1], place - lower)


def draw_car(canvas: Canvas, front: Array, heading: float, colour: Colour, stands: bool) -> None:
    """A car seen from above: body, windscreen, and red lights if it stands."""
    ahead = np.array([np.cos(heading), np.sin(heading)])
    aside = np.array([-ahead[1], ahead[0]]) * WIDTH / 2

    def across(begin: float, end: float, share: float) -> list[Array]:
        near, far = front - begin * ahead, front - end * ahead
        return [near + share * aside, far + share * aside, far - share * aside, near - share * aside]

    canvas.polygon(across(-0.35, BODY + 0.35, 1.2), INK)
    canvas.polygon(across(0.0, BODY, 1.0), colour)
    canvas.polygon(across(1.3, 2.3, 0.75), blend(colour, INK, 0.6))
    if stands:
        canvas.polygon(across(BODY - 0.9, BODY + 0.35, 1.2), VERMILLION)


def draw_cars(canvas: Canvas, fronts: Array, headings: Array, speed: Array, cars: int, top: float) -> None:
    """Cars at points [M, 2]; the first `cars` are the agent's. `top`: the speed that people like, m/s."""
    for i in reversed(range(len(fronts))):
        colour = ORANGE if i < cars else colour_of(float(speed[i]) / top)
        draw_car(canvas, fronts[i], float(headings[i]), colour, bool(speed[i] < STANDING))


def draw_legend(canvas: Canvas, left: float, middle: float, top: float, size: float) -> None:
    """What the colours mean, on one line of letters `size` m high that begins at `left`."""
    canvas.text("0", (left, middle), size, INK, "right")
    steps = 40
    for i in range(steps):
        canvas.rectangle((left + 2.0 + i, middle - 2.0, 1.2, 4.0), colour_of((i + 0.5) / steps))
    canvas.text(f"{top:.0f} m/s", (left + steps + 5.0, middle), size, INK, "left")
    draw_car(canvas, np.array([left + steps + 43.0, middle]), 0.0, ORANGE, False)
    canvas.text("the agent's", (left + steps + 47.0, middle), size, INK, "left")


# The merge


def on_ramp(before: Array) -> tuple[Array, Array]:
    """The point [..., 2] on the ramp so many metres before it meets the highway at (0, 0), and the heading there, rad.

    Its last part is an arc; before that it is straight, at 45 degrees.
    """
    turned = np.minimum(before / ARC, np.pi / 4)
    straight = np.maximum(before - ARC * np.pi / 4, 0.0) * np.sqrt(0.5)
    return np.stack([-ARC * np.sin(turned) - straight, -ARC * (1.0 - np.cos(turned)) - straight], -1), turned


def draw_merge_roads(canvas: Canvas, camera: float) -> None:
    """The highway from left to right, the ramp that joins it from below, and what the local camera sees of both."""
    canvas.fill(GRASS)
    ramp, _ = on_ramp(np.linspace(0.0, 200.0, 60))
    highway = np.array([(-FAR, 0.0), (FAR, 0.0)])
    seen = on_ramp(np.linspace(0.0, camera, 30))[0]
    for width, colour in ((LANE + 1.2, PAINT), (LANE, ASPHALT)):
        canvas.line(ramp, colour, width)
        canvas.line(highway, colour, width)
    for part in (seen, np.array([(-camera, 0.0), (camera, 0.0)])):
        canvas.line(part, blend(ASPHALT, SKY, 0.3), LANE)


# The bottleneck

STRIP, ROWS, APART = 330.0, 3, 62.0  # m of road in a strip; strips, from the top; m between their middles
TAPER = 40.0  # m in which lanes come together
MIDDLE = np.array([0.0, 0.0, 0.5, -0.5, 1.5, 0.5, -0.5, -1.5]) * LANE  # m to the left of the road's middle, of lanes 0 to 7


def on_strips(metres: Array, across: Array) -> Array:
    """The point [..., 2] that lies `metres` along the road, and `across` m to the left of its middle."""
    row = np.clip(np.floor(metres / STRIP), 0, ROWS - 1)
    return np.stack([metres - STRIP * row, ((ROWS - 1) / 2 - row) * APART + across], -1)


def middle_of(lane: Array, metres: Array, end: Array) -> Array:
    """[...] m to the left of the road's middle, of lanes that lead over to the next shortly before they end."""
    over = np.clip(1.0 - (end[lane] - metres) / TAPER, 0.0, 1.0)
    return MIDDLE[lane] + (MIDDLE[lane // 2] - MIDDLE[lane]) * over * (lane > 1)


def draw_bottleneck_road(canvas: Canvas, end: Array) -> None:
    """A road of four, two and one lanes, whose lanes 1 to 7 end at `end` [8] m, in strips one below the other."""
    canvas.fill(GRASS)
    for row in range(ROWS):
        metres = np.linspace(row * STRIP, min((row + 1) * STRIP, end[1]), 200)
        along = np.minimum(metres, (row + 1) * STRIP - 1e-6)  # its end is not yet the next strip
        for wider, colour in ((0.6, PAINT), (0.0, ASPHALT)):
            draw_surface(canvas, along, end, wider, colour)
    for lanes in ((4, 5), (5, 6), (6, 7), (2, 3)):
        draw_line_between(canvas, *lanes, end)
    for border in range(1, ROWS):  # the road goes on in the next strip
        (right, upper), (left, lower) = on_strips(border * STRIP + np.array([-1e-6, 0.0]), np.zeros(2))
        canvas.arrow((right + 2.0, upper), (right + 9.0, upper), INK, 1.4)
        canvas.arrow((left - 9.0, lower), (left - 2.0, lower), INK, 1.4)


def draw_surface(canvas: Canvas, metres: Array, end: Array, wider: float, colour: Colour) -> None:
    """The road's surface at `metres` [M] of one strip, `wider` on both sides."""
    lane = np.select([metres < end[4], metres < end[2]], [4, 2], 1)  # the leftmost
    half = middle_of(lane, metres, end) + LANE / 2 + wider
    canvas.polygon(np.concatenate([on_strips(metres, half), on_strips(metres, -half)[::-1]]), colour)


def draw_line_between(canvas: Canvas, left: int, right: int, end: Array) -> None:
    """The broken line between two lanes, as far as they lie apart."""
    begin = 0.0 if left > 3 else end[4]
    for metres in np.arange(begin + 6.0, end[left] - TAPER, 12.0):
        dash = np.array([metres, metres + 4.0])
        if dash[0] // STRIP == dash[1] // STRIP:
            canvas.line(on_strips(dash, (MIDDLE[left] + MIDDLE[right]) / 2), PAINT, 0.7)
