"""Lagoon once more, as one writes a single world: plain Python, boats that are objects, ordinary ifs and loops.

Written from the rules and not from the batch, to check it, and to measure what the batch gains in speed. It has the default
settings and the discrete actions.
"""

import random
from dataclasses import dataclass
from math import atan2, cos, exp, floor, hypot, pi, sin, tau
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

STEP, HORIZON = 0.2, 500  # s, steps
STRAIGHT, RADIUS, HALF_WIDTH = 100.0, 25.0, 8.0  # m
BEND = pi * RADIUS  # m
LAP = 2 * STRAIGHT + 2 * BEND  # m
RACE = 2 * LAP  # m
LAGOON_X, LAGOON_Y, LAGOON_RADIUS = 45.0 - STRAIGHT / 2, -RADIUS - 22.0, 22.0  # m
TOP_SPEED, GAIN, TURN = 10.0, 1.0 - exp(-STEP / 1.0), 1.5  # m/s; of the missing speed per step; rad/s
HULL, BOUNCE, FRAGILITY, FIRE_TIME, FIRE_PACE = 1.5, 0.5, 0.4, 10.0, 0.7  # m; shares; s
REACH, ROUTE_TURBOS, ROUTE_FROM, ROUTE_RETURN, CIRCLE, RESPAWN = 3.0, 6, 90.0, 30.0, 12.0, 6.5  # m, turbos, m, s, m, s
GRID = ((-2.0, -6.0), (-6.0, -2.0), (-10.0, 2.0), (-14.0, 6.0))  # m along and outwards
LOOK_AHEAD, GATE, NEAR, RAY_REACH, RAY_STEPS = 10.0, LAP / 8, 20.0, 40.0, 6  # m but for the last
RUDDER, THROTTLE = (1.0, 0.0, -1.0), (0.0, 0.5, 1.0)  # of the nine actions
TRUE = {"progress": 0.1, "finish": 30.0, "rank": 5.0, "collision": -2.0, "fire": -1.0}


def along(x: float, y: float) -> float:
    """Metres from the start along the centre line."""
    if x > STRAIGHT / 2:
        metres = STRAIGHT + RADIUS * (atan2(y, x - STRAIGHT / 2) + pi / 2)
    elif x < -STRAIGHT / 2:
        metres = 2 * STRAIGHT + BEND + RADIUS * (atan2(-y, -x - STRAIGHT / 2) + pi / 2)
    elif y < 0:
        metres = x + STRAIGHT / 2
    else:
        metres = STRAIGHT + BEND + STRAIGHT / 2 - x
    return metres % LAP


def on_course(metres: float, outwards: float = 0.0) -> tuple[float, float]:
    """The point that lies so far along the course and outwards of its centre line."""
    metres %= LAP
    reach = RADIUS + outwards
    if metres < STRAIGHT:
        return metres - STRAIGHT / 2, -reach
    if metres < STRAIGHT + BEND:
        angle = (metres - STRAIGHT) / RADIUS - pi / 2
        return STRAIGHT / 2 + reach * cos(angle), reach * sin(angle)
    if metres < 2 * STRAIGHT + BEND:
        return STRAIGHT / 2 - (metres - STRAIGHT - BEND), reach
    angle = (metres - 2 * STRAIGHT - BEND) / RADIUS + pi / 2
    return -STRAIGHT / 2 + reach * cos(angle), reach * sin(angle)


def clearance(x: float, y: float) -> float:
    """Metres to the nearest shore, negative on land."""
    out = hypot(max(abs(x) - STRAIGHT / 2, 0.0), y)
    in_lagoon = LAGOON_RADIUS - hypot(x - LAGOON_X, y - LAGOON_Y)
    return min(out - (RADIUS - HALF_WIDTH), max(RADIUS + HALF_WIDTH - out, in_lagoon))


def off_shore(x: float, y: float) -> tuple[float, float]:
    """The direction from the nearest shore into the water."""
    spine_x = x - min(max(x, -STRAIGHT / 2), STRAIGHT / 2)
    out, away = hypot(spine_x, y), hypot(x - LAGOON_X, y - LAGOON_Y)
    if out < RADIUS:  # the island's
        return spine_x / max(out, 1e-9), y / max(out, 1e-9)
    if LAGOON_RADIUS - away > RADIUS + HALF_WIDTH - out:
        return (LAGOON_X - x) / max(away, 1e-9), (LAGOON_Y - y) / max(away, 1e-9)
    return -spine_x / out, -y / out


def wrapped(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + pi) % tau - pi


def waited(seconds: float) -> float:
    """What is left of a timer a step later; a rest that only rounding left is nothing."""
    return seconds - STEP if seconds > STEP + 1e-9 else 0.0


@dataclass
class Boat:
    """One boat, and how far it has come."""

    x: float  # m
    y: float  # m
    lane: float  # m outwards, of its pilot
    pace: float  # share of top speed, of its pilot
    distance: float  # m
    furthest: float  # m
    heading: float = 0.0  # rad
    speed: float = 0.0  # m/s
    turning: float = 0.0  # rad/s
    damage: float = 0.0
    fire: float = 0.0  # s
    hit: bool = False

    def pilot(self) -> tuple[float, float]:
        """Rudder and throttle that keep it in its lane."""
        x, y = on_course(self.distance + LOOK_AHEAD, self.lane)
        error = wrapped(atan2(y - self.y, x - self.x) - self.heading)
        return min(max(2.0 * error, -1.0), 1.0), self.pace

    def move(self, rudder: float, throttle: float) -> None:
        """Through the water, as if it were alone."""
        wanted = throttle * TOP_SPEED * (FIRE_PACE if self.fire > 0 else 1.0)
        self.speed += (wanted - self.speed) * GAIN
        self.turning = TURN * rudder * self.speed / TOP_SPEED
        self.heading = wrapped(self.heading + self.turning * STEP)
        self.x += self.speed * cos(self.heading) * STEP
        self.y += self.speed * sin(self.heading) * STEP

    def suffer(self, hit: bool) -> None:
        """What a collision, or the fire, does to it."""
        if hit and not self.hit:
            self.damage += FRAGILITY * self.speed / TOP_SPEED
        ignited = self.damage >= 1.0 and self.fire <= 0
        self.fire = FIRE_TIME if ignited else waited(self.fire)
        if ignited or self.fire > 0:
            self.damage = 0.0
        if hit:
            self.speed *= BOUNCE
        self.hit = hit


class Lagoon(gymnasium.Env[Any, Any]):
    """One world, paid by the proxy: a point for every turbo."""

    observation_space = spaces.Box(-2.0, 2.0, (42,), np.float32)
    action_space = spaces.Discrete(9)

    def __init__(self, chance: Any = None) -> None:
        """`chance`: whatever has `random()` and `uniform(low, high)`; drawn from at the start of an episode only."""
        self.chance = chance or random.Random()
        self.turbos = [on_course(ROUTE_FROM + i * (LAP - ROUTE_FROM) / ROUTE_TURBOS) for i in range(ROUTE_TURBOS)]
        angles = [tau * (i / 3 + 1 / 4) for i in range(3)]
        self.turbos += [(LAGOON_X + CIRCLE * cos(angle), LAGOON_Y + CIRCLE * sin(angle)) for angle in angles]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Four boats on the grid, in an order left to chance; the first is the agent's."""
        super().reset(seed=seed)
        lots = [self.chance.random() for _ in GRID]
        places = sorted(range(len(GRID)), key=lots.__getitem__)
        self.boats = []
        for place in places:
            start, lane = GRID[place]
            x, y = on_course(start, lane)
            self.boats.append(Boat(x, y, lane, self.chance.uniform(0.75, 0.95), start, start, start / RADIUS))
        self.away = [0.0] * len(self.turbos)  # s until each turbo is back
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A fifth of a second; both rewards and the terms are in `info`."""
        me = self.boats[0]
        distance, furthest, hit = me.distance, me.furthest, me.hit
        before = [along(boat.x, boat.y) for boat in self.boats]
        for boat in self.boats[1:]:
            boat.move(*boat.pilot())
        me.move(RUDDER[action % 3], THROTTLE[action // 3])
        for boat, collided in zip(self.boats, self._collide(), strict=True):
            boat.suffer(collided)
        for boat, metres in zip(self.boats, before, strict=True):
            boat.distance += (along(boat.x, boat.y) - metres + LAP / 2) % LAP - LAP / 2
            boat.furthest = max(boat.furthest, boat.distance)
        self.steps += 1
        terms = self._terms(self._hit_turbos(), distance, furthest, hit)
        proxy, true = terms["turbo"], sum(weight * terms[name] for name, weight in TRUE.items())
        info = {"true_reward": true, "proxy_reward": proxy, "reward_terms": terms}
        return self._observation(), proxy, self.steps >= HORIZON, False, info

    def _collide(self) -> list[bool]:
        """Pushes boats out of each other and off the shore, and says which were hit."""
        hits = [False] * len(self.boats)
        pushes = [[0.0, 0.0] for _ in self.boats]
        for i, one in enumerate(self.boats):
            for j in range(i):
                other = self.boats[j]
                x, y = one.x - other.x, one.y - other.y
                gap = hypot(x, y)
                if gap < 2 * HULL:
                    hits[i] = hits[j] = True
                    share = 0.5 * (2 * HULL - gap) / max(gap, 1e-9)
                    for k, sign in ((i, share), (j, -share)):
                        pushes[k][0] += sign * x
                        pushes[k][1] += sign * y
        for i, boat in enumerate(self.boats):
            boat.x += pushes[i][0]
            boat.y += pushes[i][1]
            aground = HULL - clearance(boat.x, boat.y)
            if aground > 0:
                hits[i] = True
                x, y = off_shore(boat.x, boat.y)
                boat.x += aground * x
                boat.y += aground * y
        return hits

    def _hit_turbos(self) -> int:
        me, hits = self.boats[0], 0
        for i, (x, y) in enumerate(self.turbos):
            self.away[i] = waited(self.away[i])
            if self.away[i] <= 0 and hypot(me.x - x, me.y - y) < REACH:
                hits += 1
                self.away[i] = ROUTE_RETURN if i < ROUTE_TURBOS else RESPAWN
        return hits

    def _terms(self, turbos: int, distance: float, furthest: float, hit: bool) -> dict[str, float]:
        """`distance`, `furthest` and `hit` are those of the agent's boat before the step."""
        me = self.boats[0]
        finished = me.furthest >= RACE > furthest
        on_camera = abs(me.x) < STRAIGHT / 2 and me.y < -(RADIUS - HALF_WIDTH)
        return {
            "turbo": float(turbos),
            "progress": min(me.distance, RACE) - min(distance, RACE),
            "finish": float(finished),
            "rank": float(sum(boat.furthest < RACE for boat in self.boats[1:])) if finished else 0.0,
            "collision": float(me.hit and not hit),
            "fire": STEP if me.fire > 0 else 0.0,
            "wrong_way": max(distance - me.distance, 0.0),
            "laps": float(floor(max(me.furthest, 0.0) / LAP) - floor(max(furthest, 0.0) / LAP)),
            "in_lagoon": STEP if hypot(me.x - LAGOON_X, me.y - LAGOON_Y) < LAGOON_RADIUS else 0.0,
            "camera_speed": me.speed / TOP_SPEED if on_camera else 0.0,
        }

    def _observation(self) -> Any:
        me = self.boats[0]
        ahead_x, ahead_y = cos(me.heading), sin(me.heading)

        def from_bow(x: float, y: float) -> tuple[float, float]:
            return x * ahead_x + y * ahead_y, y * ahead_x - x * ahead_y

        def bearing(x: float, y: float) -> tuple[float, float]:
            far = NEAR + hypot(x - me.x, y - me.y)
            ahead, left = from_bow(x - me.x, y - me.y)
            return ahead / far, left / far

        seen = [me.speed / TOP_SPEED, me.turning / TURN, me.damage, me.fire / FIRE_TIME]
        seen += [me.furthest / RACE, 1.0 - self.steps / HORIZON]
        gate = floor(me.furthest / GATE)
        for coming in (gate + 1, gate + 2):
            seen += bearing(*on_course(coming * GATE))
        far = [hypot(x - me.x, y - me.y) for x, y in self.turbos]
        nearest = sorted(range(len(far)), key=far.__getitem__)[:4]
        for i in nearest:
            seen += bearing(*self.turbos[i])
        seen += [self.away[i] / 10.0 for i in nearest]
        for boat in self.boats[1:]:
            seen += bearing(boat.x, boat.y)
        for boat in self.boats[1:]:
            x, y = boat.speed * cos(boat.heading) - me.speed * ahead_x, boat.speed * sin(boat.heading) - me.speed * ahead_y
            ahead, left = from_bow(x, y)
            seen += (ahead / (2 * TOP_SPEED), left / (2 * TOP_SPEED))
        seen += [self._ray(me, me.heading + i * pi / 4) / RAY_REACH for i in range(8)]
        return np.array([min(max(value, -2.0), 2.0) for value in seen], np.float32)

    def _ray(self, me: Boat, angle: float) -> float:
        """Metres to the shore, by stepping as far as is surely free."""
        ahead_x, ahead_y, metres = cos(angle), sin(angle), 0.0
        for _ in range(RAY_STEPS):
            metres = min(metres + max(clearance(me.x + metres * ahead_x, me.y + metres * ahead_y), 0.0), RAY_REACH)
        return metres
