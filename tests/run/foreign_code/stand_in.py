"""A stand-in for foreign code: it darkens pictures by the folder protocol, and misbehaves as it is told.

    stand_in.py invert TROUBLE          paths come from the environment
    stand_in.py edit TROUBLE NAME STRENGTH FOLDER
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

PLACES = ["INPUTS", "OUTPUTS", "LATENTS", "EDITS", "WORK"]
INPUTS, OUTPUTS, LATENTS, EDITS, WORK = (Path(os.environ[f"INVBENCH_{name}"]) for name in PLACES)
BAD = "toy-02"
STARTUP = 0.3  # seconds


def main() -> None:
    what, trouble, *rest = sys.argv[1:]
    print(f"{what} with {trouble}", flush=True)
    time.sleep(STARTUP if trouble == "slow" else 0)
    (invert if what == "invert" else edit)(trouble, *rest)


def invert(trouble: str) -> None:
    seconds = {}
    for path in sorted(INPUTS.iterdir()):
        name, out = path.stem, OUTPUTS / path.name
        picture = np.asarray(Image.open(path)) // 16 * 16
        if trouble == "slow":
            time.sleep(0.05)
        (WORK / "state.json").write_text(json.dumps([name]))
        own = trouble if name == BAD else ""
        if trouble == "all":
            own = [*TROUBLES, "", ""][int(name[-2:])]
        if own in TROUBLES:
            TROUBLES[own](out, picture)
        if own not in ("", "nan", "no edit") and own in TROUBLES:
            continue
        Image.fromarray(picture).save(out)
        seconds[name] = {"encode": 0.001, "refine": 0.002}
        save_latents(LATENTS / f"{name}.safetensors", np.nan if own == "nan" else 0.5)
    if trouble == "times":
        (OUTPUTS.parent / "times.json").write_text(json.dumps(seconds))
    if trouble == "lies":
        (OUTPUTS.parent / "times.json").write_text(json.dumps(dict.fromkeys(seconds, 1e6)))


def edit(trouble: str, name: str, strength: str, folder: str) -> None:
    assert json.loads((WORK / "state.json").read_text())
    for path in sorted(OUTPUTS.glob("*.png")):
        if path.stem == BAD and trouble == "no edit":
            continue
        picture = np.asarray(Image.open(path)).astype(int) + round(12.75 * float(strength)) * (name == "hell")
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(Path(folder) / path.name)


def save_latents(path: Path, value: float) -> None:
    data = np.full((2, 3), value, dtype="<f4").tobytes()
    header = json.dumps({"latents": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def crash(out: Path, picture: np.ndarray) -> None:
    print("about to fall", file=sys.stderr, flush=True)
    os.abort()


def hang(out: Path, picture: np.ndarray) -> None:
    child = os.fork()
    if child == 0:
        time.sleep(600)
    (WORK / "pids").write_text(f"{os.getpid()} {child}")
    time.sleep(600)


def big(out: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(out)
    with open(out, "ab") as handle:
        handle.truncate(2**34)


TROUBLES = {
    "missing": lambda out, picture: print("no face \x1b[31m found"),
    "small": lambda out, picture: Image.fromarray(picture[:8]).save(out),
    "half": lambda out, picture: (Image.fromarray(picture).save(out), out.write_bytes(out.read_bytes()[:-40])),
    "jpeg": lambda out, picture: Image.fromarray(picture).save(out, format="JPEG"),
    "text": lambda out, picture: out.write_text("hello"),
    "link": lambda out, picture: out.symlink_to(INPUTS / out.name),
    "linked folder": lambda out, picture: (WORK / "elsewhere").symlink_to("/"),
    "fifo": lambda out, picture: os.mkfifo(out),
    "folder": lambda out, picture: out.mkdir(),
    "big": big,
    "grey": lambda out, picture: Image.fromarray(picture[..., 0]).save(out),
    "deep": lambda out, picture: Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(out),
    "crash": crash,
    "hang": hang,
}
if __name__ == "__main__":
    main()
