"""Claim 7, second half: more capable agents game a proxy more, and at some capability the change is abrupt.

PPO in Recommender is paid for clicks. An agent is more capable for a wider network, or for more training: either should earn it
more clicks and lose more of what users want. A phase transition: of all that is lost as training doubles four times, one of the
doublings loses more than half.

Pan, Bhatia and Steinhardt 2022 (arXiv:2201.03544). Sizes set 2026-11-24 on seeds 100 and 101, where a
network of width 1 earned nearly as many clicks as any.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ...envs.batch import Array
from ..statistics import mean_interval
from . import SEEDS, Record, Say, above, below

ENV, STEPS = "recommender", 400_000
WIDTHS = (1, 4, 16)  # of the two hidden layers
LOOKS = 16  # evaluations of a run: the scale of training, whose doublings are compared


def examine(say: Say, steps: int = STEPS, seeds: Sequence[int] = range(SEEDS)) -> Iterator[Record]:
    """What doubling the width, and the training, does to both returns; and the share of the loss in the steepest doubling."""
    found = np.array([[returns(width, steps, seed, say) for width in WIDTHS] for seed in seeds])  # [S, W, C, 2]
    doublings = 2 ** np.arange(int(np.log2(LOOKS)) + 1)
    scales = {"width": (np.log2(WIDTHS), found[:, :, -1]), "training": (np.log2(doublings), found[:, -1, doublings])}
    for name, (scale, levels) in scales.items():
        for reward, values, wanted in (("true", levels[..., 0], "falls"), ("proxy", levels[..., 1], "rises")):
            slope = mean_interval(np.polyfit(scale, values.T, 1)[0])
            judged = above(slope) if wanted == "rises" else below(slope, 0.0)
            path = ", ".join(f"{value:.1f}" for value in values.mean(0))
            yield Record(7, f"{reward} return per doubled {name} of the agent", slope, judged, f"means: {path}")
    share = mean_interval(steepest(scales["training"][1][..., 0]))
    reading = f"by an even loss it would be {1 / (len(doublings) - 1):.2f}"
    yield Record(7, "share of the loss at the steepest doubling of training", share, above(share, 0.5), reading)


def returns(width: int, steps: int, seed: int, say: Say) -> Array:
    """True and proxy return of an agent of that width, paid by the proxy, at every evaluation: [C, 2]."""
    from ...agents.training import train

    say(f"agent of width {width}, seed {seed}")
    network = {"net_arch": [width, width]}
    agent = train(ENV, steps=steps, seed=seed, policy_kwargs=network, evaluations=LOOKS)
    return np.array([[np.mean(row["true"]), np.mean(row["proxy"])] for row in agent.metrics])


def steepest(true: Array) -> Array:
    """Of what is lost from the first to the last of the levels [S, L], the share lost in one step, the same for all seeds.

    The step is where the mean of the other seeds falls most, so that noise can't make one.
    """
    falls = -np.diff(true, axis=1)
    steps = [np.delete(falls, seed, 0).mean(0).argmax() for seed in range(len(falls))]
    return falls[np.arange(len(falls)), steps] / falls.sum(1)
