"""Run folders of toys that are harmed in every kind of file, and what each verb says of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from invbench.api import InvbenchError
from invbench.compare import baseline
from invbench.compare.gate import Tolerances
from invbench.compare.gate import gate as compare
from invbench.plugins.config import RunSettings
from invbench.reports import site, tables
from invbench.run.check import check
from invbench.run.verification import verify
from invbench.store import Store

KINDS = (
    "plan.json",
    "manifest.json",
    "sets.parquet",
    "rows/*/*.parquet",
    "features/toy*/*",
    "features/inputs*/*",
    "latency/*",
    "images/*/toy-01.png",
    "images/*/toy-02@*.png",
    "masks/*/*",
    "inputs/*/*",
    "truths/*/*",
    "truths/*.json",
    "truth_masks/*/*",
    "statistics/*",
    "report/*.html",
    "report/static/*",
)
PICTURES = ("images", "masks", "inputs", "truths", "truth_masks")
WRITTEN_BY = {"statistics": "show", "report": "report"}  # the verbs that make these again, whatever is there


def harmed(data: bytes, *, flips: int, cuts: int, seed: int) -> Iterator[bytes]:
    """The bytes with one bit flipped, and cut short, at places drawn from the seed."""
    rng = np.random.default_rng(seed)
    for bit in rng.integers(0, 8 * len(data), flips):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        yield bytes(changed)
    for length in rng.integers(0, len(data), cuts):
        yield data[:length]


def verbs(settings: RunSettings, other: Path) -> dict[str, Callable[[], str]]:
    """What ``show``, ``report``, ``gate`` and ``score`` print of the run; ``other`` is its copy, the baseline of the gate."""
    run = settings.out

    def gate() -> str:
        return repr(compare(baseline.read(run), baseline.read(other), tolerances=Tolerances(), alpha=0.05).findings)

    def score() -> str:
        checks = verify(run, settings.suite, settings_registry(), metrics=(), device="cpu", say=lambda line: None)
        return "different" if any(one.unequal for one in checks) else "equal"

    return {
        "show": lambda: tables.terminal(Store(run), intervals=True, covered=True, width=None),
        "report": lambda: _report(run),
        "gate": gate,
        "score": score,
    }


def _report(run: Path) -> str:
    """All pages of the site, and the data of its scripts."""
    first = site.write([run])
    files = sorted([*first.parent.glob("*.html"), *first.parent.glob("methods/*.html"), *first.parent.glob("data/*.js")])
    return re.sub(r'src="[^"]*"', "", "".join(file.read_text() for file in files))


@cache
def settings_registry():
    """What the toys bring; read once, since that takes a fifth of a trial."""
    from invbench.plugins.registry import discover
    from tests.fixtures import TOYS

    return discover([TOYS])


def told(verb: Callable[[], str]) -> str | None:
    """What a verb prints; None where it refuses in one line. Whatever else it raises leaves here."""
    try:
        return verb()
    except InvbenchError as error:
        assert "\n" not in str(error), error
        return None


class Opened:
    """The files that this process opens while a verb works, by the interpreter's own account of it.

    A verb that did not open a file says the same whatever is in it, so its trials can be left out.
    """

    files: set[str] | None = None  # None: nobody listens

    @classmethod
    def listen(cls) -> None:
        """Begin to listen, once for the process: such a hook cannot be removed."""
        if not hasattr(cls, "heard"):
            cls.heard = True
            sys.addaudithook(cls._note)

    @classmethod
    def by(cls, verb: Callable[[], str]) -> set[str]:
        """The paths that a verb opens."""
        cls.listen()
        cls.files = set()
        try:
            told(verb)
            return cls.files
        finally:
            cls.files = None

    @classmethod
    def _note(cls, event: str, given: tuple[object, ...]) -> None:
        if cls.files is not None and event == "open" and isinstance(given[0], (str, bytes, os.PathLike)):
            cls.files.add(os.path.abspath(os.fsdecode(given[0])))


def noticed(run: Path) -> bool:
    """Whether ``check`` finds anything that is not whole."""
    return bool(check(run).problems)
