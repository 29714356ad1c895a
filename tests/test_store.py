"""Files of the run folder: atomic, safe by name, the same bits back."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
import torch

from invbench.api import Edit, InvbenchError, Inversion
from invbench.run import inversions
from invbench.store import Part, Store
from invbench.util import files
from invbench.util.files import WriteFailed, file_name, locked, write_all, write_atomic
from invbench.util.images import dequantise, encode_png, quantise, read_png


def row(key: str, **values):
    base = {"key": key, "recipe": "r", "suite": "s", "method": "m", "preset": "p", "dataset": "d", "image": key}
    return base | {"index": 0, "status": "ok", "batch": 1} | values


def test_rows_come_back_in_one_order_with_all_columns(tmp_path):
    store = Store(tmp_path)
    store.write_part("m.p.d", Part("2", [row("b", index=1, psnr=float("nan")), row("c", index=0, edit="e", strength=1.0)], {}))
    store.write_part("m.p.d", Part("1", [row("a", index=0, psnr=float("inf"), reason=None)], {"psnr": "x"}))
    rows = store.rows()
    assert list(rows.key) == ["a", "c", "b"]
    assert rows.psnr.iloc[0] == float("inf") and rows.psnr.dtype == np.float64
    assert store.query("SELECT count(*) AS n FROM rows WHERE edit IS NULL").n.item() == 2
    parts = store.parts("m.p.d")
    assert [part.name for part in parts] == ["1", "2"] and parts[0].metrics == {"psnr": "x"}
    assert "psnr" not in parts[1].rows[1] and np.isnan(parts[1].rows[0]["psnr"])  # "not asked" is not "not covered"


def test_an_empty_store_has_no_rows(tmp_path):
    rows = Store(tmp_path).rows()
    assert len(rows) == 0 and "key" in rows.columns


def test_features_come_back(tmp_path):
    store = Store(tmp_path)
    values = {"f": np.arange(6, dtype=np.float32).reshape(3, 2)}
    store.write_features("c", "p", features=values, images=["a", "b", "ü"], recipes={"f": "r"})
    features, images, recipes = store.features("c", "p")
    assert np.array_equal(features["f"], values["f"]) and images == ["a", "b", "ü"] and recipes == {"f": "r"}
    with pytest.raises(InvbenchError, match=r"feature 'f': expected \[2, F\], found shape \(3, 2\)"):
        store.write_features("c", "p", features=values, images=["a", "b"], recipes={})


def test_set_aside_keeps_what_it_takes(tmp_path):
    store = Store(tmp_path)
    store.write_part("c", Part("1", [row("a"), row("b")], {}))
    assert store.set_aside("c", ["a", "z"], keep=True) == 1
    assert list(store.rows().key) == ["b"]
    assert store.set_aside("c", ["b"], keep=False) == 1
    assert len(store.rows()) == 0
    assert [path.name for path in (tmp_path / "superseded" / "c").iterdir()] == ["1.parquet"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".hidden", "..", "x" * 300, "a@age+1", "<img>", "nul\0", ""])
def test_names_never_leave_the_folder(tmp_path, name):
    path = Store(tmp_path).picture(name, name, Edit("../age", 1.0))
    assert path.resolve().is_relative_to(tmp_path / "images")
    assert len(path.name) < 255 and not path.name.startswith(".")
    assert file_name(name) != file_name(name + "'")


def test_plain_names_stay_as_they_are(tmp_path):
    store = Store(tmp_path)
    assert store.picture("pti.paper.procfaces-test", "test-0001", Edit("age", 1.5)).relative_to(tmp_path).as_posix() == (
        "images/pti.paper.procfaces-test/test-0001@age+1.5.png"
    )


def test_a_write_that_fails_leaves_the_old_file_and_no_scrap(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WriteFailed, match=r"file.*No space left on device"):
        write_all({path: b"new", tmp_path / "other": b"new"})
    assert path.read_bytes() == b"old" and [item.name for item in tmp_path.iterdir()] == ["file"]


def test_one_writer_a_folder(tmp_path):
    with locked(tmp_path), pytest.raises(InvbenchError, match="another process is writing"), locked(tmp_path):
        pass
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_json_holds_infinities_as_text(tmp_path):
    store = Store(tmp_path)
    store.write_json("manifest.json", {"a": float("inf"), "b": [float("nan"), 1.0], "c": tmp_path})
    held = json.loads((tmp_path / "manifest.json").read_text())
    assert held.pop("sha256").startswith("invbench-sha256:") and held == {"a": "inf", "b": ["nan", 1.0], "c": str(tmp_path)}


@pytest.mark.parametrize("content", [None, "not json"])
def test_a_folder_without_a_run_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    with pytest.raises(InvbenchError, match=r"plan\.json: expected"):
        _ = Store(tmp_path).plan


def test_broken_parts_are_told(tmp_path):
    path = tmp_path / "rows" / "c" / "1.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(InvbenchError, match=r"1\.parquet: expected a part of a run"):
        Store(tmp_path).parts("c")


def test_quantise_hits_every_level_and_clamps():
    levels = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    pictures = quantise(levels / 127.5 - 1)
    assert pictures.shape == (1, 16, 16, 3) and np.array_equal(pictures[0, ..., 0].ravel(), np.arange(256))
    assert np.array_equal(quantise(dequantise(pictures)), pictures)
    assert set(np.unique(quantise(torch.tensor([-1.2, 1.7]).reshape(1, 1, 1, 2)))) == {0, 255}
    with pytest.raises(ValueError, match="not finite"):
        quantise(torch.full((1, 3, 2, 2), float("nan")))


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_png_is_lossless(tmp_path, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_atomic(tmp_path / "p.png", encode_png(picture))
    assert np.array_equal(read_png(tmp_path / "p.png"), picture)
    (tmp_path / "p.png").write_bytes(encode_png(picture)[:50])
    with pytest.raises(InvbenchError, match=r"p\.png: expected a PNG picture"):
        read_png(tmp_path / "p.png")


def example(count: int = 3) -> Inversion:
    generator = torch.Generator().manual_seed(0)
    state = {"weights": torch.randn(count, 2, 2, generator=generator), "steps": torch.arange(count)}
    return Inversion(torch.randn(count, 4, 5, generator=generator), torch.randn(count, 3, 8, 8, generator=generator), state)


def same(one: Inversion, other: Inversion) -> bool:
    tensors = [(one.latents, other.latents), (one.images, other.images), *((one.state[k], other.state[k]) for k in one.state)]
    return set(one.state) == set(other.state) and all(torch.equal(a, b) and a.dtype == b.dtype for a, b in tensors)


def test_inversions_split_join_save_and_load(tmp_path):
    whole = example()
    assert same(inversions.join(inversions.split(whole)), whole)
    assert same(inversions.select(whole, [2, 0]), inversions.join([inversions.split(whole)[i] for i in (2, 0)]))
    inversions.save(inversions.select(whole, [1]), tmp_path / "one.safetensors")
    assert same(inversions.load(tmp_path / "one.safetensors"), inversions.split(whole)[1])


def test_inversions_that_do_not_fit_are_told(tmp_path):
    parts = inversions.split(example())
    with pytest.raises(ValueError, match="expected the same state"):
        inversions.join([parts[0], Inversion(parts[1].latents, parts[1].images)])
    with pytest.raises(ValueError, match="latents: expected one shape"):
        inversions.join([parts[0], Inversion(torch.zeros(1, 3, 5), parts[1].images, parts[1].state)])
    with pytest.raises(InvbenchError, match=r"none\.safetensors: expected a saved inversion, found no file"):
        inversions.load(tmp_path / "none.safetensors")
    inversions.save(example(), tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-9])
    with pytest.raises(InvbenchError, match=r"cut\.safetensors: expected a saved inversion, found an unreadable file"):
        inversions.load(tmp_path / "cut.safetensors")
