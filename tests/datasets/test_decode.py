"""Image files of every kind: decoded right, or one clear error."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from invbench.api import Edit, InvbenchError
from invbench.datasets.decode import decode
from invbench.datasets.folder import Folder
from invbench.datasets.procfaces import render_edited, split
from invbench.datasets.procfaces_suite import SPECS, Procfaces


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "ppm"])
def test_lossless_formats_come_back(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(decode(path), picture)


def test_jpeg_is_close(tmp_path):
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8)[:, None, None], (1, 32, 3))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(decode(tmp_path / "a.jpg").astype(int) - smooth).max() < 8


def test_cmyk(tmp_path):
    colours = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 255): (0, 0, 0)}
    for ink, expected in colours.items():
        Image.new("CMYK", (8, 8), ink).save(tmp_path / "a.jpg", quality=100)
        assert np.abs(decode(tmp_path / "a.jpg").astype(int) - expected).max() <= 2


def test_grey_16_bit_keeps_the_upper_byte(tmp_path):
    values = (np.arange(256, dtype=np.uint16).reshape(16, 16) << 8) + 37
    Image.fromarray(values).save(tmp_path / "a.png")
    found = decode(tmp_path / "a.png")
    assert found.shape == (16, 16, 3) and np.array_equal(found[..., 1], np.arange(256).reshape(16, 16))


def test_palette_and_grey(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    Image.new("L", (1, 1), 77).save(tmp_path / "b.png")
    assert decode(tmp_path / "b.png").tolist() == [[[77, 77, 77]]]


def test_transparency_is_laid_over_white(tmp_path):
    image = Image.new("RGBA", (3, 1), (200, 0, 0, 255))
    image.putpixel((1, 0), (200, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 128))
    image.save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").tolist() == [[[200, 0, 0], [255, 255, 255], [127, 127, 127]]]


def test_exif_rotation_is_applied(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it 90 degrees clockwise
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(decode(tmp_path / "a.png"), np.rot90(picture, -1))


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_errors(tmp_path, suffix, share):
    big = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(big).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvbenchError, match=rf"a\.{suffix}: "):
        decode(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
    ids=["empty", "text", "png head", "postscript"],
)
def test_what_is_no_image_is_an_error(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InvbenchError, match=r"a\.png: "):
        decode(tmp_path / "a.png")


def test_corrupt_bytes_within_a_png_are_an_error(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(bytes(data))
    with pytest.raises(InvbenchError, match=r"a\.png: the image is corrupt"):
        decode(tmp_path / "a.png")


def test_giant_float_and_missing_files_are_errors(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    with pytest.raises(InvbenchError, match="expected at most 100 pixels, found 20x12"):
        decode(tmp_path / "a.png", max_pixels=100)
    (tmp_path / "b.ppm").write_bytes(b"P6 20000 10000 255\n")  # a small file that claims to be giant
    with pytest.raises(InvbenchError, match=r"b\.ppm: expected at most 100000000 pixels"):
        decode(tmp_path / "b.ppm")
    Image.new("F", (2, 2)).save(tmp_path / "c.tiff")
    with pytest.raises(InvbenchError, match="expected 8 or 16 bits a channel, found mode F"):
        decode(tmp_path / "c.tiff")
    with pytest.raises(InvbenchError, match="found no file"):
        decode(tmp_path / "d.png")


def test_a_folder_has_safe_unique_names(tmp_path, picture):
    for name in ["b.png", "a/b.png", "a__b.png", "ü <x>.png", "d.png", "E.png", "e.png", "c.png", "c.bmp"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    folder = Folder(tmp_path)
    assert len(folder.names) == len({name.casefold() for name in folder.names}) == 9  # some disks do not tell E from e
    assert {"b", "d"} <= set(folder.names) and all(set("/<> ").isdisjoint(name) for name in folder.names)
    sample = folder.read(folder.names.index("b"))
    assert np.array_equal(sample.picture, picture) and folder.truth(0, Edit("age", 1)) is None


def test_a_folder_resizes_square_pictures_only(tmp_path, picture):
    Image.fromarray(picture[:12, :12]).save(tmp_path / "a.png")
    Image.fromarray(picture).save(tmp_path / "b.png")
    folder = Folder(tmp_path, resolution=8)
    assert folder.read(0).picture.shape == (8, 8, 3)
    with pytest.raises(InvbenchError, match=r"b\.png: expected a square picture, found 20x12"):
        folder.read(1)


@pytest.mark.parametrize("name", ["none", "file", "empty"])
def test_a_folder_that_is_none_is_told(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvbenchError, match=f"{name}: expected (a folder of pictures|pictures)"):
        Folder(tmp_path / name)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["id"])
def test_procfaces_gives_samples_and_truth(spec):
    dataset = Procfaces(**spec["options"])
    assert len(dataset.names) == spec["size"]
    faces, index, edit = split(spec["options"]["name"]), 9, Edit("age", 2.0)
    sample = dataset.read(index)
    assert sample.name == faces.names[index] and sample.sha256 == faces.sha256[index]
    assert sample.picture.shape == (64, 64, 3) and np.array_equal(sample.factors, faces.u[index])
    assert sample.ood_mask.any() == (spec["options"]["name"] == "test-ood")
    one = slice(index, index + 1)
    truth = render_edited(faces.u[one], "age", 2.0, extras=faces.extras[one]).images[0]
    assert np.array_equal(dataset.truth(index, edit), truth) and not np.array_equal(truth, sample.picture)
    assert dataset.truth(index, Edit("unheard of", 1.0)) is None


def test_procfaces_names_an_unknown_split():
    with pytest.raises(InvbenchError, match="split 'train'"):
        Procfaces("train")
