"""`proxygap doctor`: what a bug report should say about an installation."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ..store import ROOT
from .output import print_json
from .screen import display

CONFLICTS = 1  # exit code
SMALLEST_DISK = 2.0  # GB free, below which a study may not end
RIVALS = {"pygame": "pygame-ce", "gym": "gymnasium"}  # packages that get in the way of another


@dataclass(frozen=True)
class Doctor:
    """Describes this installation, in a form to paste into a bug report, and says what is wrong with it.

    The exit code is 0 if nothing is, else 1.

    Examples:
        proxygap doctor
        proxygap doctor --json
    """

    json: bool = False
    """Print JSON and nothing else."""

    def run(self) -> int:
        """Prints what it finds."""
        found = findings()
        if self.json:
            print_json(found)
        else:
            print("\n".join(_lines(found)))
        return CONFLICTS if found["problems"] else 0


def findings() -> dict[str, Any]:
    """All that is known of this installation; `problems` says what is wrong."""
    packages = {name: _version(name) for name in ("proxygap", *needed())}
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": packages,
        "torch": _torch(),
        "display": display(),
        "ffmpeg": ffmpeg(),
        "runs_folder": str(ROOT.absolute()),
        "disk_free_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
    }
    return found | {"problems": list(_problems(found))}


def needed() -> list[str]:
    """The names of the packages that proxygap needs, without extras."""
    return [re.split(r"[^\w.-]", line)[0] for line in requires("proxygap") or () if "extra ==" not in line]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _torch() -> dict[str, Any]:
    """Which build of torch this is, and what it uses."""
    try:
        import torch
    except Exception as error:  # a broken build raises whatever its loader does
        return {"error": f"{type(error).__name__}: {error}"}
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    return {"build": build, "gpu_found": torch.cuda.is_available(), "threads": torch.get_num_threads()}


def ffmpeg() -> str | None:
    """The program that writes .mp4 files, or None."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # pyright: ignore[reportMissingImports]

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return shutil.which("ffmpeg")


def _problems(found: Mapping[str, Any]) -> Iterator[str]:
    for name, there in found["packages"].items():
        if there is None:
            yield f"{name} is missing: pip install {name}"
    for rival, name in RIVALS.items():
        if _version(rival):
            yield f"{rival} is installed and gets in the way of {name}: pip uninstall {rival}, then install {name} again"
    if "error" in found["torch"]:
        yield f"torch can't be imported: {found['torch']['error']}"
    if not writable(ROOT):
        yield f"{found['runs_folder']} can't be written to: work in another folder, or name one with --out"
    if found["disk_free_gb"] < SMALLEST_DISK:
        yield f"only {found['disk_free_gb']} GB of disk are free"


def writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, or the folder itself in the one above it."""
    try:
        with tempfile.TemporaryFile(dir=folder if folder.is_dir() else folder.absolute().parent):
            return True
    except OSError:
        return False


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        if key == "problems":
            yield f"problems: {'none' if not value else ''}".rstrip()
            yield from (f"- {problem}" for problem in value)
        else:
            text = ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, Mapping) else value
            yield f"{key.replace('_', ' ')}: {'none' if text is None else text}"
