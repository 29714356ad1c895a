"""``invbench simulate``: what more devices would bring."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.cli.reading import TABLES
from invbench.util.numbers import SEEDS, WORKERS, Within, count_type

DEVICES = "1,2,4,8,16,32,64,128,256"
EPILOG = """\b
Examples
  invbench simulate runs/small --images 2000                    the same methods on 2000 images of each dataset
  invbench simulate runs/small --images 2000 --within 4         the fewest devices that end within four hours
  invbench simulate runs/small --executor slurm --queue 300     jobs that wait for five minutes each
  invbench simulate runs/small --failures 2 --slow 0.1:3        two losses a device and day, a tenth of devices thrice as slow

\b
Exit code: 0 done.
"""


def _counts(ctx: click.Context, param: click.Parameter, value: str) -> list[int]:
    from invbench.util.numbers import count

    found = [count(one.strip()) for one in value.split(",")]
    if not all(one is not None and one <= WORKERS for one in found):
        raise click.BadParameter(f"expected numbers from 1 to {WORKERS} like {DEVICES}, found {value!r:.80}", ctx, param)
    return sorted({one for one in found if one is not None})


def _slow(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, float]:
    share, colon, factor = value.partition(":")
    try:
        found = float(share), float(factor)
    except ValueError:
        found = -1.0, 0.0
    if not (colon and 0 <= found[0] <= 1 and 1 <= found[1] <= 1000):
        raise click.BadParameter(f"expected SHARE:FACTOR like 0.05:1.5, from 0:1 to 1:1000, found {value!r:.80}", ctx, param)
    return found


@click.command(epilog=EPILOG, short_help="Foretell a run on more devices from a small one.")
@click.argument("run", type=TABLES)
@click.option("--images", type=count_type(1), help="Images of each dataset. [default: as many as RUN has]")
@click.option("--devices", default=DEVICES, show_default=True, callback=_counts, help="Numbers of devices.")
@click.option("--executor", type=click.Choice(["local", "slurm", "ray"]), default="local", help="As in `run`.")
@click.option("--cores", type=count_type(1), help="That local workers share. [default: those of RUN's machine]")
@click.option("--slow", default="0.05:1.5", show_default=True, callback=_slow, metavar="SHARE:FACTOR", help="Slow devices.")
@click.option(
    "--failures", type=Within(min=0, max=1000), default=0.1, show_default=True, help="Lost workers or jobs a device and day."
)
@click.option("--queue", type=Within(min=0), default=0.0, show_default=True, metavar="SECONDS", help="Wait of a cluster's job.")
@click.option("--within", type=Within(min=0, min_open=True), metavar="HOURS", help="Time that the run may take.")
@click.option("--least", type=Within(min=0, max=1), default=0.7, show_default=True, help="Efficiency that devices should have.")
@click.option("--draws", type=count_type(1, 2000), default=200, show_default=True, help="Simulated runs for each number.")
@click.option("--seed", type=click.IntRange(0, SEEDS - 1), default=0, show_default=True, help="Seed of the draws.")
def simulate(
    run: Path,
    images: int | None,
    devices: list[int],
    executor: str,
    cores: int | None,
    slow: tuple[float, float],
    failures: float,
    queue: float,
    within: float | None,
    least: float,
    draws: int,
    seed: int,
) -> None:
    """Print the wall time, device hours and efficiency of RUN on 1 to 256 devices, and what to choose.

    Times of the methods, of the harness and of starting are those that RUN's workers took; a batch gets one of its cell's
    measured times at random. Slow devices, losses and queues are supposed: no small run shows them.
    """
    from invbench.run.simulation import forecast, measured
    from invbench.run.simulation.schedule import Supposed
    from invbench.store import Store

    found = measured.read(Store(run), images=images)
    on_cpu = not str(found.machine.get("device", "cpu")).startswith("cuda")
    place = forecast.Place(executor != "local", cores=cores or found.machine.get("cores") or 1, on_cpu=on_cpu)
    supposed = Supposed(*slow, failures=failures, queue=queue)
    lines = forecast.lines(found, devices, place=place, supposed=supposed, draws=draws, seed=seed)
    said = [
        f"supposed: {place.told()}; {slow[0]:.3g} of them take {slow[1]:.3g} times as long; "
        f"{failures:.3g} are lost a device and day"
        + (f"; {queue:.3g} s in a queue for each job" if place.cluster else "")
        + f" ({draws} draws, seed {seed})"
    ]
    advice = forecast.choice(lines, least=least, within=None if within is None else within * 3600)
    click.echo(forecast.text(found, lines, said=said, advice=advice))
