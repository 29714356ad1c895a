"""``invbench directions``: sources of edit directions, listed, shown, fitted, added."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invbench.api import InvbenchError, printable
from invbench.cli.common import (
    Names,
    PathType,
    config_option,
    plain_config_option,
    plugin_option,
    suite_and_plugins,
    suite_option,
)
from invbench.util.numbers import SEEDS, Within, count_type

if TYPE_CHECKING:
    from invbench.plugins.config import NetworkConfig

SOURCES = ("interfacegan", "ganspace", "sefa", "distillation")
MOST = 10**7  # samples

EPILOG = """\b
Examples
  invbench directions list                              the sources of the embedded suite
  invbench directions show --edits age,smile            effect, leakage and pictures of all of them, on a page
  invbench directions fit interfacegan --as mine        fit by what the suite's metrics read of random pictures
  invbench directions add ffhq_pca.pt --suite faces --as pca --edit smile --component 46 --layers 4:5 --scale -20
  invbench run --methods e4e --edits age,age@ganspace,age@mine
                                                        edit by several sources; reports compare them

\b
An edit NAME moves latents by the suite's own direction, NAME@SOURCE by that of a source. What you fit or add is kept in
INVBENCH_HOME/directions/SUITE and is a source of that suite from then on. See docs/directions.md.
"""

seed_option = click.option("--seed", type=count_type(0, SEEDS - 1), default=0, show_default=True, help="Seed of all draws.")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")


@click.group(epilog=EPILOG, short_help="Edit directions: list, show, fit, add.")
def directions() -> None:
    """List, show, fit and add sources of edit directions."""


@directions.command("list", short_help="Sources of a suite and their edits.")
@suite_option
@plain_config_option
@plugin_option
def list_(suite: str, config: Path | None, plugins: tuple[Path, ...]) -> None:
    """List the sources of a suite: the edits that each has directions for, where they come from, whether they are here."""
    from tabulate import tabulate

    from invbench.run.directions.show import OWN
    from invbench.run.session import DIRECTIONS, choose_device, open_networks

    chosen, _ = suite_and_plugins(suite, config, plugins)
    networks = open_networks(chosen, choose_device("cpu"))
    roles = {**({OWN: DIRECTIONS} if DIRECTIONS in chosen.networks else {}), **chosen.sources}
    rows = []
    for source, role in roles.items():
        try:
            network: Any = networks[role]
            rows.append((source, ", ".join(network.names), "here", _origin(chosen.networks[role])))
        except InvbenchError as error:
            rows.append((source, "", printable(error), _origin(chosen.networks[role])))
    click.echo(tabulate(rows, headers=("source", "edits", "state", "from"), tablefmt="plain"))
    click.echo(f"\n{OWN}: the edits of a run that name no source. Others: --edits NAME@SOURCE.")


def _origin(config: NetworkConfig) -> str:
    from invbench.util.names import PACKAGE

    if config.weights is None:
        return config.origin
    shipped = PACKAGE.resolve() in config.weights.resolve().parents or "zoo" in config.weights.parts
    return f"shipped: {config.weights.name}" if shipped else str(config.weights)


@directions.command(short_help="Measure sources and draw their pictures.")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@suite_option
@click.option("--edits", type=Names(), default=(), help="Edits, separated by commas. [default: all of the suite]")
@click.option("--images", type=count_type(1, 10_000), default=24, show_default=True, help="Random pictures to measure on.")
@click.option("--out", type=PathType(file_okay=False), help="Folder to write. [default: ./directions-SUITE]")
@seed_option
@device_option
@config_option
@plugin_option
def show(
    sources: tuple[str, ...],
    suite: str,
    edits: tuple[str, ...],
    images: int,
    out: Path | None,
    seed: int,
    device: str,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Measure effect and leakage of SOURCES (all that are here) on random pictures of the generator, and draw strips.

    \b
    OUT/index.html            a table and strips for each edit; it holds its pictures
    OUT/directions.csv        all numbers
    OUT/EDIT+SOURCE.png       a strip: a row a picture, a column a strength
    """
    from invbench.reports import directions as report
    from invbench.run.directions import show as work
    from invbench.run.session import Session
    from invbench.util.files import file_name, write_output
    from invbench.util.images import encode_png

    chosen, registry = suite_and_plugins(suite, config, plugins)
    folder = out or Path(f"directions-{suite}")
    with Session(chosen, device=device, readers=0) as session:
        found = work.run(session, registry, edits=edits, sources=sources, images=images, seed=seed)
    strips = {place: encode_png(strip) for place, strip in found.strips.items()}
    sheets = report.sheets(found.lines, strips, found.strengths, found.measures)
    write_output(folder / "directions.csv", report.table(found.lines, found.measures).encode())
    for (edit, source), data in strips.items():
        write_output(folder / f"{file_name(edit if source == work.OWN else f'{edit}+{source}')}.png", data)
    written = report.page(sheets, suite=suite, images=images, seed=seed, without=found.without)
    write_output(folder / "index.html", written.encode())
    for sheet in sheets:
        if sheet.rows:
            from tabulate import tabulate

            click.echo(f"\n{sheet.name}, change by {sheet.measure}")
            click.echo(tabulate(sheet.rows, headers=sheet.heads, tablefmt="plain", disable_numparse=True))
    for line in found.without:
        click.echo(f"without {printable(line)}", err=True)
    click.echo(f"\n{printable(folder / 'index.html')}")


@directions.command(short_help="Fit directions on a suite's generator.")
@click.argument("source", type=click.Choice(SOURCES))
@suite_option
@click.option("--as", "name", help="Name of the new source. [default: my-SOURCE]")
@click.option("--edits", type=Names(), default=(), help="Edits to fit. [default: all that a metric of the suite measures]")
@click.option("--samples", type=count_type(100, MOST), default=5000, show_default=True, help="Pictures to read, with labels.")
@click.option("--probes", type=count_type(8, 10_000), default=50, show_default=True, help="Pictures to measure lengths on.")
@click.option("--components", type=count_type(1, 512), default=20, show_default=True, help="Components to choose from.")
@click.option("--conditional", is_flag=True, help="InterFaceGAN: leave out what lies along the other edits' directions.")
@seed_option
@device_option
@config_option
@plugin_option
def fit(
    source: str,
    suite: str,
    name: str | None,
    edits: tuple[str, ...],
    samples: int,
    probes: int,
    components: int,
    conditional: bool,
    seed: int,
    device: str,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Fit the directions of SOURCE by what the suite's metrics read of the generator's random pictures.

    \b
    interfacegan   the normal of a linear SVM between the 2 % of pictures with most and with least of the attribute
    ganspace       the principal component of W, over the range of layers, that moves the attribute most for what else it moves
    sefa           the same choice among the eigenvectors of the generator's own weights
    distillation   the coefficients of a logistic regression, layers 0 to 7

    Lengths are set so that strength 1 changes the attribute by the suite's unit.
    """
    from invbench.run.directions import fit as work
    from invbench.run.session import Session

    chosen, registry = suite_and_plugins(suite, config, plugins)
    asked = work.Request(
        source=source,
        name=name or f"my-{source}",
        edits=edits,
        samples=samples,
        probes=probes,
        components=components,
        seed=seed,
        conditional=conditional,
    )
    with Session(chosen, device=device, readers=0) as session:
        path = work.run(asked, session, registry, say=lambda line: click.echo(printable(line)))
    click.echo(printable(f"{path}: try `invbench directions show {asked.name}`"))


@directions.command(short_help="Add a published direction.")
@click.argument("file", type=PathType(exists=True, dir_okay=False))
@suite_option
@click.option("--as", "name", required=True, metavar="SOURCE", help="Name of the source; it may have edits already.")
@click.option("--edit", "edits", type=Names(), required=True, help="The suite's edit that it is for; of a flow, several.")
@click.option("--layers", metavar="FIRST:END", help="Layers to move: 4:8, or 4-7, last included. [default: the file's or all]")
@click.option("--component", type=count_type(0, 10_000), help="Of a file of principal components.")
@click.option("--scale", type=Within(), default=1.0, show_default=True, help="Size of strength 1: a factor, or deviations.")
@click.option("--shift", is_flag=True, help="Move by a component's deviations, instead of to that position as published.")
@click.option("--unit-length", is_flag=True, help="Set the direction's length to 1: lengths of some files mean nothing.")
@click.option("--calibrate", is_flag=True, help="Set the length so that strength 1 changes the edit by the suite's unit.")
@click.option("--styles", type=PathType(exists=True, dir_okay=False), help="StyleCLIP's S_mean_std, for its fs3.npy.")
@click.option("--text", type=PathType(exists=True, dir_okay=False), help="Text direction for fs3.npy: one array.")
@click.option("--threshold", type=Within(min=0), default=0.1, show_default=True, help="Least relevance of a channel (beta).")
@click.option("--data", type=PathType(exists=True, file_okay=False), help="Folder of latents and attributes of StyleFlow.")
@device_option
@config_option
@plugin_option
def add(
    file: Path,
    suite: str,
    name: str,
    edits: tuple[str, ...],
    layers: str | None,
    component: int | None,
    scale: float,
    shift: bool,
    unit_length: bool,
    calibrate: bool,
    styles: Path | None,
    text: Path | None,
    threshold: float,
    data: Path | None,
    device: str,
    config: Path | None,
    plugins: tuple[Path, ...],
) -> None:
    """Add the direction of FILE to a suite, as the edit EDIT@SOURCE. Nothing in the file is run.

    \b
    .pt .npy   a direction [1, D], [L, D] or [1, L, D] (InterFaceGAN, SAM, StyleGAN2 distillation)
    .pt        comp, mean, std: principal components of W (e4e and its followers)
    .npz       lat_comp, lat_mean, lat_stdev: components of GANSpace
    .pkl       a direction that GANSpace exported, or one array
    .pt        a mapper of StyleCLIP; the flow of StyleFlow, with --data
    fs3.npy    StyleCLIP's relevance of channels, with --styles and --text

    A component goes to the position strength x scale, in standard deviations, as published: strength 0 goes to the mean.
    """
    from invbench.run.directions import add as work
    from invbench.run.session import Session

    chosen, registry = suite_and_plugins(suite, config, plugins)
    asked = work.Request(
        file=file,
        source=name,
        edits=edits,
        layers=layers,
        component=component,
        scale=scale,
        shift=shift,
        unit_length=unit_length,
        calibrate=calibrate,
        styles=styles,
        text=text,
        threshold=threshold,
        data=data,
    )
    with Session(chosen, device=device, readers=0) as session:
        work.run(asked, session, registry, say=lambda line: click.echo(printable(line)))
