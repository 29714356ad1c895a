"""Add a published direction to a suite: an official file becomes a source of the user's."""

from __future__ import annotations

import re
from collections.abc import Callable
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

CONVERT = "invbench.methods.convert.directions:edit_directions"
FITTING = "invbench.methods.directions.fitting"
PROBES = 50  # latents on which a length is measured
SEED = 0


@dataclass(frozen=True)
class Request:
    """One direction of a file.

    layers      "4:8": layers 4 to 7, as files and code have them; "4-7": the same, as papers and screens have them; None: those
                that the file names, else all
    component   of a file of components; ``shift``: move by it instead of to a position
    calibrate   set the length so that strength 1 changes the attribute by the suite's unit
    """

    file: Path
    source: str
    edit: str
    layers: str | None
    component: int | None
    scale: float
    shift: bool
    unit_length: bool
    calibrate: bool


def run(asked: Request, session: Session, registry: Registry, *, say: Callable[[str], None]) -> Path:
    """Read the file, check it against the suite's generator, and keep it. Returns the file of the source."""
    suite, path = session.suite, kept.place(session.suite, asked.source)
    find("edit", asked.edit, suite.edits)
    generator: Any = session.networks["generator"]
    content = direction_files.read(asked.file)
    table = _table(asked, content, generator.num_ws)
    convert = load_callable(CONVERT)
    network = convert({"file": content}, sources={"file": str(asked.file)}, num_ws=generator.num_ws, edits={asked.edit: table})
    if network.vectors.shape[-1] != generator.w_dim:
        found = network.vectors.shape[-1]
        raise InvbenchError(f"{asked.file}: expected a direction of {generator.w_dim} numbers a layer, found {found}")
    config = {"names": [asked.edit], "num_ws": generator.num_ws, "dim": generator.w_dim}
    if asked.unit_length:
        longest = network.vectors.norm(dim=2).amax()
        network.vectors /= longest.clamp_min(1e-12)
        say(f"length {float(longest):.4g} set to 1")
    factor = _factor(asked.edit, network, session, registry) if asked.calibrate else 1.0
    if asked.calibrate:
        network.vectors *= factor
        unit = f"{suite.edits[asked.edit].per_strength:g} {suite.edits[asked.edit].unit}"
        say(f"length changed {factor:.4g} times: strength 1 is {unit}")
    kept.save(path, *kept.joined(path, network, config), _record(asked, factor))
    to = "goes to a position" if bool(network.readings.any()) else "is added"
    moved = [index for index, vector in enumerate(network.vectors[0]) if bool(vector.any())]
    say(f"{asked.edit}@{asked.source}: {to}, layers {moved[0]} to {moved[-1]}, in {path}")
    return path


def _table(asked: Request, content: Any, num_ws: int) -> dict[str, Any]:
    """The edit as a suite's file has it."""
    table: dict[str, Any] = {"file": "file", "scale": asked.scale}
    if asked.layers is not None:
        table["layers"] = layers(asked.layers, num_ws)
    if "comp" in content:
        if asked.component is None:
            raise InvbenchError(f"{asked.file}: expected --component, one of its {len(content['comp'])}, found none")
        return table | {"component": asked.component, "to_position": not asked.shift}
    if asked.component is not None or asked.shift:
        raise InvbenchError(f"{asked.file}: expected principal components for --component and --shift, found one direction")
    return table


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
    return {"source": "added", **origin, "edit": asked.edit, "factor": factor}
