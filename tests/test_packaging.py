"""What is installed is what is in the tree, and the type checker looks into every folder."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"proxygap": "src/proxygap"} | {f"proxygap/{room}": room for room in ("envs", "reward_models", "agents", "experiments")}
CHECKED = [*ROOMS.values(), "envs/gridworlds", "tests", "benchmarks", "examples"]
BY_PRODUCTS = shutil.ignore_patterns("__pycache__", "*.egg-info", "runs")


def run(*command, cwd: Path, **kwargs):
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, **kwargs)


@pytest.fixture
def copy(tmp_path) -> Path:
    """The tree as it would be committed, without what tools have left in it."""
    for name in {Path(folder).parts[0] for folder in CHECKED}:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=BY_PRODUCTS)
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_wheel_holds_every_file_of_every_room(copy):
    built = run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "wheel", ".", cwd=copy
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (copy / "wheel").iterdir()
    installed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    ours = {
        f"{package}/{file.relative_to(ROOT / folder)}"
        for package, folder in ROOMS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert installed == ours


def test_every_folder_of_ours_is_a_listed_package():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join([*package.split("/"), *file.parent.relative_to(ROOT / folder).parts])
        for package, folder in ROOMS.items()
        for file in (ROOT / folder).rglob("*.py")
    }
    assert set(listed) == folders


def test_constraints_pin_every_direct_dependency_and_an_exact_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
    names = {line.split(">")[0].split("[")[0].lower().replace("_", "-") for line in wanted}
    assert names <= pins.keys()
    assert pins["torch"].replace(".", "").isdigit()  # no local build: any build of this release will do


@pytest.mark.slow
def test_the_type_checker_sees_a_planted_error_in_every_folder(copy):
    for folder in CHECKED:
        (copy / folder).mkdir(exist_ok=True)
        (copy / folder / "planted.py").write_text("wrong: int = 'text'\n")
    (copy / "tests" / "planted.py").write_text("from proxygap.envs.core import ProxyEnv\n\nwrong: str = ProxyEnv.horizon\n")
    tools = Path(sys.executable).parent
    (copy / ".venv").symlink_to(tools.parent)
    run("make", "--old-file=.venv/dev", "links", cwd=copy, check=True)
    report = json.loads(run(tools / "pyright", "--outputjson", cwd=copy, env=os.environ).stdout)
    found = {diagnostic["file"] for diagnostic in report["generalDiagnostics"] if diagnostic["severity"] == "error"}
    assert {str(copy / folder / "planted.py") for folder in CHECKED} <= found
