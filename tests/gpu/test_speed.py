"""The script for a GPU at toy size, on the CPU: it runs, measures and compares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.gpu import speed


def test_the_script_writes_its_table(tmp_path: Path) -> None:
    rows = speed.main(["--toy", "--methods", "e4e", "--out", str(tmp_path / "speed.md")])
    assert [row[:4] for row in rows] == [("e4e", "off", batch, precision) for batch in "12" for precision in ("fp32", "bf16")]
    assert all(float(row[4]) > 0 and float(row[5]) > 0 for row in rows), rows
    assert [float(row[6]) == float("inf") for row in rows] == [True, False] * 2
    assert all(float(row[6]) > 20 for row in rows)
    text = (tmp_path / "speed.md").read_text()
    assert text.count("\n| ") == 2 + len(rows) and text.startswith("Suite procfaces, a CPU")


def test_what_has_no_time_left_says_so_and_what_fails_costs_its_row(tmp_path: Path, monkeypatch) -> None:
    words = ["--toy", "--methods", "e4e", "--out", str(tmp_path / "speed.md")]
    assert {row[4] for row in speed.main([*words, "--minutes", "0"])} == {"no time left"}

    def broken(*given: object) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(speed, "_timed", broken)
    assert {row[4] for row in speed.main(words)} == {"RuntimeError: no kernel"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="expected a CUDA device, found none; --toy"):
        speed.main(["--out", str(tmp_path / "speed.md")])


@pytest.mark.slow
def test_every_method_of_the_script_runs(tmp_path: Path) -> None:
    rows = speed.main(["--toy", "--out", str(tmp_path / "speed.md")])
    assert {row[0] for row in rows} == {*speed.METHODS, speed.LOOP}
    assert all(float(row[4]) > 0 for row in rows), rows
