"""Runs of toy methods in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from invbench.plugins import selection
from invbench.plugins.config import EditConfig, RunSettings, Suite
from invbench.plugins.registry import Registry, discover

TOYS = Path(__file__).with_name("toys.py")
TIMES = ("seconds.", "memory.", "machine")  # rows of crowded workers name them


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., RunSettings]:
    """Settings of a run of the toy method on the toy dataset; keywords as in ``invbench.plugins.selection.settings``."""
    registry = discover([TOYS])

    def make(**changes) -> RunSettings:
        return toy_settings(registry, **({"out": tmp_path / "run"} | changes))

    return make


def toy_settings(registry: Registry, **changes) -> RunSettings:
    """Settings of a run of the toy method on the toy dataset; ``out`` has to be among the keywords."""
    suite = Suite(
        id="toys",
        title="toys",
        resolution=16,
        datasets=("toys",),
        collections={"all": ("toys",)},
        default="all",
        edits={"bright": EditConfig(unit="levels", per_strength=12.75, strengths=(-1, 1))},
    )
    asked = {
        "methods": ["toy"],
        "metrics": ["toy_mse", "toy_mask", "toy_truth", "toy_set"],
        "edits": ["bright"],
        "batch": 4,
        "device": "cpu",
        "seed": 0,
    }
    return selection.settings(suite, registry, **(asked | changes))


def timeless(rows):
    """Rows without the columns that measure the machine."""
    return rows[[name for name in rows.columns if not name.startswith(TIMES)]]
