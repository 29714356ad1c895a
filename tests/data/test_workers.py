"""Reading ahead: order, bounded memory, and trouble that stays with its own picture."""

from __future__ import annotations

import os
import time

import pytest

from invbench.api import Dataset, Edit, InvbenchError
from invbench.data.prefetch import Prefetch
from invbench.data.sources import Opening
from invbench.data.workers import Calls, default_workers

ENTRY = "tests.data.picture_sets:Numbers"


def opening(**arguments) -> Opening:
    return Opening(ENTRY, {"count": 40, **arguments}, stored=True)


def test_results_come_in_order_and_trouble_alone():
    trouble = {3: "error", 4: "odd", 5: "value", 8: "die", 9: "die", 20: "die"}
    indices = [*range(12), 39, 20, 21, 0]
    with Calls(opening(trouble=trouble), "read", indices, workers=2, ahead=4) as calls:
        results = list(calls)
        with pytest.raises(IndexError):
            calls.take()
    assert len(results) == len(indices)
    for index, (sample, error) in zip(indices, results, strict=True):
        assert (sample is None) == (index in trouble) and (error is None) == (index not in trouble)
        assert sample is None or (sample.picture == index).all()
    errors = {index: error for index, (_, error) in zip(indices, results, strict=True) if error is not None}
    assert str(errors[3]) == "3.png: the image is corrupt" and type(errors[3]) is InvbenchError
    assert str(errors[4]) == "Odd: 4 and odd" and type(errors[4]) is InvbenchError
    assert type(errors[5]) is ValueError and str(errors[5]) == "a value"
    for index in (8, 9, 20):
        assert str(errors[index]) == f"picture {index}: the process that read it ended with exit code 9"


def test_no_more_is_decoded_than_may_wait(tmp_path):
    workers, ahead = 2, 3
    with Calls(opening(log=str(tmp_path)), "read", range(40), workers=workers, ahead=ahead) as calls:
        for taken in range(1, 6):
            calls.take()
            settled = 0.0
            while settled < 0.5:  # until no worker starts another picture
                before = len(list(tmp_path.iterdir()))
                time.sleep(0.25)
                settled = settled + 0.25 if len(list(tmp_path.iterdir())) == before else 0.0
            assert calls.waiting() == ahead
            # what waits, one in the hands of the thread, one finished and one begun in each worker's pipe
            assert len(list(tmp_path.iterdir())) <= taken + ahead + 1 + 2 * workers
    assert len(list(tmp_path.iterdir())) < 40


def test_workers_that_die_at_once_end_in_errors_and_not_in_a_loop(monkeypatch):
    monkeypatch.setenv("INVBENCH_TEST_PARENT", str(os.getpid()))
    with Calls(opening(broken=True), "read", range(30), workers=1, ahead=4) as calls:
        errors = [error for _, error in calls]
    assert len(errors) == 30 and all("ended with exit code 7" in str(error) for error in errors)


def test_a_dataset_that_a_worker_cannot_build_is_told_for_every_picture():
    with Calls(Opening(ENTRY, {"count": 4, "colour": 1}, stored=True), "read", range(4), workers=1, ahead=4) as calls:
        assert all("unexpected keyword argument 'colour'" in str(error) for _, error in calls)


def test_closing_ends_the_processes():
    calls = Calls(opening(sleep=30), "read", range(8), workers=2, ahead=2)
    started = time.monotonic()
    time.sleep(0.5)
    calls.close()
    assert time.monotonic() - started < 25 and not calls._thread.is_alive()


def test_nothing_to_do_starts_nothing():
    with Calls(opening(), "read", [], workers=2, ahead=2) as calls:
        assert list(calls) == []
    assert default_workers() >= 1


def test_a_dataset_reads_ahead_what_it_is_told_to_expect(tmp_path):
    how = opening(log=str(tmp_path), trouble={2: "error"})
    dataset = Prefetch("numbers", how, readers=1)
    assert isinstance(dataset, Dataset) and len(dataset.names) == 40
    dataset.expect([1, 2, 3, 5, 7])
    assert (dataset.read(1).picture == 1).all()
    with pytest.raises(InvbenchError, match="2.png: the image is corrupt"):
        dataset.read(2)
    assert (dataset.read(30).picture == 30).all()  # not expected: read here
    assert (dataset.read(5).picture == 5).all()  # 3 was never asked for
    assert (dataset.read(7).picture == 7).all()
    assert (dataset.read(7).picture == 7).all()  # again: all that was expected is gone
    assert (dataset.truth(3, Edit("age", 1)) == 3).all()
    own = str(os.getpid())
    logged = {path.name.partition("-")[0::2] for path in tmp_path.iterdir()}
    assert {number for number, process in logged if process == own} == {"030", "007"}
    assert {number for number, process in logged if process != own} == {"001", "002", "003", "005", "007"}
    dataset.close()


def test_few_pictures_and_rendered_ones_are_read_in_this_process(tmp_path):
    few = Prefetch("numbers", opening(log=str(tmp_path)))
    few.expect(range(5))
    rendered = Prefetch("numbers", Opening(ENTRY, {"count": 40, "log": str(tmp_path)}, stored=False))
    rendered.expect(range(40))
    for dataset, count in ((few, 5), (rendered, 40)):
        assert [dataset.read(index).name for index in range(count)] == list(dataset.names)[:count]
    assert {path.name.partition("-")[2] for path in tmp_path.iterdir()} == {str(os.getpid())}
