"""A suite for a generator of one's own: networks measured and trained, and a file that runs the methods that can run.

    OUT/NAME.toml                 the suite, for --config
    OUT/*.safetensors             generator, latent_stats, style_space, directions, e4e, with a record of each
    OUT/pictures/test/NAME.png    the pictures that no training saw: the suite's dataset
    OUT/training/                 the checkpoint of the encoder
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from invbench.api import Edit, InvbenchError, printable
from invbench.options import at_least
from invbench.plugins import pairs
from invbench.plugins.config import load
from invbench.plugins.registry import Registry, load_callable, strangers
from invbench.plugins.selection import resolve
from invbench.run import own_suite_file
from invbench.run.estimate import probe, step_options
from invbench.run.executors.apart import LONGEST, Apart
from invbench.run.own_suite_file import FOR_SETS, Told
from invbench.run.session import Session
from invbench.specs import MethodSpec
from invbench.util.files import write_all
from invbench.util.images import encode_png
from invbench.weights.checkpoints import load_checkpoint

RECIPES = "invbench.methods.train.own"
FEWEST = 32  # pictures to train on
MOST = 10_000  # pictures that are held in memory


@dataclass(frozen=True)
class Request:
    """What a suite is made of.

    generator  a network pickle of stylegan2-ada-pytorch or stylegan2, or a checkpoint of rosinality's layout
    images     folder of pictures like those that it was trained on; ``resize``: other sizes are resized
    like       a suite whose networks look at the pictures, in losses and metrics; None: the official ones
    labels     CSV file: picture (its path below ``images``, with or without suffix), then a column for each attribute
    test       pictures that are kept for the suite, spread evenly
    minutes    of processor time for the encoder; 0: none
    """

    generator: Path
    images: Path
    out: Path
    name: str
    minutes: float
    test: int
    like: str | None = None
    labels: Path | None = None
    resize: bool = False
    device: str = "cpu"
    seed: int = 0


@dataclass
class _Made:
    """What the suite file says."""

    resolution: int
    roles: dict[str, str] = field(default_factory=dict)  # role -> file of this folder
    edits: dict[str, str] = field(default_factory=dict)  # name -> unit


def make(asked: Request, registry: Registry, *, say: Callable[[str], None], here: bool = False) -> Path:
    """Make the suite. Returns the path of its file. Raises InvbenchError for what cannot become one, before any training.

    Methods that are not of this package are tried in a process of their own, or ``here``.
    """
    suites = load()
    if asked.name in suites:
        raise InvbenchError(f"--name {asked.name}: expected a name that no suite of the package has")
    if asked.like is not None and asked.like not in suites:
        raise InvbenchError(f"--like {asked.like}: expected one of {', '.join(suites)}")
    if asked.out.exists() and (not asked.out.is_dir() or any(asked.out.iterdir())):
        raise InvbenchError(f"{asked.out}: expected a new or an empty folder")
    generator = _generator(asked)
    names, pictures = _pictures(asked, generator.resolution, say)
    kept = np.zeros(len(pictures), dtype=bool)
    kept[np.linspace(0, len(pictures) - 1, asked.test).round().astype(int)] = True
    labels = {} if asked.labels is None else _labels(asked.labels, names)
    generator.to(asked.device)
    say(f"generator: {generator.resolution} pixels, {generator.num_ws} latents of {generator.w_dim}, {len(pictures)} pictures")
    made = _Made(generator.resolution)
    _recipe("save_generator")(generator, asked.out)
    _recipe("save_statistics")(generator, asked.out, seed=asked.seed)
    made.roles |= {role: role for role in ("generator", "latent_stats", "style_space")}
    place = asked.out / "pictures" / "test"
    write_all({place / f"{index:05d}.png": encode_png(pictures[index]) for index in np.flatnonzero(kept)})
    like = None if asked.like is None else suites[asked.like]
    edits = dict(_recipe("closed_form")(generator, seed=asked.seed))
    with Session(like or next(iter(suites.values())), device=asked.device, readers=0) as session:
        looking = session.networks if like is not None else {}
        if "regressor" in looking:
            edits |= _recipe("regressed")(generator, session.networks["regressor"], seed=asked.seed)
        if asked.minutes > 0:
            encoder = _encoder(asked, generator, pictures, kept, session if like is not None else None, say)
            made.roles["encoder_e4e"] = "e4e"
            if labels:
                edits |= _recipe("labelled")(generator, encoder, pictures, labels, seed=asked.seed)
    _recipe("save_directions")(generator, edits, asked.out)
    made.roles["directions"] = "directions"
    made.edits = {name: unit for name, (unit, _) in edits.items()}
    path = asked.out / f"{asked.name}.toml"
    source = f"{asked.generator.name} and {asked.images.name}"
    told = Told(asked.name, source, made.resolution, asked.test, made.roles, made.edits)
    own_suite_file.write(path, told, like, registry, methods=())
    able = _able(path, asked, registry, say, here=here)
    own_suite_file.write(path, told, like, registry, methods=able)
    return path


def _recipe(name: str) -> Callable[..., Any]:
    return load_callable(f"{RECIPES}:{name}")


def _generator(asked: Request) -> Any:
    checkpoint = load_checkpoint(asked.generator)
    given = (checkpoint.get("init_kwargs") or {}).get("G_ema") or {}
    mapping = given.get("mapping_kwargs") or {} if isinstance(given, Mapping) else {}
    rate = mapping.get("lr_multiplier", 0.01) if isinstance(mapping, Mapping) else 0.01
    if type(rate) not in (int, float) or not (math.isfinite(rate) and rate > 0):
        raise InvbenchError(f"{asked.generator}: mapping_kwargs.lr_multiplier: expected a number above 0, found {rate!r:.80}")
    convert = load_callable("invbench.methods.convert.stylegan2:convert_generator")
    return convert(checkpoint, source=str(asked.generator), mapping_lr_multiplier=rate).network()


def _pictures(asked: Request, resolution: int, say: Callable[[str], None]) -> tuple[list[str], np.ndarray]:
    """The paths below the folder, without suffixes, and the pictures, uint8 [N, H, W, 3]."""
    dataset = load_callable("invbench.datasets.folder:Folder")(asked.images, resolution=resolution if asked.resize else None)
    for note in dataset.notes:
        say(note)
    needed = FEWEST + asked.test
    chosen = range(len(dataset.names))
    if len(chosen) < needed:
        raise InvbenchError(
            f"{asked.images}: expected at least {needed} pictures ({asked.test} to test on, {FEWEST} to train on), "
            f"found {len(chosen)}"
        )
    if len(chosen) > MOST:
        say(f"{len(chosen)} pictures: {MOST} of them are used, spread evenly")
        chosen = np.linspace(0, len(dataset.names) - 1, MOST).round().astype(int).tolist()
    pictures = np.empty((len(chosen), resolution, resolution, 3), dtype=np.uint8)
    for row, index in enumerate(chosen):
        picture = dataset.read(index).picture
        if picture.shape != pictures.shape[1:]:
            h, w = picture.shape[:2]
            raise InvbenchError(
                f"{dataset.files[index]}: expected {resolution}x{resolution} pixels, as the generator makes, found {w}x{h}; "
                "--resize takes other sizes of square pictures"
            )
        pictures[row] = picture
    if asked.test < FOR_SETS:
        say(f"{asked.test} test pictures are too few for FID and its like: expected --test {FOR_SETS} or more; left out")
    return [str(Path(dataset.paths[index]).with_suffix("").as_posix()) for index in chosen], pictures


def _labels(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Attribute -> value of each picture, NaN without one."""
    index = {name: row for row, name in enumerate(names)}
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            head, *rows = list(csv.reader(handle))
    except (OSError, ValueError, csv.Error) as error:
        raise InvbenchError(f"{path}: expected a CSV file with a line of names: {printable(error)}") from error
    columns = [name.strip() for name in head[1:]]
    for name in columns:
        if not name.isidentifier() or name != name.lower():
            raise InvbenchError(f"{path}: expected attributes named by lower-case letters, digits and '_', found {name!r:.80}")
    found = {name: np.full(len(names), np.nan) for name in columns}
    matched = 0
    for number, row in enumerate(filter(None, rows), start=2):
        if len(row) != len(head):
            raise InvbenchError(f"{path}:{number}: expected {len(head)} values, found {len(row)}")
        place = index.get(row[0], index.get(Path(row[0]).with_suffix("").as_posix()))
        if place is None:
            continue
        matched += 1
        for name, value in zip(columns, row[1:], strict=True):
            try:
                found[name][place] = float(value) if value.strip() else math.nan
            except ValueError as error:
                raise InvbenchError(f"{path}:{number}: {name}: expected a number, found {value!r:.80}") from error
    if not matched or not columns:
        raise InvbenchError(f"{path}: expected a line for each picture, and attributes, found {matched} and {len(columns)}")
    return found


def _encoder(
    asked: Request, generator: Any, pictures: np.ndarray, kept: np.ndarray, session: Session | None, say: Callable[[str], None]
) -> Any:
    networks: Any = {} if session is None else session.networks
    perceptual = networks["perceptual_vgg"] if "perceptual_vgg" in networks else _recipe("embedded_perceptual")(asked.device)
    recipe = _recipe("OwnPictures")(
        seed=asked.seed,
        device=asked.device,
        generator=generator,
        perceptual=perceptual,
        identity=networks.get("identity"),
        real=pictures[~kept],
        held_out=pictures[kept],
    )
    network, figures = _recipe("train_e4e")(recipe, asked.out, minutes=asked.minutes, seed=asked.seed, device=asked.device)
    told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    say(f"e4e, {asked.minutes:g} minutes: {told} on {int(kept.sum())} pictures that it never saw")
    return network


def _able(path: Path, asked: Request, registry: Registry, say: Callable[[str], None], *, here: bool) -> list[str]:
    """The methods that come through a few steps on a picture of noise; a line tells of each other that has its networks."""
    suite = load(path)[asked.name]
    able = []
    opened = partial(Session, suite, device=asked.device, readers=0)
    with opened() as session, Apart(opened, limit=LONGEST, here=here) as apart:
        for id, spec in registry.methods.items():
            if id in registry.foreign or not set(spec.roles) <= set(suite.networks):
                continue
            try:
                if strangers([spec]):
                    apart.call(_try, spec)
                else:
                    _try(session, spec)
            except (Exception, GeneratorExit, SystemExit) as error:  # whatever stops a method here stops it in a run
                say(f"without {id}: {' '.join(str(error).split())[:200]}")
                continue
            able.append(id)
    return able


def _try(session: Session, spec: MethodSpec) -> None:
    """A few steps of a method on a picture of noise."""
    suite = session.suite
    options = resolve(suite, spec, pairs.default_preset(spec))
    probe(
        lambda steps: session.build(spec, {**options, **steps}),
        step_options(spec, options),
        least=lambda name, count: at_least(spec.options[name], count),
        edit=Edit(next(iter(suite.edits)), 1.0),
        size=suite.picture_size,
        batch=1,
        device=session.device,
    )
