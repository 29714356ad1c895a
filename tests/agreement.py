"""How far our numbers lie from an independent implementation's: asserted, and printed for docs/agreement.md."""

from __future__ import annotations

from typing import Any

import numpy as np


def agree(found: Any, expected: Any, *, relative: float) -> None:
    """Assert that values agree to ``relative`` (of the expected ones, each alone), and print by how much they differ.

    `pytest -rP TEST` shows what a test prints.
    """
    a, b = (np.asarray(values, np.float64) for values in (found, expected))
    assert a.shape == b.shape and np.isfinite(b).all() and (b != 0).all(), "expected finite values of one shape, none of them 0"
    difference = float((np.abs(a - b) / np.abs(b)).max())
    print(f"largest relative difference {difference:.1e} (allowed {relative:.0e})")
    assert difference <= relative
