"""``invbench weight-changes``: how much each layer of the generator is changed."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.api import printable
from invbench.cli.common import (
    Names,
    PathType,
    batch_size,
    config_option,
    in_process_option,
    overrides_option,
    plugin_option,
    suite_and_plugins,
    suite_option,
)

EPILOG = """\b
Examples
  invbench weight-changes --methods hyperinverter --datasets procfaces-test:16
  invbench weight-changes --methods hyperinverter,hyperstyle,pti --page weights.html
  invbench weight-changes --suite faces --methods hyperinverter --datasets celebahq-test --csv weights.csv
"""


@click.command(epilog=EPILOG, short_help="Show how much each layer's weights are changed.")
@suite_option
@click.option("--methods", type=Names(), required=True, help="ID or ID:PRESET, separated by commas.")
@click.option("--datasets", type=Names(), default=(), help="ID, ID:COUNT, a collection, or ./FOLDER. [default: of the suite]")
@click.option("--images", type=click.IntRange(min=1), help="At most this many images of each dataset.")
@click.option("--preset", help="Preset of methods named without one. [default: the first that a method declares]")
@overrides_option
@click.option("--batch", default="auto", show_default=True, callback=batch_size, help="Images at a time: 'auto' or a number.")
@click.option("--page", type=PathType(dir_okay=False), help="Write the plot and the table to this HTML file.")
@click.option("--csv", type=PathType(dir_okay=False), help="Write the table to this file, with all digits.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--quiet", is_flag=True, help="No progress bars.")
@in_process_option
@config_option
@plugin_option
def weight_changes(
    suite: str,
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    images: int | None,
    preset: str | None,
    overrides: tuple[str, ...],
    batch: int | None,
    page: Path | None,
    csv: Path | None,
    device: str,
    seed: int,
    quiet: bool,
    in_process: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Invert pictures by methods that change the generator's weights, and print each layer's mean absolute change.

    This is figure 8 of HyperInverter, for any method whose inversions hold weights under the generator's names.
    """
    from invbench.plugins.selection import settings
    from invbench.reports import weight_changes as report
    from invbench.run import weight_changes as changes
    from invbench.util.files import write_output
    from invbench.util.progress import Progress

    chosen_suite, registry = suite_and_plugins(suite, config, plugins)
    chosen = settings(
        chosen_suite,
        registry,
        methods=methods,
        datasets=datasets,
        images=images,
        metrics=["none"],
        preset=preset,
        overrides=overrides,
        batch=batch,
        device=device,
        seed=seed,
    )
    with Progress(enabled=not quiet) as progress:
        frame = changes.measure(chosen, progress, here=in_process)
    click.echo(report.table(frame))
    for path, make in ((page, report.page), (csv, report.as_csv)):
        if path is not None:
            write_output(path, make(frame).encode())
            click.echo(printable(path))
