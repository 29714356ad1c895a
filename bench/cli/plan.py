"""``invbench plan``: the work, time and memory of a run, before it starts."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.cli.common import (
    Names,
    batch_size,
    config_option,
    overrides_option,
    plugin_option,
    suite_and_plugins,
    suite_option,
)
from invbench.util.numbers import count_type
from invbench.util.startup import start_server

EPILOG = """\b
Examples
  invbench plan                                              the default run of the embedded suite
  invbench plan --suite faces --methods dhr,pti,sam --images 8
  invbench plan --suite faces --no-probe                     counts only; needs neither weights nor pictures

\b
Exit code: 0 everything can run; 1 a network or dataset is missing, or a method fails (the table says which).
"""


@click.command(epilog=EPILOG, short_help="Images, steps, time and memory of a run, without running it.")
@suite_option
@click.option("--methods", type=Names(), default=(), help="As for `invbench run`.")
@click.option("--datasets", type=Names(), default=(), help="As for `invbench run`.")
@click.option("--edits", type=Names(), default=(), help="As for `invbench run`.")
@click.option("--images", type=count_type(1), help="At most this many images of each dataset.")
@click.option("--batch", default="auto", show_default=True, callback=batch_size, help="Images at a time: 'auto' or a number.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--preset", help="For methods named without one.")
@overrides_option
@click.option("--probe/--no-probe", default=True, help="Run each method for a few steps to estimate its time. [default: probe]")
@click.option("--in-process", is_flag=True, envvar="INVBENCH_IN_PROCESS", help="Probe in this process, for a debugger.")
@config_option
@plugin_option
@click.pass_context
def plan(
    ctx: click.Context,
    suite: str,
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    edits: tuple[str, ...],
    images: int | None,
    batch: int | None,
    device: str,
    preset: str | None,
    overrides: tuple[str, ...],
    probe: bool,
    in_process: bool,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Print images x methods x steps of a run, with an estimate of its time and memory on this machine.

    Each method inverts only a batch of noise, with one and with three steps of each kind. The estimate leaves out loading and
    metrics. A method that stops images early takes less. One that fails, ends its process or takes half an hour is named.
    """
    if probe and not in_process:
        start_server("invbench.run.executors.worker")  # while the rest is loaded here
    from invbench.plugins.selection import settings

    chosen = settings(
        *suite_and_plugins(suite, config, plugins),
        methods=methods,
        datasets=datasets,
        edits=edits,
        images=images,
        batch=batch,
        device=device,
        seed=0,  # the estimate does not depend on it
        preset=preset,
        overrides=overrides,
    )
    from invbench.run import preview

    table, missing = preview.table(chosen, probe=probe, here=in_process)
    click.echo(table)
    ctx.exit(1 if missing else 0)
