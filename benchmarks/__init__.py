"""How fast is it? `python -m benchmarks.environments` and `python -m benchmarks.training`, from the repository's root.

What is compared is measured in one run, in turns, so that a busy machine slows both: trust the ratios, and of the rates only
the order of magnitude. All times are CPU seconds of this one process. Aims stand beside what was measured; none is asserted.
"""

import json
import math
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import process_time

from rich.console import Console
from rich.table import Table

Say = Callable[[str], None]  # tells the user what is being done
Work = Callable[[], float]  # does some work and returns how much it was
OUTPUT_WIDTH = 140  # characters, where the output is no terminal


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    measured: float  # infinite for a time at which it was not there yet
    unit: str
    aim: float | None = None
    at_most: bool = False  # which side of the aim is the good one
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.aim is None:
            return None
        return self.measured <= self.aim if self.at_most else self.measured >= self.aim

    def row(self) -> list[str]:
        """The line's cells."""
        aim = "" if self.aim is None else f"{'at most' if self.at_most else 'at least'} {number(self.aim)}"
        verdict = {None: "", True: "[green]met", False: "[red]missed"}[self.met]
        return [self.what, f"{number(self.measured)} {self.unit}", aim, verdict, self.note]

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON, where an infinite time becomes null."""
        return asdict(self) | {"measured": self.measured if math.isfinite(self.measured) else None, "met": self.met}


Benchmark = Callable[[bool, Say], Sequence[Figure]]  # given whether to be quick


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if not math.isfinite(value):
        return "never"
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rates(contestants: Mapping[str, Work], repeats: int, say: Say) -> dict[str, list[float]]:
    """How much work each does in a CPU second, in every round; they take turns, after a warm-up that doesn't count."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, work in contestants.items():
            say(f"{name}, round {turn} of {repeats}")
            begun = process_time()
            done = work()
            found[name].append(done / (process_time() - begun))
    return {name: values[1:] for name, values in found.items()}


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median over rounds of one rate over the other."""
    return median(value / other for value, other in zip(values, others, strict=True))


def main(benchmarks: Mapping[str, Benchmark], about: str) -> None:
    """Runs the benchmarks that are asked for, and prints what they found as a table or as JSON."""
    parser = ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="less work and fewer seeds: a first look")
    parser.add_argument("--only", nargs="+", choices=list(benchmarks), default=list(benchmarks), help="some of the benchmarks")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and nothing else")
    options = parser.parse_args()
    figures = [figure for name in options.only for figure in _shown(name, benchmarks[name], options.quick)]
    if options.json:
        print(json.dumps([figure.as_dict() for figure in figures], indent=2))
    else:
        _console().print(_table(figures))


def _shown(name: str, benchmark: Benchmark, quick: bool) -> Sequence[Figure]:
    """What a benchmark finds, with its progress on standard error."""
    errors = Console(stderr=True, highlight=False)
    with errors.status(name) as status:
        figures = benchmark(quick, lambda doing: status.update(f"{name}: {doing}"))
    errors.print(f"{name}: done")
    return figures


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else OUTPUT_WIDTH, highlight=False)


def _table(figures: Sequence[Figure]) -> Table:
    table = Table("what", "measured", "aim", "", "how", title="Measured in one run, on one core")
    for figure in figures:
        table.add_row(*figure.row())
    return table
