"""CelebA-HQ (Karras et al., 2018) by CelebA's own partition: 24,183 / 2,993 / 2,824 pictures of 1024 x 1024.

The partition goes through the list that maps CelebA-HQ to CelebA: original index below 162,771 train, from 182,638 test
(``g_partition.py`` of switchablenorms/CelebAMask-HQ). Samples are named by the index in CelebA-HQ, ``00002``, whatever the
files are called, so that results on different copies can be paired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from invbench.api import InvbenchError, Member
from invbench.datasets.geometry import reduced
from invbench.datasets.pictures import Found, Pictures, by_number, first_folder, folder, nothing_found, pictures_in

SPECS = [
    {
        "id": "celebahq-test",
        "title": "CelebA-HQ test: the 2,824 faces of CelebA's test partition",
        "class": "CelebAHQ",
        "domain": "faces",
        "size": 2824,
        "options": {"split": "test"},
        "summary": "1024x1024 as stored, neither aligned again nor resized",
        "home": "celebahq-test",
        "page": "https://github.com/switchablenorms/CelebAMask-HQ",
        "licence": "non-commercial research only (agreement of CelebA and CelebAMask-HQ)",
    },
    {
        "id": "celebahq-test-first200",
        "title": "CelebA-HQ test, the first 200",
        "class": "CelebAHQ",
        "domain": "faces",
        "size": 200,
        "options": {"split": "test", "subset": "celebahq-test-first200"},
        "summary": "as celebahq-test; one of the two samples that GANI's ablations name",
        "home": "celebahq-test",
        "page": "https://github.com/switchablenorms/CelebAMask-HQ",
        "licence": "non-commercial research only (agreement of CelebA and CelebAMask-HQ)",
    },
    {
        "id": "celebahq-test-random100",
        "title": "CelebA-HQ test, 100 drawn once",
        "class": "CelebAHQ",
        "domain": "faces",
        "size": 100,
        "options": {"split": "test", "subset": "celebahq-test-random100"},
        "summary": "as celebahq-test; the count that DHR times, our own draw, since the paper's list is not published",
        "home": "celebahq-test",
        "page": "https://github.com/switchablenorms/CelebAMask-HQ",
        "licence": "non-commercial research only (agreement of CelebA and CelebAMask-HQ)",
    },
    {
        "id": "celebahq-test-random1000",
        "title": "CelebA-HQ test, 1,000 drawn once",
        "class": "CelebAHQ",
        "domain": "faces",
        "size": 1000,
        "options": {"split": "test", "subset": "celebahq-test-random1000"},
        "summary": "as celebahq-test; holds celebahq-test-random100",
        "home": "celebahq-test",
        "page": "https://github.com/switchablenorms/CelebAMask-HQ",
        "licence": "non-commercial research only (agreement of CelebA and CelebAMask-HQ)",
    },
    {
        "id": "celebahq-test-256",
        "title": "CelebA-HQ test at 256x256",
        "class": "CelebAHQ",
        "domain": "faces",
        "size": 2824,
        "options": {"split": "test", "size": 256},
        "summary": "as celebahq-test, reduced to 256x256, bilinear and antialiased; genforce/idinvert_pytorch reduces by "
        "OpenCV, without antialiasing",
        "home": "celebahq-test",
        "page": "https://github.com/switchablenorms/CelebAMask-HQ",
        "licence": "non-commercial research only (agreement of CelebA and CelebAMask-HQ)",
    },
    {
        "id": "celebahq-val",
        "title": "CelebA-HQ validation: 2,993 faces, to choose settings on",
        "class": "CelebAHQ",
        "domain": "faces",
        "size": 2993,
        "options": {"split": "val"},
        "summary": "as celebahq-test; never used for reported numbers",
        "home": "celebahq-val",
        "page": "https://github.com/switchablenorms/CelebAMask-HQ",
        "licence": "non-commercial research only (agreement of CelebA and CelebAMask-HQ)",
    },
]

STORED = 1024  # pixels, height and width
WHOLE = 30_000
VAL_FROM, TEST_FROM = 162_771, 182_638  # original indices, counted from 0
MAPPINGS = ("CelebA-HQ-to-CelebA-mapping.txt", "image_list.txt")
IMAGES = ("CelebA-HQ-img", "celeba-hq", "celeba_hq", "CelebA-HQ", "celebahq", "images", "data")
LISTS = files("invbench.datasets") / "lists" / "celebahq.json"
LAYOUTS = (
    f"CelebAMask-HQ as unpacked: CelebA-HQ-img/0.jpg to 29999.jpg, with {MAPPINGS[0]} (without it the built-in list is taken)",
    f"the raw set: {MAPPINGS[1]} and pictures named by their index (00000.png, imgHQ00000.png) beside it or in images/",
    "the folders of CelebAMask-HQ's g_partition.py: test_img/0.jpg to 2823.jpg, val_img/",
    "a flat folder, or test/ or val/, with the pictures of the split only, named by index in CelebA-HQ or in CelebA, or "
    "numbered from 0, or under any names if their count is right",
)


class CelebAHQ(Pictures):
    """One split ("test" or "val"), reduced to ``size`` pixels; other arguments as in
    :class:`invbench.datasets.pictures.Pictures` and ``StoredDataset``.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str,
        size: int = STORED,
        subset: str = "",
        members: Sequence[Member] | None = None,
    ) -> None:
        found = search(folder(root), split) if members is None else Found(members)
        super().__init__(root, found, geometry=reduced(STORED, size), subset=subset)


def search(root: Path, split: str) -> Found:
    """The members of a split in one of LAYOUTS. Raises InvbenchError if none is recognised or a list is broken."""
    for folders in ((f"{split}_img", split, *IMAGES), (".",)):  # pictures beside the named folders are taken last
        for base in (root, root / "CelebAMask-HQ"):
            images = first_folder(base, folders)
            mapping = next((base / name for name in MAPPINGS if (base / name).is_file()), None)
            if images is None:
                continue
            if images.name == f"{split}_img":
                wanted = dict(enumerate(official(split)))
                return _members(root, by_number(pictures_in(images)), wanted, f"{images.name}/ numbered from 0")
            if mapping is not None:
                return _mapped(root, images, mapping, split)
            return _unmapped(root, images, split)
    raise nothing_found(root, LAYOUTS)


@cache
def lists() -> dict[str, list[int]]:
    """Index in CelebA-HQ ("test.id") and number of the file in CelebA ("test.celeba") of the test and validation split."""
    return json.loads(LISTS.read_text(encoding="utf-8"))


def official(split: str) -> list[int]:
    """Indices in CelebA-HQ of a split, ascending. Raises InvbenchError for a split other than test and val."""
    if f"{split}.id" not in lists():
        raise InvbenchError(f"CelebA-HQ: expected the split test or val, found {split!r}")
    return lists()[f"{split}.id"]


def partition(original: int) -> str:
    """The split of an original index (counted from 0) in CelebA."""
    return "train" if original < VAL_FROM else "val" if original < TEST_FROM else "test"


def read_mapping(path: Path) -> list[tuple[int, int, str]]:
    """Rows (index, original index, md5 of the pixels or "") of a mapping list, with or without a line of headings.

    Raises InvbenchError naming the line that is not such a row.
    """
    heads, rows = ["idx", "orig_idx", "orig_file"], []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvbenchError(f"{path}: expected a list of text lines: {error}") from error
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if number == 1 and words[:1] == ["idx"]:
            heads = words
            continue
        if not words:
            continue
        row = dict(zip(heads, words))
        try:
            rows.append((int(row["idx"]), int(row["orig_idx"]), row.get("final_md5", "")))
        except (KeyError, ValueError):
            raise InvbenchError(f"{path}:{number}: expected a row of {', '.join(heads)}, found {line!r}") from None
    return sorted(rows)


def _mapped(root: Path, images: Path, mapping: Path, split: str) -> Found:
    rows = read_mapping(mapping)
    ids = [index for index, original, _ in rows if partition(original) == split]
    if len(rows) == WHOLE and ids != official(split):
        raise InvbenchError(f"{mapping}: not the official list: its {split} split is not the known {len(official(split))}")
    md5s = {index: f"chw:{md5}" for index, _, md5 in rows if md5}
    layout = f"{images.relative_to(root)}/ by {mapping.name}"
    return _members(root, by_number(pictures_in(images)), {index: index for index in ids}, layout, md5s=md5s)


def _unmapped(root: Path, images: Path, split: str) -> Found:
    """A folder without a list, whole or of the split only, recognised by its numbers or, failing that, by its count."""
    paths, ids, shown = pictures_in(images), official(split), f"{images.relative_to(root)}/"
    celeba = dict(zip(lists()[f"{split}.celeba"], ids, strict=True))
    try:
        numbers = by_number(paths)
    except InvbenchError:
        numbers = {}
    known = set(numbers)
    if known and known <= set(ids):
        return _members(root, numbers, {index: index for index in ids}, f"{shown} of the {split} split, by index in CelebA-HQ")
    if known and known <= set(celeba):
        return _members(root, numbers, celeba, f"{shown} of the {split} split, by number in CelebA")
    if known == set(range(len(ids))):
        return _members(root, numbers, dict(enumerate(ids)), f"{shown} of the {split} split, numbered from 0")
    if known == set(range(WHOLE)):
        return _members(root, numbers, {index: index for index in ids}, f"{shown} whole, by index; built-in list")
    if len(known) == WHOLE and known >= set(celeba):
        return _members(root, numbers, celeba, f"{shown} whole, by number in CelebA; built-in list")
    if len(paths) == len(ids):
        notes = [f"the names say nothing; taken for the {split} split because there are {len(ids)} of them"]
        members = [Member(path.stem, path.relative_to(root).as_posix()) for path in paths]
        return Found(members, f"{shown} checked by count", notes=notes)
    spread = f", numbered {min(known)} to {max(known)}" if known else ""
    raise InvbenchError(
        f"{images}: expected the {WHOLE} pictures of CelebA-HQ, or the {len(ids)} of its {split} split, or {MAPPINGS[0]} "
        f"beside the folder; found {len(paths)} pictures{spread}"
    )


def _members(
    root: Path,
    numbers: Mapping[int, Path],
    wanted: Mapping[int, int],
    layout: str,
    *,
    md5s: Mapping[int, str] | None = None,
) -> Found:
    """``numbers``: file by its number; ``wanted``: number -> index in CelebA-HQ of the pictures of the split."""
    members, missing = [], []
    for number, index in sorted(wanted.items(), key=lambda item: item[1]):
        if number in numbers:
            file = numbers[number].relative_to(root).as_posix()
            members.append(Member(f"{index:05d}", file, md5=(md5s or {}).get(index, "")))
        else:
            missing.append(f"{index:05d} (file {number})")
    return Found(members, layout, missing)
