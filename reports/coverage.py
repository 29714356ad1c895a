"""Notes on the images behind the means: how many, which are left out, and which methods cover too few."""

from __future__ import annotations

from collections.abc import Sequence

from invbench.compare.stats import POWER, images_to_decide
from invbench.reports.compare import Compared, Method, nearest_decision
from invbench.reports.text import edit_text, names

_Facts = tuple[tuple[Method, ...], int, int, tuple[str, ...]]  # compared methods, methods, images, images left out


def statements(found: Sequence[Compared]) -> list[str]:
    """All notes on the images of one table: :func:`images`, then :func:`warnings`."""
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
    """Metrics that some method covers, but not for every image."""
    short = [one.block.metric for one in found if ((one.block.own > 0) & (one.block.own < len(one.block.images))).any()]
    return list(dict.fromkeys(short))


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
    undecided: dict[tuple[int, int], list[Compared]] = {}
    for one in found:
        block, edit = one.block, _edit(one)
        what = block.metric + (f" ({edit})" if edit else "")
        for method, count, kept in zip(block.methods, block.own, block.compared):
            if count and not kept:
                few.setdefault((method, int(count), len(block.images)), []).append(what)
        if one.ranking is not None and not one.decided:
            undecided.setdefault((one.ranking.n, len(one.ranking.order)), []).append(one)
    lines = [
        f"{label(method)} covers only {count} of {planned} images in {names(what)}: its own mean is shown, it is not compared"
        for (method, count, planned), what in few.items()
    ]
    return lines + [_undecided(n, k, those) for (n, k), those in undecided.items()]


def _undecided(n: int, methods: int, found: Sequence[Compared]) -> str:
    """A sentence: ``n`` images tell no two methods apart in some metrics; how many at least could, and about how many would."""
    least, first = images_to_decide(methods), found[0]
    line = f"{n} images cannot tell any two of {methods} methods apart: all share rank 1; it takes {least} at least"
    if n >= least:
        where: dict[str, list[str]] = {}  # metric -> edits
        for one in found:
            where.setdefault(one.block.metric, []).append(_edit(one))
        what = [metric + (f" ({names(edits, most=4)})" if edits[0] else "") for metric, edits in where.items()]
        line = f"{n} images tell no two of {methods} methods apart in {names(what)}: all share rank 1"
    nearest = nearest_decision(first)
    if nearest is None or nearest[2] <= n:  # the second: seen by chance, or the test's p-value is just above its bound
        return line
    best, other, needed = nearest
    edit = f" ({_edit(first)})" if _edit(first) else ""
    about = f"about {needed:,} would tell {label(best)} from {label(other)} in {first.block.metric}{edit}"
    return f"{line}; {about}, if they differ as much as here ({POWER:.0%} power)"


def _edit(one: Compared) -> str:
    _, *edit = one.block.place
    return edit_text(*edit) if edit else ""
