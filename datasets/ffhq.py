"""FFHQ (Karras et al., 2019; NVlabs/ffhq-dataset): 70,000 faces of 1024 x 1024."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from invbench.api import InvbenchError, Member
from invbench.datasets.geometry import reduced
from invbench.datasets.pictures import Found, Pictures, by_number, first_folder, folder, nothing_found, pictures_in

SPECS = [
    {
        "id": "ffhq",
        "title": "FFHQ: 70,000 faces, on which the face networks were trained",
        "class": "FFHQ",
        "domain": "faces",
        "size": 70_000,
        "summary": "1024x1024 as stored",
        "home": "ffhq",
        "page": "https://github.com/NVlabs/ffhq-dataset",
        "licence": "CC BY-NC-SA 4.0; each photograph under a licence of its own",
    },
    {
        "id": "ffhq-train65000",
        "title": "FFHQ, the first 65,000: training part of IDInvert",
        "class": "FFHQ",
        "domain": "faces",
        "size": 65_000,
        "options": {"last": 64_999},
        "summary": "1024x1024 as stored",
        "home": "ffhq",
        "page": "https://github.com/NVlabs/ffhq-dataset",
        "licence": "CC BY-NC-SA 4.0; each photograph under a licence of its own",
    },
    {
        "id": "ffhq-test5000",
        "title": "FFHQ, the last 5,000: test part of IDInvert",
        "class": "FFHQ",
        "domain": "faces",
        "size": 5_000,
        "options": {"first": 65_000},
        "summary": "1024x1024 as stored; the FFHQ generator and most encoders were trained on these too",
        "home": "ffhq",
        "page": "https://github.com/NVlabs/ffhq-dataset",
        "licence": "CC BY-NC-SA 4.0; each photograph under a licence of its own",
    },
    {
        "id": "ffhq-test5000-256",
        "title": "FFHQ, the last 5,000, at 256x256",
        "class": "FFHQ",
        "domain": "faces",
        "size": 5_000,
        "options": {"first": 65_000, "size": 256},
        "summary": "as ffhq-test5000, reduced to 256x256, bilinear and antialiased; what IDInvert was not trained on",
        "home": "ffhq",
        "page": "https://github.com/NVlabs/ffhq-dataset",
        "licence": "CC BY-NC-SA 4.0; each photograph under a licence of its own",
    },
    {
        "id": "ffhq-random1000",
        "title": "FFHQ, 1,000 drawn once",
        "class": "FFHQ",
        "domain": "faces",
        "size": 1_000,
        "options": {"subset": "ffhq-random1000"},
        "summary": "1024x1024 as stored; the count that SAM evaluates, our own draw, since the paper's list is not published",
        "home": "ffhq",
        "page": "https://github.com/NVlabs/ffhq-dataset",
        "licence": "CC BY-NC-SA 4.0; each photograph under a licence of its own",
    },
]

STORED = 1024  # pixels, height and width
WHOLE = 70_000
METADATA = "ffhq-dataset-v2.json"
LAYOUTS = (
    "the official tree: images1024x1024/00000/00000.png to 69000/69999.png",
    "a flat folder: 00000.png to 69999.png, or in images1024x1024/, images/ or FFHQ/",
)


class FFHQ(Pictures):
    """The pictures ``first`` to ``last``, reduced to ``size`` pixels; other arguments as in
    :class:`invbench.datasets.pictures.Pictures` and ``StoredDataset``.

    If the official metadata (ffhq-dataset-v2.json) lies in the root, the md5 of every file is taken from it.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        first: int = 0,
        last: int = WHOLE - 1,
        size: int = STORED,
        subset: str = "",
        members: Sequence[Member] | None = None,
    ) -> None:
        found = search(folder(root)) if members is None else Found(members)
        chosen = [member for member in found.members if first <= int(member.name) <= last]
        if not chosen:
            raise InvbenchError(f"{root}: expected the pictures {first:05d} to {last:05d} of FFHQ, found none of them")
        kept = Found(chosen, found.layout, found.missing, found.notes)
        super().__init__(root, kept, geometry=reduced(STORED, size), subset=subset)


def search(root: Path) -> Found:
    """All pictures in one of LAYOUTS. Raises InvbenchError if there is none or a picture does not belong to FFHQ."""
    tree = next((base for base in (root, root / "images1024x1024") if (base / "00000").is_dir()), None)
    flat = first_folder(root, ("images1024x1024", "images", "FFHQ", "ffhq", "."))
    if tree is not None:
        paths, layout = pictures_in(tree, deep=True), f"{tree.relative_to(root)}/ in thousands"
    elif flat is not None:
        paths, layout = pictures_in(flat), f"{flat.relative_to(root)}/ flat"
    else:
        raise nothing_found(root, LAYOUTS)
    numbers = by_number(paths)
    strange = next((path for number, path in numbers.items() if number >= WHOLE), None)
    if strange is not None:
        raise InvbenchError(f"{strange}: expected pictures of FFHQ, 00000 to {WHOLE - 1}")
    md5s = read_md5s(root / METADATA)
    members = [
        Member(f"{number:05d}", path.relative_to(root).as_posix(), md5=md5s.get(number, ""))
        for number, path in sorted(numbers.items())
    ]
    missing = [f"{number:05d}" for number in range(WHOLE) if number not in numbers]
    notes = [] if md5s else [f"without {METADATA} in the root the published md5s cannot be compared"]
    return Found(members, layout, missing, notes)


def read_md5s(path: Path) -> dict[int, str]:
    """Published md5 of each PNG file by number; empty without the metadata file. Raises InvbenchError if it is malformed."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {int(number): f"file:{entry['image']['file_md5']}" for number, entry in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvbenchError(f"{path}: expected the metadata of FFHQ with image.file_md5: {error!r}") from error
