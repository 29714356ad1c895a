"""Options of the test run, its processes and its limits of time.

Runs of toy methods are in tests/fixtures.py, other fixtures beside the tests that use them.
"""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import HealthCheck, settings

from invbench.util.startup import cores, settle

# Here and not in a hook: this file is read before any other that imports torch, which reads the environment only once.
settle()
os.environ.setdefault("INVBENCH_IN_PROCESS", "1")  # workers take seconds to start: only tests of them have some
os.environ.setdefault("INVBENCH_FEATURES", "0")  # tests leave nothing in the folder of whoever runs them
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, which share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["tests.fixtures"]

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # a busy machine says nothing of what is tested

MOST = 4  # processes of `-n auto`; each holds networks of its own
ALONE = re.compile(r"(?<!not )\b(?:perf|gpu)\b")  # in `-m`: what wants the machine for itself
SLOW = 3600.0  # seconds a test that is marked slow may take


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="put the methods, metrics and datasets of this file through tests/contract (repeatable)",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes of `-n auto`: one a core, at most MOST; 0 (pytest's own) where there is one core or speed is measured."""
    processes = min(cores(), MOST)
    return 0 if processes == 1 or ALONE.search(config.getoption("-m")) else processes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW))
        if item.get_closest_marker("perf") and "PYTEST_XDIST_WORKER" in os.environ:
            item.add_marker(pytest.mark.skip(reason="measures speed, and other tests run beside it: pytest -m perf -n 0"))
