"""``invbench show`` and ``invbench report``: the results of a run, in the terminal and as a page."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.api import printable
from invbench.util.numbers import count_type

run_argument = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))


SHOW_EPILOG = """\b
Examples
  invbench show runs/latest-procfaces
  invbench show runs/latest-procfaces --intervals   every mean with its interval, in several tables if needed
  invbench show runs/latest-procfaces --coverage    how many images each method covers in each metric
"""


@click.command(epilog=SHOW_EPILOG, short_help="Print the tables of a run.")
@run_argument
@click.option("--intervals/--no-intervals", default=None, help="Show the interval of every mean. [default: if it fits]")
@click.option("--coverage", is_flag=True, help="Show how many images each method covers, for every metric.")
def show(run: Path, intervals: bool | None, coverage: bool) -> None:
    """Print the tables of the run folder RUN: every method with n of N, metrics, ranks, times, and the reasons of failures.

    Methods are compared on the images that all of them cover; their number is printed below each table.
    """
    print_tables(run, intervals=intervals, coverage=coverage)


@click.command(epilog="Example: invbench report runs/latest-procfaces --inline", short_help="Write the page, with pictures.")
@run_argument
@click.option("--inline", is_flag=True, help="Embed pictures and scripts, so that the page is one file.")
@click.option("--images", type=count_type(0), default=4, show_default=True, help="Pictures to show of each dataset.")
def report(run: Path, inline: bool, images: int) -> None:
    """Write RUN/report/index.html and print its path. The page opens without a server or a network."""
    click.echo(printable(write_page(run, inline=inline, images=images)))


def print_tables(run: Path, *, intervals: bool | None = None, coverage: bool = False) -> None:
    """Print the tables of a run folder. Raises InvbenchError if it is not a run folder."""
    import shutil
    import sys

    from invbench.reports import tables
    from invbench.store import Store

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(tables.terminal(Store(run), intervals=intervals, covered=coverage, width=width))


def write_page(run: Path, *, inline: bool = False, images: int = 4) -> Path:
    """Write the page of a run folder and return its path. Raises WriteFailed if it cannot be written."""
    from invbench.reports import board
    from invbench.store import Store
    from invbench.util.files import WriteFailed

    try:
        return board.write(Store(run), inline=inline, images=images)
    except OSError as error:
        raise WriteFailed(f"{run / 'report'}: could not be written: {error.strerror or error}") from error
