"""AFHQ and Stanford Cars in their official layouts, and LSUN exported to folders."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from invbench.api import InvbenchError
from invbench.datasets.afhq import AFHQ
from invbench.datasets.lsun import LSUN, rank
from invbench.datasets.stanford_cars import StanfordCars
from tests.datasets import layouts

CHURCH = {"category": "church_outdoor", "split": "val"}
HORSE = {"category": "horse", "draw": 3, "whole": 8}
CAR = {"category": "car", "height": 384, "width": 512, "fit": "lsun_wide"}


# -- AFHQ ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", [1, 2])
def test_afhq_trees(tmp_path, version):
    layouts.afhq(tmp_path, version=version, counts={"cat": 2, "wild": 3})
    for root in (tmp_path, tmp_path / ("afhq" if version == 1 else "afhq_v2")):
        dataset = AFHQ(root, kind="wild", version=version)
        assert dataset.names == [f"flickr_wild_{number:06d}" for number in range(3)]  # not the training picture
        assert dataset.read(2).picture.shape == (512, 512, 3) and layouts.same(dataset.read(2).picture, 2)
    with pytest.raises(InvbenchError, match="expected one of these layouts.*\n.*train/dog/ and"):
        AFHQ(tmp_path, kind="dog", version=version)


def test_the_versions_of_afhq_are_told_apart(tmp_path):
    layouts.afhq(tmp_path, version=1, counts={"cat": 1})
    with pytest.raises(InvbenchError, match=r"expected \.png files, as AFHQ v2 has; is this v1\?"):
        AFHQ(tmp_path, kind="cat", version=2)
    layouts.afhq(tmp_path, version=2, counts={"cat": 2})  # side by side each finds its own
    assert len(AFHQ(tmp_path, kind="cat", version=1).names) == 1
    assert len(AFHQ(tmp_path, kind="cat", version=2).names) == 2


# -- Stanford Cars -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["devkit", "labels", "whole"])
def test_stanford_cars_squeezed(tmp_path, layout):
    layouts.stanford_cars(tmp_path, layout=layout)
    dataset = StanfordCars(tmp_path, split="test")
    expected = ["000001", "000003", "000005"] if layout == "whole" else [f"{number:05d}" for number in range(1, 7)]
    assert dataset.names == expected and not dataset.missing
    with Image.open(tmp_path / dataset.members[1].file) as image:
        squeezed = np.array(image.convert("RGB").resize((512, 384), Image.Resampling.BILINEAR))
    assert np.array_equal(dataset.read(1).picture, squeezed)
    small = StanfordCars(tmp_path, split="test", height=192, width=256)
    assert small.read(1).picture.shape == (192, 256, 3)


@pytest.mark.parametrize("layout", ["devkit", "whole"])
def test_the_box_of_a_car_is_cut_from_its_first_to_its_last_pixel(tmp_path, layout):
    layouts.stanford_cars(tmp_path, layout=layout)
    whole = StanfordCars(tmp_path, split="test", box=True)
    opened = StanfordCars(tmp_path, split="test", box=True, members=whole.members)  # as a run does
    for dataset in (whole, opened):
        for index, name in enumerate(dataset.names):
            found = dataset.read(index).picture
            assert layouts.same(found[60:-60, 60:-60], int(name), tolerance=8)  # the car fills it, no grey about
            assert np.abs(found.astype(int) - layouts.colour(int(name))).mean() < 6


def test_the_training_split_comes_from_its_own_flag(tmp_path):
    layouts.stanford_cars(tmp_path, layout="whole")
    assert StanfordCars(tmp_path, split="train").names == ["000002", "000004", "000006"]


def test_cars_that_are_missing_or_annotated_wrongly_are_told(tmp_path):
    layouts.stanford_cars(tmp_path)
    (tmp_path / "cars_test/00002.jpg").unlink()
    Image.new("RGB", (20, 20)).save(tmp_path / "cars_test/00003.jpg")
    dataset = StanfordCars(tmp_path, split="test", box=True)
    assert list(dataset.missing) == ["cars_test/00002.jpg"] and len(dataset.names) == 5
    with pytest.raises(InvbenchError, match=r"00003\.jpg: expected a box within 20x20, found 11,21 to 73,50"):
        dataset.read(1)


@pytest.mark.parametrize("content", ["text", "mat"])
def test_broken_annotations_are_told(tmp_path, content):
    layouts.stanford_cars(tmp_path)
    path = tmp_path / "devkit/cars_test_annos.mat"
    path.write_text("no Matlab")
    if content == "mat":
        savemat(path, {"annotations": np.array([(1, "a.jpg")], dtype=[("bbox_x1", object), ("fname", object)])})
    with pytest.raises(InvbenchError, match=r"cars_test_annos\.mat: expected Matlab annotations with bbox_x1"):
        StanfordCars(tmp_path, split="test")
    with pytest.raises(InvbenchError, match="expected one of these layouts"):
        StanfordCars(tmp_path, split="train")


def test_a_path_in_the_annotations_leads_nowhere_else(tmp_path):
    layouts.stanford_cars(tmp_path)
    head = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "fname")]
    rows = np.array([[(1, 1, 2, 2, "../../etc/00001.jpg"), (1, 1, 2, 2, "..\\00002.jpg")]], dtype=head)
    savemat(tmp_path / "devkit/cars_test_annos.mat", {"annotations": rows})
    files = [member.file for member in StanfordCars(tmp_path, split="test").members]
    assert files == ["cars_test/00001.jpg", "cars_test/00002.jpg"]


# -- LSUN, exported ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flat", [False, True])
def test_exported_churches_come_by_key(tmp_path, flat):
    keys = layouts.lsun_export(tmp_path / "church_outdoor_val", [(256, 300), (340, 256), (256, 256)], flat=flat)
    dataset = LSUN(tmp_path, **CHURCH, fit="squeeze", filter="bilinear")
    assert dataset.names == sorted(keys)
    for number, key in enumerate(keys):
        found = dataset.read(dataset.names.index(key)).picture
        assert found.shape == (256, 256, 3) and layouts.same(found, number, tolerance=0)


def test_a_draw_depends_on_the_keys_only(tmp_path):
    keys = layouts.lsun_export(tmp_path / "horse", [(256, 256)] * 8)
    expected = sorted(sorted(keys, key=rank)[:3])
    dataset = LSUN(tmp_path, **HORSE)
    assert dataset.names == expected and not dataset.missing
    (tmp_path / dataset.members[0].file).unlink()  # another draw, and it is told that the category is not whole
    assert LSUN(tmp_path, **HORSE).missing == ["1 of the category's 8 pictures"]
    layouts.lsun_export(tmp_path / "horse", [(256, 256)] * 9)
    assert LSUN(tmp_path, **HORSE).notes == ["expected 8 pictures in the category, found 9"]


def test_cars_are_drawn_from_those_that_are_large_enough(tmp_path):
    sizes = [(384, 512), (256, 340), (400, 511), (768, 1024), (512, 512), (300, 600)]
    keys = layouts.lsun_export(tmp_path / "car", sizes)
    (tmp_path / "car" / "broken.webp").write_bytes(b"RIFF")
    dataset = LSUN(tmp_path, **CAR, draw=10)
    assert dataset.names == sorted(keys[number] for number in (0, 3, 4))
    found = dataset.read(dataset.names.index(keys[3])).picture
    assert found.shape == (384, 512, 3) and layouts.same(found, 3, tolerance=0)
