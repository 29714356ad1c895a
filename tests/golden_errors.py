"""Measures the errors on golden vectors anew: ``python -m tests.golden_errors`` writes ``reports/reported/golden.csv``.

It runs the tests of the networks of methods on golden vectors and notes what each output in float32 is off by, beside what the
official code loses in that precision.
"""

from __future__ import annotations

import csv
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import golden_vectors
from tests.checkout import PROJECT

FILE = PROJECT / "reports" / "reported" / "golden.csv"
FIELDS = ("method", "output", "error", "official")
METHODS = {  # golden file, or output of one that holds several networks -> method
    "e4e": "e4e",
    "psp": "psp",
    "w_code": "w_encoder",
    "hfgi": "hfgi",
    "hyperinverter": "hyperinverter",
    "padinv": "padding",
    "styleres": "styleres",
    "stargan": "stargan",
    "restyle_psp": "restyle_psp",
    "restyle_e4e": "restyle_e4e",
    "hyperstyle": "hyperstyle",
    "sfe": "sfe",
    "idinvert": "idinvert",
    "feature_style": "feature_style",
    "ood_diffcam": "diffcam",
    "ood_deghosting": "diffcam",
    "attgan": "attgan",
    "stgan_port": "stgan",
    "sam_invertibility": "sam",
}
CHOSEN = "(golden or is_the_official_one) and not precision1 and not dtype1"  # those are in float64
FILES = ("diffcam", "encoders", "hfgi", "hypernetworks", "padding", "styleres", "translation", "official_code")
PLACES = [f"tests/methods/test_{name}.py" for name in FILES]


class Recorder:
    """Stands in for the functions of ``golden_vectors`` while the tests run; ``rows`` are what it saw."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.load, self.check = golden_vectors.load, golden_vectors.check

    def loaded(self, name: str) -> dict[str, Any]:
        return {**self.load(name), "file": name}

    def checked(self, golden: dict[str, Any], name: str, output: Tensor, *, relative: float = 1e-9) -> None:
        self.check(golden, name, output, relative=relative)
        method = METHODS.get(name) or METHODS.get(golden["file"])
        if method and output.dtype == torch.float32:
            entry = golden["outputs"][name]
            found = output.detach().reshape(-1).double().numpy()[entry["indices"]]
            error, official = abs(found - entry["samples_float64"]).max(), entry["float32_vs_float64"]["max_abs"]
            row = {"method": method, "output": name, "error": f"{error:.3g}", "official": f"{official:.3g}"}
            self.rows[method, name] = row


def main() -> int:
    """Exit code of pytest; the file is written if all tests pass."""
    recorder = Recorder()
    golden_vectors.load, golden_vectors.check = recorder.loaded, recorder.checked
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--timeout=0", "-m", "", "-k", CHOSEN, *PLACES])
    if code == 0:
        with FILE.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(recorder.rows[key] for key in sorted(recorder.rows))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
