"""Options of the test run; fixtures live beside the tests that use them."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE.py",
        help="put the methods of this file through tests/contract (repeatable)",
    )
