"""Stands in for scripts/run_pti.py of danielroich/PTI: half the light, held by a generator for each picture."""

from pathlib import Path

import numpy as np
import torch
from configs import hyperparameters, paths_config
from PIL import Image
from toy import Toy


def run_PTI(run_name="", use_wandb=False, use_multi_id_training=False):
    place = Path(paths_config.embedding_base_dir) / paths_config.input_data_id / paths_config.pti_results_keyword
    for path in sorted(Path(paths_config.input_data_path).iterdir())[: hyperparameters.max_images_to_invert]:
        picture = torch.from_numpy(np.asarray(Image.open(path)) // 2).permute(2, 0, 1).float()
        (place / path.stem).mkdir(parents=True)
        torch.save(torch.zeros(1, 18, 512), place / path.stem / "0.pt")
        torch.save(Toy(picture), Path(paths_config.checkpoints_dir) / f"model_{run_name}_{path.stem}.pt")
