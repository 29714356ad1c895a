"""``invbench suite new``: a suite for a generator of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import click

from invbench.api import InvbenchError, printable
from invbench.cli.common import PathType, in_process_option, plugin_option
from invbench.util.numbers import SEEDS, Within, count_type

EPILOG = """\b
Examples
  invbench suite new my.pkl --images photos/ --minutes 30                 in ./my, with the official networks for LPIPS and FID
  invbench suite new my.pkl --images photos/ --resize --test 200          pictures of other sizes; enough of them for FID
  invbench suite new my.pkl --images photos/ --labels attributes.csv      and directions fitted on labels
  invbench suite new my.pkl --images faces/ --like procfaces              the embedded suite's networks look at the pictures
  invbench run --config my/my.toml --suite my                             what it is for

\b
GENERATOR is a network pickle of stylegan2, stylegan2-ada-pytorch or stylegan3's StyleGAN2 (nothing in it is run), or a .pt
checkpoint of rosinality/stylegan2-pytorch. IMAGES are pictures like those that it was trained on, of its size. Some of them,
spread evenly, are kept for the suite; the encoder trains on the others.

\b
It makes: statistics of W; directions in closed form (SeFa), fitted on the labels, and with --like procfaces on what its
regressor sees; an e4e encoder by the recipe of the embedded suite; a file NAME.toml with all of them. Each method that has its
networks is tried for a few steps; those that come through are the suite's default, and a line says why others are not.

\b
Exit code: 0 made; 2 nothing was made, or only a part of it (the message says why); 3 a file could not be written.
"""


@click.group(short_help="Make a suite for your own generator.")
def suite() -> None:
    """Suites of your own."""


@suite.command("new", epilog=EPILOG, short_help="Make a suite for your own generator.")
@click.argument("generator", type=PathType(exists=True, dir_okay=False))
@click.option("--images", type=PathType(exists=True, file_okay=False), required=True, help="Pictures.")
@click.option("--name", help="Name of the suite. [default: from GENERATOR]")
@click.option("--out", type=PathType(file_okay=False), help="A new or an empty folder. [default: ./NAME]")
@click.option("--minutes", type=Within(min=0), default=15.0, show_default=True, help="Processor time of the encoder; 0: none.")
@click.option("--test", type=count_type(1), default=24, show_default=True, help="Pictures that are kept for the suite.")
@click.option("--resize", is_flag=True, help="Resize square pictures of other sizes.")
@click.option("--labels", type=PathType(exists=True, dir_okay=False), help="CSV: picture, attribute, ...")
@click.option("--like", help="A suite whose networks look at the pictures, in losses and metrics.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--seed", type=count_type(0, SEEDS - 1), default=0, show_default=True)
@in_process_option
@plugin_option
def new(
    generator: Path,
    images: Path,
    name: str | None,
    out: Path | None,
    minutes: float,
    test: int,
    resize: bool,
    labels: Path | None,
    like: str | None,
    device: str,
    seed: int,
    in_process: bool,
    plugins: tuple[Path, ...],
) -> None:
    """Make a suite of GENERATOR, a StyleGAN2 of your own, and pictures of its domain."""
    label = name or re.sub(r"[^a-z0-9_-]+", "-", generator.stem.lower()).strip("-_") or "own"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", label):
        raise InvbenchError(f"--name: expected lower-case letters, digits, '_' and '-', found {label!r}")
    if labels is not None and minutes == 0:
        raise InvbenchError("--labels: expected --minutes above 0, since the encoder gives labelled pictures their latents")
    from invbench.plugins.registry import discover
    from invbench.run import own_suite

    request = own_suite.Request(
        generator=generator,
        images=images,
        out=out or Path(label),
        name=label,
        minutes=minutes,
        test=test,
        like=like,
        labels=labels,
        resize=resize,
        device=device,
        seed=seed,
    )
    path = own_suite.make(request, discover(plugins), say=lambda line: click.echo(printable(line)), here=in_process)
    click.echo(printable(f"{path}: try `invbench run --config {path} --suite {label}`"))
