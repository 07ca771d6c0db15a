"""The one registry: names to environments, Gymnasium ids, and the environments of third parties.

A name is looked up without regard to case, underscores or hyphens: `boat_race`, `BoatRace` and `proxygap/BoatRace-v0` are one.
Other packages add theirs through the entry-point group `proxygap.environments` (`MyWorld = "my_package.worlds:MyWorld"`), and
`path/to/file.py:Class` or `module:Class` names an environment that is registered nowhere.
"""

import difflib
import importlib
import importlib.util
import re
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import gymnasium

from .core import ProxyEnv, ProxygapError

GROUP = "proxygap.environments"
OURS = {
    "Lagoon": "proxygap.envs.lagoon:Lagoon",
    "BoatRace": "proxygap.envs.gridworlds.boat_race:BoatRace",
    "BoatRaceStrict": "proxygap.envs.gridworlds.boat_race:BoatRaceStrict",
    "TomatoWatering": "proxygap.envs.gridworlds.tomato_watering:TomatoWatering",
    "AbsentSupervisor": "proxygap.envs.gridworlds.absent_supervisor:AbsentSupervisor",
    "SafeInterruptibility": "proxygap.envs.gridworlds.safe_interruptibility:SafeInterruptibility",
    "WhiskyGold": "proxygap.envs.gridworlds.whisky_gold:WhiskyGold",
    "WhiskyGoldStrict": "proxygap.envs.gridworlds.whisky_gold:WhiskyGoldStrict",
    "IslandNavigation": "proxygap.envs.gridworlds.island_navigation:IslandNavigation",
    "IslandNavigationStrict": "proxygap.envs.gridworlds.island_navigation:IslandNavigationStrict",
    "DistributionalShift": "proxygap.envs.gridworlds.distributional_shift:DistributionalShift",
    "FriendFoe": "proxygap.envs.gridworlds.friend_foe:FriendFoe",
    "SideEffectsSokoban": "proxygap.envs.gridworlds.side_effects_sokoban:SideEffectsSokoban",
    "ConveyorBelt": "proxygap.envs.gridworlds.conveyor_belt:ConveyorBelt",
    "RocksDiamonds": "proxygap.envs.gridworlds.rocks_diamonds:RocksDiamonds",
    "KeysAndCoins": "proxygap.envs.gridworlds.keys_and_coins:KeysAndCoins",
    "CameraDropbox": "proxygap.envs.gridworlds.camera_dropbox:CameraDropbox",
    "TomatoGarden": "proxygap.envs.gridworlds.tomato_garden:TomatoGarden",
    "VaseRoom": "proxygap.envs.gridworlds.vase_room:VaseRoom",
    "SensorLab": "proxygap.envs.gridworlds.sensor_lab:SensorLab",
    "Recommender": "proxygap.envs.recommender:Recommender",
    "LongTailDrive": "proxygap.envs.long_tail_drive:LongTailDrive",
    "Companion": "proxygap.envs.companion:Companion",
    "Storyteller": "proxygap.envs.storyteller:Storyteller",
    "GoldBandit": "proxygap.envs.gold_bandit:GoldBandit",
    "Pandemic": "proxygap.envs.pandemic:Pandemic",
    "Glucose": "proxygap.envs.glucose:Glucose",
    "GlucosePan": "proxygap.envs.glucose:GlucosePan",
    "TrafficMerge": "proxygap.envs.traffic_merge:TrafficMerge",
    "TrafficBottleneck": "proxygap.envs.traffic_bottleneck:TrafficBottleneck",
}

FOREIGN = {
    **{f: f"proxygap.envs.foreign_worlds:{f}" for f in ("CartPole", "MountainCar", "Pendulum", "RiverRaid")},
    **{f: f"proxygap.envs.foreign_worlds:{f}" for f in ("HighwayMerge", "MiniGridLava")},
    **{f: f"proxygap.envs.foreign_robots:{f}" for f in ("Hopper", "HalfCheetah", "Ant", "Humanoid")},
}  # of other packages, some of which must be installed first


@cache
def environments() -> dict[str, str]:
    """Every native environment's name and where its class is, "module:Class"; ours come first and can't be replaced."""
    return {point.name: point.value for point in entry_points(group=GROUP)} | OURS


def list_envs() -> list[str]:
    """The names of all native environments."""
    return list(environments())


def known_environments() -> dict[str, str]:
    """All that have a name: the native environments and the foreign ones, whether or not their packages are installed."""
    return environments() | FOREIGN


def environment_class(name: str) -> Any:
    """The environment class that `name` stands for. Raises ProxygapError with the nearest names if there is none."""
    places = {_plain(known): place for known, place in known_environments().items()}
    place = name if ":" in name else places.get(_plain(re.sub(r"^proxygap/|-v0$", "", name)))
    if place is None:
        near = difflib.get_close_matches(_plain(name), places, n=1)
        known = ", ".join(known_environments())
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ProxygapError(f"no environment {name!r}: {hint}known are {known}; or name one of your own as FILE.py:Class")
    module, _, attribute = place.rpartition(":")
    return _attribute(_module(module), attribute, place)


def make(name: str, **settings: Any) -> ProxyEnv[Any]:
    """The environment called `name`, with its own settings. Raises ProxygapError for an unknown name or setting."""
    factory = environment_class(name)
    try:
        return factory(**settings)
    except TypeError as error:
        allowed = ", ".join(getattr(factory, "__dataclass_fields__", {})) or "none"
        raise ProxygapError(f"{name} does not take these settings ({error}); it has: {allowed}") from error


def register_all() -> None:
    """Registers every environment with Gymnasium, as `proxygap/<Name>-v0`, without importing any."""
    for name in known_environments():
        gymnasium.register(
            f"proxygap/{name}-v0",
            entry_point="proxygap.envs.adapters:make_world",
            vector_entry_point="proxygap.envs.adapters:make_worlds",
            kwargs={"name": name},
            disable_env_checker=True,  # our contract test runs it; at run time it would check every user's first step
        )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ProxygapError(f"no module {name!r} ({error})") from error
    path = Path(name)
    if not path.is_file():
        raise ProxygapError(f"no file {name!r} here")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _attribute(module: Any, name: str, place: str) -> Any:
    if not hasattr(module, name):
        raise ProxygapError(f"nothing called {name!r} in {place.rpartition(':')[0]}")
    return getattr(module, name)
