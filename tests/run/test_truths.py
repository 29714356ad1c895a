"""Copies of the truth in the run folder: there once, right, and no part of anything that is measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from invbench.api import Edit, InvbenchError
from invbench.plugins.registry import discover, load
from invbench.run import runner, truths
from invbench.run.check import check
from invbench.store import Store
from invbench.util.behind import Behind
from invbench.util.images import read_png
from tests.fixtures import TOYS


def test_true_edits_lie_beside_the_inputs(make_settings, monkeypatch) -> None:
    monkeypatch.setattr(truths, "FIRST", 3)
    settings = make_settings(images=5)
    assert runner.run(settings, progress=False) == 0
    store, dataset = Store(settings.out), load(discover([TOYS]).datasets["toys"])(count=12)
    for index, name in enumerate(dataset.names[:3]):
        for edit in settings.edits:
            assert np.array_equal(read_png(store.truth("toys", name, edit)), dataset.truth(index, edit))
    assert len(list((store.path / "truths").rglob("*.png"))) == 3 * len(settings.edits)
    assert not (store.path / "truth_masks").exists()  # the toys know none


def test_what_is_there_for_the_same_picture_stands(make_settings, monkeypatch) -> None:
    settings = make_settings(images=2)
    runner.run(settings, progress=False)
    monkeypatch.setattr("invbench.util.behind.Behind.write", lambda *_: 1 / 0)
    assert runner.run(settings, progress=False) == 0


def test_which_truth_it_is_is_known_before_any_work(make_settings, monkeypatch) -> None:
    """The pictures may be written later: a run that is killed before has rows of this truth, and the next one writes them."""
    settings, real = make_settings(images=2), runner._Run._shards

    def shards(self, *given):
        assert len(Store(settings.out).truths("toys")) == 4
        raise KeyboardInterrupt

    monkeypatch.setattr("invbench.run.runner._Run._shards", shards)
    monkeypatch.setattr("invbench.util.behind.Behind.write", lambda *_: None)
    assert runner.run(settings, progress=False) == 130
    monkeypatch.undo()
    assert real is runner._Run._shards and runner.run(settings, progress=False) == 0
    assert len(list((settings.out / "truths").rglob("*.png"))) == 4 and not check(settings.out).problems


@pytest.mark.parametrize(("count", "images"), [(None, 3), (2, 2)])
def test_the_truth_that_will_be_written_is_asked_for_meanwhile(monkeypatch, count: int | None, images: int) -> None:
    monkeypatch.setattr(truths, "FIRST", 3)
    asked: list[tuple[int, str]] = []

    class Asked:
        names = ("a", "b", "c", "d")

        def truth(self, index: int, edit: Edit) -> np.ndarray | None:
            asked.append((index, edit.name))
            return None if edit.name == "unknown" else np.zeros((2, 2, 3), np.uint8)

    class Broken(Asked):
        def truth(self, index: int, edit: Edit) -> np.ndarray | None:
            raise RuntimeError("no truth")

    edits = [Edit("age", 1.0), Edit("unknown", 1.0), Edit("yaw", 1.0)]
    with truths.drawn_meanwhile([(Asked(), count), (Broken(), count)], edits):
        pass
    assert asked == [(index, edit.name) for index in range(images) for edit in edits]
    asked.clear()
    with truths.drawn_meanwhile([(Asked(), None)], [Edit("unknown", 1.0)]):
        pass
    assert asked == [(0, "unknown")]  # it knows nothing


def test_masks_of_pictures_with_unknown_things(tmp_path) -> None:
    from invbench.datasets.procfaces_suite import Procfaces
    from invbench.run.plan import Entry

    dataset, store = Procfaces("test-ood"), Store(tmp_path)
    sample = dataset.read(0)
    entries = [Entry(0, sample.name, sample.sha256), Entry(1, dataset.names[1], None, "broken")]
    with Behind() as behind:
        truths.write(store, "d", dataset, entries=entries, edits=[Edit("age", 1.0), Edit("unknown", 1.0)], behind=behind)
        behind.finish()
    assert np.array_equal(read_png(store.truth_mask("d", sample.name)) == 0, sample.ood_mask)
    assert [path.name for path in (store.path / "truths" / "d").iterdir()] == [f"{sample.name}@age+1.png"]


def test_f2_another_truth_under_a_name_is_refused_before_any_work(make_settings, monkeypatch) -> None:
    """F2, and its like: the dataset gives another true picture, or none, between two calls."""
    from invbench.data.prefetch import Prefetch

    settings = make_settings(images=3)
    assert runner.run(settings, progress=False) == 0
    store = Store(settings.out)
    rows, path = store.rows(), store.truth("toys", "toy-01", settings.edits[0])
    content, real = path.read_bytes(), Prefetch.truth
    for change in (lambda picture: picture[::-1].copy(), lambda picture: None):

        def truth(self, index, edit, change=change):
            picture = real(self, index, edit)
            return change(picture) if index == 1 and edit == settings.edits[0] else picture

        monkeypatch.setattr(Prefetch, "truth", truth)
        told = rf"toys: toy-01: expected the true picture of bright-1 that this run folder has \(sha256 {'.' * 64}\), found "
        with pytest.raises(InvbenchError, match=told):
            runner.run(make_settings(images=3, methods=["toy:fine"]), progress=False)
        pd.testing.assert_frame_equal(store.rows(), rows)
        assert path.read_bytes() == content
    assert runner.run(make_settings(images=3, fresh=True), progress=False) == 0  # there is no earlier truth


@pytest.mark.parametrize("how", ["changed", "gone", "larger", "grey", "record"])
def test_f2_a_file_of_the_truth_that_changed_is_named_and_made_again(make_settings, how) -> None:
    settings = make_settings(images=3)
    assert runner.run(settings, progress=False) == 0
    store = Store(settings.out)
    path = store.truth_digests("toys") if how == "record" else store.truth("toys", "toy-02", settings.edits[1])
    right = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "record":
        path.write_bytes(right[:-20])
    else:
        Image.new("L" if how == "grey" else "RGB", (1000, 1000) if how == "larger" else (16, 16)).save(path)
    (problem,) = check(settings.out).problems
    assert path.name in problem
    assert runner.run(settings, progress=False) == 0
    assert path.read_bytes() == right and not check(settings.out).problems
