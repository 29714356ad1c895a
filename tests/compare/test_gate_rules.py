"""The rules of docs/gate.md for infinite and missing values, each line of its table tried on one image."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from invbench.compare.gate import FINE, REGRESSION, gate
from tests.checkout import PROJECT
from tests.compare.gate_runs import make

VALUES = {"finite": 30.0, "infinitely good": np.inf, "infinitely bad": -np.inf, "missing": np.nan}  # of psnr
WORDS = "|".join(VALUES)
TABLE = re.findall(rf"^\| ({WORDS}) \| ({WORDS}) \| ([^|]+) \|$", (PROJECT / "docs/gate.md").read_text(), re.MULTILINE)
COUNT = 40


def test_the_table_is_whole() -> None:
    assert len(TABLE) == 11 and {side for line in TABLE for side in line[:2]} == set(VALUES)


@pytest.mark.parametrize(("before", "now", "told"), TABLE)
def test_a_line_of_the_table_holds(before: str, now: str, told: str) -> None:
    template = make(0, count=COUNT, methods=("e4e",))
    one = (template.rows["dataset"] == "faces") & (template.rows["image"] == "0003") & (template.rows["edit"] == "")
    psnr = template.rows["psnr"]
    run, baseline = (replace(template, rows=template.rows.assign(psnr=psnr.mask(one, VALUES[side]))) for side in (now, before))
    outcome = gate(run, baseline)
    n = {finding.measure: finding.n for finding in outcome.findings if finding.dataset == "faces"}
    failed = sum(one.run for one in outcome.failures)
    noted = any("psnr: 1 rows left out, infinite in one run" in note for note in outcome.notes)
    assert (told == "failed image") == (failed == 1) == (outcome.code == REGRESSION)
    assert failed or outcome.code == FINE or told == "coverage is compared"  # one image lost is too few to decide
    if told != "failed image":
        assert noted == (told == "left out, told in a note")
    assert ("psnr covered" in n) == (told == "coverage is compared")
    assert n["psnr"] == (COUNT if told in ("compared", "equal") else COUNT - 1)
