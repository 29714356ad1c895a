"""What a reader must know of the images behind the means: how many, which are left out, and who covers too few."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from invbench.reports.compare import Compared, Method
from invbench.reports.text import names

_Facts = tuple[tuple[Method, ...], int, int, tuple[str, ...]]  # compared methods, methods, images, images left out


def statements(found: Sequence[Compared]) -> list[str]:
    """All that must be said of the images of what stands in one table: :func:`images`, then :func:`warnings`."""
    return images(found) + warnings(found)


def images(found: Sequence[Compared]) -> list[str]:
    """Sentences on the images that means are over: what holds for most, then what differs, by metric (and edit)."""
    alike: dict[_Facts, dict[str, list[str]]] = {}  # facts -> metric -> edits
    for one in found:
        block = one.block
        methods = tuple(method for method, kept in zip(block.methods, block.compared) if kept)
        facts = (methods, len(block.methods), len(block.images), block.left_out)
        alike.setdefault(facts, {}).setdefault(block.metric, []).append(_edit(one))
    if not alike:
        return []
    most = max(alike, key=lambda facts: sum(map(len, alike[facts].values())))
    lines = [_sentence(*most) + ("; but" if len(alike) > 1 else "")]
    for facts, metrics in alike.items():
        of_edits: dict[tuple[str, ...], list[str]] = {}
        for metric, those in metrics.items() if facts != most else ():
            of_edits.setdefault(tuple(those), []).append(metric)
        for edits, ids in of_edits.items():
            where = f" ({', '.join(edits)})" if edits[0] else ""
            lines.append(f"{', '.join(ids)}{where}: {_sentence(*facts)}")
    return lines


def incomplete(found: Sequence[Compared]) -> list[str]:
    """Metrics that some method has values of, but not for every image."""
    short = [one.block.metric for one in found if ((one.block.own > 0) & (one.block.own < len(one.block.images))).any()]
    return list(dict.fromkeys(short))


def own(frame: pd.DataFrame, metrics: Sequence[str]) -> dict[str, list[str]]:
    """Column head -> texts: how many images each method of a leaderboard covers itself, of those planned."""
    columns = {
        "inverted": [f"{row.n_ok}/{row.n_total}" for row in frame.itertuples()],
        "failed": [str(row.n_failed) for row in frame.itertuples()],
    }
    for id in metrics:
        columns[id] = [f"{count}/{total}" for count, total in zip(frame[f"{id}.own"], frame["n_total"])]
    return columns


def label(method: Method) -> str:
    """A method in a sentence."""
    return ".".join(method)


def _sentence(methods: tuple[Method, ...], known: int, count: int, left_out: tuple[str, ...]) -> str:
    kept = count - len(left_out)
    if len(methods) == 1:
        who = f"{label(methods[0])} covers" + ("; no other method is compared" if known > 1 else "")
    elif len(methods) == known:
        who = f"all {known} methods cover"
    else:
        who = f"all {len(methods)} compared methods cover ({names(map(label, methods), most=4)})"
    if not left_out:
        return f"means over the {count} images, which {who}"
    return f"means over the {kept} images that {who}; {len(left_out)} of {count} left out: {names(left_out)}"


def warnings(found: Sequence[Compared]) -> list[str]:
    """Sentences on methods that cover too few images, and on images that are too few to tell methods apart."""
    few: dict[tuple[Method, int, int], list[str]] = {}
    undecided: dict[tuple[int, int], list[str]] = {}
    for one in found:
        block, edit = one.block, _edit(one)
        what = block.metric + (f" ({edit})" if edit else "")
        for method, count, kept in zip(block.methods, block.own, block.compared):
            if count and not kept:
                few.setdefault((method, int(count), len(block.images)), []).append(what)
        if one.ranking is not None and not one.ranking.decidable:
            undecided.setdefault((one.ranking.n, len(one.ranking.order)), []).append(what)
    lines = [
        f"{label(method)} covers only {count} of {planned} images in {names(what)}: its own mean is shown, it is not compared"
        for (method, count, planned), what in few.items()
    ]
    lines += [f"{n} images cannot tell any two of {k} methods apart: all share rank 1" for n, k in undecided]
    return lines


def _edit(one: Compared) -> str:
    place = one.block.place
    return f"{place[1]}{place[2]:+g}" if len(place) == 3 else ""
