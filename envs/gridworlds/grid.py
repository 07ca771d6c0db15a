"""What gridworlds share: boards of characters, moves, and how to draw them.

A board is a list of rows of characters; a cell is its index in reading order. Actions are the peer's: up, down, left, right.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from gymnasium import spaces

from ..batch import Array, Draws
from ..core import ProxyEnv, ProxygapError, State
from ..tabular import tabulate
from .pieces import Look, paint

UP, DOWN, LEFT, RIGHT = range(4)
MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])  # row, column
KEYS = {"w": UP, "s": DOWN, "a": LEFT, "d": RIGHT}


def characters(board: Sequence[str]) -> Array:
    """A board as an array of single characters, [rows, columns]."""
    return np.array([list(row) for row in board])


def cell(board: Sequence[str], character: str) -> int:
    """The one cell that shows `character`."""
    return int(np.flatnonzero(characters(board).ravel() == character)[0])


def moves(board: Sequence[str], wall: str = "#") -> Array:
    """[cells, 4] the cell that each action leads to; walls are bumped into, and hold nobody."""
    grid = characters(board)
    places = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 1, 2)
    row, column = np.moveaxis(np.clip(places + MOVES, 0, np.array(grid.shape) - 1), -1, 0)
    target = np.ravel_multi_index((row, column), grid.shape)
    here = np.arange(grid.size)[:, None]
    return np.where((grid[row, column] == wall) | (grid.ravel() == wall)[:, None], here, target)


def routes(target: Array) -> Array:
    """[cells, cells] the action that leads from the first cell the shortest way to the second; `target` as `moves` gives it."""
    steps = np.where(np.eye(len(target), dtype=bool), 0.0, np.inf)
    for _ in target:
        steps = np.minimum(steps, 1.0 + steps[target].min(1))
    return steps[target].argmin(1)


Form = Literal["board", "flat", "planes", "index"]
FORMS = ("board", "flat", "planes", "index")
S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Gridworld(ProxyEnv[S]):
    """A world that looks like a board of letters: a subclass gives `values`, its letters' numbers, and `shown`.

    `form` is what is observed: the "board" as the peer's numbers, [rows, columns]; the same "flat"; "planes", 0 or 1 for each
    letter, [letters, rows, columns], as CNNs want it; or, where boards are few, the board's "index" among all that there are.
    """

    form: Form = field(default="board", kw_only=True)

    values: ClassVar[Mapping[str, float]]  # letter -> the number that stands for it
    look: ClassVar[Look] = {}  # how letters are drawn that `pieces` does not know, or draws otherwise
    action_space = spaces.Discrete(4)
    horizon = 100
    keys = KEYS

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ProxygapError(f"form {self.form!r}: allowed are {', '.join(FORMS)}")

    @abstractmethod
    def shown(self, state: S) -> Array:
        """What every cell shows, [B, rows, columns] whole numbers: 0 for the first letter of `values`, 1 for the second, ..."""

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the board."""
        rows, columns = self.shown(self.initial(1, Draws.seeded(np.zeros(1, int)))).shape[1:]
        return rows, columns

    @cached_property
    def letters(self) -> Array:
        """[letters] the characters that `shown` numbers."""
        return np.array(list(self.values))

    @cached_property
    def numbers(self) -> Array:
        """[letters] float32, what stands for each in the forms "board" and "flat"."""
        return np.array(list(self.values.values()), np.float32)

    @cached_property
    def view(self) -> tuple[float, float, float, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        rows, columns = self.shape
        return 0.0, rows, columns, 0.0

    @cached_property
    def observation_space(self) -> spaces.Space[Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        rows, columns = self.shape
        if self.form == "index":
            return spaces.Discrete(len(self.boards))
        if self.form == "planes":
            return spaces.Box(0, 1, (len(self.letters), rows, columns), np.uint8)
        shape = (rows, columns) if self.form == "board" else (rows * columns,)
        return spaces.Box(self.numbers.min(), self.numbers.max(), shape, np.float32)

    def observation(self, state: S) -> Array:
        """The board in the chosen form."""
        return self.formed(self.shown(state))

    def formed(self, shown: Array) -> Array:
        """Boards as `shown` gives them, [B, rows, columns], in the chosen form."""
        if self.form == "index":
            return np.array([self.boards[board.tobytes()] for board in shown.astype(np.uint8)], np.int64)
        if self.form == "planes":
            return (shown[:, None] == np.arange(len(self.letters))[:, None, None]).astype(np.uint8)
        return self.numbers.take(shown).reshape(len(shown), *(self.observation_space.shape or ()))

    @cached_property
    def boards(self) -> Mapping[bytes, int]:
        """Every board that an episode can show, and its index. Raises ProxygapError where the world can't be tabulated."""
        shown = self.shown(tabulate(replace(self, form="board")).states).astype(np.uint8)
        return {board.tobytes(): index for index, board in enumerate(np.unique(shown, axis=0))}

    def picture(self, state: S) -> Array:
        """The first world's board as characters, [rows, columns]."""
        return self.letters[self.shown(state[:1])[0]]

    def text(self, state: S) -> str | None:
        """The first world's board, row by row."""
        return "\n".join(map("".join, self.picture(state)))

    def draw(self, state: S, canvas: Any) -> None:
        """The first world's board, with a picture for every letter."""
        paint(canvas, self.picture(state), self.look)


class Pictured(Gridworld[S]):
    """A gridworld that can look in few ways only: a subclass draws them beforehand, and says which one is seen."""

    pictures: Array  # [pictures, rows, columns] every board there is, as numbers of letters

    @abstractmethod
    def seen(self, state: S) -> Array:
        """The number of the picture that each world shows, [B]."""

    def shown(self, state: S) -> Array:
        """The picture that is seen, [B, rows, columns]."""
        return self.pictures.take(self.seen(state), 0)

    def observation(self, state: S) -> Array:
        """The picture in the chosen form."""
        return self.formed(self.shown(state)) if self.form == "index" else self._formed_pictures.take(self.seen(state), 0)

    @cached_property
    def _formed_pictures(self) -> Array:
        return self.formed(self.pictures)


def with_agent(board: Array, values: Mapping[str, float]) -> Array:
    """A board of characters with the agent in every cell in turn, [cells, rows, columns], as numbers of letters."""
    empty = numbered(np.where(board == "A", " ", board), values)
    drawn = np.repeat(empty[None], board.size, 0)
    drawn.reshape(board.size, -1)[np.diag_indices(board.size)] = list(values).index("A")
    return drawn


def revealed(state: S, hidden: str, when: Array) -> list[tuple[Array, S]]:
    """The ways a step can go: `when` [B] says where the field `hidden`, a chance [B] until then, turns out to be 1 or 0."""
    chance = getattr(state, hidden)
    one, zero = (replace(state, **{hidden: np.full(len(state), side)}) for side in (1.0, 0.0))
    return [(when * chance, one), (when * (1.0 - chance), zero), (1.0 - when, state)]


def numbered(board: Array, values: Mapping[str, float]) -> Array:
    """Characters as the numbers of their letters, in the order of `values`."""
    return np.vectorize(list(values).index, otypes=[np.uint8])(board)
