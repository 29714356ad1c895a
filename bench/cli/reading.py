"""``invbench show``, ``compare`` and ``report`` and ``site``: the results of runs, in the terminal and as pages."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from invbench.api import InvbenchError, printable
from invbench.cli.common import Names, PathType, RunFolder
from invbench.util.answers import Answer, kept
from invbench.util.numbers import count_type

if TYPE_CHECKING:
    from invbench.reports.run import Run

TABLES, PICTURES = (RunFolder(pictures=pictures) for pictures in (False, True))


SHOW_EPILOG = """\b
Examples
  invbench show runs/latest-procfaces                        a verdict and the main columns
  invbench show runs/latest-procfaces --all --intervals      every table, every mean with its interval
  invbench show runs/full --methods pti,dhr,sam,e4e --metrics psnr,lpips_proc,id_proc,fid_proc,seconds --format latex
  invbench show runs/full --metrics id_kept,truth_psnr --edits age:3,yaw --format csv --out edits.csv
"""


@click.command(epilog=SHOW_EPILOG, short_help="Print the results of runs.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=TABLES)
@click.option("--methods", type=Names(), default=(), help="ID or ID:PRESET. Tests and images are then those of these methods.")
@click.option("--metrics", type=Names(), default=(), help="ID, NAME, 'seconds', 'memory'. [default: the main ones]")
@click.option("--datasets", type=Names(), default=(), help="Datasets of the run. [default: all]")
@click.option("--edits", type=Names(), default=(), help="NAME (its largest strength) or NAME:STRENGTH, for metrics of edits.")
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "latex", "csv", "json"]), default="text", show_default=True
)
@click.option("--out", type=PathType(dir_okay=False), help="Write to this file. [default: print]")
@click.option("--all", "every", is_flag=True, help="Every table of the run: all metrics, edits, latency, failures.")
@click.option("--intervals/--no-intervals", default=None, help="With --all: the interval of every mean. [default: if it fits]")
@click.option("--coverage", is_flag=True, help="With --all: how many images each method covers, for every metric.")
def show(
    runs: tuple[Path, ...],
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    datasets: tuple[str, ...],
    edits: tuple[str, ...],
    form: str,
    out: Path | None,
    every: bool,
    intervals: bool | None,
    coverage: bool,
) -> None:
    """Print the results of run folders: which method is best and whether the images can tell, and the main columns.

    Methods are compared on the images that all of them cover.
    """
    if every and (metrics or edits or form != "text"):
        raise click.UsageError("--all: prints every table as text; expected it without --metrics, --edits and --format")
    if (intervals is not None or coverage) and not every:
        raise click.UsageError("--intervals, --coverage: expected with --all, found without")
    width = shutil.get_terminal_size().columns if every and sys.stdout.isatty() else None

    def answer() -> Answer:
        read = [_read(run).only(methods=methods, datasets=datasets) for run in runs]
        if every:
            from invbench.reports import tables

            told = [tables.terminal(run, intervals=intervals, covered=coverage, width=width) for run in read]
            return Answer({"text": "\n\n".join(told) + "\n"})
        from invbench.reports import extract, extract_formats

        found = [one for run in read for one in extract.chosen(run, metrics=metrics, edits=edits)]
        return Answer({"text": extract_formats.FORMATS[form](found)})

    asked = methods, metrics, datasets, edits, form, every, intervals, coverage, width
    text = kept("show", runs, asked, answer).texts["text"]
    if out is None:
        click.echo(text, nl=False)
    else:
        from invbench.util.files import write_output

        write_output(out, text.encode(errors="backslashreplace"))
        click.echo(printable(out))


@click.command(epilog="Example: invbench compare runs/full dhr pti", short_help="Compare two methods of a run.")
@click.argument("run", type=TABLES)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
def compare(run: Path, first: str, second: str) -> None:
    """Print where method A of RUN beats method B, by how much, and on which pictures; a method is ID or ID:PRESET."""
    from invbench.reports import versus, versus_text

    read = _read(run)
    click.echo(versus_text.terminal(read, versus.method(read, first), versus.method(read, second)), nl=False)


pictures_option = click.option(
    "--images", type=count_type(0), help="Put the pictures of this many images of each dataset there. [default: all]"
)


@click.command(epilog="Example: invbench report runs/latest-procfaces", short_help="Write the site of a run into its folder.")
@click.argument("run", type=PICTURES)
def report(run: Path) -> None:
    """Write the site of RUN into RUN/report and print the path of its first page, which opens without a server or a network.

    The pages link to the pictures of the run folder. `invbench site` makes a folder that stands alone.
    """
    click.echo(printable(write_site([run])))


SITE_EPILOG = """\b
Examples
  invbench site runs/full runs/faces --out site/
  invbench site runs/nightly --history runs/history --out site/      with all baselines of that folder, over time
"""


@click.command(epilog=SITE_EPILOG, short_help="Write the site of several runs.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PICTURES)
@click.option("--out", required=True, type=PathType(file_okay=False), help="The site's folder.")
@pictures_option
@click.option(
    "--history",
    multiple=True,
    type=PathType(exists=True),
    help="Earlier runs, baselines, or a folder of baselines: adds a page of values over time. Repeatable.",
)
def site(runs: tuple[Path, ...], out: Path, images: int | None, history: tuple[Path, ...]) -> None:
    """Write a static site of run folders, with their pictures, and print the path of its first page.

    Several runs of one suite get a page of their values over time, with regressions marked as `invbench gate` finds them.
    """
    from invbench.store import Store

    if Store(out).exists():
        raise InvbenchError(f"--out: expected a folder for the site, found the run folder {out}")
    click.echo(printable(write_site(runs, out, images=images, history=history)))


def print_summary(run: Path) -> None:
    """Print the verdicts and the main columns of a run folder. Raises InvbenchError if it is not a run folder."""
    from invbench.reports import extract, extract_formats

    click.echo(extract_formats.text(extract.main(_read(run))), nl=False)


def _read(run: Path) -> Run:
    from invbench.reports.run import Run
    from invbench.store import Store

    return Run.of(Store(run))


def write_site(
    runs: Sequence[Path], out: Path | None = None, *, images: int | None = None, history: Sequence[Path] = ()
) -> Path:
    """Write the site of run folders (see :func:`invbench.reports.site.write`). Raises WriteFailed if it cannot be written."""
    from invbench.util.files import WriteFailed

    def work() -> Answer:
        from invbench.reports import site

        looked_at: list[Path] = []
        first = site.write(runs, out, images=images, history=history, looked_at=looked_at)
        written = sorted(path for path in first.parent.rglob("*") if path.is_file())
        return Answer({"page": str(first)}, read=looked_at, written=written)

    try:
        alone = out is None and len(runs) == 1 and images is None and not history
        return Path((kept("report", runs, (), work) if alone else work()).texts["page"])
    except OSError as error:
        where = out or runs[0] / "report"
        raise WriteFailed(f"{where}: could not be written: {error.strerror or error}") from error
