"""Stanford Cars (Krause et al., 2013): 8,144 / 8,041 photographs of many sizes, with a box around each car.

The public inversion code squeezes the whole picture to 192 x 256 (H x W), without keeping the aspect and without the box
(eladrich/pixel2style2pixel, omertov/encoder4editing). The car generator makes 512 x 512 with 64 black rows above and below, so
it is compared with the same squeeze to 384 x 512 between such bars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invbench.api import InvbenchError, Member
from invbench.datasets.geometry import Geometry
from invbench.datasets.pictures import Found, Pictures, folder, nothing_found

SPECS = [
    {
        "id": "stanford-cars-test",
        "title": "Stanford Cars, test: 8,041",
        "class": "StanfordCars",
        "domain": "cars",
        "size": 8041,
        "options": {"split": "test"},
        "summary": "whole picture squeezed to 384x512 (HxW; Pillow, bilinear): the rows of the generator's canvas without bars",
        "home": "stanford-cars-test",
        "page": "https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        "licence": "non-commercial research only (terms of ImageNet)",
    },
    {
        "id": "stanford-cars-test-192x256",
        "title": "Stanford Cars, test, at the encoders' size",
        "class": "StanfordCars",
        "domain": "cars",
        "size": 8041,
        "options": {"split": "test", "height": 192, "width": 256},
        "summary": "whole picture squeezed to 192x256 (HxW; Pillow, bilinear): what pSp's and e4e's scripts read",
        "home": "stanford-cars-test",
        "page": "https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        "licence": "non-commercial research only (terms of ImageNet)",
    },
    {
        "id": "stanford-cars-test-box",
        "title": "Stanford Cars, test, cut to the annotated boxes",
        "class": "StanfordCars",
        "domain": "cars",
        "size": 8041,
        "options": {"split": "test", "box": True},
        "summary": "as stanford-cars-test, of the box instead of the picture; no published number uses it",
        "home": "stanford-cars-test",
        "page": "https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        "licence": "non-commercial research only (terms of ImageNet)",
    },
    {
        "id": "stanford-cars-train",
        "title": "Stanford Cars, train: 8,144",
        "class": "StanfordCars",
        "domain": "cars",
        "size": 8144,
        "options": {"split": "train"},
        "summary": "as stanford-cars-test; the car encoders of pSp, e4e and ReStyle were trained on these",
        "home": "stanford-cars-train",
        "page": "https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        "licence": "non-commercial research only (terms of ImageNet)",
    },
]

ANNOTATIONS = {
    "test": ("cars_test_annos_withlabels.mat", "cars_test_annos.mat"),
    "train": ("cars_train_annos.mat",),
}
WHOLE = "cars_annos.mat"
LAYOUTS = (
    "cars_test/00001.jpg ... with devkit/cars_test_annos.mat, or cars_test_annos_withlabels.mat in devkit/ or beside it",
    "cars_train/00001.jpg ... with devkit/cars_train_annos.mat",
    "car_ims/000001.jpg ... with cars_annos.mat",
    "any of these in a folder stanford_cars/",
)
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


class StanfordCars(Pictures):
    """The split "train" or "test" by the annotations; ``members`` as in :class:`invbench.api.StoredDataset`.

    height, width          see :class:`invbench.datasets.geometry.Geometry`
    box                    True: crop to the annotated box before the geometry
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str,
        height: int = 384,
        width: int = 512,
        box: bool = False,
        members: Sequence[Member] | None = None,
    ) -> None:
        boxes: dict[str, tuple[int, int, int, int]] = {}
        found = Found(members or ())
        if members is None or box:
            searched, boxes = search(folder(root), split)
            found = searched if members is None else found
        super().__init__(root, found, geometry=Geometry(height, width, "squeeze", "bilinear"))
        self._boxes = boxes if box else {}

    def cut(self, picture: np.ndarray, member: Member) -> np.ndarray:
        """The annotated box if ``box`` is set, else the whole picture."""
        if not self._boxes:
            return picture
        left, top, right, bottom = self._boxes[member.name]
        height, width = picture.shape[:2]
        if not (1 <= left <= right <= width and 1 <= top <= bottom <= height):
            raise InvbenchError(
                f"{self.where(member)}: expected a box within {width}x{height}, found {left},{top} to {right},{bottom}"
            )
        return picture[top - 1 : bottom, left - 1 : right]  # Matlab counts from 1 and includes the last


def search(root: Path, split: str) -> tuple[Found, dict[str, tuple[int, int, int, int]]]:
    """The members of a split and their boxes (left, top, right, bottom; from 1, inclusive) by name.

    Raises InvbenchError if no layout is recognised or the annotations are malformed.
    """
    for base in (root, root / "stanford_cars"):
        listed = [base / place / name for name in ANNOTATIONS[split] for place in ("devkit", ".", f"cars_{split}")]
        nested = base / f"cars_{split}" / f"cars_{split}"  # as some copies are packed
        images = nested if nested.is_dir() else base / f"cars_{split}"
        annotations = next((path for path in listed if path.is_file()), None)
        if annotations is not None and images.is_dir():
            rows = [(_name(row["fname"]), row) for row in read_annotations(annotations)]
            return _found(root, images, annotations, rows)
        if (base / WHOLE).is_file() and (base / "car_ims").is_dir():
            flag = int(split == "test")
            chosen = [row for row in read_annotations(base / WHOLE) if int(row["test"]) == flag]
            rows = [(_name(row["relative_im_path"]), row) for row in chosen]
            return _found(root, base / "car_ims", base / WHOLE, rows)
    raise nothing_found(root, LAYOUTS)


def read_annotations(path: Path) -> Sequence[Mapping[str, Any]]:
    """The rows of the struct ``annotations`` of a .mat file. Raises InvbenchError if it holds something else."""
    from scipy.io import loadmat  # takes a while to import

    try:
        struct = np.atleast_1d(loadmat(path, squeeze_me=True)["annotations"])
        rows = [{name: row[name] for name in struct.dtype.names or ()} for row in struct]
        for row in rows:
            if "fname" not in row:
                row["relative_im_path"], row["test"]  # noqa: B018 - raises KeyError here if a field is missing
            for name in BOX:
                int(row[name])
        return rows
    except Exception as error:  # scipy raises many kinds for a broken file
        raise InvbenchError(
            f"{path}: expected Matlab annotations with {', '.join(BOX)} and fname, or relative_im_path and test: {error!r}"
        ) from error


def _name(path: object) -> str:
    return str(path).replace("\\", "/").rpartition("/")[2]  # never a way out of the folder of pictures


def _found(
    root: Path, images: Path, annotations: Path, rows: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[Found, dict[str, tuple[int, int, int, int]]]:
    members, missing, boxes = [], [], {}
    for file, row in sorted(rows, key=lambda item: item[0]):
        path = images / file
        left, top, right, bottom = (int(row[name]) for name in BOX)
        boxes[path.stem] = (left, top, right, bottom)
        if path.is_file():
            members.append(Member(path.stem, path.relative_to(root).as_posix()))
        else:
            missing.append(path.relative_to(root).as_posix())
    return Found(members, f"{images.relative_to(root)}/ by {annotations.relative_to(root)}", missing), boxes
