"""The result of a gate, as text for a terminal and as Markdown for the summary of a check."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

from tabulate import tabulate

from invbench import schema
from invbench.compare.baseline import Measured
from invbench.compare.gate import FINE, INCOMPARABLE, Finding, Outcome, Tolerance
from invbench.compare.text import NOTHING, escape_markdown, shown

HEADS = ("", "method", "dataset", "measure", "n", "baseline", "run", "worse by", "95 % interval", "p (Holm)", "tolerance")


def terminal(outcome: Outcome, run: Measured, baseline: Measured, *, everything: bool = False) -> str:
    """The result as text; ``everything`` also lists values within their tolerance."""
    blocks = [f"{_where('run', run)}\n{_where('baseline', baseline)}"]
    rows = _rows(outcome, everything)
    if rows:
        blocks.append(tabulate(rows, headers=HEADS, tablefmt="simple", disable_numparse=True, colalign=_ALIGN))
    blocks += [block for block in ("\n".join(_failures(outcome)), "\n".join(_notes(outcome))) if block]
    return "\n\n".join([*blocks, headline(outcome)])


def markdown(outcome: Outcome, run: Measured, baseline: Measured, *, everything: bool = False) -> str:
    """The same in GitHub's Markdown; the verdict comes first."""
    mark = {FINE: "✅", INCOMPARABLE: "⚠️"}.get(outcome.code, "❌")
    blocks = [f"### {mark} {escape_markdown(headline(outcome))}"]
    rows = [[escape_markdown(cell) for cell in row] for row in _rows(outcome, everything)]
    if rows:
        blocks.append(tabulate(rows, headers=HEADS, tablefmt="github", disable_numparse=True, colalign=_ALIGN))
    lines = [_where("run", run), _where("baseline", baseline), *_failures(outcome), *_notes(outcome)]
    blocks.append("\n".join(f"- {escape_markdown(line)}" for line in lines))
    return "\n\n".join(blocks) + "\n"


def headline(outcome: Outcome) -> str:
    """The verdict in one line."""
    rate = f"chance alone fails at most {outcome.alpha:.3g} of all gates"
    counted = f"{len(outcome.findings)} comparisons, {outcome.tested} tested; {rate}"
    if outcome.regressions:
        return f"gate: {outcome.regressions} regression{'s' if outcome.regressions > 1 else ''} ({counted})"
    if outcome.code == INCOMPARABLE:
        why = "the two hold no quality in common" if outcome.findings else "the two hold nothing in common"
        if any(one.kind == "quality" for one in outcome.findings):
            why = "too few images to decide what looks worse"
        return f"gate: cannot compare, {why}"
    return f"gate: no regression ({counted})"


def _where(name: str, measured: Measured) -> str:
    about = measured.about
    git, versions = about.get("git") or {}, about.get("versions") or {}
    commit = f"commit {git['commit'][:10]}{' and changes' if git.get('modified') else ''}" if git.get("commit") else "no commit"
    return f"{name}: {measured.source} ({commit}, torch {versions.get('torch')}, {about.get('started')})"


def _rows(outcome: Outcome, everything: bool) -> list[list[str]]:
    chosen = [one for one in outcome.findings if everything or not (one.verdict == "within" or _doubtful(one))]
    return [_row(one) for one in chosen]


_ALIGN = ("left", "left", "left", "left", *["right"] * 7)


def _doubtful(one: Finding) -> bool:
    """Whether a time looks worse but on too few batches; all such findings share one line."""
    return one.kind != "quality" and one.verdict == "undecided"


def _row(one: Finding) -> list[str]:
    dataset = f"{one.dataset} {one.edit}".strip() or "all"
    interval = NOTHING
    if not math.isnan(one.low):
        interval = f"{_amount(one.low, one.tolerance)} to {_amount(one.high, one.tolerance)}"
    n = str(one.n) if one.kind == "quality" or schema.is_latency(one.measure) else f"{one.n} batches"
    p = NOTHING if math.isnan(one.p) else (f"{one.p:.2g}" if one.p >= 1e-4 else "< 0.0001")
    means = [_number(one.baseline, one.kind), _number(one.run, one.kind)]
    worse, allowed = _amount(one.worse, one.tolerance), _amount(one.tolerance.amount, one.tolerance)
    return [one.verdict, f"{one.method}:{one.preset}", dataset, one.measure, n, *means, worse, interval, p, allowed]


def _amount(value: float, tolerance: Tolerance) -> str:
    return f"{value:+z.2%}" if tolerance.relative else f"{value:+z.3g}"


def _number(value: float, kind: str) -> str:
    return f"{value / 2**20:.0f} MiB" if kind == "memory" else f"{value:z.4g}" + (" s" if kind == "time" else "")


def _failures(outcome: Outcome) -> Iterable[str]:
    for one in outcome.failures:
        worse = "regression: " if one.run > one.baseline else ""
        yield f"{worse}{one.cell}: {one.run} of {one.n} images failed, {one.baseline} in the baseline"
        yield from (f"  {shown(line)}" for line in one.new[:5])


def _notes(outcome: Outcome) -> Iterable[str]:
    counts = Counter(one.kind for one in outcome.findings)
    equal = sum(one.kind == "quality" and not one.changed for one in outcome.findings)
    if counts:
        told = ", ".join(f"{counts[kind]} of {kind}" for kind in ("quality", "time", "memory") if counts[kind])
        yield f"compared: {told}; {equal} of quality without any difference"
    if outcome.refused:
        yield outcome.refused
    doubtful: dict[str, list[str]] = defaultdict(list)
    for one in filter(_doubtful, outcome.findings):
        doubtful[f"{one.method}:{one.preset}"].append(f"{one.measure} {one.worse:+z.0%} (n = {one.n})")
    yield from (f"too few batches to decide: {method}: {', '.join(told)}" for method, told in doubtful.items())
    yield from outcome.notes
