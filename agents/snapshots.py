"""What changes while an agent learns, as arrays and numbers, and back again to the bit.

That is: networks and optimisers, every counter, every generator, the worlds, what was last seen, recurrent states. The recipe
holds before a rollout begins: then the rollout's buffer is spent, and nothing is half done. `checkpoints.py` adds replay
buffers.
"""

import json
import random
from collections import deque
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from ..envs.batch import Array
from ..envs.core import ProxygapError

SEEN = ("_last_obs", "_last_original_obs", "_last_episode_starts")


def capture(model: Any, loop: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """Everything that changes but replay buffers: arrays, and what goes into JSON."""
    arrays: dict[str, Any] = {f"policy/{name}": tensor for name, tensor in model.policy.state_dict().items()}
    numbers: dict[str, Any] = {"optimizers": {}, "counters": _counters(model), "episodes": list(model.ep_info_buffer or ())}
    for name, optimizer in _optimizers(model):
        stored = optimizer.state_dict()
        others: dict[str, Any] = {}
        for index, values in stored["state"].items():
            for key, value in values.items():
                target = arrays if torch.is_tensor(value) else others
                target[f"{name}/{index}/{key}"] = value
        numbers["optimizers"][name] = {"groups": stored["param_groups"], "values": others}
    arrays |= {f"variable/{name}": attrgetter(name)(model) for name in _variables(model)}
    arrays |= {f"worlds/{name}": array for name, array in loop.snapshot().items()}
    arrays |= {f"seen/{name}": getattr(model, name) for name in SEEN if getattr(model, name) is not None}
    arrays |= {f"memory/{i}": tensor for i, tensor in enumerate(_memory(model))}
    arrays["generator/torch"], arrays["generator/numpy"], numbers["generators"] = _generators(model)
    return {name: _array(value) for name, value in arrays.items()}, plain(numbers)


def _array(value: Any) -> Array:
    return np.array(value.detach().cpu().numpy() if torch.is_tensor(value) else value, order="C")


def _counters(model: Any) -> dict[str, Any]:
    """All plain numbers of a model: counters, the schedules' progress, and (the same ever) its settings."""
    kept = {name: value for name, value in vars(model).items() if isinstance(value, int | float | np.number)}
    return {name: value for name, value in kept.items() if name != "start_time"}


def _optimizers(model: Any) -> Iterator[tuple[str, Any]]:
    names, _ = model._get_torch_save_params()
    return ((name, attrgetter(name)(model)) for name in names if name != "policy")


def _variables(model: Any) -> list[str]:
    return model._get_torch_save_params()[1]


def _memory(model: Any) -> list[torch.Tensor]:
    """The hidden and cell states of a recurrent model's actor and critic."""
    states = getattr(model, "_last_lstm_states", None)
    return [] if states is None else [*states.pi, *states.vf]


def _generators(model: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Torch's, numpy's and Python's global generators (SB3 draws from them), and the action space's."""
    kind, words, *rest = np.random.get_state()  # noqa: NPY002
    explorer = model.action_space.np_random.bit_generator.state
    return torch.get_rng_state(), words, {"numpy": [kind, *rest], "python": random.getstate(), "action_space": explorer}


def restore(model: Any, loop: Any, arrays: Mapping[str, Array], numbers: Mapping[str, Any]) -> None:
    """Brings a model and its loop, built with the same settings (else ProxygapError), to where `capture` was."""
    try:
        _restore(model, loop, arrays, numbers)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ProxygapError(f"what is stored does not fit these settings: {error}") from error


def _restore(model: Any, loop: Any, arrays: Mapping[str, Array], numbers: Mapping[str, Any]) -> None:
    load_weights(model, arrays)
    for name, optimizer in _optimizers(model):
        optimizer.load_state_dict(_optimizer_state(name, arrays, numbers["optimizers"][name]))
    for name in _variables(model):
        attrgetter(name)(model).data.copy_(torch.from_numpy(arrays[f"variable/{name}"]))
    loop.restore(_under("worlds/", arrays))
    vars(model).update({name: numbers["counters"][name] for name in _counters(model)})
    vars(model).update({name: array for name, array in _under("seen/", arrays).items() if name in SEEN})
    for i, tensor in enumerate(_memory(model)):
        tensor.copy_(torch.from_numpy(arrays[f"memory/{i}"]))
    model.ep_info_buffer = deque(numbers["episodes"], maxlen=model._stats_window_size)
    _set_generators(model, arrays, numbers["generators"])


def load_weights(model: Any, arrays: Mapping[str, Array]) -> None:
    """Fills the model's networks. Raises ProxygapError where they have another shape."""
    try:
        model.policy.load_state_dict({name: torch.from_numpy(array) for name, array in _under("policy/", arrays).items()})
    except RuntimeError as error:
        raise ProxygapError(f"the stored networks are not those of these settings: {error}") from error


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _optimizer_state(name: str, arrays: Mapping[str, Array], stored: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: torch.from_numpy(array) for key, array in arrays.items() if key.startswith(f"{name}/")} | stored["values"]
    state: dict[int, dict[str, Any]] = {}
    for key, value in values.items():
        _, index, entry = key.split("/")
        state.setdefault(int(index), {})[entry] = value
    groups = [group | {"betas": tuple(group["betas"])} if "betas" in group else group for group in stored["groups"]]
    return {"state": state, "param_groups": groups}


def _set_generators(model: Any, arrays: Mapping[str, Array], stored: Mapping[str, Any]) -> None:
    torch.set_rng_state(torch.from_numpy(arrays["generator/torch"]))
    kind, *rest = stored["numpy"]
    np.random.set_state((kind, arrays["generator/numpy"], *rest))  # noqa: NPY002
    number, words, normal = stored["python"]
    random.setstate((number, tuple(words), normal))
    model.action_space.np_random.bit_generator.state = stored["action_space"]


def plain(value: Any) -> Any:
    """The same as JSON would give it back. Raises ProxygapError for what JSON can't hold."""
    try:
        return json.loads(json.dumps(value, default=lambda number: number.item()))
    except (TypeError, AttributeError) as error:
        raise ProxygapError(f"can't be stored with a run: {error}") from error
