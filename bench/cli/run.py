"""``invbench run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from invbench.api import printable
from invbench.cli.common import (
    Names,
    OutFolder,
    batch_size,
    config_option,
    overrides_option,
    plugin_option,
    share,
    suite_and_plugins,
    suite_option,
)
from invbench.cli.reading import print_summary, write_site
from invbench.util.numbers import WORKERS, Within, count_type
from invbench.util.startup import start_server

if TYPE_CHECKING:
    from invbench.plugins.config import Compilations, Executors, Precisions
EXECUTORS = ("local", "slurm", "ray")
PRECISIONS = ("fp32", "tf32", "bf16")
COMPILATIONS = ("off", "default", "graphs")
FINISHED = (0, 1)  # exit codes of a run that came to its end

EPILOG = """\b
Examples
  invbench run                                        the suite's default methods on its quick collection
  invbench run --methods all                          every method that the suite has networks for
  invbench run --methods dhr,pti,sam                  three of them
  invbench run --methods pti,pti:released             two presets of one method side by side
  invbench run --methods pti+e4e,dhr+psp              refinements that start from another embedder than published
  invbench run --datasets full --out runs/full        the whole suite, in a folder of its own
  invbench run --datasets procfaces-test:20 --edits age,yaw:3
  invbench run --methods diffcam,e4e --edits smile+eye_openness:2     both at once, each by 2
  invbench run --methods e4e --edits age,age@ganspace the same edit by another source: see `invbench directions --help`
  invbench run --metrics @pixel,lpips_proc            `invbench list metrics` has all, `list groups` the groups
  invbench run --methods pti --set pti.steps=100      another value for one option
  invbench run --methods e4e,psp --consistency age:3  also round trips: edit, invert the result, edit back
  invbench run --methods e4e,pti --latency 20         also the latency of single images
  invbench run --methods pti,restyle_psp --curves     also quality against steps and seconds
  invbench run --shard 2/3 --batch 16 --out runs/2    the second of three shares; see `invbench merge --help`
  invbench run --methods nearest --plugin docs/plugin_example.py

\b
Methods work in processes of their own: one that crashes or exceeds --limit loses the image, not the run.
The number of workers changes no result; times are those of a worker, and more than --threads 1 rounds otherwise.


Exit code: 0 all images done; 1 some failed; 2 nothing was started; 3 a file could not be written.
"""


@click.command(epilog=EPILOG, short_help="Invert, edit and measure.")
@suite_option
@click.option("--methods", type=Names(), default=(), help="ID, ID+ID, ID:PRESET, or 'all'. [default: of the suite]")
@click.option("--datasets", type=Names(), default=(), help="ID, ID:COUNT, a collection, or ./FOLDER. [default: of the suite]")
@click.option("--metrics", type=Names(), default=(), help="ID, NAME, @GROUP, or 'none'. [default: of the suite]")
@click.option("--edits", type=Names(), default=(), help="NAME, NAME:STRENGTH, a sum NAME+NAME, 'none'. [default: of the suite]")
@click.option("--consistency", type=Names(), default=(), help="Edits for round trips, like age:3; each costs an inversion.")
@click.option("--images", type=click.IntRange(min=1), help="At most this many images of each dataset.")
@click.option("--batch", default="auto", show_default=True, callback=batch_size, help="Images at a time: 'auto' or a number.")
@click.option("--latency", type=click.IntRange(min=0), default=0, metavar="N", help="Afterwards time N images, one at a time.")
@click.option("--curves", is_flag=True, help="Record PSNR and LPIPS against steps and seconds, of images not done yet.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that do the work. [default: one a GPU; on a CPU one for every --threads cores, if memory suffices]",
)
@click.option("--gpus", type=count_type(1, WORKERS), help="Workers or jobs with a GPU each: --device cuda --workers N.")
@click.option("--executor", type=click.Choice(EXECUTORS), default="local", show_default=True, help="Whose processes do it.")
@click.option("--job", "asked", multiple=True, metavar="KEY=VALUE", help="What a job asks for: slurm_partition=gpu, mem_gb=32.")
@click.option("--in-process", is_flag=True, envvar="INVBENCH_IN_PROCESS", help="As --workers 0, for a debugger.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of a process on a CPU.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="Of methods' large products; metrics are fp32. Compared with fp32 on one picture.",
)
@click.option(
    "--compile",
    type=click.Choice(COMPILATIONS),
    default="off",
    show_default=True,
    help="torch.compile of methods' networks; graphs: and CUDA graphs. Compared with plain fp32 on one picture.",
)
@click.option(
    "--limit",
    type=Within(min=0, min_open=True),
    metavar="SECONDS",
    help="A call of a method that takes longer for each of its images fails. [default: no limit]",
)
@click.option("--readers", type=click.IntRange(min=0), help="Processes that read pictures ahead. [default: by number of cores]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--preset", help="Preset of methods named without one. [default: the first that a method declares]")
@overrides_option
@click.option("--out", type=OutFolder(), help="A folder, or an address like s3://BUCKET/RUN. [default: runs/latest-SUITE]")
@click.option("--resume/--fresh", default=True, help="Keep results already in the folder, or start anew. [default: keep]")
@click.option("--shard", callback=share, metavar="I/N", help="Only the I-th of N shares of the work, for `invbench merge`.")
@click.option("--show/--no-show", default=None, help="Print the results and write the page. [default: unless --quiet]")
@click.option("--quiet", is_flag=True, help="No progress bars.")
@config_option
@plugin_option
@click.pass_context
def run(
    ctx: click.Context,
    suite: str,
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    metrics: tuple[str, ...],
    edits: tuple[str, ...],
    consistency: tuple[str, ...],
    images: int | None,
    batch: int | None,
    latency: int,
    curves: bool,
    workers: int | None,
    gpus: int | None,
    executor: Executors,
    asked: tuple[str, ...],
    in_process: bool,
    threads: int,
    precision: Precisions,
    compile: Compilations,
    limit: float | None,
    readers: int | None,
    device: str,
    seed: int,
    preset: str | None,
    overrides: tuple[str, ...],
    out: Path | str | None,
    resume: bool,
    shard: tuple[int, int] | None,
    show: bool | None,
    quiet: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Run methods over datasets and measure every image.

    An existing folder is continued: results in it are not computed again, and new methods, datasets or edits are added.
    """
    if in_process and workers and _said(ctx, "in_process"):
        raise click.UsageError("--workers: expected this or --in-process, found both")
    if gpus is not None:
        workers, device = _on_gpus(ctx, gpus, workers, device)
    workers = 0 if in_process and workers is None else workers
    if workers != 0 and executor == "local":
        start_server("invbench.run.executors.worker")  # while the rest is loaded here

    from invbench.plugins.files import sources
    from invbench.plugins.selection import settings, supported
    from invbench.run.mirror import of_out

    chosen_suite, registry = suite_and_plugins(suite, config, plugins)
    folder, mirror = (None, None) if out is None else of_out(out)
    chosen = settings(
        chosen_suite,
        registry,
        methods=methods,
        datasets=datasets,
        metrics=metrics,
        edits=edits,
        consistency=consistency,
        images=images,
        batch=batch,
        latency=latency,
        curves=curves,
        workers=workers,
        threads=threads,
        precision=precision,
        compile=compile,
        executor=executor,
        asked=asked,
        limit=limit,
        readers=readers,
        device=device,
        seed=seed,
        out=folder,
        share=shard,
        fresh=not resume,
        preset=preset,
        overrides=overrides,
        configuration=sources(suite, config),
    )
    if not methods or "all" in methods:
        left_out = [name for name in registry.methods if name not in supported(chosen_suite, registry.methods)]
        if left_out:
            click.echo(f"without {', '.join(left_out)}: suite {suite} lacks networks for them", err=True)
    from invbench.run import runner

    code = runner.run(chosen, progress=not quiet, mirror=mirror)
    if (not quiet if show is None else show) and code in FINISHED:
        print_summary(chosen.out)
        click.echo(printable(f"page: {write_site([chosen.out])}"))
    ctx.exit(code)


def _on_gpus(ctx: click.Context, gpus: int, workers: int | None, device: str) -> tuple[int, str]:
    """The workers and the device of ``--gpus``."""
    if workers not in (None, gpus):
        raise click.UsageError("--gpus: expected this or --workers, found both")
    if device not in ("auto", "cuda"):
        raise click.UsageError(f"--gpus: expected --device cuda, found {device}")
    if ctx.params["in_process"] and _said(ctx, "in_process"):
        raise click.UsageError("--gpus: expected this or --in-process, found both")
    return gpus, "cuda"


def _said(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
