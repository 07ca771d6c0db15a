"""Cars that follow one another on lanes that meet: the physics that the traffic worlds share.

Cars stand in fixed slots, those that the agent controls in the first. Lanes are numbered as a heap is: beyond its end lane q
goes on as lane q // 2. So lane 1 is the last, and 0 is no lane, that of an empty slot.

Everybody follows the car ahead in the lane. Shortly before two lanes meet one also follows the car ahead in the other lane, at
a distance that may be the shorter the further the lanes are still apart. So cars take turns like the teeth of a zipper: first
come, first served. All cars of a batch are moved as one list, in which empty slots have no place.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .batch import Array
from .core import State

LENGTH = 5.0  # m, of a car (Treiber et al., table I; SUMO's default)
AWAY, FREE = -1e9, 1e9  # m, where an empty slot's car is, and the car ahead of one that has none
SPAN = 1e5  # m, longer than any road
CLOSEST = 0.1  # m, the least gap that is divided by
ZIPPER = 100.0  # m before two lanes meet their cars begin to take turns
ARC = 50.0  # m, the radius of the arc on which lanes meet: d metres before that they are d^2 / (2 ARC) apart
SAFE_BRAKING, REACTION = 4.5, 1.0  # m/s^2 and s, for the safe speed: what Flow tells SUMO by default (`decel`, `tau`)


@dataclass(frozen=True)
class Driver:
    """The Intelligent Driver Model with exponent 4 and s1 = 0; its parameters in the order of the paper's table I.

    Treiber, Hennecke and Helbing 2000, "Congested traffic states in empirical observations and microscopic simulations",
    Physical Review E 62, 1805, section II.
    """

    desired_speed: float  # v0, m/s; here also the fastest that anyone drives
    headway: float  # T, s
    acceleration: float  # a, m/s^2
    braking: float  # b, m/s^2
    jam_gap: float  # s0, m

    def desired_gap(self, speed: Array, approach: Array) -> Array:
        """s* = s0 + max(0, v T + v dv / (2 sqrt(a b))), m, where `approach` dv is how fast the gap closes, m/s."""
        anticipation = 0.5 / np.sqrt(self.acceleration * self.braking)
        return self.jam_gap + np.maximum(speed * (self.headway + anticipation * approach), 0.0)

    def accelerate(self, speed: Array, gap: Array, approach: Array) -> Array:
        """dv/dt = a (1 - (v / v0)^4 - (s* / s)^2), m/s^2."""
        pace = speed * (1.0 / self.desired_speed)
        closeness = self.desired_gap(speed, approach)
        closeness /= np.maximum(gap, CLOSEST)
        closeness *= closeness
        for _ in range(2):
            pace *= pace
        pace += closeness
        return self.acceleration * (1.0 - pace)

    def equilibrium_gap(self, speed: Array) -> Array:
        """s* / sqrt(1 - (v / v0)^4), m: the gap at which a platoon keeps this speed."""
        return self.desired_gap(speed, np.zeros_like(speed)) / np.sqrt(1.0 - (speed / self.desired_speed) ** 4)


def safe_speed(gap: Array, speed_ahead: Array) -> Array:
    """The speed, m/s, from which a car can still stop behind the one ahead if that brakes (Krauss 1998, equation 4.8)."""
    lost = SAFE_BRAKING * REACTION
    return np.sqrt(np.maximum(lost * lost + speed_ahead * speed_ahead + 2.0 * SAFE_BRAKING * gap, lost * lost)) - lost


@dataclass
class Traffic(State):
    position: Array  # [B, N] m along the road, of the front bumper
    speed: Array  # [B, N] m/s
    lane: Array  # [B, N] int, 0 in an empty slot
    line: Array  # [B, N] int, all slots in a line: lane after lane, the foremost car first, and the empty ones last
    leaders: Array  # [B, 2, N] int, slots of the car ahead in the lane and of that ahead where lanes meet; N for none
    crashed: Array  # [B] bool, a car has run into another

    @property
    def alive(self) -> Array:
        """[B, N] bool, slots that hold a car."""
        return self.lane > 0


def unsorted(position: Array, speed: Array, lane: Array) -> Traffic:
    """Traffic of cars [B, N] that is still to be arranged."""
    batch, slots = lane.shape
    line, leaders = np.tile(np.arange(slots), (batch, 1)), np.full((batch, 2, slots), slots)
    return Traffic(position, speed, lane, line, leaders, np.zeros(batch, bool))


def sort(line: Array, queue: Array, position: Array) -> Array:
    """The slots of a `line` [B, N] sorted by queue, and within a queue from the front. Quick where few have to move."""
    begin = line.shape[1] * np.arange(len(line))[:, None]
    order = (queue * SPAN - position).take(line + begin).argsort(1, kind="stable")
    return line.take(order + begin)


def look_up(values: Array, nobody: float, slots: Array) -> Array:
    """`values` [B, N] of the cars in `slots` [B, ...]; `nobody` where the slot is N."""
    batch, width = len(values), values.shape[1] + 1
    padded = np.empty((batch, width), values.dtype)
    padded[:, :-1], padded[:, -1] = values, nobody
    return padded.take(slots + (width * np.arange(batch)).reshape(-1, *[1] * (slots.ndim - 1)))


def gap_ahead(position: Array, leader: Array) -> Array:
    """[B, K] m from the first K cars to the car ahead of each; about FREE where there is none."""
    return look_up(position, FREE, leader) - position[:, : leader.shape[1]] - LENGTH


def neighbours(traffic: Traffic, lane: Array) -> tuple[Array, Array]:
    """Slots [B, K, L] of the cars ahead of and behind each of the first K cars in lanes [B, K, L]; N for none.

    In its own lane a car also sees who is ahead beyond the lane's end.
    """
    (batch, slots), cars = traffic.lane.shape, lane.shape[1]
    begin = np.arange(batch)[:, None, None]
    place = (traffic.lane * SPAN - traffic.position).take(traffic.line + slots * begin[:, 0])  # along the line
    before = (place[:, None, None] < (lane * SPAN - traffic.position[:, :cars, None])[..., None]).sum(3)  # how many are
    own = lane == traffic.lane[:, :cars, None]
    line = np.full((batch, slots + 2), slots)
    line[:, 1:-1] = traffic.line
    found = (line.take(before + far + (slots + 2) * begin) for far in (0, 1 + own))
    ahead, behind = (np.where(look_up(traffic.lane, -2, slot) == lane, slot, slots) for slot in found)
    return np.where(own, traffic.leaders[:, 0, :cars, None], ahead), behind


@dataclass
class Pairs:
    """Who follows whom: cars numbered through all worlds of a batch, so that empty slots cost nothing."""

    cars: Array  # [M] where each car is in the flattened slots [B * N]
    follower: Array  # [P] the number of a car: first every car, then once more those where lanes meet
    leader: Array  # [P] the number of a car that it follows; M for nobody
    end: Array  # [P - M] m, where the lanes of the latter meet

    def look(self, driver: Driver, position: Array, speed: Array) -> tuple[Array, Array]:
        """What people would do, [M] m/s^2, and the safe speed [M]. The last of positions and speeds [M + 1] is nobody's."""
        cars, meeting = len(self.cars), self.follower[len(self.cars) :]
        ahead, own, speed_ahead = position[self.leader], speed[self.follower], speed[self.leader]
        to_go = np.maximum(self.end - ahead[cars:], 0.0)
        gap = ahead
        gap -= position[self.follower]
        gap -= LENGTH
        gap[cars:] += to_go * to_go * (0.5 / ARC)  # there is room beside a car as long as the lanes are apart
        change, limit = driver.accelerate(own, gap, own - speed_ahead), safe_speed(gap, speed_ahead)
        for values in (change, limit):
            values[meeting] = np.minimum(values[meeting], values[cars:])
        return change[:cars], limit[:cars]


@dataclass(frozen=True)
class Road:
    """Lanes that meet two by two, and how people drive there."""

    ends: tuple[float, ...]  # m, where lanes 1, 2, ... end
    driver: Driver

    @cached_property
    def end(self) -> Array:
        """[lanes + 1] m, where each lane ends; the cars of lane 0 never get there."""
        return np.array([1e6, *self.ends])

    def arrange(self, traffic: Traffic) -> None:
        """Writes into `traffic` who stands where in the line, and who follows whom."""
        lane, position = traffic.lane, traffic.position
        traffic.line = sort(traffic.line, lane, position)
        meeting = (position > self.end[lane] - ZIPPER) & (lane > 1)
        queue = np.where(meeting, lane // 2, lane)
        leaders = self._leaders(traffic.line, lane), self._leaders(sort(traffic.line, queue, position), queue)
        traffic.leaders = np.stack(leaders, 1)

    def _leaders(self, line: Array, queue: Array) -> Array:
        """[B, N] the slot ahead in the queue of each; the first of a queue follows the last of the one that it leads to."""
        (batch, slots), width = line.shape, len(self.ends) + 2
        row = np.arange(batch)[:, None]
        place, nobody = line + slots * row, width - 1
        queue = queue.take(place)
        last = np.full((batch, width), slots)  # of the empty slots, of each queue, and of nobody
        last.ravel()[queue + width * row] = line  # of several the last remains
        for q in range(2, nobody):
            last[:, q] = np.where(last[:, q] == slots, last[:, q // 2], last[:, q])
        leads_to = np.array([nobody, nobody, *(q // 2 for q in range(2, nobody))])
        ahead = last.take(leads_to[queue] + width * row)
        follows = (queue[:, 1:] == queue[:, :-1]) & (queue[:, 1:] > 0)
        ahead[:, 1:] = np.where(follows, line[:, :-1], ahead[:, 1:])
        leader = np.empty_like(ahead)
        leader.ravel()[place] = ahead
        return leader

    def pairs(self, traffic: Traffic) -> Pairs:
        """Who follows whom in `traffic`."""
        batch, slots = traffic.lane.shape
        alive = traffic.alive
        cars = np.flatnonzero(alive)
        number = np.full((batch, slots + 1), len(cars))
        number[:, :-1][alive] = np.arange(len(cars))
        world = np.repeat((slots + 1) * np.arange(batch), alive.sum(1))  # where the car's world begins in `number`
        own, other = (number.take(world + traffic.leaders[:, i].take(cars)) for i in (0, 1))
        lane = traffic.lane.take(cars)
        meeting = np.flatnonzero((other < len(cars)) & (np.append(lane, -1)[other] != lane))
        follower, leader = np.append(np.arange(len(cars)), meeting), np.append(own, other[meeting])
        return Pairs(cars, follower, leader, self.end[lane[meeting]])

    def accelerations(self, traffic: Traffic) -> Array:
        """[B, N] m/s^2, what people would do in every car; 0 in empty slots."""
        pairs, change = self.pairs(traffic), np.zeros(traffic.lane.shape)
        np.put(change, pairs.cars, pairs.look(self.driver, *self._cars(traffic, pairs))[0])
        return change

    def drive(self, traffic: Traffic, command: Array, step: float, steps: int, failsafe: bool = True) -> Traffic:
        """The traffic after so many steps of `step` s; the first cars accelerate as `command` [B, K] m/s^2 says.

        Nobody drives faster than the safe speed, so that nobody runs into the car ahead; without `failsafe` the first cars may.
        Positions follow speeds as in SUMO: x += v step, with the new speed. Line and leaders are those of before.
        """
        pairs, driven = self.pairs(traffic), traffic.alive[:, : command.shape[1]]
        (position, speed), command = self._cars(traffic, pairs), command[driven]
        controlled = np.flatnonzero(pairs.cars % traffic.lane.shape[1] < driven.shape[1])
        hit = np.zeros(len(pairs.cars), bool)
        for _ in range(steps):
            change, limit = pairs.look(self.driver, position, speed)
            change[controlled] = command
            if not failsafe:
                limit[controlled] = self.driver.desired_speed
            limit = np.minimum(limit, self.driver.desired_speed)
            speed[:-1] = np.minimum(np.maximum(speed[:-1] + step * change, 0.0), limit)
            position[:-1] += step * speed[:-1]
            if not failsafe:
                hit |= position[pairs.leader[: len(hit)]] - position[:-1] < LENGTH
        after = self._in_slots(traffic, pairs, position[:-1], speed[:-1])
        after.crashed[pairs.cars[hit] // traffic.lane.shape[1]] = True
        return after

    def _cars(self, traffic: Traffic, pairs: Pairs) -> tuple[Array, Array]:
        """Positions and speeds [M + 1] of all cars, and of nobody."""
        position, speed = traffic.position.take(pairs.cars), traffic.speed.take(pairs.cars)
        return np.append(position, FREE), np.append(speed, self.driver.desired_speed)

    def _in_slots(self, traffic: Traffic, pairs: Pairs, position: Array, speed: Array) -> Traffic:
        """Cars [M] back in their slots: those beyond the end of their lane are in the next, or have left."""
        lane = traffic.lane.take(pairs.cars)
        lane = np.where(position >= self.end[lane], lane // 2, lane)
        gone = lane == 0
        after = Traffic(
            traffic.position.copy(),
            traffic.speed.copy(),
            traffic.lane.copy(),
            traffic.line,
            traffic.leaders,
            traffic.crashed.copy(),
        )
        np.put(after.position, pairs.cars, np.where(gone, AWAY, position))
        np.put(after.speed, pairs.cars, np.where(gone, 0.0, speed))
        np.put(after.lane, pairs.cars, lane)
        return after
