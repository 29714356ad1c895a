"""Cache of what verbs that only read answer on large runs: the same question about the same bytes is not computed twice.

``INVBENCH_HOME/answers/<question>.json`` holds an answer. Its first line holds the sha256 of all that the answer depends on
(the tables of the runs, the options, the code and its libraries) and that of the answer itself. Whatever else was read to make
it, and every file that it wrote, must have the bytes that it had then. If anything differs, or the file is damaged, the answer
is computed again; a file that cannot be written is left out. The cache is the user's own: a stranger's run folder brings none.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from invbench.util.cache import home
from invbench.util.files import WriteFailed, write_atomic
from invbench.util.names import PACKAGE

FOLDER = "answers"
LARGE = 2**22  # bytes of tables of runs; for fewer, computing is fast enough
MOST = 64  # answers; the oldest go first
TABLES = (
    "plan.json", "manifest.json", "sets.parquet", "edit_sets.json",
    "rows/*/*.parquet", "latency/*.parquet", "curves/*/*.parquet", "truths/*.json",
)  # fmt: skip
CODE = ("*.py", "compare/**/*", "util/**/*", "cli/**/*", "reports/**/*")  # of the package: what reads, and what it reads there
LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "duckdb", "jinja2", "tabulate", "click")


@dataclass(frozen=True)
class Answer:
    """What a verb gives.

    texts    by name, for the terminal or files that the user names
    code     the exit code
    read     files and folders that it looked at, besides the tables of its runs
    written  files that it wrote; they must stay as they are for the answer to be used again
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    code: int = 0
    read: Sequence[Path] = ()
    written: Sequence[Path] = ()


def kept(verb: str, runs: Sequence[Path], asked: Sequence[object], work: Callable[[], Answer]) -> Answer:
    """``work()``, or what it gave earlier for the same options ``asked`` of the same runs (folders, or files).

    Nothing is kept where a run changes while ``work`` reads it. Raises what ``work`` raises.
    """
    tables = [path for run in runs for path in _tables(run)]
    if sum(map(_size, tables)) < LARGE:
        return work()
    question = json.dumps([verb, [os.path.realpath(run) for run in runs], [str(run) for run in runs], asked], default=str)
    path = home() / FOLDER / f"{_digest(question.encode())[:32]}.json"
    key = _key(question, runs)
    with suppress(OSError, ValueError, KeyError, TypeError):
        head, _, body = path.read_bytes().partition(b"\n")
        if head == _head(key, body):
            return _restored(json.loads(body))
    answer = work()
    body = _plain(answer)
    if _key(question, runs) == key:
        with suppress(WriteFailed, OSError):  # a full disk, or one that is read-only
            write_atomic(path, _head(key, body) + b"\n" + body)
            _tidy(path.parent)
    return answer


def _restored(raw: Mapping[str, Any]) -> Answer:
    """Raises ValueError if a file changed."""
    for kind in ("read", "written"):
        for place, state in raw[kind].items():
            if _state(Path(place)) != state:
                raise ValueError(f"{place} changed")
    read, written = (tuple(map(Path, raw[kind])) for kind in ("read", "written"))
    return Answer(raw["texts"], raw["code"], read, written)


def _plain(answer: Answer) -> bytes:
    states = {kind: {str(path.absolute()): _state(path) for path in getattr(answer, kind)} for kind in ("read", "written")}
    return json.dumps({"texts": dict(answer.texts), "code": answer.code, **states}).encode()


def _head(key: str, body: bytes) -> bytes:
    return f"{key} {_digest(body)}".encode()


def _key(question: str, runs: Sequence[Path]) -> str:
    libraries = [sys.version, *(f"{name} {version(name)}" for name in LIBRARIES)]
    tables = [(str(path), os.path.realpath(path), _state(path)) for run in runs for path in _tables(run)]
    return _digest(json.dumps([question, libraries, _code(), tables]).encode())


def _tables(run: Path) -> list[Path]:
    if run.is_file():
        return [run]
    return [path for pattern in TABLES for path in sorted(run.glob(pattern))]


def _code() -> list[tuple[str, str]]:
    return [(str(path.relative_to(PACKAGE)), _state(path)) for path in _sources()]


def _sources() -> Iterator[Path]:
    for pattern in CODE:
        yield from (path for path in sorted(PACKAGE.glob(pattern)) if path.is_file() and path.suffix != ".pyc")


def _state(path: Path) -> str:
    """sha256 of a file; of a folder, of the names in it and of what they are; "" for what is not there."""
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                found = sorted((one.name, one.is_symlink(), one.is_dir()) for one in entries)
            return _digest(json.dumps([os.path.realpath(path), found]).encode())
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tidy(folder: Path) -> None:
    found = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in found[:-MOST]:
        path.unlink(missing_ok=True)
