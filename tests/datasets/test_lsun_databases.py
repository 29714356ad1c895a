"""LSUN from its LMDB databases."""

from __future__ import annotations

import numpy as np
import pytest

from invbench.api import InvbenchError, Member
from invbench.datasets.lsun import LSUN
from tests.datasets import layouts

SIZES = [(256, 300), (340, 256), (256, 256), (300, 256)]
CHURCH = {"category": "church_outdoor", "split": "val", "fit": "squeeze", "filter": "bilinear"}


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
@pytest.mark.parametrize("place", ["church_outdoor_val_lmdb", "lsun/church_outdoor_val_lmdb", ""])
def test_a_database_is_found_and_read_in_the_order_of_its_keys(tmp_path, place, suffix):
    root = tmp_path / "root"
    keys = layouts.lsun_lmdb(root / place, SIZES, suffix=suffix)
    dataset = LSUN(root, **CHURCH)
    assert dataset.names == sorted(keys) and "LMDB" in dataset.layout
    for number, key in enumerate(keys):
        assert layouts.same(dataset.read(dataset.names.index(key)).picture, number)
    assert dataset.stamp(0) == dataset.stamp(3) != ""


def test_database_and_export_are_the_same_dataset(tmp_path):
    layouts.lsun_lmdb(tmp_path / "a" / "horse_lmdb", [(256, 256 + n) for n in range(12)])
    layouts.lsun_export(tmp_path / "b" / "horse", [(256, 256 + n) for n in range(12)])
    first, second = (LSUN(tmp_path / name, category="horse", draw=5, whole=12) for name in "ab")
    assert first.names == second.names and len(first.names) == 5
    for index in range(5):
        assert np.array_equal(first.read(index).picture, second.read(index).picture)
        assert first.inspect(index).sha256 == second.inspect(index).sha256


def test_two_datasets_may_look_into_one_database(tmp_path):
    layouts.lsun_lmdb(tmp_path / "church_outdoor_val_lmdb", SIZES)
    squeezed, cropped = LSUN(tmp_path, **CHURCH), LSUN(tmp_path, **{**CHURCH, "fit": "crop"})
    assert [squeezed.read(i).name for i in range(4)] == [cropped.read(i).name for i in range(4)]


def test_what_is_no_database_or_key_is_told(tmp_path):
    (tmp_path / "church_outdoor_val_lmdb").mkdir()
    (tmp_path / "church_outdoor_val_lmdb/data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(InvbenchError, match="church_outdoor_val_lmdb: expected an LMDB database"):
        LSUN(tmp_path, **CHURCH)
    layouts.lsun_lmdb(tmp_path / "b/church_outdoor_val_lmdb", SIZES)
    gone = Member("x", "church_outdoor_val_lmdb/data.mdb#0123")
    with pytest.raises(InvbenchError, match="data.mdb#0123: expected a picture under this key, found none"):
        LSUN(tmp_path / "b", **CHURCH, members=[gone]).read(0)
