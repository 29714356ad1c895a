"""``invbench edit-fid``: FID of a run's edits against originals with the attribute, in the forms of two public codes."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.cli.common import Names, PathType, RunFolder, config_option, plugin_option, suite_and_plugins

EPILOG = """\b
Examples
  invbench edit-fid runs/full
  invbench edit-fid runs/faces --attributes CelebAMask-HQ-attribute-anno.txt
  invbench edit-fid runs/faces --forms edit_fid_sfe --attributes CelebAMask-HQ-attribute-anno.txt --csv edits.csv

\b
Exit code: 0 done; 1 no form could be computed.
"""


@click.command("edit-fid", epilog=EPILOG, short_help="FID of edits, in the forms of two public codes.")
@click.argument("folder", metavar="RUN", type=RunFolder(pictures=True))
@click.option("--forms", type=Names(), default=(), help="ID, separated by commas. [default: those the suite has networks for]")
@click.option(
    "--attributes", type=PathType(exists=True, dir_okay=False), help="CelebAMask-HQ-attribute-anno.txt, for CelebA-HQ."
)
@click.option("--csv", type=PathType(dir_okay=False), help="Write every value to this file, with all digits.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--quiet", is_flag=True, help="No progress bars.")
@config_option
@plugin_option
@click.pass_context
def edit_fid(
    ctx: click.Context,
    folder: Path,
    forms: tuple[str, ...],
    attributes: Path | None,
    csv: Path | None,
    device: str,
    quiet: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Compare the edited pictures of RUN with the originals that have the attribute, and print a table for each form.

    Each form has sets, files and a network of its own, so values of two forms are never in one table. A table gives the FID at
    each strength of the run, at an equal measured change, and at the best strength, which is searched on these pictures. The
    values are kept in RUN/edit_sets.json, and `show` and the site have the same tables.
    """
    from invbench.reports import edit_sets as report
    from invbench.run import edit_sets
    from invbench.run.session import Session
    from invbench.store import Store
    from invbench.util.files import write_output
    from invbench.util.progress import Progress

    store = Store(folder)
    chosen, registry = suite_and_plugins(store.plan["suite"], config, plugins)
    with Session(chosen, device=device, readers=0) as session, Progress(enabled=not quiet) as progress:
        edit_sets.measure(store, session, registry, progress, named=forms, attributes=attributes)
    tables = report.tables(store)
    click.echo(report.text(tables, report.without(store)))
    if csv is not None:
        write_output(csv, report.as_csv(tables).encode())
    ctx.exit(0 if tables else 1)
