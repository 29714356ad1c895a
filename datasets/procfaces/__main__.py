"""python -m invbench.datasets.procfaces: write a split as files, or rewrite the stored hashes."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from .factors import physical
from .splits import RECIPES, render_split, split, write_hashes


def export(name: str, folder: Path) -> None:
    """Write a split: images/, parsing/ and masks/ as PNG, and factors.parquet with one row a picture (physical units)."""
    faces, rendered = split(name), render_split(name)
    pictures = {
        "images": rendered.images,
        "parsing": rendered.parsing,
        "masks": rendered.ood_mask.astype(np.uint8) * np.uint8(255),
    }
    for kind, arrays in pictures.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for label, array in zip(faces.names, arrays):
            Image.fromarray(array).save(folder / kind / f"{label}.png")
    columns = {"name": faces.names, "sha256": faces.sha256, "extras": [list(e.kinds()) if e else [] for e in faces.extras]}
    pq.write_table(pa.table({**columns, **physical(faces.u)}), folder / "factors.parquet")


@click.command()
@click.option("--write-hashes", "rewrite", is_flag=True, help="Rewrite sha256.json after a deliberate change of the renderer.")
@click.option(
    "--export", "target", nargs=2, type=(click.Choice(list(RECIPES)), click.Path(path_type=Path)), metavar="SPLIT FOLDER",
    help="Write a split's pictures, parsing maps, masks and factors.",
)  # fmt: skip
def main(rewrite: bool, target: tuple[str, Path] | None) -> None:
    """Write a split of procfaces as files, or rewrite its stored hashes."""
    if not rewrite and target is None:
        raise click.UsageError("expected --write-hashes or --export SPLIT FOLDER")
    if rewrite:
        write_hashes()
    if target is not None:
        export(*target)


if __name__ == "__main__":
    main()
