"""The report: whole, harmless, readable without a network, and right in every case that a study can end in."""

import base64
import hashlib
import io
import json
import re
import shlex
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image, ImageSequence
from plotly.offline import get_plotlyjs
from proxygap.agents import runs
from proxygap.agents.rollouts import evaluate, random_policy, scripted
from proxygap.envs.batch import Array
from proxygap.envs.core import Proxy, ProxyEnv, State
from proxygap.envs.gridworlds.boat_race import BoatRaceStrict
from proxygap.experiments.gap import Gap
from proxygap.experiments.measuring import Results, measure
from proxygap.experiments.report.clips import WIDTH, clip, film
from proxygap.experiments.report.gap import command, headline, show, write_page
from proxygap.experiments.verdicts import Verdict

EVIL = "<script>alert(1)</script>"
LOADING = {
    "src",
    "href",
    "srcset",
    "data",
    "poster",
    "action",
    "formaction",
    "background",
    "xlink:href",
}  # attributes that may load
VOID = {"meta", "img", "br"}
SETTINGS: dict[str, Any] = {
    "env": "till",
    "world": {"price": 2.5, "name": EVIL},
    "proxy": "receipts",
    "algo": "ppo",
    "overrides": {"steps": 300, "gamma": 0.9},
    "episodes": 2,
    "seeds": 2,
}


@dataclass
class Counter(State):
    sold: Array  # [B]


class Till(ProxyEnv[Counter]):
    """Action: sell (0) or print a receipt (1). Paid by receipts, meant to sell; a sale prints half a receipt."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(0.0, 10.0, (1,))
    horizon = 4
    true_reward = {"sales": 1.0}
    proxies = {"receipts": Proxy({f"receipts {EVIL}": 1.0}, "ontological", f"receipts stand in for {EVIL} sales")}

    def initial(self, batch, rng, previous=None):
        return Counter(np.zeros(batch))

    def transition(self, state, action, rng):
        return Counter(np.minimum(state.sold + (action == 0), 4.0))  # few states: the optima are exact

    def observation(self, state):
        return state.sold[:, None].astype(np.float32)

    def terms(self, t):
        sold = (t.action == 0).astype(float)
        return {"sales": sold, f"receipts {EVIL}": 1.0 - 0.5 * sold}

    def policies(self):
        return {"seller": lambda state: np.zeros(len(state), int), "printer": lambda state: np.ones(len(state), int)}


class Scriptless(Till):
    """The same without a reference."""

    def policies(self):
        return {}


def agents(env: ProxyEnv[Any], seeds: int = 2) -> dict[str, list[Any]]:
    """Stand-ins for training runs: each arm's script, with learning curves that differ by seed."""
    scripts = Till().policies()
    rng = np.random.default_rng(0)

    def run(script: str, seed: int) -> Any:
        rows = [
            {"steps": 100 * i, "proxy": rng.normal(i, 1, 3).tolist(), "true": rng.normal(i, 1, 3).tolist()} for i in range(4)
        ]
        settings = SimpleNamespace(seed=seed, hyperparameters={"steps": 300, "note": EVIL})
        return SimpleNamespace(metrics=rows, policy=lambda: lambda loop: scripts[script](loop.state), settings=settings)

    return {arm: [run(script, seed) for seed in range(seeds)] for arm, script in (("proxy", "printer"), ("true", "seller"))}


def results_of(env: ProxyEnv[Any], proxy: Any, trained: dict[str, list[Any]]) -> Results:
    finals = {arm: [evaluate(env, run.policy(), 2, 7, proxy=proxy) for run in group] for arm, group in trained.items()}
    return measure(env, proxy, trained, finals, 2)


class Reader(HTMLParser):
    """Checks that tags are balanced, and keeps the attributes and texts of all elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("script", "style")).split())


def written(folder, env: Any = None, results: Results | None = None, proxy: Any = "receipts", seeds: int = 2) -> Reader:
    env = env or Till()
    trained = agents(env, seeds)
    runs.update_manifest(folder, settings=SETTINGS, **runs.surroundings())
    write_page(results or results_of(env, proxy, trained), env, proxy, trained, folder)
    return Reader((folder / "report.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def results() -> Results:
    return results_of(Till(), "receipts", agents(Till()))


@pytest.fixture(scope="module")
def page(tmp_path_factory, results) -> Reader:
    return written(tmp_path_factory.mktemp("page"), results=results)


def test_the_page_loads_nothing(page):
    addresses = [value for _, attributes in page.elements for name, value in attributes.items() if name in LOADING]
    assert addresses
    assert all(address.startswith("data:image/webp;base64,") for address in addresses)
    assert not page.all("link")
    styles = "".join(text for tag, text in page.texts if tag == "style")
    assert "url(" not in styles
    assert "@import" not in styles


def test_plotly_is_there_once_and_only_two_scripts_may_run(page):
    executable = [attributes.get("type") != "application/json" for attributes in page.all("script")]
    texts = [text for tag, text in page.texts if tag == "script"]
    running = [text for text, runs_ in zip(texts, executable, strict=True) if runs_]
    assert len(running) == 2
    assert running.count(get_plotlyjs()) == 1
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


@pytest.mark.parametrize("note", [EVIL, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "</title><script>alert(1)</script>"])
def test_names_are_only_text(note, tmp_path, results):
    env = type(note, (Till,), {})()
    read = written(tmp_path, env=env, results=replace(results, env=note, proxy=note, reference=None))
    assert len([script for script in read.all("script") if script.get("type") != "application/json"]) == 2
    assert len(read.all("img")) == 2
    assert read.text.count(" ".join(note.split())) >= 2


def test_every_figure_has_its_data_and_every_group_its_row(page):
    shown = {holder["data-figure"] for holder in page.all("div") if "data-figure" in holder}
    stored = [attributes["id"] for attributes in page.all("script") if attributes.get("type") == "application/json"]
    assert shown == set(stored) == {f"figure-{name}" for name in ("curves-proxy", "curves-true", "gap", "term-0", "term-1")}
    texts = [text for tag, text in page.texts if tag == "script"][: len(stored)]
    assert all(len(json.loads(text)["data"]) >= 2 for text in texts)
    for group in ("random", "reference (seller)", "trained on the truth", "trained on the proxy"):
        assert group in page.text
    assert EVIL in page.text
    assert f"receipts stand in for {EVIL} sales" in page.text


def test_both_arms_are_in_both_learning_curves(page, results):
    figures = {
        a["id"]: t
        for a, t in zip(page.all("script"), [t for tag, t in page.texts if tag == "script"], strict=True)
        if "id" in a
    }
    for reward in ("proxy", "true"):
        traces = json.loads(figures[f"figure-curves-{reward}"])["data"]
        means = [trace for trace in traces if trace.get("name")]
        assert {trace["name"] for trace in means} == {"trained on the proxy", "trained on the truth"}
        for trace, arm in zip(means, results.curves, strict=True):
            drawn = np.frombuffer(base64.b64decode(trace["y"]["bdata"]), trace["y"]["dtype"])
            assert np.allclose(drawn, getattr(results.curves[arm], reward).mean((0, 2)))


def test_the_verdict_costs_and_optima_are_told(page, results):
    assert headline(results).capitalize() in page.text
    assert "proxy regret" in page.text
    assert "true regret" in page.text
    assert all(verdict.reason in page.text for verdict in results.verdicts)
    assert "Exact optima" in page.text
    assert results.exact.verdict.reason in page.text


@pytest.mark.parametrize("seeds", [1, 3])
def test_results_without_scale_script_or_optima_can_be_shown(seeds, tmp_path):
    env, proxy = Scriptless(), {f"receipts {EVIL}": 1.0, "sales": -0.5}
    full = results_of(env, proxy, agents(env, seeds))
    assert full.reference is None
    nothing = {group: dict.fromkeys(found) for group, found in full.normalised.items()}
    bare = replace(full, exact=None, normalised=nothing, gap=None, onsets={"proxy": None, "true": None}, survival=None)
    read = written(tmp_path, env, bare, proxy, seeds)
    assert len(read.all("img")) == 2
    assert "reference (" not in read.text
    assert "not normalisable" in read.text
    assert "Exact optima" not in read.text
    assert "own weights" in read.text


def test_clips_are_files_and_move(tmp_path):
    read = written(tmp_path)
    files = {name: (tmp_path / "clips" / f"{name}.webp").read_bytes() for name in ("reference", "proxy", "true")}
    embedded = [base64.b64decode((image["src"] or "").partition(",")[2]) for image in read.all("img")]
    assert embedded == list(files.values())
    for data in embedded:
        frames = {frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(Image.open(io.BytesIO(data)))}
        assert len(frames) == Till.horizon + 1


def test_a_clip_goes_from_the_first_moment_to_the_last():
    env = BoatRaceStrict()
    few = clip(env, scripted(env, "racer"), "arrows", 0, frames=3)
    assert [frame.shape for frame in few] == [few[0].shape] * 3
    assert few[0].shape[1] == WIDTH
    end = env.loop(1)
    end.reset(0)
    whole = clip(env, scripted(env, "racer"), "arrows", 0, frames=2)
    assert np.array_equal(whole[0], few[0])
    assert np.array_equal(whole[1], few[2])
    assert not np.array_equal(few[0], few[1])


def test_the_same_seed_gives_the_same_film():
    env = Till()
    one, other = (film(env, random_policy(env, seed=3), "receipts", 5) for _ in range(2))
    assert one == other


def test_the_headline_says_what_holds():
    gamed, hacked = Verdict("gamed", True, ""), Verdict("hacked", True, "")
    few, none = replace(gamed, indicative=True), replace(gamed, holds=False)
    told = {(gamed,): "gamed", (gamed, hacked): "gamed and hacked", (few,): "gamed (indicative)", (none,): "not gamed"}
    for verdicts, words in told.items():
        assert headline(SimpleNamespace(verdicts=list(verdicts))) == words  # pyright: ignore[reportArgumentType]


def test_json_is_all_that_is_printed(results, tmp_path, capsys):
    show(results, tmp_path, True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["verdicts"][0]["name"] == "gamed"
    assert printed["groups"]["proxy"]["true"] == results.groups["proxy"].true.tolist()


def test_the_terminal_shows_every_group_verdict_and_the_page(results, tmp_path, capsys):
    show(results, tmp_path, False)
    printed = capsys.readouterr().out
    plain = " ".join(printed.split())
    assert all(f"{verdict.name}" in plain for verdict in results.verdicts)
    assert "misspecification cost" in plain
    assert printed.splitlines()[-1] == f"Report: {tmp_path / 'report.html'}"


def test_the_command_asks_for_the_same_study():
    import tyro

    words = shlex.split(command(SETTINGS))
    assert words[:2] == ["proxygap", "gap"]
    study = tyro.cli(Gap, args=words[2:])
    assert (study.env, study.proxy, study.algo, study.steps) == ("till", "receipts", "ppo", 300)
    assert (study.seeds, study.episodes) == (2, 2)
    assert study.world == ("price=2.5", f"name={EVIL}")
    assert study.learner == ("gamma=0.9",)
    own = tyro.cli(Gap, args=shlex.split(command(SETTINGS | {"proxy": {"turbo": 1.0, "fire": -0.25}, "overrides": {}}))[2:])
    assert (own.proxy, own.reward, own.steps) == (None, "turbo=1.0, fire=-0.25", None)
