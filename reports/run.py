"""The content of a run folder for reports: rows, plan and manifest, read once, and the comparisons of its methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from invbench import schema
from invbench.api import InvbenchError
from invbench.compare import stats
from invbench.reports import compare, kept, machines, rows
from invbench.reports.compare import Compared
from invbench.reports.measures import Measure
from invbench.store import Store
from invbench.util.names import unknown

KEYS = ["dataset", "method", "preset"]
EDIT_KEYS = [*KEYS, "edit", "strength"]
EditPlace = tuple[str, str, float]  # dataset, edit, strength
_KINDS = ("inversion", "set", "edit", "round_trip")
_FIRST = ("mse", "psnr", "lpips", "ms_ssim", "id")  # the order of published tables; the other metrics follow by name


@dataclass(frozen=True)
class Run:
    """The content of a run folder at one moment; it is read once, since a run may still be writing.

    ``rows`` have times and memory of one machine in each cell (:func:`invbench.reports.machines.unmixed`).
    """

    store: Store
    rows: pd.DataFrame
    sets: pd.DataFrame
    manifest: Mapping[str, Any]
    plan: Mapping[str, Any]

    @classmethod
    def of(cls, source: Store | Run) -> Run:
        """Read a run folder; a Run is returned unchanged. Raises InvbenchError if the folder holds no run."""
        if isinstance(source, Run):
            return source
        manifest, plan = source.manifest, source.plan
        _same_pictures(source, plan)
        sets = pd.DataFrame(columns=[*KEYS, "metric", "value", "n", "reason"])
        if source.has_sets():
            sets = source.query("SELECT * FROM sets ORDER BY metric, dataset, method, preset")
        return cls(source, machines.unmixed(rows.read(source)), sets, manifest, plan)

    @cached_property
    def specs(self) -> dict[str, Measure]:
        """Metrics by id in the order of tables: of inversions, of sets, of edits.

        A metric of an earlier run in the folder that the last manifest does not describe is kept, with its id as title
        and without a direction.
        """
        known = {id: Measure.of(raw) for id, raw in self.manifest.get("metrics", {}).items()}
        for id in self.rows.columns:
            if id not in known and schema.is_metric(id):
                measured_on = self.rows.loc[self.rows[id].notna(), "edit"]
                kind = "inversion" if measured_on.isna().any() or measured_on.empty else "edit"
                known[id] = Measure(id, kind)
        return dict(sorted(known.items(), key=lambda item: _rank(item[1])))

    def specs_of(self, *kinds: str) -> list[Measure]:
        """Metrics of the kinds "inversion", "set" or "edit"."""
        return [spec for spec in self.specs.values() if spec.kind in kinds]

    def images(self, method: str, preset: str, dataset: str) -> list[str]:
        """Names of the images planned for a method, in the dataset's order; empty if none are."""
        cells = [cell for cell in self.plan["cells"].values() if cell["dataset"] == dataset]
        return next((_images(cell) for cell in cells if (cell["method"], cell["preset"]) == (method, preset)), [])

    @cached_property
    def machines(self) -> dict[machines.Cell, str]:
        """(dataset, method, preset) -> the machine of its times, where it has any."""
        return machines.of_cells(self.rows)

    def label(self, method: str, preset: str) -> str:
        """A method's title; with its preset if the run holds several presets of the method."""
        title = self.manifest.get("methods", {}).get(f"{method}.{preset}", {}).get("title") or method
        presets = {cell["preset"] for cell in self.plan["cells"].values() if cell["method"] == method}
        return f"{title} ({preset})" if len(presets) > 1 else str(title)

    def only(self, *, methods: Sequence[str] = (), datasets: Sequence[str] = ()) -> Run:
        """The run as if it held only these methods (ID or ID:PRESET) and datasets; empty: all of them.

        So means are over the images that these cover, and tests are corrected for these. Raises InvbenchError for a name
        that the run does not hold.
        """
        cells = self.plan["cells"]
        known = {name for cell in cells.values() for name in (cell["method"], f"{cell['method']}:{cell['preset']}")}
        for kind, asked, held in (
            ("method", methods, known),
            ("dataset", datasets, {cell["dataset"] for cell in cells.values()}),
        ):
            for name in asked:
                if name not in held:
                    raise InvbenchError(f"{self.store.path}: {unknown(kind, name, held)}")
        cells = {
            id: cell
            for id, cell in cells.items()
            if (not methods or {cell["method"], f"{cell['method']}:{cell['preset']}"} & {*methods})
            and (not datasets or cell["dataset"] in datasets)
        }
        places = pd.MultiIndex.from_tuples([tuple(cell[key] for key in KEYS) for cell in cells.values()], names=KEYS)
        kept_rows, sets = (frame[pd.MultiIndex.from_frame(frame[KEYS]).isin(places)] for frame in (self.rows, self.sets))
        return replace(self, rows=kept_rows, sets=sets, plan={**self.plan, "cells": cells})

    @property
    def better(self) -> dict[str, str]:
        """Metric id -> its better direction: "lower", "higher" or "none"."""
        return {id: spec.better for id, spec in self.specs.items()}

    @cached_property
    def inversions(self) -> list[Compared]:
        """The comparison of all methods in every inversion metric, on every dataset."""
        plan: dict[tuple[str], dict[compare.Method, Sequence[str]]] = {}
        for cell in self.plan["cells"].values():
            plan.setdefault((cell["dataset"],), {})[cell["method"], cell["preset"]] = _images(cell)
        own = self.rows[self.rows["edit"].isna()]
        metrics = [spec.id for spec in self.specs_of("inversion")]
        found = compare.blocks(own, plan, metrics=metrics, by=["dataset"])
        return kept.compared(self.store.path, "inversions", found, self.better, flips=stats.SIGN_FLIPS)

    @cached_property
    def edits(self) -> list[Compared]:
        """The comparison of all methods in every edit metric, on every dataset, for every edit and strength."""
        return self._edits("edits", self._edit_plan)

    @cached_property
    def strongest_edits(self) -> list[Compared]:
        """As :attr:`edits`, for the largest strength of each edit only."""
        strongest = {place[:2]: place for place in sorted(self._edit_plan, key=lambda place: place[2])}
        return self._edits("strongest_edits", {place: self._edit_plan[place] for place in strongest.values()})

    @cached_property
    def _edit_plan(self) -> dict[EditPlace, dict[compare.Method, Sequence[str]]]:
        plan: dict[EditPlace, dict[compare.Method, Sequence[str]]] = {}
        for cell in self.plan["cells"].values():
            for edit in cell["edits"]:
                place = (cell["dataset"], edit["name"], float(edit["strength"]))
                plan.setdefault(place, {})[cell["method"], cell["preset"]] = _images(cell)
        return plan

    def _edits(self, name: str, plan: Mapping[EditPlace, Mapping[compare.Method, Sequence[str]]]) -> list[Compared]:
        metrics = [spec.id for spec in self.specs_of("edit")]
        found = compare.blocks(self.rows, plan, metrics=metrics, by=["dataset", "edit", "strength"])
        return kept.compared(self.store.path, name, found, self.better)


def _same_pictures(store: Store, plan: Mapping[str, Any]) -> None:
    """Raises InvbenchError if methods saw different pictures under one name, as in folders that were merged by hand."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for id, cell in plan["cells"].items():
        for image in cell["images"]:
            if sha256 := image.get("sha256"):
                first, known = seen.setdefault((cell["dataset"], image["name"]), (id, sha256))
                if known != sha256:
                    raise InvbenchError(
                        f"{store.path}: {cell['dataset']}: {image['name']}: expected one picture for all methods, found sha256 "
                        f"{known} in {first} and {sha256} in {id}: their values cannot be compared"
                    )


def _images(cell: Mapping[str, Any]) -> list[str]:
    return [image["name"] for image in sorted(cell["images"], key=lambda image: image["index"])]


def _rank(spec: Measure) -> tuple[int, int, str]:
    near = [position for position, name in enumerate(_FIRST) if spec.name == name or spec.name.startswith(f"{name}_")]
    return _KINDS.index(spec.kind), near[0] if near else len(_FIRST), spec.id
