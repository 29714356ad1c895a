"""``assets.toml``: every official file that a method or a metric of this project can use."""

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
DRIVE = "drive:"  # an address of this form names a file on Google Drive by its id
PACKAGE = "package:"  # one of this form lies in an installed package: package:NAME/path/in/it


class Licence(Frozen):
    """Terms under which a file may be used; shown and accepted once before a file under them is fetched."""

    title: str
    page: str
    summary: str


class Asset(Frozen):
    """One official file.

    address   direct: ``https://...``, ``drive:ID``, ``package:NAME/path``; "" = none is known, get it from ``page`` by hand
    file      the name under which it is published, and kept
    layouts   forms in which this network circulates; a file of another layout is not it
    part      which of the layout's parts it is unless another one is asked for; "" = the layout's first
    facts     what must be true of the file beside its layout (:func:`invbench.weights.layouts.recognise`)
    sha256    whole digests, or published first digits of them; empty = none is published
    md5       likewise, where only an MD5 is published
    beside    name of the loader's argument -> asset that is needed as well
    domain    of the pictures; None = serves every domain
    """

    id: str
    title: str
    page: str
    address: str = Field(default="", pattern=r"^(|https://\S+|drive:[\w-]{10,}|package:\w+/[\w./-]+)$")
    file: str = Field(pattern=r"^[\w][\w.+-]*$")
    licence: str
    size: Whole | None = Field(default=None, gt=0)  # bytes, exactly
    about: Finite | None = Field(default=None, gt=0)  # megabytes, by the layout
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
        """The whole published digest, if there is exactly one and it is whole."""
        return self.sha256[0] if len(self.sha256) == 1 and len(self.sha256[0]) == 64 else None


class Catalogue(Frozen):
    """All of ``assets.toml``."""

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
        """The asset of that id. Raises InvbenchError with the nearest one when there is none."""
        if id not in self.assets:
            raise InvbenchError(unknown("asset", id, self.assets))
        return self.assets[id]


@cache
def catalogue(path: Path = FILE) -> Catalogue:
    """What the file lists. Raises InvbenchError naming the file and the key where it is wrong."""
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
