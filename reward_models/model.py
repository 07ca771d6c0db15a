"""A learned reward, with the manners of scikit-learn: settings are fields, `fit` learns, `predict` pays.

What was learned ends in `_`; `fit` forgets it, learns anew and returns the model. A fitted model is itself a `Reward`, which
never looks at hidden states. It is stored as one safetensors file whose header is JSON: loading it can't run code.
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..envs.batch import Array
from ..envs.core import Observed, ProxygapError, Segments, Transition
from .aggregation import aggregation
from .bottleneck import Bottleneck
from .examples import split, stacked
from .feedback import write
from .inputs import Inputs
from .networks import Ensemble, Examples, Network, Objective, Training, averaged, bootstrapped, repeated

FORMAT, KEY = 1, "proxygap"  # of files; under which header they keep their JSON
REFERENCE = 50_000  # steps that members are standardised on, at most
ROWS = 8192  # asked at a time, so that what lies between layers stays in the cache


@dataclass
class RewardModel(ABC):
    """Base of rewards that are learned from stretches of behaviour by an ensemble of small networks.

    Members differ by their seeds, and, where asked, by the examples they learn from (`bootstrap`), the inputs they are shown
    (`seen` < 1) or the widths of their layers (`narrowest` < 1). With `shared_steps` they are one network for so many steps and
    part only then, so that their weights can be `averaged`. `aggregate` says how members become one reward
    (`reward_models.aggregation`); it may be changed after fitting.
    """

    ensemble: int = 1
    aggregate: str = "mean"
    penalty: float = 0.5  # of the variance, where `aggregate` is "penalised"
    inputs: Sequence[str] = ("observation", "action", "next_observation")  # and "terminated", if wanted
    one_hot: bool = False  # observations are boards of whole numbers
    hidden: Sequence[int] = (32, 32)
    latent: int = 0  # dimensions of an information bottleneck before the reward (`reward_models.bottleneck`); 0 for none
    beta: float = 0.1  # what a nat of information costs, where there is one
    seen: float = 1.0  # share of inputs that each member is shown
    narrowest: float = 1.0  # share of the hidden units that the narrowest member has; the widest has all
    bootstrap: bool = False
    shared_steps: int = 0
    steps: int = 3000  # gradient steps at most
    patience: int = 500  # gradient steps
    held_out: float = 0.1  # share of the examples, for stopping early; 0 for none
    batch: int = 24  # examples a step; more make a pair cheaper, fewer make five members cheaper against one
    learning_rate: float = 1e-3
    seed: int = 0

    numbers: ClassVar[tuple[str, ...]] = ()  # learned numbers that are stored besides the network

    def __post_init__(self) -> None:
        aggregation(self.aggregate)
        counts = {name: getattr(self, name) for name in ("ensemble", "steps", "batch", "patience")}
        counts |= {"hidden": min(self.hidden, default=0)}
        if wrong := [f"{name} {value}" for name, value in counts.items() if value < 1]:
            raise ProxygapError(f"{', '.join(wrong)}: at least 1 is needed")
        if not 0 < self.seen <= 1 or not 0 < self.narrowest <= 1 or not 0 <= self.held_out < 1:
            given = f"seen {self.seen}, narrowest {self.narrowest} and held_out {self.held_out}"
            raise ProxygapError(f"{given}: shares, above 0 and up to 1 (held_out from 0 and below 1), are needed")
        numbers = {name: getattr(self, name) for name in ("penalty", "latent", "beta", "seed", "learning_rate")}
        if wrong := [f"{name} {value}" for name, value in numbers.items() if not value >= 0]:
            raise ProxygapError(f"{', '.join(wrong)}: numbers from 0 are needed")
        if self.shared_steps and (min(self.seen, self.narrowest) < 1 or not self.bootstrap):
            raise ProxygapError("shared_steps: members that set out as one see the same, and only bootstrap makes them part")

    @abstractmethod
    def losses(self, rewards: Tensor, valid: Tensor, target: Tensor) -> Tensor:
        """What members lose [K, B] by their raw rewards [K, B, S, T] of steps that are `valid` [B, S, T], for targets [B]."""

    @abstractmethod
    def score(self, feedback: Any, /) -> float:
        """How well the model agrees with feedback that it was not fitted to; higher is better."""

    # Learning

    def learn(
        self,
        sides: Sequence[Segments],
        target: Array,
        env: str,
        strata: Array | None = None,
        *,
        weight: Array | None = None,
        robust: Callable[[Array], Objective | None] | None = None,
        warm: bool = False,
    ) -> Self:
        """Learns from N examples, each of which has as many sides as `sides` has records; what was learned before is gone.

        Of each kind of example in `strata` [N] the same share is held out. `weight` [N] is what each is worth; `robust` makes
        of the rows that are learned from another objective than the loss. `warm` goes on from the present weights, and keeps
        how steps are shown. Raises ProxygapError for no examples, values that are not finite, and where learning diverges.
        """
        self._check_env(env) if warm else self._forget()
        if not len(target) or not all(side.valid.any() for side in sides):
            raise ProxygapError(f"{len(target)} examples, none with a step in it: give at least one to learn from")
        observed, valid = stacked(sides)
        if not warm:
            self.env_, self.inputs_ = env, Inputs.of(observed, valid, self.inputs, self.one_hot)
        x = self.inputs_(self.inputs_.tensors(observed))
        examples = Examples(x, torch.from_numpy(valid).float(), torch.from_numpy(np.asarray(target, np.float32)))
        kinds = np.zeros(len(target)) if strata is None else strata
        train, held = split(kinds, self.held_out, np.random.default_rng(self.seed))
        worth = None if weight is None else torch.from_numpy(np.asarray(weight, np.float32))
        training = Training(self.steps, self.patience, self.batch, self.learning_rate, objective=robust and robust(train))
        self.history_ = self._train(examples, train, held, training, worth, warm)
        self.slope_, self.intercept_ = torch.ones(self.ensemble, 1).double(), torch.zeros(self.ensemble, 1).double()
        self.held_ = held  # rows of the examples
        return self

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _train(
        self, examples: Examples, train: Array, held: Array, training: Training, worth: Tensor | None, warm: bool
    ) -> list[float]:
        seeds = np.random.SeedSequence(self.seed).generate_state(self.ensemble).tolist()
        lessons, rng = examples[train], np.random.default_rng(self.seed)
        if warm:
            self.network_ = self._present(seeds)
        else:
            self.network_ = self._fresh(seeds[:1] if self.shared_steps else seeds)
        if self.shared_steps and not warm:
            together = replace(training, steps=self.shared_steps)
            together(self.network_, lessons, examples[np.zeros(0, int)], self.losses, rng)
            self.network_ = repeated(self.network_, self.ensemble)
        weights = bootstrapped(len(lessons), seeds) if self.bootstrap else None
        if worth is not None:
            weights = worth[train].expand(self.ensemble, -1) * (1.0 if weights is None else weights)
        held_weights = None if worth is None else worth[held]
        return training(self.network_, lessons, examples[held], self.losses, rng, weights, held_weights)

    @torch.no_grad()
    def _present(self, seeds: Sequence[int]) -> Network:
        """The networks as they are, as copies that see what they saw when they were fresh."""
        network = self._fresh(seeds)
        for fresh, learned in zip(network.parameters(), self.network_.parameters(), strict=True):
            fresh.copy_(learned)
        return network

    def _fresh(self, seeds: Sequence[int]) -> Network:
        sizes = (self.inputs_.width, *self.hidden, 1)
        if self.latent:
            return Bottleneck.fresh(sizes, self.latent, self.beta, seeds, self.seen, self.narrowest)
        return Ensemble.fresh(sizes, seeds, self.seen, self.narrowest)

    def standardise(self, reference: Segments) -> Self:
        """Brings every member to mean 0 and standard deviation 1 over the steps of a reference set, and returns the model."""
        x = self.inputs_(self.inputs_.tensors(reference))[torch.from_numpy(reference.valid)]
        raw = self._raw(x[:: max(1, len(x) // REFERENCE)])
        deviation = raw.std(1, correction=0, keepdim=True)
        self.slope_ = 1 / torch.where(deviation > 0, deviation, 1.0)
        self.intercept_ = -raw.mean(1, keepdim=True) * self.slope_
        return self

    def averaged(self, reference: Segments) -> Self:
        """A model of one network, the average of the members' weights, standardised on `reference`: see `networks.averaged`."""
        self._check_fitted()
        found = copy(self)
        found.ensemble, found.network_ = 1, averaged(self.network_)
        return found.standardise(reference)

    # Paying

    def __call__(self, t: Observed) -> Array:
        """The reward of steps, [B]: what agents are paid. Of a Transition nothing but what can be observed is used."""
        return self.predict(t.observed() if isinstance(t, Transition) else t)

    @torch.no_grad()
    def predict(self, observed: Observed) -> Array:
        """The reward of each step, of the leading shape of `observed`: [N] or [N, T], float64."""
        return self._aggregated(self._members(observed)).numpy()

    @torch.no_grad()
    def predict_std(self, observed: Observed) -> Array:
        """How far members disagree on each step: their standard deviation (ddof 0), of the leading shape."""
        return self._members(observed).std(0, correction=0).numpy()

    @torch.no_grad()
    def members(self, observed: Observed) -> Array:
        """What each member says of each step, [K, ...]."""
        return self._members(observed).numpy()

    @torch.no_grad()
    def latents(self, observed: Observed) -> Array:
        """Where each member's bottleneck puts each step: the mean of z, [K, ..., latent]. Raises ProxygapError without one."""
        self._check_fitted()
        if not isinstance(self.network_, Bottleneck):
            raise ProxygapError("this model has no bottleneck: set latent to its dimensions, and fit again")
        x = self.inputs_(self.inputs_.tensors(observed))
        mean, _ = self.network_.encoded(x.flatten(0, -2))
        return mean.view(*mean.shape[:1], *x.shape[:-1], self.latent).double().numpy()

    def returns(self, segments: Segments) -> Array:
        """The summed reward of the valid steps of each stretch, [N]: an `EpisodeReward`."""
        return np.where(segments.valid, self.predict(segments), 0.0).sum(1)

    def score_tensors(self, tensors: Mapping[str, Tensor], shift: Tensor | None = None) -> Tensor:
        """The reward of steps [...] given as tensors of the fields in `inputs`, through which gradients flow: for attacks.

        A discrete action may be given by floating-point weights of the actions that were seen (`inputs_.levels`), [..., n].
        `shift` [K, ..., hidden[0]] (`latent_shape`) is added to each member's first hidden layer, after its ReLU: what an
        attack may do to the model's own account of a step. Raises ProxygapError where there is no such layer.
        """
        self._check_fitted()
        x = self.inputs_(tensors)
        rows = x.flatten(0, -2)
        raw = self.network_(rows) if shift is None else self._layered().outputs(rows, shift.flatten(1, -2)).squeeze(-1)
        return self._aggregated((raw.double() * self.slope_ + self.intercept_).view(self.ensemble, *x.shape[:-1]))

    def latent_shape(self, rows: int, steps: int) -> tuple[int, int, int, int]:
        """The shape [K, N, T, hidden[0]] of a `shift` for N stretches of T steps. Raises ProxygapError where there is none."""
        return self.ensemble, rows, steps, self._layered().sizes[1]

    @torch.no_grad()
    def activations(self, observed: Observed) -> Array:
        """What each member's first hidden layer says of each step, after its ReLU: [K, ..., hidden[0]]."""
        network = self._layered()
        x = self.inputs_(self.inputs_.tensors(observed))
        found = torch.cat([network.activations(rows) for rows in x.flatten(0, -2).split(ROWS)], 1)
        return found.view(self.ensemble, *x.shape[:-1], -1).numpy()

    def _layered(self) -> Ensemble:
        """The network, if its hidden layers can be reached into."""
        self._check_fitted()
        if not isinstance(self.network_, Ensemble):
            raise ProxygapError("a model with a bottleneck has no hidden layer to reach into: set latent to 0, and fit again")
        return self.network_

    def _aggregated(self, members: Tensor) -> Tensor:
        return aggregation(self.aggregate)(members, self.penalty)

    def _members(self, observed: Observed) -> Tensor:
        self._check_fitted()
        x = self.inputs_(self.inputs_.tensors(observed))
        return (self._raw(x.flatten(0, -2)) * self.slope_ + self.intercept_).view(self.ensemble, *x.shape[:-1])

    @torch.no_grad()
    def _raw(self, x: Tensor) -> Tensor:
        """What the networks say of rows [M, d], [K, M], in double precision from here on."""
        return torch.cat([self.network_(rows) for rows in x.split(ROWS)], 1).double()

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise ProxygapError(f"this {type(self).__name__} has not learned anything yet: call fit first")

    def _check_env(self, env: str) -> None:
        """Raises ProxygapError for feedback from another environment than the model's."""
        self._check_fitted()
        if env != self.env_:
            raise ProxygapError(f"feedback from {env}, but the model was fitted to {self.env_}: fit one to {env}")

    # Storing

    def save(self, path: str | os.PathLike[str]) -> None:
        """Stores settings and all that was learned, the whole file or nothing. Raises ProxygapError if that can't be done."""
        self._check_fitted()
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        learned = {name: getattr(self, name) for name in ("env_", "history_", *self.numbers)}
        about = {"format": FORMAT, "kind": type(self).__name__, "settings": settings, "learned": learned}
        arrays = {f"network.{i:02d}": tensor for i, tensor in enumerate(self.network_.parameters())}
        arrays |= {f"inputs.{name}": tensor for name, tensor in self.inputs_.arrays().items()}
        arrays |= {"slope": self.slope_, "intercept": self.intercept_, "held": torch.from_numpy(self.held_)}
        about["shapes"] = self.inputs_.shapes
        stored = {name: tensor.detach().contiguous() for name, tensor in arrays.items()}
        write(Path(path), to_bytes(stored, {KEY: json.dumps(about | {"sha256": _fingerprint(about, stored)})}), "a model")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The model that `save` stored. Raises ProxygapError for a file that is missing, damaged, or of another kind."""
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {}).get(KEY, '{"kind": "foreign file", "format": "unknown"}'))
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about["format"] != FORMAT or about["kind"] != cls.__name__:
                raise ProxygapError(f"it holds a {about['kind']} in format {about['format']}, no {cls.__name__} in {FORMAT}")
            if about.pop("sha256") != _fingerprint(about, arrays):
                raise ProxygapError("its content (sha256) has changed since it was written")
            settings: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in about["settings"].items()}
            return cls(**settings)._filled(about, arrays)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ProxygapError(f"can't read a {cls.__name__} from {path} ({error}): give a file that `save` wrote") from error

    def _filled(self, about: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        self.inputs_ = Inputs.filled(about["shapes"], _below("inputs.", arrays))
        parameters = [tensor for _, tensor in sorted(_below("network.", arrays).items())]
        form = self._fresh(range(self.ensemble))
        if [tensor.shape for tensor in parameters] != [tensor.shape for tensor in form.parameters()]:
            raise ProxygapError("its weights are not those that its settings ask for")
        self.network_ = form.with_parameters(parameters)
        self.slope_, self.intercept_, self.held_ = arrays["slope"], arrays["intercept"], arrays["held"].numpy()
        for name in ("env_", "history_", *self.numbers):
            setattr(self, name, about["learned"][name])
        return self


def _below(prefix: str, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in arrays.items() if name.startswith(prefix)}


def _fingerprint(about: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(json.dumps(about).encode() + to_bytes(dict(arrays))).hexdigest()
