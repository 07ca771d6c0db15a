"""Names find environments: ours, those of other packages, and a user's own file; a wrong name gets a helpful answer."""

import os
import subprocess
import sys

import pytest
from proxygap.envs.core import ProxyEnv, ProxygapError
from proxygap.envs.gridworlds.boat_race import BoatRace
from proxygap.envs.registry import OURS, environment_class, environments, make

OWN_FILE = """
from proxygap.envs.gridworlds.boat_race import BoatRace

class Slalom(BoatRace):
    board = ("#####", "#A  #", "#^#v#", "# < #", "#####")
"""

OTHER_PACKAGE = """
import gymnasium, proxygap
from proxygap.envs.registry import environment_class, make

assert make("slalom").horizon == 100
assert gymnasium.make("proxygap/Slalom-v0").reset(seed=0)[1] == {}
assert gymnasium.make_vec("proxygap/Slalom-v0", num_envs=3).num_envs == 3
assert environment_class("BoatRace").__module__ == "proxygap.envs.gridworlds.boat_race"
"""


@pytest.mark.parametrize("name", ["BoatRace", "boat_race", "boat-race", "BOATRACE", "proxygap/BoatRace-v0"])
def test_a_name_is_known_in_every_spelling(name):
    assert environment_class(name) is BoatRace


@pytest.mark.parametrize("name", environments())
def test_every_registered_name_makes_an_environment(name):
    assert isinstance(make(name), ProxyEnv)


def test_no_two_names_read_alike():
    plain = [name.lower().replace("_", "").replace("-", "") for name in environments()]
    assert len(set(plain)) == len(plain)


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ProxygapError, match=r"no environment 'boatrce': did you mean 'boatrace'\? known are Lagoon, "):
        make("boatrce")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:World", "no file 'nowhere.py' here"),
        ("no_such_module:World", "no module 'no_such_module'"),
        ("proxygap.envs.core:World", "nothing called 'World' in proxygap.envs.core"),
    ],
)
def test_a_place_that_is_not_there_is_named(name, message):
    with pytest.raises(ProxygapError, match=message):
        make(name)


def test_an_unknown_setting_is_answered_with_those_there_are():
    with pytest.raises(ProxygapError, match=r"Lagoon does not take these settings .*colour.*; it has: .*respawn"):
        make("Lagoon", colour="red")


def test_a_users_file_is_an_environment(tmp_path):
    (tmp_path / "slalom.py").write_text(OWN_FILE)
    slalom = make(f"{tmp_path}/slalom.py:Slalom")
    assert isinstance(slalom, BoatRace)
    assert slalom.arrow.sum() == 3


def test_a_packages_module_is_an_environment():
    assert isinstance(make("proxygap.envs.gridworlds.boat_race:BoatRace"), BoatRace)


def test_other_packages_add_environments_but_replace_none_of_ours(tmp_path):
    (tmp_path / "slalom_pack.py").write_text(OWN_FILE)
    metadata = tmp_path / "slalom_pack-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: slalom-pack\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[proxygap.environments]\nSlalom = slalom_pack:Slalom\nBoatRace = slalom_pack:Slalom\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PACKAGE], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_our_table_names_classes_that_exist():
    for name, place in OURS.items():
        assert environment_class(place).__name__ == name
