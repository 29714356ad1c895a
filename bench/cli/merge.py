"""``invbench merge``: several run folders put together into one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from invbench.cli.common import OutFolder, RunFolder, config_option, in_process_option, plugin_option, suite_and_plugins

EPILOG = """\b
Examples
  invbench merge runs/test runs/ood --out runs/all              two runs of the same methods on other datasets
  invbench merge runs/later --out runs/all                      add a run to them
  invbench merge runs/part-1 runs/part-2 --out runs/whole       the parts that two machines made

\b
Runs disagree if they have another picture under a name, other options, code or weights of a method for the same dataset,
another suite or seed, or other recipes of a metric: the line names where, and nothing is written.

\b
Exit code: 0 merged; 2 the runs disagree, or one is damaged; 3 a file could not be written.
"""


@click.command(epilog=EPILOG, short_help="Put several runs together into one.")
@click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, type=RunFolder(pictures=True)
)
@click.option(
    "--out", type=OutFolder(), required=True, help="New, or a run folder that is added to."
)
@click.option("--device", default="auto", show_default=True, help="For set metrics: auto, cpu, cuda, cuda:1, ...")
@in_process_option
@config_option
@plugin_option
@click.pass_context
def merge(
    ctx: click.Context,
    runs: tuple[Path, ...],
    out: Path | str,
    device: str,
    in_process: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Copy the rows and pictures of run folders of one suite into one run folder, and compute its set metrics anew.

    RUN stays as it is. What --out has already is kept: merging twice changes nothing. Of two rows of the same work one that is
    ok is kept, then the first; the manifest lists every call with its machine and times.
    """
    from invbench.store import Store

    suite, registry = suite_and_plugins(Store(runs[0]).plan["suite"], config, plugins)
    from invbench.plugins.registry import strangers
    from invbench.run.executors.apart import alone
    from invbench.run.merging.merge import merge as put_together
    from invbench.run.mirror import of_out

    folder, mirror = of_out(out)
    work = partial(put_together, runs, folder, suite=suite, registry=registry, device=device, say=click.echo)
    code = alone(work, [*strangers(registry.metrics.values()), *suite.strangers()], here=in_process)
    if mirror is not None:
        mirror.all()
        click.echo(f"uploaded to {out}")
    ctx.exit(code)
