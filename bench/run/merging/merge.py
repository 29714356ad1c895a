"""Merge run folders: compare them, copy what the new folder lacks, compute the set metrics anew.

All runs are compared before anything is written. Then things are written in the order of a run: originals and plan, for each
part its pictures, its features and its rows, the set metrics, the manifest. So a merge that is killed is continued by
the same call, and one that is repeated finds everything there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError
from invbench.plugins.config import Suite
from invbench.plugins.registry import Registry
from invbench.run import aggregate
from invbench.run.merging import copies, manifests, plans
from invbench.run.merging.rows import Held, choose, joined
from invbench.run.plan import Cell
from invbench.run.session import Session, open_store
from invbench.store import Store
from invbench.util.errors import halted
from invbench.util.files import WriteFailed, locked, write_all

FILES = 32  # files that are copied at a time


@dataclass(frozen=True)
class Merged:
    """What a merged folder holds, and how many rows this call wrote."""

    cells: int
    rows: int
    missing: int  # rows that the plan has and no run
    new: int


def merge(
    paths: Sequence[Path], out: Path, *, suite: Suite, registry: Registry, device: str, say: Callable[[str], None]
) -> int:
    """Put the run folders ``paths``, and what ``out`` holds already, together in ``out``. ``say`` gets lines for the user.

    Returns the exit code: 0 done, 3 a file could not be written, 130 interrupted; the same call continues. Raises InvbenchError
    before anything is written for a folder without a run, a damaged file, and runs that disagree (:mod:`.plans`,
    :mod:`.manifests`, :mod:`.rows`).
    """
    target = open_store(out)
    stores = [Store(path) for path in paths if path.resolve() != out.resolve()]
    try:
        with locked(out):
            merged = _merge(target, stores, suite, registry, device, say)
    except (WriteFailed, KeyboardInterrupt) as error:
        return halted(error)
    lacking = f", {merged.missing} rows of the plan are missing" if merged.missing else ""
    say(f"{out}: {merged.rows} rows of {merged.cells} cells, {merged.new} of them new{lacking}")
    return 0


def _merge(
    target: Store, stores: Sequence[Store], suite: Suite, registry: Registry, device: str, say: Callable[[str], None]
) -> Merged:
    if target.has_run() and not target.exists():
        raise InvbenchError(f"{target.path}: expected the plan of the run in this folder, found none; choose another --out")
    every = [target, *stores] if target.exists() else stores
    own = target.manifest if (target.path / "manifest.json").exists() else {}  # none yet where a merge was killed
    told = [*([(str(target.path), own)] if own else []), *((str(store.path), store.manifest) for store in stores)]
    if not told:
        raise InvbenchError(f"{target.path}: expected a run to be merged into it, found none")
    plan = plans.together([(str(store.path), store.plan) for store in every])
    manifest = manifests.together(told)
    cells = [Cell.read(described) for described in plan["cells"].values()]
    chosen = {cell.id: choose(cell, every) for cell in cells}
    for line in _other_recipes(cells):
        say(line)
    beside = copies.inputs(cells, stores, target) | copies.true_pictures(cells, stores, target)
    beside |= copies.others(cells, stores, target)
    sets = [row for store in every for row in store.sets()]  # before those of the target are replaced
    _copy(beside)
    copies.truth_digests(cells, stores, target)
    _write_json(target, "plan.json", plan)
    if not own:
        _write_json(target, "manifest.json", {**manifest, "finished": None})
    new = sum(_write_rows(target, cell, chosen[cell.id]) for cell in cells)
    with Session(suite, device=device, readers=0) as session:
        rows = _set_rows(target, session, registry, manifest["metrics"], sets, say)
    if not target.has_sets() or rows != target.sets():
        target.write_sets(rows)
    _write_json(target, "manifest.json", {**manifest, "metric_failures": target.failures()})
    count = sum(map(len, chosen.values()))
    return Merged(len(cells), count, sum(len(cell.keys()) for cell in cells) - count, new)


def _other_recipes(cells: Sequence[Cell]) -> Iterator[str]:
    """A line on each method whose cells were made by different code or weights."""
    recipes: dict[str, dict[str, str]] = defaultdict(dict)
    for cell in cells:
        recipes[f"{cell.method}.{cell.preset}"].setdefault(cell.recipe, cell.dataset)
    for method, found in recipes.items():
        if len(found) > 1:
            yield f"note: {method}: its code, weights or seed changed between its rows of {' and '.join(found.values())}"


def _write_rows(target: Store, cell: Cell, chosen: Mapping[str, Held]) -> int:
    """Bring the rows of a cell up to those that were chosen. Returns how many are new."""
    groups: dict[str, list[Held]] = defaultdict(list)
    for one in chosen.values():
        groups[one.part.name].append(one)
    stale = [row["key"] for part in target.parts(cell.id) for row in part.rows if row["key"] not in chosen]
    replaced = [key for key, one in chosen.items() if one.store is not target]
    target.set_aside(cell.id, stale, keep=True)
    kept = {name: rows for name, rows in groups.items() if any(one.store is not target for one in rows)}
    parts = {name: joined(name, cell.id, rows) for name, rows in kept.items()}  # before rows of the target are set aside
    target.set_aside(cell.id, replaced, keep=False)
    for name, (part, features, images, recipes) in parts.items():
        files = [one.files(cell.id, into=target) for one in groups[name] if one.store is not target]
        _copy({new: path for each in files for path, new in each.items()})
        if features:
            target.write_features(cell.id, name, features=features, images=images, recipes=recipes)
        target.write_part(cell.id, part)
    return len(replaced)


def _set_rows(
    target: Store,
    session: Session,
    registry: Registry,
    metrics: Mapping[str, Mapping[str, Any]],
    known: Sequence[aggregate.Row],
    say: Callable[[str], None],
) -> list[aggregate.Row]:
    """The set metrics over all images; one that cannot be computed here has the values of the runs, where these agree."""
    ids = sorted(id for id, one in metrics.items() if one.get("kind") == "set")
    specs = [registry.metrics[id] for id in ids if id in registry.metrics]
    scorer = session.scorer(specs, protocols=registry.protocols, required=False)
    same = [spec for spec in specs if scorer.recipes.get(spec.id) == metrics[spec.id]["recipe"]]
    if len(same) < len(specs):
        scorer = session.scorer(same, protocols=registry.protocols, required=False)
    rows = aggregate.set_rows(target, scorer, known=known)
    for id in (id for id in ids if id not in scorer.sets):
        say(f"{id}: not computed anew: expected its code and weights as the runs had them, found others or none")
        rows += _kept(row for row in known if row["metric"] == id)
    return rows


def _kept(known: Iterable[aggregate.Row]) -> list[aggregate.Row]:
    """The values of a metric by cell; none where runs have different ones of a cell."""
    found: dict[tuple[str, ...], aggregate.Row] = {}
    for row in known:
        before = found.setdefault((row["method"], row["preset"], row["dataset"]), row)
        if before != row:
            nothing = dict.fromkeys(("value", "low", "high", "bias", "key"))
            why = "to be computed anew over images of several runs; its code or weights are not those of the runs"
            found[row["method"], row["preset"], row["dataset"]] = {**row, **nothing, "reason": why, "n": 0}
    return list(found.values())


def _write_json(target: Store, name: str, content: Mapping[str, Any]) -> None:
    if target.readable_json(name) != content:
        target.write_json(name, content)


def _copy(files: Mapping[Path, Path]) -> None:
    """Copy files, new file -> old file, some at a time."""
    left = iter(files.items())
    while some := dict(islice(left, FILES)):
        write_all({new: path.read_bytes() for new, path in some.items()})
