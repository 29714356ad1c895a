"""Add published directions to a suite: an official file becomes a source of the user's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from invbench.api import InvbenchError
from invbench.plugins.registry import Registry, find, load_callable
from invbench.run.directions import kept
from invbench.run.directions.readings import Readings
from invbench.run.session import Session
from invbench.util.provenance import file_digest
from invbench.weights import direction_files

METHODS = "invbench.methods"
CONVERT = f"{METHODS}.convert.directions:edit_directions"
FITTING = f"{METHODS}.directions.fitting"
FLOW_DATA = ("attributes.npy", "light.npy", "sg2latents.pickle")  # beside the published flow
PROBES = 50  # latents on which a length is measured
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Request:
    """One file of directions.

    edits       one edit; of a flow, several
    layers      "4:8": layers 4 to 7, as files and code have them; "4-7": the same, as papers and screens have them; None: those
                that the file names, else all
    component   of a file of components; ``shift``: move by it instead of to a position
    calibrate   set the length so that strength 1 changes the attribute by the suite's unit
    styles      of StyleCLIP's relevance of channels: the file of their means and deviations; ``text``: that of the text
                direction; ``threshold``: beta
    data        of StyleFlow: the folder with FLOW_DATA
    """

    file: Path
    source: str
    edits: tuple[str, ...]
    layers: str | None = None
    component: int | None = None
    scale: float = 1.0
    shift: bool = False
    unit_length: bool = False
    calibrate: bool = False
    styles: Path | None = None
    text: Path | None = None
    threshold: float = 0.1
    data: Path | None = None


def run(asked: Request, session: Session, registry: Registry, *, say: Callable[[str], None]) -> Path:
    """Read the file, check it against the suite's generator, and keep it. Returns the file of the source."""
    path = kept.place(session.suite, asked.source)
    for name in asked.edits:
        find("edit", name, session.suite.edits)
    content = direction_files.read(asked.file)
    if "state_dict" in content or "chain.1.sqrt_end_time" in content:
        _network(asked, content, session, path, say)
        return path
    edit = _only(asked)
    network = _styles(asked, content, session, say) if asked.styles or asked.text else _linear(asked, content, session)
    config = {"names": [edit], "num_ws": network.num_ws, "dim": network.vectors.shape[-1]}
    if asked.unit_length:
        longest = network.vectors.norm(dim=2).amax()
        network.vectors /= longest.clamp_min(1e-12)
        say(f"length {float(longest):.4g} set to 1")
    factor = _factor(edit, kept.checked(network), session, registry) if asked.calibrate else 1.0
    if asked.calibrate:
        network.vectors *= factor
        unit = f"{session.suite.edits[edit].per_strength:g} {session.suite.edits[edit].unit}"
        say(f"length changed {factor:.4g} times: strength 1 is {unit}")
    kept.save(path, *kept.joined(path, kept.checked(network), config), _record(asked, factor))
    to = "goes to a position" if bool(network.readings.any()) else "is added"
    moved = [index for index, vector in enumerate(network.vectors[0]) if bool(vector.any())]
    say(f"{edit}@{asked.source}: {to}, layers {moved[0]} to {moved[-1]}, in {path}")
    return path


def _only(asked: Request) -> str:
    if len(asked.edits) != 1:
        raise InvbenchError(f"--edit: expected one edit for {asked.file}, found {', '.join(asked.edits)}")
    return asked.edits[0]


def _linear(asked: Request, content: Mapping[str, Any], session: Session) -> Any:
    """A direction, or a component, as it is published."""
    generator: Any = session.networks["generator"]
    table: dict[str, Any] = {"file": "file", "scale": asked.scale}
    if asked.layers is not None:
        table["layers"] = layers(asked.layers, generator.num_ws)
    if "comp" in content:
        if asked.component is None:
            raise InvbenchError(f"{asked.file}: expected --component, one of its {len(content['comp'])}, found none")
        table |= {"component": asked.component, "to_position": not asked.shift}
    elif asked.component is not None or asked.shift:
        raise InvbenchError(f"{asked.file}: expected principal components for --component and --shift, found one direction")
    sources, edits = {"file": str(asked.file)}, {asked.edits[0]: table}
    network = load_callable(CONVERT)({"file": content}, sources=sources, num_ws=generator.num_ws, edits=edits)
    if network.vectors.shape[-1] != generator.w_dim:
        found = network.vectors.shape[-1]
        raise InvbenchError(f"{asked.file}: expected a direction of {generator.w_dim} numbers a layer, found {found}")
    return network


def _styles(asked: Request, content: Mapping[str, Any], session: Session, say: Callable[[str], None]) -> Any:
    """A global direction of StyleCLIP: the step in W+ that comes nearest to its shift of styles."""
    if asked.styles is None or asked.text is None or "tensor" not in content:
        raise InvbenchError(f"{asked.file}: expected an array of relevances with both --styles and --text, found less")
    text = direction_files.read(asked.text).get("tensor")
    if text is None:
        raise InvbenchError(f"{asked.text}: expected one array, the difference of two text embeddings")
    deviations = direction_files.deviations(asked.styles)
    relevance, source = content["tensor"].numpy(), str(asked.file)
    shift = load_callable(f"{METHODS}.directions.styleclip:style_shift")(
        relevance, text.numpy(), deviations, threshold=asked.threshold, source=source
    )
    generator: Any = session.networks["generator"]
    step, missed = load_callable(f"{METHODS}.directions.styleclip:latent_shift")(generator, shift, source=source)
    channels = sum(int((one != 0).sum()) for one in shift.values())
    say(f"{channels} channels; the step in W+ misses {missed:.1%} of their shift, as latents cannot move every style alone")
    linear = {"file": {"tensor": step}}
    table = {asked.edits[0]: {"file": "file", "scale": asked.scale}}
    return load_callable(CONVERT)(linear, sources={"file": source}, num_ws=generator.num_ws, edits=table)


def _network(asked: Request, content: Mapping[str, Any], session: Session, path: Path, say: Callable[[str], None]) -> None:
    """A mapper of StyleCLIP, or the flow of StyleFlow: a source of its own."""
    if path.is_file():
        raise InvbenchError(f"--as {asked.source}: expected a new name, since a network has a source of its own")
    source, generator = str(asked.file), session.networks["generator"]
    if "state_dict" in content:
        convert = load_callable(f"{METHODS}.convert.styleclip:mapper")
        network, config = convert(content, source=source, edit=_only(asked), scale=asked.scale)
        width = config["dim"]
    else:
        if asked.data is None:
            raise InvbenchError(f"{source}: expected --data, the folder with {', '.join(FLOW_DATA)}, found none")
        attributes, light = (direction_files.read(asked.data / name).get("tensor") for name in FLOW_DATA[:2])
        if attributes is None or light is None:
            raise InvbenchError(f"{asked.data}: expected one array each in {' and '.join(FLOW_DATA[:2])}")
        latents = direction_files.latents(asked.data / FLOW_DATA[2])
        convert = load_callable(f"{METHODS}.convert.styleflow:directions")
        steps = dict.fromkeys(asked.edits, asked.scale)
        network, config = convert(content, source=source, latents=latents, attributes=attributes, light=light, edits=steps)
        width = config["dim"]
        if network.num_ws != generator.num_ws:
            raise InvbenchError(f"{asked.data}: expected latents of {generator.num_ws} layers, found {network.num_ws}")
    if width != generator.w_dim:
        raise InvbenchError(f"{source}: expected latents of {generator.w_dim} numbers, found {width}")
    kept.save(path, network, config, _record(asked, 1.0))
    say(f"{', '.join(asked.edits)}@{asked.source}: {type(network).__name__}, in {path}")


def layers(text: str, num_ws: int) -> list[int]:
    """"4:8" (the last one excluded) or "4-7" (included) -> [4, 8]. Raises InvbenchError for other text and other layers."""
    match = re.fullmatch(r"(\d{1,3})([:-])(\d{1,3})", text.strip())
    first, end = (int(match[1]), int(match[3]) + (match[2] == "-")) if match else (0, 0)
    if not 0 <= first < end <= num_ws:
        expected = f"FIRST:END or FIRST-LAST within 0:{num_ws}, for example 0:{min(4, num_ws)} or 0-{min(4, num_ws) - 1}"
        raise InvbenchError(f"--layers: expected {expected}, found {text!r:.40}")
    return [first, end]


def _factor(edit: str, network: Any, session: Session, registry: Registry) -> float:
    """What the direction has to be multiplied by for the suite's unit."""
    readings = Readings(session, registry)
    if edit not in readings.edits:
        raise InvbenchError(f"--calibrate: suite {session.suite.id}: no metric measures the change of {edit}")
    if bool(network.readings.any()):
        raise InvbenchError("--calibrate: expected a direction that is added, found one that goes to a position; see --shift")
    columns, step = list(readings.edits), session.suite.edits[edit].per_strength
    wanted = load_callable(f"{FITTING}:Wanted")(columns.index(edit), step)
    task = load_callable(f"{FITTING}:Task")(
        generator=readings.generator,
        read=readings.read,
        wanted={edit: wanted},
        scale=[1.0] * len(columns),
        seed=SEED,
        probes=PROBES,
    )
    with torch.no_grad():
        base = task.ws(task.latents(PROBES, 1))
        vector = network[edit].to(base)
        return float(load_callable(f"{FITTING}:length")(task, base, task.read(base), vector, wanted, edit))


def _record(asked: Request, factor: float) -> dict[str, Any]:
    """What the file of the source says of its origin; of the direction that was added last."""
    origin = {"from": asked.file.name, "from_sha256": file_digest(asked.file)}
    return {"source": "added", **origin, "edits": list(asked.edits), "factor": factor}
