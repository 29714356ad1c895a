"""A run folder with flipped bits and cut files: no traceback, no other value in silence, and the next run heals it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from invbench.data.prefetch import Prefetch
from invbench.reports import kept as cache
from invbench.run.runner import run
from invbench.store import Store
from tests.fixtures import timeless
from tests.run.damage import KINDS, PICTURES, WRITTEN_BY, Opened, harmed, noticed, told, verbs


@pytest.fixture
def toy_run(make_settings, tmp_path, monkeypatch):
    """A run with files of every kind: the toys get domain masks, and statistics are cached though they are few."""
    read = Prefetch.read
    masked = np.tri(16, dtype=bool)
    monkeypatch.setattr(Prefetch, "read", lambda self, index: replace(read(self, index), ood_mask=masked))
    monkeypatch.setattr(cache, "LARGE", 0)
    settings = make_settings(images=5, latency=1)
    assert run(settings, progress=False) == 0
    shutil.copytree(settings.out, tmp_path / "other")
    for verb in verbs(settings, tmp_path / "other").values():
        assert told(verb) is not None
    shutil.copytree(settings.out, tmp_path / "other", dirs_exist_ok=True)
    return settings, tmp_path / "other"


def _trial(settings, known, path, bad, *, kind: str, page: bool) -> None:
    top, right = kind.split("/")[0], path.read_bytes()
    path.write_bytes(bad)
    for name, verb in verbs(settings, settings.out.parent / "other").items():
        if name not in known or (name == "report" and not page) or (top == "report" and name != "report"):
            continue
        found = told(verb)
        if name == "report" and found is not None and top in PICTURES and "and left out: 1 (" in found:
            continue  # the page says so, and does without the picture
        assert found in (None, known[name]) or (name == "score" and found == "different"), (kind, name, found)
        if WRITTEN_BY.get(top) == name:
            assert path.read_bytes() == right and found is not None, (kind, name)
    if top not in ("inputs", "truths", "truth_masks", *WRITTEN_BY):  # these pictures are known by their pixels
        assert noticed(settings.out), kind


def _fuzz(toy_run, kind: str, *, flips: int, cuts: int, heals: int, page: bool) -> None:
    settings, other = toy_run
    every = verbs(settings, other)
    known = {name: told(verb) for name, verb in every.items() if page or name != "report"}
    assert None not in known.values() and known["score"] == "equal" and not noticed(settings.out)
    rows, sets = Store(other).rows(), Store(other).sets()
    path = sorted(settings.out.glob(kind))[0]
    right = path.read_bytes()
    readers = {name for name in known if str(path) in Opened.by(every[name])} | {WRITTEN_BY.get(kind.split("/")[0], "score")}
    known = {name: text for name, text in known.items() if name in readers}
    for number, bad in enumerate(harmed(right, flips=flips, cuts=cuts, seed=len(kind))):
        often = kind.startswith("report")  # a page takes a second
        _trial(settings, known, path, bad, kind=kind, page=page and (often or number % 10 == 0))
        if number % max((flips + cuts) // heals, 1) == 0:
            assert run(settings, progress=False) == 0 and not noticed(settings.out)
            found, asked = (timeless(one).drop(columns="batch") for one in (Store(settings.out).rows(), rows))
            pd.testing.assert_frame_equal(found, asked, check_like=True)
            assert Store(settings.out).sets() == sets
            shutil.rmtree(settings.out)
            shutil.copytree(other, settings.out)
        path.write_bytes(right)


@pytest.mark.parametrize("kind", KINDS[::2])
def test_a_harmed_bit(toy_run, kind):
    _fuzz(toy_run, kind, flips=1, cuts=0, heals=1, page=kind in ("plan.json", "report/*.html"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_300_flips_and_100_cuts(toy_run, kind):
    _fuzz(toy_run, kind, flips=300, cuts=100, heals=20, page=True)
