"""``INVBENCH_HOME/weights.lock.json``: the digests of fetched and added files, and the accepted licences.

assets    id -> sha256 of the file that was fetched, or that the user said it is; a later fetch must give the same
licences  id -> when it was accepted
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError
from invbench.util.cache import home
from invbench.util.files import write_atomic

NAME = "weights.lock.json"


class Ledger:
    """The lock file of a home folder; every change is written at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or home()) / NAME
        content = read_json(self.path)
        self.assets: dict[str, dict[str, Any]] = dict(content.get("assets", {}))
        self.licences: dict[str, Any] = dict(content.get("licences", {}))

    def sha256(self, id: str) -> str | None:
        """The digest that the asset's file must have, once it was fetched or added."""
        return self.assets.get(id, {}).get("sha256")

    def says(self, sha256: str) -> list[str]:
        """Ids of the assets that a file of this digest was fetched as, or added as."""
        return [id for id, entry in self.assets.items() if entry.get("sha256") == sha256]

    def record(self, id: str, *, sha256: str, size: int, source: str) -> None:
        """Record the digest that an asset must have from now on. ``source``: its address, or "added by hand"."""
        self.assets[id] = {"sha256": sha256, "size": size, "source": source, "when": _now()}
        self._write()

    def accept(self, licence: str) -> None:
        """Record that the user accepts a licence."""
        self.licences[licence] = {"accepted": _now()}
        self._write()

    def _write(self) -> None:
        content = {"format": 1, "assets": self.assets, "licences": self.licences}
        write_atomic(self.path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON file's dictionary; empty if there is no file. Raises InvbenchError if it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvbenchError(f"{path}: expected a JSON file, found an unreadable one: {error}") from error
    if not isinstance(content, dict):
        raise InvbenchError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
