"""The starts of a cell's foreign commands, as its folder in the run keeps them, and the figures that follow from them.

    foreign/<cell>/log.txt               what the commands printed
    foreign/<cell>/<number>/start.json   the record of a start
    foreign/<cell>/<number>/exchange/    its exchange

A start counts for a recipe: that of the cell, which holds the digest of the command's folder.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from invbench.api import Edit, InvbenchError
from invbench.run.foreign.exchange import RECORD, Exchange, edit_folder
from invbench.util.files import write_atomic
from invbench.util.sealed import json_bytes, read_json

LOG = "log.txt"
WHAT = "the record of a start"


@dataclass
class Work:
    """What one command made in a start: of the inversions, or of an edit.

    seconds  wall seconds of the process; None if it was interrupted, so nobody knows
    made     picture -> sha256 of its file
    failed   picture -> why there is none
    told     picture -> stage -> seconds, as the command told them
    shared   how many kinds of pictures the process made (edits, where one process makes all of them)
    """

    seconds: float | None
    made: dict[str, str]
    failed: dict[str, str]
    told: dict[str, dict[str, float]] = field(default_factory=dict)
    rss_peak: int = 0
    gpu_peak: int = 0
    shared: int = 1


@dataclass
class Start:
    """One start: its images (name -> sha256 of the picture), whether it only measures, and its work by edit ("": inversion)."""

    path: Path
    recipe: str
    images: dict[str, str]
    probe: bool = False
    work: dict[str, Work] = field(default_factory=dict)
    ended_well: bool = False  # whether its last command ended with exit code 0; not recorded

    @property
    def exchange(self) -> Exchange:
        """Its folder."""
        return Exchange(self.path / "exchange")

    def of(self, edit: Edit | None) -> Work | None:
        """What was made of the inversions, or of an edit; None if that was not begun."""
        return self.work.get(label(edit))

    def write(self) -> None:
        """Write its record."""
        content = {"recipe": self.recipe, "images": self.images, "probe": self.probe}
        write_atomic(self.path / RECORD, json_bytes(content | {"work": {one: asdict(work) for one, work in self.work.items()}}))


@dataclass(frozen=True)
class Figures:
    """Seconds of a start and of a picture, and peaks in bytes; NaN where they cannot be told apart."""

    startup: float
    each: float
    rss_peak: int
    gpu_peak: int


def label(edit: Edit | None) -> str:
    """The key of :attr:`Start.work`."""
    return "" if edit is None else edit_folder(edit)


def latest(folder: Path) -> list[Start]:
    """The starts of the last recipe, in order, without those whose record cannot be read."""
    found = []
    for path in sorted(one for one in folder.glob("[0-9]*") if one.is_dir() and not one.is_symlink()):
        try:
            record = read_json(path / RECORD, what=WHAT)
            found.append(Start(path, record["recipe"], dict(record["images"]), bool(record["probe"]), _work(record["work"])))
        except (InvbenchError, KeyError, TypeError, ValueError, AttributeError):
            continue
    return [one for one in found if one.recipe == found[-1].recipe]


def new(folder: Path, recipe: str, images: dict[str, str], *, probe: bool = False) -> Start:
    """A start in a folder that did not exist."""
    number = 1 + max((int(one.name) for one in folder.glob("[0-9]*") if one.name.isdecimal()), default=0)
    path = folder / f"{number:04d}"
    path.mkdir(parents=True)
    start = Start(path, recipe, images, probe)
    start.write()
    return start


def forget(folder: Path, *, but: Sequence[Start]) -> None:
    """Remove the folders of all other starts."""
    kept = {one.path.name for one in but}
    for path in folder.glob("[0-9]*"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def figures(starts: Sequence[Start], edit: Edit | None) -> Figures:
    """What a start and a picture take: N pictures in k starts took k times the one and N times the other, a probe once each.

    NaN without a probe, or without another start whose seconds are known.
    """
    probes = [work for start in starts if start.probe and (work := _probed(start, edit)) is not None and work.made]
    mains = [work for start in starts if not start.probe and (work := start.of(edit)) is not None and work.seconds is not None]
    count, total = sum(len(one.made) * one.shared for one in mains), sum(one.seconds or 0.0 for one in mains)
    startup = each = math.nan
    if probes and probes[-1].seconds is not None:
        alone = probes[-1].seconds
        if count > len(mains):
            each = max((total - len(mains) * alone) / (count - len(mains)), 0.0)
            startup = max(alone - each, 0.0)
    peaks = [*mains, *probes]
    return Figures(
        startup, each, max((one.rss_peak for one in peaks), default=0), max((one.gpu_peak for one in peaks), default=0)
    )


def told(starts: Sequence[Start], edit: Edit | None) -> dict[str, dict[str, float]]:
    """Seconds by picture and stage, as the commands told them."""
    return {name: one for start in starts if (work := start.of(edit)) is not None for name, one in work.told.items()}


def makers(starts: Sequence[Start], name: str, sha256: str) -> Iterator[Start]:
    """The starts that made a picture, the last first."""
    for start in reversed(starts):
        work = start.of(None)
        if not start.probe and work is not None and name in work.made and start.images.get(name) == sha256:
            yield start


def _probed(start: Start, edit: Edit | None) -> Work | None:
    """The work of a probe: of the inversion, or of the one edit that it tried for all."""
    return start.of(None) if edit is None else next((work for name, work in start.work.items() if name), None)


def _work(record: Any) -> dict[str, Work]:
    return {name: Work(**one) for name, one in record.items()}
