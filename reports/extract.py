"""A few columns of a run's tables, chosen well or named by the user, from which each format of ``show`` is rendered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invbench import schema
from invbench.api import Edit, InvbenchError
from invbench.reports import edit_sets, figures, machines, query, verdicts
from invbench.reports.compare import Method
from invbench.reports.edit_sets import EditTable
from invbench.reports.figures import DatasetFigures, Figure, Table
from invbench.reports.measures import Measure
from invbench.reports.run import Run
from invbench.reports.text import edit_text, mebibytes, number_format, short_head, written
from invbench.util.names import signed, unknown

# The main columns: of each kind the first that a run has, by the name of the metric (families with all their members).
MAIN = (("psnr", "mse"), ("lpips",), ("id",), ("fid", "kid"))
KEPT = ("id_kept", "truth_psnr", "truth_lpips")
SECONDS, MEMORY = "seconds", "memory"
_NOTHING = Figure(math.nan, math.nan, math.nan, written(math.nan, "z"), "", "")


@dataclass(frozen=True)
class Column:
    """One column: ``id`` names it in full ("id_kept@native at age +10 years"), ``head`` in short ("ID-kept").

    better    "lower", "higher" or "none"; ``unit`` may be empty
    figures   one for each method, in the order of the rows
    spec      the metric; None for seconds and memory
    """

    id: str
    head: str
    better: str
    unit: str
    figures: Sequence[Figure]
    spec: Measure | None = None


@dataclass(frozen=True)
class Extract:
    """The chosen columns of a dataset: ``rows`` are those of the leaderboard, ``labels`` the names of their methods,
    ``notes`` say on which machine its seconds and bytes were measured, and where they are of different ones; ``machine`` is
    that one, "" if the columns have none or several."""

    run: Run
    dataset: str
    rows: Sequence[Mapping[str, Any]]
    labels: Sequence[str]
    columns: Sequence[Column]
    verdict: str
    notes: Sequence[str] = ()
    machine: str = ""

    @property
    def counts(self) -> list[str]:
        """Images inverted of images planned, for each row; empty if no method lacks any."""
        found = [figures.counts(row) for row in self.rows]
        return found if any(row["n_ok"] < row["n_total"] for row in self.rows) else []


def main(run: Run) -> list[Extract]:
    """The main columns of each dataset of a run: one fidelity, one perceptual, one identity and one set metric, one of
    editing, seconds and memory, as far as the run has them."""
    return of_datasets(run, figures.datasets(run, query.leaderboard(run), query.edits(run, strongest=True), strongest=True))


def of_datasets(run: Run, found: Sequence[DatasetFigures]) -> list[Extract]:
    """:func:`main` of figures that are there already; they are of the largest strength of each edit."""
    return [_extract(run, one, [*_families(one.board), *_kept(run, one), *_costs(one.board, ())]) for one in found]


def chosen(run: Run, *, metrics: Sequence[str] = (), edits: Sequence[str] = ()) -> list[Extract]:
    """The named columns of each dataset; without names, :func:`main`.

    metrics  ID ("psnr@native"), NAME ("psnr"), a form of the FID of edits ("edit_fid_sfe"), "seconds" or "memory"
    edits    NAME (its largest strength) or NAME:STRENGTH; edit metrics are given for each of them, and forms of the FID of
             edits also at equal changes in the direction of each, and at the searched strength
    Raises InvbenchError for a name that the run does not hold, and for an edit metric without an edit.
    """
    if not metrics and not edits:
        return main(run)
    board, edited = figures.datasets, query.edits(run)
    asked = [edit_of(run, name) for name in edits]
    of_sets = edit_sets.tables(run)
    specs = _specs(run, metrics, of_sets, edits=bool(edits))
    found = []
    for one in board(run, query.leaderboard(run), edited):
        columns = [column(spec, values) for spec in specs for own, values in one.board.metrics if own.id == spec.id]
        columns += [edited for name, strength in asked for edited in _edited(one, specs, name, strength)]
        named = [table for table in of_sets if table.dataset == one.name and table.form in {spec.id for spec in specs}]
        fids, notes = _of_sets(one, named, asked)
        found.append(_extract(run, one, [*columns, *fids, *_costs(one.board, metrics)], notes))
    return found


def _extract(run: Run, found: DatasetFigures, columns: Sequence[Column], more: Sequence[str] = ()) -> Extract:
    rows = found.board.rows
    known = Counter(row["machine"] for row in rows if row["machine"])
    usual = known.most_common(1)[0][0] if known else ""
    seconds: dict[Method, float] = {
        (str(row["method"]), str(row["preset"])): value
        for row, value in zip(rows, found.board.values(schema.INVERT))
        if row["machine"] == usual  # the time of one machine is not compared with that of another
    }
    timed = any(schema.is_measure(column.id) for column in columns)
    machine = usual if timed and len(known) == 1 and usual != machines.UNKNOWN else ""
    notes = [f"{machines.APART} ({', '.join(sorted(known))}): --all tells which"] if len(known) > 1 else []
    notes += [f"seconds and memory on {machine}"] if machine else []
    notes += [*found.board.stability, *more]
    labels = [run.label(row["method"], row["preset"]) for row in rows]
    return Extract(run, found.name, rows, labels, columns, verdicts.reconstruction(run, found.name, seconds), notes, machine)


def _families(board: Table) -> list[Column]:
    found = []
    for families in MAIN:
        of_family = [one for family in families for one in board.metrics if _is_of(one[0], family)]
        found += [column(*one) for one in of_family[:1]]
    return found


def _is_of(spec: Measure, family: str) -> bool:
    return spec.name == family or spec.name.startswith(f"{family}_")


def _kept(run: Run, found: DatasetFigures) -> list[Column]:
    """What an edit kept: at an equal change of the first edit that has it, else at its largest strength."""
    for table, place, unit in ((found.equal_change, "change", True), (found.edits, "strength", False)):
        edits = [edit["name"] for cell in run.plan["cells"].values() for edit in cell["edits"]]
        known = {row["edit"]: row[place] for row in table.rows}
        name = next((edit for edit in edits if edit in known), None)
        one = verdicts.first_of([one for one in table.metrics if one[0].better != "none"], KEPT, lambda one: one[0].name)
        if name is not None and one is not None:
            asked = run.manifest.get("edits", {}).get(name, {}).get("unit", "") if unit else ""
            where = edit_text(name, known[name]) + (f" {asked}" if asked else "")
            return [_aligned(found.board, table, *one, name=name, at=(place, known[name]), where=where)]
    return []


def _edited(found: DatasetFigures, specs: Sequence[Measure], name: str, strength: float | None) -> list[Column]:
    strength = _largest(found, name) if strength is None else strength
    if strength not in _strengths(found, name) or strength is None:
        return []
    columns = []
    for spec in specs:
        for own, values in found.edits.metrics:
            if own.id == spec.id and (not spec.edits or {part.name for part in Edit(name, 0.0).plain.parts} & set(spec.edits)):
                at, where = ("strength", strength), edit_text(name, strength)
                columns.append(_aligned(found.board, found.edits, own, values, name=name, at=at, where=where))
    return columns


def _strengths(found: DatasetFigures, name: str) -> list[float]:
    return [row["strength"] for row in found.edits.rows if row["edit"] == name]


def _largest(found: DatasetFigures, name: str) -> float | None:
    return max(_strengths(found, name), default=None)


def _of_sets(
    found: DatasetFigures, tables: Sequence[EditTable], asked: Sequence[tuple[str, float | None]]
) -> tuple[list[Column], list[str]]:
    """The columns of the FID of edits for the strengths asked for, each rule a column of its own, and notes on them."""
    columns: dict[str, Column] = {}
    notes: list[str] = []
    for name, strength in asked:
        at = _largest(found, name) if strength is None else strength
        for table in tables:
            if at is None or table.edit != name or table.direction * at <= 0:
                continue
            readings = [one for one in table.readings if one.rule != edit_sets.STRENGTH or one.at == at]
            write = number_format(value for one in readings for value in one.values)
            for one in readings:
                of = {
                    line.method: Figure(value, math.nan, math.nan, cell, "", "", n=line.edits, own=line.edits)
                    for line, value, cell in zip(table.lines, one.values, edit_sets.texts(table, one, write), strict=True)
                }
                where, spec = edit_sets.head(table, one), _measure(table)
                id = f"{table.form} at {where}" if one.rule == edit_sets.STRENGTH else f"{table.form} {where}, {table.up}"
                values = [of.get((row["method"], row["preset"]), _NOTHING) for row in found.board.rows]
                columns[id] = Column(id, f"{short_head(spec)}, {where}", "lower", "", values, spec)
            notes.append(f"{edit_sets.title(table)}; {'; '.join(edit_sets.notes(table))}")
    return [*columns.values()], [*dict.fromkeys(notes), *(edit_sets.LEGEND if columns else ())]


def _measure(table: EditTable) -> Measure:
    """A form of the FID of edits as a metric."""
    return Measure(table.form, "edit", title=table.title, better="lower")


def _aligned(
    board: Table, table: Table, spec: Measure, values: Sequence[Figure], *, name: str, at: tuple[str, float], where: str
) -> Column:
    """A column of a table of edits, in the order of the leaderboard."""
    of = {
        (row["method"], row["preset"]): one
        for row, one in zip(table.rows, values)
        if row["edit"] == name and row[at[0]] == at[1]
    }
    aligned = [of.get((row["method"], row["preset"]), _NOTHING) for row in board.rows]
    head = f"{short_head(spec)}, {edit_text(name, at[1])}"
    return Column(f"{spec.id} at {where}", head, spec.better, spec.unit, aligned, spec)


def column(spec: Measure, values: Sequence[Figure]) -> Column:
    """The column of a metric of the leaderboard."""
    return Column(spec.id, short_head(spec), spec.better, spec.unit, values, spec)


def _costs(board: Table, asked: Sequence[str]) -> list[Column]:
    """Seconds and memory, if they were measured; those that are asked for, else (nothing asked) both."""
    device = any(value > 0 for value in board.values(schema.DEVICE_PEAK))
    known: dict[str, tuple[str, str, str, Callable[[float], str]]] = {
        SECONDS: (schema.INVERT, "s/image", "s", lambda value: written(value, "z.3g")),
        MEMORY: (schema.DEVICE_PEAK if device else schema.RSS_PEAK, "MiB", "bytes", mebibytes),
    }
    found = []
    for name, (column, head, unit, write) in known.items():
        values = board.values(column)
        if (not asked or name in asked) and not all(map(math.isnan, values)):
            cells = [Figure(value, math.nan, math.nan, write(value), "", "") for value in values]
            found.append(Column(column, head, "lower", unit, cells))
    return found


def _specs(run: Run, metrics: Sequence[str], of_sets: Sequence[EditTable], *, edits: bool) -> list[Measure]:
    """The metrics of these names, in the order named; with edits and without names, the main ones of edits."""
    if not metrics:
        of_edits = [spec for spec in run.specs_of("edit") if spec.name in KEPT or spec.name.endswith("_change")]
        return of_edits or list(run.specs_of("edit"))
    specs = [*run.specs.values(), *{table.form: _measure(table) for table in of_sets}.values()]
    known = {name for spec in specs for name in (spec.id, spec.name)}
    found: list[Measure] = []
    for name in metrics:
        if name in (SECONDS, MEMORY):
            continue
        if name not in known:
            raise InvbenchError(f"{run.store.path}: {unknown('metric', name, [*known, SECONDS, MEMORY])}")
        of_name = [spec for spec in specs if name in (spec.id, spec.name)]
        if not edits and all(spec.kind == "edit" for spec in of_name):
            raise InvbenchError(f"metric {name}: is of edits; expected --edits NAME or NAME:STRENGTH with it, found none")
        found += of_name
    return found


def _asked(edit: str, strength: float) -> str:
    """An edit as a user names it: "age:3"; different strengths give different texts."""
    return f"{edit}:{signed(strength).removeprefix('+')}"


def edit_of(run: Run, name: str) -> tuple[str, float | None]:
    """An edit as the user names it -> its name and strength (None: the largest). Raises InvbenchError for an unknown one."""
    held: Iterable[Mapping[str, Any]] = [edit for cell in run.plan["cells"].values() for edit in cell["edits"]]
    known = {_asked(edit["name"], float(edit["strength"])): (edit["name"], float(edit["strength"])) for edit in held}
    word, colon, strength = name.partition(":")
    if not colon and word in {edit for edit, _ in known.values()}:
        return word, None
    try:
        asked = _asked(word, float(strength))
    except ValueError:
        asked = name
    if asked not in known:
        raise InvbenchError(f"{run.store.path}: {unknown('edit', name, [*known, *(edit for edit, _ in known.values())])}")
    return known[asked]
