"""The red-team study's page holds every table and figure, harms nobody, and films show finds to their end."""

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image, ImageSequence
from proxygap.agents.options import Cases, begun, replayed, scenes
from proxygap.agents.rollouts import random_policy
from proxygap.agents.runs import replace_file
from proxygap.envs.painting import GREEN, VERMILLION
from proxygap.experiments.red_team import ALL, BASE, FRESH, NOBODY
from proxygap.experiments.red_team_measures import gain, gains, held_out
from proxygap.experiments.red_team_tasks import TASKS, drawn, known_catastrophes, labelled
from proxygap.experiments.report import finds, red_team_figures
from proxygap.experiments.report.finds import CHART, METER, Meter, film, suspicions
from proxygap.experiments.report.red_team import (
    AGENT_HEAD,
    MATRIX_HEAD,
    PAGE,
    SYSTEM_HEAD,
    TOOL_HEAD,
    agent_rows,
    headline,
    matrix_rows,
    show,
    system_rows,
    tool_rows,
    write_page,
)
from proxygap.experiments.statistics import Estimate, mean_interval
from proxygap.reward_models.classifier import CatastropheClassifier

from .red_team_rows import rows, study, twice_a_round
from .test_report import EVIL, LOADING, Reader

STUDY = study()
FILM = {"attack": "cem", "severity": 50.0, "margin": 0.1, "film": "film.webp"}
ISLAND = TASKS["IslandNavigation"]


def written(folder, made=STUDY, found=None, films=(FILM,)):
    """The page of a study, its text and a reader of it."""
    (folder / "seed0").mkdir()
    replace_file(folder / "seed0" / "film.webp", b"pictures")
    write_page(rows(made, films=films) if found is None else found, made, folder)
    text = (folder / PAGE).read_text("utf-8")
    return text, Reader(text)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return written(tmp_path_factory.mktemp("study"))


# The page


def test_the_page_holds_every_table_and_the_headline(page):
    text, _ = page
    found = rows(STUDY)
    assert str(escape(headline(found, STUDY))) in text
    tables = ((MATRIX_HEAD, matrix_rows), (SYSTEM_HEAD, system_rows), (AGENT_HEAD, agent_rows))
    tables = (*tables, (TOOL_HEAD, lambda found, _: tool_rows(found)))
    for head, made in tables:
        assert f"<tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>" in text
        for row in made(found, STUDY):
            assert len(row) == len(head)
            assert f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" in text


def test_the_page_holds_every_figure_and_film(page):
    _, read = page
    drawn_ = {script["id"] for script in read.all("script") if script.get("id")}
    names = ["matrix", "ridges", "cadence", "widths", "agents", "thresholds", *(f"survival-{place}" for place in range(3))]
    assert drawn_ == {f"figure-{name}" for name in names}
    assert {holder["data-figure"] for holder in read.all("div") if "data-figure" in holder} == drawn_
    assert [image["src"] for image in read.all("img")] == ["data:image/webp;base64,cGljdHVyZXM="]
    assert "cem, against the first filter: severity 50" in read.text


def test_the_page_loads_nothing(page):
    text, read = page
    addresses = [value for _, attributes in read.elements for name, value in attributes.items() if name in LOADING]
    assert addresses
    assert all(address.startswith("data:image/webp;base64,") for address in addresses)
    assert "default-src 'none'" in text
    styles = "".join(said for tag, said in read.texts if tag == "style")
    assert "url(" not in styles
    assert "@import" not in styles


def test_names_are_escaped_wherever_they_stand(tmp_path):
    made = study(attacks=("random", EVIL))
    world = SimpleNamespace(environment=SimpleNamespace(name=EVIL), length=10, acceptance=0.95)
    vars(made)["task"] = world
    text, read = written(tmp_path, made, films=[FILM | {"attack": EVIL}])
    assert EVIL not in text
    assert text.count(str(escape(EVIL))) >= 5  # the title, the heading, the tables, the captions
    running = [script for script in read.all("script") if script.get("type") != "application/json"]
    assert len(running) == 2


def test_without_agents_widths_and_films_their_place_is_empty(tmp_path):
    made = study(steps=0, seeds=1)
    found = [row | ({"widths": {}} if "widths" in row else {}) for row in rows(made)]
    text, read = written(tmp_path, made, found)
    assert '<section id="agents">' not in text
    assert "figure-widths" not in text
    assert read.all("img") == []
    assert "No attack found any, in the first seed." in read.text
    assert agent_rows(found, made) == []


@pytest.mark.parametrize("most", [1, 10**6])
def test_whether_everything_or_nothing_was_found_there_is_a_page(tmp_path, most):
    def of(seed, course, number, attack):
        return [min(most, 256 if attack == FRESH else 64)] * 2

    found = rows(STUDY, of)
    text, _ = written(tmp_path, found=found)
    assert "needs 1 times as many queries" in text
    assert all(row[2].startswith("0 [0, ") for row in matrix_rows(found, STUDY))


def test_one_seed_has_no_intervals(tmp_path):
    made = study(seeds=1)
    text, _ = written(tmp_path, made)
    assert "(no interval)" in text
    assert "[unknown, unknown]" in text


# Tables


def test_the_matrix_tells_own_and_other_attacks():
    found = rows(STUDY, lambda seed, course, number, by: [2 if number == 0 or course != by else 2 ** (seed + 2)] * 2)
    cells = {row[0]: row for row in matrix_rows(found, STUDY)}
    assert cells["cem"] == ("cem", "200", str(gain(found, STUDY, "cem", "cem")), *["0 [0, 0]"] * 3)
    mean, least = held_out(found, STUDY, "random")
    assert cells["random"][3:5] == (str(mean), str(least))


def test_the_own_gain_of_all_is_over_seeds_not_over_attacks():
    """In each seed the two attacks gain 1 and 3, or 3 and 1: 2 on average, without any spread over seeds."""

    def of(seed, course, number, by):
        if (course, number) != (ALL, 2):
            return [2, 2]
        return [16 if (seed + (by == "cem")) % 2 else 4] * 2

    found = rows(STUDY, of)
    assert [gains(found, STUDY, ALL, attack).tolist() for attack in ("random", "cem")] == [[1, 3, 1], [3, 1, 3]]
    assert matrix_rows(found, STUDY)[-1][2] == str(Estimate(2.0, 2.0, 2.0, 3))


def test_failures_without_a_filter_stand_first_and_how_many_times_fewer_there_are():
    found = system_rows(rows(STUDY), STUDY)
    assert [row[0] for row in found] == [NOBODY, BASE, "random", "cem", ALL]
    assert found[0][1] == str(mean_interval(np.full(3, 0.08)))
    assert found[1][1:3] == (str(mean_interval(np.full(3, 0.02))), "4")
    assert found[1][-2:] == (str(mean_interval(np.full(3, 0.25))), str(mean_interval(np.full(3, 0.75))))


def test_where_nothing_fails_and_too_little_can_be_told_apart_it_is_said():
    found = rows(STUDY)
    for row in found:
        if "system" in row:
            row["system"]["failure"], row["telltale"]["apart"] = 0.0, None
    assert [row[2] for row in system_rows(found, STUDY)[1:]] == ["inf"] * 4
    assert [row[-1] for row in system_rows(found, STUDY)[1:]] == ["too few"] * 4


def test_the_headline_is_of_what_was_measured():
    said = headline(rows(STUDY), STUDY)
    assert "lets 0.02 [0.02, 0.02] of options fail, of 0.08 [0.08, 0.08] without it" in said
    assert "that one needs 4 times as many queries (geometric mean), the unseen one that gains least 4. A fresh" in said
    fresh = gain(rows(STUDY), STUDY, ALL, FRESH)
    bounds = f"[{2**fresh.low:.3g}, {2**fresh.high:.3g}]"
    assert said.endswith(f"needs 4 times as many against the filter that was hardened by all {bounds}.")


def test_tables_are_printed_and_where_the_page_is(tmp_path, capsys):
    show(rows(STUDY), STUDY, tmp_path)
    out = capsys.readouterr().out
    assert out.endswith(f"Report: {tmp_path / PAGE}\n")
    assert all(name in out for name in ("fined by", "edited refused", "fresh portfolio", ALL, NOBODY))


# Figures


def traces(figure) -> list[Any]:
    """What is drawn in a figure."""
    return list(figure.data)


def test_the_heat_map_has_a_cell_for_every_pair():
    (trace,) = traces(red_team_figures.heat_map(rows(STUDY), STUDY))
    assert np.array_equal(trace.z, np.full((3, 3), 2.0))
    assert (tuple(trace.x), tuple(trace.y)) == (("random", "cem", FRESH), ("random", "cem", ALL))
    known = gain(rows(STUDY), STUDY, "random", "random")
    assert trace.text[0][0] == f"<b>+2.0</b><br>[{known.low:.1f}, {known.high:.1f}]"


def test_survival_has_a_curve_for_every_round():
    figure = red_team_figures.survival(rows(STUDY), STUDY, "cem")
    lines = [trace for trace in traces(figure) if trace.hovertemplate]
    assert len(lines) == 3
    for number, line in enumerate(lines):
        assert dict(zip(line.x, line.y, strict=True))[4 * 2**number] == 0.5
        assert line.y[-1] == 0.0


def test_the_cadence_orders_courses_by_their_updates():
    def of(seed, course, number, by):
        updates = int(course.split()[-1]) if "updates" in course else 1
        return [2 * updates if number == 2 else twice_a_round(seed, course, number, by)[0]] * 2

    (trace,) = traces(red_team_figures.cadence(rows(STUDY, of), STUDY))
    assert (tuple(trace.x), tuple(trace.y)) == (("1", "2", "4"), (2.0, 4.0, 8.0))


# Films


@pytest.fixture(scope="module")
def filter_():
    """A filter that knows little."""
    _, options = drawn(ISLAND, 100, 0)
    model = CatastropheClassifier(steps=30, one_hot=True, hidden=(4,))
    return model.fit(labelled(options, "IslandNavigation"))


@pytest.fixture(scope="module")
def cases() -> Cases:
    """A short failure and a longer one."""
    found = known_catastrophes(ISLAND, 8, 0)
    steps = replayed(ISLAND.environment, found).valid.sum(1)
    return found[[int(steps.argmin()), int(steps.argmax())]]


def frames(data):
    """The pictures of a film that differ, [N, H, W, 3]."""
    pictures = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(io.BytesIO(data)))]
    return [picture for i, picture in enumerate(pictures) if not i or (picture != pictures[i - 1]).any()]


def marked(picture):
    """Whether the colour of catastrophes is in the meter of a picture [H, W, 3]; the film has lost some of it."""
    return bool((abs(picture[-METER:].astype(int) - VERMILLION).max(2) < 40).sum() > 50)


def test_a_film_has_a_picture_of_every_moment_and_marks_the_catastrophe_in_the_last(cases, filter_):
    """On the island a catastrophe ends the episode."""
    steps = replayed(ISLAND.environment, cases).valid.sum(1)
    assert len(set(steps)) > 1
    for row, number in enumerate(steps):
        pictures = frames(film(ISLAND.environment, cases[[row]], filter_))
        assert len(pictures) == number + 1
        assert [marked(picture) for picture in pictures] == [False] * number + [True]


def test_a_film_in_which_nothing_happens_marks_nothing_and_lasts_to_the_end(filter_):
    here, options = drawn(ISLAND, 50, 1)
    whole = np.flatnonzero((options.severity == 0) & options.valid.all(1))[:1]
    pictures = frames(film(ISLAND.environment, options.cases(here)[whole], filter_))
    assert len(pictures) == ISLAND.length + 1
    assert not any(marked(picture) for picture in pictures)


def test_suspicions_are_those_of_the_option_so_far(cases, filter_):
    case = cases[[0]]
    said, steps = suspicions(ISLAND.environment, case, filter_)
    for length in range(1, steps + 1):
        so_far = replace(case, action=case.action[:, :length])
        alone = filter_.suspicion(replayed(ISLAND.environment, so_far).segments())
        assert said[length - 1] == pytest.approx(alone[0], rel=1e-6)
    assert len(said) == steps


def test_a_catastrophe_in_the_midst_is_marked_from_its_step_on_where_it_happened():
    meter = Meter(np.array([-1.0, 0.5, 2.0, 1.0]), 1.5, [0.0, 3.0, 0.0, 0.0], 3.0)
    pictures = [meter.drawn(time) for time in range(5)]
    assert [marked(picture) for picture in pictures] == [False, False, True, True, True]
    left, top, right, _ = CHART
    columns = np.flatnonzero((pictures[2][top + 5] == VERMILLION).all(1))
    assert abs(columns.mean() - (left + 2 / 4 * (right - left))) < 2
    assert (pictures[0] != pictures[1]).any()
    assert not (pictures[0] == GREEN).all(2).any()


def test_the_meter_says_what_the_filter_would_do(monkeypatch):
    said = []
    text = finds.Canvas.text
    monkeypatch.setattr(finds.Canvas, "text", lambda self, words, *rest: said.append(words) or text(self, words, *rest))
    meter = Meter(np.array([-1.0, 2.0, 1.5]), 1.5, [0.0, 0.0, 4.0], 4.0)
    for time in (1, 2, 3):
        meter.drawn(time)
    assert [words for words in said if "suspicion" in words] == [
        "suspicion -1: accepted",
        "suspicion 2: refused",
        "suspicion 1.5: accepted",
    ]
    assert [words for words in said if "catastrophe" in words] == ["catastrophe, severity 4"]
    assert [words for words in said if "step" in words] == ["step 1 of 3", "step 2 of 3", "step 3 of 3"]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_filmed(name):
    env = TASKS[name].environment
    picture = finds.world(env, begun(env, scenes(env, random_policy(env, 0), 1, TASKS[name].length, 0)).state)
    assert picture.shape == (finds.WORLD, finds.WIDTH, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 2
