"""Options of the test run; runs of toy methods are in tests/fixtures.py, other fixtures beside the tests that use them."""

from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE.py",
        help="put the methods of this file through tests/contract (repeatable)",
    )
