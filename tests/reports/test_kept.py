"""Kept statistics are those that are computed, of these rows, and can be lost or damaged without harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from invbench.compare import stats
from invbench.reports import compare, equal_change, kept
from invbench.reports.compare import Compared
from invbench.reports.run import Run
from invbench.store import Store
from invbench.util.files import WriteFailed

from .big import make_big_run

KINDS: dict[str, Callable[[Run], list[Compared]]] = {
    "inversions": lambda run: run.inversions,
    "edits": lambda run: run.edits,
    "strongest_edits": lambda run: run.strongest_edits,
    "equal_change": lambda run: equal_change.summary(run).compared,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_big_run(tmp_path_factory.mktemp("run"), images=12)


@pytest.fixture
def folder(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where statistics are kept, of runs of any size."""
    monkeypatch.setattr(kept, "LARGE", 0)
    return tmp_path


def text(found: list[Compared]) -> list[str]:
    """All figures with all their digits; NaN equals NaN."""
    return [f"{one.block.place} {one.block.metric} {dict(one.means)!r} {one.ranking!r}" for one in found]


def read(store: Store, folder: Path) -> Run:
    """The run as read anew, with its statistics in ``folder``."""
    run = Run.of(store)
    return Run(Store(folder), run.rows, run.sets, run.manifest, run.plan)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_the_same_and_computed_once(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "LARGE", 10**9)
        expected = text(KINDS[kind](read(store, folder)))
    assert not list(folder.iterdir()) and len(expected) > 10
    assert text(KINDS[kind](read(store, folder))) == expected
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.json")] == [f"statistics/{kind}.json"]
    monkeypatch.setattr(compare, "compare", lambda *args, **named: pytest.fail("computed again"))
    assert text(KINDS[kind](read(store, folder))) == expected


def test_other_rows_directions_and_code_have_figures_of_their_own(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = read(store, folder)
    first = text(run.inversions)
    rows = run.rows.copy()
    place = rows.index[rows["edit"].isna() & rows["quality0@native"].notna()][0]
    rows.loc[place, "quality0@native"] *= 1 + 1e-12
    changed = Run(run.store, rows, run.sets, run.manifest, run.plan)
    assert text(changed.inversions) == text(compare.compare([one.block for one in changed.inversions], run.better, flips=9999))
    manifest = {**run.manifest, "metrics": {id: {**raw, "better": "higher"} for id, raw in run.manifest["metrics"].items()}}
    assert text(Run(run.store, run.rows, run.sets, manifest, run.plan).inversions) != first
    assert text(read(store, folder).inversions) == first
    monkeypatch.setattr(stats, "RESAMPLES", 99)
    monkeypatch.setattr(compare, "compare", lambda *args, **named: [])
    assert read(store, folder).inversions == []  # and so it is for another number of resamples


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-9], lambda data: data.replace(b"0.0", b"0.1", 1)])
def test_a_damaged_file_is_made_anew(store: Store, folder: Path, damage: Callable[[bytes], bytes]) -> None:
    expected = text(read(store, folder).inversions)
    path = folder / "statistics" / "inversions.json"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    assert text(read(store, folder).inversions) == expected
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise WriteFailed(f"{path}: could not be written: No space left on device")

    monkeypatch.setattr(kept, "write_atomic", full)
    assert text(read(store, folder).inversions) == text(read(store, folder).inversions)
    assert isinstance(read(store, folder).rows, pd.DataFrame) and not list(folder.iterdir())
