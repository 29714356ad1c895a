"""The score of a study as text: for the terminal, Markdown, LaTeX and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from invbench.compare.stats import LEVEL
from invbench.compare.text import NOTHING
from invbench.reports.formats import finite
from invbench.reports.grid import GITHUB, SIMPLE, Column, Style, grid
from invbench.reports.latex import tex
from invbench.reports.study.score import Preference, Ranks, Score

PLACES = ("1st", "2nd", "3rd")
LEGEND = (
    f"spread: standard deviation over resamples of single votes; interval: {LEVEL:.0%} BCa bootstrap over images;\n"
    "images: share whose raters mostly prefer the first; alpha: Krippendorff, nominal"
)


def text(score: Score) -> str:
    """Every table as plain text, then what was left out."""
    return _page(score, SIMPLE, head="{}", item="  {}")


def markdown(score: Score) -> str:
    """The same in GitHub's Markdown."""
    return _page(score, GITHUB, head="### {}", item="- {}")


def latex(score: Score) -> str:
    """A ``table`` with a line for each preference, in the form of the published ones."""
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\caption{{{tex(_about(score))} Share of votes with the spread of the bootstrap, and share of images by majority.}}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"preferred & votes & images \\",
    ]
    for question, asked in enumerate(score.key.questions):
        lines += [r"\midrule", rf"\multicolumn{{3}}{{l}}{{{tex(asked.text)}}} \\"]
        for one in (one for one in score.preferences if one.question == question):
            spread = rf"{100 * one.share.value:.1f}\,\% $\pm$ {100 * one.spread:.1f}"
            lines.append(rf"{tex(_pair(score, one))} & {spread} & {tex(_images(one))} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def as_json(score: Score) -> str:
    """All that was computed; numbers that are not finite are null."""
    content: dict[str, Any] = {
        "study": score.key.study,
        "run": score.key.run,
        "commit": score.key.commit,
        "dataset": score.key.dataset,
        "level": LEVEL,
        "questions": [one.model_dump() for one in score.key.questions],
        "methods": score.key.methods,
        "preferences": [asdict(one) | {"decided": one.decided} for one in score.preferences],
        "ranks": [asdict(one) | {"shares": one.shares.tolist(), "methods": list(one.methods)} for one in score.ranks],
        "raters": [
            {"page": one.page.page, "file": one.source, "answers": len(one.answers), "checks": one.checks, "right": one.right}
            | {"median_seconds": one.seconds, "left": one.left}
            for one in score.raters
        ],
        "refused": [asdict(one) for one in score.refused],
    }
    return json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Score], str]] = {"text": text, "markdown": markdown, "latex": latex, "json": as_json}


def _page(score: Score, style: Style, *, head: str, item: str) -> str:
    parts = [style.escape(_about(score))]
    for question, asked in enumerate(score.key.questions):
        mine = [one for one in score.preferences if one.question == question]
        parts.append(head.format(style.escape(asked.text)))
        parts.append(grid(_preferences(score, mine, style), style, left=1))
        parts.append("\n".join(item.format(style.escape(_verdict(score, one))) for one in mine))
        parts += [grid(_ranks(score, one, style), style, left=1) for one in score.ranks if one.question == question]
    parts.append(head.format("Raters"))
    parts.append(grid(_raters(score, style), style, left=1))
    if score.refused:
        parts.append(head.format("Not counted"))
        parts.append("\n".join(item.format(style.escape(f"{one.source}: {one.reason}")) for one in score.refused))
    parts.append(style.escape(LEGEND))
    return "\n\n".join(parts) + "\n"


def _about(score: Score) -> str:
    key = score.key
    pages = f"{len(score.raters)} of {len(key.pages)} pages"
    return f"Study {key.study} of run {key.run}: {len(key.images)} images of {key.dataset}, {pages} counted."


def _pair(score: Score, one: Preference) -> str:
    return f"{score.key.methods[one.first]} over {score.key.methods[one.second]}"


def _percent(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{100 * value:z.1f} %"


def _images(one: Preference) -> str:
    tied = f", {one.tied} tied" if one.tied else ""
    return f"{_percent(one.won / one.images)} of {one.images}{tied}"


def _preferences(score: Score, mine: list[Preference], style: Style) -> list[Column]:
    columns = {
        "preferred": [_pair(score, one) for one in mine],
        "votes": [str(one.votes) for one in mine],
        "share": [_percent(one.share.value) for one in mine],
        "spread": [f"±{100 * one.spread:.1f}" for one in mine],
        "interval": [_interval(one) for one in mine],
        "images": [_images(one) for one in mine],
        "alpha": [NOTHING if math.isnan(one.alpha) else f"{one.alpha:z.2f}" for one in mine],
    }
    return [(head, [style.escape(one) for one in texts]) for head, texts in columns.items()]


def _interval(one: Preference) -> str:
    low, high = one.share.low, one.share.high
    return NOTHING if math.isnan(low) else f"[{100 * low:z.1f}, {100 * high:z.1f}]"


def _verdict(score: Score, one: Preference) -> str:
    first, second = (score.key.methods[name] for name in (one.first, one.second))
    if one.decided:
        better, worse = (first, second) if one.decided > 0 else (second, first)
        return f"Raters prefer {better} to {worse} (p = {one.adjusted:.2g} after Holm's correction)."
    return f"{one.images} images cannot tell whether raters prefer {first} or {second} (p = {one.adjusted:.2g})."


def _ranks(score: Score, one: Ranks, style: Style) -> list[Column]:
    names = [style.escape(score.key.methods[method]) for method in one.methods]
    places = [PLACES[i] if i < len(PLACES) else f"{i + 1}th" for i in range(len(one.methods))]
    head = f"rank, n = {one.n}"
    return [(head, names), *((place, [_percent(share) for share in one.shares[:, i]]) for i, place in enumerate(places))]


def _raters(score: Score, style: Style) -> list[Column]:
    columns = {
        "page": [one.page.page for one in score.raters],
        "answers": [str(len(one.answers)) for one in score.raters],
        "checks right": [f"{one.right} of {one.checks}" for one in score.raters],
        "median s": [f"{one.seconds:.1f}" for one in score.raters],
        "left": [_percent(one.left) for one in score.raters],
    }
    return [(head, [style.escape(one) for one in texts]) for head, texts in columns.items()]
