"""Learning and paying rewards: in whole batches against pair by pair, and five members against one.

The loop over pairs is how the best-known peer learns from comparisons. Both sides learn from the same pairs, in batches and
networks of the same size, and take a step of AdamW a batch.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import torch
from proxygap.agents.training import train
from proxygap.envs.core import Observed, Segments
from proxygap.envs.recording import random_actions
from proxygap.envs.registry import make
from proxygap.reward_models.feedback import Comparisons
from proxygap.reward_models.networks import Ensemble, Examples, Training
from proxygap.reward_models.preference import PreferenceReward
from torch import nn

from . import Figure, Say, Work, main, rates, ratio

PAIRS, LENGTH = 256, 50  # comparisons, and the steps of each stretch
LEARNED = ("Pendulum", "Lagoon")  # 7 inputs a step, which is what is learned from in the peer's example, and 93
WORLDS, PAID = 256, "Lagoon"  # worlds that a model pays, and which
PROBE = 100_000  # steps of a PPO training
MEMBERS = 5


def compared(name: str) -> Comparisons:
    """Comparisons of random behaviour, answered at random: how fast they are learned from depends on neither."""
    env, rng = make(name), np.random.default_rng(0)
    loop = env.loop(2 * PAIRS)
    loop.reset(seed=0)
    steps = [loop.step(action).transition for action in random_actions(env, 2 * PAIRS, LENGTH)]
    shown = {field: np.stack([getattr(t, field) for t in steps], 1) for field in ("observation", "action", "next_observation")}
    never, numbers = np.zeros((2 * PAIRS, LENGTH), bool), np.arange(2 * PAIRS)
    stretches = Segments(**shown, terminated=never, valid=~never, episode=numbers, start=0 * numbers, truncated=never)
    return Comparisons(stretches[:PAIRS], stretches[PAIRS:], rng.integers(0, 2, PAIRS).astype(float), name)


def batched(comparisons: Comparisons, members: int, steps: int) -> Work:
    """`steps` steps of learning as we do it, counted in pairs."""
    model = PreferenceReward(ensemble=members, steps=1, held_out=0).fit(comparisons)
    sides = (comparisons.first, comparisons.second)
    x = torch.stack([model.inputs_(model.inputs_.tensors(side)) for side in sides], 1)
    examples = Examples(x, torch.ones(x.shape[:3]), torch.from_numpy(comparisons.label).float())
    training, none = Training(steps, batch=model.batch), examples[np.zeros(0, int)]

    def work() -> float:
        network = Ensemble.fresh((x.shape[3], *model.hidden, 1), range(members))
        training(network, examples, none, model.losses, np.random.default_rng(0))
        return steps * model.batch

    return work


class PairByPair(nn.Module):
    """A network that learns as the peer's does: a pair is two passes, each of arrays that become normalised inputs."""

    def __init__(self, inputs: int, actions: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = (inputs, *hidden)
        layers = [layer for sides in pairwise(sizes) for layer in (nn.Linear(*sides), nn.ReLU())]
        self.layers, self.actions = nn.Sequential(*layers, nn.Linear(sizes[-1], 1)), actions
        self.mean, self.variance = torch.zeros(inputs), torch.ones(inputs)

    def rewards(self, stretch: Segments) -> torch.Tensor:
        """[T] of a stretch."""
        seen, following = (torch.as_tensor(array[0]).float() for array in (stretch.observation, stretch.next_observation))
        action = torch.as_tensor(stretch.action[0])
        chosen = action.float() if action.dim() > 1 else nn.functional.one_hot(action.long(), self.actions).float()
        inputs = torch.cat([seen.flatten(1), chosen, following.flatten(1)], 1)
        return self.layers((inputs - self.mean) / (self.variance + 1e-5).sqrt()).squeeze(1)

    def forward(self, pairs: Sequence[tuple[Segments, Segments]]) -> torch.Tensor:
        """The probability that the first is better, one pair after another."""
        return torch.stack([torch.sigmoid((self.rewards(first) - self.rewards(second)).sum()) for first, second in pairs])


def pair_by_pair(comparisons: Comparisons, steps: int) -> Work:
    """The same learning of one network by the loop."""
    model = PreferenceReward(steps=1).fit(comparisons)
    actions = len(model.inputs_.levels.get("action", ()))
    network = PairByPair(model.inputs_.width, actions, model.hidden)
    optimiser = torch.optim.AdamW(network.parameters(), model.learning_rate)
    pairs = [(comparisons.first[i], comparisons.second[i]) for i in range(PAIRS)]
    rng, label = np.random.default_rng(0), torch.from_numpy(comparisons.label).float()

    def work() -> float:
        for _ in range(steps):
            rows = rng.choice(PAIRS, model.batch, replace=False)
            loss = nn.functional.binary_cross_entropy(network([pairs[i] for i in rows]), label[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return steps * model.batch

    return work


def learning(quick: bool, say: Say) -> list[Figure]:
    """Pair-gradients a CPU second."""
    steps, figures = (50 if quick else 200), []
    for name in LEARNED:
        comparisons = compared(name)
        contestants = {
            "one member": batched(comparisons, 1, 2 * steps),
            "five members": batched(comparisons, MEMBERS, steps),
            "pair by pair": pair_by_pair(comparisons, steps // 5),
        }
        found = rates(contestants, 3 if quick else 9, lambda text, name=name: say(f"{name}: {text}"))
        one, five, loop = found.values()
        shape = f"{PreferenceReward().batch} a batch, {LENGTH} steps long"
        figures += [
            Figure(f"{name}: learning from comparisons", median(one), "pairs/s", 5000.0, note=shape),
            Figure(f"{name}: the same pair by pair", median(loop), "pairs/s", note="two passes a pair"),
            Figure(f"{name}: times as fast as pair by pair", ratio(one, loop), "times", 10.0),
            Figure(f"{name}: learning by five members", ratio(one, five), "times the cost of one", 3.0, at_most=True),
        ]
    return figures


def paying(quick: bool, say: Say) -> list[Figure]:
    """What five members cost an agent that they pay, as a share of the training that goes on around them."""
    env, model = make(PAID), PreferenceReward(ensemble=MEMBERS, steps=1).fit(compared(PAID))
    loop = env.loop(WORLDS)
    loop.reset(seed=0)
    (action,) = random_actions(env, WORLDS, 1)
    asked = rates({"paying": payments(model, loop.step(action).transition, 100)}, 5 if quick else 15, say)["paying"]
    milliseconds = 1000 / median(asked)
    steps = PROBE // 2 if quick else PROBE
    say(f"a PPO training of {steps:,} steps")
    trained: Any = train(PAID, algo="ppo", steps=steps, n_envs=WORLDS, evaluations=0, evaluation_episodes=1)
    around = 1000 * trained.metrics[-1]["cpu_seconds"] / (trained.steps / WORLDS)
    share = 100 * milliseconds / (milliseconds + around)
    return [
        Figure(f"paying {WORLDS} worlds from five members", milliseconds, "ms", note=PAID),
        Figure(f"a step of {WORLDS} worlds in a PPO training", around, "ms", note="the shipped preset, but for its worlds"),
        Figure("share of a training that five members would take", share, "%", 30.0, at_most=True),
    ]


def payments(model: PreferenceReward, transition: Observed, times: int) -> Work:
    """The reward of one step, asked for again and again."""

    def work() -> float:
        for _ in range(times):
            model(transition)
        return times

    return work


BENCHMARKS = {"learning": learning, "paying": paying}

if __name__ == "__main__":
    torch.set_num_threads(1)
    main(BENCHMARKS, "How fast rewards are learned and paid.")
