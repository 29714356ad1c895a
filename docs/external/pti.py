"""PTI's official code behind the folder protocol. It runs in the folder of the repository danielroich/PTI, with its Python.

    python pti.py invert
    python pti.py edit DIRECTION FACTOR FOLDER

``scripts.run_pti.run_PTI`` inverts the pictures of ``paths_config.input_data_path``. It leaves the pivot of each in
``embedding_base_dir/input_data_id/pti_results_keyword/NAME/0.pt``, and its tuned generator in ``checkpoints_dir`` as
``model_RUN_NAME.pt``.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.getcwd())

import torch
from configs import global_config, hyperparameters, paths_config
from PIL import Image

RUN, ID = "invbench", "invbench"
INPUTS, OUTPUTS, WORK = (Path(os.environ[f"INVBENCH_{name}"]) for name in ("INPUTS", "OUTPUTS", "WORK"))
NAMES = sorted(path.stem for path in INPUTS.glob("*.png"))


def main() -> None:
    what, *rest = sys.argv[1:]
    paths_config.input_data_path, paths_config.input_data_id = str(INPUTS), ID
    paths_config.embedding_base_dir, paths_config.checkpoints_dir = str(WORK / "embeddings"), str(WORK / "checkpoints")
    global_config.cuda_visible_devices = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    hyperparameters.max_images_to_invert = len(NAMES)  # it stops after so many
    if what == "invert":
        invert()
    else:
        edit(*rest)


def invert() -> None:
    from scripts.run_pti import run_PTI

    for folder in (paths_config.embedding_base_dir, paths_config.checkpoints_dir):
        os.makedirs(folder, exist_ok=True)
    run_PTI(run_name=RUN, use_wandb=False, use_multi_id_training=False)
    for name in NAMES:
        generator, pivot = load(name)
        save(generator, pivot, OUTPUTS / f"{name}.png")


def edit(direction: str, factor: str, folder: str) -> None:
    from scripts.latent_editor_wrapper import LatentEditorWrapper

    editor = LatentEditorWrapper()
    for name in NAMES:
        generator, pivot = load(name)
        moved = editor.get_single_interface_gan_edits(pivot, [float(factor)])[direction][float(factor)]
        save(generator, moved, Path(folder) / f"{name}.png")


def load(name):
    place = Path(paths_config.embedding_base_dir) / ID / paths_config.pti_results_keyword / name
    file = Path(paths_config.checkpoints_dir) / f"model_{RUN}_{name}.pt"
    device = global_config.device
    return torch.load(file, map_location=device).eval(), torch.load(place / "0.pt", map_location=device)


@torch.no_grad()
def save(generator, latents, path: Path) -> None:
    picture = generator.synthesis(latents, noise_mode="const", force_fp32=True)[0]
    levels = ((picture + 1) * 127.5).round().clamp(0, 255).byte()
    Image.fromarray(levels.permute(1, 2, 0).cpu().numpy()).save(path)


main()
