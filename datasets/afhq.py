"""AFHQ, animal faces of 512 x 512 (Choi et al., 2020; clovaai/stargan-v2): v1 of 2020 (JPEG) and v2 of 2021 (PNG, Lanczos)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invbench.api import InvbenchError, Member
from invbench.datasets.geometry import Geometry
from invbench.datasets.pictures import Found, Pictures, folder, has_pictures, nothing_found, pictures_in

SPECS = [
    {
        "class": "AFHQ",
        "summary": "512x512 as stored",
        "page": "https://github.com/clovaai/stargan-v2",
        "licence": "CC BY-NC 4.0",
        "variants": [
            {
                "id": "afhq-cat-test", "home": "afhq-cat-test", "title": "AFHQ v1 cats, test: 500",
                "domain": "cats", "size": 500, "options": {"kind": "cat", "version": 1},
            },
            {
                "id": "afhq-dog-test", "home": "afhq-dog-test", "title": "AFHQ v1 dogs, test: 500",
                "domain": "dogs", "size": 500, "options": {"kind": "dog", "version": 1},
            },
            {
                "id": "afhq-wild-test", "home": "afhq-wild-test", "title": "AFHQ v1 wild animals, test: 500",
                "domain": "wild", "size": 500, "options": {"kind": "wild", "version": 1},
                "summary": "512x512 as stored; the version of the afhqwild generator of StyleGAN2-ADA",
            },
            {
                "id": "afhqv2-cat-test", "home": "afhqv2-cat-test", "title": "AFHQ v2 cats, test: 493",
                "domain": "cats", "size": 493, "options": {"kind": "cat", "version": 2},
            },
            {
                "id": "afhqv2-dog-test", "home": "afhqv2-dog-test", "title": "AFHQ v2 dogs, test: 491",
                "domain": "dogs", "size": 491, "options": {"kind": "dog", "version": 2},
            },
            {
                "id": "afhqv2-wild-test", "home": "afhqv2-wild-test", "title": "AFHQ v2 wild animals, test: 483",
                "domain": "wild", "size": 483, "options": {"kind": "wild", "version": 2},
            },
        ],
    },
]

STORED = Geometry(512, 512)
TREES = {1: ("afhq", "AFHQ", "."), 2: ("afhq_v2", "afhqv2", "AFHQv2", "afhq", ".")}
TESTS = {1: ("val", "test"), 2: ("test", "val")}  # v1 calls its test pictures val, v2 test
FORMATS = {1: (".jpg", ".jpeg"), 2: (".png",)}


class AFHQ(Pictures):
    """Test pictures of one kind (cat, dog, wild); arguments as in :class:`invbench.datasets.pictures.Pictures` and
    ``StoredDataset``.

    The versions are told apart by their format: v1 is JPEG, v2 PNG.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        kind: str,
        version: int,
        members: Sequence[Member] | None = None,
    ) -> None:
        found = search(folder(root), kind, version) if members is None else Found(members)
        super().__init__(root, found, geometry=STORED)


def search(root: Path, kind: str, version: int) -> Found:
    """The test pictures in the official tree. Raises InvbenchError if there is none, or if it is of the other version."""
    places = [root / tree / test / kind for tree in TREES[version] for test in TESTS[version]]
    place = next((place for place in places if place.is_dir() and has_pictures(place)), None)
    if place is None:
        first = TREES[version][0]
        raise nothing_found(root, [f"{first}/train/{kind}/ and {first}/{TESTS[version][0]}/{kind}/, or without {first}/"])
    paths = pictures_in(place)
    wrong = [path for path in paths if path.suffix.lower() not in FORMATS[version]]
    if wrong:
        raise InvbenchError(
            f"{wrong[0]}: expected {'/'.join(FORMATS[version])} files, as AFHQ v{version} has; is this v{3 - version}?"
        )
    members = [Member(path.stem, path.relative_to(root).as_posix()) for path in paths]
    return Found(members, f"{place.relative_to(root)}/")
