"""The folders that are searched for weights files, and which file in them is which asset.

Files may have any name. A file is recognised by its sha256 (published, or recorded when it was fetched or added), else by its
layout. Opening a file is slow, so the results are kept in ``INVBENCH_HOME/weights.index.json`` while size and modification time
stay the same; the index can be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError, MissingWeights
from invbench.util.cache import caches, home
from invbench.util.files import WriteFailed, write_atomic
from invbench.util.provenance import file_digest
from invbench.weights.catalogue import PACKAGE, Asset, Catalogue, catalogue
from invbench.weights.checkpoints import load_checkpoint
from invbench.weights.facts import HINTS
from invbench.weights.keys import plain
from invbench.weights.ledger import Ledger, read_json

FOLDER = "weights"
INDEX, FORMAT = "weights.index.json", 2
REMOVED = "taken without"  # the fact that something was before the names of a file's tensors: what it was
SUFFIXES = (".part", ".json", ".md", ".txt")  # of files that are not weights


@dataclass(frozen=True)
class Found:
    """One file of the folders.

    layout, facts  from :func:`invbench.weights.layouts.recognise`; layout "" if it recognises none
    problem        why the file cannot be read, "" if it can
    """

    path: Path
    size: int
    changed: int  # nanoseconds
    sha256: str
    layout: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Match:
    """The assets of a file: ``assets`` are the ids that fit; one = it is that asset, more = its layout is ambiguous.

    ``problem`` is the reason if there is not exactly one.
    """

    found: Found
    assets: tuple[str, ...]
    problem: str = ""

    @property
    def id(self) -> str | None:
        """The asset that the file is; None unless exactly one fits."""
        return self.assets[0] if len(self.assets) == 1 and not self.problem else None


class WeightsCache:
    """The weights on this machine; reads the folders on first use."""

    def __init__(self, *, listed: Catalogue | None = None) -> None:
        self.catalogue = listed or catalogue()
        self.ledger = Ledger()
        self._matches: list[Match] | None = None
        self._index: dict[str, Found] | None = None

    @property
    def folder(self) -> Path:
        """The folder to which weights are written: ``INVBENCH_HOME/weights``."""
        return home() / FOLDER

    @property
    def folders(self) -> list[Path]:
        """The searched folders, in order: ``weights`` of each shared cache, or the cache itself, then INVBENCH_HOME."""
        shared = [cache / FOLDER if (cache / FOLDER).is_dir() else cache for cache in caches()]
        return [*shared, self.folder]

    def matches(self) -> list[Match]:
        """Every file of the folders, with its asset."""
        if self._matches is None:
            self._matches = [self.match(found) for found in self._scan()]
        return self._matches

    def find(self, id: str) -> Found:
        """The file of an asset.

        Raises MissingWeights, naming the asset, the folders and the command that gets it, and InvbenchError for an
        asset that is not listed.
        """
        asset = self.catalogue.find(id)
        for match in self.matches():
            if match.id == id:
                return match.found
        packaged = self._in_package(asset)
        if packaged is not None:
            return packaged
        unsure = [match for match in self.matches() if id in match.assets]
        near = "".join(f"; {match.found.path}: {match.problem}" for match in unsure)
        places = ", ".join(map(str, self.folders))
        raise MissingWeights(f"weights missing: {id} ({asset.title}); looked in {places}; `{self.command(asset)}`{near}")

    def command(self, asset: Asset) -> str:
        """The command that fetches an asset, or registers one that must be downloaded by hand."""
        return f"invbench weights get {asset.id}" if asset.address else f"invbench weights add FILE --as {asset.id}"

    def match(self, found: Found) -> Match:
        """The asset of a file: by its recorded sha256, by a published one, or by its layout."""
        said = [id for id in self.ledger.says(found.sha256) if id in self.catalogue.assets]
        if said:
            return Match(found, tuple(said[:1]))
        if found.problem:
            return Match(found, (), found.problem)
        if not found.layout:
            return Match(found, (), "its tensors are those of no listed asset")
        fitting = [asset for asset in self.catalogue.assets.values() if misfit(asset, found) is None]
        hashed = [asset for asset in fitting if any(found.sha256.startswith(digits) for digits in asset.sha256)]
        # A file with the layout of an asset but not its published digest is a different file.
        open_ = hashed or [asset for asset in fitting if not asset.sha256]
        ids = tuple(asset.id for asset in open_)
        if not ids:
            near = ", ".join(asset.id for asset in fitting)
            problem = f"looks like {near}, whose published sha256 differs" if near else _strange(found)
            return Match(found, tuple(asset.id for asset in fitting), problem)
        if len(ids) > 1:
            return Match(found, ids, f"its layout fits {', '.join(ids)}; say which: invbench weights add FILE --as ID")
        other = self.ledger.sha256(ids[0])
        if other is not None:
            return Match(found, ids, f"looks like {ids[0]}, which was fetched or added with another sha256 ({other[:12]}...)")
        return Match(found, ids)

    def inspect(self, path: Path) -> Found:
        """The content of a file: from the index if size and modification time are unchanged, else by opening it safely."""
        stat = path.stat()
        known = self._known().get(str(path))
        if known is None or (known.size, known.changed) != (stat.st_size, stat.st_mtime_ns):
            known = _opened(path, stat.st_size, stat.st_mtime_ns)
            self._known()[str(path)] = known
        return known

    def moved(self, found: Found, target: Path) -> Found:
        """The same file under a new path, which need not be opened again; the folders are looked at again when next asked."""
        self._matches = None
        del self._known()[str(found.path)]
        self._known()[str(target)] = replace(found, path=target, changed=target.stat().st_mtime_ns)
        self._write()
        return self._known()[str(target)]

    def forget(self) -> None:
        """Search the folders again at the next use."""
        self._matches = None

    def _scan(self) -> list[Found]:
        before = dict(self._known())
        found = [self.inspect(path) for folder in self.folders for path in _files(folder)]
        for path in [path for path in self._known() if not Path(path).is_file()]:
            del self._known()[path]
        if self._known() != before:
            self._write()
        return found

    def _known(self) -> dict[str, Found]:
        """The index, by path. A damaged index is rebuilt."""
        if self._index is None:
            self._index = {}
            with suppress(InvbenchError, TypeError, AttributeError):
                content = read_json(home() / INDEX)
                entries = content.get("files", {}) if content.get("format") == FORMAT else {}
                self._index = {path: Found(Path(path), **entry) for path, entry in entries.items()}
        return self._index

    def _write(self) -> None:
        entries = {path: {k: v for k, v in asdict(one).items() if k != "path"} for path, one in self._known().items()}
        with suppress(WriteFailed):  # without a writable home only time is lost
            write_atomic(home() / INDEX, json.dumps({"format": FORMAT, "files": entries}, indent=1).encode() + b"\n")

    def _in_package(self, asset: Asset) -> Found | None:
        path = packaged(asset)
        return None if path is None or not path.is_file() else self.inspect(path)


def _opened(path: Path, size: int, changed: int) -> Found:
    digest = file_digest.__wrapped__(path)  # not memoised: the file may have changed since
    try:
        _, told, removed = plain(load_checkpoint(path, mmap=True))
    except InvbenchError as error:
        return Found(path, size, changed, digest, problem=str(error).removeprefix(f"{path}: "))
    if told is None:
        return Found(path, size, changed, digest)
    return Found(path, size, changed, digest, told.layout, told.facts | ({REMOVED: removed} if removed else {}))


def packaged(asset: Asset) -> Path | None:
    """The path of an asset's file in an installed package; None for another kind of address, or without the package."""
    if not asset.address.startswith(PACKAGE):
        return None
    from importlib.util import find_spec

    name, _, inside = asset.address.removeprefix(PACKAGE).partition("/")
    spec = find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) / inside if places else None


def misfit(asset: Asset, found: Found, *, said: bool = False) -> str | None:
    """Why a file cannot be the asset, None if it can. With ``said`` facts from training options are not checked."""
    if found.layout not in asset.layouts:
        return f"expected the layout {' or '.join(asset.layouts)}, found {found.layout or 'none that is known'}"
    expected = dict(asset.facts)
    if asset.domain is not None:
        expected["domain"] = asset.domain
    if asset.resolution is not None:
        expected["resolution"] = asset.resolution
    for key, value in expected.items():
        if key in found.facts and found.facts[key] != value and not (said and key in HINTS):
            return f"{key}: expected {value}, found {found.facts[key]}"
    extra = [key for key in ("task",) if key in found.facts and key not in expected and not said]
    return f"a network for another task ({found.facts['task']})" if extra else None


def _strange(found: Found) -> str:
    facts = ", ".join(f"{key} {value}" for key, value in found.facts.items())
    return f"no listed asset is of layout {found.layout}" + (f" with {facts}" if facts else "")


def _files(folder: Path) -> Iterator[Path]:
    try:
        paths: Iterable[Path] = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if not path.name.startswith(".") and path.suffix not in SUFFIXES and path.is_file():
            yield path
