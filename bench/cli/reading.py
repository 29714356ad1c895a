"""``invbench show`` and ``invbench report``: what a run found, in the terminal and as a page."""

from __future__ import annotations

from pathlib import Path

import click

run_argument = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command(epilog="Example: invbench show runs/latest-procfaces", short_help="The tables, in the terminal.")
@run_argument
def show(run: Path) -> None:
    """Print the tables of the run folder RUN: every method with n of N, metrics, times, and the reasons of failures."""
    print_tables(run)


@click.command(epilog="Example: invbench report runs/latest-procfaces --inline", short_help="The page, with pictures.")
@run_argument
@click.option("--inline", is_flag=True, help="Put pictures and scripts into the page: one file that can be mailed.")
@click.option("--images", type=click.IntRange(min=0), default=4, show_default=True, help="Pictures of each dataset shown.")
def report(run: Path, inline: bool, images: int) -> None:
    """Write RUN/report/index.html, which opens without a server or a network, and print its path."""
    click.echo(write_page(run, inline=inline, images=images))


def print_tables(run: Path) -> None:
    """Print the tables of a run folder; raises InvbenchError when it is not one."""
    from bench.store import Store
    from reports import tables

    click.echo(tables.terminal(Store(run)))


def write_page(run: Path, *, inline: bool = False, images: int = 4) -> Path:
    """Write the page of a run folder and return its path; raises InvbenchError when it is not one."""
    from bench.store import Store
    from reports import board

    return board.write(Store(run), inline=inline, images=images)
