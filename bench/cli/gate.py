"""``invbench gate`` tells whether a run is worse than a baseline; ``invbench baseline`` writes a baseline file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from invbench.api import InvbenchError, printable
from invbench.cli.common import PathType, RunFolder
from invbench.util.answers import Answer, kept
from invbench.util.numbers import Within

if TYPE_CHECKING:
    from invbench.compare.gate import Tolerance, Tolerances

GATE_EPILOG = """\b
Examples
  invbench gate runs/new --baseline baselines/procfaces-quick.parquet
  invbench gate runs/new --baseline runs/old --tolerance 1% --tolerance psnr=0.1 --tolerance time=20%
  invbench gate runs/new --baseline runs/old --all --summary gate.md

\b
Exit code: 0 no regression; 1 a regression; 2 nothing can be compared. docs/gate.md explains the tests.
"""
BASELINE_EPILOG = """\b
Examples
  invbench baseline runs/full --out baselines/procfaces-full.parquet
  invbench baseline runs/faces runs/faces-ood --out baseline.parquet    two runs of one suite on one machine
"""
RUN = RunFolder(pictures=False, file_okay=True)


@click.command(epilog=GATE_EPILOG, short_help="Is a run worse than a baseline?")
@click.argument("run", type=RUN)
@click.option("--baseline", required=True, type=RUN, help="A run folder, or a file made by `invbench baseline`.")
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="[NAME=]AMOUNT",
    help="'1%' for all metrics; 'mse=1%', or 'psnr=0.1' in the metric's unit; 'time=20%', 'memory=20%'. Repeatable. "
    "[default: 0.5%, time and memory 10%]",
)
@click.option("--alpha", type=Within(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
              help="Largest probability that chance alone fails the gate.")  # fmt: skip
@click.option("--summary", type=PathType(dir_okay=False), help="Also write the result as Markdown.")
@click.option("--all", "everything", is_flag=True, help="Also list values within their tolerance.")
@click.pass_context
def gate(
    ctx: click.Context,
    run: Path,
    baseline: Path,
    tolerances: tuple[str, ...],
    alpha: float,
    summary: Path | None,
    everything: bool,
) -> None:
    """Compare RUN with a baseline image by image, and fail where it is worse.

    Quality is a regression where a mean is worse by more than its tolerance and chance does not explain it; times and memory
    are compared on the same machine only; an image that fails in RUN alone is a regression.
    """
    from invbench.util.files import write_output

    def answer() -> Answer:
        from invbench.compare import gate_report
        from invbench.compare.baseline import read
        from invbench.compare.gate import gate as compare

        mine, other = read(run), read(baseline)
        allowed = parse_tolerances(tolerances, known={*mine.about["metrics"], *other.about["metrics"]})
        outcome = compare(mine, other, tolerances=allowed, alpha=alpha)
        formats = {"terminal": gate_report.terminal, "markdown": gate_report.markdown}
        texts = {name: form(outcome, mine, other, everything=everything) for name, form in formats.items()}
        return Answer(texts, outcome.code)

    found = kept("gate", [run, baseline], (tolerances, alpha, everything), answer)
    if summary is not None:
        write_output(summary, found.texts["markdown"].encode())
    click.echo(found.texts["terminal"])
    ctx.exit(found.code)


@click.command(epilog=BASELINE_EPILOG, short_help="Write a baseline file for the gate.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RUN)
@click.option("--out", required=True, type=PathType(dir_okay=False), help="The file to write: *.parquet.")
def baseline(runs: tuple[Path, ...], out: Path) -> None:
    """Write the rows of finished runs and their origin to one file for `invbench gate --baseline`."""
    from invbench.compare.baseline import merge, read, write

    merged = merge([read(run) for run in runs])
    write(out, merged)
    click.echo(printable(f"{out}: {len(merged.rows)} rows, {out.stat().st_size / 1e6:.2f} MB"))


def parse_tolerances(items: tuple[str, ...], *, known: set[str]) -> Tolerances:
    """``1%``, ``mse=1%``, ``psnr=0.1``, ``time=20%``, ``memory=20%``. Raises InvbenchError for anything else."""
    from invbench.compare.gate import Tolerances
    from invbench.util.names import unknown

    metrics = known | {id.partition("@")[0] for id in known}
    own: dict[str, Tolerance] = {}
    for item in items:
        name, _, text = item.rpartition("=")
        tolerance = _tolerance(item, text)
        if not tolerance.relative and name in ("", "time", "memory"):
            raise InvbenchError(f"--tolerance {item!r}: expected a percentage like 1%, found {text!r}")
        if name not in metrics | {"", "time", "memory"}:
            raise InvbenchError(f"--tolerance {item!r}: {unknown('metric', name, metrics)}")
        own[name] = tolerance
    general = Tolerances()
    return Tolerances(
        quality=own.pop("", general.quality),
        time=own.pop("time", general.time),
        memory=own.pop("memory", general.memory),
        named=own,
    )


def _tolerance(item: str, text: str) -> Tolerance:
    from invbench.compare.gate import Tolerance

    relative = text.endswith("%")
    try:
        amount = float(text.removesuffix("%")) / (100 if relative else 1)
    except ValueError:
        amount = 0.0
    if not 0 < amount < float("inf"):
        raise InvbenchError(f"--tolerance {item!r}: expected a number above 0, as in 1% or mse=0.001, found {text!r}")
    return Tolerance(amount, relative)
