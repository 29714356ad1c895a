"""Work of the processor that is done while a GPU computes: begun at once there, when asked for on a CPU, and equal."""

from __future__ import annotations

import threading

import pytest
import torch

from invbench.methods.common.beside import started

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_on_a_cpu_work_begins_when_it_is_asked_for() -> None:
    begun: list[int] = []
    results = started(begun.append, [1, 2], device=CPU)
    assert not begun
    results[1]()
    assert begun == [2]


def test_beside_a_gpu_it_is_begun_at_once_and_not_in_this_thread() -> None:
    both = threading.Event()

    def work(item: int) -> tuple[int, int]:
        assert both.wait(10)
        return item, threading.get_ident()

    results = started(work, range(3), device=GPU)
    both.set()  # only now: a call in this thread would have waited for it in vain
    found = [one() for one in results]
    assert [item for item, _ in found] == [0, 1, 2] and threading.get_ident() not in {thread for _, thread in found}


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    for device in (CPU, GPU):
        good, bad = started(lambda item: 1 / item, [2, 0], device=device)
        assert good() == 0.5
        with pytest.raises(ZeroDivisionError):
            bad()
