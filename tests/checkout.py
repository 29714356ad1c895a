"""The checkout that the tests belong to."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
