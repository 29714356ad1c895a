"""Copies of the truth in the run folder: there once, right, and no part of anything that is measured."""

from __future__ import annotations

import numpy as np

from invbench.api import Edit
from invbench.plugins.registry import discover, load
from invbench.run import runner, truths
from invbench.store import Store
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
    monkeypatch.setattr("invbench.run.truths.Behind.write", lambda *_: 1 / 0)
    assert runner.run(settings, progress=False) == 0


def test_masks_of_pictures_with_unknown_things(tmp_path) -> None:
    from invbench.datasets.procfaces_suite import Procfaces
    from invbench.run.plan import Entry

    dataset, store = Procfaces("test-ood"), Store(tmp_path)
    sample = dataset.read(0)
    entries = [Entry(0, sample.name, sample.sha256), Entry(1, dataset.names[1], None, "broken")]
    truths.write(store, "d", dataset, entries=entries, edits=[Edit("age", 1.0), Edit("unknown", 1.0)], known=frozenset())
    assert np.array_equal(read_png(store.truth_mask("d", sample.name)) == 0, sample.ood_mask)
    assert [path.name for path in (store.path / "truths" / "d").iterdir()] == [f"{sample.name}@age+1.png"]
