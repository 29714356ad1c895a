"""The same seed twice: every file of a run has the same bytes, but for times and dates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invbench import schema
from invbench.run.runner import run
from invbench.store import Store

TIMED = ("seconds.", "memory.", "latency.")
DATED = ("started", "finished", "seconds", "command")  # of the manifest


def _without_times(path: Path, folder: Path) -> Any:
    """What of a file must be the same: its bytes, or its content without what measures the machine."""
    place = path.relative_to(folder).as_posix()
    store = Store(folder)
    if place == "manifest.json":
        return {name: value for name, value in store.manifest.items() if name not in DATED}
    if place.startswith("rows/"):
        (part,) = [one for one in store.whole_parts(path.parent.name) if one.name == path.stem]
        return repr([{k: v for k, v in row.items() if not k.startswith(TIMED)} for row in part.rows]), part.metrics
    if place.startswith("latency/"):
        rows = store.latency()
        return rows[[name for name in rows.columns if not schema.is_latency(name)]].to_csv()
    return path.read_bytes()


def _content(folder: Path) -> dict[str, Any]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): _without_times(path, folder) for path in files}


def test_f75_every_file_of_two_runs_is_the_same(make_settings, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        assert run(make_settings(images=5, latency=1, out=folder), progress=False) == 0
    one, two = map(_content, folders)
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []
    assert sum(isinstance(value, bytes) for value in one.values()) > 35  # most are compared byte by byte


def test_f75_a_finished_run_leaves_its_files_as_they_are(make_settings):
    settings = make_settings(images=5, latency=1)
    assert run(settings, progress=False) == 0
    before = {path: path.read_bytes() for path in settings.out.rglob("*") if path.is_file() and path.name != "manifest.json"}
    assert run(settings, progress=False) == 0
    assert {path: path.read_bytes() for path in before} == before
