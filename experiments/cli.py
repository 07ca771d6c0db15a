"""The command line: `proxygap COMMAND ...`.

The help is this file's table, and a command's module is imported only when that command is named: torch alone takes seconds.
A command is a frozen dataclass: its fields are the options, its docstrings the help, tyro parses it, and `run` does the work.
"""

import difflib
import inspect
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from ..agents.runs import Interrupted
from ..envs.core import ProxygapError

HERE = "proxygap.experiments"
COMMANDS = {  # name: one line, module:Class
    "envs": ("List the environments, their proxies and what comes of them.", f"{HERE}.commands.envs:Envs"),
    "show": ("Show one environment's card and picture.", f"{HERE}.commands.show:Show"),
    "play": ("Play an environment yourself, with both rewards on screen.", f"{HERE}.commands.play:Play"),
    "watch": ("Watch an agent play: a scripted, a shipped or your own.", f"{HERE}.commands.watch:Watch"),
    "train": ("Train an agent on a proxy, or on the true reward.", f"{HERE}.commands.train:Train"),
    "gap": ("Measure how far the proxy and the truth come apart; writes a report.", f"{HERE}.gap:Gap"),
    "suite": ("Measure the gap of every environment and proxy, in one table.", f"{HERE}.suite:Suite"),
    "optima": ("Show the best known return for every reward, or find it out.", f"{HERE}.optima:Optima"),
    "claims": ("Test claims of the literature, with intervals and verdicts.", f"{HERE}.commands.claims:Claims"),
    "runs": ("List, compare or delete what was trained.", f"{HERE}.commands.runs:Runs"),
    "check": ("Check an environment of your own.", f"{HERE}.commands.check:Check"),
    "doctor": ("Describe this installation, for a bug report.", f"{HERE}.commands.doctor:Doctor"),
}
STUDIES = {  # of `proxygap study NAME`
    "overoptimization": (
        "How much gold is left when a learned reward is optimised?",
        f"{HERE}.overoptimization:Overoptimization",
    ),
    "catastrophes": ("Who brings catastrophes about, and did anyone know?", f"{HERE}.catastrophes:Catastrophes"),
    "red-team": ("Can a filter for catastrophes be hardened by attacks, and against whom?", f"{HERE}.red_team:RedTeam"),
    "hardening": ("Which finds, updates and training make hardening work?", f"{HERE}.hardening_choices:HardeningChoices"),
    "values": ("Are values learned that are only seen through cues, and reported honestly?", f"{HERE}.values:Values"),
    "reward-quality": (
        "Which number foretells what a learned reward is worth?",
        f"{HERE}.reward_quality:RewardQuality",
    ),
}
EXAMPLES = ("watch lagoon --agent gamer", "play lagoon", "gap lagoon --seeds 2")
MISTAKE, INTERRUPTED = 2, 130  # exit codes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the arguments (by default the process's own) name, and returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.formatwarning = lambda message, *_: f"proxygap: {message}\n"  # not the line of code that warned
    try:
        return _run(*arguments)
    except Interrupted as stopped:
        print(f"proxygap: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        print("proxygap: stopped at once; a training run can be resumed from its last checkpoint", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough, as in `proxygap envs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ProxygapError, OSError) as error:
        print(f"proxygap: {error}", file=sys.stderr)
        return MISTAKE


def _run(name: str = "--help", *arguments: str) -> int:
    if name == "study":
        name, arguments = f"study {''.join(arguments[:1])}", arguments[1:]
    if name in ("study ", "study -h", "study --help"):
        print("\n".join(["usage: proxygap study NAME [OPTIONS]", "", *_listed("studies", STUDIES)]))
    elif name in ("-h", "--help", "help"):
        print(overview())
    elif name == "--version":
        print(f"proxygap {version('proxygap')}")
    else:
        return parsed(name, arguments).run() or 0
    return 0


def overview() -> str:
    """What `proxygap --help` prints."""
    lines = [
        "usage: proxygap COMMAND [OPTIONS]",
        "",
        "What happens to what we want when an agent optimises what we measure?",
        "",
    ]
    lines += [*_listed("commands", COMMANDS), "", *_listed("studies (proxygap study NAME)", STUDIES)]
    lines += ["", "examples:", *(f"  proxygap {example}" for example in EXAMPLES)]
    return "\n".join([*lines, "", "`proxygap COMMAND --help` explains a command; `proxygap --version` prints the version."])


def _listed(title: str, table: Mapping[str, tuple[str, str]]) -> list[str]:
    width = max(map(len, table)) + 2
    return [f"{title}:", *(f"  {name:{width}}{line}" for name, (line, _) in table.items())]


def parsed(name: str, arguments: Sequence[str]) -> Any:
    """The command (or "study NAME") called `name`, with the options of the arguments. Raises ProxygapError if there is none."""
    known = COMMANDS | {f"study {study}": found for study, found in STUDIES.items()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ProxygapError(f"no command {name!r}: {hint}there are {', '.join(known)}")
    import tyro  # here, so that the help does without

    module, _, attribute = known[name][1].partition(":")
    command = getattr(import_module(module), attribute)
    unchecked = type(command.__name__, (command,), {"__post_init__": lambda self: None})  # tyro boxes what a check raises
    about = {"prog": f"proxygap {name}", "description": inspect.getdoc(command), "config": (tyro.conf.FlagCreatePairsOff,)}
    return command(**vars(tyro.cli(unchecked, args=list(arguments), **about)))
