"""The water of the Lagoon world: a stadium-shaped course round an island, with a lagoon opening off its first straight.

Everything is a function of points `[..., 2]` in metres. The course runs anticlockwise; it starts where the southern straight
begins, and `along` measures metres from there on the centre line.
"""

from dataclasses import dataclass

import numpy as np

from .batch import Array

STRAIGHT = 100.0  # m
RADIUS = 25.0  # m, of the centre line in the bends
HALF_WIDTH = 8.0  # m
LAP = 2.0 * STRAIGHT + 2.0 * np.pi * RADIUS  # 357 m
LAGOON_RADIUS = 22.0  # m
LAGOON_ALONG = 45.0  # m after the start
RAY_REACH = 40.0  # m
RAY_STEPS = 6  # of sphere tracing (Hart 1996): a ray stops short of a shore, never beyond it


def length(vector: Array) -> Array:
    """[..., 2] to [...]; the same bits for one world as for many."""
    return np.sqrt(vector[..., 0] ** 2 + vector[..., 1] ** 2)


def direction(angle: Array) -> Array:
    """Unit vectors [..., 2]."""
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _from_spine(point: Array) -> Array:
    """[..., 2] from the nearest point of the segment that the stadium is built round."""
    x, y = point[..., 0], point[..., 1]
    return np.stack([x - np.minimum(np.maximum(x, -STRAIGHT / 2), STRAIGHT / 2), y], -1)


def along(point: Array) -> Array:
    """Metres from the start along the centre line, [0, LAP)."""
    from_spine = _from_spine(point)
    spine = point[..., 0] - from_spine[..., 0]
    turned = (np.arctan2(from_spine[..., 1], from_spine[..., 0]) + np.pi / 2) % (2 * np.pi)  # 0 in the south, pi in the north
    straight = np.where(turned < np.pi, spine + STRAIGHT / 2, 1.5 * STRAIGHT - spine)
    return (straight + RADIUS * turned) % LAP


def centre_line(metres: Array, offset: Array | float = 0.0) -> Array:
    """The point [..., 2] that lies `metres` along the course, `offset` metres outwards of its centre line."""
    reach, half_laps = RADIUS + offset, np.floor(metres / (LAP / 2))
    half = metres - half_laps * (LAP / 2)  # the second half of a lap is the first, turned round
    turned = np.maximum(half - STRAIGHT, 0.0) / RADIUS - np.pi / 2
    spine = np.minimum(half, STRAIGHT) - STRAIGHT / 2
    point = np.stack([spine + reach * np.cos(turned), reach * np.sin(turned)], -1)
    return (1.0 - 2.0 * (half_laps % 2.0))[..., None] * point


def outwards(point: Array) -> Array:
    """[...] metres outwards of the centre line."""
    return length(_from_spine(point)) - RADIUS


@dataclass(frozen=True)
class Water:
    """Where boats can go. `offset`: metres from the centre line out to the lagoon's centre."""

    offset: float

    @property
    def lagoon(self) -> Array:
        """The lagoon's centre, [2] m."""
        return np.array([LAGOON_ALONG - STRAIGHT / 2, -RADIUS - self.offset])

    def clearance(self, point: Array) -> Array:
        """[...] metres to the nearest shore, negative on land; never more than the true distance."""
        return self._clearance(point[..., 0], point[..., 1])

    def _clearance(self, x: Array, y: Array) -> Array:
        out = np.sqrt(np.maximum(np.abs(x) - STRAIGHT / 2, 0.0) ** 2 + y**2)
        centre_x, centre_y = self.lagoon
        in_lagoon = LAGOON_RADIUS - np.sqrt((x - centre_x) ** 2 + (y - centre_y) ** 2)
        return np.minimum(out - (RADIUS - HALF_WIDTH), np.maximum(RADIUS + HALF_WIDTH - out, in_lagoon))

    def off_shore(self, point: Array) -> Array:
        """Unit vectors [..., 2] pointing from the nearest shore into the water."""
        spine, centre = _from_spine(point), point - self.lagoon
        out, away = length(spine), length(centre)
        outward = spine / np.maximum(out, 1e-9)[..., None]
        to_lagoon = -centre / np.maximum(away, 1e-9)[..., None]
        from_outer = np.where((LAGOON_RADIUS - away > RADIUS + HALF_WIDTH - out)[..., None], to_lagoon, -outward)
        return np.where((out < RADIUS)[..., None], outward, from_outer)

    def rays(self, point: Array, angle: Array) -> Array:
        """[..., n] metres from points [..., 2] to the shore in directions `angle` [..., n], up to RAY_REACH."""
        x, y, east, north = point[..., :1], point[..., 1:], np.cos(angle), np.sin(angle)
        distance = np.zeros(angle.shape)
        for _ in range(RAY_STEPS):
            clearance = self._clearance(x + distance * east, y + distance * north)
            distance = np.minimum(distance + np.maximum(clearance, 0.0), RAY_REACH)
        return distance
