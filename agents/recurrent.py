"""A small recurrent network that writes on as others did: actions drawn from the chances that a GRU learned by imitation.

    env = make("storyteller")
    stories = collect(env, drawn(env, partial(env.chances, injuries=0.01)), 5000, seed=0)  # by authors who know the grammar
    generator = RecurrentGenerator(env, sequence=True).fit(stories.segments())
    written = collect(env, generator.policy(seed=1, temperature=0.8), 1000, seed=10_000)

It stands for the language model of Ziegler et al. 2022 (arXiv:2205.01663): what it writes is filtered, and its chances say
which substitutes are plausible. The temperature is its noise: the higher, the less of what it learned is left. Gated recurrent
units: Cho et al. 2014 (arXiv:1406.1078).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..envs.batch import Array
from ..envs.core import Loop, ProxyEnv, ProxygapError, Segments
from .rollouts import Policy
from .training import one_thread

STEEPEST = 1.0  # norm at which gradients are cut


def drawn(env: ProxyEnv[Any], chances: Callable[[Any], Array], seed: int = 0) -> Policy:
    """A policy that draws each action from the `chances` [B, n] that a function of the state gives: a script that varies."""
    _check_discrete(env)
    generator = torch.Generator().manual_seed(seed)
    return lambda loop: env.action_space.start + _tossed(torch.as_tensor(chances(loop.state)), generator)  # pyright: ignore[reportAttributeAccessIssue]


class Network(nn.Module):
    """Reads rows or numbers one after another, and has an opinion on the next action after each."""

    def __init__(self, encoder: nn.Module, hidden: int, actions: int) -> None:
        super().__init__()
        self.encoder, self.gru, self.head = encoder, nn.GRU(hidden, hidden, batch_first=True), nn.Linear(hidden, actions)

    def forward(self, inputs: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [N, S, n] after each of S inputs, and the memory [1, N, hidden] after the last."""
        read, after = self.gru(self.encoder(inputs), memory)
        return self.head(read), after


@dataclass
class RecurrentGenerator:
    """Acts in `env`, whose actions are Discrete, as those did whom it was fitted to.

    It reads what was seen and the last action, step by step, from the beginning of a stretch. With `sequence`, observations are
    rows of whole numbers from 1 on, as they were written, with 0 where nothing is written yet: then it reads number by number
    all that is shown, and knows what came before even where it begins in the midst of an episode.
    """

    env: ProxyEnv[Any]
    sequence: bool = False
    hidden: int = 48
    epochs: int = 20
    batch: int = 64  # stretches a gradient step
    learning_rate: float = 0.01  # falls to 0

    def __post_init__(self) -> None:
        _check_discrete(self.env)
        counts = {name: getattr(self, name) for name in ("hidden", "epochs", "batch")}
        if wrong := [f"{name} {value}" for name, value in counts.items() if value < 1]:
            raise ProxygapError(f"{', '.join(wrong)}: at least 1 is needed")
        space = self.env.observation_space
        if self.sequence and not (isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded()):
            raise ProxygapError(f"sequence: {self.env.name} shows {space}, not a row of whole numbers that is written on")

    # Learning

    def fit(self, segments: Segments, seed: int = 0) -> Self:
        """Maximises the likelihood of the stretches' actions; what was learned before is gone. Returns the generator.

        `history_` is the mean loss of each epoch, nats per action. Raises ProxygapError where there is nothing to learn from.
        """
        if not segments.valid.any():
            raise ProxygapError(f"{len(segments)} stretches without a step: give at least one to learn from")
        self._check(segments)
        seen = segments.observation[segments.valid]
        self.mean_, deviation = (torch.as_tensor(of(seen, 0), dtype=torch.float32).flatten() for of in (np.mean, np.std))
        self.deviation_ = torch.where(deviation > 0, deviation, 1.0)
        inputs, place = self._inputs(segments)
        action, valid = torch.as_tensor(segments.action - self._first).long(), torch.as_tensor(segments.valid)
        with one_thread():
            self.network_ = self._fresh(seed)
            self.history_ = self._train(inputs, place, torch.where(valid, action, -100), seed)
        return self

    def _train(self, inputs: Tensor, place: Tensor, action: Tensor, seed: int) -> list[float]:
        """What was lost in each epoch; actions of -100 don't count."""
        generator, optimizer = torch.Generator().manual_seed(seed), torch.optim.Adam(self.network_.parameters())
        per_epoch, history = -(-len(inputs) // self.batch), []
        for epoch in range(self.epochs):
            lost = 0.0
            for count, rows in enumerate(torch.randperm(len(inputs), generator=generator).split(self.batch)):
                left = 1.0 - (epoch + count / per_epoch) / self.epochs
                optimizer.param_groups[0]["lr"] = self.learning_rate * left
                logits = self._chosen(self.network_(inputs[rows])[0], place[rows])
                loss = cross_entropy(logits.flatten(0, 1), action[rows].flatten(), reduction="sum")
                number = (action[rows] >= 0).sum().clamp(min=1)
                optimizer.zero_grad()
                (loss / number).backward()
                nn.utils.clip_grad_norm_(self.network_.parameters(), STEEPEST)
                optimizer.step()
                lost += loss.item()
            history.append(lost / int((action >= 0).sum()))
        return history

    def _fresh(self, seed: int) -> Network:
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)
            if self.sequence:
                highest = int(self.env.observation_space.high.max())  # pyright: ignore[reportAttributeAccessIssue]
                return Network(nn.Embedding(highest + 1, self.hidden), self.hidden, self._actions)
            return Network(nn.Linear(len(self.mean_) + self._actions, self.hidden), self.hidden, self._actions)

    # What it reads

    def _inputs(self, segments: Segments) -> tuple[Tensor, Tensor]:
        """What is read of N stretches, [N, S] or [N, S, d], and after which of it each action is chosen, [N, T]."""
        if not self.sequence:
            last = np.concatenate([np.full((len(segments), 1), -1), segments.action[:, :-1] - self._first], 1)
            place = torch.arange(segments.valid.shape[1]).expand(segments.valid.shape)
            return self._rows(segments.observation, last), place
        ends = np.maximum(segments.valid.sum(1) - 1, 0)
        whole = segments.next_observation[np.arange(len(segments)), ends]
        return self._begun(whole), torch.as_tensor((segments.observation != 0).sum(-1))

    def _begun(self, observation: Array) -> Tensor:
        """Rows of numbers [N, L] as what is read [N, 1 + L]: a 0 before them is the beginning, and more of them the end."""
        written = np.take_along_axis(observation, (observation == 0).argsort(1, kind="stable"), 1)
        return torch.as_tensor(np.pad(written, [(0, 0), (1, 0)]).astype(np.int64))

    def _rows(self, observation: Array, last: Array) -> Tensor:
        """What is read of steps [..., *observation] after actions [...] from 0 on, -1 for none: [..., d]."""
        seen = torch.as_tensor(observation.reshape(*last.shape, -1).astype(np.float32))
        did = torch.as_tensor(last[..., None] == np.arange(self._actions)).float()
        return torch.cat([(seen - self.mean_) / self.deviation_, did], -1)

    @staticmethod
    def _chosen(logits: Tensor, place: Tensor) -> Tensor:
        """The logits [N, T, n] after the inputs at `place` [N, T]."""
        return logits.gather(1, place[..., None].expand(*place.shape, logits.shape[-1]))

    # Acting

    @torch.no_grad()
    def probabilities(self, segments: Segments, temperature: float = 1.0) -> Array:
        """The chance of each action at each step of N stretches, [N, T, n]; 0 at steps that are not valid."""
        self._check_fitted(temperature)
        self._check(segments)
        inputs, place = self._inputs(segments)
        logits = torch.cat([self.network_(rows)[0] for rows in inputs.split(1024)]) if len(inputs) else torch.zeros(0)
        chances = (self._chosen(logits, place) / temperature).double().softmax(-1).numpy()
        return chances * segments.valid[..., None]

    def score(self, segments: Segments) -> float:
        """The mean log-likelihood of the stretches' actions, nats per action."""
        chances, valid = self.probabilities(segments), segments.valid
        return float(np.log(chances[valid, segments.action[valid] - self._first]).mean())

    def policy(self, seed: int = 0, temperature: float = 1.0) -> Policy:
        """Draws actions by its chances to the power of 1 / temperature, which may be small but not 0.

        What it remembers of each world is forgotten where an episode or an option begins.
        """
        self._check_fitted(temperature)
        memory, generator = self._remembered(0), torch.Generator().manual_seed(seed)

        @torch.no_grad()
        def policy(loop: Loop[Any]) -> Array:
            nonlocal memory
            if len(memory.last) != len(loop.start):
                memory = self._remembered(len(loop.start))
            logits = self._read_on(memory, loop) if self.sequence else self._step_on(memory, loop)
            memory.last = _tossed((logits / temperature).double().softmax(-1), generator)
            return self._first + memory.last

        return policy

    def _remembered(self, batch: int) -> "_Memory":
        seen = np.zeros((batch, *(self.env.observation_space.shape or ())))
        none, logits = np.zeros(batch, int), torch.zeros(batch, self._actions)
        return _Memory(torch.zeros(1, batch, self.hidden), logits, none - 1, none, seen)

    def _step_on(self, memory: "_Memory", loop: Loop[Any]) -> Tensor:
        """Logits [B, n] after one more step."""
        memory.forget(loop.start)
        logits, memory.state = self.network_(self._rows(loop.observation, memory.last)[:, None], memory.state)
        return logits[:, 0]

    def _read_on(self, memory: "_Memory", loop: Loop[Any]) -> Tensor:
        """Logits [B, n] after all that is shown, of which only what is new is read."""
        numbers = self._begun(loop.observation)
        shown, written = 1 + (loop.observation != 0).sum(1), numbers[:, 1:].numpy()
        memory.forget(loop.start | ((memory.seen != 0) & (memory.seen != written)).any(1))
        while len(rows := np.flatnonzero(memory.count < shown)):
            logits, state = self.network_(numbers[rows, memory.count[rows]][:, None], memory.state[:, rows])
            memory.logits[rows], memory.state[:, rows] = logits[:, 0], state
            memory.count[rows] += 1
        memory.seen = written
        return memory.logits

    # What is allowed

    @property
    def _first(self) -> int:
        return int(self.env.action_space.start)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def _actions(self) -> int:
        return int(self.env.action_space.n)  # pyright: ignore[reportAttributeAccessIssue]

    def _check(self, segments: Segments) -> None:
        shape, given = self.env.observation_space.shape, segments.observation.shape[2:]
        if given != shape or segments.action.shape != segments.valid.shape:
            raise ProxygapError(
                f"observations {given} and actions {segments.action.shape[2:]} a step: {self.env.name} has {shape} and ()"
            )
        action, last = segments.action[segments.valid], self._first + self._actions - 1
        if len(action) and not self._first <= action.min() <= action.max() <= last:
            raise ProxygapError(f"actions {action.min()} to {action.max()}: {self.env.name} has {self._first} to {last}")

    def _check_fitted(self, temperature: float) -> None:
        if not hasattr(self, "network_"):
            raise ProxygapError("this generator has not learned anything yet: call fit first")
        if not 0 < temperature < np.inf:
            raise ProxygapError(f"temperature {temperature}: a finite number above 0 is needed")


@dataclass
class _Memory:
    """What a policy remembers of B worlds."""

    state: Tensor  # [1, B, hidden] of the network
    logits: Tensor  # [B, n] after what was read last
    last: Array  # [B] action from 0 on, -1 for none
    count: Array  # [B] numbers read
    seen: Array  # [B, *observation] from which they were

    def forget(self, worlds: Array) -> None:
        """Begins anew in these worlds, [B] bool."""
        self.state[:, worlds], self.last[worlds], self.count[worlds], self.seen[worlds] = 0.0, -1, 0, 0.0


def _tossed(chances: Tensor, generator: torch.Generator) -> Array:
    """An action [B] from 0 on, drawn by its chances [B, n]."""
    return torch.multinomial(chances, 1, generator=generator)[:, 0].numpy()


def _check_discrete(env: ProxyEnv[Any]) -> None:
    if not isinstance(env.action_space, spaces.Discrete):
        raise ProxygapError(f"{env.name} has actions {env.action_space}: chances of each are known of Discrete ones only")
