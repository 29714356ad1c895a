"""Pictures written behind the next computation: the same files, bounded, no error lost, nobody writes after the end."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest

from invbench.util import behind
from invbench.util.behind import Behind
from invbench.util.files import WriteFailed
from invbench.util.images import encode_png

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)
PATIENCE = 20  # seconds, for a thread that has nothing to wait for


class Disk:
    """A disk that writes nothing before it may, and fails where it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may, self.begun, self.full = threading.Event(), threading.Event(), False
        self.written: list[str] = []
        monkeypatch.setattr(behind, "write_all", self.write_all)

    def write_all(self, files: dict[Path, bytes]) -> None:
        self.begun.set()
        assert self.may.wait(PATIENCE)
        if self.full:
            raise WriteFailed("no room")
        self.written += [path.name for path in files]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_files_and_their_digests(tmp_path: Path) -> None:
    paths = [tmp_path / "folder" / f"{i}.png" for i in range(4)]
    with Behind() as one:
        one.write(dict(zip(paths[:3], PICTURES)))
        one.write({paths[3]: PICTURES[3][..., 0]})
        digests = one.finish()
    expected = [encode_png(picture) for picture in (*PICTURES[:3], PICTURES[3][..., 0])]
    assert [path.read_bytes() for path in paths] == expected
    assert digests == {path: hashlib.sha256(data).hexdigest() for path, data in zip(paths, expected)}


def test_one_batch_waits_and_no_more(disk: Disk) -> None:
    with Behind() as one:
        one.write({Path("first"): PICTURES[0]})
        one.write({Path("second"): PICTURES[1]})
        third = threading.Thread(target=one.write, args=({Path("third"): PICTURES[2]},))
        third.start()
        assert disk.begun.wait(PATIENCE)
        third.join(0.1)
        assert third.is_alive() and not disk.written
        disk.may.set()
        third.join(PATIENCE)
        one.finish()
    assert disk.written == ["first", "second", "third"]


def test_any_number_of_batches_waits_if_it_may(disk: Disk) -> None:
    with Behind(bounded=False) as one:
        for number, picture in enumerate(PICTURES):
            one.write({Path(f"{number}"): picture})
        assert not disk.written
        disk.may.set()
        one.finish()
    assert disk.written == ["0", "1", "2", "3"]


def test_an_error_is_told_by_whatever_comes_next(disk: Disk) -> None:
    disk.full = True
    disk.may.set()
    with Behind() as one:
        one.write({Path("first"): PICTURES[0]})
        one.write({Path("second"): PICTURES[1]})
        with pytest.raises(WriteFailed, match="no room"):
            one.write({Path("third"): PICTURES[2]})
        for _ in range(2):  # and never forgotten
            with pytest.raises(WriteFailed, match="no room"):
                one.finish()


def test_nobody_writes_after_an_interrupt(disk: Disk) -> None:
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt), Behind() as one:
        one.write({Path("first"): PICTURES[0]})
        one.write({Path("second"): PICTURES[1]})
        assert disk.begun.wait(PATIENCE)
        threading.Timer(0.05, disk.may.set).start()
        raise KeyboardInterrupt
    assert disk.written == ["first"]  # what was being written is whole, what had not begun is dropped
    assert threading.active_count() <= threads + 1  # the timer's, if any
