"""Score external pictures as a row of their own beside measured methods.

The folder (:mod:`invbench.run.external_folder`) becomes a cell of a run folder whose method is the folder's name, with the
preset "scored" and no times. Pictures are decoded, compared in size with the original, stored as PNG, and scored from there by
the same code as a run's. Nothing is resized; what does not fit is a failed row with its reason.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from invbench import schema
from invbench.api import InvbenchError, printable
from invbench.plugins.config import DatasetChoice, Suite
from invbench.plugins.registry import Registry, strangers
from invbench.plugins.selection import choose_datasets, choose_metrics
from invbench.run import aggregate, external_folder, external_told, manifest, originals, plan, truths
from invbench.run.external_rows import Rows
from invbench.run.plan import Cell, Entry
from invbench.run.rescoring import rescore_part
from invbench.run.runner import FAILED_ROWS, OK
from invbench.run.session import Session, Tools, open_store
from invbench.specs import DatasetSpec, MetricSpec, ProtocolSpec
from invbench.util.behind import Behind
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

    def strangers(self) -> list[str]:
        """What the settings name whose code is not of this package, in words."""
        return [*strangers([self.dataset.spec, *self.metrics]), *self.suite.strangers()]


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


def _open(settings: Settings, folder: Path, session: Session, *, progress: bool, say: Callable[[str], None]) -> int:
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
        for line in [*scorer.left_out, *store.set_broken_aside()]:
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
        made = Rows(cell, self.folder, self.tools, self.sizes)
        for entries in made.batches():
            began = time.perf_counter()
            good, bad = made.parts(entries, known)
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
        with Behind() as behind:
            truths.write(store, id, dataset, entries=entries, edits=self.folder.edits, behind=behind)
            behind.finish()
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

    def _shared(self, reason: str) -> str:
        return external_told.shared(reason, (self.folder.path, self.spec.options.get("root")))

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

    def _tell(self, cell: Cell, reasons: external_told.Reasons) -> int:
        parts, failures = self.tools.store.parts(cell.id), self.tools.scorer.failures
        for line in external_told.lines(self.folder, parts, images=len(cell.entries), reasons=reasons, failures=failures):
            self.say(line)
        states = [row["status"] for part in parts for row in part.rows]
        good = states.count("ok")
        self.say(f"{cell.id}: {good} of {len(states)} rows ok, in {printable(self.tools.store.path)}")
        return OK if good == len(states) and not failures else FAILED_ROWS


def _cell_of(row: Mapping[str, Any]) -> str:
    return f"{row['method']}.{row['preset']}.{row['dataset']}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
