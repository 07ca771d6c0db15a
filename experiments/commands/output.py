"""What commands print: tables for people, JSON for machines. Results go to standard output, all else to standard error."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PIPED_WIDTH = 200  # characters, where nobody watches: nothing is cut


def console() -> Console:
    """Standard output, in colour where it is a terminal and NO_COLOR is not set."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def print_json(value: Any) -> None:
    """Prints plain data as JSON; numbers that JSON has not (not finite) become null."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[str] = (), title: str | None = None
) -> None:
    """Prints a table; columns called in `numbers` are aligned on the right. Texts are printed as they are, without markup."""
    found = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False)
    for name in head:
        found.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        found.add_row(*(escape(shown(cell)) for cell in row))
    console().print(found)


def shown(value: Any) -> str:
    """A value for people: numbers with what matters of them, nothing for None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
