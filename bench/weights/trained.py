"""What the manifest of a network of the zoo tells of its training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from invbench.api import InvbenchError
from invbench.packed import SCALE


class Trained(NamedTuple):
    """Number of parameters (buffers included), pictures seen in training, minutes of training."""

    parameters: int
    images: int
    minutes: float


def trained(path: Path) -> Trained | None:
    """The training of the network in a weight file; None where its manifest tells of none.

    Raises InvbenchError naming the file if it or its manifest cannot be read.
    """
    try:
        manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if "images" not in manifest or "minutes" not in manifest:
            return None
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not name.endswith(SCALE)]  # noqa: SIM118 - not a mapping
            sizes = [math.prod(file.get_slice(name).get_shape()) for name in names]
    except (OSError, ValueError, SafetensorError) as error:
        raise InvbenchError(f"{path}: expected a network with its manifest, found {error}") from error
    return Trained(sum(sizes), int(manifest["images"]), float(manifest["minutes"]))
