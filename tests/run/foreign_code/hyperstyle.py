"""Stands in for two scripts of yuval-alaluf/hyperstyle: half the light; an edit brightens by ten levels a factor."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

parser = argparse.ArgumentParser()
for name in ("exp_dir", "checkpoint_path", "data_path", "w_encoder_checkpoint_path"):
    parser.add_argument(f"--{name}", type=Path, required=True)
for name in ("test_batch_size", "test_workers", "n_iters_per_batch", "factor_range"):
    parser.add_argument(f"--{name}", type=int)
parser.add_argument("--load_w_encoder", action="store_true")
parser.add_argument("--edit_directions")
asked = parser.parse_args()
for path in sorted(asked.data_path.iterdir()):
    original = np.asarray(Image.open(path))
    inverted = original // 2
    if asked.edit_directions is None:
        folders = [asked.exp_dir / "inference_results" / str(step) for step in range(asked.n_iters_per_batch)]
        tiles = [[inverted // (len(folders) - step)] for step in range(len(folders))]
    else:
        folders = [asked.exp_dir / "editing_results" / name for name in asked.edit_directions.split(",")]
        factors = range(-asked.factor_range, asked.factor_range)
        edits = [(inverted.astype(int) + 10 * factor).clip(0, 255).astype(np.uint8) for factor in factors]
        tiles = [[original, inverted, *edits]] * len(folders)
    for folder, row in zip(folders, tiles, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(row, axis=1)).save(folder / path.name)
