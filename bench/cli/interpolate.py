"""``invbench interpolate``: pictures between two pictures."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.api import printable
from invbench.cli.common import (
    Names,
    PathType,
    config_option,
    in_process_option,
    overrides_option,
    plugin_option,
    suite_and_plugins,
    suite_option,
)
from invbench.util.numbers import count_type

LONGEST = 1000  # of a line, which is one picture
EPILOG = """\b
Examples
  invbench interpolate mine.png other.png --methods hyperinverter
  invbench interpolate procfaces-test/test-0000 procfaces-test/test-0001 --methods e4e,psp --steps 5
  invbench interpolate mine.png other.png --suite faces --methods hyperinverter,hyperstyle,e4e --out strip.png
"""


@click.command(epilog=EPILOG, short_help="Draw pictures between two pictures.")
@click.argument("first", metavar="FIRST")
@click.argument("second", metavar="SECOND")
@suite_option
@click.option("--methods", type=Names(), required=True, help="ID or ID:PRESET, separated by commas; a line of the strip each.")
@click.option("--preset", help="Preset of methods named without one. [default: the first that a method declares]")
@overrides_option
@click.option("--steps", type=count_type(2, LONGEST), default=7, show_default=True, help="Pictures of a line, ends included.")
@click.option("--out", type=PathType(dir_okay=False), default=Path("interpolation.png"), show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@in_process_option
@config_option
@plugin_option
def interpolate(
    first: str,
    second: str,
    suite: str,
    methods: tuple[str, ...],
    preset: str | None,
    overrides: tuple[str, ...],
    steps: int,
    out: Path,
    device: str,
    seed: int,
    in_process: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Invert the pictures FIRST and SECOND (files, or DATASET/NAME), and draw what lies between the two inversions.

    Latents and weights move linearly in methods that predict weights, latents alone in encoders. One PNG is written: a line
    for each method, its pictures between the two originals.
    """
    from invbench.plugins.selection import settings
    from invbench.run import interpolation
    from invbench.util.files import write_output
    from invbench.util.images import encode_png

    chosen_suite, registry = suite_and_plugins(suite, config, plugins)
    chosen = settings(
        chosen_suite, registry, methods=methods, preset=preset, overrides=overrides, metrics=["none"], device=device, seed=seed
    )
    pair, rows = interpolation.draw(chosen, registry, (first, second), count=steps, here=in_process)
    write_output(out, encode_png(interpolation.strip(pair, rows)))
    for number, row in enumerate(rows, start=1):
        click.echo(f"line {number}: {row.label}")
    click.echo(printable(out))
