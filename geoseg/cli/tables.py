"""Tables and notes as lines of a terminal, a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from io import StringIO

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from geoseg.score.report.tables import Table, comparison_notes, comparison_tables, report_notes, report_tables
from geoseg.score.report.values import Comparison, ScoreReport

__all__ = ["print_comparison", "print_report", "print_table", "table_text"]

_WIDE = 100_000
"""Columns of a console that no table fills."""


def print_report(report: ScoreReport) -> None:
    """Print a score's tables and notes."""
    _print(report_tables(report), report_notes(report))


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison's tables and notes."""
    _print(comparison_tables(comparison), comparison_notes(comparison))


def _print(tables: Iterable[Table], notes: Sequence[str]) -> None:
    for table in tables:
        print_table(table)
        click.echo()
    click.echo("\n".join(notes))


def print_table(table: Table) -> None:
    """Print a table: within the terminal's width on a terminal, else plain and as wide as it is."""
    terminal = Console()
    click.echo(table_text(table, terminal.width if sys.stdout.isatty() else None))


def table_text(table: Table, width: int | None = None) -> str:
    """A table as lines without trailing blanks; nothing in it is cut off.

    Args:
        width: columns to fit the table into by folding words; numbers stay whole, so a table of many numbers
            comes out wider. None: no limit, and no ruler.
    """
    drawn = RichTable(
        box=None if width is None else box.SIMPLE_HEAD,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="" if width is None else "bold",
    )
    for column, name in enumerate(table.head):
        if column in table.left:
            drawn.add_column(Text(name), overflow="fold")
        else:
            width_of_numbers = max(cell_len(row[column]) for row in (table.head, *table.rows))
            drawn.add_column(Text(name), justify="right", no_wrap=True, min_width=width_of_numbers)
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    wide = Console(file=StringIO(), width=_WIDE)
    least = Measurement.get(wide, wide.options, drawn).minimum
    console = Console(
        file=StringIO(), width=_WIDE if width is None else max(width, least), force_terminal=width is not None
    )
    with console.capture() as capture:
        console.print(drawn)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([table.title, *lines] if table.title else lines)
