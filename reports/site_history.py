"""The page of runs over time: what became worse first, then a plot for each metric and stage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from invbench.compare.history import Finding, History, Moment, Outcome, Series
from invbench.reports import svg
from invbench.reports.text import ARROWS

MOST_NAMES = 6  # days below a plot
STILL = 1e-4  # percent: baselines are rounded to float32


def content(history: History) -> dict[str, Any]:
    """What the template shows of a history: ``moments``, ``steps`` from each to the next, and groups of plots.

    A group is (heading, plots, measures that did not change, whether it is open at first): the metrics of reconstructions on
    each dataset, stages on each machine, set metrics, and edits.
    """
    label = _labels(history)
    quality = [one for one in history.series if one.kind == "quality" and not one.edit]
    edited = [one for one in history.series if one.kind == "quality" and one.edit]
    sets = [one for one in history.series if one.kind == "set"]
    times = [one for one in history.series if one.kind == "time"]
    groups = [(f"{name}: reconstructions", mine, True) for name, mine in _by(quality, "dataset")]
    groups += [(f"Median seconds an image, {name}", mine, True) for name, mine in _by(times, "machine")]
    groups += [(f"{name}: sets", mine, False) for name, mine in _by(sets, "dataset")]
    groups += [
        (f"{name}: {edit}, means over its strengths", of, False)
        for name, mine in _by(edited, "dataset")
        for edit, of in _by(mine, "edit")
    ]
    plotted = [(head, *_plots(history, mine, label), shown) for head, mine, shown in groups]
    return {
        "suite": history.suite,
        "moments": [(number, one) for number, one in enumerate(history.moments, start=1)],
        "steps": [
            _step(before, after, outcome, label)
            for before, after, outcome in zip(history.moments, history.moments[1:], history.outcomes)
        ][::-1],
        "groups": [one for one in plotted if one[1] or one[2]],
    }


def _labels(history: History) -> dict[tuple[str, str], str]:
    methods = list(dict.fromkeys((one.method, one.preset) for one in history.series))
    known, ids = history.about.get("methods", {}), [method for method, _ in methods]
    titles = {one: str((known.get(".".join(one)) or {}).get("title") or one[0]) for one in methods}
    return {one: f"{title} ({one[1]})" if ids.count(one[0]) > 1 else title for one, title in titles.items()}


def _by(series: Iterable[Series], field: str) -> list[tuple[str, list[Series]]]:
    found: dict[str, list[Series]] = {}
    for one in series:
        found.setdefault(str(getattr(one, field)), []).append(one)
    return list(found.items())


def _plots(history: History, series: Sequence[Series], label: Mapping[tuple[str, str], str]) -> tuple[list[Markup], list[str]]:
    """A plot for each measure that changed: its change in percent of the first value. And the measures that did not."""
    days = [one.when[:10] for one in history.moments]
    names = [one.when[5:10] if days.count(one.when[:10]) == 1 else one.when[11:16] for one in history.moments]
    every = math.ceil(len(names) / MOST_NAMES)
    marks = [(float(at), name) for at, name in enumerate(names) if at % every == 0]
    plots, still = [], []
    for measure, mine in _by(series, "measure"):
        lines, rings, counts = [], [], set()
        for one in mine:
            values = changes(one.values)
            if sum(map(math.isfinite, values)) > 1:
                counts.add(one.n)
                lines.append(svg.Line(label[one.method, one.preset], range(len(values)), values))
                told = enumerate(zip(values, one.verdicts))
                rings += [
                    (float(at), value, f"ring-{verdict}") for at, (value, verdict) in told if verdict and math.isfinite(value)
                ]
        if not lines:
            continue
        if all(abs(value) < STILL or math.isnan(value) for line in lines for value in line.y):
            still.append(measure.removeprefix("seconds."))
            continue
        better = (history.about.get("metrics", {}).get(measure) or {}).get("better", "lower")
        n = f"n = {min(counts)}" + (f" to {max(counts)}" if len(counts) > 1 else "")
        title = f"{measure.removeprefix('seconds.')} {ARROWS[better]}, change in %, {n}"
        plots.append(svg.lines(lines, title=title, x_title="runs in the order of time", marks=marks, rings=rings))
    return plots, still


def changes(values: Sequence[float]) -> list[float]:
    """Values as changes in percent of the first finite one; NaN where there is none, and all NaN where that one is 0."""
    first = next((value for value in values if math.isfinite(value)), math.nan)
    return [100 * (value / first - 1) if first and math.isfinite(value) else math.nan for value in values]


def _step(before: Moment, after: Moment, outcome: Outcome, label: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """What the gate says of a run beside the one before it."""
    failed = [
        f"{one.cell}: {one.run} of {one.n} images fail, {one.baseline} before ({'; '.join(one.new[:3])})"
        for one in outcome.failures
        if one.run > one.baseline
    ]
    worse = [one for one in outcome.findings if one.verdict == "regression"]
    return {
        "before": before,
        "after": after,
        "regressions": [_sentence(one, label) for one in worse] + failed,
        "better": [_sentence(one, label) for one in outcome.findings if one.verdict == "better"],
        "compared": len(outcome.findings),
        "tested": outcome.tested,
        "notes": [*([outcome.refused] if outcome.refused else []), *outcome.notes],
    }


def _sentence(one: Finding, label: Mapping[tuple[str, str], str]) -> str:
    where = " ".join(filter(None, [f"on {one.dataset}" if one.dataset else "", f"({one.edit})" if one.edit else ""]))
    share = one.tolerance.relative
    write = (lambda value: f"{abs(value):.1%}") if share else (lambda value: f"{abs(value):.3g}")
    ends = sorted(map(abs, (one.low, one.high)))
    interval = f" [{write(ends[0])}, {write(ends[1])}]" if math.isfinite(one.low) else ""
    word = "worse" if one.worse > 0 else "better"
    values = f"{one.baseline:.4g} before, {one.run:.4g} now"
    name = label.get((one.method, one.preset), one.method)
    return f"{name}, {one.measure} {where}".rstrip() + f": {word} by {write(one.worse)}{interval}: {values}, n = {one.n}"
