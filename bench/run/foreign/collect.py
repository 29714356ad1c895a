"""The task to start a cell's foreign commands on the pictures that are still to be made.

A start of one picture comes first, to know what a start takes. Then all pictures are given to one start. If it crashes or is
cut off, what it made counts; the first picture that it did not make is put off, and the others get another start. Pictures put
off are tried alone at the end. After two starts in a row that made nothing, none is made any more. A command that ends with
exit code 0 without some of the pictures has decided so: they are failures, and not tried again in this run.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from invbench.api import Edit, InvbenchError, printable
from invbench.plugins.config import MethodChoice
from invbench.plugins.foreign import PLACES, Foreign, filled
from invbench.run.foreign import process, starts
from invbench.run.foreign.devices import surroundings
from invbench.run.foreign.exchange import edit_folder
from invbench.run.foreign.process import Outcome
from invbench.run.foreign.starts import LOG, Start, Work, label
from invbench.run.plan import Cell, Entry
from invbench.run.session import Tools
from invbench.util.files import file_name, refuse_links
from invbench.util.images import encode_png

PICTURES = 32  # that are read and written at a time
DEATHS = 2  # starts in a row that made nothing
SLACK = 1.05  # a command's own times may add up to this share of the seconds of its process
STOPPING = 60.0  # seconds


@dataclass(frozen=True)
class Collect:
    """The task for the images ``entries`` of a cell; ``size``: height and width of all pictures in pixels."""

    cell: Cell
    entries: tuple[Entry, ...]
    choice: MethodChoice
    size: tuple[int, int]
    seed: int
    threads: int
    limit: float | None  # seconds a picture

    @property
    def images(self) -> int:
        """None: its images are counted when their rows are made."""
        return 0

    def run(self, tools: Tools) -> str:
        """A line on what was made."""
        if None in tools.watch.refused:
            return f"{self.cell.id}: not started: {tools.watch.refused[None]}"
        assert self.choice.foreign is not None
        return _Work(self, self.choice.foreign, tools).execute()


@dataclass(frozen=True)
class _Work:
    task: Collect
    foreign: Foreign
    tools: Tools

    @cached_property
    def folder(self) -> Path:
        return self.tools.store.foreign(self.task.cell.id).absolute()

    @property
    def log(self) -> Path:
        return self.folder / LOG

    def execute(self) -> str:
        task = self.task
        refuse_links(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        found = [one for one in starts.latest(self.folder) if one.recipe == task.cell.recipe]
        found = [one for one in found if not one.probe or one.of(None) is not None]  # a probe that was cut off says nothing
        starts.forget(self.folder, but=found)
        for one in found:
            if one.of(None) is None:  # interrupted with its run
                self._settle(one, None, None)
        missing = [entry for entry in task.entries if not self._is_made(found, entry)]
        with self.tools.ledger.spent("methods"):
            if len(missing) > 1 and not any(one.probe for one in found):
                found.append(self._start(missing[:1], probe=True))
            found += self._make(missing, failed_before=any(one.probe and not self._made(one) for one in found))
            for one in found:
                self._edit(one)
        return self._told(found)

    # -- starts -----------------------------------------------------------------------------------------------------
    def _make(self, missing: Sequence[Entry], *, failed_before: bool) -> list[Start]:
        left, alone, found, deaths = list(missing), list[Entry](), list[Start](), int(failed_before)
        while left:
            found.append(start := self._start(left))
            made = self._made(start)
            left = [entry for entry in left if entry.name not in made]
            if start.ended_well or not left:
                break
            deaths = 0 if made else deaths + 1
            if deaths >= DEATHS:
                return found
            alone.append(left.pop(0))
        for entry in alone if deaths < DEATHS and len(missing) > 1 else ():
            found.append(self._start([entry]))
        return found

    def _start(self, entries: Sequence[Entry], *, probe: bool = False) -> Start:
        """Start the command for inversion on some pictures."""
        start = starts.new(self.folder, self.task.cell.recipe, {one.name: one.sha256 or "" for one in entries}, probe=probe)
        dataset = self.tools.datasets[self.task.cell.dataset]
        start.exchange.make()
        start.exchange.ask([(edit, *self.foreign.words(edit)) for edit in self.task.cell.edits])
        for first in range(0, len(entries), PICTURES):
            some = entries[first : first + PICTURES]
            start.exchange.put({one.name: encode_png(dataset.read(one.index).picture) for one in some})
        outcome = self._run("invert", start, len(entries), None)
        self._settle(start, None, outcome)
        return start

    def _edit(self, start: Start) -> None:
        """Make the edits that a start lacks, of the pictures that it made; a probe tries one."""
        made = list(self._made(start))
        asked = self.task.cell.edits[:1] if start.probe else self.task.cell.edits
        wanted = {entry.name for entry in self.task.entries} & {*made}
        lacking = [edit for edit in asked if (work := start.of(edit)) is None or wanted & {*work.failed}]
        if not wanted or not lacking:
            return
        if not self.foreign.edit:  # the command for inversion was to make them
            for edit in lacking:
                self._settle(start, edit, None)
            return
        start.exchange.hold(made)
        groups = [[edit] for edit in lacking] if self.foreign.edits_one_by_one else [lacking]
        for edits in groups:
            start.exchange.ask([(edit, *self.foreign.words(edit)) for edit in edits])
            outcome = self._run("edit", start, len(made) * len(edits), edits)
            for edit in edits:
                self._settle(start, edit, outcome, shared=len(edits))

    def _run(self, key: str, start: Start, pictures: int, edits: Sequence[Edit] | None) -> Outcome:
        """Run a command in the exchange of a start."""
        exchange, task, device = start.exchange, self.task, torch.device(self.tools.device)
        env, facts = surroundings(device, threads=task.threads)
        paths: dict[str, Any] = {"exchange": exchange.path} | {name: exchange.place(name) for name in PLACES[1:-1]}
        paths |= {"times": exchange.place("times.json")}
        values = {**self.task.choice.options, **paths, **facts, "seed": task.seed}
        values |= {"folder": self.foreign.folder, "here": self.foreign.here}
        values |= {"size": task.size[1], "run": f"invbench-{self.task.cell.recipe[:8]}-{start.path.name}"}
        if edits is not None and self.foreign.edits_one_by_one:
            name, strength = self.foreign.words(edits[0])
            place = exchange.place("edits") / edit_folder(edits[0])
            values |= {"edit": name, "strength": f"{strength:g}", "edit_folder": place}
        command = filled(getattr(self.foreign, key), values)
        program = self.foreign.program(key)
        command[0] = command[0] if program is None or "{" in program else program
        env |= {f"INVBENCH_{name.upper()}": str(path) for name, path in paths.items()} | self.foreign.env
        limit = None if task.limit is None else task.limit * pictures + self.foreign.startup
        with open(self.log, "a", encoding="utf-8") as handle:
            handle.write(printable(f"$ {' '.join(command)}  # {pictures} pictures, start {start.path.name}") + "\n")
        seen = edits[0] if edits else None
        what = "a start is measured" if start.probe else f"{label(seen) or key}: {{}} of {pictures // len(edits or 'x')}"

        def watch(seconds: float) -> None:
            self.tools.on_stage(f"{what.format(exchange.count(seen))}, {seconds:.0f} s")

        try:
            outcome = process.run(
                command, folder=self.foreign.folder, env=env, log=self.log, limit=limit, gpu=facts["number"], watch=watch
            )
        except BaseException:
            self._stop(values)
            raise
        if outcome.cut_off:
            self._stop(values)
        return outcome

    def _stop(self, values: dict[str, Any]) -> None:
        """Run the command that ends what no signal reaches."""
        if self.foreign.stop:
            with suppress(OSError, subprocess.SubprocessError):
                command = filled(self.foreign.stop, values)
                subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=STOPPING)

    # -- what they left -----------------------------------------------------------------------------------------------
    def _settle(self, start: Start, edit: Edit | None, outcome: Outcome | None, *, shared: int = 1) -> None:
        """Look at every picture that a command was to make, and record which there are and why others are not."""
        names = [*start.images] if edit is None else [*self._made(start)]
        work = Work(outcome.seconds if outcome else None, {}, {}, shared=shared)
        for name in names:
            try:
                _, work.made[name] = start.exchange.picture(name, edit, self.task.size)
                if edit is None:
                    start.exchange.latents(name)
            except InvbenchError as error:
                work.made.pop(name, None)
                work.failed[name] = self._why(error, outcome)
        if outcome is not None:
            work.rss_peak, work.gpu_peak = outcome.rss_peak, outcome.gpu_peak
            work.told = self._times(start, edit, names, outcome)
        start.work[label(edit)] = work
        start.ended_well = outcome is not None and not outcome.reason
        start.write()

    def _why(self, error: InvbenchError, outcome: Outcome | None) -> str:
        if outcome is None:
            return f"{error}; the command was interrupted" if self.foreign.edit else str(error)
        ended = outcome.reason or "the command ended with exit code 0"
        said = f"; it printed last:\n{outcome.tail}" if outcome.tail else ""
        return f"{error}; {ended} (foreign/{self.folder.name}/{LOG}){said}"

    def _times(self, start: Start, edit: Edit | None, names: Iterable[str], outcome: Outcome) -> dict[str, dict[str, float]]:
        """The times that the command told, if they can be true."""
        try:
            found = start.exchange.times(edit)
            told = {name: found[file_name(name)] for name in names if file_name(name) in found}
            total = sum(sum(one.values()) for one in told.values())
            if total > outcome.seconds * SLACK:
                whole = f"the {outcome.seconds:.1f} s of the process"
                raise InvbenchError(f"times.json: expected at most {whole}, found {total:.1f} s")
        except InvbenchError as error:
            with open(self.log, "a", encoding="utf-8") as handle:
                handle.write(f"[times are left out: {error}]\n")
            return {}
        return told

    def _made(self, start: Start) -> dict[str, str]:
        work = start.of(None)
        return {} if work is None else work.made

    def _is_made(self, found: Sequence[Start], entry: Entry) -> bool:
        """Whether a picture is there, as it was when its command ended."""
        for start in starts.makers(found, entry.name, entry.sha256 or ""):
            with suppress(InvbenchError):
                return start.exchange.picture(entry.name, None, self.task.size)[1] == self._made(start)[entry.name]
        return False

    def _told(self, found: Sequence[Start]) -> str:
        made = sum(self._is_made(found, entry) for entry in self.task.entries)
        figures, own = starts.figures(found, None), [one for one in found if not one.probe]
        parts = [f"{made} of {len(self.task.entries)} pictures in {len(own)} start{'s' if len(own) != 1 else ''}"]
        if figures.each == figures.each:
            parts.append(f"{figures.startup:.1f} s a start and {figures.each:.3g} s a picture")
        parts += [f"{figures.rss_peak / 2**30:.1f} GiB of memory"] if figures.rss_peak else []
        parts += [f"{figures.gpu_peak / 2**30:.1f} GiB of a GPU"] if figures.gpu_peak else []
        return f"{self.task.cell.id}: {', '.join(parts)}; log: {printable(self.log)}"
