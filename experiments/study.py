"""A study is a question: settings that are its command line, tasks that answer it, and a page of what came out.

Tasks run in processes of their own. Each is a training run in a folder of its own and goes on where it stopped, so starting a
study again runs only what is missing.
"""

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..agents import runs
from ..envs.core import ProxygapError

Report = Callable[[Mapping[str, Any]], None]  # what a task calls with its progress: fraction, proxy, true

_inbox: Any = None  # in a worker: where progress goes
_stop: Any = None  # in a worker: set when nothing new is to be begun


@dataclass(frozen=True)
class Task:
    """One piece of work: `function(report)`, which must survive pickling, and be idempotent."""

    name: str
    function: Callable[[Report], Any]


def key_of(decisive: Mapping[str, Any]) -> str:
    """Six characters that stand for what decides a study, in the name of its folder."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:6]


def recorded(folder: Path, study: str, decisive: Mapping[str, Any], seeds: int) -> AbstractContextManager[None]:
    """Keeps the manifest of a study. Raises ProxygapError if the folder holds one with other settings than `decisive`."""
    if (folder / runs.MANIFEST).exists():
        stored = runs.manifest(folder)["settings"]
        if differing := [key for key, value in decisive.items() if stored.get(key) != value]:
            raise ProxygapError(f"{folder} holds a study with another {', '.join(differing)}: choose another --out")
    return runs.recorded(folder, study=study, settings={**decisive, "seeds": seeds})


def run_tasks(tasks: Sequence[Task], jobs: int, quiet: bool = False) -> None:
    """Runs all tasks, `jobs` at a time, with a progress bar each on standard error.

    Raises what the first failing task raised, once the running ones have ended: what they did is kept. A signal stops every
    task at its next boundary and raises Interrupted.
    """
    context = multiprocessing.get_context("spawn")  # the same on every platform, and torch does not survive a fork
    inbox, stop = context.Queue(), context.Event()
    with ProcessPoolExecutor(jobs, context, _start_worker, (inbox, stop)) as pool, _bars(tasks, quiet) as show:
        with _patient(stop):
            futures = [pool.submit(_run, task) for task in tasks]
            _follow(futures, inbox, stop, show)
        for done in as_completed(futures):
            if isinstance(error := done.exception(), BrokenProcessPool):
                raise ProxygapError(
                    "a worker process died: out of memory, or started by a script without `if __name__ == '__main__':`; "
                    "starting again goes on from what is stored"
                ) from error
            if error:
                raise error


def _start_worker(inbox: Any, stop: Any) -> None:
    global _inbox, _stop
    _inbox, _stop = inbox, stop


def _run(task: Task) -> None:
    if not _stop.is_set():
        task.function(partial(_send, task.name))


def _send(name: str, row: Mapping[str, Any]) -> None:
    _inbox.put((name, {key: row.get(key) for key in ("fraction", "proxy", "true")}))


def _follow(futures: Sequence[Future[None]], inbox: Any, stop: Any, show: Callable[[str, Mapping[str, Any]], None]) -> None:
    """Shows progress until nothing runs any more; after the first failure nothing new is begun."""
    while not all(future.done() for future in futures):
        try:
            show(*inbox.get(timeout=0.2))
        except Empty:
            if any(future.done() and future.exception() for future in futures):
                stop.set()


@contextmanager
def _patient(stop: Any) -> Iterator[None]:
    """The parent outlives its workers, which stop at their next boundary: a Ctrl-C reaches them too, a SIGTERM is passed on."""

    def asked(number: int, _: Any) -> None:
        stop.set()
        if number == signal.SIGTERM:
            for worker in multiprocessing.active_children():
                worker.terminate()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bars(tasks: Sequence[Task], quiet: bool) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    from rich.console import Console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        bars = {task.name: progress.add_task(task.name, total=1.0, now="", start=False) for task in tasks}

        def show(name: str, row: Mapping[str, Any]) -> None:
            progress.start_task(bars[name])
            known = row["proxy"] is not None and row["true"] is not None
            now = f"proxy {row['proxy']:.1f}, true {row['true']:.1f}" if known else ""
            progress.update(bars[name], completed=row["fraction"], now=now)

        yield show
