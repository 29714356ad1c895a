"""``python -m invbench.methods.train.pictures``: make the pictures of the embedded domain and of its generator."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from invbench.datasets.procfaces import factors_from_z, render, render_edited, render_split, sample_z, split
from invbench.methods.train.common import checkout
from invbench.methods.train.frozen import load_frozen

SCALE = 2
FACES = 900_001  # seed of latents that no training step draws; invbench.methods.train.generator validates on them


def domain_sheet() -> np.ndarray:
    """In-domain faces, faces with extras, their out-of-domain masks, and one face edited; uint8 [H, W, 3]."""
    plain, odd = render_split("test", range(10)), render_split("test-ood", range(10))
    face = split("test").u[:1]
    edits = [render_edited(face, name, s).images[0] for name in ("age", "yaw") for s in (-6, -3, 0, 3, 6)]
    masks = np.repeat(odd.ood_mask[..., None], 3, axis=3).astype(np.uint8) * 255
    return sheet([plain.images, odd.images, masks, np.stack(edits)])


def generator_sheet() -> np.ndarray:
    """Renders, and below them the generator's images of the same latents; uint8 [H, W, 3]."""
    generator = load_frozen("generator")
    z = sample_z(FACES, 20)
    with torch.no_grad():
        drawn = generator(torch.from_numpy(z).float()).clamp(-1, 1)
    pictures = ((drawn.movedim(1, 3) + 1) * 127.5).round().byte().numpy()
    true = render(factors_from_z(z)).images
    return sheet([true[:10], pictures[:10], true[10:], pictures[10:]])


def sheet(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of pictures uint8 [N, H, W, 3] -> one picture, uint8."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="[default: docs/images of the checkout]")
def main(out: Path | None) -> None:
    """Write procfaces.png and generator.png into the folder."""
    out = out or checkout() / "docs" / "images"
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in (("procfaces", domain_sheet), ("generator", generator_sheet)):
        picture = Image.fromarray(draw())
        size = (picture.width * SCALE, picture.height * SCALE)
        picture.resize(size, Image.Resampling.NEAREST).save(out / f"{name}.png", optimize=True)
        click.echo(f"wrote {out / name}.png")


if __name__ == "__main__":
    main()
