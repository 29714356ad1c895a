"""Give the pictures of another code the names of the folder protocol, as 8-bit PNG. It needs Pillow alone.

    python collect.py RESULTS --to FOLDER                 RESULTS/NAME.(png|jpg) -> FOLDER/NAME.png
    python collect.py RESULTS --to FOLDER --numbered      the n-th file in order is the n-th input in order
    python collect.py RESULTS --to FOLDER --tile 4        the fifth of the squares that stand side by side in each picture

Inputs are those of ``INVBENCH_INPUTS``. A picture that is missing is left out, and becomes a failed row.
"""

import argparse
import os
from pathlib import Path

from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("results", type=Path)
parser.add_argument("--to", type=Path, required=True)
parser.add_argument("--numbered", action="store_true")
parser.add_argument("--tile", type=int)
asked = parser.parse_args()
names = sorted(path.stem for path in Path(os.environ["INVBENCH_INPUTS"]).glob("*.png"))
files = sorted(path for path in asked.results.iterdir() if path.suffix in (".png", ".jpg"))
if asked.numbered and len(files) != len(names):
    raise SystemExit(f"expected {len(names)} numbered pictures in {asked.results}, found {len(files)}")
by_name = dict(zip(names, files, strict=True)) if asked.numbered else {path.stem: path for path in files}
for name in names:
    if name in by_name:
        with Image.open(by_name[name]) as picture:
            side = picture.height
            box = (0, 0, *picture.size) if asked.tile is None else (asked.tile * side, 0, (asked.tile + 1) * side, side)
            picture.convert("RGB").crop(box).save(asked.to / f"{name}.png")
