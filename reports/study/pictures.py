"""The pictures that a study shows: those of a run, as the run wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from invbench.api import Edit, InvbenchError
from invbench.reports import extract
from invbench.reports.compare import Method
from invbench.reports.run import Run
from invbench.reports.study.design import Shown
from invbench.reports.versus import method as method_of
from invbench.store import file_digest
from invbench.util.names import unknown


@dataclass(frozen=True)
class Pictures:
    """The pictures of the methods of a run on one dataset, for the edits that are asked (None: the inversion)."""

    run: Run
    dataset: str
    methods: list[Method]
    edits: list[Edit | None]
    digests: Mapping[tuple[Any, ...], str]  # (method, preset, image, edit, strength) -> sha256 of the file, "" if not known
    originals: Mapping[str, str]  # image -> sha256 of its pixels
    largest: int | None

    @classmethod
    def of(
        cls,
        run: Run,
        *,
        dataset: str | None,
        methods: Sequence[str],
        edits: Sequence[str | None],
        largest: int | None,
    ) -> Pictures:
        """The pictures that a user named. Raises InvbenchError for unknown names, for one method and for no question.

        dataset  None: the run's first; ``edits``: NAME, NAME:STRENGTH, or None for the inversion
        largest  pictures with a longer side are made smaller
        """
        held = list(dict.fromkeys(cell["dataset"] for cell in run.plan["cells"].values()))
        dataset = dataset or held[0]
        if dataset not in held:
            raise InvbenchError(f"{run.store.path}: {unknown('dataset', dataset, held)}")
        compared = [method_of(run, name) for name in methods]
        if len(set(compared)) < 2 or len(set(compared)) < len(compared):
            raise InvbenchError(f"--methods: expected two methods or more, each once, found {', '.join(methods)}")
        asked = list(dict.fromkeys(None if name is None else _edit(run, name) for name in edits))
        if not asked:
            raise InvbenchError("study: expected inversions or --edits to ask for, found neither")
        rows = run.rows[(run.rows["dataset"] == dataset) & (run.rows["status"] == "ok")]
        columns = ["method", "preset", "image", "edit", "strength", "picture"]
        digests = {
            (method, preset, image, *((edit, strength) if isinstance(edit, str) else (None, None))): picture
            if isinstance(picture, str)
            else ""
            for method, preset, image, edit, strength, picture in rows[columns].itertuples(index=False, name=None)
        }
        cells = [cell for cell in run.plan["cells"].values() if cell["dataset"] == dataset]
        originals = {image["name"]: image.get("sha256") or "" for cell in cells for image in cell["images"]}
        return cls(run, dataset, compared, asked, digests, originals, largest)

    def usable(self) -> list[str]:
        """The images of which the run has the pictures of every method under every question."""
        keys = [(*method, edit) for method in self.methods for edit in self.edits]

        def is_there(image: str) -> bool:
            return all(_place(method, preset, image, edit) in self.digests for method, preset, edit in keys)

        return [image for image in self.originals if is_there(image)]

    def original(self, image: str) -> np.ndarray:
        """uint8 [H, W, 3]. Raises InvbenchError if it is not the picture that the run saw."""
        path = self.run.store.input(self.dataset, image)
        self._inside(path)
        if self.originals[image] and self.run.store.pixel_digest(path) != self.originals[image]:
            raise InvbenchError(f"{path}: expected the original that the run saw, found another picture or none")
        return self._sized(self.run.store.read_picture(path))

    def made(self, one: Shown, question: int) -> np.ndarray:
        """uint8 [H, W, 3]. Raises InvbenchError if the file changed since the run wrote it."""
        edit = self.edits[question]
        path = self.run.store.picture(f"{one.method[0]}.{one.method[1]}.{self.dataset}", one.image, edit)
        self._inside(path)
        known = self.digests[_place(*one.method, one.image, edit)]
        if known and file_digest(path) != known:
            raise InvbenchError(f"{path}: expected the picture that the run wrote, found another or none")
        return self._sized(self.run.store.read_picture(path))

    def _inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self.run.store.path.resolve()):
            raise InvbenchError(f"{path}: expected a file of the run, found a link that leads out of it")

    def _sized(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        if self.largest is None or max(height, width) <= self.largest:
            return picture
        share = self.largest / max(height, width)
        size = max(round(width * share), 1), max(round(height * share), 1)
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def _place(method: str, preset: str, image: str, edit: Edit | None) -> tuple[Any, ...]:
    return (method, preset, image, *((edit.name, edit.strength) if edit else (None, None)))


def _edit(run: Run, name: str) -> Edit:
    edit, strength = extract.edit_of(run, name)
    if strength is None:
        asked = [one for cell in run.plan["cells"].values() for one in cell["edits"] if one["name"] == edit]
        strength = max(float(one["strength"]) for one in asked)
    return Edit(edit, strength)
