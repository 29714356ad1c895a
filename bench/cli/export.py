"""``invbench export``: the pictures of a dataset as files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from invbench.api import InvbenchError, printable
from invbench.cli.common import PathType, config_option, in_process_option, plugin_option, suite_and_plugins, suite_option

EPILOG = """\b
Examples
  invbench export procfaces-test:20 --out inputs          the first 20 pictures, as inputs/NAME.png
  invbench score outputs --against procfaces-test:20      what other code made of them

\b
Exit code: 0 all written; 1 some pictures cannot be read; 2 nothing was started; 3 a file could not be written.
"""


@click.command(epilog=EPILOG, short_help="Write the pictures of a dataset.")
@click.argument("dataset")
@click.option("--out", type=PathType(file_okay=False), required=True, help="A new or an empty folder.")
@suite_option
@in_process_option
@config_option
@plugin_option
@click.pass_context
def export(
    ctx: click.Context,
    dataset: str,
    out: Path,
    suite: str,
    in_process: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Write the pictures of DATASET (ID, ID:COUNT or ./FOLDER) as PNG files, for code that is no part of this project.

    The pictures are those that methods see, aligned and resized as the dataset says.
    """
    from invbench.plugins.selection import choose_datasets

    chosen, registry = suite_and_plugins(suite, config, plugins)
    found = choose_datasets(chosen, [dataset], registry, images=None)
    if len(found) != 1:
        raise InvbenchError(f"{dataset}: expected one dataset, found {', '.join(one.id for one in found)}")
    from invbench.plugins.registry import strangers
    from invbench.run.executors.apart import alone
    from invbench.run.export import export_choice

    work = partial(export_choice, chosen, found[0], out, say=click.echo)
    count, failed = alone(work, strangers([found[0].spec]), here=in_process)
    click.echo(printable(f"{out}: {count} pictures of {found[0].id}"))
    ctx.exit(1 if failed else 0)
