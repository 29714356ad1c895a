"""A run from settings to rows: build everything, plan, compute the shards, aggregate, report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from invbench import schema
from invbench.api import Edit, InvbenchError, printable
from invbench.data import sources
from invbench.data.prefetch import Prefetch
from invbench.plugins.config import MethodChoice, RunSettings
from invbench.plugins.foreign import Foreign
from invbench.plugins.pairs import leaves
from invbench.plugins.registry import load
from invbench.run import aggregate, beside, compilation, curves, latency, manifest, originals, plan, sourced, standing, truths
from invbench.run.executors.apart import Apart
from invbench.run.executors.choice import device_here, opened
from invbench.run.foreign import code
from invbench.run.foreign.collect import Collect
from invbench.run.mirror import Mirror
from invbench.run.plan import Cell, Entry, Shard
from invbench.run.session import Session, Tools, choose_device, open_store
from invbench.run.work import Bench, Compute, Done, Executor, Guard, Place, Task, Time
from invbench.scoring.scorer import Scorer
from invbench.store import Part, Store
from invbench.util import interrupts
from invbench.util.behind import Behind
from invbench.util.errors import halted
from invbench.util.files import WriteFailed, locked, write_all
from invbench.util.images import encode_png
from invbench.util.progress import Progress
from invbench.util.provenance import digest

OK, FAILED_ROWS = 0, 1  # the codes of what ends a run before its end: invbench.util.errors
INPUTS = 32  # originals that are copied into the run folder at a time


def run(settings: RunSettings, *, progress: bool = True, mirror: Mirror | None = None) -> int:
    """Carry out the settings. ``mirror``: the address to which finished work goes; its path is ``settings.out``.

    Returns the exit code:

    0 all rows are ok; 1 some failed (the rows hold the reasons); 3 a file could not be written; 130 interrupted.
    Finished work is always kept, and the same call continues it. Raises InvbenchError before any work for settings that
    cannot work: a method without its weights, a folder that is not a run folder, an unknown device.
    """
    try:
        here = device_here(settings)
        local = settings.executor == "local"
        mode, said = compilation.settled(settings.compile, choose_device(here) if local else settings.device, here=local)
        settings = settings.model_copy(update={"compile": mode})
        with Session.of(settings, device=here) as session, opened(settings, session.ledger) as executor:
            code = _open(settings, session, executor, progress=progress, mirror=mirror, said=said)
        if mirror is not None:
            mirror.all()
        return code
    except (WriteFailed, KeyboardInterrupt) as error:
        return halted(error)


def _open(
    settings: RunSettings, session: Session, others: Executor | None, *, progress: bool, mirror: Mirror | None, said: str
) -> int:
    """Open everything that the settings name, so that missing items are reported before any work; then do the work."""
    if settings.executor == "local":
        code.expect_programs(settings.methods)
    # What somebody else wrote is opened by a worker first: if it ends its process, that is told in one line.
    early = others.batches(settings.methods) if others is not None and settings.strangers() else None
    scorer = session.scorer(settings.metrics, protocols=settings.protocols, required=settings.metrics_required)
    datasets = {choice.id: session.dataset(choice.spec) for choice in settings.datasets}
    if settings.curves:
        curves.metrics(scorer)  # raises if the run has none for them
    executor = others or Bench(settings, session, scorer, datasets)
    batches = early
    if batches is None and others is None:
        batches = executor.batches(settings.methods)
    elif batches is None:  # while a worker starts and builds the methods, this process draws what it will write
        asked = [(datasets[choice.id], choice.count) for choice in settings.datasets]
        with truths.drawn_meanwhile(asked, settings.edits):
            batches = executor.batches(settings.methods)
    store = open_store(settings.out)
    with locked(store.path), Progress(enabled=progress) as bar, Behind(bounded=False) as behind:
        if said:
            bar.say(said)
        return _Run(settings, session, store, scorer, datasets, executor, batches, bar, behind, mirror).execute()


@dataclass(frozen=True)
class _Run:
    """One call of :func:`run`, after everything was built."""

    settings: RunSettings
    session: Session
    store: Store
    scorer: Scorer
    datasets: Mapping[str, Prefetch]
    executor: Executor
    batches: Mapping[Place, int]
    bar: Progress
    behind: Behind  # writes what no row depends on
    mirror: Mirror | None = None
    started: str = field(default_factory=lambda: _now())
    fits: dict[tuple[str, str], int] = field(default_factory=dict)  # as the executor told so far

    def execute(self) -> int:
        if self.settings.fresh:
            self.store.clear()
        for line in self.store.set_broken_aside():
            self.bar.say(line)
        for line in self.scorer.left_out:
            self.bar.say(line)
        for choice in self.settings.datasets:
            if choice.spec.home and (partial := sources.prepared(choice.spec).partial):
                self.bar.say(f"{choice.id}: not whole: {partial}")
            for note in self.datasets[choice.id].notes:
                self.bar.say(f"{choice.id}: {note}")
        earlier = self.store.readable_json("plan.json")
        cells = self._cells(earlier)
        interrupts.heed()
        self.executor.fits |= self.fits
        for kind, most in self.fits.items():
            self.bar.say(f"{kind[0]}: {kind[1]}: {most} images at a time, as an earlier run found")
        with self.session.ledger.spent("writing"):
            self._write_plan(earlier, cells)
            self._write_manifest(finished=None)
        if self.mirror is not None:
            with self.session.ledger.spent("writing"):
                self.mirror.all()
        shared = [*zip(cells, plan.shared(cells, self.settings.share))]
        timings = self._timings(cells)
        images = dict.fromkeys(map(_label, self.settings.methods), 0)
        for cell, numbers in shared:
            images[_label(cell)] += sum(len(cell.own(one)) for one in numbers)
        for timed in timings:
            images[_label(timed.cell)] += timed.images
        self.bar.begin(sum(images.values()), methods=images)
        self._collect(shared)
        with beside.measuring(self.settings, self._tools) as apart:
            failed, worked = 0, dict[str, Cell]()  # cells by the method's label
            for done in self.executor.run(self._shards(shared, apart), on_stage=self.bar.stage):
                worked.setdefault(_label(done.task.cell), done.task.cell)
                known = len(self.fits), *self.fits.values()
                failed += self._take(done)
                if known != (len(self.fits), *self.fits.values()):
                    self._write_plan(earlier, cells)
            alone: list[Task] = [*Guard.of(worked.values(), self.settings, self._device_type()), *timings]
            for task in alone:  # one at a time, while nothing else works
                for done in self.executor.run(iter([task]), on_stage=self.bar.stage):
                    self._take(done)
            if self.settings.share is None:  # else `merge` computes them, over all images
                with self.session.ledger.spent("metrics"):
                    ids, call = {cell.id for cell in cells}, beside.scored(apart)
                    rows = aggregate.set_rows(self.store, self.scorer, progress=self.bar, cells=ids, call=call)
                with self.session.ledger.spent("writing"):
                    self.store.write_sets(rows)
        with self.session.ledger.spent("writing"):
            self.behind.finish()
            self._write_manifest(finished=_now())
        for line in self._closing_lines(failed):
            self.bar.say(line)
        return FAILED_ROWS if failed or self.scorer.failures else OK

    @property
    def _tools(self) -> Tools:
        return self.session.tools(self.store, self.scorer, datasets=self.datasets, choices={})

    def _write_plan(self, earlier: Mapping[str, Any], cells: Sequence[Cell]) -> None:
        self.store.write_json("plan.json", plan.merge(earlier, self.settings.suite.id, cells, fits=self.fits))

    def _cells(self, earlier: dict[str, Any]) -> list[Cell]:
        entries = {choice.id: self._entries(choice.id, choice.count, earlier) for choice in self.settings.datasets}
        with self.session.ledger.spent("data"):
            for choice in self.settings.datasets:
                with beside.asked(self.settings, choice, self.datasets[choice.id]) as known:
                    own, edits = entries[choice.id], self.settings.edits
                    truths.write(self.store, choice.id, known, entries=own, edits=edits, behind=self.behind)
        trips = tuple(map(schema.round_trip, self.settings.consistency))
        directions = sourced.digests(self.session.networks, (*self.settings.edits, *self.settings.consistency))
        cells = []
        for method in self.settings.methods:
            classes = [load(spec) for spec in leaves(method.spec)]
            recipe = plan.recipe(self.settings, method, classes, self.session.networks, device=self._device_type())
            edits = self.settings.edits
            if method.foreign is not None:
                recipe = digest({"recipe": recipe, **code.recipe(method.foreign, out=self.settings.out)})
                edits = self._able(method.id, method.foreign)
            auto = self.settings.batch or self.batches[method.id, method.preset]
            for dataset, images in entries.items():
                id = plan.cell_id(method.id, method.preset, dataset)
                old = earlier.get("cells", {}).get(id, {})
                # A continued run keeps its batches, though the machine may have more or less memory free now.
                kept = old["batch"] if old.get("recipe") == recipe else auto
                batch = self.settings.batch or kept
                same = (old.get("recipe"), old.get("batch")) == (recipe, batch)
                self.fits.update({(id, kind): most for kind, most in plan.known_fits(old).items()} if same else {})
                beyond = plan.beyond(old, images) if same else ()
                cells.append(
                    Cell(
                        method=method.id,
                        preset=method.preset,
                        options=method.options,
                        stepwise=any(option.unit == "steps" for option in method.spec.options.values()),
                        joint=method.spec.joint,
                        dataset=dataset,
                        entries=images,
                        edits=edits,
                        recipe=recipe,
                        batch=batch,
                        consistency=trips if method.foreign is None else (),
                        directions=directions,
                        beyond=beyond,
                    )
                )
        return cells

    def _able(self, id: str, method: Foreign) -> tuple[Edit, ...]:
        """The edits of the run that a foreign method can make; a line tells of the others."""
        able = method.able(self.settings.edits)
        without = [f"{edit.name}{schema.signed(edit.strength)}" for edit in self.settings.edits if edit not in able]
        without += ["round trips"] if self.settings.consistency else []
        without += ["latency"] if self.settings.latency else []
        if without:
            self.bar.say(f"{id}: foreign code that is not asked for {', '.join(without)}")
        return able

    def _collect(self, shared: Iterable[tuple[Cell, Sequence[int]]]) -> None:
        """Start the commands of foreign methods on pictures whose rows are missing, one at a time, while nothing else works."""
        choices = {(one.id, one.preset): one for one in self.settings.methods if one.foreign is not None}
        for cell, numbers in shared:
            choice = choices.get((cell.method, cell.preset))
            shards = self._missing(cell, numbers) if choice is not None else []
            entries = {one: None for shard in shards for one in shard.entries if one.sha256 is not None}
            if choice is None or not entries:
                continue
            task = Collect(
                cell=cell,
                entries=tuple(entries),
                choice=choice,
                size=self.settings.suite.picture_size,
                seed=self.settings.seed,
                threads=self.settings.threads,
                limit=self.settings.limit,
            )
            for done in self.executor.run(iter([task]), on_stage=self.bar.stage):
                self._take(done)

    def _missing(self, cell: Cell, numbers: Iterable[int]) -> list[Shard]:
        """The work that is left of some batches of a cell, after its rows were brought up to date."""
        done, replaced, gone = standing.of(cell, self.store, self.scorer)
        if gone:
            self.bar.say(f"{cell.id}: pictures of {gone} rows are gone or changed: the rows are made again")
        if replaced:
            self.bar.say(f"{cell.id}: {replaced} rows of other settings, code or pictures are set aside in superseded/")
        return list(cell.shards(done, numbers=numbers))

    def _device_type(self) -> str:
        """The kind of device on which methods work, which may be elsewhere."""
        return self.session.device.type if self.settings.executor == "local" else self.settings.device.partition(":")[0]

    def _entries(self, id: str, count: int | None, earlier: Mapping[str, Any]) -> tuple[Entry, ...]:
        """Read every image once: record its hash and whether it can be used, and copy it into the run folder."""
        dataset, entries = self.datasets[id], []
        repeated = [name for name, times in Counter(dataset.names).items() if times > 1]
        if repeated:
            raise InvbenchError(f"dataset {id}: expected every name once, found {repeated[0]!r} again")
        # A plug-in reads in a process of its own: if it ends that, it costs the picture and not the run.
        foreign = self.settings.workers != 0 and f"dataset {id}" in self.settings.strangers()
        dataset.expect(range(len(dataset.names))[:count], least=int(foreign))
        for first in range(len(dataset.names))[:count:INPUTS]:
            copies = {}
            with self.session.ledger.spent("data"):
                for index in range(len(dataset.names))[:count][first : first + INPUTS]:
                    entry, picture = plan.read_entry(dataset, index, self.settings.suite.picture_size)
                    entries.append(entry)
                    if picture is not None:
                        copies[self.store.input(id, entry.name)] = encode_png(picture)
            originals.expect_same(earlier, id, entries[first:])
            with self.session.ledger.spent("writing"):
                write_all(copies)
        if not entries:
            raise InvbenchError(f"dataset {id}: expected at least one image, found none")
        return tuple(entries)

    def _shards(self, shared: Iterable[tuple[Cell, Sequence[int]]], apart: Apart[Tools]) -> Iterator[Compute]:
        """The work that is left of some batches of each cell, by their numbers.

        A cell's rows are brought up to date when its first shard is asked for; ``apart`` computes their metrics.
        """
        for cell, numbers in shared:
            shards = self._missing(cell, numbers)
            beside.rescore(cell, self._tools, apart)
            readable = [entry.index for one in shards for entry in one.entries if entry.sha256 is not None]
            tasks = [Compute(one, tuple(readable)) for one in shards]
            self.bar.cell(cell.id, method=_label(cell))
            self.bar.done(sum(len(cell.own(one)) for one in numbers) - sum(task.images for task in tasks))
            yield from tasks

    def _take(self, done: Done) -> int:
        """Show what a task gave. Returns how many of its rows failed."""
        interrupts.heed()
        cell, failed, seconds = done.task.cell, 0, None
        if isinstance(done.result, Part):
            if self.mirror is not None:
                with self.session.ledger.spent("writing"):
                    self.mirror.part(cell.id, done.result)
            rows = done.result.rows
            failed = sum(row["status"] != "ok" for row in rows)
            spent = sum(row.get(schema.INVERT, row.get(schema.EDIT, 0.0)) for row in rows)
            seconds = spent / len({row["image"] for row in rows}) if math.isfinite(spent) else None
        else:
            self.bar.say(done.result)
        self.bar.cell(cell.id, method=_label(cell))
        self.bar.done(done.task.images, seconds=seconds, failed=failed)
        for kind, most in done.fits.items() - self.fits.items():
            self.bar.say(f"{kind[0]}: {kind[1]}: a batch did not fit into memory; from now on {most} images at a time")
        self.fits.update(done.fits)
        self.scorer.add_failures(done.failures)
        return failed

    def _timings(self, cells: Sequence[Cell]) -> list[Time]:
        """The latency pass over images of the first dataset, if the settings ask for it; of several shares in the first."""
        if not self.settings.latency or (self.settings.share or (1, 1))[0] > 1:
            return []
        first = cells[0]
        usable = tuple(entry for entry in first.entries if entry.sha256 is not None)
        if not usable:
            self.bar.say(f"latency: {first.dataset} has no image that can be used")
            return []
        edit = self.settings.edits[0] if self.settings.edits else None
        pictures = latency.Pictures(first.dataset, usable, self.settings.latency, edit)
        foreign = {one.id for one in self.settings.methods if one.foreign is not None}
        return [Time(cell, pictures) for cell in cells if cell.dataset == first.dataset and cell.method not in foreign]

    def _write_manifest(self, *, finished: str | None) -> None:
        methods, networks = self.settings.methods, self.session.networks
        content = manifest.build(
            self.session,
            self.scorer,
            methods=manifest.of_methods(methods, switches=plan.switches(self.settings, device=self._device_type())),
            roles={role for method in methods for role in networks.roles(method.spec, method.options)},
            datasets=[choice.spec for choice in self.settings.datasets],
            seed=self.settings.seed,
            configuration=self.settings.configuration,
            started=self.started,
            finished=finished,
            failures=self.store.failures(),
            earlier=self.store.readable_json("manifest.json"),
            workers=self.executor.workers,
            elsewhere=self.executor.machines,
        )
        self.store.write_json("manifest.json", content)

    def _closing_lines(self, failed: int) -> Sequence[str]:
        spent = self.session.ledger.summary()
        lines = [f"metric {id} failed on {note['count']} images: {note['reason']}" for id, note in self.scorer.failures.items()]
        if self.settings.curves:
            have = self.store.curves()["key"].nunique()
            lines.append(f"curves of {have} inversions; methods that show no steps have none, nor images that were done before")
        if failed:
            lines.append(f"{failed} rows failed; `invbench show {printable(self.store.path)}` tells why")
        lines.append(f"harness overhead {spent['overhead'] / spent['wall']:.1%} of {spent['wall']:.0f} s")
        return lines


def _label(one: Cell | MethodChoice) -> str:
    """A method and its preset, for the eye."""
    name = one.method if isinstance(one, Cell) else one.id
    return f"{name}:{one.preset}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
