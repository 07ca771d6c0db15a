"""What the traffic worlds share beside the physics: settings, controlled cars and what they see, inflows, collisions.

Both worlds are after Pan, Bhatia and Steinhardt 2022, "The effects of reward misspecification: mapping and mitigating
misaligned models" (arXiv:2201.03544), which runs them in Flow and SUMO. Here `car_following` takes SUMO's place.
docs/worlds/traffic.md sets states, equations and constants beside the source's, and lists what differs.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from .batch import Array, Draws
from .car_following import AWAY, FREE, LENGTH, Road, Traffic, gap_ahead, look_up, neighbours, unsorted
from .core import ProxyEnv, ProxygapError, Transition

HOUR = 3600.0  # s


@dataclass
class Scene(Traffic):
    """Traffic in which some cars are controlled: those in the first slots."""

    left: Array  # [B] cars that have left so far
    noise: Array  # [B, cars, numbers] standard normal, for what is observed of each controlled car


T = TypeVar("T", bound=Scene)


@dataclass(frozen=True)
class Entrance:
    """Where cars come onto the road, and how fast."""

    place: float  # m
    speed: float  # m/s


@dataclass
class Around:
    """The cars ahead of and behind others, [B, cars, lanes] each. Where there is none, the gap is longer than any road."""

    gap: Array  # m to the car ahead
    faster: Array  # m/s, the car ahead than this one; a free road moves as fast as people like
    gap_behind: Array  # m
    slower: Array  # m/s, the car behind than this one; where there is none, it stands

    def seen(self, road: Road, furthest: float) -> Array:
        """[B, cars, lanes, 4] the same, in units of the desired speed and of `furthest` m, as far as one sees."""
        top = road.driver.desired_speed
        near, near_behind = (np.minimum(gap, furthest) / furthest for gap in (self.gap, self.gap_behind))
        return np.stack([self.faster / top, near, self.slower / top, near_behind], -1)


@dataclass(frozen=True)
class TrafficEnv(ProxyEnv[T]):
    """Traffic on a `road` with up to `cars` controlled cars. A subclass says what is `seen` of each, and what is `measured`."""

    noise: float = 0.0  # standard deviation, in what is observed
    levels: int = 0  # accelerations that there are, evenly spaced; 0: any
    failsafe: bool = True  # keeps controlled cars from collisions

    road: ClassVar[Road]
    cars: ClassVar[int]
    strongest: ClassVar[float]  # m/s^2, that controlled cars accelerate or brake

    def __post_init__(self) -> None:
        if not 0 <= self.noise < np.inf:
            raise ProxygapError(f"noise={self.noise}: it must be a standard deviation, 0 or more")
        if self.levels < 0 or self.levels == 1:
            raise ProxygapError(f"levels={self.levels}: allowed are 0 (any acceleration), or 2 and more")

    @abstractmethod
    def seen(self, state: T) -> Array:
        """[B, cars, numbers] what is seen of each controlled car, without noise; 1 is much."""

    @abstractmethod
    def measured(self, t: Transition[T]) -> dict[str, Array]:
        """The terms of a step without a collision."""

    def observation(self, state):
        seen = self.seen(state) + self.noise * state.noise
        return np.clip(seen * state.alive[:, : self.cars, None], -1.0, 1.0).astype(np.float32)

    def terms(self, t: Transition[T]):
        sound = ~t.next_state.crashed  # a collision costs all that the step would have brought, as in the source
        return {name: sound * values for name, values in self.measured(t).items()}

    def terminal(self, state):
        return state.crashed

    def command(self, share: Array) -> Array:
        """[B, cars] m/s^2 that shares in [-1, 1] of the strongest acceleration ask for."""
        if self.levels:
            half = (self.levels - 1) / 2.0
            share = np.round((share + 1.0) * half) / half - 1.0
        return self.strongest * share.astype(float)

    def as_people_drive(self, state: T) -> Array:
        """[B, cars] the shares with which controlled cars drive as people do, as far as they can."""
        wanted = self.road.accelerations(state)[:, : self.cars] / self.strongest
        return np.clip(wanted, -1.0, 1.0).astype(np.float32)

    def around(self, state: Traffic, lane: Array) -> Around:
        """The cars ahead of and behind the controlled ones in lanes [B, cars, L]."""
        ahead, behind = neighbours(state, lane)
        position, speed = state.position[:, : self.cars, None], state.speed[:, : self.cars, None]
        return Around(
            look_up(state.position, FREE, ahead) - position - LENGTH,
            look_up(state.speed, self.road.driver.desired_speed, ahead) - speed,
            position - LENGTH - look_up(state.position, 2.0 * AWAY, behind),
            speed - look_up(state.speed, 0.0, behind),
        )

    def enter(self, traffic: Traffic, wanted: Array, lane: Array, entrance: Entrance, controlled: Array) -> Array:
        """Lets one car into each world that wants it and has room; [B] bool, where one has come. Writes into `traffic`.

        There is room once the gap is as wide as a driver desires. Where no slot is free for one more `controlled` car, a person
        drives it.
        """
        row, free = np.arange(len(traffic)), ~traffic.alive
        last = np.where(traffic.lane == lane[:, None], traffic.position, FREE).argmin(1)
        empty = traffic.lane[row, last] != lane
        gap = np.where(empty, FREE, traffic.position[row, last] - LENGTH - entrance.place)
        approach = np.where(empty, 0.0, entrance.speed - traffic.speed[row, last])
        own, person = free[:, : self.cars].argmax(1), self.cars + free[:, self.cars :].argmax(1)
        slot = np.where(controlled & free[row, own], own, person)
        room = gap >= self.road.driver.desired_gap(np.array(entrance.speed), approach)
        comes = wanted & room & free[row, slot]
        row, slot = row[comes], slot[comes]
        traffic.position[row, slot], traffic.speed[row, slot] = entrance.place, entrance.speed
        traffic.lane[row, slot] = lane[comes]
        return comes

    def fresh(self, position: Array, speed: Array, lane: Array, rng: Draws) -> dict[str, Any]:
        """What a scene holds, by name, when an episode begins with these cars [B, slots]."""
        return self.scene(unsorted(position, speed, lane), np.zeros(len(lane)), rng)

    def scene(self, traffic: Traffic, left: Array, rng: Draws) -> dict[str, Any]:
        """What a scene holds, by name, once cars have moved, changed lanes, entered and left."""
        self.road.arrange(traffic)
        traffic.crashed = traffic.crashed | (gap_ahead(traffic.position, traffic.leaders[:, 0]) < 0.0).any(1)
        shape = len(left), *(self.observation_space.shape or ())
        noise = rng.normal(size=shape) if self.noise else np.zeros(shape)
        return vars(traffic) | {"left": left, "noise": noise}


def mean(values: Array, cars: Array) -> Array:
    """[B] the mean of `values` [B, N] over some `cars` [B, N]; 0 where there are none."""
    return (values * cars).sum(1) / np.maximum(cars.sum(1), 1)


def arrivals(per_hour: Array | float, step: float, chance: Array) -> Array:
    """How many cars come in a step of `step` s: whole numbers that are right on average; `chance` is uniform in [0, 1)."""
    return np.floor(per_hour * (step / HOUR) + chance)
