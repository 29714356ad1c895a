"""Plain tables of a run, for the terminal and for Markdown, by tabulate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import pandas as pd
from tabulate import tabulate

from invbench.api import MetricSpec
from invbench.compare.stats import LEVEL
from invbench.reports import coverage, equal_change, query, trips
from invbench.reports.run import Run
from invbench.reports.text import ARROWS, NOTHING, escape_markdown, metric_texts, number_format
from invbench.store import Store

Column = tuple[str, Sequence[str]]  # head and texts
_MARKS: dict[str, dict[int, Callable[[str], str]]] = {
    "simple": {1: lambda text: f"* {text}"},
    "github": {1: lambda text: f"**{text}**", 2: lambda text: f"<u>{text}</u>"},
}
_LEFT = frozenset({"edit", "method", "preset", "rank", "on"})


def terminal(
    source: Store | Run, *, intervals: bool | None = None, covered: bool = False, width: int | None = None
) -> str:
    """All tables of a run as text: leaderboard, strongest edits, times, failures and what could not be measured.

    intervals  whether means stand with their intervals; None: where the tables fit into ``width`` with them
    covered    also how many images every method covers in every metric; else only where it is not all of them
    width      columns of the terminal, to which tables are folded; None: they are never folded
    """
    run = Run.of(source)
    board, edited = query.leaderboard(run), query.edits(run, strongest=True)
    blocks = []
    for dataset, frame in board.groupby("dataset"):
        found = [one for one in run.inversions if one.block.place == (dataset,)]
        lines = [str(dataset), leaderboard(run, frame, intervals=intervals, width=width), *coverage.statements(found)]
        metrics = [spec.id for spec in run.specs_of("inversion") if spec.id in frame] if covered else coverage.incomplete(found)
        blocks.append("\n".join(lines))
        if metrics:
            table = fold(_heads(frame, "simple"), [[column] for column in coverage.own(frame, metrics).items()], width)
            blocks.append(f"{dataset}: images covered of images planned\n{table}")
        strongest = edited[edited["dataset"] == dataset]
        if len(strongest):
            found = [one for one in run.strongest_edits if one.block.place[0] == dataset]
            head = f"{dataset}: edits at the largest strength (the page has all)"
            table = edits(run, strongest, intervals=intervals, width=width)
            blocks.append("\n".join([head, table, *coverage.statements(found)]))
    kept = equal_change.summary(run)
    for dataset, frame in kept.frame.groupby("dataset"):
        largest = frame[frame["change"] == frame.groupby("edit")["change"].transform("max")].reset_index(drop=True)
        places = set(zip(largest["edit"], largest["change"]))
        found = [one for one in kept.compared if one.block.place[0] == dataset and one.block.place[1:] in places]
        head = f"{dataset}: kept by edits that change their attribute equally; n = images where the method gets that far"
        blocks.append("\n".join([head, at_change(run, largest, intervals=intervals, width=width), *coverage.statements(found)]))
    back = trips.summary(run)
    for dataset, frame in back.frame.groupby("dataset"):
        found = [one for one in back.compared if one.block.place[0] == dataset]
        head = f"{dataset}: edits there and back (edit, invert the result, edit back); see docs/edits.md"
        table = there_and_back(run, frame, intervals=intervals, width=width)
        blocks.append("\n".join([head, table, *coverage.statements(found)]))
    times = query.latency(run)
    if len(times):
        blocks.append(f"{LATENCY}\n{latency(times, width=width)}")
    blocks.append("\n".join(_notes(run)))
    failed = query.failures(run)
    if len(failed):
        blocks.append("failed\n" + failure_table(failed))
    return "\n\n".join(blocks)


LATENCY = "latency: seconds of an image that comes alone, median [quartiles]; s/image above is throughput, in batches"


def markdown(source: Store | Run) -> str:
    """The leaderboards of a run in GitHub's Markdown, a heading for each dataset: best bold, second underlined."""
    run = Run.of(source)
    parts = []
    for dataset, frame in query.leaderboard(run).groupby("dataset"):
        found = [one for one in run.inversions if one.block.place == (dataset,)]
        lines = "".join(f"\n- {escape_markdown(line)}" for line in coverage.statements(found))
        table = leaderboard(run, frame, style="github", intervals=True)
        parts.append(f"### {escape_markdown(str(dataset))}\n\n{table}\n{lines}")
    return "\n\n".join(parts) + "\n"


def leaderboard(
    run: Run, frame: pd.DataFrame, *, style: str = "simple", intervals: bool | None = None, width: int | None = None
) -> str:
    """The rows of one dataset of :func:`invbench.reports.query.leaderboard` as a table; ``style`` is "simple" or "github"."""
    fixed = [*_heads(frame, style), ("n", [f"{row.n_ok}/{row.n_total}" for row in frame.itertuples()])]
    rest = [[column] for column in _numbers(frame, {"seconds.invert": "s/image", "seconds.edit": "s/edit"})]
    for name, head in {"memory.device_peak": "device MiB", "memory.rss_peak": "RSS MiB"}.items():
        if name in frame and (frame[name] > 0).any():
            rest.append([(head, [NOTHING if math.isnan(value) else f"{value / 2**20:.0f}" for value in frame[name]])])
    specs = run.specs_of("inversion", "set")
    return _with_metrics(fixed, rest, frame, specs, style=style, intervals=intervals, width=width)


def edits(
    run: Run, frame: pd.DataFrame, *, style: str = "simple", intervals: bool | None = None, width: int | None = None
) -> str:
    """Rows of one dataset of :func:`invbench.reports.query.edits` as a table, sorted by edit and strength."""
    frame = frame.sort_values(["edit", "strength"], kind="stable").reset_index(drop=True)
    rows = list(frame.itertuples())
    fixed = [
        ("edit", [_escape(f"{row.edit}{row.strength:+g}", style) for row in rows]),
        *_heads(frame, style),
        ("n", [f"{row.n_ok}/{row.n_total}" for row in rows]),
        ("asked", [NOTHING if math.isnan(row.target) else f"{row.target:+g} {row.unit}" for row in rows]),
    ]
    return _with_metrics(fixed, [], frame, run.specs_of("edit"), style=style, intervals=intervals, width=width)


def at_change(run: Run, frame: pd.DataFrame, *, intervals: bool | None = None, width: int | None = None) -> str:
    """Rows of one dataset of :func:`invbench.reports.equal_change.summary` as a table."""
    rows = list(frame.itertuples())
    fixed = [
        ("edit", [f"{row.edit} {row.change:+g} {row.unit}" for row in rows]),
        *_heads(frame, "simple"),
        ("n", [f"{row.n}/{row.n_total}" for row in rows]),
        ("strength", [NOTHING if math.isnan(row.strength) else f"{row.strength:+.2f}" for row in rows]),
    ]
    return _with_metrics(fixed, [], frame, run.specs_of("edit"), style="simple", intervals=intervals, width=width)


def there_and_back(run: Run, frame: pd.DataFrame, *, intervals: bool | None = None, width: int | None = None) -> str:
    """Rows of one dataset of :func:`invbench.reports.trips.summary` as a table."""
    fixed = [
        ("edit", [f"{row.edit}{row.strength:+g}" for row in frame.itertuples()]),
        *_heads(frame, "simple"),
        ("n", [f"{row.n_ok}/{row.n_total}" for row in frame.itertuples()]),
    ]
    rest = [[column] for column in _numbers(frame, {"trimmed": "LEC, trimmed", "seconds": "s/image"})]
    specs = run.specs_of("consistency")
    return _with_metrics(fixed, rest, frame, specs, style="simple", intervals=intervals, width=width)


def latency(frame: pd.DataFrame, *, width: int | None = None) -> str:
    """The frame of :func:`invbench.reports.query.latency` as a table."""
    fixed = [*_heads(frame, "simple"), ("n", [f"{row.n_ok}/{row.n}" for row in frame.itertuples()])]
    rest: list[list[Column]] = []
    for name in [column.removesuffix(".low") for column in frame if column.endswith(".low")]:
        write = number_format(frame[name])
        texts = [
            NOTHING if math.isnan(value) else f"{write(value)} [{write(low)}, {write(high)}]"
            for value, low, high in zip(frame[name], frame[f"{name}.low"], frame[f"{name}.high"])
        ]
        rest.append([(name, texts)])
    return fold(fixed, [*rest, [("on", [str(row.machine) for row in frame.itertuples()])]], width)


def failure_table(failed: pd.DataFrame, *, style: str = "simple") -> str:
    """The frame of :func:`invbench.reports.query.failures` as a table."""
    rows = [
        [row.dataset, row.method, row.preset, row.rows, ", ".join([*row.images[:3], *["…"][: len(row.images) > 3]]), row.reason]
        for row in failed.itertuples()
    ]
    cells = [[_escape(str(cell), style) for cell in row] for row in rows]
    heads = ["dataset", "method", "preset", "rows", "images", "reason"]
    return tabulate(cells, headers=heads, tablefmt=style, disable_numparse=True, maxcolwidths=[None] * 5 + [70])


def fold(
    fixed: Sequence[Column], groups: Sequence[Sequence[Column]], width: int | None = None, *, style: str = "simple"
) -> str:
    """A table, or several one under the other where it is wider than ``width``; each begins with the ``fixed`` columns.

    A group of columns is never divided.
    """
    tables: list[list[Column]] = [[*fixed]]
    for group in groups:
        if width is not None and len(tables[-1]) > len(fixed) and _width([*tables[-1], *group]) > width:
            tables.append([*fixed])
        tables[-1] += group
    return "\n\n".join(_table(columns, style) for columns in tables)


def _with_metrics(
    fixed: Sequence[Column],
    rest: Sequence[Sequence[Column]],
    frame: pd.DataFrame,
    specs: Iterable[MetricSpec],
    *,
    style: str,
    intervals: bool | None,
    width: int | None,
) -> str:
    specs = list(specs)
    groups = [*_metric_columns(frame, specs, style, intervals=intervals is not False), *rest]
    if intervals is None and width is not None and _width([*fixed, *chain(*groups)]) > width:
        groups = [*_metric_columns(frame, specs, style, intervals=False), *rest]
    return fold(fixed, groups, width, style=style)


def _metric_columns(frame: pd.DataFrame, specs: Iterable[MetricSpec], style: str, *, intervals: bool) -> list[list[Column]]:
    """For each metric with a value: means with the best marked, and ranks where there are any."""
    found: list[list[Column]] = []
    for spec in specs:
        if spec.id not in frame or frame[spec.id].isna().all():
            continue
        marks, plain = _MARKS[style], (lambda text: text)
        texts = [_escape(text, style) for text in metric_texts(frame, spec.id, intervals=intervals)]
        texts = [marks.get(number, plain)(text) for text, number in zip(texts, frame[f"{spec.id}.place"])]
        few = ~frame[f"{spec.id}.compared"] & frame[spec.id].notna()
        texts = [f"({text}, {n} img)" if one else text for text, n, one in zip(texts, frame[f"{spec.id}.n"], few)]
        group: list[Column] = [(f"{_escape(spec.id, style)} {ARROWS[spec.better]}".strip(), texts)]
        if f"{spec.id}.rank" in frame and (frame[f"{spec.id}.rank"] != "").any():
            group.append(("rank", [rank or NOTHING for rank in frame[f"{spec.id}.rank"]]))
        found.append(group)
    return found


def _notes(run: Run) -> list[str]:
    notes = [
        f"[low, high]: {LEVEL:.0%} BCa interval of the mean; rank: methods that cannot be told apart share one",
        "* shares the first rank (paired sign-flip tests, Holm); of set metrics, the best value at the most images",
        "n = images inverted of images planned; (in brackets): covers too few images to be compared",
    ]
    if "bias" in run.sets and run.sets["bias"].notna().any():
        notes.append("bias: of a set metric, due to the number of images; [low - bias, high - bias] is for all such images")
    if not run.manifest.get("finished"):
        notes.append("this run is not finished; `invbench run` with the same arguments continues it")
    return notes + [f"{id}: {reason}" for id, reason in query.unavailable(run).items()]


def _escape(text: str, style: str) -> str:
    return escape_markdown(text) if style == "github" else text


def _heads(frame: pd.DataFrame, style: str) -> list[Column]:
    return [(name, [_escape(str(value), style) for value in frame[name]]) for name in ("method", "preset")]


def _numbers(frame: pd.DataFrame, heads: Mapping[str, str]) -> list[Column]:
    found = {name: head for name, head in heads.items() if name in frame and frame[name].notna().any()}
    return [(head, [number_format(frame[name])(float(value)) for value in frame[name]]) for name, head in found.items()]


def _width(columns: Sequence[Column]) -> int:
    """What tabulate makes of them: a head is padded by two, and two blanks stand between columns."""
    return sum(max([len(head) + 2, *map(len, texts)]) + 2 for head, texts in columns) - 2


def _table(columns: Sequence[Column], style: str) -> str:
    align = ["left" if head in _LEFT else "right" for head, _ in columns]
    rows = list(zip(*(texts for _, texts in columns)))
    return tabulate(rows, headers=[head for head, _ in columns], tablefmt=style, disable_numparse=True, colalign=align)
