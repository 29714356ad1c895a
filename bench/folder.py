"""Where the files of a run folder are: paths only, nothing is read or written. :mod:`invbench.store` says what is in them.

    manifest.json                       the origin of the numbers
    plan.json                           cells, their images and keys
    rows/<cell>/<part>.parquet          one row per image, and one per image and edit
    features/<cell>/<part>.safetensors  features of the set metrics, float32 [n, F], for the images of the part
    images/<cell>/<image>.png           reconstructions; <image>@<edit><strength>.png are edits
    masks/<cell>/<image>.png            domain masks as grey levels, where the method has them
    inputs/<dataset>/<image>.png        the originals
    truths/<dataset>/<image>.png        the true edited pictures, named like the edits, if the dataset knows them
    truths/<dataset>.json               the sha256 of the pixels of each true picture and mask of the dataset
    truth_masks/<dataset>/<image>.png   the true domain masks as grey levels (white = in-domain), likewise
    sets.parquet                        values of the set metrics, with interval, bias and n
    edit_sets.json                      FIDs of edits, where `invbench edit-fid` computed them
    latency/<method>-<key>.parquet      times of the latency pass, one row per picture, and one per picture and edit
    foreign/<cell>/                     exchange folders and log of foreign commands (:mod:`invbench.run.foreign`)
    curves/<cell>/<part>.parquet        quality against steps and seconds of the inversions of the part, one row per point
    statistics/<name>.json              intervals and ranks of a large run, cached by reports; computed again if they do not fit
"""

from __future__ import annotations

from pathlib import Path

from invbench.api import Edit
from invbench.schema import signed
from invbench.util.files import FOREIGN, file_name

PARTS = (
    "rows", "features", "images", "masks", "inputs", "truths", "truth_masks", "latency", "curves", "superseded",
    "statistics", "report", FOREIGN,
)  # fmt: skip
EDIT_SETS_FILE = "edit_sets.json"
OWN = (*PARTS, "sets.parquet", EDIT_SETS_FILE, "manifest.json", "plan.json")
JOBS = ".jobs"  # what jobs of a cluster were given and what they printed
BEFORE_PLAN = (".lock", JOBS, "inputs", "truths", "truth_masks")  # what a run that was killed before its plan leaves


class Folder:
    """The paths of a run folder."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def picture(self, cell: str, image: str, edit: Edit | None = None) -> Path:
        """The path of the picture of a reconstruction, or of an edit, of an image."""
        return self.path / "images" / file_name(cell) / f"{file_name(image)}{tag(edit)}.png"

    def mask(self, cell: str, image: str) -> Path:
        """The path of an image's predicted domain mask; the file exists only if the method has masks."""
        return self.path / "masks" / file_name(cell) / f"{file_name(image)}.png"

    def input(self, dataset: str, image: str) -> Path:
        """The path of the run folder's copy of an original."""
        return self.path / "inputs" / file_name(dataset) / f"{file_name(image)}.png"

    def truth(self, dataset: str, image: str, edit: Edit) -> Path:
        """The path of the true edited picture of an image; the file exists only if the dataset knows it."""
        return self.path / "truths" / file_name(dataset) / f"{file_name(image)}{tag(edit)}.png"

    def truth_mask(self, dataset: str, image: str) -> Path:
        """The path of an image's true domain mask; the file exists only if the dataset knows it."""
        return self.path / "truth_masks" / file_name(dataset) / f"{file_name(image)}.png"

    def truth_digests(self, dataset: str) -> Path:
        """The path of the sha256 of a dataset's true pictures and masks."""
        return self.path / "truths" / f"{file_name(dataset)}.json"

    def rows_folder(self, cell: str) -> Path:
        """The folder of a cell's parts of rows."""
        return self.path / "rows" / file_name(cell)

    def features_path(self, cell: str, part: str) -> Path:
        """The path of the features of a part of a cell, or of originals."""
        return self.path / "features" / file_name(cell) / f"{part}.safetensors"

    def curves_path(self, cell: str, part: str) -> Path:
        """The path of the curves of a part of a cell."""
        return self.path / "curves" / file_name(cell) / f"{part}.parquet"

    def latency_path(self, name: str, key: str) -> Path:
        """The path of the times of the latency pass of a method."""
        return self.path / "latency" / f"{file_name(name)}-{key[:16]}.parquet"

    def foreign(self, cell: str) -> Path:
        """The folder in which the foreign commands of a cell work."""
        return self.path / FOREIGN / file_name(cell)

    def files(self, pattern: str) -> list[Path]:
        """The files that fit a pattern below the folder, in order."""
        return sorted(self.path.glob(pattern))


def tag(edit: Edit | None) -> str:
    """What the name of a picture's file has after that of its image: empty for a reconstruction."""
    return "" if edit is None else f"@{file_name(edit.name)}{signed(edit.strength)}"
