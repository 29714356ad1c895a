"""What a report knows of a metric: the manifest's description of it, or its id alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Measure:
    """A metric of a run folder; the fields are those of :class:`invbench.specs.MetricSpec`.

    The defaults are for a metric of an earlier run that the manifest does not describe: without a direction it is not ranked.
    """

    id: str
    kind: str
    title: str = ""
    better: str = "none"
    unit: str = ""
    range: str = ""
    edits: Sequence[str] = ()
    summary: str = ""

    @property
    def name(self) -> str:
        """The id without its protocol."""
        return self.id.partition("@")[0]

    @property
    def protocol(self) -> str:
        """The protocol in the id, "native" if there is none."""
        return self.id.partition("@")[2] or "native"

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Measure:
        """From the manifest's description, which holds more."""
        return cls(**{field.name: raw[field.name] for field in fields(cls) if field.name in raw})
