"""`proxygap check`: is this a sound environment?"""

from dataclasses import dataclass
from typing import Any

import tyro
from rich.console import Console

from ...envs.checking import check_proxy_env, rewards_seen, steps_a_second
from ...envs.core import ProxygapError
from ...envs.registry import make
from .output import print_table

PROBLEMS = 1  # exit code


@dataclass(frozen=True)
class Check:
    """Looks at every step of whole episodes for what training, planning and resuming rely on, and prints each problem it finds.

    The exit code is 0 for a sound environment, and 1 where there are problems.

    Examples:
        proxygap check my_world.py:MyWorld
        proxygap check my_package.worlds:MyWorld --interest
        proxygap check examples/cartpole.py:CartPole
    """

    env: tyro.conf.Positional[str]
    """Environment: FILE.py:Class, module:Class, or a name (see `proxygap envs`)."""

    interest: bool = False
    """Also ask whether it is interesting: what each proxy comes to when it is optimised. Plans and trains; takes minutes."""
    steps: int | None = None
    """Steps of training in that, for each agent; the algorithm's preset by default."""

    def run(self) -> int:
        """Prints the problems, or the scale of each reward where there are none."""
        try:
            env = make(self.env)
        except ProxygapError:
            raise
        except Exception as error:
            print(f"{self.env} can't be made: {type(error).__name__}: {error}")
            return PROBLEMS
        if problems := check_proxy_env(env):
            print(f"{self.env} has {len(problems)} problem{'s' * (len(problems) > 1)}:")
            for problem in problems:
                print(f"- [{problem.check}] {problem}")
            return PROBLEMS
        scales = rewards_seen(env)
        head = ("reward", "least", "mean", "greatest")
        print_table(
            head, [(name, *scale) for name, scale in scales.items()], head[1:], title="A step's rewards under random actions"
        )
        print(f"{self.env} is sound. One world takes {steps_a_second(env):,.0f} steps a second.")
        return self._tell_interest(env) if self.interest else 0

    def _tell_interest(self, env: Any) -> int:
        """Prints what each proxy comes to."""
        from ..interest import interest

        with Console(stderr=True).status("") as status:
            found = interest(env, steps=self.steps, say=status.update)
        head = ("proxy", "expected", "found", "by", "r under the reference")
        print_table(head, [(each.proxy, each.expected, each.found, each.how, str(each.correlation)) for each in found])
        for each in found:
            for problem in each.problems:
                print(f"- [{each.proxy}] {problem}")
        return PROBLEMS if any(each.problems for each in found) else 0
