"""The command line as a user meets it: help, every command once, and every mistake with one message."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from proxygap.agents.runs import Interrupted, update_manifest
from proxygap.envs.registry import known_environments
from proxygap.experiments import cli
from proxygap.experiments.commands.play import ARROWS, action_of
from proxygap.experiments.commands.screen import display

HEAVY = ("torch", "stable_baselines3", "sb3_contrib", "pygame", "plotly", "pandas")
LIGHT = ("envs", "show", "play", "watch", "train", "runs", "claims", "check", "doctor")  # whose help needs none of these
RUN = [sys.executable, "-m", "proxygap"]

WORLD = '''
from dataclasses import dataclass
import numpy as np
from gymnasium import spaces
from proxygap.envs.core import Proxy, ProxyEnv, State

@dataclass
class Place(State):
    place: np.ndarray

class Line(ProxyEnv[Place]):
    """A line."""
    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-9.0, 9.0, (1,), np.float32)
    horizon = 3
    true_reward = {"there": 1.0}
    proxies = {"moved": Proxy({"moved": 1.0}, "ontological", "moving stands in for arriving")}
    def initial(self, batch, rng, previous=None):
        return Place(np.zeros(batch))
    def transition(self, state, action, rng):
        return Place(state.place + 2 * action - 1)
    def observation(self, state):
        return state.place[:, None].astype(np.float32)
    def terms(self, t):
        return {"there": (t.next_state.place > 2) * 1.0, "moved": np.ones(len(t.action))}
    def policies(self):
        return {"right": lambda state: np.ones(len(state), int)}

class Leak(Line):
    def observation(self, state):
        return state.place[:, None] * 100.0
'''


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command, in this process."""
    capsys.readouterr()
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as left:  # tyro's way out, of --help and of wrong options
        code = int(left.code or 0)
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err  # nobody's terminal
    return code, out, err


@pytest.fixture
def world(tmp_path) -> Path:
    (tmp_path / "my_world.py").write_text(WORLD)
    return tmp_path / "my_world.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    code = cli.main(
        ["train", "boat_race", "--steps", "512", "--learner", "n_envs=8", "--seed", "3", "--out", str(folder), "--quiet"]
    )
    assert code == 0
    return folder


# Help


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "")
    for name, (line, _) in cli.COMMANDS.items():
        assert f"  {name} " in out
        assert line in out


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in LIGHT)])
def test_help_imports_nothing_heavy(arguments):
    quiet = f"try: main({arguments})\nexcept SystemExit: pass"
    code = f"import sys\nfrom proxygap.__main__ import main\n{quiet}\nsys.exit(repr([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "usage: proxygap" in done.stdout
    assert done.stderr.strip() == "[]"


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, proxygap; sys.exit(repr([m for m in {HEAVY} if m in sys.modules]))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == "[]"


def test_help_comes_within_a_second():
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([*RUN, "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0  # the least of five: other tests run meanwhile


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself_with_examples(capsys, command):
    code, out, err = run(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert "Examples:" in out
    assert f"proxygap {command}" in out.split("Examples:")[1]


def test_the_version_is_printed(capsys):
    from importlib.metadata import version

    assert run(capsys, "--version") == (0, f"proxygap {version('proxygap')}\n", "")


# Mistakes

MISTAKES = [
    (["trian", "lagoon"], "did you mean 'train'?"),
    (["show", "lagon"], "did you mean 'lagoon'?"),
    (["watch", "lagon", "--headless"], "no environment 'lagon'"),
    (["watch", "boat_race", "--agent", "rcer", "--headless"], "no agent 'rcer'; it has: racer, gamer, random"),
    (["watch", "boat_race", "--proxy", "turbos", "--headless"], "no proxy 'turbos'; it has: true, arrows"),
    (["watch", "boat_race", "--headless", "--episodes", "0"], "at least 1"),
    (["watch", "boat_race", "--json", "--seed", "-1"], "a seed from 0"),
    (["watch", "boat_race"], "--video FILE.webp"),
    (["watch", "{tmp}/nowhere.safetensors", "--json"], "no run and no policy"),
    (["watch", "{tmp}", "--json"], "is no run"),
    (["watch", "runs/nothing", "--json"], "is no run"),
    (["watch", ".", "--json"], "is no run"),
    (["watch", "boat_race", "--video", "{tmp}/film.avi"], ".webp, .gif or .mp4"),
    (["watch", "boat_race", "--video", "{tmp}/file/film.webp"], "can't write"),
    (["show", "boat_race", "--picture", "{tmp}/file/picture.png"], "can't write"),
    (["play", "boat_race"], "there is no display"),
    (["play", "boat_race", "--reward", "turbo=1"], "no 'turbo'; its terms are: arrow"),
    (["play", "boat_race", "--reward", "arrow=1", "--proxy", "arrows"], "give one of them"),
    (["play", "{tmp}/my_world.py:Line"], "names no keys"),
    (["train", "boat_race", "--reward", "arrow=x"], "'x' of 'arrow' is not a number"),
    (["train", "boat_race", "--reward", "arrow"], "no proxy 'arrow'"),
    (["train", "boat_race", "--reward", "arrow=1", "--proxy", "arrows"], "give one of them"),
    (["train", "boat_race", "--world", "size=3"], "does not take these settings"),
    (["train", "boat_race", "--algo", "pppo"], "did you mean 'ppo'?"),
    (["train", "boat_race", "--learner", "gama=0.9"], "did you mean 'gamma'?"),
    (["train", "boat_race", "--learner", "gamma"], "NAME=VALUE"),
    (["train", "boat_race", "--steps", "-5"], "steps=-5"),
    (["train", "boat_race", "--seed", "-1"], "seed=-1"),
    (["train", "boat_race", "--out", "{tmp}/file/run"], "can't write"),
    (["train", "{tmp}/nowhere.py:Line"], "no file"),
    (["train", "{tmp}/my_world.py:Lina"], "nothing called 'Lina'"),
    (["gap", "boat_race", "--seeds", "0"], "--seeds 0: at least 1"),
    (["study", "overoptimization", "boat_race", "--mistakes", "1"], "--mistakes from 0 to below 0.5"),
    (["study", "overoptimization", "boat_race", "--stretch", "101", "--out", "{tmp}/study"], "stretches of 101 steps"),
    (["check", "no.such.module:World"], "no module"),
    (["runs", "--root", "{tmp}/nowhere"], "no folder"),
    (["runs", "compare", "one", "--root", "{tmp}"], "at least 2"),
    (["runs", "delete", "--root", "{tmp}"], "at least 1"),
    (["runs", "delete", "one", "--root", "{tmp}"], "no run 'one'"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_costs_one_message_and_nothing_else(capsys, monkeypatch, tmp_path, world, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    code, out, err = run(capsys, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("proxygap: ")
    assert err.count("\n") == 1


def test_an_unknown_option_is_refused(capsys):
    code, out, err = run(capsys, "envs", "--jsn")
    assert (code, out) == (2, "")
    assert "--json" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (Interrupted(signal.SIGINT, Path("r"), 5), 130), (Interrupted(15, Path("r"), 5), 143)],
)
def test_stopping_is_told_with_the_way_back(capsys, monkeypatch, error, code):
    class Stopped:
        def run(self):
            raise error

    monkeypatch.setattr(cli, "parsed", lambda name, arguments: Stopped())
    found, out, err = run(capsys, "train", "lagoon")
    assert (found, out) == (code, "")
    assert "resume" in err


def test_a_reader_who_has_enough_is_no_error():
    code = "from proxygap.__main__ import main; import sys; sys.exit(main(['show', 'boat_race', '--json']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_a_mistake_of_our_own_is_not_hidden(monkeypatch):
    class Broken:
        def run(self):
            raise ValueError("ours")

    monkeypatch.setattr(cli, "parsed", lambda name, arguments: Broken())
    with pytest.raises(ValueError, match="ours"):
        cli.main(["envs"])


# Looking


def test_envs_lists_every_environment(capsys):
    code, out, _ = run(capsys, "envs")
    assert code == 0
    assert all(name in out for name in known_environments())
    code, out, err = run(capsys, "envs", "--json")
    cards = {card["name"]: card for card in json.loads(out)}
    assert list(cards) == list(known_environments())
    assert err == ""
    assert cards["BoatRace"]["states"] == 8
    assert cards["BoatRace"]["proxies"]["arrows"]["expected"] == "tie"
    assert cards["Lagoon"]["states"] is None


def test_one_broken_environment_does_not_hide_the_others(capsys, monkeypatch):
    from proxygap.envs.registry import environments

    monkeypatch.setitem(environments(), "Broken", "no.such.package:Broken")
    _, out, _ = run(capsys, "envs", "--json")
    cards = json.loads(out)
    assert len(cards) == len(known_environments())
    assert "no.such.package" in {card["name"]: card for card in cards}["Broken"]["error"]


def test_show_prints_the_card_and_saves_a_picture(capsys, tmp_path):
    path = tmp_path / "board.png"
    code, out, err = run(capsys, "show", "boat_race", "--picture", path)
    assert (code, err) == (0, "")
    for part in ("go round the course clockwise", "ontological", "clockwise=1", "arrow=3, step=-1", "racer, gamer", str(path)):
        assert part in out
    with Image.open(path) as image:
        assert image.height == 480
    code, out, _ = run(capsys, "show", "boat_race", "--json")
    assert Path(json.loads(out)["picture"]).is_file()


def test_an_environment_of_ones_own_can_be_shown_watched_and_checked(capsys, world):
    assert "moving stands in for arriving" in run(capsys, "show", f"{world}:Line", "--picture", world.with_suffix(".png"))[1]
    code, out, _ = run(capsys, "watch", f"{world}:Line", "--json", "--episodes", "4")
    assert (code, json.loads(out)["agent"]) == (0, "right")
    code, out, err = run(capsys, "check", f"{world}:Line")
    assert (code, err) == (0, "")
    assert "is sound" in out
    code, out, _ = run(capsys, "check", f"{world}:Leak")
    assert code == 1
    assert "observation" in out


def test_check_says_what_keeps_an_environment_from_being_made(capsys, tmp_path):
    (tmp_path / "broken.py").write_text("import proxygap\nclass World: ...\n1 / 0\n")
    code, out, _ = run(capsys, "check", f"{tmp_path / 'broken.py'}:World")
    assert (code, "ZeroDivisionError" in out) == (1, True)


# Watching


@pytest.mark.parametrize(("agent", "proxy", "true"), [("racer", 50.0, 100.0), ("gamer", 50.0, 0.0)])
def test_watch_measures_scripts_exactly(capsys, agent, proxy, true):
    code, out, err = run(capsys, "watch", "boat_race", "--agent", agent, "--json", "--episodes", "3")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["proxy_return"], found["true_return"], found["episodes"]) == (proxy, true, 3)
    assert found["terms"]["step"] == 100.0


def test_watch_prints_a_table_for_people(capsys):
    code, out, _ = run(capsys, "watch", "boat_race", "--agent", "racer", "--headless")
    assert code == 0
    assert "true return" in out
    assert "clockwise" in out


@pytest.mark.parametrize("name", ["film.webp", "film.gif"])
def test_a_film_shows_the_episodes_that_are_measured(capsys, tmp_path, world, name):
    watch = ("watch", f"{world}:Line", "--json", "--seed", "5", "--episodes", "2")
    unseen, filmed = (json.loads(run(capsys, *watch, *more)[1]) for more in ([], ["--video", tmp_path / name]))
    assert filmed == unseen
    assert (filmed["proxy_return"], filmed["true_return"]) == (3.0, 1.0)
    with Image.open(tmp_path / name) as film:
        assert getattr(film, "n_frames", 1) == 2 * 4  # 3 steps each; what stands still is one frame


def test_gymnasiums_name_is_a_name_too(capsys):
    assert json.loads(run(capsys, "watch", "proxygap/BoatRace-v0", "--json")[1])["env"] == "BoatRace"


def test_chance_plays_everywhere(capsys, world):
    code, out, _ = run(capsys, "watch", f"{world}:Line", "--agent", "random", "--json")
    found = json.loads(out)
    assert (code, found["proxy_return"]) == (0, 3.0)
    assert 0 <= found["true_return"] <= 1


@pytest.mark.parametrize(
    ("variables", "seen"), [({}, False), ({"SDL_VIDEODRIVER": "dummy"}, False), ({"DISPLAY": ":nowhere"}, False)]
)
def test_a_display_that_nobody_sees_is_none(monkeypatch, variables, seen):
    import pygame

    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pygame.display.quit()
    assert (display() is not None) == seen
    pygame.display.quit()


# Training, and what was trained


def test_a_run_is_trained_watched_and_listed(capsys, trained):
    code, out, err = run(capsys, "watch", trained, "--json", "--episodes", "4")
    assert (code, err) == (0, "")
    assert json.loads(out)["env"] == "BoatRace"
    [line] = json.loads(run(capsys, "runs", "--root", trained.parent, "--json")[1])
    assert (line["run"], line["status"], line["runs"]) == (str(trained), "finished", 1)
    assert line["steps"] >= 512
    assert trained.name in run(capsys, "runs", "--root", trained.parent)[1]


def test_an_agent_that_ships_is_the_one_to_watch(capsys, trained, monkeypatch, tmp_path):
    from proxygap.agents.trained import load_policy, save_policy
    from proxygap.experiments.commands import players

    monkeypatch.setattr(players, "SHIPPED", tmp_path)
    for arm in ("arrows", "true"):
        save_policy(load_policy(trained), tmp_path / f"BoatRace-{arm}.safetensors")
    own = json.loads(run(capsys, "watch", trained, "--json")[1])
    for arguments, name in (("boat_race",), "trained-arrows"), (("boat_race", "--agent", "trained-true"), "trained-true"):
        found = json.loads(run(capsys, "watch", *arguments, "--json")[1])
        assert found == own | {"agent": name}
    assert "trained-arrows, trained-true, racer" in run(capsys, "watch", "boat_race", "--agent", "x", "--json")[2]
    file = tmp_path / "BoatRace-true.safetensors"
    assert json.loads(run(capsys, "watch", file, "--json")[1]) == own | {"agent": str(file)}
    file.write_bytes(file.read_bytes()[:1000])
    code, out, err = run(capsys, "watch", file, "--json")
    assert (code, out, err.count("\n"), "damaged" in err) == (2, "", 1, True)


def test_a_script_can_be_watched_where_a_run_was_trained(capsys, trained):
    found = json.loads(run(capsys, "watch", trained, "--agent", "racer", "--json")[1])
    assert (found["agent"], found["proxy"], found["true_return"]) == ("racer", "arrows", 100.0)
    found = json.loads(run(capsys, "watch", trained, "--proxy", "true", "--json")[1])
    assert found["proxy_return"] == found["true_return"]


def test_a_study_says_whom_to_watch(capsys, trained, tmp_path):
    update_manifest(tmp_path, study="gap", settings={})
    shutil.copytree(trained, tmp_path / "proxy-seed0")
    code, _, err = run(capsys, "watch", tmp_path, "--json")
    assert code == 2
    assert str(tmp_path / "proxy-seed0") in err


def test_a_finished_run_is_kept(capsys, trained):
    train = ("train", "boat_race", "--steps", "512", "--learner", "n_envs=8", "--seed", "3", "--out", trained, "--quiet")
    before = (trained / "metrics.jsonl").read_bytes()
    code, out, err = run(capsys, *train)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "resume" in err
    code, out, _ = run(capsys, *train, "--resume")
    assert code == 0
    assert f"proxygap watch {trained}" in out
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_runs_are_compared_by_what_differs(capsys, trained):
    other = trained.with_name("other")
    code, out, _ = run(
        capsys, "train", "boat_race", "--reward", "true", "--steps", "512", "--learner", "n_envs=8", "--out", other, "--quiet"
    )
    assert code == 0
    code, out, _ = run(capsys, "runs", "compare", "one", other, "--root", trained.parent, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["differences"]["settings.seed"] == {str(trained): 3, str(other): 0}
    assert [line["trained_on"] for line in found["runs"]] == ["proxy", "true"]
    assert all("term_clockwise" in line for line in found["runs"])
    assert "settings.reward" in run(capsys, "runs", "compare", trained, other)[1]
    code, _, err = run(capsys, "runs", "delete", "other", "--root", trained.parent)
    assert (code, "--yes" in err, other.exists()) == (2, True, True)
    code, _, _ = run(capsys, "runs", "delete", "other", "--root", trained.parent, "--yes")
    assert (code, other.exists(), trained.exists()) == (0, False, True)


@pytest.mark.slow
def test_ctrl_c_keeps_the_run_and_resume_ends_it(tmp_path):
    train = [*RUN, "train", "boat_race", "--steps", "30000", "--out", str(tmp_path / "run"), "--quiet"]
    with subprocess.Popen(train, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run" / "checkpoint").exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        assert "resume" in process.stderr.read()
    assert process.returncode == 130
    assert subprocess.run([*train, "--resume"], stdout=subprocess.DEVNULL).returncode == 0


# Doctor


def test_doctor_describes_the_installation(capsys):
    import torch

    code, out, err = run(capsys, "doctor", "--json")
    found = json.loads(out)
    assert err == ""
    assert found["packages"]["torch"] == torch.__version__
    assert found["torch"]["threads"] == torch.get_num_threads()
    assert found["display"] is None  # tests draw off-screen
    assert code == (1 if found["problems"] else 0)
    assert f"torch: build {found['torch']['build']}" in run(capsys, "doctor")[1]


def test_doctor_finds_rivals_and_folders_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    from proxygap.experiments.commands import doctor

    installed = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "2.6.1" if name == "pygame" else installed(name))
    (tmp_path / "runs").write_text("in the way")
    monkeypatch.setattr(doctor, "ROOT", tmp_path / "runs" / "deeper")
    code, out, _ = run(capsys, "doctor", "--json")
    problems = json.loads(out)["problems"]
    assert code == 1
    assert any("pip uninstall pygame" in problem for problem in problems)
    assert any("can't be written" in problem for problem in problems)


# Playing

KEYS = {"": 0, "w": 1, "a": 2, "wa": 3}


@given(st.sets(st.sampled_from([*"wasdx", *ARROWS])))
def test_the_largest_combination_counts_and_arrows_are_letters(pressed):
    letters = {ARROWS.get(name, name) for name in pressed}
    assert action_of(KEYS, pressed) == ("w" in letters) + 2 * ("a" in letters)


def test_without_a_key_a_board_waits():
    assert action_of({"w": 1}, {"x"}) is None


def test_a_game_is_played_to_its_end_and_again(capsys, monkeypatch):
    import pygame
    from proxygap.experiments.commands import play

    def down(name: str) -> list[pygame.event.Event]:
        return [pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(name))]

    pygame.display.init()
    steps = [down(("d", "right")[i % 2]) for i in range(100)]
    frames = iter([[], *steps, down("return"), down("a"), down("escape")])
    monkeypatch.setattr(play, "require_display", lambda instead: None)
    monkeypatch.setattr(pygame.event, "get", lambda: next(frames))
    monkeypatch.setattr(play, "WAITING_RATE", 10_000)
    code, out, err = run(capsys, "play", "boat_race", "--reward", "clockwise=2, step=1", "--seed", "1")
    assert (code, err) == (0, "")
    assert out == "episode 1: proxy return -92, true return -96\n"  # two steps right, then against the wall
    assert next(frames, None) is None


def test_a_world_that_runs_by_itself_runs_on_without_keys(monkeypatch, capsys):
    import pygame
    from proxygap.experiments.commands import play

    games = []
    begin = play.Game.begin
    monkeypatch.setattr(play.Game, "begin", lambda game, seed=None: (games.append(game), begin(game, seed)))
    frames = iter([[], [], [pygame.event.Event(pygame.QUIT)]])
    monkeypatch.setattr(play, "require_display", lambda instead: None)
    monkeypatch.setattr(pygame.event, "get", lambda: next(frames))
    assert run(capsys, "play", "lagoon")[0] == 0
    assert games[0].loop.worlds.sums.length[0] == 2


def test_no_command_leaves_anything_in_the_environment():
    assert os.environ["SDL_VIDEODRIVER"] == "dummy"
