"""`proxygap claims`: what the literature claims, tested here."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import tyro
from rich.console import Console

from ..claims import CLAIMS, Record, examined
from .output import print_json, print_table

HEAD = ("quantity", "value [95 %]", "verdict", "reading")


@dataclass(frozen=True)
class Claims:
    """Tests claims of the literature, and prints what was measured, its 95 % interval over 5 seeds, and the verdict.

    A claim that fails here is a finding, so the exit code is 0 all the same. Progress is shown on standard error.

    Examples:
        proxygap claims
        proxygap claims 3 10
        proxygap claims 11 --json
        proxygap claims --markdown
    """

    claims: tyro.conf.Positional[tuple[int, ...]] = ()
    """Numbers of claims; all by default."""
    json: bool = False
    """Print JSON and nothing else."""
    markdown: bool = False
    """Print one table in Markdown, as docs/claims.md has it."""

    def run(self) -> None:
        """Prints the records, claim by claim."""
        with Console(stderr=True).status("") as status:
            found = list(examined(self.claims, status.update))
        if self.json:
            print_json([asdict(record) for record in found])
            return
        if self.markdown:
            print("\n".join(_markdown(found)))
            return
        for number in dict.fromkeys(record.claim for record in found):
            records = [record for record in found if record.claim == number]
            seconds = sum(record.cpu_seconds for record in records)
            print_table(HEAD, map(_row, records), title=f"{number}: {CLAIMS[number][0]} ({seconds:.1f} CPU s)")


def _row(record: Record) -> tuple[str, str, str, str]:
    interval = f"{record.interval} of {record.interval.n} runs" if record.interval.n else f"{record.interval.value:.4g} (exact)"
    return (record.quantity, interval, record.verdict, record.reading)


def _markdown(records: list[Record]) -> Iterator[str]:
    """The lines of a table: each claim in bold with its time, then its quantities."""
    yield "| | quantity | value [95 %] | verdict | reading |\n|---|---|---|---|---|"
    for number in dict.fromkeys(record.claim for record in records):
        own = [record for record in records if record.claim == number]
        yield f"| **{number}** | **{CLAIMS[number][0]}** | | | {sum(record.cpu_seconds for record in own):.1f} CPU s |"
        yield from (f"| | {' | '.join(cell.replace('|', '/') for cell in _row(record))} |" for record in own)
