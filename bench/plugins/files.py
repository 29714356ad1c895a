"""The files of the configuration as plain tables, before they are checked against the models of :mod:`invbench.plugins.config`.

The package holds ``suites/<id>.toml`` (one suite each), ``networks.toml`` (sets of networks that suites inherit),
``groups.toml`` (groups of metrics) and ``sweeps.toml``. A user's ``bench.toml``, or the file of ``--config`` instead, may hold
the tables ``[defaults]``, ``[suites.<id>]``, ``[networks.<set>]``, ``[groups]``, ``[methods.<id>]``
(:mod:`invbench.plugins.foreign`; the package has none) and ``[[sweep]]`` (:mod:`invbench.plugins.sweeps`). It overrides the
package key by key, so it holds only what differs; the ``datasets`` of a suite are added to those of the package, and sweeps
replace those of the same name. Paths of weights and of folders of pictures are
relative to the folder of the file that names them.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError
from invbench.util.names import PACKAGE, unknown

SUITES, NETWORKS, GROUPS = PACKAGE / "suites", PACKAGE / "networks.toml", PACKAGE / "groups.toml"
SWEEPS = PACKAGE / "sweeps.toml"
NAME = "bench.toml"  # looked for in the working directory
TABLES = ("defaults", "groups", "methods", "networks", "suites", "sweep")
LISTS = ("sweep",)  # those that are lists of tables
FORMS = ("class", "asset", "loader")  # a complete network has exactly one of these keys


def here() -> Path | None:
    """``bench.toml`` in the working directory; None if there is none."""
    path = Path(NAME)
    return path if path.is_file() else None


def tables(extra: Path | None = None) -> dict[str, Any]:
    """``defaults``, ``groups`` and ``suites`` of the package, overridden by ``extra``; networks are inherited.

    Raises InvbenchError naming the file and the key for a file that is missing or not TOML, for an unknown top-level key, and
    for an unknown set of networks.
    """
    base = packaged()
    merged = overlay(base, {} if extra is None else read(extra))
    source = "suites" if extra is None else str(extra)
    for name, suite in _inner(source, "suites", merged["suites"]):
        suite["networks"] = _networks(f"{source}: suites.{name}", suite, merged["networks"])
        known, own = base["suites"].get(name, {}).get("datasets", []), suite.get("datasets")
        if isinstance(own, list):  # added to those of the suite, since its collections name them
            suite["datasets"] = list(dict.fromkeys([*known, *own]))
    return merged


def packaged() -> dict[str, Any]:
    """The package's own tables."""
    suites = {path.stem: _parse(path) for path in sorted(SUITES.glob("*.toml"))}
    for name, suite in suites.items():
        _locate(SUITES / f"{name}.toml", "networks", suite.get("networks", {}), folder=PACKAGE)
    return {"defaults": {}, "groups": _parse(GROUPS), "networks": _parse(NETWORKS), "suites": suites}


def groups(extra: Path | None = None) -> dict[str, Any]:
    """The table ``groups`` of :func:`tables`, without reading any suite."""
    return overlay(_parse(GROUPS), {} if extra is None else read(extra).get("groups", {}))


def sweeps(extra: Path | None = None) -> list[tuple[Path, list[Any]]]:
    """The tables ``[[sweep]]`` of the package's file and of a user's, each with its file."""
    return [(SWEEPS, _parse(SWEEPS)["sweep"]), *([] if extra is None else [(extra, read(extra).get("sweep", []))])]


def read(path: Path) -> dict[str, Any]:
    """The tables of a user's file, with the paths of weights made absolute."""
    found = _parse(path)
    for key in found:
        if key not in TABLES:
            raise InvbenchError(f"{path}: {unknown('key', key, TABLES)}")
        if not isinstance(found[key], list if key in LISTS else dict):
            expected = f"tables [[{key}]]" if key in LISTS else "a table"
            raise InvbenchError(f"{path}: {key}: expected {expected}, found {found[key]!r:.200}")
    folder = path.resolve().parent
    for name, suite in _inner(path, "suites", found.get("suites", {})):
        _locate(path, f"suites.{name}.networks", suite.get("networks", {}), folder=folder)
        _locate_pictures(suite, folder=folder)
    for name, networks in _inner(path, "networks", found.get("networks", {})):
        _locate(path, f"networks.{name}", networks, folder=folder)
    return found


def sources(suite: str, extra: Path | None) -> dict[str, str]:
    """Configuration file -> sha256, for the files read for a suite; files of the package by their path within it."""
    paths = {path.relative_to(PACKAGE).as_posix(): path for path in (SUITES / f"{suite}.toml", NETWORKS, GROUPS)}
    paths |= {} if extra is None else {str(extra): extra}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items() if path.is_file()}


def overlay(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``extra``; tables are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _networks(place: str, suite: Mapping[str, Any], sets: Mapping[str, Any]) -> dict[str, Any]:
    """The suite's networks by role: its own override those of the sets that it inherits.

    An own table with a class, an asset or a loader replaces the inherited network; one without changes some of its keys.
    """
    inherited: dict[str, Any] = {}
    names = suite.get("inherits", [])
    if not isinstance(names, list):
        raise InvbenchError(f"{place}.inherits: expected a list of sets of networks, found {names!r}")
    for name in names:
        if name not in sets:
            raise InvbenchError(f"{place}.inherits: {unknown('set of networks', name, sets)}")
        inherited |= sets[name]
    own = suite.get("networks", {})
    changes = {role: table for role, table in own.items() if not any(form in table for form in FORMS)}
    return overlay(inherited | {role: table for role, table in own.items() if role not in changes}, changes)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a byte-order mark
    except OSError as error:
        raise InvbenchError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvbenchError(f"{path}: not a TOML file: {error}") from error


def _locate(path: Path, place: str, networks: Any, *, folder: Path) -> None:
    """Make paths of weights, which are relative to ``folder``, absolute."""
    for _, network in _inner(path, place, networks):
        if isinstance(network.get("weights"), str):
            network["weights"] = str((folder / network["weights"]).absolute())


def _locate_pictures(suite: dict[str, Any], *, folder: Path) -> None:
    """Make folders of pictures among a suite's datasets and collections, which begin with ``./`` or ``../``, absolute."""

    def located(item: Any) -> Any:
        return str((folder / item).absolute()) if isinstance(item, str) and item.startswith(("./", "../")) else item

    collections = suite.get("collections")
    for table, key in ((suite, "datasets"), *((collections, key) for key in collections or {})):
        if isinstance(table, dict) and isinstance(table.get(key), list):
            table[key] = [located(item) for item in table[key]]


def _inner(path: Path | str, place: str, outer: Any) -> Iterable[tuple[str, dict[str, Any]]]:
    if not isinstance(outer, dict):
        raise InvbenchError(f"{path}: {place}: expected a table, found {outer!r}")
    for key, value in outer.items():
        if not isinstance(value, dict):
            raise InvbenchError(f"{path}: {place}.{key}: expected a table, found {value!r}")
        yield key, value
