"""Score external pictures as a row of their own beside measured methods.

The folder (:mod:`invbench.run.external_folder`) becomes a cell of a run folder whose method is the folder's name, with the
preset "scored" and no times. Pictures are decoded, compared in size with the original, stored as PNG, and scored from there by
the same code as a run's. Nothing is resized; what does not fit is a failed row with its reason.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from invbench import schema
from invbench.api import DatasetSpec, Edit, InvbenchError, MetricSpec, ProtocolSpec, printable
from invbench.plugins.config import DatasetChoice, Suite
from invbench.plugins.registry import Registry, load_callable
from invbench.plugins.selection import choose_datasets, choose_metrics
from invbench.run import aggregate, external_folder, manifest, originals, plan, truths
from invbench.run.plan import Cell, Entry
from invbench.run.rescoring import rescore_part
from invbench.run.runner import FAILED_ROWS, OK
from invbench.run.session import Session, Tools, open_store
from invbench.run.shard import Row
from invbench.store import Part
from invbench.util.errors import halted
from invbench.util.files import WriteFailed, locked, write_all
from invbench.util.images import encode_png
from invbench.util.progress import Progress
from invbench.util.provenance import digest

PRESET = "scored"
FOLDER = "invbench.datasets.folder:Folder"


@dataclass(frozen=True)
class Settings:
    """What the pictures of a folder are scored with, and the ``name`` of their rows."""

    suite: Suite
    name: str
    dataset: DatasetChoice
    metrics: Sequence[MetricSpec]
    protocols: Mapping[str, ProtocolSpec]
    metrics_required: bool  # True: metrics were named, so missing weights are an error
    device: str
    out: Path
    configuration: Mapping[str, str]  # configuration file -> sha256


def settings(
    suite: Suite,
    registry: Registry,
    *,
    name: str,
    against: str,
    metrics: Sequence[str],
    device: str,
    out: Path,
    configuration: Mapping[str, str] | None = None,
) -> Settings:
    """Resolve the names. ``against`` is a dataset of the suite (ID or ID:COUNT) or a folder of originals, which keep their
    own size. Raises InvbenchError for names that do not exist."""
    chosen = choose_datasets(suite, [against], registry, images=None)
    if len(chosen) != 1:
        raise InvbenchError(f"--against {against}: expected one dataset, found {', '.join(one.id for one in chosen)}")
    spec = chosen[0].spec
    if "resolution" in spec.options:
        spec = replace(spec, options={**spec.options, "resolution": None})
    return Settings(
        suite=suite,
        name=name,
        dataset=chosen[0].model_copy(update={"spec": spec}),
        metrics=choose_metrics(suite, metrics, registry, round_trips=False),
        protocols=dict(registry.protocols),
        metrics_required=bool(metrics),
        device=device,
        out=out,
        configuration=dict(configuration or {}),
    )


def expect_domain(settings: Settings) -> None:
    """For a suite that nobody named: raises InvbenchError if its networks would judge pictures of a domain of their own.

    Nothing says what a folder of originals shows, so a network that was trained on the suite's pictures may be blind to it.
    """
    spec, suite = settings.dataset.spec, settings.suite
    if spec.entry != FOLDER and spec.domain == (suite.domain or suite.id):
        return
    judged = [metric.id for metric in settings.metrics if {*metric.roles} & {*suite.networks}]
    if judged:
        raise InvbenchError(
            f"suite {suite.id}: its networks know the pictures of {suite.id}, and nothing says that {spec.title} are such: "
            f"expected --suite NAME, or --metrics without networks (@pixel), found {judged[0]} among the metrics"
        )


def score(settings: Settings, folder: Path, *, progress: bool = True, say: Callable[[str], None] = print) -> int:
    """Score the pictures of ``folder``. Returns the exit code: 0 all ok; 1 some rows failed; 3 a write failed; 130 interrupted.

    ``say`` gets one line for every mismatch. Earlier rows of the same name and dataset are replaced; the same call continues
    an interrupted one. Raises InvbenchError for settings that cannot work, before anything is written.
    """
    try:
        with Session(settings.suite, device=settings.device, readers=0) as session:
            return _open(settings, folder, session, progress=progress, say=say)
    except (WriteFailed, KeyboardInterrupt) as error:
        return halted(error)


def _open(
    settings: Settings, folder: Path, session: Session, *, progress: bool, say: Callable[[str], None]
) -> int:
    choice = settings.dataset
    scorer = session.scorer(settings.metrics, protocols=settings.protocols, required=settings.metrics_required)
    dataset = session.dataset(choice.spec)
    names = list(dataset.names)
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated or not names:
        raise InvbenchError(f"dataset {choice.id}: expected every name once, found {repeated[:1] or 'no image'}")
    found = external_folder.scan(folder, names, settings.suite.edits, count=choice.count, paths=dataset.paths)
    store = open_store(settings.out)
    tools = session.tools(store, scorer, datasets={choice.id: dataset}, choices={})
    with locked(store.path), Progress(enabled=progress) as bar:
        for note in dataset.notes:
            say(note)
        return _Work(settings, choice.spec, names[: choice.count], found, session, tools, bar, say).execute()


@dataclass(frozen=True)
class _Work:
    """One call of :func:`score`, after everything was opened. ``sizes``: (height, width) in pixels of usable originals."""

    settings: Settings
    spec: DatasetSpec
    names: Sequence[str]
    folder: external_folder.Folder
    session: Session
    tools: Tools
    bar: Progress
    say: Callable[[str], None]
    sizes: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def execute(self) -> int:
        store, scorer = self.tools.store, self.tools.scorer
        started = _now()
        for name, reason in scorer.unavailable.items():
            self.bar.say(f"{name}: {reason}")
        for line in store.set_broken_aside():
            self.bar.say(line)
        earlier, before = store.readable_json("plan.json"), store.readable_json("manifest.json")
        cell = self._cell(earlier)
        merged = plan.merge(earlier, self.settings.suite.id, [cell])
        merged["cells"][cell.id] = cell.describe()  # replaces an earlier folder of this name
        store.write_json("plan.json", merged)
        self._write_manifest(before, cell, started, finished=None)
        self.bar.begin(len(cell.entries))
        self.bar.cell(cell.id)
        outdated = [row["key"] for part in store.parts(cell.id) for row in part.rows if row["recipe"] != cell.recipe]
        store.set_aside(cell.id, outdated, keep=False)
        known = {part.name: part for part in store.parts(cell.id)}
        reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
        for entries in self._batches(cell):
            began = time.perf_counter()
            good, bad = self._parts(cell, entries, known)
            for part in good:
                rescore_part(cell, part, self.tools)
            if bad.rows:
                store.write_part(cell.id, bad)
            for row in bad.rows:
                label = f"{row['edit']}{schema.signed(row['strength'])}" if "edit" in row else "reconstruction"
                reasons[label, self._shared(row["reason"])].append(row["image"])
            self.bar.done(len(entries), seconds=(time.perf_counter() - began) / len(entries), failed=len(bad.rows))
        sets = [row for row in aggregate.set_rows(store, scorer, cells={cell.id}) if _cell_of(row) == cell.id]
        store.write_sets([*(row for row in self._earlier_sets() if _cell_of(row) != cell.id), *sets])
        self._write_manifest(before, cell, started, finished=_now())
        return self._tell(cell, reasons)

    def _cell(self, earlier: Mapping[str, Any]) -> Cell:
        """Read every original once: record its hash and size, and copy it into the run folder."""
        store, id, dataset = self.tools.store, self.spec.id, self.tools.datasets[self.spec.id]
        entries: list[Entry] = []
        for first in range(0, len(self.names), self.settings.suite.max_batch):
            copies = {}
            for index in range(first, min(first + self.settings.suite.max_batch, len(self.names))):
                entry, picture = plan.read_entry(dataset, index, None)
                entries.append(entry)
                if picture is not None and entry.sha256 is not None:
                    self.sizes[index] = picture.shape[:2]
                    copies[store.input(id, entry.name)] = encode_png(picture)
            write_all(copies)
        originals.expect_same(earlier, id, entries)
        recipe = digest({"protocol": plan.PROTOCOL, "scored": self.settings.name, "files": self.folder.digest()})
        truths.write(store, id, dataset, entries=entries, edits=self.folder.edits)
        return Cell(
            method=self.settings.name,
            preset=PRESET,
            options=self._options(),
            stepwise=False,
            dataset=id,
            entries=tuple(entries),
            edits=self.folder.edits,
            recipe=recipe,
            batch=self.settings.suite.max_batch,
        )

    def _options(self) -> dict[str, str]:
        kinds: dict[str, int] = defaultdict(int)
        for path in (path for paths in self.folder.files.values() for path in paths):
            kinds["JPEG" if external_folder.is_jpeg(path) else path.suffix[1:].upper() or "other"] += 1
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return {"folder": printable(self.folder.path.name), "pictures": told}

    def _batches(self, cell: Cell) -> Iterator[list[Entry]]:
        """The images of the cell in groups of one size, each at most a batch."""
        for first in range(0, len(cell.entries), cell.batch):
            alike: dict[tuple[int, ...] | None, list[Entry]] = defaultdict(list)
            for entry in cell.entries[first : first + cell.batch]:
                alike[self.sizes.get(entry.index)].append(entry)
            yield from alike.values()

    def _parts(self, cell: Cell, entries: Sequence[Entry], known: Mapping[str, Part]) -> tuple[list[Part], Part]:
        """The rows of some images: those still to be evaluated, and those that failed."""
        name = f"{entries[0].index:06d}-{digest(cell.keys(entries))[:12]}"
        failed = f"{name}-failed"
        if name in known and all(self.tools.store.stands(row, cell.id) for row in known[name].rows):
            return [known[name]], known.get(failed, Part(failed, [], {}))
        rows = list(self._rows(cell, entries))
        good, bad = ([row for row in rows if (row["status"] == "ok") is ok] for ok in (True, False))
        return ([Part(name, good, {})] if good else []), Part(failed, bad, {})

    def _rows(self, cell: Cell, entries: Sequence[Entry]) -> Iterator[Row]:
        pictures = {}
        for entry in entries:
            inverted = ""
            for edit in (None, *cell.edits):
                path, picture, reason = self._picture(entry, edit)
                if edit is None:
                    inverted = reason
                elif inverted and not reason:
                    reason = f"no reconstruction to compare the edit with: {inverted}"
                row = _row(self.tools.suite, cell, entry, edit, reason=reason, path=path)
                if not reason and picture is not None:
                    data = encode_png(picture)
                    pictures[self.tools.store.picture(cell.id, entry.name, edit)] = data
                    row["picture"] = hashlib.sha256(data).hexdigest()
                yield row
        write_all(pictures)

    def _picture(self, entry: Entry, edit: Edit | None) -> tuple[Path | None, np.ndarray | None, str]:
        if entry.sha256 is None:
            return None, None, entry.reason
        path, reason = self.folder.pick(edit, entry.name)
        if path is None:
            return None, None, reason
        try:
            picture = load_callable("invbench.datasets.decode:decode")(path)
        except InvbenchError as error:
            return path, None, str(error)
        original = self.tools.datasets[self.spec.id].read(entry.index).picture
        if picture.shape != original.shape:
            (height, width), (h, w) = original.shape[:2], picture.shape[:2]
            return path, None, f"{path}: expected {width}x{height} pixels as the original, found {w}x{h}; nothing is resized"
        return path, picture, ""

    def _shared(self, reason: str) -> str:
        """A reason without the path of its picture, so that images with the same reason are reported together."""
        folders = filter(None, (self.folder.path, self.spec.options.get("root")))
        roots = "|".join(re.escape(printable(folder, lines=True)) for folder in folders)
        return re.sub(rf"({roots})/.*?: ", "", reason) if roots else reason

    def _write_manifest(self, before: Mapping[str, Any], cell: Cell, started: str, *, finished: str | None) -> None:
        own = manifest.build(
            self.session,
            self.tools.scorer,
            methods={f"{cell.method}.{cell.preset}": {"title": cell.method, "family": PRESET, "options": cell.options}},
            roles=(),
            datasets=[self.spec],
            seed=None,
            configuration=self.settings.configuration,
            started=started,
            finished=finished,
            earlier=before,
            failures=self.tools.store.failures(),
        )
        if before:  # machine, versions and times belong to the methods that were measured there
            both = ("methods", "weights", "datasets", "metrics", "protocols", "edits", "unavailable")
            failures = own["metric_failures"]
            own = {**before, **{key: {**before.get(key, {}), **own.get(key, {})} for key in both}, "metric_failures": failures}
            own["unavailable"] = {id: why for id, why in own["unavailable"].items() if id not in own["metrics"]}
        self.tools.store.write_json("manifest.json", own)

    def _earlier_sets(self) -> list[dict[str, Any]]:
        store = self.tools.store
        return store.query("SELECT * FROM sets").to_dict("records") if (store.path / "sets.parquet").exists() else []

    def _tell(self, cell: Cell, reasons: Mapping[tuple[str, str], Sequence[str]]) -> int:
        for line in self.folder.strange:
            self.say(f"left out: {line}")
        if self.folder.beyond:
            self.say(f"left out: {self.folder.beyond} pictures of images beyond the first {len(cell.entries)}")
        for (label, reason), images in reasons.items():
            self.say(f"failed: {label} of {len(images)}: {', '.join(images)}: {reason}")
        rows = [row for part in self.tools.store.parts(cell.id) for row in part.rows]
        jpeg = sum(row.get(schema.JPEG, 0.0) == 1.0 for row in rows)
        if jpeg:
            self.say(f"{jpeg} of {len(rows)} pictures are JPEG: their compression is part of the scores")
        for id, note in self.tools.scorer.failures.items():
            self.say(f"metric {id} failed on {note['count']} images: {note['reason']}")
        good = sum(row["status"] == "ok" for row in rows)
        self.say(f"{cell.id}: {good} of {len(rows)} rows ok, in {printable(self.tools.store.path)}")
        return OK if good == len(rows) and not self.tools.scorer.failures else FAILED_ROWS


def _row(suite: str, cell: Cell, entry: Entry, edit: Edit | None, *, reason: str, path: Path | None) -> Row:
    row: Row = {
        "key": cell.key(entry, edit),
        "recipe": cell.recipe,
        "suite": suite,
        "method": cell.method,
        "preset": cell.preset,
        "dataset": cell.dataset,
        "image": entry.name,
        "index": entry.index,
        "status": "failed" if reason else "ok",
        "batch": 0,
    }
    if edit is not None:
        row |= {"edit": edit.name, "strength": float(edit.strength)}
    if reason:
        row["reason"] = printable(reason, lines=True)
    elif path is not None:
        row[schema.JPEG] = float(external_folder.is_jpeg(path))
    return row


def _cell_of(row: Mapping[str, Any]) -> str:
    return f"{row['method']}.{row['preset']}.{row['dataset']}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

