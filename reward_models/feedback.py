"""What people or teachers say about behaviour, cut from stored episodes, as records that can be joined, split and shared.

Comparisons, ratings, catastrophe labels and demonstrations are the same thing: stretches of behaviour, seen without rewards and
hidden states, with at most a number each. They are indexed, joined and stored by the same code. A stored file is safetensors:
loading it runs no code. It carries a sha256 of its content, so that a shared file can be checked, and it can be frozen, so that
nothing is saved over it.
"""

import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from ..envs.batch import Array, Batch
from ..envs.core import ProxygapError, Segments

FORMAT = "1"


@dataclass
class Stretches(Batch):
    """N stretches of T steps with what they were worth: what a teacher judges, and a learner must never see whole."""

    segments: Segments
    true: Array  # [N, T] true reward
    terms: Array  # [N, T, n]

    def pairs(self, number: int, rng: np.random.Generator) -> tuple[Self, Self]:
        """`number` pairs of two different stretches, all used equally often (to within one round): none twice up to N/2 pairs.

        Raises ProxygapError for fewer than two stretches, or no pair.
        """
        half = len(self) // 2
        if half < 1 or number < 1:
            raise ProxygapError(f"{number} pairs of {len(self)} stretches: at least 1 pair and 2 stretches are needed")
        rounds = [rng.permutation(len(self))[: 2 * half].reshape(half, 2) for _ in range(-(-number // half))]
        first, second = np.concatenate(rounds)[:number].T
        return self[first], self[second]


def places(segments: Segments, length: int) -> Array:
    """In how many places of each whole episode a stretch of `length` steps may begin, [N]."""
    return np.maximum(segments.valid.sum(1) - length + 1, 0)


def cut(segments: Segments, true: Array, terms: Array, length: int, number: int, rng: np.random.Generator) -> Stretches:
    """`number` different stretches of exactly `length` steps, every one that the episodes hold being equally likely.

    `segments` holds whole episodes, padded at their end; `true` is `[N, T]`, `terms` `[N, T, n]`. Shorter episodes have none to
    give. Raises ProxygapError where all are shorter, where there are fewer than `number`, and for values that are not finite.
    """
    _check_steps(segments, true, terms)
    steps, begins = segments.valid.sum(1), places(segments, length)
    if length < 1 or not begins.any():
        raise ProxygapError(f"stretches of {length} steps: the longest of {len(steps)} episodes has {steps.max(initial=0)}")
    if not 1 <= number <= begins.sum():
        raise ProxygapError(f"{number} stretches of {length} steps: these episodes hold {begins.sum()} different ones")
    chosen, before = rng.choice(begins.sum(), number, replace=False), begins.cumsum()
    row = np.searchsorted(before, chosen, side="right")
    start = chosen - (before - begins)[row]
    window = row[:, None], start[:, None] + np.arange(length)
    origin = {"episode": segments.episode[row], "start": segments.start[row] + start}
    steps = _segments(segments.arrays()).arrays()
    seen = {name: array[window] for name, array in steps.items() if name not in origin}
    return Stretches(_segments(seen | origin), true[window], terms[window])


def _check_steps(segments: Segments, true: Array, terms: Array) -> None:
    shape = segments.valid.shape
    if np.shape(true) != shape or np.shape(terms)[:2] != shape or np.ndim(terms) != 3:
        raise ProxygapError(f"true rewards {np.shape(true)} and terms {np.shape(terms)} of {shape} steps: they must fit")
    check_finite(segments.arrays() | {"true": true, "terms": terms})


def check_finite(arrays: Mapping[str, Array]) -> None:
    """Raises ProxygapError, naming the array and the row, where a number is not finite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            row = int(np.argwhere(~finite)[0, 0])
            raise ProxygapError(f"{name!r} is not finite in row {row} ({array[row][~finite[row]].flat[0]}): leave that row out")


def _segments(arrays: Mapping[str, Array], prefix: str = "") -> Segments:
    """Segments of the arrays so named, and nothing else: a subclass may know the true reward beside."""
    return Segments(**{part.name: arrays[prefix + part.name] for part in fields(Segments)})


class Feedback:
    """Base of dataclasses of N rows in one environment, `env` its name; all other fields are `Segments`, or numbers `[N]`.

    Raises ProxygapError where rows don't fit each other, and for numbers that are not finite or not within `allowed`.
    """

    env: str
    allowed: ClassVar[Mapping[str, tuple[float, float]]] = {}  # lowest and highest of a field

    def __post_init__(self) -> None:
        for name, column in self._columns().items():
            setattr(self, name, _segments(column.arrays()) if isinstance(column, Segments) else np.asarray(column, float))
        rows = {name: array.shape[:1] if "." in name else array.shape for name, array in self.arrays().items()}
        if len(set(rows.values())) != 1 or () in rows.values():
            raise ProxygapError(f"the rows of {type(self).__name__} don't fit each other: {rows}")
        check_finite(self.arrays())
        for name, (low, high) in self.allowed.items():
            if ((values := getattr(self, name)) < low).any() or (values > high).any():
                raise ProxygapError(f"{name!r} from {values.min()} to {values.max()}: allowed is {low} to {high}")

    def _columns(self) -> dict[str, Any]:
        return {name: column for name, column in vars(self).items() if name != "env"}

    def __len__(self) -> int:
        return len(next(iter(self.arrays().values())))

    def __getitem__(self, rows: Any) -> Self:
        """The rows (an index, a slice, a mask or indices) as a record of their own."""
        rows = [rows] if isinstance(rows, int | np.integer) else rows
        return type(self)(**{name: column[rows] for name, column in self._columns().items()} | {"env": self.env})

    def arrays(self) -> dict[str, Array]:
        """Every array by its dotted name."""
        found: dict[str, Array] = {}
        for name, column in self._columns().items():
            found |= column.arrays(f"{name}.") if isinstance(column, Segments) else {name: column}
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, Array], env: str) -> Self:
        """The inverse of `arrays`. Raises KeyError where one is missing."""
        kinds = {name: kind for name, kind in cls.__annotations__.items() if name != "env"}
        columns = {name: _segments(arrays, f"{name}.") if kind is Segments else arrays[name] for name, kind in kinds.items()}
        return cls(**columns | {"env": env})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All rows of several records. Raises ProxygapError for none, for other environments and for other shapes."""
        if not parts:
            raise ProxygapError(f"no {cls.__name__} to join: give at least one record")
        if len(envs := {part.env for part in parts}) > 1:
            raise ProxygapError(f"{cls.__name__} of several environments can't be joined: {', '.join(sorted(envs))}")
        for name in parts[0].arrays():
            if len(shapes := {part.arrays()[name].shape[1:] for part in parts}) > 1:
                raise ProxygapError(f"{cls.__name__} of several shapes can't be joined: {name!r} has {sorted(shapes)} a row")
        together = {name: np.concatenate([part.arrays()[name] for part in parts]) for name in parts[0].arrays()}
        return cls.of(together, parts[0].env)

    def split(self, share: float, rng: np.random.Generator) -> tuple[Self, Self]:
        """Two records, to train on and held out; `share` of the rows, by chance, are held out: at least one, and not all."""
        if not 0 < share < 1 or len(self) < 2:
            raise ProxygapError(f"holding out {share} of {len(self)} rows: give a share between 0 and 1 of at least 2 rows")
        order = rng.permutation(len(self))
        held = min(max(round(share * len(self)), 1), len(self) - 1)
        return self[order[held:]], self[order[:held]]

    def sha256(self) -> str:
        """A fingerprint of the kind, the environment and every number; the same wherever and however often it is stored."""
        digest = hashlib.sha256(f"{type(self).__name__} {self.env}".encode())
        for name, array in sorted(self.arrays().items()):
            digest.update(f" {name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str], *, frozen: bool = False) -> None:
        """Stores the record, the whole file or nothing. Nothing but the same content is ever saved over a `frozen` file.

        Raises ProxygapError where it can't write, or would change a frozen file or one of which it can't tell.
        """
        path, about = Path(path), {"kind": type(self).__name__, "env": self.env, "sha256": self.sha256()}
        old = _header(path)
        if old.get("frozen") == "yes" and old.get("sha256") != about["sha256"]:
            raise ProxygapError(f"{path} is frozen and holds something else: choose another name")
        about |= {"format": FORMAT, "frozen": "yes" if frozen or old.get("frozen") == "yes" else "no"}
        write(path, to_bytes({name: np.ascontiguousarray(array) for name, array in self.arrays().items()}, about), "feedback")

    @classmethod
    def load(cls, path: str | os.PathLike[str], sha256: str | None = None) -> Self:
        """What `save` stored, verified; with `sha256`, only that very content.

        Raises ProxygapError for a file that is missing, damaged, of another kind, not a feedback file, or not the one meant.
        """
        try:
            with safe_open(path, "numpy") as file:
                about, arrays = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if (kind := about.get("kind")) != cls.__name__ or about.get("format") != FORMAT:
                raise ProxygapError(f"it holds {kind or 'no feedback'}, in format {about.get('format', 'unknown')}")
            found = cls.of(arrays, about["env"])
            if found.sha256() != about["sha256"]:
                raise ProxygapError("its content (sha256) has changed since it was written")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ProxygapError(f"can't read {cls.__name__} from {path} ({error}): give a file that `save` wrote") from error
        if sha256 is not None and sha256 != about["sha256"]:
            raise ProxygapError(f"{path} is whole but not the file that is meant: its sha256 is {about['sha256']}")
        return found


def _header(path: Path) -> dict[str, str]:
    """What a stored file says of itself; nothing where there is none. Raises ProxygapError for one it can't read."""
    try:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except OSError:
        return {}
    except SafetensorError as error:
        raise ProxygapError(f"{path} holds no feedback, or is damaged ({error}): delete it, or choose another name") from error


def write(path: Path, data: bytes, what: str) -> None:
    """Writes beside and renames, so that `path` holds its old content or all of the new. Raises ProxygapError."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            with open(beside := Path(folder) / path.name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
    except OSError as error:
        raise ProxygapError(f"can't write {what} to {path} ({error}): give a path that can be written") from error


@dataclass
class Comparisons(Feedback):
    """N answers to the question which of two stretches is better."""

    allowed = {"label": (0.0, 1.0)}
    first: Segments
    second: Segments
    label: Array  # [N] the probability that the first is better: 1, 0.5 (undecided) or 0
    env: str

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, array in self.first.arrays().items():
            if array.shape != (other := getattr(self.second, name).shape):
                raise ProxygapError(f"the two sides of comparisons differ: {name!r} has shapes {array.shape} and {other}")

    def with_answers(self, answers: Mapping[int, float]) -> Self:
        """The same with other labels where there is an answer, by index. Raises ProxygapError for an index that is not here."""
        if unknown := sorted(set(answers) - set(range(len(self)))):
            raise ProxygapError(f"answers to comparisons {unknown}: there are {len(self)}, counted from 0")
        label = self.label.copy()
        label[list(answers)] = list(answers.values())
        return type(self)(self.first, self.second, label, self.env)


def read_answers(path: str | os.PathLike[str]) -> dict[int, float]:
    """People's labels by the index of their comparison: CSV with the columns `index,label`, or a JSON list of such objects.

    Raises ProxygapError for a file that is missing or reads otherwise, and for two answers to one question.
    """
    try:
        text = Path(path).read_text("utf-8-sig")  # spreadsheets begin their CSV with a mark
        rows = json.loads(text) if Path(path).suffix == ".json" else list(csv.DictReader(text.splitlines()))
        answers = [(int(str(row["index"])), float(row["label"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProxygapError(f"can't read answers from {path} ({error!r}): give the index and label of each") from error
    if len(found := dict(answers)) < len(answers):
        raise ProxygapError(f"{path} answers a question twice: keep one answer each")
    return found


@dataclass
class Ratings(Feedback):
    """N stretches with a mark each."""

    segments: Segments
    value: Array  # [N]
    env: str


@dataclass
class Catastrophes(Feedback):
    """N stretches with how bad a catastrophe each is; who only knows that it is one says 1."""

    allowed = {"severity": (0.0, np.inf)}
    segments: Segments
    severity: Array  # [N] in true reward, that of the worst step; 0 where there is none
    env: str

    @property
    def label(self) -> Array:
        """[N] bool, which are catastrophes."""
        return self.severity > 0


@dataclass
class Demonstrations(Feedback):
    """N stretches that show what is wanted."""

    segments: Segments
    env: str
