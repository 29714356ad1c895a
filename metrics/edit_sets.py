"""FID of edits: edited pictures against originals that have the attribute, in the forms of two public codes.

The two differ in sets, preparation, files and Inception network, so they are never compared or put into one column:

edit_fid_sfe       StyleFeatureEditor (ControlGenAI/StyleFeatureEditor, fid_calculation.py): originals with the target attribute
                   against edits of pictures with the opposite one, whatever the edit
edit_fid_styleres  StyleRes (hamzapehlivan/StyleRes, dataset_tools.py and StarGAN v2's FID): so for the smile; for age and pose
                   the whole set of edits against the whole set of originals; all as JPEG of 256 x 256

``edit_fid_proc_sfe`` and ``edit_fid_proc_styleres`` choose the same sets by the true attributes of procfaces and look with its
regressor. ``invbench edit-fid`` computes them from a finished run (docs/edit_fid.md).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from invbench.api import InvbenchError
from invbench.metrics.common import network
from invbench.metrics.frechet import distance
from invbench.metrics.nets.inception_forms import pytorch_fid
from invbench.metrics.protocols import as_images, resize

PROTOCOLS = [
    {
        "id": "sfe_edit",
        "class": "SfeEdit",
        "title": "Saved files at 1024 x 1024, as StyleFeatureEditor reads them for its FID of edits",
        "recipe": "uint8 PNG; Pillow bilinear to 1024 x 1024; to [-1, 1] in float32 and back to uint8 by truncation, which"
        " lowers 63 of 256 grey values by one; [-1, 1]",
        "source": "ControlGenAI/StyleFeatureEditor: fid_calculation.py",
    },
    {
        "id": "styleres_edit",
        "class": "StyleResEdit",
        "title": "JPEG files of 256 x 256, as StyleRes stores them for its FID",
        "recipe": "uint8 PNG; Pillow bicubic to 256 x 256; JPEG of quality 75 as Pillow writes it (4:2:0); uint8; [-1, 1]",
        "source": "hamzapehlivan/StyleRes: dataset_tools.py and the README's rule for outputs",
    },
]

# edit -> attribute of CelebAMask-HQ, and whether a positive strength adds it
CELEBA = {"smile": ("Smiling", True), "age": ("Young", False), "glasses": ("Eyeglasses", True)}
# edit -> the value above which a picture of procfaces has the attribute, in the factor's unit
PROCFACES = {"smile": 0.5, "age": 45.0, "yaw": 0.0, "eye_openness": 0.5}
WHOLE = ("age", "yaw", "pose")  # edits for which StyleRes does not split by attribute
QUALITY = 75


class SfeEdit:
    """uint8 [N, H, W, 3] -> float32 [N, 3, 1024, 1024] in [-1, 1]."""

    side = 1024

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.device = getattr(networks, "device", None)

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        if pictures.shape[1:3] != (self.side, self.side):
            pictures = resize(pictures, height=self.side, width=self.side, filter=Image.Resampling.BILINEAR)
        seen = (torch.from_numpy(np.ascontiguousarray(pictures)).float() / 255 - 0.5) / 0.5
        return as_images(((seen + 1) / 2 * 255).to(torch.uint8).numpy(), self.device)


class StyleResEdit:
    """uint8 [N, H, W, 3] -> float32 [N, 3, 256, 256] in [-1, 1], with the losses of JPEG."""

    side = 256

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.device = getattr(networks, "device", None)

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        small = resize(pictures, height=self.side, width=self.side, filter=Image.Resampling.BICUBIC)
        return as_images(np.stack([self._stored(one) for one in small]), self.device)

    @staticmethod
    def _stored(picture: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))


class EditFidSfe:
    """The Frechet distance of two sets of different pictures, as StyleFeatureEditor prints it.

    id, title  of the form
    protocol   how pictures are prepared
    truth      whether attributes are the true factors of the dataset, else those of CelebA's annotation
    whole      edits for which all edits are compared with all originals
    """

    id, title = "edit_fid_sfe", "FID of edits as StyleFeatureEditor (originals with the attribute, pytorch-fid)"
    protocol, role = "sfe_edit", "inception"
    truth = False
    whole: tuple[str, ...] = ()
    minimum = 2  # as the source; a value of fewer pictures than features is mostly bias

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.network = network(networks, self.role, self.id)

    def refusal(self, edit: str) -> str:
        """Why an edit has no sets: it has no attribute to choose them by, and needs one; else empty."""
        known = PROCFACES if self.truth else CELEBA
        if edit in self.whole or edit in known:
            return ""
        return f"{self.id}: expected an edit with an attribute ({', '.join(known)}), found {edit!r}"

    def has(self, edit: str, known: Any) -> bool | None:
        """Whether a picture has what a positive strength of ``edit`` adds; None where that is not known.

        known   its attributes by CelebA's annotation, name -> bool; for forms of the truth its factors [K] in [0, 1], in the
                order of the regressor's names
        """
        attribute, adds = CELEBA[edit]
        return known[attribute] is adds if attribute in known else None

    @torch.inference_mode()
    def features(self, images: Tensor) -> np.ndarray:
        """Prepared images [N, 3, H, W] in [-1, 1] -> float32 [N, F]."""
        return self._read(images).float().cpu().numpy()

    def _read(self, images: Tensor) -> Tensor:
        return pytorch_fid(self.network, images)

    def compute(self, reference: np.ndarray, measured: np.ndarray) -> float:
        """Features [n, F] of originals and [m, F] of edits, of any order and number -> the Frechet distance, in float64.

        Raises InvbenchError for fewer than ``minimum`` in one of them, and for features that are not finite.
        """
        for what, features in (("originals", reference), ("edits", measured)):
            if len(features) < self.minimum:
                raise InvbenchError(f"{self.id}: expected at least {self.minimum} {what}, found {len(features)}")
            if not np.isfinite(features).all():
                raise InvbenchError(f"{self.id}: expected finite features of {what}, found NaN or inf")
        return distance(reference.astype(np.float64), measured.astype(np.float64))


class EditFidStyleRes(EditFidSfe):
    """As :class:`EditFidSfe`, in StyleRes' form."""

    id, title = "edit_fid_styleres", "FID of edits as StyleRes (JPEG of 256 pixels, ImageNet's Inception)"
    protocol, role = "styleres_edit", "inception_imagenet"
    whole = WHOLE

    def _read(self, images: Tensor) -> Tensor:
        found: Tensor = self.network.features(images)
        return found


class EditFidProcSfe(EditFidSfe):
    """As :class:`EditFidSfe`, by true attributes and the features of the procfaces regressor."""

    id, title = "edit_fid_proc_sfe", "FID-proc of edits, StyleFeatureEditor's sets by true attributes"
    protocol, role = "native", "regressor"
    truth = True
    minimum = 20

    def has(self, edit: str, known: Any) -> bool | None:
        """As :meth:`EditFidSfe.has`, by the true factors."""
        names = list(self.network.names)
        if edit not in names:
            return None
        index = names.index(edit)
        low, high = float(self.network.low[index]), float(self.network.high[index])
        return bool(low + float(known[index]) * (high - low) > PROCFACES[edit])

    def _read(self, images: Tensor) -> Tensor:
        found: Tensor = self.network.features(images)
        return found


class EditFidProcStyleRes(EditFidProcSfe):
    """As :class:`EditFidProcSfe`, with StyleRes' sets."""

    id, title = "edit_fid_proc_styleres", "FID-proc of edits, StyleRes' sets by true attributes"
    whole = WHOLE


def annotated(text: str, *, source: str) -> dict[str, dict[str, bool]]:
    """CelebAMask-HQ-attribute-anno.txt -> the picture's name without suffix -> attribute -> whether it has it.

    The first line is the number of pictures, the second the attributes; each other line a file name and 1 or -1 for each.
    Raises InvbenchError naming ``source`` and the line for a file of another form.
    """
    lines = text.splitlines()
    if len(lines) < 3 or not lines[0].strip().isdigit():
        raise InvbenchError(f"{source}: expected a number of pictures, a line of attributes and pictures, found {lines[:1]}")
    heads, found = lines[1].split(), dict[str, dict[str, bool]]()
    for number, line in enumerate(lines[2:], start=3):
        name, *values = line.split() or [""]
        if not line.strip():
            continue
        if len(values) != len(heads) or not set(values) <= {"1", "-1"}:
            raise InvbenchError(f"{source}:{number}: expected a name and {len(heads)} times 1 or -1, found {line[:60]!r}")
        found[name.rpartition(".")[0] or name] = {head: value == "1" for head, value in zip(heads, values)}
    return found
