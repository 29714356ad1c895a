"""The clock: times add up, misuse is refused, memory is seen."""

from __future__ import annotations

import mmap
import time

import numpy as np
import pytest
import torch

from invbench.api import STAGES
from invbench.util.clock import Ledger, StageClock


def test_stages_add_up_and_lie_within_the_total():
    with StageClock() as clock:
        for _ in range(2):
            with clock.stage("refine"):
                time.sleep(0.02)
        with clock.stage("encode"):
            time.sleep(0.01)
        time.sleep(0.01)
    assert list(clock.stages) == ["refine", "encode"]
    assert clock.stages["refine"] >= 0.04 and clock.stages["encode"] >= 0.01
    assert clock.total >= sum(clock.stages.values()) + 0.01
    assert clock.device_seconds == clock.stages and clock.device_peak == 0


def test_all_shared_names_are_taken_and_no_other():
    clock = StageClock()
    for name in STAGES:
        with clock.stage(name):
            pass
    assert set(clock.stages) == set(STAGES)
    with pytest.raises(ValueError, match="unknown stage 'tune'; expected one of encode"), clock.stage("tune"):
        pass


def test_stages_do_not_nest():
    clock = StageClock()
    with pytest.raises(ValueError, match="'edit' began inside stage 'encode'"), clock.stage("encode"), clock.stage("edit"):
        pass
    with clock.stage("edit"):  # the clock is free again after the error
        pass
    assert set(clock.stages) == {"encode", "edit"}


def test_a_stage_that_raises_is_timed():
    clock = StageClock()
    with pytest.raises(RuntimeError), clock, clock.stage("refine"):
        time.sleep(0.01)
        raise RuntimeError
    assert clock.stages["refine"] >= 0.01 and clock.total >= 0.01


def test_memory_peak_of_a_call_is_its_own():
    size = 64_000_000
    with StageClock() as large, large.stage("refine"):
        block = mmap.mmap(-1, size)  # new pages: an array may be given memory that this process has used before
        np.frombuffer(block, np.uint8)[:] = 1
        block.close()
    with StageClock() as small, small.stage("refine"):
        pass
    assert large.rss_peak > small.rss_peak + size / 2


def test_stage_names_are_passed_on():
    seen: list[str] = []
    clock = StageClock(on_stage=seen.append)
    with clock.stage("encode"):
        assert seen == ["encode"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_queued_work_on_a_gpu_is_counted_where_it_belongs():
    matrix = torch.randn(4096, 4096, device="cuda")
    matrix @ matrix
    with StageClock("cuda") as clock:
        with clock.stage("refine"):
            for _ in range(50):
                matrix @ matrix
        with clock.stage("edit"):
            pass
    assert clock.device_seconds["refine"] == pytest.approx(clock.stages["refine"], rel=0.2)
    assert clock.stages["edit"] < 0.1 * clock.stages["refine"]
    assert clock.device_peak >= matrix.nbytes


def test_a_ledger_takes_inner_purposes_out_of_outer_ones():
    ledger, began = Ledger(), time.perf_counter()
    with ledger.spent("methods"):
        time.sleep(0.02)
        with ledger.spent("writing"):
            time.sleep(0.03)
    whole, found = time.perf_counter() - began, ledger.summary()
    assert found["methods"] >= 0.02 and found["writing"] >= 0.03
    assert found["methods"] + found["writing"] <= whole  # the inner one is not counted twice; a busy machine wakes late
    assert found["overhead"] == pytest.approx(found["wall"] - found["methods"])


def test_what_watching_takes_is_in_no_time() -> None:
    seen = []

    def watch(step, images, rows, seconds):
        seen.append((step, seconds))
        time.sleep(0.1)

    clock = StageClock(memory=False)
    clock.on_pictures = watch
    with clock:
        with clock.stage("refine"):
            clock.passed(0, torch.zeros(1))
            time.sleep(0.02)
            clock.passed(1, torch.zeros(1))
        clock.passed(2, torch.zeros(1))
    assert 0.02 <= clock.stages["refine"] < 0.08 and clock.stages["refine"] <= clock.total < 0.09
    assert [step for step, _ in seen] == [0, 1, 2] and 0 <= seen[0][1] < 0.02 <= seen[1][1] <= seen[2][1] <= clock.total
