"""``invbench table``: a published table, with the measured values of a run beside it."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.cli.common import RunFolder

EPILOG = """\b
Examples
  invbench table paper:dhr-1                                     as printed, with its known errors
  invbench table paper:dhr-1 runs/latest-procfaces               measured values and rank agreement beside it
  invbench table paper:sam-1 runs/faces --format latex > sam.tex
  invbench table list                                            the names of all tables
"""


@click.command(epilog=EPILOG, short_help="Print a published table beside a run.")
@click.argument("name", metavar="NAME")
@click.argument("run", required=False, type=RunFolder(pictures=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "latex", "csv", "json"]),
    default="terminal",
    show_default=True,
)
@click.option("--dataset", help="Dataset of the run. [default: the published one, else the first of its domain]")
@click.option("--preset", help="Preset in the run. [default: paper if the run has it, else the first]")
@click.option("--notes/--no-notes", default=True, help="Footnotes and their marks. [default: with them]")
def table(name: str, run: Path | None, form: str, dataset: str | None, preset: str | None, notes: bool) -> None:
    """Print the published table NAME (paper:SOURCE-NUMBER), and beside it the measured values of RUN.

    A measured value that must not be compared with the published one is marked, and the reason is printed.
    """
    from invbench.plugins.registry import find
    from invbench.reports import formats, paper_tables, published
    from invbench.store import Store

    if name == "list":
        for id, one in published.tables().items():
            click.echo(f"{id:<24}{one.title}")
        return
    printed = find("table", name, published.tables())
    built = paper_tables.build(printed, Store(run) if run else None, dataset=dataset, preset=preset)
    click.echo(formats.FORMATS[form](built, notes=notes), nl=False)
