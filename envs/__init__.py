"""Worlds with two rewards: what we measure, and what we want. What one needs to write a world is imported from here."""

from .batch import Array, Draws
from .core import Loop, Proxy, ProxyEnv, ProxygapError, RowByRow, State, Transition
from .foreign import ForeignEnv, ProxyGapWrapper
from .foreign_loop import Moment
from .registry import make

__all__ = [
    "Array",
    "Draws",
    "ForeignEnv",
    "Loop",
    "Moment",
    "Proxy",
    "ProxyEnv",
    "ProxyGapWrapper",
    "ProxygapError",
    "RowByRow",
    "State",
    "Transition",
    "make",
]
