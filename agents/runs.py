"""A run is a folder: `manifest.json` (settings, versions, status), `metrics.jsonl` (a row an evaluation) and `checkpoint/`.

Files are written beside and renamed into place, so that whoever reads finds the old one or the whole new one. A lock keeps a
second process out; it belongs to the operating system and vanishes with its process, however that ends.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..envs.core import ProxygapError

MANIFEST, METRICS, LOCK = "manifest.json", "metrics.jsonl", ".lock"
PACKAGES = ("proxygap", "gymnasium", "numpy", "stable-baselines3", "sb3-contrib", "torch")
LARGEST_JSON = 64 * 2**20  # bytes; a file from a stranger must not fill the memory
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - no error
    """A signal stopped the run at a boundary: all is stored. `exit_code` is what a shell expects, 128 + the signal's number."""

    def __init__(self, number: int, folder: Path, steps: int) -> None:
        super().__init__(number, folder, steps)  # all of them, so that it survives pickling on its way out of a worker
        self.exit_code = 128 + number

    def __str__(self) -> str:
        _, folder, steps = self.args
        return f"stopped after {steps:,} steps; all is stored in {folder}: resume it to go on"


def write_file(path: Path, data: bytes) -> None:
    """Writes and waits until it is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the folder's names are on the disk (Windows has no such wait)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Writes beside and renames: `path` holds its old content or all of the new. Raises ProxygapError if that can't be done."""
    beside = path.with_name(path.name + ".new")
    with _writing(path):
        write_file(beside, data)
        os.replace(beside, path)
        sync_folder(path.parent)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ProxygapError(f"can't write {path} ({error}): make room or choose another folder") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ProxygapError for one that is missing, too large or not JSON."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ProxygapError(f"{path} has {path.stat().st_size} bytes, more than the {LARGEST_JSON} allowed")
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ProxygapError(f"no {path.name} in {path.parent}: name the folder of a run") from None
    except (OSError, ValueError) as error:
        raise ProxygapError(f"{path} is damaged: {error}") from error


def manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """A run's manifest. Raises ProxygapError where there is no readable one."""
    found = read_json(Path(folder) / MANIFEST)
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise ProxygapError(f"{Path(folder) / MANIFEST} is not the manifest of a run: it has no settings")
    return found


def update_manifest(folder: Path, **changes: Any) -> None:
    """Lays `changes` over the manifest, or begins one."""
    old = manifest(folder) if (folder / MANIFEST).exists() else {}
    replace_file(folder / MANIFEST, json.dumps(old | changes, indent=2).encode())


def metrics(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`; a last line that was only half written is left out."""
    path = Path(folder) / METRICS
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    try:
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise ProxygapError(f"{path} is damaged: {error}") from error


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Adds a row."""
    with _writing(folder / METRICS), open(folder / METRICS, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def replace_metrics(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes all rows anew."""
    replace_file(folder / METRICS, "".join(json.dumps(row) + "\n" for row in rows).encode())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes out of it. Raises ProxygapError if it can't be written or is in use."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        user = read_json(folder / MANIFEST).get("pid", "?") if (folder / MANIFEST).exists() else "?"
        raise ProxygapError(f"{folder} is in use by process {user}: wait for it, stop it, or choose another folder") from None
    except OSError as error:
        raise ProxygapError(f"can't write to {folder} ({error}): choose another folder") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def recorded(folder: Path, **about: Any) -> Iterator[None]:
    """Keeps the manifest's status: "running" inside, then "finished", "stopped" by a signal, or "failed" with the error."""
    update_manifest(folder, **about, **surroundings(), status="running", error=None)
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        ended = {"status": "stopped"} if stopped else {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        with suppress(ProxygapError):  # on a full disk the first error is the one to tell
            update_manifest(folder, **ended)
        raise
    update_manifest(folder, status="finished")


def surroundings() -> dict[str, Any]:
    """What a result may depend on beside its settings: versions, platform, git commit of the working directory."""
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "pid": os.getpid(),
        "command": sys.argv,
        "git": _git("rev-parse", "HEAD"),
        "git_changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


class Signals:
    """Inside, the first signal is kept in `received`; the second finds the handlers as they were before, and stops at once."""

    received: int = 0

    def __enter__(self) -> "Signals":
        main = threading.current_thread() is threading.main_thread()  # only there can handlers be set
        self.before = {number: signal.signal(number, self._keep) for number in SIGNALS if main}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _keep(self, number: int, _: Any) -> None:
        self.received = number
        self.__exit__()


class Clock:
    """Seconds and CPU seconds of learning, over all sessions of a run; what happens while it is paused does not count."""

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0) -> None:
        self.before, self.since, self.stopped = (seconds, cpu_seconds), _times(), None

    def read(self) -> dict[str, float]:
        """The time so far, by name."""
        now = self.stopped or _times()
        names = ("seconds", "cpu_seconds")
        return {names[i]: self.before[i] + now[i] - self.since[i] for i in range(2)}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, time stands still."""
        self.stopped = _times()
        yield
        self.before, self.since, self.stopped = tuple(self.read().values()), _times(), None


def _times() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
