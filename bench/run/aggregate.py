"""Set metrics (FID, KID and others) from stored features, over the finished images of a cell."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from invbench.api import InvbenchError, SetMetric, SetValue
from invbench.run import originals
from invbench.scoring.scorer import Scorer
from invbench.store import Store
from invbench.util.files import WriteFailed
from invbench.util.progress import Progress
from invbench.util.provenance import digest

CHUNK = 64  # originals at a time; their features are kept chunk by chunk

Row = dict[str, Any]


def set_rows(
    store: Store,
    scorer: Scorer,
    *,
    progress: Progress | None = None,
    cells: Collection[str] = (),
    known: Iterable[Row] = (),
    call: Callable[..., Any] | None = None,
) -> list[Row]:
    """One row for each cell of the run folder and each set metric, in the order of their names.

    value, low, high, bias  as in :class:`invbench.api.SetValue`; None where there is none, and ``reason`` says why no value
    n                       images that were compared: originals and reconstructions of the same images, those that did not
                            fail and that the protocol covers on both sides
    key                     digest of all that the value depends on; a stored value of the same key, or one of
                            ``known``, is reused

    ``call(function, *given)`` gives ``function(scorer, *given)``, computed elsewhere with a scorer like this; None: here.

    If a value of one of ``cells`` cannot be computed because a metric raised, or because features of finished images are
    gone, the scorer records a failure.
    """
    if not scorer.sets:
        return []
    here = call or (lambda function, *given: function(scorer, *given))
    work = _Work(store, scorer, progress or Progress(enabled=False), _by_key(known) | _known(store), here)
    plan = store.plan
    rows: list[Row] = []
    for id, cell in sorted(plan["cells"].items()):
        head = {"suite": plan["suite"], "method": cell["method"], "preset": cell["preset"], "dataset": cell["dataset"]}
        hashes = {image["name"]: image["sha256"] for image in cell["images"]}
        finished, measured = _measured(store, id, scorer)
        for name in sorted(scorer.sets):
            features = measured.get(scorer.feature(name), {})
            found = {image: features[image] for image in hashes if image in features}
            lost = len(finished & {*hashes} - {*found})
            if lost and id in cells and name not in scorer.failures:
                scorer.note(name, lost, InvbenchError(f"{id}: features of {lost} finished images are missing"))
            rows.append({**head, "metric": name, **work.row(name, id, cell["dataset"], found, hashes, note=id in cells)})
    return rows


def of_originals(dataset: str) -> str:
    """The name under which features of a dataset's originals are stored, beside those of cells."""
    return f"inputs.{dataset}"


@dataclass(frozen=True)
class _Work:
    """What set values are computed from.

    known      rows already in the run folder, by key
    call       calls a function with the scorer, and what else is given, where plug-ins may do harm
    originals  by feature name and dataset: sha256 of a picture -> its features [F]
    """

    store: Store
    scorer: Scorer
    progress: Progress
    known: Mapping[str, Row]
    call: Callable[..., Any]
    originals: dict[tuple[str, str], dict[str, np.ndarray]] = field(default_factory=dict)

    def row(
        self,
        id: str,
        cell: str,
        dataset: str,
        measured: Mapping[str, np.ndarray],
        hashes: Mapping[str, str],
        *,
        note: bool,
    ) -> Row:
        """The value of a metric for the features ``measured`` of a cell's images, with n, reason and key.

        If the metric raises and ``note`` is true, the scorer records a failure, so that the next run tries it again.
        """
        metric, images = self.scorer.sets[id], list(measured)
        reason = _refused(metric, len(images))
        if reason:
            return _row(len(images), reason=reason)
        try:
            known = self._originals(id, dataset, {image: hashes[image] for image in images})
        except WriteFailed:
            raise
        except Exception as error:
            return self._failed(id, len(images), error, note=note)
        reference, outputs = np.stack([known[image] for image in images]), np.stack([measured[image] for image in images])
        both = np.isfinite(reference).all(axis=1) & np.isfinite(outputs).all(axis=1)
        reference, outputs, count = reference[both], outputs[both], int(both.sum())
        reason = _refused(metric, count)
        if reason:
            return _row(count, reason=reason)
        key = digest([id, self.scorer.recipes[id], _bytes_digest(reference), _bytes_digest(outputs)])
        if key in self.known:
            return {name: self.known[key][name] for name in _row(0)}
        self.progress.stage(f"{id} of {cell}")
        try:
            found = self.call(_computed, id, reference, outputs)
        except Exception as error:  # a value that cannot be computed has a reason in the table; it does not end the run
            return self._failed(id, count, error, note=note)
        return _row(count, found, key=key)

    def _failed(self, id: str, count: int, error: Exception, *, note: bool) -> Row:
        if note:
            self.scorer.note(id, count, error)
        return _row(count, reason=f"{type(error).__name__}: {error}")

    def _originals(self, id: str, dataset: str, hashes: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Features [F] of the originals by name, computed once per picture and stored beside those of the methods."""
        feature, cell = self.scorer.feature(id), of_originals(dataset)
        recipe = self.scorer.feature_recipes[feature]
        if (feature, dataset) not in self.originals:
            known = self.originals[feature, dataset] = {}
            for part in self.store.feature_parts(cell):
                features, pictures, recipes = self.store.features(cell, part)
                if recipes.get(feature) == recipe:
                    known.update(zip(pictures, features[feature], strict=True))
        known = self.originals[feature, dataset]
        missing = {sha256: name for name, sha256 in hashes.items() if sha256 not in known}
        if missing:
            self.progress.say(f"{feature}: features of {len(missing)} originals of {dataset}")
        pending = list(missing.items())
        for first in range(0, len(pending), CHUNK):
            self.progress.stage(f"{feature} of {dataset}: {first} of {len(pending)} originals")
            shas, names = zip(*pending[first : first + CHUNK])
            inputs = [originals.read(self.store, dataset, name, sha256) for sha256, name in zip(shas, names)]
            values = self.call(_features, id, inputs)
            part = f"{feature}-{digest([recipe, shas])[:12]}"
            self.store.write_features(cell, part, features={feature: values}, images=shas, recipes={feature: recipe})
            known.update(zip(shas, values, strict=True))
        return {name: known[sha256] for name, sha256 in hashes.items()}


def _computed(scorer: Scorer, id: str, reference: np.ndarray, outputs: np.ndarray) -> SetValue:
    found = scorer.sets[id].compute(reference, outputs)
    return found if isinstance(found, SetValue) else SetValue(float(found))


def _features(scorer: Scorer, id: str, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Features float32 [N, F] of originals uint8 [H, W, 3], those of one size together."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, picture in enumerate(inputs):
        alike[picture.shape].append(place)
    found: dict[int, np.ndarray] = {}
    for places in alike.values():
        stacked = np.stack([inputs[place] for place in places])
        prepared = scorer.prepare(scorer.specs[id].protocol, stacked, original=True)
        values = np.asarray(scorer.sets[id].features(prepared), dtype=np.float32)
        found |= dict(zip(places, values, strict=True))
    return np.stack([found[place] for place in range(len(inputs))])


def _known(store: Store) -> dict[str, Row]:
    try:
        return _by_key(store.sets())
    except InvbenchError:
        return {}  # everything is computed again, and the file is rewritten


def _by_key(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["key"]: row for row in rows if row["key"]}


def _row(n: int, value: SetValue | None = None, *, reason: str = "", key: str | None = None) -> Row:
    figures = asdict(value) if value else dict.fromkeys(("value", "low", "high", "bias"))
    plain = {name: None if figure is None or math.isnan(figure) else float(figure) for name, figure in figures.items()}
    return {**plain, "n": n, "reason": reason or None, "key": key}


def _refused(metric: SetMetric, count: int) -> str:
    return f"needs at least {metric.minimum} images, found {count}" if count < metric.minimum else ""


def _bytes_digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _measured(store: Store, cell: str, scorer: Scorer) -> tuple[set[str], dict[str, dict[str, np.ndarray]]]:
    """The images with a finished row; and feature name -> image -> vector, if made with the current recipe."""
    found: dict[str, dict[str, np.ndarray]] = {}
    finished: set[str] = set()
    for part in store.parts(cell):
        done = {row["image"] for row in part.rows if row["status"] == "ok" and "edit" not in row}
        finished |= done
        features, images, recipes = store.features(cell, part.name)
        for name, values in features.items():
            if recipes.get(name) == scorer.feature_recipes.get(name):
                found.setdefault(name, {}).update({i: v for i, v in zip(images, values, strict=True) if i in done})
    return finished, found
