"""The renderer: stable bytes, visible factors, exact masks, true edits, clear errors."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

import invbench.datasets.procfaces as pf
from invbench.api import Edit, KnowsFactors
from invbench.datasets.procfaces import splits
from invbench.datasets.procfaces.__main__ import export
from invbench.datasets.procfaces.extras import Earrings, Extras, Hat, Microphone, Pattern
from invbench.datasets.procfaces_suite import Procfaces

LABEL = {name: i for i, name in enumerate(pf.PARSING_CLASSES)}


@pytest.fixture(scope="module")
def u() -> np.ndarray:
    return pf.sample_factors(np.random.default_rng(17), 48)


@pytest.mark.parametrize("name", ["val", "test", "test-ood"])
def test_bytes_match_the_stored_hashes(name):
    rendered = pf.render_split(name, [0, 7, 133, 199])
    found = [splits.image_sha256(image) for image in rendered.images]
    assert found == [pf.split(name).sha256[i] for i in (0, 7, 133, 199)]


def test_a_wrong_hash_names_the_picture(tmp_path, monkeypatch):
    stored = json.loads(splits.HASHES.read_text())
    stored["test"][3] = "0" * 64
    monkeypatch.setattr(splits, "HASHES", tmp_path / "sha256.json")
    splits.HASHES.write_text(json.dumps(stored))
    assert len(pf.render_split("test", [2]).images) == 1
    with pytest.raises(ValueError, match="test-0003: expected sha256 0000"):
        pf.render_split("test", [3])
    splits.HASHES.write_text(json.dumps({"test": stored["test"][:-1]}))
    with pytest.raises(ValueError, match="expected 200 hashes of split 'test', found 199"):
        pf.split("test")


def test_splits_have_their_sizes_and_share_no_face():
    parts = {name: pf.split(name) for name in ("val", "test", "test-ood")}
    assert [len(part.names) for part in parts.values()] == [500, 200, 200]
    assert all(part.u.shape == (len(part.names), pf.K) for part in parts.values())
    faces = np.concatenate([part.u for part in parts.values()])
    assert len(np.unique(faces, axis=0)) == 900
    assert len({digest for part in parts.values() for digest in part.sha256}) == 900
    assert {len(e.kinds()) for e in parts["test-ood"].extras} == {1, 2, 3}
    assert set(parts["test"].extras) == set(parts["val"].extras) == {None}


def test_bytes_do_not_depend_on_the_batch(u):
    whole = pf.render(u)
    for size in (1, 5, 33):
        pieces = [pf.render(u[i : i + size]) for i in range(0, len(u), size)]
        assert np.array_equal(whole.images, np.concatenate([piece.images for piece in pieces]))
        assert np.array_equal(whole.parsing, np.concatenate([piece.parsing for piece in pieces]))


def test_shapes_types_and_parsing_classes(u):
    out = pf.render(u)
    assert out.images.shape == (48, 64, 64, 3) and out.images.dtype == np.uint8
    assert out.parsing.shape == out.ood_mask.shape == (48, 64, 64)
    assert out.parsing.dtype == np.uint8 and out.ood_mask.dtype == bool and not out.ood_mask.any()
    counts = np.bincount(out.parsing.ravel(), minlength=len(LABEL))
    assert len(counts) == len(LABEL) and counts[LABEL["occluder"]] == 0
    assert (np.delete(counts, LABEL["occluder"]) > 0).all()
    columns = np.arange(64)
    for left, right in (("left_eye", "right_eye"), ("left_brow", "right_brow")):
        mean_left, mean_right = (((out.parsing == LABEL[side]) * columns).sum() / counts[LABEL[side]] for side in (left, right))
        assert mean_left + 15 < mean_right


def test_the_face_fills_the_frame():
    out = pf.render(np.full((1, pf.K), 0.5))
    rows = np.flatnonzero(np.isin(out.parsing[0], [LABEL["hair"], LABEL["skin"]]).any(axis=1))
    assert rows.min() <= 8 and rows.max() >= 55
    eye = np.argwhere(out.parsing[0] == LABEL["left_eye"])
    assert np.ptp(eye[:, 1]) + 1 >= 12 and np.ptp(eye[:, 0]) + 1 >= 5


@pytest.mark.parametrize("factor", [f.name for f in pf.FACTORS])
def test_every_factor_shows(u, factor):
    low, high = u.copy(), u.copy()
    low[:, pf.INDEX[factor]], high[:, pf.INDEX[factor]] = 0, 1
    change = np.abs(pf.render(low).images.astype(int) - pf.render(high).images)
    assert change.mean() > 0.4
    assert np.quantile(change.max(axis=(1, 2, 3)), 0.1) > 20  # nine faces of ten show it somewhere


@pytest.mark.parametrize("factor", [f.name for f in pf.FACTORS])
def test_pictures_depend_smoothly_on_every_factor(u, factor):
    near = u[:16].copy()
    near[:, pf.INDEX[factor]] = np.minimum(near[:, pf.INDEX[factor]], 255 / 256)
    moved = near.copy()
    moved[:, pf.INDEX[factor]] += 1 / 256
    assert np.abs(pf.render(near).images.astype(int) - pf.render(moved).images).max() < 40


def test_yaw_moves_the_features(u):
    columns = np.arange(64)

    def nose_column(strength):
        nose = pf.render_edited(u, "yaw", strength).parsing == LABEL["nose"]
        return (nose * columns).sum(axis=(1, 2)) / nose.sum(axis=(1, 2))

    inside = np.abs(pf.physical(u)["yaw"]) < 20
    assert inside.sum() > 10
    assert (nose_column(3)[inside] - nose_column(-3)[inside] > 4).all()


def test_smile_opens_the_mouth(u):
    closed, wide = u.copy(), u.copy()
    closed[:, pf.INDEX["smile"]], wide[:, pf.INDEX["smile"]] = 0.2, 1.0
    inner = [(pf.render(f).parsing == LABEL["inner_mouth"]).sum() for f in (closed, wide)]
    assert inner[1] > 4 * inner[0]
    mouth = pf.render(wide).parsing == LABEL["inner_mouth"]
    assert (pf.render(wide).images[mouth].min(axis=1) > 150).mean() > 0.15  # teeth


def extras_of(u: np.ndarray) -> list[Extras]:
    rng = np.random.default_rng(23)
    return [pf.sample_extras(rng, row) for row in u]


def test_mask_is_exactly_what_the_extras_change(u):
    extras = extras_of(u)
    plain, dressed = pf.render(u), pf.render(u, extras=extras)
    assert np.array_equal(dressed.ood_mask, (plain.images != dressed.images).any(axis=-1))
    assert (dressed.ood_mask.mean(axis=(1, 2)) > 0.005).all()
    occluder = dressed.parsing == LABEL["occluder"]
    changed = dressed.parsing != plain.parsing
    assert occluder.any() and np.array_equal(changed, occluder)


@pytest.mark.parametrize(
    "extras",
    [
        Extras(hat=Hat(32, 14, 24, 18, 1, (0.8, 0.1, 0.1), (0.1, 0.1, 0.1))),
        Extras(microphone=Microphone(30, 45, 4, 5, (0.8, 0.6, 0.5), (0.2, 0.2, 0.2))),
        Extras(earrings=Earrings(8, 56, 42, 5, (0.9, 0.8, 0.3))),
        Extras(pattern=Pattern(False, 0.6, 0.8, 9, (0.9, 0.1, 0.1), (0.1, 0.1, 0.9))),
        Extras(pattern=Pattern(True, 0.6, 0.8, 9, (0.9, 0.1, 0.1), (0.1, 0.1, 0.9))),
    ],
    ids=lambda extras: extras.kinds()[0],
)
def test_each_extra_alone(u, extras):
    out = pf.render(u[:1], extras=[extras])
    occluder = (out.parsing == LABEL["occluder"]).mean()
    background = out.parsing == LABEL["background"]
    if extras.pattern is not None:
        assert occluder == 0 and out.ood_mask[background].mean() > 0.9
    else:
        assert occluder > 0.01 and not out.ood_mask.all()


def test_extras_stay_where_they_are_under_an_edit(u):
    extras = extras_of(u)
    before, after = pf.render(u, extras=extras), pf.render_edited(u, "yaw", 2, extras=extras)
    assert np.array_equal(before.parsing == LABEL["occluder"], after.parsing == LABEL["occluder"])
    assert (before.images != after.images).any(axis=(1, 2, 3)).mean() > 0.9


def test_some_pictures_may_have_no_extras(u):
    extras = extras_of(u[:3])
    out = pf.render(u[:3], extras=[None, extras[1], None])
    assert out.ood_mask.any(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize(("name", "step"), [("age", 5.0), ("yaw", 5.0), ("smile", 0.1), ("eye_openness", 0.1)])
def test_edits_move_one_factor_by_the_stated_step(u, name, step):
    factor, per_unit, _ = pf.EDITS[name]
    assert per_unit == step
    calm = u.copy()
    calm[:, pf.INDEX[factor]] = 0.5
    edited = pf.edit_factors(calm, name, 2)
    width = pf.FACTORS[pf.INDEX[factor]].high - pf.FACTORS[pf.INDEX[factor]].low
    assert np.allclose(pf.physical(edited)[factor] - pf.physical(calm)[factor], 2 * step, atol=width / 4096)
    others = np.arange(pf.K) != pf.INDEX[factor]
    assert np.array_equal(edited[:, others], calm[:, others])


def test_edits_clip_and_leave_their_input_alone(u):
    kept = u.copy()
    assert (pf.edit_factors(u, "age", 100)[:, pf.INDEX["age"]] == 1).all()
    assert (pf.edit_factors(u, "yaw", -100)[:, pf.INDEX["yaw"]] == 0).all()
    assert np.array_equal(u, kept)
    assert np.array_equal(pf.edit_factors(u, "smile", 0), u)


def test_the_factors_of_a_true_edit_are_those_of_its_picture():
    dataset, edit = Procfaces("test"), Edit("age", 3.0)
    assert isinstance(dataset, KnowsFactors)
    factors = np.stack([dataset.true_factors(i, edit) for i in range(8)])
    np.testing.assert_array_equal(pf.render(factors).images, np.stack([dataset.truth(i, edit) for i in range(8)]))
    moved = factors - np.stack([dataset.read(i).factors for i in range(8)])
    age = pf.INDEX["age"]
    assert (np.delete(moved, age, axis=1) == 0).all() and (moved[:, age] > 0).all()
    assert dataset.true_factors(0, Edit("glasses", 1.0)) is None


def test_factors_ignore_the_length_of_z():
    z = pf.sample_z(3, 20)
    assert np.array_equal(z, pf.sample_z(3, 20)) and not np.array_equal(z, pf.sample_z(4, 20))
    u = pf.factors_from_z(z)
    assert np.array_equal(u, pf.factors_from_z(7.5 * z))
    assert np.array_equal(u * 4096, np.round(u * 4096)) and u.dtype == np.float64
    rms = np.sqrt((z[0] ** 2).mean())
    assert np.allclose(u[0], norm.cdf(z[0] / rms), atol=1 / 4096)


def test_train_batches_are_reproducible_and_consistent():
    first, again = (list(itertools.islice(pf.train_batches(5, 4), 2)) for _ in range(2))
    for (z, u, out), (z2, _, out2) in zip(first, again, strict=True):
        assert np.array_equal(z, z2) and np.array_equal(out.images, out2.images)
        assert np.array_equal(u, pf.factors_from_z(z)) and np.array_equal(out.images, pf.render(u).images)
    assert not np.array_equal(first[0][0], first[1][0])
    assert not np.array_equal(first[0][0], next(pf.train_batches(6, 4))[0])


def test_export_writes_what_was_rendered(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    export("test-ood", tmp_path)
    table = pq.read_table(tmp_path / "factors.parquet").to_pydict()
    assert len(table["name"]) == 200 and len(list((tmp_path / "images").glob("*.png"))) == 200
    out = pf.render_split("test-ood", [9])
    for kind, array in (("images", out.images), ("parsing", out.parsing), ("masks", out.ood_mask * np.uint8(255))):
        assert np.array_equal(np.asarray(Image.open(tmp_path / kind / "test-ood-0009.png")), array[0])
    assert table["age"][9] == pf.physical(pf.split("test-ood").u)["age"][9]
    assert tuple(table["extras"][9]) == pf.split("test-ood").extras[9].kinds()


def test_bad_input_gives_clear_errors(u):
    with pytest.raises(ValueError, match=rf"expected shape \[N, {pf.K}\], found \[48, 3\]"):
        pf.render(u[:, :3])
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\]"):
        pf.render(u + 1)
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\]"):
        pf.render(np.full((1, pf.K), np.nan))
    with pytest.raises(ValueError, match="one entry a picture"):
        pf.render(u, extras=[None])
    with pytest.raises(ValueError, match="expected shape"):
        pf.factors_from_z(np.zeros(pf.K))
    with pytest.raises(ValueError, match="finite"):
        pf.factors_from_z(np.full((1, pf.K), np.inf))
    with pytest.raises(KeyError, match="'beard': expected one of age, yaw, smile, eye_openness"):
        pf.edit_factors(u, "beard", 1)
    with pytest.raises(ValueError, match="finite"):
        pf.edit_factors(u, "age", float("nan"))
    with pytest.raises(KeyError, match="'train': expected one of val, test, test-ood"):
        pf.split("train")
    with pytest.raises(IndexError, match="from 0 to 199, found 200"):
        pf.render_split("test", [200])
    with pytest.raises(ValueError, match="at least 1, found 0"):
        pf.train_batches(0, 0)
    assert len(pf.render(u[:0]).images) == 0
