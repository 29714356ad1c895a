"""CelebA-HQ and FFHQ, in every layout in which they are passed around."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from invbench.api import InvbenchError, Member, StoredDataset
from invbench.datasets import celebahq, ffhq
from invbench.datasets.celebahq import CelebAHQ
from invbench.datasets.ffhq import FFHQ
from invbench.datasets.pictures import subsets
from tests.datasets import layouts


def touch(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


# -- the partition -------------------------------------------------------------------------------------------------------
def test_the_built_in_split_is_that_of_celeba():
    lists = celebahq.lists()
    for split, count in {"test": 2824, "val": 2993}.items():
        ids, numbers = lists[f"{split}.id"], lists[f"{split}.celeba"]
        assert len(ids) == len(numbers) == len(set(ids)) == len(set(numbers)) == count
        assert ids == sorted(ids) and ids[-1] < 30_000
        assert {celebahq.partition(number - 1) for number in numbers} == {split}  # files of CelebA count from 1
    assert not set(lists["test.id"]) & set(lists["val.id"])


def test_the_thresholds_are_those_of_the_partition_script():
    assert [celebahq.partition(index) for index in (0, 162_770, 162_771, 182_637, 182_638)] == [
        "train",
        "train",
        "val",
        "val",
        "test",
    ]


def test_subsets_lie_within_the_split_and_hold_each_other():
    names = {f"{index:05d}" for index in celebahq.official("test")}
    first, hundred, thousand = (set(subsets()[f"celebahq-test-{name}"]) for name in ("first200", "random100", "random1000"))
    assert (len(first), len(hundred), len(thousand)) == (200, 100, 1000)
    assert first == {f"{index:05d}" for index in celebahq.official("test")[:200]}
    assert hundred < thousand < names
    assert len(set(subsets()["ffhq-random1000"])) == 1000


# -- CelebA-HQ's layouts -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("heading", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_celebamask_hq(tmp_path, heading, inside):
    wanted = layouts.celebamask_hq(tmp_path, heading=heading)
    dataset = CelebAHQ(tmp_path / "CelebAMask-HQ" if inside else tmp_path, split="test")
    assert isinstance(dataset, StoredDataset)
    assert dataset.names == [f"{index:05d}" for index in wanted] and not dataset.missing
    for index in (0, len(wanted) - 1):
        sample = dataset.read(index)
        assert sample.picture.shape == (1024, 1024, 3) and layouts.same(sample.picture, wanted[index])
        assert sample.sha256 == hashlib.sha256(sample.picture.tobytes()).hexdigest()
    assert dataset.truth(0, None) is None


def test_missing_pictures_of_the_list_are_named(tmp_path):
    wanted = layouts.celebamask_hq(tmp_path)
    (tmp_path / "CelebAMask-HQ/CelebA-HQ-img" / f"{wanted[2]}.jpg").unlink()
    dataset = CelebAHQ(tmp_path, split="test")
    assert list(dataset.missing) == [f"{wanted[2]:05d} (file {wanted[2]})"] and len(dataset.names) == len(wanted) - 1


@pytest.mark.parametrize(("suffix", "compared"), [(".png", True), (".jpg", False)])
def test_the_raw_list_brings_md5s_of_the_pixels(tmp_path, suffix, compared):
    wanted = layouts.celebahq_raw(tmp_path, suffix=suffix)
    dataset = CelebAHQ(tmp_path, split="test")
    assert dataset.names == [f"{index:05d}" for index in wanted]
    found = dataset.inspect(1)
    assert (found.height, found.width, found.md5) == (1024, 1024, compared)
    layouts.write(tmp_path / f"images/{wanted[1]:05d}{suffix}", 200, 1024, 1024)
    if compared:
        with pytest.raises(InvbenchError, match="expected the published md5 .* of the pixels, found"):
            dataset.inspect(1)
    else:
        assert not dataset.inspect(1).md5  # a JPEG cannot have the published pixels


def test_a_whole_list_must_be_the_official_one(tmp_path):
    rows = "\n".join(f"{index} {index} {index + 1:06d}.jpg" for index in range(celebahq.WHOLE))
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(rows)
    touch(tmp_path / "CelebA-HQ-img", ["0.jpg"])
    with pytest.raises(InvbenchError, match="not the official list: its test split is not the known 2824"):
        CelebAHQ(tmp_path, split="test")


@pytest.mark.parametrize("line", ["3 x 000004.jpg", "3"])
def test_a_broken_list_names_its_line(tmp_path, line):
    layouts.celebamask_hq(tmp_path, 6)
    path = tmp_path / "CelebAMask-HQ" / "CelebA-HQ-to-CelebA-mapping.txt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InvbenchError, match=r"mapping\.txt:8: expected a row of idx, orig_idx, orig_file, found"):
        CelebAHQ(tmp_path, split="test")


@pytest.mark.parametrize("form", ["index", "celeba", "renumbered", "script", "names"])
def test_folders_of_the_split_only(tmp_path, form):
    ids, numbers = celebahq.lists()["test.id"], celebahq.lists()["test.celeba"]
    names = {
        "index": [f"{index}.jpg" for index in ids],
        "celeba": [f"{number:06d}.jpg" for number in numbers],
        "renumbered": [f"{place}.jpg" for place in range(2824)],
        "script": [f"{place}.jpg" for place in range(2824)],
        "names": [f"{hashlib.md5(str(index).encode()).hexdigest()}x.png" for index in ids],
    }[form]
    touch(tmp_path / ("test_img" if form == "script" else "test"), names)
    dataset = CelebAHQ(tmp_path, split="test")
    assert len(dataset.names) == 2824 and not dataset.missing
    if form == "names":
        assert "checked by count" in dataset.layout and dataset.notes
    else:  # whatever the files are called, a sample bears the index in CelebA-HQ
        assert dataset.names == [f"{index:05d}" for index in ids]
        assert CelebAHQ(tmp_path, split="test", subset="celebahq-test-first200").names == dataset.names[:200]
    files = [member.file for member in dataset.members]
    expected = sorted(names) if form == "names" else names
    assert [file.rpartition("/")[2] for file in files] == expected


def test_a_whole_folder_without_a_list_takes_the_built_in_one(tmp_path):
    touch(tmp_path / "celeba-hq", [f"{index:05d}.png" for index in range(celebahq.WHOLE)])
    found = celebahq.search(tmp_path, "val")
    assert [member.name for member in found.members] == [f"{index:05d}" for index in celebahq.official("val")]
    (tmp_path / "celeba-hq/00000.png").rename(tmp_path / "celeba-hq/30000.png")  # counted from 1: whose index is what?
    with pytest.raises(InvbenchError, match="found 30000 pictures, numbered 1 to 30000"):
        celebahq.search(tmp_path, "val")


def test_what_is_no_celebahq_is_told_with_the_layouts(tmp_path):
    with pytest.raises(InvbenchError, match="found nothing"):
        CelebAHQ(tmp_path / "none", split="test")
    with pytest.raises(InvbenchError, match=r"expected one of these layouts, found none of them:\n  CelebAMask-HQ as unpacked"):
        CelebAHQ(tmp_path, split="test")
    touch(tmp_path / "images", ["0.jpg", "1.jpg"])
    with pytest.raises(InvbenchError, match="or the 2824 of its test split, or CelebA-HQ-to-CelebA-mapping.txt beside"):
        CelebAHQ(tmp_path, split="test")


def test_a_subset_that_is_not_whole_is_told(tmp_path):
    layouts.celebamask_hq(tmp_path)
    with pytest.raises(InvbenchError, match="celebahq-test-first200: 19. of its 200 pictures are not among the 6 prepared"):
        CelebAHQ(tmp_path, split="test", subset="celebahq-test-first200")


# -- FFHQ ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flat", [False, True])
def test_ffhq_in_thousands_and_flat(tmp_path, flat):
    numbers = [0, 999, 1000, 64_999, 65_000, 69_999]
    layouts.ffhq(tmp_path, numbers, flat=flat, metadata=True)
    dataset = FFHQ(tmp_path)
    assert dataset.names == [f"{number:05d}" for number in numbers]
    assert len(dataset.missing) == 70_000 - 6 and dataset.missing[0] == "00001"
    assert layouts.same(dataset.read(2).picture, 1000, tolerance=0) and dataset.inspect(2).md5
    assert FFHQ(tmp_path, last=64_999).names == dataset.names[:4]
    assert FFHQ(tmp_path, first=65_000).names == dataset.names[4:]


def test_ffhq_files_are_compared_with_the_metadata(tmp_path):
    layouts.ffhq(tmp_path, [5], metadata=True)
    layouts.write(tmp_path / "images1024x1024/00000/00005.png", 6, 1024, 1024)
    with pytest.raises(InvbenchError, match="expected the published md5 .* of the file"):
        FFHQ(tmp_path).inspect(0)
    (tmp_path / ffhq.METADATA).write_text('{"5": {}}')
    with pytest.raises(InvbenchError, match=r"ffhq-dataset-v2\.json: expected the metadata of FFHQ"):
        FFHQ(tmp_path)


def test_ffhq_refuses_what_it_does_not_have(tmp_path):
    touch(tmp_path / "images", ["70000.png"])
    with pytest.raises(InvbenchError, match=r"70000\.png: expected pictures of FFHQ"):
        FFHQ(tmp_path)
    touch(tmp_path / "twice", ["00001.png", "1.png"])
    with pytest.raises(InvbenchError, match="expected every number once"):
        FFHQ(tmp_path / "twice")


# -- what all stored datasets share --------------------------------------------------------------------------------------
def test_prepared_members_are_taken_as_they_are_and_their_bytes_verified(tmp_path):
    path = layouts.write(tmp_path / "x/00007.png", 7, 1024, 1024)
    good = Member("00007", "x/00007.png", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    dataset = FFHQ(tmp_path, members=[good])
    assert layouts.same(dataset.read(0).picture, 7) and dataset.check(0) == path.stat().st_size
    stamp = dataset.stamp(0)
    layouts.write(path, 8, 1024, 1024)
    assert dataset.stamp(0) != stamp
    for call in (dataset.read, dataset.check, dataset.inspect):
        with pytest.raises(InvbenchError, match="changed since it was prepared: expected sha256"):
            call(0)
    path.unlink()
    with pytest.raises(InvbenchError, match="found no file"):
        dataset.read(0)
    assert dataset.stamp(0) == ""


def test_another_size_is_an_error_and_never_resized(tmp_path):
    layouts.celebamask_hq(tmp_path, 3, size=512)
    dataset = CelebAHQ(tmp_path, split="test")
    with pytest.raises(InvbenchError, match=r"2\.jpg: expected a picture of 1024x1024, found 512x512"):
        dataset.read(0)
    with pytest.raises(InvbenchError, match="found 512x512"):
        dataset.inspect(0)


def test_the_test_layouts_keep_colours_apart():
    colours = {layouts.colour(number) for number in range(4096)}
    assert len(colours) == 4096 and not layouts.same(np.array(layouts.colour(3)), 4)
