"""Checkpoints: everything that changes while an agent learns, on disk, so that a run goes on as if it had never stopped.

All arrays are in safetensors, all else in JSON, and nothing is unpickled: a file from a stranger can't run code. A checkpoint
is written in a folder of its own, which is then renamed; the one before it is kept. Its manifest has every file's size and
sha256. Of a replay buffer each checkpoint writes the new rows only, and links to the files that hold the old.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from ..envs.batch import Array
from ..envs.core import ProxygapError
from . import snapshots
from .runs import MANIFEST, read_json, sync_folder, write_file

FORMAT = 1
FOLDER, STEM, UNFINISHED = "checkpoint", "step-", "unfinished"
POLICY, TRAINING, NUMBERS, REPLAY = "policy.safetensors", "training.safetensors", "numbers.json", "replay-"
BUFFERS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
KEPT = 2  # checkpoints


@dataclass
class Checkpoint:
    """A whole checkpoint, read and verified, but for the replay buffer's rows, which are read when they are restored."""

    path: Path
    about: dict[str, Any]  # algo, env, spaces, files
    arrays: dict[str, Array]
    numbers: dict[str, Any]


def save(folder: Path, model: Any, loop: Any, about: Mapping[str, Any], numbers: Mapping[str, Any]) -> Path:
    """Stores the training in `folder`/checkpoint, and deletes all but the last two there.

    `about` names algo and env; `numbers` is whatever else the caller wants back. Raises ProxygapError if it can't be written.
    """
    path = folder / FOLDER / f"{STEM}{model.num_timesteps:012d}"
    earlier = _folders(folder)
    try:
        _write(path, earlier, model, loop, about, numbers)
    except OSError as error:
        kept = f"{earlier[-1].name} is untouched" if earlier else "there is none before it"
        raise ProxygapError(f"can't write the checkpoint {path} ({error}); {kept}: make room, then resume") from error
    for old in _folders(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def _write(path: Path, earlier: list[Path], model: Any, loop: Any, about: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    beside = path.with_name(UNFINISHED)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    arrays, numbers = snapshots.capture(model, loop)
    policy = {name: array for name, array in arrays.items() if name.startswith("policy/")}
    training = {name: array for name, array in arrays.items() if name not in policy}
    files = _write_replay(beside, earlier, model)
    files |= _write_member(beside / POLICY, to_bytes(policy))
    files |= _write_member(beside / TRAINING, to_bytes(training))
    files |= _write_member(beside / NUMBERS, json.dumps(numbers | dict(more)).encode())
    manifest = {"format": FORMAT, **about, "steps": model.num_timesteps, "spaces": described(loop), "files": files}
    write_file(beside / MANIFEST, json.dumps(manifest, indent=2).encode())
    sync_folder(beside)
    if path.exists():  # resumed, and stopped before the next step
        shutil.rmtree(path)
    os.replace(beside, path)
    sync_folder(path.parent)


def _write_member(path: Path, data: bytes) -> dict[str, Any]:
    write_file(path, data)
    return {path.name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}


def _folders(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((folder / FOLDER).glob(f"{STEM}*"))


def _write_replay(beside: Path, earlier: list[Path], model: Any) -> dict[str, Any]:
    """Links to the last checkpoint's files of rows that the replay buffer still holds, and writes one of all rows since."""
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return {}
    size, now = buffer.buffer_size, model.num_timesteps // model.n_envs  # a row a step
    old = read_json(earlier[-1] / MANIFEST)["files"] if earlier else {}
    files = {name: about for name, about in old.items() if name.startswith(REPLAY) and _rows(name)[1] > now - size}
    for name in files:
        _link(earlier[-1] / name, beside / name)
    start = max([now - size, 0, *(_rows(name)[1] for name in files)])
    if start < now:
        rows = np.arange(start, now) % size
        data = to_bytes({name: np.ascontiguousarray(getattr(buffer, name)[rows]) for name in BUFFERS})
        files |= _write_member(beside / f"{REPLAY}{start:012d}-{now:012d}.safetensors", data)
    return files


def _rows(name: str) -> tuple[int, int]:
    """Of a replay file's name: its first row, and the one after its last, counted from the beginning of training."""
    first, stop = name.removeprefix(REPLAY).removesuffix(".safetensors").split("-")
    return int(first), int(stop)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def latest(folder: Path) -> Checkpoint | None:
    """The last checkpoint of a run, verified, or None where there is none. Raises ProxygapError if it is damaged."""
    found = _folders(folder)
    if not found:
        return None
    try:
        return read(found[-1])
    except ProxygapError as error:
        raise ProxygapError(f"{error}; {_advice(found)}") from error


def _advice(found: list[Path]) -> str:
    try:
        read(found[-2])
    except (ProxygapError, IndexError):
        return "no other checkpoint is whole: begin the run anew in another folder"
    return f"the one before it, {found[-2].name}, is whole: delete the damaged folder to go on from there"


def read(path: Path) -> Checkpoint:
    """A checkpoint, every file of it verified. Raises ProxygapError naming the file that is missing, cut off or changed."""
    about = read_json(path / MANIFEST)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ProxygapError(f"{path / MANIFEST} is not of format {FORMAT}: another version of proxygap wrote it")
    try:
        data = {name: _verified(path, name, expected) for name, expected in about["files"].items()}
        arrays = arrays_of(path / POLICY, data[POLICY]) | arrays_of(path / TRAINING, data[TRAINING])
        return Checkpoint(path, about, arrays, json.loads(data[NUMBERS]))
    except ProxygapError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProxygapError(f"{path} is damaged: {error}") from error


def _verified(folder: Path, name: str, expected: Mapping[str, Any]) -> bytes:
    path = folder / Path(name).name  # never outside the folder
    if not path.exists():
        raise ProxygapError(f"{path} is missing from the checkpoint")
    if path.stat().st_size != expected["bytes"]:
        raise ProxygapError(f"{path} is damaged: it has {path.stat().st_size:,} bytes and had {expected['bytes']:,}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise ProxygapError(f"{path} is damaged: its content (sha256) has changed since it was written")
    return data if not name.startswith(REPLAY) else b""  # those can be large, and are read one by one when needed


def arrays_of(path: Path, data: bytes) -> dict[str, Array]:
    """The arrays in the bytes of a safetensors file. Raises ProxygapError for anything else."""
    try:
        return from_bytes(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ProxygapError(f"{path} is not a safetensors file: {error}") from error


def restore(checkpoint: Checkpoint, model: Any, loop: Any) -> None:
    """Brings a model and its loop, built with the same settings, to where the checkpoint was taken. Raises ProxygapError."""
    check_fits(checkpoint.about, loop, checkpoint.path)
    snapshots.restore(model, loop, checkpoint.arrays, checkpoint.numbers)
    if (buffer := getattr(model, "replay_buffer", None)) is None:
        return
    for name in sorted(name for name in checkpoint.about["files"] if name.startswith(REPLAY)):
        stored = arrays_of(checkpoint.path / name, (checkpoint.path / name).read_bytes())
        rows = np.arange(*_rows(name)) % buffer.buffer_size
        for kind in BUFFERS:
            getattr(buffer, kind)[rows] = stored[kind]
    now = model.num_timesteps // model.n_envs
    buffer.pos, buffer.full = now % buffer.buffer_size, now >= buffer.buffer_size


def described(loop: Any) -> dict[str, dict[str, Any]]:
    """The loop's two spaces, kind and measures, as JSON gives them back."""
    found = {}
    for name, space in (("observation", loop.observation_space), ("action", loop.action_space)):
        choices = getattr(space, "nvec", getattr(space, "n", None))
        found[name] = {"kind": type(space).__name__, "shape": list(space.shape or ()), "type": str(space.dtype)}
        found[name]["choices"] = None if choices is None else np.asarray(choices).tolist()
    return found


def check_fits(about: Mapping[str, Any], loop: Any, path: Path) -> None:
    """Raises ProxygapError, naming the difference, where a checkpoint or policy is of other spaces than the loop's."""
    for name, space in described(loop).items():
        for measure, here in space.items():
            if (stored := about["spaces"][name].get(measure)) != here:
                difference = f"whose {name} space has {measure} {stored}; here it is {here}"
                raise ProxygapError(f"{path} is of {about['env']}, {difference}")
