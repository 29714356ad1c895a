"""Export the networks of a TensorFlow checkpoint of AttGAN or STGAN as an ``.npz`` that invbench reads.

Runs alone, in an environment with TensorFlow 1.15 or 2 and NumPy; invbench needs neither it nor TensorFlow:

    python tensorflow_export.py CHECKPOINT OUT.npz

CHECKPOINT is the prefix of the files (``.../Epoch_(99)_(5000of5000).ckpt``) or their folder, whose latest is taken. Variables
of optimisers are left out. Names of object-based checkpoints (LynnHo/AttGAN-Tensorflow) are brought to those of the variables.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

import numpy as np

NETWORKS = ("UNetGenc", "UNetGdec", "Genc", "Gstu", "Gdec", "D")
OBJECT = "/.ATTRIBUTES/VARIABLE_VALUE"
OPTIMISER = re.compile(r"/(Adam(_\d+)?|RMSProp(_\d+)?|Momentum)$")


def plain(name: str) -> str:
    """The name of a variable: "UNetGenc.SConv.Sweights:0/.ATTRIBUTES/VARIABLE_VALUE" -> "UNetGenc/Conv/weights"."""
    if not name.endswith(OBJECT):
        return name
    found = re.sub(r"\.([.S])", lambda match: "/" if match[1] == "S" else ".", name[: -len(OBJECT)])
    return re.sub(r":0$", "", found)


def exported(reader: Any) -> dict[str, np.ndarray]:
    """The variables of the networks in a checkpoint reader, by name, float32."""
    found = {}
    for name in sorted(reader.get_variable_to_shape_map()):
        variable = plain(name)
        if variable.split("/")[0] in NETWORKS and not OPTIMISER.search(variable):
            found[variable] = np.asarray(reader.get_tensor(name), np.float32)
    return found


def main(arguments: list[str]) -> int:
    """Write the file. Returns the exit code: 0, or 2 for wrong arguments and checkpoints without these networks."""
    if len(arguments) != 2:
        print("usage: python tensorflow_export.py CHECKPOINT OUT.npz", file=sys.stderr)
        return 2
    source, out = arguments
    train: Any = importlib.import_module("tensorflow").train
    if os.path.isdir(source):
        source = train.latest_checkpoint(source) or source
    found = exported(train.load_checkpoint(source))
    if not found:
        print(f"{source}: expected variables of {', '.join(NETWORKS)}, found none", file=sys.stderr)
        return 2
    with open(out, "wb") as file:
        np.savez(file, **found)  # type: ignore[arg-type]
    print(f"wrote {out}: {len(found)} variables")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
