"""Who may know whom: imports only go down the arrows, and the heavy libraries stay away until they are needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_KNOW = {
    "envs": set(),
    "reward_models": {"envs"},
    "agents": {"envs"},
    "experiments": {"envs", "reward_models", "agents"},
}
HEAVY = {"torch", "stable_baselines3", "sb3_contrib", "pygame", "plotly", "pandas"}


def imported_rooms(file: Path, folder: Path) -> set[str]:
    """The rooms that a file of ours imports from, wherever in the file it does."""
    package = ["proxygap", *file.relative_to(folder).parent.parts]
    modules = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules += [name.name.split(".") for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            modules += [[*start, *filter(None, (node.module or "").split(".")), name.name] for name in node.names]
    return {module[1] for module in modules if module[0] == "proxygap" and len(module) > 1} & set(MAY_KNOW)


@pytest.mark.parametrize(
    "file", sorted(str(file.relative_to(ROOT)) for room in MAY_KNOW for file in (ROOT / room).rglob("*.py"))
)
def test_imports_follow_the_arrows(file):
    room = Path(file).parts[0]
    assert imported_rooms(ROOT / file, ROOT) <= MAY_KNOW[room] | {room}


@pytest.mark.parametrize(
    ("text", "rooms"),
    [
        ("from ..agents.training import train", {"agents"}),
        ("def f():\n    from .. import agents, experiments", {"agents", "experiments"}),
        ("import proxygap.reward_models.networks", {"reward_models"}),
        ("from proxygap import agents", {"agents"}),
        ("from .core import State\nfrom . import grid\nimport numpy", {"envs"}),
    ],
)
def test_an_arrow_is_seen_in_every_form_of_import(tmp_path, text, rooms):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "some.py").write_text(text)
    assert imported_rooms(tmp_path / "envs" / "some.py", tmp_path) == rooms


def heavy_modules_after(code: str) -> list[str]:
    """Which heavy libraries a fresh Python has imported after `code`."""
    report = f"import atexit, sys\natexit.register(lambda: print('heavy:', *{HEAVY} & sys.modules.keys()))\n"
    done = subprocess.run([sys.executable, "-c", report + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines()[-1].split()[1:])


def test_importing_proxygap_is_light():
    assert heavy_modules_after("import proxygap") == []


def test_help_is_light():
    run = "import runpy\nsys.argv = ['proxygap', '--help']\nrunpy.run_module('proxygap', run_name='__main__')"
    assert heavy_modules_after(run) == []


def test_the_spy_sees_what_is_imported():
    assert heavy_modules_after("import pandas") == ["pandas"]
