"""What is typed on a command line, as values and back: rewards, and settings of the form NAME=VALUE."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from ..envs.core import ProxygapError

Study = TypeVar("Study", bound=Any)

LENGTH = 50  # steps of a stretch, in episodes of twice that or more


def parse_reward(text: str) -> str | dict[str, float]:
    """A reward as it is typed: weights such as "turbo=1, progress=0.1", or a name such as "true", which is returned as it is.

    Which names and terms there are is the environment's to say (`ProxyEnv.weights`). Raises ProxygapError for what is neither.
    """
    text = text.strip()
    if text and "=" not in text and "," not in text:
        return text
    weights = {name: _weight(name, value) for name, value in _pairs(text.split(","), "--reward", "turbo=1, progress=0.1")}
    if not any(weights.values()):
        raise ProxygapError(f"--reward {text!r}: at least one weight must differ from 0")
    return weights


def weights_text(weights: Mapping[str, float]) -> str:
    """Weights over terms as they are typed, which `parse_reward` reads back."""
    return ", ".join(f"{name}={float(value)!r}".removesuffix(".0") for name, value in weights.items())


def parse_pairs(texts: Sequence[str]) -> dict[str, Any]:
    """Settings typed as NAME=VALUE: numbers, true, false, null and lists as in JSON, all else is text. Raises ProxygapError."""
    return {name: _value(value) for name, value in _pairs(texts, "setting", "respawn=7.8")}


def quickened(study: Study, quick: Mapping[str, Any]) -> Study:
    """A study that was asked to be quick, with the `quick` settings in place of those that were not given."""
    default = {part.name: part.default for part in fields(study)}
    return replace(
        study, quick=False, **{name: value for name, value in quick.items() if getattr(study, name) == default[name]}
    )


def stretch_length(asked: int | None, name: str, horizon: int) -> int:
    """Steps of the stretches that are compared in an environment: by default 50, or half of an episode where that is less.

    Raises ProxygapError where episodes are shorter than that, and for lengths below 1.
    """
    length = max(1, min(LENGTH, horizon // 2)) if asked is None else asked
    if not 1 <= length <= horizon:
        raise ProxygapError(f"stretches of {length} steps: an episode of {name} has {horizon} at most, and 1 at least")
    return length


def _pairs(texts: Sequence[str], what: str, example: str) -> list[tuple[str, str]]:
    pairs = [tuple(part.strip() for part in text.partition("=")) for text in texts]
    for text, (name, _, value) in zip(texts, pairs, strict=True):
        if not name or not value:
            raise ProxygapError(f"{what} {text.strip()!r}: NAME=VALUE is needed, as in {example!r}")
        if [name for name, _, _ in pairs].count(name) > 1:
            raise ProxygapError(f"{what} names {name!r} twice: once is enough")
    return [(name, value) for name, _, value in pairs]


def _weight(name: str, value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise ProxygapError(f"--reward: the weight {value!r} of {name!r} is not a number, as in 'turbo=1, progress=0.1'")
    return weight


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
