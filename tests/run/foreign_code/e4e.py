"""Stands in for scripts/inference.py of omertov/encoder4editing: half the light, numbered JPEG files."""

import argparse
from pathlib import Path

from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("--images_dir", type=Path)
parser.add_argument("--save_dir", type=Path)
parser.add_argument("ckpt")
asked = parser.parse_args()
folder = asked.save_dir / "inversions"
folder.mkdir()
for number, path in enumerate(sorted(asked.images_dir.iterdir()), start=1):
    Image.open(path).point(lambda level: level // 2).save(folder / f"{number:05d}.jpg", quality=100, subsampling=0)
