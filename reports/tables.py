"""Plain tables of a run, for the terminal and for Markdown, by tabulate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pandas as pd
from tabulate import tabulate

from bench.api import MetricSpec
from bench.store import Store
from reports import query
from reports.query import Run

ARROWS = {"lower": "↓", "higher": "↑", "none": ""}
NOTHING = "–"
_MARKS: dict[str, dict[int, Callable[[str], str]]] = {
    "simple": {1: lambda text: f"* {text}"},
    "github": {1: lambda text: f"**{text}**", 2: lambda text: f"<u>{text}</u>"},
}


def terminal(source: Store | Run) -> str:
    """All tables of a run as text: leaderboard, strongest edits, failures and what could not be measured."""
    run = Run.of(source)
    board, edited = query.leaderboard(run), query.edits(run)
    blocks = []
    for dataset, frame in board.groupby("dataset"):
        blocks.append(f"{dataset}\n{leaderboard(run, frame)}")
        strongest = edited[edited["dataset"] == dataset]
        strongest = strongest[strongest["strength"] == strongest.groupby("edit")["strength"].transform("max")]
        if len(strongest):
            blocks.append(f"{dataset}: edits at the largest strength (the page has all)\n{edits(run, strongest)}")
    notes = ["* best mean among the methods with the most images; n = images measured of images planned"]
    if not run.manifest.get("finished"):
        notes.append("this run is not finished; `invbench run` with the same arguments continues it")
    notes += [f"{id}: {reason}" for id, reason in query.unavailable(run).items()]
    blocks.append("\n".join(notes))
    failed = query.failures(run)
    if len(failed):
        blocks.append("failed\n" + failure_table(failed))
    return "\n\n".join(blocks)


def markdown(source: Store | Run) -> str:
    """The leaderboards of a run in GitHub's Markdown, a heading for each dataset: best bold, second underlined."""
    run = Run.of(source)
    parts = [
        f"### {escape_markdown(str(dataset))}\n\n{leaderboard(run, frame, style='github')}"
        for dataset, frame in query.leaderboard(run).groupby("dataset")
    ]
    return "\n\n".join(parts) + "\n"


def leaderboard(run: Run, frame: pd.DataFrame, *, style: str = "simple") -> str:
    """The rows of one dataset of :func:`reports.query.leaderboard` as a table; ``style`` is "simple" or "github"."""
    columns = _heads(frame, style) | {"n": [f"{row.n_ok}/{row.n_total}" for row in frame.itertuples()]}
    columns |= _metric_columns(frame, run.specs_of("inversion", "set"), style)
    columns |= _numbers(frame, {"seconds.invert": "s/image", "seconds.edit": "s/edit"})
    for name, head in {"memory.device_peak": "device MiB", "memory.rss_peak": "RSS MiB"}.items():
        if name in frame and (frame[name] > 0).any():
            columns[head] = [NOTHING if math.isnan(value) else f"{value / 2**20:.0f}" for value in frame[name]]
    return _table(columns, style)


def edits(run: Run, frame: pd.DataFrame, *, style: str = "simple") -> str:
    """Rows of one dataset of :func:`reports.query.edits` as a table, sorted by edit and strength."""
    frame = frame.sort_values(["edit", "strength"], kind="stable").reset_index(drop=True)
    columns = {
        "edit": [_escape(f"{row.edit}{row.strength:+g}", style) for row in frame.itertuples()],
        **_heads(frame, style),
        "n": [f"{row.n_ok}/{row.n_total}" for row in frame.itertuples()],
        "asked": [NOTHING if math.isnan(row.target) else f"{row.target:+g} {row.unit}" for row in frame.itertuples()],
    }
    columns |= _metric_columns(frame, run.specs_of("edit"), style, by=["edit", "strength"])
    return _table(columns, style)


def failure_table(failed: pd.DataFrame, *, style: str = "simple") -> str:
    """The frame of :func:`reports.query.failures` as a table."""
    rows = [
        [row.dataset, row.method, row.preset, row.rows, ", ".join([*row.images[:3], *["…"][: len(row.images) > 3]]), row.reason]
        for row in failed.itertuples()
    ]
    cells = [[_escape(str(cell), style) for cell in row] for row in rows]
    heads = ["dataset", "method", "preset", "rows", "images", "reason"]
    return tabulate(cells, headers=heads, tablefmt=style, disable_numparse=True, maxcolwidths=[None] * 5 + [70])


def number_format(values: Iterable[float]) -> Callable[[float], str]:
    """One format for a column: as many decimals as give its largest finite value four digits, at most six."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    decimals = min(max(3 - math.floor(math.log10(max(sizes))), 0), 6) if sizes else 0

    def write(value: float) -> str:
        if math.isnan(value):
            return NOTHING
        if math.isinf(value):
            return "∞" if value > 0 else "-∞"
        return f"{value:.{decimals}f}"

    return write


def metric_texts(frame: pd.DataFrame, id: str) -> list[str]:
    """A metric's means as text; where some values are infinite, how many, and the mean of the others."""
    finite = frame[f"{id}.finite"] if f"{id}.finite" in frame else frame[id]
    write = number_format(finite)
    texts = []
    for position in range(len(frame)):
        value = float(frame[id].iloc[position])
        text = write(value)
        if math.isinf(value) and f"{id}.inf" in frame:
            count, covered = frame[f"{id}.inf"].iloc[position], frame[f"{id}.n"].iloc[position]
            text += f" ({count} of {covered}" + (f"; others {write(float(finite.iloc[position]))})" if count < covered else ")")
        texts.append(text)
    return texts


def escape_markdown(text: str) -> str:
    """Text that Markdown and its HTML show as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in text)


def _escape(text: str, style: str) -> str:
    return escape_markdown(text) if style == "github" else text


def _heads(frame: pd.DataFrame, style: str) -> dict[str, list[str]]:
    return {name: [_escape(str(value), style) for value in frame[name]] for name in ("method", "preset")}


def _metric_columns(
    frame: pd.DataFrame, specs: Iterable[MetricSpec], style: str, *, by: list[str] | None = None
) -> dict[str, list[str]]:
    """Head -> texts with the best marked within each group of ``by``; metrics without a single value are left out."""
    columns = {}
    frame = frame.reset_index(drop=True)
    for spec in specs:
        if spec.id not in frame or frame[spec.id].isna().all():
            continue
        groups = [group for _, group in frame.groupby(by)] if by else [frame]
        place = pd.concat([query.places(group, spec) for group in groups]).sort_index()
        marks, plain = _MARKS[style], (lambda text: text)
        texts = [marks.get(number, plain)(text) for text, number in zip(metric_texts(frame, spec.id), place)]
        full = frame["n_ok"]
        texts = [
            f"{text} ({covered} img)" if covered != of and text != NOTHING else text
            for text, covered, of in zip(texts, frame[f"{spec.id}.n"], full)
        ]
        columns[f"{_escape(spec.id, style)} {ARROWS[spec.better]}".strip()] = texts
    return columns


def _numbers(frame: pd.DataFrame, heads: dict[str, str]) -> dict[str, list[str]]:
    found = {name: head for name, head in heads.items() if name in frame and frame[name].notna().any()}
    return {head: [number_format(frame[name])(float(value)) for value in frame[name]] for name, head in found.items()}


def _table(columns: dict[str, list[str]], style: str) -> str:
    align = ["left" if head in {"edit", "method", "preset"} else "right" for head in columns]
    return tabulate(columns, headers="keys", tablefmt=style, disable_numparse=True, colalign=align)
