"""``invbench datasets``: prepare and verify the files of datasets, align photographs."""

from __future__ import annotations

from functools import partial as bound
from pathlib import Path
from typing import TYPE_CHECKING

import click

from invbench.api import InvbenchError
from invbench.cli.common import PathType, in_process_option, plugin_option
from invbench.plugins.registry import discover, find, strangers
from invbench.specs import DatasetSpec
from invbench.util.numbers import WORKERS, count_type

if TYPE_CHECKING:
    from invbench.data.prepare import Report

SHOWN = 10  # problems of each kind that are printed; a file lists all
FINE, WRONG = 0, 1

workers_option = click.option(
    "--workers", type=count_type(1, WORKERS), help="Number of reading processes. [default: cores minus 1, at most 8]"
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress.")

PREPARE_EPILOG = """\b
Examples
  invbench datasets prepare celebahq-test --root /data/CelebAMask-HQ
  invbench datasets prepare afhq-cat-test afhq-wild-test --root /data/afhq
  invbench datasets prepare lsun-church-val                 files in INVBENCH_HOME/datasets/lsun-church-val

\b
Interrupted, the same command continues. Exit code: 0 ready; 1 something is missing or wrong; 2 nothing was recognised.
"""
ALIGN_EPILOG = """\b
Examples
  invbench datasets align photos/ aligned/
  invbench datasets align photos/ aligned/ --size 256

\b
Exit code: 0 a face was found in every picture; 1 not in all (they are listed in no_face.txt).
"""


@click.group("datasets", short_help="Prepare and verify the files of datasets; align photographs.")
def datasets() -> None:
    """Prepare and verify the files of datasets. docs/datasets.md lists the files and layouts that each dataset needs."""


@datasets.command("list", short_help="Which datasets are ready.")
@plugin_option
def list_(plugins: tuple[Path, ...]) -> None:
    """List every dataset and whether its files are prepared on this machine. `invbench list datasets --long` shows more."""
    known = discover(plugins).datasets
    width = max((len(name) for name in known), default=0)
    for name, spec in known.items():
        click.echo(f"{name:<{width}}  {_state(spec)}")


@datasets.command(epilog=PREPARE_EPILOG, short_help="Check the files of a dataset and record their hashes.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--root", type=PathType(file_okay=False), help="[default: INVBENCH_HOME/datasets/NAME]")
@click.option("--partial", is_flag=True, help="Accept an incomplete dataset; runs then report that it is not whole.")
@workers_option
@quiet_option
@in_process_option
@plugin_option
@click.pass_context
def prepare(
    ctx: click.Context,
    names: tuple[str, ...],
    root: Path | None,
    partial: bool,
    workers: int | None,
    quiet: bool,
    in_process: bool,
    plugins: tuple[Path, ...],
) -> None:
    """Read every picture of a dataset once; check count, size and published hashes; write a manifest with their sha256."""
    from invbench.data import prepare as work
    from invbench.data.workers import default_workers
    from invbench.run.executors.apart import alone

    specs = _homes(names, plugins)
    worst = FINE
    for spec in specs:
        try:
            made = bound(
                work.prepare, spec, root, workers=workers or default_workers(), partial=partial, progress=not quiet
            )
            report = alone(made, strangers([spec]), here=in_process)
        except InvbenchError as error:
            raise InvbenchError(f"{spec.id}: {error}\nits official page: {spec.page} (licence: {spec.licence})") from error
        worst = max(worst, _tell(report, spec, ready="ready", listed=work.problem_file(spec.id)))
    ctx.exit(worst)


@datasets.command(short_help="Check that the files of a dataset are unchanged.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@workers_option
@quiet_option
@in_process_option
@plugin_option
@click.pass_context
def verify(
    ctx: click.Context,
    names: tuple[str, ...],
    workers: int | None,
    quiet: bool,
    in_process: bool,
    plugins: tuple[Path, ...],
) -> None:
    """Read every prepared file again and compare its sha256. Exit code: 0 all unchanged; 1 some missing or changed."""
    from invbench.data import prepare as work
    from invbench.data.workers import default_workers
    from invbench.run.executors.apart import alone

    worst = FINE
    for spec in _homes(names, plugins):
        made = bound(work.verify, spec, workers=workers or default_workers(), progress=not quiet)
        report = alone(made, strangers([spec]), here=in_process)
        worst = max(worst, _tell(report, spec, ready="as prepared", listed=None))
    ctx.exit(worst)


@datasets.command(epilog=ALIGN_EPILOG, short_help="Crop and align faces in photographs as FFHQ does.")
@click.argument("source", type=PathType(exists=True, file_okay=False))
@click.argument("target", type=PathType())
@click.option("--size", type=click.Choice(["256", "512", "1024"]), default="1024", show_default=True, help="Pixels a side.")
@click.option("--device", default="auto", show_default=True, help="Device of the face detector: auto, cpu, cuda, ...")
@quiet_option
@click.pass_context
def align(ctx: click.Context, source: Path, target: Path, size: str, device: str, quiet: bool) -> None:
    """Find the face in every picture under SOURCE, align and crop it as FFHQ does, and write it to TARGET/NAME.png.

    MTCNN finds eyes and mouth; the largest of several faces is taken. TARGET/contact_sheet.html shows all pictures with the
    crop, align.csv lists the results, no_face.txt the pictures without a face.
    """
    from invbench.data import align as work
    from invbench.run.session import choose_device

    rows = work.align(source, target, size=int(size), device=str(choose_device(device)), progress=not quiet)
    counts = {status: sum(row.status == status for row in rows) for status in ("ok", "no face", "failed")}
    click.echo(f"{counts['ok']} of {len(rows)} aligned, {counts['no face']} without a face, {counts['failed']} failed")
    enlarged = sum(row.scale > 1 for row in rows)
    if enlarged:
        click.echo(f"{enlarged} faces are smaller than {size} pixels and were enlarged")
    click.echo(f"look at {target / work.SHEET}")
    ctx.exit(FINE if counts["ok"] == len(rows) else WRONG)


def _homes(names: tuple[str, ...], plugins: tuple[Path, ...]) -> list[DatasetSpec]:
    """The datasets whose files the named ones use: a subset uses those of the whole dataset."""
    known = discover(plugins).datasets
    homes = {}
    for name in names:
        spec = find("dataset", name, known)
        if not spec.home:
            raise InvbenchError(f"dataset {name} needs no files")
        homes[spec.home] = find("dataset", spec.home, known)
    return list(homes.values())


def _state(spec: DatasetSpec) -> str:
    from invbench.data.sources import find_prepared

    if not spec.home:
        return "ready: made from what is here"
    try:
        found = find_prepared(spec.home)
    except InvbenchError as error:
        return f"broken: {error}"
    if found is None:
        return f"not prepared: invbench datasets prepare {spec.home} --root FOLDER"
    if not found.root.is_dir():
        return f"gone: {found.root} is no folder now"
    return f"ready: {found.root}{f' (partial: {found.partial})' if found.partial else ''}"


def _tell(report: Report, spec: DatasetSpec, *, ready: str, listed: Path | None) -> int:
    click.echo(f"{report.id}: {report.root}: {report.layout}")
    for note in report.notes:
        click.echo(f"  note: {note}")
    if not report.problems:
        formats = f", {', '.join(f'{count} {form}' for form, count in report.formats.items())}" if report.formats else ""
        md5s = f", published md5 of {report.compared} agree" if report.compared else ""
        whole = f" of {report.expected} (partial)" if report.partial else ""
        click.echo(f"  {ready}: {report.count}{whole} pictures, {report.bytes / 1e6:.1f} MB{formats}{md5s}")
        return FINE
    for kind, lines in report.problems.items():
        click.echo(f"  {kind}: {len(lines)}")
        for line in lines[:SHOWN]:
            click.echo(f"    {line}")
        if len(lines) > SHOWN:
            click.echo(f"    and {len(lines) - SHOWN} more")
    if listed is not None:
        click.echo(f"  not ready; all of this is in {listed}")
    click.echo(f"  official page: {spec.page} (licence: {spec.licence})")
    return WRONG
