"""``invbench sweep``: ablations and figures of the papers, one command each."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.api import InvbenchError, printable
from invbench.cli.common import PathType, config_option, plain_config_option, plugin_option, suite_and_plugins
from invbench.util.numbers import count_type

FINISHED = (0, 1)  # exit codes of a sweep that came to its end
FORMATS = ["terminal", "markdown", "latex", "csv", "json", "html"]

EPILOG = """\b
Examples
  invbench sweep list                                  every sweep: what it reproduces, its points, its default size
  invbench sweep gani-blocks                           run it, print the table, write the page with its plots
  invbench sweep gani-blocks -n 50                     more images; what is done is not computed again
  invbench sweep dhr-steps --full --out runs/steps     all images of the dataset
  invbench sweep show gani-blocks --format latex       the table again, in another format
  invbench sweep sam-spaces --suite faces              the same on another suite, where its official weights are here

\b
A sweep runs one method with one setting after the other, or several methods, and makes one table and one page of plots; where
the paper prints numbers, they stand beside the measured ones. Each point is a run folder below OUT, which every other verb
reads (`invbench show OUT/POINT`). Interrupted, it continues with the same command. A point whose network is not trained is
left out, and a line says how to train it. Sweeps of your own: tables [[sweep]] in bench.toml (docs/sweeps.md).

\b
Exit code of run: 0 all images done; 1 some failed; 2 nothing was started; 3 a file could not be written.
"""


class Sweeps(click.Group):
    """``sweep NAME`` is ``sweep run NAME``."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """A first word that is no command is the name of a sweep: ``sweep NAME`` is ``sweep run NAME``."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=Sweeps, epilog=EPILOG, short_help="Ablations and figures of the papers.")
def sweep() -> None:
    """Run the ablations and figures of the papers: `invbench sweep NAME`, see `invbench sweep list`."""


@sweep.command("list", short_help="List all sweeps.")
@plain_config_option
def list_(config: Path | None) -> None:
    """List all sweeps: name, what it reproduces, number of points, and the images of its default size."""
    from invbench.plugins import sweeps

    for name, one in sweeps.load(config).items():
        source = f" ({one.source})" if one.source else ""
        size = f"{len(one.point)} points, {one.images} image{'s' if one.images > 1 else ''}"
        click.echo(printable(f"{name:<24}{one.title}{source}: {size}"))


@sweep.command("run", short_help="Run a sweep and show it.", epilog="Example: invbench sweep run gani-blocks -n 8")
@click.argument("name")
@click.option("--images", "-n", type=count_type(1), help="At most this many images of the dataset. [default: of the sweep]")
@click.option("--full", is_flag=True, help="All images of the dataset.")
@click.option("--out", type=PathType(file_okay=False), help="The sweep's folder. [default: runs/sweep-NAME]")
@click.option("--suite", "suite_name", help="Another suite than the sweep's.")
@click.option("--dataset", default="", help="Another dataset: ID or ./FOLDER. [default: of the sweep, or of the suite]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--workers", type=click.IntRange(min=0), help="Processes of a point; 0: this one. [default: 0, for plug-ins 1]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--zoo", type=PathType(exists=True, file_okay=False), help="Folder of networks that you trained for points.")
@click.option("--resume/--fresh", default=True, help="Keep results already in the folder, or start anew. [default: keep]")
@click.option("--quiet", is_flag=True, help="No progress bars, and no table at the end.")
@config_option
@plugin_option
@click.pass_context
def run(
    ctx: click.Context,
    name: str,
    images: int | None,
    full: bool,
    out: Path | None,
    suite_name: str | None,
    dataset: str,
    device: str,
    workers: int | None,
    seed: int,
    zoo: Path | None,
    resume: bool,
    quiet: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Run the points of the sweep NAME that are not done yet, print its table and write its page (OUT/sweep.html)."""
    if full and images is not None:
        raise click.UsageError("--full: expected this or --images, found both")

    from invbench.plugins import sweeps
    from invbench.plugins.files import sources
    from invbench.plugins.registry import find
    from invbench.run import sweeping

    chosen = find("sweep", name, sweeps.load(config))
    suite, registry = suite_and_plugins(suite_name or chosen.suite, config, plugins)
    folder = out or Path("runs") / f"sweep-{name}"
    asked = sweeping.Asked(
        images=None if full else images or chosen.images,
        device=device,
        workers=workers,
        seed=seed,
        dataset=dataset,
        fresh=not resume,
        zoo=zoo,
        configuration=sources(suite.id, config),
    )
    planned = sweeping.plan(chosen, suite, registry, out=folder, asked=asked)
    sweeping.write(chosen, planned, out=folder, asked=asked)
    code = sweeping.run(planned, progress=not quiet, say=lambda line: click.echo(printable(line), err=True))
    if code in FINISHED:
        if not quiet:
            click.echo(_text(folder, "terminal"), nl=False)
        click.echo(printable(f"page: {_write_page(folder)}"))
    ctx.exit(code)


@sweep.command("show", short_help="Show a sweep that was run.", epilog="Example: invbench sweep show gani-blocks --format csv")
@click.argument("name", metavar="NAME|FOLDER")
@click.option("--format", "form", type=click.Choice(FORMATS), default="terminal", show_default=True, help="html: with plots.")
@click.option("--out", type=PathType(dir_okay=False), help="Write to this file. [default: standard output]")
def show(name: str, form: str, out: Path | None) -> None:
    """Print the table of a sweep, as far as it has been run: by its name (in runs/sweep-NAME), or by its folder."""
    from invbench.util.files import write_output

    text = _text(_folder(name), form)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_output(out, text.encode())
        click.echo(printable(out))


def _folder(name: str) -> Path:
    """The folder of a sweep by its name, or by its path."""
    usual = Path("runs") / f"sweep-{name}"
    found = next((path for path in (usual, Path(name)) if path.is_dir()), None)
    if found is None:
        raise InvbenchError(f"sweep {name!r}: expected one that was run, in {usual}, or its folder; found neither")
    return found


def _text(folder: Path, form: str) -> str:
    import shutil
    import sys

    from invbench.reports import sweep_formats, sweeps

    found = sweeps.read(folder)
    if form == "terminal" and sys.stdout.isatty():
        return sweep_formats.terminal(found, width=shutil.get_terminal_size().columns)
    return sweep_formats.FORMATS[form](found)


def _write_page(folder: Path) -> Path:
    from invbench.reports import sweep_formats, sweeps

    return sweep_formats.write_page(sweeps.read(folder), folder)
