"""``invbench score``: score external pictures, or verify the scores of a run."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import click
from click.core import ParameterSource

from invbench.api import InvbenchError
from invbench.cli.common import (
    Names,
    PathType,
    config_option,
    in_process_option,
    plugin_option,
    suite_and_plugins,
    suite_option,
)
from invbench.cli.reading import print_summary

EPILOG = """\b
Examples
  invbench score results/ --against procfaces-test --name mine         one row, in runs/scored-mine
  invbench score results/ --against procfaces-test --out runs/full     one row beside the methods of that run
  invbench score results/ --against ./originals --suite faces --metrics mse@psp256,lpips_alex@psp256
  invbench score runs/full                                             compute the scores again and compare

\b
FOLDER holds NAME.png for a reconstruction and age_+3/NAME.png (or NAME@age+3.png) for an edit; PNG, JPEG or WebP.
NAME is the image's name in the dataset: its file name without suffix.

\b
Exit code: 0 all images scored (or all scores the same); 1 some failed; 2 nothing was started; 3 a file could not be written.
"""


@click.command(epilog=EPILOG, short_help="Score pictures made by any code.")
@click.argument("folder", type=PathType(exists=True, file_okay=False))
@click.option("--against", help="The originals: a dataset of the suite, ID or ID:COUNT, or ./FOLDER.")
@click.option("--name", help="Name of the row. [default: from FOLDER]")
@click.option("--out", type=PathType(file_okay=False), help="[default: runs/scored-NAME]")
@click.option("--metrics", type=Names(), default=(), help="ID, NAME or @GROUP, separated by commas. [default: of the suite]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@suite_option
@in_process_option
@config_option
@plugin_option
@click.option("--quiet", is_flag=True, help="No progress bars.")
@click.pass_context
def score(
    ctx: click.Context,
    folder: Path,
    against: str | None,
    name: str | None,
    out: Path | None,
    metrics: tuple[str, ...],
    device: str,
    suite: str,
    in_process: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
    quiet: bool,
) -> None:
    """Score the pictures in FOLDER, made by any code, as a row of their own.

    Pictures are matched with the originals by name. A missing, ambiguous or unreadable picture, or one of another size, is a
    failed row; pictures that match no image are listed. Nothing is resized. For a folder of originals, name the --suite whose
    networks know such pictures, or metrics without networks. Without --against, FOLDER is a run folder: its
    scores are computed again from its pictures and compared.
    """
    if against is None:
        ctx.exit(_verify(folder, suite, config, plugins, metrics, device, here=in_process))
    label = name or re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_") or "scored"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", label):
        raise InvbenchError(f"--name: expected lower-case letters, digits, '_' and '-', found {label!r}")
    chosen, registry = suite_and_plugins(suite, config, plugins)
    from invbench.plugins.files import sources
    from invbench.run import external
    from invbench.run.executors.apart import alone

    settings = external.settings(
        chosen,
        registry,
        name=label,
        against=against,
        metrics=metrics,
        device=device,
        out=out or Path("runs") / f"scored-{label}",
        configuration=sources(suite, config),
    )
    if ctx.get_parameter_source("suite") is ParameterSource.DEFAULT:
        external.expect_domain(settings)
    work = partial(external.score, settings, folder, progress=not quiet, say=click.echo)
    code = alone(work, settings.strangers(), here=in_process)
    if code in (0, 1):
        print_summary(settings.out)
    ctx.exit(code)


def _verify(
    folder: Path,
    suite: str,
    config: Path | None,
    plugins: tuple[Path, ...],
    metrics: tuple[str, ...],
    device: str,
    *,
    here: bool,
) -> int:
    from tabulate import tabulate

    from invbench.store import Store

    if not Store(folder).exists():
        raise InvbenchError(f"{folder}: expected --against DATASET, or a run folder (with a plan.json in it)")
    chosen, registry = suite_and_plugins(Store(folder).plan["suite"], config, plugins)
    from invbench.plugins.registry import strangers
    from invbench.run.executors.apart import alone
    from invbench.run.verification import verify

    work = partial(verify, folder, chosen, registry, metrics=metrics, device=device, say=click.echo)
    brought = [spec for kind in (registry.metrics, registry.datasets) for spec in kind.values()]  # of the run, some of them
    checks = alone(work, [*strangers(brought), *chosen.strangers()], here=here)
    rows = [
        [one.metric, one.n, f"{one.largest:.1e}", one.unequal, "its code, weights or protocol changed" if one.changed else ""]
        for one in checks
    ]
    click.echo(tabulate(rows, headers=["metric", "values", "largest difference", "unequal", ""], disable_numparse=True))
    unequal = sum(one.unequal for one in checks)
    click.echo(f"{sum(one.n for one in checks)} scores computed again from the pictures, {unequal} of them different")
    return 1 if unequal or not checks else 0
