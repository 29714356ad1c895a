"""Stands in for scripts/inference.py of AIRI-Institute/StyleFeatureEditor: half the light; an edit brightens by ten levels."""

import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

asked = dict(word.split("=", 1) for word in sys.argv[1:])
assert asked["exp.config"] == "fse_inference.yaml" and asked["exp.config_dir"] == "configs" and asked["model.checkpoint_path"]
out = Path(asked["exp.output_dir"])
edits = re.findall(r"(\w+): \[([-.\d]+)\]", asked["inference.editings_data"])
for path in sorted(Path(asked["data.inference_dir"]).iterdir()):
    inverted = np.asarray(Image.open(path)) // 2
    made = {out / "inversion": inverted}
    for name, power in edits:
        edited = (inverted.astype(int) + round(10 * float(power))).clip(0, 255).astype(np.uint8)
        made[out / name / f"edit_power_{float(power):.4f}"] = edited
    for folder, picture in made.items():
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / path.name)
