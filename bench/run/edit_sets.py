"""FID of edits of a finished run, from its stored pictures: sets chosen by attributes, in the forms of two public codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invbench.api import Edit, InvbenchError, MissingWeights, plain_edit
from invbench.described import pictures_digest
from invbench.folder import EDIT_SETS_FILE
from invbench.plugins.registry import Registry, find, load, load_callable
from invbench.run import originals
from invbench.run.session import Session
from invbench.store import Store
from invbench.util import sealed
from invbench.util.files import write_atomic
from invbench.util.progress import Progress

FORMS = tuple(
    f"invbench.metrics.edit_sets:{name}" for name in ("EditFidSfe", "EditFidStyleRes", "EditFidProcSfe", "EditFidProcStyleRes")
)
ANNOTATED = "invbench.metrics.edit_sets:annotated"
CHUNK = 16  # pictures at a time

Row = dict[str, Any]
Has = Callable[[str, str], bool | None]  # (image, edit) -> whether the original has what a positive strength adds, if known


@dataclass(frozen=True)
class Form:
    """A form of the FID of edits with its networks; ``prepare`` brings uint8 [N, H, W, 3] into its protocol."""

    metric: Any
    prepare: Callable[..., Any]
    recipe: str

    def features(self, pictures: Iterator[np.ndarray]) -> np.ndarray:
        """Features [n, F] of pictures uint8 [H, W, 3], which may have several sizes."""
        found: list[np.ndarray] = []
        waiting: list[np.ndarray] = []

        def flush() -> None:
            if waiting:
                found.append(self.metric.features(self.prepare(np.stack(waiting), original=False)))
                waiting.clear()

        for picture in pictures:
            if waiting and (waiting[0].shape != picture.shape or len(waiting) == CHUNK):
                flush()
            waiting.append(picture)
        flush()
        return np.concatenate(found) if found else np.empty((0, 0), np.float32)


def forms(session: Session, registry: Registry, *, named: Sequence[str]) -> tuple[list[Form], dict[str, str]]:
    """The forms whose networks the suite has, and by id why the others cannot be computed.

    ``named`` restricts them; a named one without its network raises InvbenchError, as does an unknown name.
    """
    classes: dict[str, Any] = {}
    for entry in FORMS:
        cls: Any = load_callable(entry)
        classes[cls.id] = cls
    for name in named:
        find("form of the FID of edits", name, classes)
    made, without = [], {}
    for id, cls in classes.items():
        if named and id not in named:
            continue
        protocol = find("protocol", cls.protocol, registry.protocols)
        try:
            made.append(Form(cls(session.networks), load(protocol)(session.networks), protocol.recipe))
        except MissingWeights as error:
            if named:
                raise InvbenchError(str(error)) from error
            without[id] = str(error)
    return made, without


def measure(
    store: Store,
    session: Session,
    registry: Registry,
    progress: Progress,
    *,
    named: Sequence[str] = (),
    attributes: Path | None = None,
) -> dict[str, Any]:
    """Compute every form that can be computed for every edit of the run, and write them to ``edit_sets.json`` of its folder.

    Returns the content of that file:

    forms     id -> title and recipe
    without   id -> why it could not be computed
    rows      dataset, method, preset, form, edit, direction (1 adds the attribute, -1 takes it away), strength (0: the
              reconstructions), value or None, originals and edits (numbers of pictures), reason
    sources   "dataset form edit direction" -> names of the pictures whose edits are in the set
    pictures  cell -> digest of what its pictures are made from (:func:`invbench.described.pictures_digest`)

    attributes  CelebAMask-HQ-attribute-anno.txt, for the forms that choose sets by CelebA's annotation
    """
    found, without = forms(session, registry, named=named)
    plan = store.plan
    rows: list[Row] = []
    sources: dict[str, list[str]] = {}
    for dataset in dict.fromkeys(cell["dataset"] for cell in plan["cells"].values()):
        cells = {id: cell for id, cell in plan["cells"].items() if cell["dataset"] == dataset}
        for form in found:
            try:
                has = _attributes(form, dataset, cells, session, registry, attributes)
            except InvbenchError as error:
                without[f"{form.metric.id} on {dataset}"] = str(error)
                continue
            rows += _of_form(store, form, dataset, cells, has, sources, progress)
    content = {
        "forms": {form.metric.id: {"title": form.metric.title, "recipe": form.recipe} for form in found},
        "without": without,
        "rows": rows,
        "sources": sources,
        "pictures": {id: pictures_digest(cell) for id, cell in plan["cells"].items()},
    }
    write_atomic(store.path / EDIT_SETS_FILE, sealed.json_bytes(content))
    return content


def _of_form(
    store: Store,
    form: Form,
    dataset: str,
    cells: Mapping[str, Mapping[str, Any]],
    has: Has,
    sources: dict[str, list[str]],
    progress: Progress,
) -> list[Row]:
    """The rows of one form on one dataset. A set of originals is read once for all methods."""
    hashes = {image["name"]: image["sha256"] for cell in cells.values() for image in cell["images"] if image["sha256"]}
    names = [*hashes]
    progress.stage(f"{form.metric.id}: {len(names)} originals of {dataset}")
    reference = form.features(originals.read(store, dataset, name, hashes[name]) for name in names)
    place = {name: index for index, name in enumerate(names)}
    rows: list[Row] = []
    for id, cell in cells.items():
        head = {"dataset": dataset, "method": cell["method"], "preset": cell["preset"], "form": form.metric.id}
        ok = _finished(store, id)
        base = sorted(ok.get(None, set()) & {*names}, key=place.__getitem__)
        inverted: np.ndarray | None = None
        for edit in dict.fromkeys(edit["name"] for edit in cell["edits"]):
            refused = form.metric.refusal(plain_edit(edit))
            if refused:
                rows.append({**head, **_value(edit, 1, 0.0, reason=refused)})
                continue
            if inverted is None:
                progress.stage(f"{form.metric.id}: reconstructions of {id}")
                inverted = form.features(store.read_picture(store.picture(id, name)) for name in base)
            strengths = sorted({float(one["strength"]) for one in cell["edits"] if one["name"] == edit} - {0.0})
            for direction in sorted({1 if strength > 0 else -1 for strength in strengths}, reverse=True):
                real, fake = _sets(form, edit, direction, names, has)
                sources[f"{dataset} {form.metric.id} {edit} {direction}"] = fake
                wanted = {*fake}
                known = reference[[place[name] for name in real]]
                chosen = [index for index, name in enumerate(base) if name in wanted]
                rows.append({**head, **_row(form, edit, direction, 0.0, known, inverted[chosen])})
                for strength in (one for one in strengths if one * direction > 0):
                    what = Edit(edit, strength)
                    there = [name for name in fake if name in ok.get(what, set())]
                    progress.stage(f"{form.metric.id}: {edit} {strength:+g} of {id}")
                    edited = form.features(store.read_picture(store.picture(id, name, what)) for name in there)
                    rows.append({**head, **_row(form, edit, direction, strength, known, edited)})
    return rows


def _sets(form: Form, edit: str, direction: int, names: Sequence[str], has: Has) -> tuple[list[str], list[str]]:
    """Names of the originals that edits are compared with, and of the pictures whose edits are."""
    if plain_edit(edit) in form.metric.whole:
        return [*names], [*names]
    target = direction > 0
    known = {name: has(name, plain_edit(edit)) for name in names}
    return [name for name in names if known[name] is target], [name for name in names if known[name] is (not target)]


def _attributes(
    form: Form,
    dataset: str,
    cells: Mapping[str, Mapping[str, Any]],
    session: Session,
    registry: Registry,
    attributes: Path | None,
) -> Has:
    """Which originals have an attribute. Raises InvbenchError where that is not known."""
    known: Mapping[str, Any]
    if form.metric.truth:
        if dataset not in registry.datasets:
            raise InvbenchError(f"expected a dataset with true factors, found {dataset}")
        opened = session.dataset(registry.datasets[dataset])
        known = {image["name"]: opened.read(image["index"]).factors for cell in cells.values() for image in cell["images"]}
        if any(one is None for one in known.values()):
            raise InvbenchError(f"expected a dataset with true factors, found {dataset}")
    elif attributes is None:
        raise InvbenchError("expected --attributes CelebAMask-HQ-attribute-anno.txt, found none")
    else:
        try:
            text = attributes.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvbenchError(f"{attributes}: cannot be read: {error}") from error
        noted = load_callable(ANNOTATED)(text, source=str(attributes))
        numbers = {int(name): own for name, own in noted.items() if name.isdigit()}  # the file has "0", the dataset "00000"
        names = [image["name"] for cell in cells.values() for image in cell["images"]]
        known = {name: noted.get(name) or numbers.get(int(name) if name.isdigit() else -1, {}) for name in names}
    return lambda image, edit: form.metric.has(edit, known[image])


def _finished(store: Store, cell: str) -> dict[Edit | None, set[str]]:
    """Edit (None: the reconstruction) -> names of the images with a row that did not fail."""
    found: dict[Edit | None, set[str]] = {}
    for part in store.parts(cell):
        for row in part.rows:
            if row["status"] == "ok":
                edit = Edit(row["edit"], float(row["strength"])) if row.get("edit") else None
                found.setdefault(edit, set()).add(row["image"])
    return found


def _row(form: Form, edit: str, direction: int, strength: float, real: np.ndarray, fake: np.ndarray) -> Row:
    try:
        value = form.metric.compute(real, fake)
    except InvbenchError as error:
        return _value(edit, direction, strength, originals=len(real), edits=len(fake), reason=str(error))
    width = int(real.shape[1])
    return _value(edit, direction, strength, value=value, originals=len(real), edits=len(fake), width=width)


def _value(
    edit: str,
    direction: int,
    strength: float,
    *,
    value: float | None = None,
    originals: int = 0,
    edits: int = 0,
    width: int = 0,
    reason: str = "",
) -> Row:
    place = {"edit": edit, "direction": direction, "strength": strength}
    return {**place, "value": value, "originals": originals, "edits": edits, "features": width, "reason": reason or None}
