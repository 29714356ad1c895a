"""Small files in exactly the layouts of the official data sets, for tests: names, lists, databases and annotations.

Every picture is of one colour, told by ``colour(number)``, so that a test sees which one it got.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}


def colour(number: int) -> tuple[int, int, int]:
    """A colour for each number below 4096; two differ by 16 levels at least in some channel."""
    return (number % 16 * 16, number // 16 % 16 * 16, number // 256 % 16 * 16)


def picture(number: int, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), colour(number), np.uint8)


def encoded(number: int, height: int, width: int, suffix: str) -> bytes:
    buffer = io.BytesIO()
    options = {"lossless": True} if suffix == ".webp" else {"quality": 95} if suffix == ".jpg" else {"compress_level": 1}
    Image.fromarray(picture(number, height, width)).save(buffer, FORMATS[suffix], **options)
    return buffer.getvalue()


def write(path: Path, number: int, height: int, width: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(number, height, width, path.suffix))
    return path


def same(found: np.ndarray, number: int, tolerance: int = 3) -> bool:
    """Whether a picture is that of the number, as far as JPEG keeps it."""
    return bool(np.abs(found.astype(int) - colour(number)).max() <= tolerance)


ORIGINALS = {"train": (7, 162_770 - 1), "val": (162_771, 182_637), "test": (182_638, 202_598)}  # of CelebA, from 0


def mapping(count: int) -> list[tuple[int, int]]:
    """Rows (index, original index) of a mapping list: train, val, test in turn, at both ends of each part of CelebA."""
    rows = []
    for index in range(count):
        low, high = ORIGINALS[("train", "val", "test")[index % 3]]
        rows.append((index, low + index // 6 if index // 3 % 2 else high - index // 6))
    return rows


def celebamask_hq(root: Path, count: int = 18, *, size: int = 1024, heading: bool = True, split: str = "test") -> list[int]:
    """CelebAMask-HQ: CelebA-HQ-img/N.jpg and the mapping list. Pictures of one split only; returns their indices."""
    base = root / "CelebAMask-HQ"
    lines = ["idx  orig_idx    orig_file"] if heading else []
    lines += [f"{index}          {original}     {original + 1:06d}.jpg" for index, original in mapping(count)]
    base.mkdir(parents=True)
    (base / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(lines) + "\n")
    place = ("train", "val", "test").index(split)
    wanted = [index for index in range(count) if index % 3 == place]
    for index in wanted:
        write(base / "CelebA-HQ-img" / f"{index}.jpg", index, size, size)
    return wanted


def celebahq_raw(root: Path, count: int = 12, *, suffix: str = ".png", size: int = 1024) -> list[int]:
    """The raw set: image_list.txt with md5s of the pixels [3, H, W] and images/NNNNN.png, test pictures only."""
    lines = [f"{'idx':<8s} {'orig_idx':<8s} {'orig_file':<10s} {'proc_md5':<32s} {'final_md5':<32s}"]
    for index, original in mapping(count):
        pixels = picture(index, size, size).transpose(2, 0, 1)
        md5 = hashlib.md5(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        lines.append(f"{index:<8d} {original:<8d} {original + 1:06d}.jpg {'0' * 32} {md5}")
    root.mkdir(parents=True, exist_ok=True)
    (root / "image_list.txt").write_text("\n".join(lines) + "\n")
    wanted = [index for index in range(count) if index % 3 == 2]
    for index in wanted:
        write(root / "images" / f"{index:05d}{suffix}", index, size, size)
    return wanted


def ffhq(root: Path, numbers: Iterable[int], *, flat: bool = False, metadata: bool = False, size: int = 1024) -> None:
    """images1024x1024/NN000/NNNNN.png, or flat; ffhq-dataset-v2.json with the md5 of each file."""
    content = {}
    for number in numbers:
        name = f"{number:05d}.png" if flat else f"images1024x1024/{number - number % 1000:05d}/{number:05d}.png"
        data = write(root / name, number % 4096, size, size).read_bytes()
        image = {"file_path": name, "file_size": len(data), "file_md5": hashlib.md5(data).hexdigest()}
        content[str(number)] = {"category": "training", "image": image}
    if metadata:
        (root / "ffhq-dataset-v2.json").write_text(json.dumps(content))


def afhq(root: Path, *, version: int, counts: Mapping[str, int], size: int = 512) -> None:
    """afhq/{train,val}/{cat,dog,wild}/flickr_cat_000002.jpg, or afhq_v2/{train,test}/... with PNG files."""
    tree, test, suffix = ("afhq", "val", ".jpg") if version == 1 else ("afhq_v2", "test", ".png")
    for kind, count in counts.items():
        for number in range(count):
            write(root / tree / test / kind / f"flickr_{kind}_{number:06d}{suffix}", number, size, size)
        write(root / tree / "train" / kind / f"pixabay_{kind}_000001{suffix}", 99, size, size)


def lsun_keys(count: int) -> list[str]:
    """Keys as those of LSUN: 40 hexadecimal digits, in no order."""
    return [hashlib.sha1(str(number).encode()).hexdigest() for number in range(count)]


def lsun_lmdb(folder: Path, sizes: Sequence[tuple[int, int]], *, suffix: str = ".webp") -> list[str]:
    """A database of pictures with these (height, width); returns their keys. Needs the package lmdb."""
    import lmdb

    folder.mkdir(parents=True)
    keys = lsun_keys(len(sizes))
    environment = lmdb.open(str(folder), map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for number, (key, (height, width)) in enumerate(zip(keys, sizes, strict=True)):
            transaction.put(key.encode(), encoded(number, height, width, suffix))
    environment.close()
    return keys


def lsun_export(folder: Path, sizes: Sequence[tuple[int, int]], *, flat: bool = False) -> list[str]:
    """The same pictures as ``data.py export`` of fyu/lsun writes them."""
    keys = lsun_keys(len(sizes))
    for number, (key, (height, width)) in enumerate(zip(keys, sizes, strict=True)):
        parent = folder if flat else folder.joinpath(*key[:6])
        write(parent / f"{key}.webp", number, height, width)
    return keys


def car(number: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A grey photograph of its own size with a car (one colour) in a box: left, top, right, bottom, from 1, inclusive."""
    height, width = 60 + number, 100 + 2 * number
    box = (11, 21, 70 + number, 50)
    photo = np.full((height, width, 3), 128, np.uint8)
    photo[box[1] - 1 : box[3], box[0] - 1 : box[2]] = colour(number)
    return photo, box


def stanford_cars(root: Path, count: int = 6, *, layout: str = "devkit") -> None:
    """Test pictures 1 to ``count``: "devkit" (cars_test, devkit), "labels" (torchvision's tree), "whole" (car_ims)."""
    from scipy.io import savemat

    base = root / "stanford_cars" if layout == "labels" else root
    (base / "devkit").mkdir(parents=True)
    boxes = [tuple(np.array([[value]], np.uint16) for value in car(number)[1]) for number in range(1, count + 1)]
    heads = [(f"bbox_{name}", object) for name in ("x1", "y1", "x2", "y2")]
    if layout == "whole":
        head = [("relative_im_path", object), *heads, ("class", object), ("test", object)]
        # the official list alternates between the splits within a class
        rows = [(f"car_ims/{n:06d}.jpg", *box, 1, n % 2) for n, box in enumerate(boxes, start=1)]
        savemat(base / "cars_annos.mat", {"annotations": np.array([rows], dtype=head)})
        files = [base / f"car_ims/{n:06d}.jpg" for n in range(1, count + 1)]
    else:
        labels = [("class", object)] if layout == "labels" else []
        head = [*heads, *labels, ("fname", object)]
        rows = [(*box, *([1] if labels else []), f"{n:05d}.jpg") for n, box in enumerate(boxes, start=1)]
        where = base / "cars_test_annos_withlabels.mat" if labels else base / "devkit" / "cars_test_annos.mat"
        savemat(where, {"annotations": np.array([rows], dtype=head)})
        files = [base / f"cars_test/{n:05d}.jpg" for n in range(1, count + 1)]
    for number, path in enumerate(files, start=1):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(car(number)[0]).save(path, quality=95)
