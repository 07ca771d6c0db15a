"""`proxygap watch`: an agent plays, in a window, into a file, or unseen."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ...agents.rollouts import Returns, evaluate
from ...envs.batch import Array
from ...envs.core import ProxygapError, Sums
from .output import print_json, print_table
from .players import Player, find_player
from .screen import painter_of, require_display

SHOWN, UNSEEN = 1, 100  # episodes, by default
IMAGE_RATE = 10  # frames a second of .webp and .gif files, which hold every frame in memory while they are written
HOLD = 1.5  # s, for which an episode's last frame stands


@dataclass(frozen=True)
class Watch:
    """Shows an agent at play and what it earns: by the proxy that it was paid by, and in truth.

    The agent is a training run's own, or in an environment one of its scripted policies, "random", or one that ships with the
    package ("trained-" and the name of what it was trained on). Without a display, use --video or --headless.

    Examples:
        proxygap watch lagoon
        proxygap watch lagoon --agent racer --video racer.webp
        proxygap watch runs/train-Lagoon-turbos-ppo-seed0 --episodes 3
        proxygap watch boat_race --agent gamer --json
    """

    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_OR_ENV")]
    """A training run's folder, or an environment: a name (see `proxygap envs`) or FILE.py:Class."""
    agent: str | None = None
    """Who plays; by default the run's own agent, or in an environment the shipped one, or else its reference policy."""
    proxy: str | None = None
    """The proxy to measure; by default the one that the agent was paid by, or the environment's first."""
    episodes: int | None = None
    """How many; 1 where they are shown and 100 unseen, by default."""
    seed: int = 0
    """Of the first episode; every further one has the next."""
    headless: bool = False
    """Show nothing, only measure."""
    video: Path | None = None
    """Save the episodes as a film: .webp, .gif, or .mp4 (needs the extra "video")."""
    json: bool = False
    """Show nothing and print the mean returns as JSON, and nothing else."""
    trust: bool = False
    """Import the environment's code that a run names, which is not registered: only for runs whose origin you know."""

    def run(self) -> None:
        """Plays, and prints what it came to."""
        unseen = (self.headless or self.json) and self.video is None
        episodes = (UNSEEN if unseen else SHOWN) if self.episodes is None else self.episodes
        if episodes < 1 or self.seed < 0:
            raise ProxygapError(f"--episodes {episodes} --seed {self.seed}: at least 1 episode is needed, and a seed from 0")
        player = find_player(self.target, self.agent, self.proxy, self.seed, self.trust)
        if self.video is None and not unseen:
            require_display("save a film with --video FILE.webp, or only measure with --headless")
        if unseen:
            returns = evaluate(player.env, player.policy, episodes, self.seed, proxy=player.proxy)
        else:
            returns = perform(player, episodes, self.seed, self.video)
        self._print(player, returns)

    def _print(self, player: Player, returns: Returns) -> None:
        if self.json:
            names = {"env": player.world, "agent": player.name, "proxy": player.proxy, "seed": self.seed}
            print_json(names | returns.as_dict())
        else:
            print_returns(player, returns)
        if self.video and not self.json:
            print(f"Film: {self.video}")


def perform(player: Player, episodes: int, seed: int, video: Path | None) -> Returns:
    """What the episodes came to that were shown: in a window, until it is closed, or in a film. Raises ProxygapError."""
    from ...envs.painting import animation  # pygame: only where something is drawn

    painter = painter_of(player.env, player.env.weights(player.proxy), window=video is None)
    ended: list[Sums] = []
    moments = _moments(player, painter, episodes, seed, ended)
    if video is not None:
        rate = player.env.frames_per_second
        stride = 1 if video.suffix == ".mp4" else max(round(rate / IMAGE_RATE), 1)
        animation(_frames(painter, moments, stride, round(HOLD * rate / stride)), video, rate / stride)
    else:
        _show(painter, moments)
    if not ended:
        raise ProxygapError("the window was closed before the first episode was over: there is nothing to sum up")
    sums = Sums.concatenate(ended)
    return Returns(sums.proxy, sums.true, sums.paid, sums.length, sums.terms, tuple(player.env.term_names))


def _moments(player: Player, painter: Any, episodes: int, seed: int, ended: list[Sums]) -> Iterator[bool]:
    """Plays, with the painter at every moment; yields whether an episode is over, whose sums are then added to `ended`."""
    loop = player.env.loop(1, proxy=player.proxy, autoreset=False)
    for episode in range(episodes):
        loop.reset(seed + episode)
        painter.update(loop.state, None)
        yield False
        while not (step := loop.step(player.policy(loop))).done[0]:
            painter.update(loop.state, step)
            yield False
        painter.update(loop.state, step)
        ended.append(step.sums)
        yield True


def _frames(painter: Any, moments: Iterator[bool], stride: int, hold: int) -> Iterator[Array]:
    """Every `stride`-th frame, and the last one of each episode `hold` times."""
    for count, over in enumerate(moments):
        if over or count % stride == 0:
            yield from [painter.frame()] * (hold if over else 1)


def _show(painter: Any, moments: Iterator[bool]) -> None:
    for over in moments:
        for _ in range(round(HOLD * painter.env.frames_per_second) if over else 1):
            painter.show()
        if painter.closed:
            return
    painter.close()


def print_returns(player: Player, returns: Returns) -> None:
    """Prints the returns and every term's sum, with the weights that both rewards give it."""
    paid, wanted = player.env.weights(player.proxy), player.env.true_reward
    rows = [("proxy return", returns.proxy, None, None), ("true return", returns.true, None, None)]
    rows += [(name, sums, paid.get(name), wanted.get(name)) for name, sums in zip(returns.names, returns.terms.T, strict=True)]
    head = ("per episode", "mean", "least", "greatest", "weight in proxy", "in truth")
    count = len(returns.true)
    title = f"{player.name} in {player.world}, {count} episode{'s' * (count > 1)}"
    table = [(name, *(float(f(values)) for f in (lambda v: v.mean(), min, max)), *weights) for name, values, *weights in rows]
    print_table(head, table, head[1:], title=title)
