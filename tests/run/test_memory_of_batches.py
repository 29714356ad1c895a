"""A batch that does not fit into memory is halved until it does, and what worked is kept; one greedy image costs itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from invbench.run import runner
from invbench.run.plan import known_fits
from invbench.run.shard import isolate
from invbench.store import Store
from invbench.util.clock import Ledger

KIND = ("cell", "inversion")


def tools() -> SimpleNamespace:
    return SimpleNamespace(device=torch.device("cpu"), ledger=Ledger(), on_stage=None, fits={})


def tried(given, count, *, room, greedy=(), error=MemoryError):
    """Sizes of the batches of a call that has room for ``room`` images, and the attempts; ``greedy`` ones never fit."""
    sizes = []

    def call(indices, clock):
        sizes.append(len(indices))
        if len(indices) > room or set(indices) & set(greedy):
            raise error
        return list(indices)

    return sizes, list(isolate(call, count, given, kind=KIND))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_batch_is_halved_until_it_fits_and_what_fits_is_kept(error: Exception) -> None:
    given = tools()
    sizes, attempts = tried(given, 16, room=3, error=error)
    assert sizes == [16, 8, 4, *[2] * 8]
    assert [one.value for one in attempts] == [[i, i + 1] for i in range(0, 16, 2)]
    assert given.fits == {KIND: 2}
    assert tried(given, 16, room=3)[0] == [2] * 8  # the next batch of the cell begins with what worked


@pytest.mark.parametrize("error", [MemoryError("no room"), ValueError("no")])
def test_images_that_share_what_is_found_fail_together(error: Exception) -> None:
    sizes = []

    def call(indices, clock):
        sizes.append(len(indices))
        raise error

    (attempt,) = isolate(call, 4, tools(), kind=KIND, whole=True)
    assert sizes == [4] and attempt.indices == [0, 1, 2, 3] and attempt.value is None and str(error) in attempt.reason


def test_a_greedy_image_fails_alone_and_the_others_stay_together() -> None:
    given = tools()
    sizes, attempts = tried(given, 8, room=8, greedy=[1])
    failed = [one.indices for one in attempts if one.value is None]
    assert failed == [[1]] and sorted(i for one in attempts for i in one.indices) == list(range(8))
    assert sizes == [8, 4, 2, 1, 1, 6]


def test_other_errors_are_tried_image_by_image_at_once() -> None:
    given = tools()
    sizes, attempts = tried(given, 4, room=1, error=ValueError("bad"))
    assert sizes == [4, 1, 1, 1, 1] and not given.fits and all(one.value for one in attempts)


def test_a_run_says_what_fits_and_has_every_row(make_settings, monkeypatch, capsys) -> None:
    toy, sizes = runner.load(make_settings().methods[0].spec), []
    plain = toy.invert

    def invert(self, images, clock):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, images, clock)

    monkeypatch.setattr(toy, "invert", invert)
    settings = make_settings(batch=8, images=12)
    assert runner.run(settings) == 0
    assert sizes == [8, 4, *[2] * 6]
    rows = Store(settings.out).rows()
    assert len(rows) == 36 and (rows["status"] == "ok").all() and (rows["batch"] == 2).all()
    assert "inversion: a batch did not fit into memory; from now on 2 images at a time" in capsys.readouterr().err


def test_what_fits_is_kept_for_a_run_that_is_continued(make_settings, monkeypatch, capsys) -> None:
    toy, sizes = runner.load(make_settings().methods[0].spec), []
    plain = toy.invert

    def invert(self, images, clock):
        sizes.append(len(images))
        if len(images) > 2:
            raise MemoryError
        return plain(self, images, clock)

    monkeypatch.setattr(toy, "invert", invert)
    assert runner.run(make_settings(batch=8, images=8)) == 0
    assert Store(make_settings().out).plan["cells"]["toy.paper.toys"]["fits"] == {"inversion": 2}
    sizes.clear()
    assert runner.run(make_settings(batch=8, images=12)) == 0
    assert sizes == [2, 2] and "inversion: 2 images at a time, as an earlier run found" in capsys.readouterr().err
    sizes.clear()
    assert runner.run(make_settings(batch=4, images=12, fresh=True)) == 0  # what a user asks for anew is tried anew
    assert sizes == [4, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("fits", [None, [], {"inversion": 0}, {"inversion": -2}, {"inversion": "2"}, {"inversion": True}])
def test_fits_that_are_none_are_not_taken(fits: object) -> None:
    assert known_fits({"fits": fits}) == {}
