"""The audit: what all sources print for one quantity, which of them share a protocol, and where they differ and why.

A quantity is a metric on a dataset. Two sources whose numbers for the same methods agree are put into one order, with the
evidence; where they do not, the known cause stands beside the pair. Numbers and causes are in ``reports/reported``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from statistics import mean, median

from invbench.compare import stats
from invbench.compare.stats import Interval
from invbench.reports import measured, paper_tables, published
from invbench.reports.published import Number
from invbench.reports.run import Run
from invbench.store import Store

NEAR = 0.05  # relative difference up to which two printed numbers agree
SHARED = 3  # methods that two sources must share before their numbers can tell that they share a protocol
Key = tuple[str, str]  # published method and embedder


@dataclass(frozen=True)
class Pair:
    """Two sources that print the same quantity for the same methods.

    differences  label of a shared method -> relative difference of the second number from the first
    near         the labels whose numbers agree: within NEAR, or within half a unit of the last digits printed
    causes       why they differ or are called otherwise, as far as it is known
    apart        a known cause forbids one order
    """

    sources: tuple[str, str]
    differences: Mapping[str, float]
    near: tuple[str, ...]
    causes: tuple[str, ...]
    apart: bool

    @cached_property
    def joined(self) -> bool:
        """Whether the numbers say that the two share a protocol: enough methods, of which at least half agree."""
        return not self.apart and len(self.differences) >= SHARED and 2 * len(self.near) > len(self.differences)


@dataclass(frozen=True)
class Row:
    """A method in an order. ``printed``: source -> its number; ``value``: the mean of those that count, NaN if none does."""

    label: str
    printed: Mapping[str, Number]
    value: float
    place: int = 0
    measured: Interval | None = None


@dataclass(frozen=True)
class Order:
    """The methods of sources that share a protocol, best first; methods whose numbers do not count stand last."""

    sources: tuple[str, ...]
    rows: tuple[Row, ...]
    measured_as: str = ""


@dataclass(frozen=True)
class Quantity:
    """One metric on one dataset: its orders, the largest first, and the pairs of sources."""

    domain: str
    dataset: str
    metric: str
    printed_as: str
    direction: str
    orders: tuple[Order, ...]
    pairs: tuple[Pair, ...]


def audit(source: Store | Run | None = None, *, domains: Sequence[str] = (), metrics: Sequence[str] = ()) -> list[Quantity]:
    """Every quantity that is printed for at least two methods, in the order of the sources.

    ``domains`` and ``metrics`` (published names; empty: all) choose. A run gives the intervals of what it measured under the
    protocol of an order: the same recipe, dataset and number of pictures. Raises InvbenchError if the folder holds no run.
    """
    run = None if source is None else Run.of(source)
    groups: dict[tuple[str, str, str], list[Number]] = {}
    for table in published.tables().values():
        for one in table.numbers:
            chosen = one["domain"] in (domains or (one["domain"],)) and one["metric"] in (metrics or (one["metric"],))
            if chosen and _plain(one):
                groups.setdefault((one["domain"], one["dataset"], one["metric"]), []).append(one)
    found = [_quantity(numbers, run) for numbers in groups.values()]
    return [one for one in found if one.orders]


def counts(number: Number) -> bool:
    """Whether a number takes part in comparisons: it is neither a suspected misprint nor copied from another source."""
    return not number.flags & published.UNTRUSTED


def _plain(number: Number) -> bool:
    """Whether a number is of a method as it is, of a reconstruction, and has a better direction."""
    whole = number["variant"] in measured.PLAIN and not number["versus"] and not number["edit"]
    return whole and bool(number["domain"]) and number["direction"] != "none" and math.isfinite(number.value)


def _quantity(numbers: Sequence[Number], run: Run | None) -> Quantity:
    by_source: dict[str, dict[Key, Number]] = {}
    for one in numbers:
        by_source.setdefault(one["source"], {}).setdefault(_key(one), one)
    pairs = [pair for a, b in combinations(by_source, 2) if (pair := _pair(a, b, by_source)).differences]
    first = numbers[0]
    orders = [_order(cluster, by_source, first["direction"]) for cluster in _clusters(by_source, pairs)]
    orders = [one if run is None else _measured(one, run) for one in orders if len(one.rows) > 1]
    orders.sort(key=lambda one: -len(one.rows))
    named = (first["domain"], first["dataset"], first["metric"], first["metric_as_printed"], first["direction"])
    return Quantity(*named, tuple(orders), tuple(pairs))


def _key(number: Number) -> Key:
    starts = published.protocols()["starts"].get(number["source"], {})
    return number["method"], number["embedder"] or starts.get(number["method"], "")


def _label(key: Key) -> str:
    return published.name_of("+".join(filter(None, key)))


def _pair(a: str, b: str, by_source: Mapping[str, Mapping[Key, Number]]) -> Pair:
    differences, near = {}, []
    for key, one in by_source[a].items():
        other = by_source[b].get(key)
        if other is None or not counts(one) or not counts(other):
            continue
        label = _label(key)
        differences[label] = other.value / one.value - 1
        rounding = max(published.half_digit(one.text), published.half_digit(other.text))
        if abs(differences[label]) <= NEAR or abs(other.value - one.value) <= rounding:
            near.append(label)
    causes = [cause for cause in published.protocols()["cause"] if _applies(cause, (a, b), by_source, differences)]
    texts = tuple(dict.fromkeys(str(cause["text"]) for cause in causes))
    return Pair((a, b), differences, tuple(near), texts, any(cause.get("apart", False) for cause in causes))


def _applies(
    cause: Mapping, sources: tuple[str, str], by_source: Mapping[str, Mapping[Key, Number]], shared: Mapping[str, float]
) -> bool:
    metric = next(iter(by_source[sources[0]].values()))["metric"]
    known = {key[0] for key in by_source[sources[0]] if _label(key) in shared}
    methods = not cause.get("methods") or bool(known & set(cause["methods"]))
    return set(cause["sources"]) <= set(sources) and cause.get("metric", metric) == metric and methods


def _clusters(by_source: Mapping[str, Mapping[Key, Number]], pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Sources in groups that share a protocol: most pairs between two groups that grow together say so, and none forbids it."""
    clusters = {source: [source] for source in by_source}
    known = {frozenset(pair.sources): pair for pair in pairs}
    ranked = sorted((pair for pair in pairs if pair.joined), key=lambda pair: median(map(abs, pair.differences.values())))
    for pair in ranked:
        one, other = (clusters[source] for source in pair.sources)
        between = [known[two] for x in one for y in other if (two := frozenset((x, y))) in known]
        telling = [two.joined for two in between if len(two.differences) >= SHARED]
        if one is not other and not any(two.apart for two in between) and 2 * sum(telling) > len(telling):
            one += other
            clusters |= dict.fromkeys(other, one)
    printed = list(by_source)
    found = {id(cluster): tuple(sorted(cluster, key=printed.index)) for cluster in clusters.values()}
    return list(found.values())


def _order(cluster: tuple[str, ...], by_source: Mapping[str, Mapping[Key, Number]], direction: str) -> Order:
    rows = []
    for key in dict.fromkeys(key for source in cluster for key in by_source[source]):
        printed = {source: by_source[source][key] for source in cluster if key in by_source[source]}
        trusted = [one.value for one in printed.values() if counts(one)]
        rows.append(Row(_label(key), printed, mean(trusted) if trusted else math.nan))
    sign = -1 if direction == "higher" else 1
    rows.sort(key=lambda row: (math.isnan(row.value), sign * row.value if math.isfinite(row.value) else 0.0))
    placed = [row if math.isnan(row.value) else replace(row, place=place) for place, row in enumerate(rows, start=1)]
    return Order(cluster, tuple(placed))


def _measured(order: Order, run: Run) -> Order:
    """The order with the intervals of a run, where it measured a method under the recipe of one of the printed numbers."""
    numbers = [one for row in order.rows for one in row.printed.values() if published.rule(one)["recipe"]]
    group = [one for one in numbers if published.rule(one)["recipe"] == published.rule(numbers[0])["recipe"]]
    found = (
        measured.find(run, group, dataset=None, preset=None, level=stats.LEVEL, resamples=stats.RESAMPLES) if group else None
    )
    if found is None:
        return order
    stated = {int(one["n_images"]) for one in group if one["n_images"]}  # sources of one order measured as many pictures
    rows = []
    for row in order.rows:
        mine = [one for one in group if one in row.printed.values() and found.name(one) in found.means]
        same = bool(mine) and not any(paper_tables.reasons(run, one, found) for one in mine)
        own = found.means[found.name(mine[0])] if same else None
        rows.append(replace(row, measured=own) if own and (not stated or own.n in stated) else row)
    known = any(row.measured for row in rows)
    return replace(order, rows=tuple(rows), measured_as=f"{found.metric} on {found.dataset}" if known else "")
