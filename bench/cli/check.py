"""``invbench check``: which files of a run folder are whole."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.cli.common import RunFolder

EPILOG = """\b
Examples
  invbench check runs/latest-procfaces

\b
Exit code: 0 all is whole; 1 something is damaged, missing or strange; 2 the folder holds no run.
"""


@click.command(epilog=EPILOG, short_help="Is every file of a run whole?")
@click.argument("run", type=RunFolder(pictures=True))
@click.pass_context
def check(ctx: click.Context, run: Path) -> None:
    """Read every file of the run folder RUN and report which are whole.

    Damaged: changed since it was written. Missing: the plan or a row needs it. Strange: it belongs to nothing in the run.
    Nothing is changed; the same `invbench run` as before makes damaged and missing files again.
    """
    from tabulate import tabulate

    from invbench.run.check import STATES, lines
    from invbench.run.check import check as checked

    found = checked(run)
    for line in found.problems:
        click.echo(line)
    click.echo(tabulate(lines(found), headers=["", *STATES]))
    ctx.exit(1 if found.problems else 0)
