"""The list ``assets.toml`` of all official files that methods and metrics of this project can use."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from invbench.api import InvbenchError
from invbench.plugins.config import Finite, Frozen, Whole
from invbench.util import names
from invbench.util.names import unknown
from invbench.weights.layouts import LAYOUTS

FILE = names.PACKAGE / "assets.toml"
DRIVE = "drive:"  # prefix of an address that names a file on Google Drive by its id
PACKAGE = "package:"  # prefix of an address in an installed package: package:NAME/path/in/it


class Licence(Frozen):
    """Terms of use of files; shown to the user, who must accept them once before the first download."""

    title: str
    page: str
    summary: str


class Asset(Frozen):
    """One official file.

    address   direct address: ``https://...``, ``drive:ID``, ``package:NAME/path``; "" = unknown, get it from ``page`` by hand
    file      the name under which it is published and stored
    layouts   the layouts in which this network is published; a file of another layout is not this asset
    part      the part of the layout that is used by default; "" = the layout's first
    facts     further conditions on the file (:func:`invbench.weights.layouts.recognise`)
    sha256    whole digests, or their published first digits; empty = none is published
    md5       the same for MD5, if only an MD5 is published
    beside    name of the loader's argument -> another asset that it needs
    domain    domain of the pictures; None = any domain
    """

    id: str
    title: str
    page: str
    address: str = Field(default="", pattern=r"^(|https://\S+|drive:[\w-]{10,}|package:\w+/[\w./-]+)$")
    file: str = Field(pattern=r"^[\w][\w.+-]*$")
    licence: str
    size: Whole | None = Field(default=None, gt=0)  # exact number of bytes
    about: Finite | None = Field(default=None, gt=0)  # megabytes, estimated from the layout
    sha256: tuple[str, ...] = ()
    md5: str = ""
    layouts: tuple[str, ...] = Field(min_length=1)
    part: str = ""
    facts: dict[str, Any] = {}
    beside: dict[str, str] = {}
    domain: str | None = None
    resolution: Whole | None = None
    note: str = ""

    @model_validator(mode="after")
    def _names_exist(self) -> Asset:
        for layout in self.layouts:
            if layout not in LAYOUTS:
                raise ValueError(f"layouts: {unknown('layout', layout, LAYOUTS)}")
        if not all(set(digits) <= set("0123456789abcdef") and 8 <= len(digits) <= 64 for digits in self.sha256):
            raise ValueError(f"sha256: expected 8 to 64 hexadecimal digits, found {self.sha256}")
        return self

    @property
    def published(self) -> str | None:
        """The published sha256, if exactly one is published and all 64 digits of it are; else None."""
        return self.sha256[0] if len(self.sha256) == 1 and len(self.sha256[0]) == 64 else None


class Catalogue(Frozen):
    """The content of ``assets.toml``."""

    licences: dict[str, Licence]
    assets: dict[str, Asset]

    @model_validator(mode="after")
    def _names_exist(self) -> Catalogue:
        for id, asset in self.assets.items():
            if asset.licence not in self.licences:
                raise ValueError(f"assets.{id}: {unknown('licence', asset.licence, self.licences)}")
            for other in asset.beside.values():
                if other not in self.assets:
                    raise ValueError(f"assets.{id}.beside: {unknown('asset', other, self.assets)}")
        return self

    def find(self, id: str) -> Asset:
        """The asset ``id``. Raises InvbenchError naming the nearest id if there is none."""
        if id not in self.assets:
            raise InvbenchError(unknown("asset", id, self.assets))
        return self.assets[id]


@cache
def catalogue(path: Path = FILE) -> Catalogue:
    """Read the list of assets. Raises InvbenchError naming the file and the wrong key."""
    try:
        tables: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        assets = {id: {**table, "id": id} for id, table in tables.get("assets", {}).items()}
        return Catalogue.model_validate({**tables, "assets": assets})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
        raise InvbenchError(f"{path}: cannot read the list of assets: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvbenchError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from error
