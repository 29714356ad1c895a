"""The latency pass: pictures timed one at a time, after warm-up and with synchronisation; cells measure throughput.

For each method WARMUP pictures are processed without timing (caches, kernels, lazy set-up). Then ``count`` pictures are timed,
each by its own clock: the inversion by stage and in total, and one edit of it. Reading pictures, moving them to the device,
metrics and writing are not timed. One file of the store holds one method's times; it is written when the pass is complete and
stays valid while the method, the pictures and the machine are the same.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import chain, cycle, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench import schema
from invbench.api import Edit, Inversion, Method
from invbench.run import calls
from invbench.run.plan import Cell, Entry
from invbench.run.session import Tools
from invbench.util import provenance
from invbench.util.clock import Ledger, StageClock
from invbench.util.images import dequantise

WARMUP = 3
MACHINE = ("processor", "cores", "threads", "system", "device", "gpu", "cuda")  # what makes times comparable
Row = dict[str, Any]


@dataclass(frozen=True)
class Pictures:
    """The pictures that every method is timed on: ``count`` pictures of a dataset, repeated from the first if it has fewer."""

    dataset: str
    entries: tuple[Entry, ...]  # usable ones only
    count: int
    edit: Edit | None  # an edit that is timed as well

    def key(self, recipe: str, machine: dict[str, Any]) -> str:
        """Digest of all that the times of a method depend on."""
        on = {name: machine.get(name) for name in MACHINE} | {"torch": torch.__version__}
        images = [entry.sha256 for entry in islice(cycle(self.entries), self.count)]
        edit = None if self.edit is None else asdict(self.edit)
        return provenance.digest({"recipe": recipe, "machine": on, "images": images, "edit": edit, "warmup": WARMUP})


def run(cell: Cell, pictures: Pictures, tools: Tools) -> str:
    """Time the method of a cell and store its rows, unless they exist. Returns one line with the result."""
    method, dataset = tools.methods[cell.id], tools.datasets[pictures.dataset]
    machine = provenance.machine(str(tools.device))
    key = pictures.key(cell.recipe, machine)
    name = f"{cell.method}.{cell.preset}"
    known = tools.store.latency()
    known = known[known["key"] == key]
    if len(known) and (known["status"] == "ok").all():
        return f"latency {name}: already measured on this machine"
    head: Row = {"key": key, "recipe": cell.recipe, "suite": tools.suite, "method": cell.method, "preset": cell.preset}
    head |= {"dataset": pictures.dataset, "machine": provenance.described(machine), "warmup": WARMUP}
    rows: list[Row] = []
    gc.collect()  # garbage of the cells must not be collected while the clock runs
    images = islice(cycle(pictures.entries), WARMUP), islice(cycle(pictures.entries), pictures.count)
    for place, entry in enumerate(chain(*images), start=-WARMUP):  # below 0 while warming up
        with tools.ledger.spent("data"):
            target = dequantise(dataset.read(entry.index).picture[None], tools.device)

        def over(edit: Edit | None, name: str = entry.name) -> AbstractContextManager[None]:
            return tools.watch.over(calls.Call(cell.id, "latency", edit, (name,)))

        found = time_one(
            method, target, pictures.edit, device=tools.device, ledger=tools.ledger, on_stage=tools.on_stage, over=over
        )
        if place >= 0:
            rows += [head | {"image": entry.name, "index": place} | row for row in found]
    with tools.ledger.spent("writing"):
        tools.store.write_latency(name, key, rows)
    totals = [row[schema.ALONE] for row in rows if row["status"] == "ok" and row["edit"] is None]
    failed = pictures.count - len(totals)
    median = f"median {np.median(totals):.4g} s" if totals else "no time"
    return f"latency {name}: {median} for one image, {len(totals)} timed" + (f", {failed} failed" if failed else "")


def time_one(
    method: Method,
    target: Tensor,
    edit: Edit | None,
    *,
    device: torch.device,
    ledger: Ledger,
    on_stage: Callable[[str], None] | None = None,
    over: Callable[[Edit | None], AbstractContextManager[None]] = lambda edit: nullcontext(),
) -> list[Row]:
    """Times of one picture ``target`` [1, 3, H, W]: one row for the inversion, and one for ``edit`` if it is given.

    ``over`` is around each call, outside of its time; it may raise in its place (:meth:`invbench.run.calls.Watch.over`).

    A row has ``edit`` and ``strength`` (None for the inversion), ``status`` and ``reason``, ``latency.total`` and
    ``latency.<stage>``, all in seconds. If the method raises, the row has the status "failed".
    """
    rows: list[Row] = []
    inversion: Inversion | None = None
    for one in (None, edit) if edit is not None else (None,):
        row: Row = {"edit": one and one.name, "strength": one and float(one.strength), "status": "ok", "reason": None}
        clock = StageClock(device, on_stage=on_stage, memory=False)
        images = target.clone()  # a method may write into its input
        try:
            with over(one), ledger.spent("methods"), clock:
                if one is None:
                    inversion = method.invert(images, clock)
                elif inversion is not None:
                    method.edit(inversion, one, clock)
        except Exception as error:
            return [*rows, row | {"status": "failed", "reason": f"{type(error).__name__}: {error}"}]
        times = {schema.latency(stage): seconds for stage, seconds in clock.stages.items()}
        rows.append(row | times | {schema.ALONE: clock.total})
    return rows
