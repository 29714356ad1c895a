"""Folders on object stores: copied safely, only where they changed, with one line for everything that goes wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from invbench.api import InvbenchError
from invbench.util import remote
from invbench.util.files import WriteFailed
from invbench.util.remote import Remote, fetch, is_address, is_plain


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's file system in memory, empty, and a cache in a folder of the test."""
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    found = fsspec.filesystem("memory")
    found.store.clear()
    found.pseudo_dirs[:] = [""]
    yield found
    found.store.clear()


def every(name: str) -> bool:
    return True


def copy(address: str = "memory://bucket/folder") -> Path:
    return fetch(address, kind="pictures", wanted=every)


def held(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_only_what_changed_is_read_again(memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe({"/bucket/folder/a": b"one", "/bucket/folder/deep/b c": b"two", "/bucket/folderish/x": b"not below"})
    folder, asked = copy(), []
    assert held(folder) == {"a": b"one", "deep/b c": b"two"}
    read = Remote.read
    monkeypatch.setattr(Remote, "read", lambda self, name, size: asked.append(name) or read(self, name, size))
    assert copy() == folder and asked == []
    memory.pipe("/bucket/folder/a", b"ONE")  # as long as before
    memory.rm("/bucket/folder/deep/b c")
    assert held(copy()) == {"a": b"ONE"} and asked == ["a"]
    (folder / "a").write_bytes(b"torn")
    assert held(copy()) == {"a": b"ONE"}


HOSTILE = ["../up", "a/../../up", "/etc/x", "a//b", ".hidden", "a/.ssh/x", "back\\slash", "new\nline", "nul\0", "c:x", "."]
HOSTILE += ["a" * 300]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_elsewhere_is_no_name(name: str) -> None:
    assert not is_plain(name)
    assert is_plain("a b/Größe@age+3.png") and not is_plain("/".join("a" * 20))


def test_files_of_a_stranger_stay_below_the_cache(memory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memory.pipe("/bucket/folder/fine", b"fine")
    listed = {f"/bucket/folder/{name}": {"size": 4, "type": "file"} for name in HOSTILE} | {"/elsewhere": {"size": 4}}
    listed["/bucket/folder/fine"] = {"size": 4}
    monkeypatch.setattr(type(memory), "find", lambda self, root, **more: listed)
    before = {path for path in tmp_path.rglob("*") if "home" not in path.parts}
    assert held(copy()) == {"fine": b"fine"}
    assert {path for path in tmp_path.rglob("*") if "home" not in path.parts} == before


@pytest.mark.parametrize(("size", "told"), [(3, "the 3 bytes that were listed, found more"), (9, "9 bytes .* found 4")])
def test_a_file_of_another_size_than_listed_is_refused(memory, monkeypatch, size: int, told: str) -> None:
    memory.pipe("/bucket/folder/a", b"four")
    monkeypatch.setattr(type(memory), "find", lambda self, root, **more: {"/bucket/folder/a": {"size": size}})
    with pytest.raises(InvbenchError, match=f"memory://bucket/folder/a: .*{told}"):
        copy()


def test_more_than_fits_on_the_disk_is_refused_before_anything_is_read(memory, monkeypatch) -> None:
    monkeypatch.setattr(type(memory), "find", lambda self, root, **more: {"/bucket/folder/a": {"size": 10**18}})
    monkeypatch.setattr(Remote, "read", lambda self, name, size: pytest.fail("read"))
    with pytest.raises(InvbenchError, match=r"memory://bucket/folder: expected files that fit, found 1e\+09 GB"):
        copy()


def test_a_link_in_the_cache_is_not_written_through(memory, tmp_path: Path) -> None:
    memory.pipe("/bucket/folder/deep/a", b"one")
    folder = Remote("memory://bucket/folder").folder("pictures")
    folder.mkdir(parents=True)
    (tmp_path / "victim").mkdir()
    (folder / "deep").symlink_to(tmp_path / "victim")
    with pytest.raises(WriteFailed, match="found a link"):
        copy()
    assert not list((tmp_path / "victim").iterdir())


@pytest.mark.parametrize(
    "address",
    ["http://host/x", "ssh://host/x", "simplecache::memory://x", "memory://a::file:///etc", "s3://", "zip://x::http://y", "memory:///"],
)
def test_other_addresses_are_refused(memory, address: str) -> None:
    if is_address(address):
        with pytest.raises(InvbenchError, match="expected the address of a folder .*, found another"):
            Remote(address)


def test_what_goes_wrong_is_one_line(memory, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvbenchError, match="memory://bucket/none: expected a bucket and folder with pictures in it"):
        copy("memory://bucket/none")
    registry = importlib.import_module("fsspec.registry")  # a name of fsspec is another thing
    for protocol, package in (("s3", "s3fs"), ("gs", "gcsfs")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(registry._registry, protocol, raising=False)
        with pytest.raises(InvbenchError, match=rf"{protocol}://bucket/x: expected the package {package} \(pip install invb"):
            Remote(f"{protocol}://bucket/x")

    def refuse(error: Exception):
        def find(self, root, **more):
            raise error

        monkeypatch.setattr(type(memory), "find", find)

    for error, told in [
        (PermissionError("403"), "could not be listed: no right to do that"),
        (RuntimeError("An error (AccessDenied) when\ncalling"), "could not be listed: no right to do that"),
        (RuntimeError("Unable to locate credentials"), "could not be listed: no credentials found"),
        (ValueError("two\nlines"), "could not be listed: ValueError: two lines$"),
    ]:
        refuse(error)
        with pytest.raises(InvbenchError, match=f"memory://bucket/folder: {told}"):
            copy()


def test_a_password_is_not_repeated(memory) -> None:
    assert Remote("memory://me:secret@bucket/folder").told == "memory://bucket/folder"
    with pytest.raises(InvbenchError) as told:
        Remote("http://me:secret@host/x")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_written_files_are_whole_and_refusals_are_told(memory, protocol: str, tmp_path: Path, monkeypatch) -> None:
    place = tmp_path / "store"
    there = Remote(f"{protocol}://{place}")
    there.write({"rows/a": b"1", "rows/b": b"2"})
    assert {name: one.size for name, one in there.listing(every).items()} == {"rows/a": 1, "rows/b": 1}
    there.remove(["rows/a", "rows/none"])
    assert list(there.listing(every)) == ["rows/b"] and there.read("rows/b", 1) == b"2"

    def refuse(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(memory), "pipe_file", refuse)
    monkeypatch.setattr(remote, "write_all", refuse)
    with pytest.raises(WriteFailed, match=rf"{protocol}://.*: could not be written: OSError: .*No space"):
        there.write({"rows/c": b"3"})
