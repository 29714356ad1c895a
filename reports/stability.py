"""How stable the order of methods is between evaluators of one quantity: two identity networks, FID and FD-DINOv2, and so on.

A ranking by one network may say as much about the network as about the methods. Where a run has several metrics of one
quantity, Kendall's tau compares the orders that they give. The interval resamples images, the same for both metrics; methods
are fixed. Beside it stands how many pairs of methods both metrics tell apart (tests and corrections are those of the tables),
and of these how many they order differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from invbench.compare import agreement
from invbench.compare.stats import Interval, Ranking
from invbench.reports.compare import SEED, Compared, Method
from invbench.reports.measures import Measure
from invbench.reports.text import edit_text, interval_text

T = TypeVar("T")

RESAMPLES = 999
LEAST = 3  # methods: the tau of two is 1 or -1
# quantity -> names of the metrics that measure it, each with a network or features of its own
QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "perceptual distance": (
        "lpips_proc", "lpips_proc_second", "lpips_alex", "lpips_vgg", "lpips_squeeze", "dists", "dreamsim",
    ),
    "identity": ("id_proc", "id_proc_second", "id_curricular", "id_arcface", "id_facenet"),
    "Frechet distance": ("fid_proc", "fd_proc_second", "fid", "fd_dinov2"),
    "kernel distance": ("kid_proc", "kd_proc_second", "kid", "kd_dinov2"),
    "precision": ("precision_proc", "precision"),
    "recall": ("recall_proc", "recall"),
    "density": ("density_proc", "density"),
    "coverage": ("coverage_proc", "coverage"),
    "change of age": ("age_change", "age_change_second", "age_change_dex", "age_change_mivolo"),
    "change of yaw": ("yaw_change", "yaw_change_second", "yaw_change_pose", "yaw_change_sixd"),
    "identity kept": ("id_kept", "id_kept_second", "id_kept_curricular"),
    "background": ("parsed_background_lpips_proc", "parsed_background_lpips_alex"),
}


@dataclass(frozen=True)
class Stability:
    """The agreement of two metrics of one ``quantity`` on the order of methods.

    edit       the edit and its strength as text; empty for inversions and sets
    tau        Kendall's tau-b with its interval
    methods    how many methods both compare
    both       pairs of methods that both metrics tell apart; None if they are not tested
    opposite   pairs among these that the two order differently
    """

    quantity: str
    edit: str
    first: str
    second: str
    tau: Interval
    methods: int
    both: int | None = None
    opposite: int = 0


def of_images(found: Sequence[Compared], better: Mapping[str, str]) -> list[Stability]:
    """The agreement of each two metrics of a quantity, for each place of ``found``. ``better``: metric id -> its direction."""
    places: dict[tuple[Any, ...], list[Compared]] = {}
    for one in found:
        places.setdefault(one.block.place, []).append(one)
    results = []
    for place, those in places.items():
        edit = edit_text(*place[1:]) if place[1:] else ""
        for quantity, chosen in _by_quantity(those, lambda one: one.block.metric).items():
            kept = np.logical_and.reduce([one.block.compared for one in chosen])
            if kept.sum() < LEAST:
                continue
            signs = [-1.0 if better[one.block.metric] == "higher" else 1.0 for one in chosen]
            values = np.stack([sign * one.block.values[:, kept] for sign, one in zip(signs, chosen)])
            taus = agreement.mutual_agreement(values, np.random.default_rng(SEED), resamples=RESAMPLES)
            for (i, j), tau in taus.items():
                if not math.isnan(tau.value):
                    names, pairs = (chosen[i].block.metric, chosen[j].block.metric), _told_apart(chosen[i], chosen[j])
                    results.append(Stability(quantity, edit, *names, tau, int(kept.sum()), *pairs))
    return results


def of_sets(sets: pd.DataFrame, specs: Iterable[Measure]) -> list[Stability]:
    """The same for set metrics; ``sets`` are the rows of one dataset: metric, method, preset, value, n, and low and high."""
    known = {spec.id: spec for spec in specs}
    results = []
    for quantity, ids in _by_quantity([id for id in known if (sets["metric"] == id).any()], lambda id: id).items():
        for first, second in combinations(ids, 2):
            one, other = (sets[sets["metric"] == id].set_index(["method", "preset"]) for id in (first, second))
            one, other = one[one["value"].notna()], other[other["value"].notna()]
            methods = one.index.intersection(other.index, sort=False)
            if len(methods) < LEAST:
                continue
            one, other = one.loc[methods], other.loc[methods]
            a, b = _ends(one, known[first].better), _ends(other, known[second].better)
            n = int(min(one["n"].min(), other["n"].min()))
            tau = agreement.agreement_of_estimates(a, b, np.random.default_rng(SEED), n=n, resamples=RESAMPLES)
            if not math.isnan(tau.value):
                results.append(Stability(quantity, "", first, second, tau, len(methods)))
    return results


def statements(found: Sequence[Stability]) -> list[str]:
    """One sentence for each quantity (and edit): the two metrics that agree least, and the range of all if there are more."""
    groups: dict[tuple[str, str], list[Stability]] = {}
    for one in found:
        groups.setdefault((one.quantity, one.edit), []).append(one)
    return [_sentence(those) for those in groups.values()]


def _sentence(found: Sequence[Stability]) -> str:
    least = min(found, key=lambda one: one.tau.value)
    ends = interval_text(f"{least.tau.low:z.2f}", f"{least.tau.high:z.2f}") if not math.isnan(least.tau.low) else ""
    head = f"ranks by {least.quantity}" + (f" ({least.edit})" if least.edit else "")
    text = f"{head}: Kendall's τ {least.tau.value:z.2f} {ends}".rstrip() + f" between {least.first} and {least.second}"
    text += f", {least.methods} methods, {least.tau.n} images"
    if least.both is not None:
        text += f"; both tell {least.both} pairs apart, {least.opposite or 'none'} in opposite order"
    if len(found) > 1:
        most = max(found, key=lambda one: one.tau.value)
        text += f"; the least of {len(found)} pairs of metrics, up to {most.tau.value:z.2f} ({most.first}, {most.second})"
    return text


def _by_quantity(found: Sequence[T], id_of: Callable[[T], str]) -> dict[str, list[T]]:
    """Quantity -> its metrics, one for each name, where there are at least two.

    Of a metric under several protocols the one that most others share is taken: protocols are no second evaluators.
    """
    chosen: dict[str, list[T]] = {}
    for quantity, names in QUANTITIES.items():
        own = [(id_of(one).partition("@"), one) for one in found]
        own = [(parts, one) for parts, one in own if parts[0] in names]
        shared = [protocol for (_, _, protocol), _ in own]
        of_name: dict[str, tuple[int, T]] = {}
        for (name, _, protocol), one in own:
            often = shared.count(protocol)
            if name not in of_name or often > of_name[name][0]:
                of_name[name] = (often, one)
        if len(of_name) > 1:
            chosen[quantity] = [of_name[name][1] for name in names if name in of_name]
    return chosen


def _told_apart(first: Compared, second: Compared) -> tuple[int | None, int]:
    """Pairs of methods that both tell apart, and how many of them in opposite order; (None, 0) if one is not tested."""
    if first.ranking is None or second.ranking is None:
        return None, 0
    one, other = _distinct(first, first.ranking), _distinct(second, second.ranking)
    opposite = {(b, a) for a, b in one} & other
    return len(one & other) + len(opposite), len(opposite)


def _distinct(one: Compared, ranking: Ranking) -> set[tuple[Method, Method]]:
    """The pairs of methods that are told apart, the better one first."""
    methods = one.block.methods
    return {(methods[int(pair.first)], methods[int(pair.second)]) for pair in ranking.comparisons if pair.distinct}


def _ends(frame: pd.DataFrame, better: str) -> np.ndarray:
    """[k, 3] value and ends of a set metric's methods, so that smaller is better."""
    sign = -1.0 if better == "higher" else 1.0
    columns = [frame[name] if name in frame else pd.Series(math.nan, frame.index) for name in ("value", "low", "high")]
    value, low, high = (sign * column.to_numpy(dtype=np.float64) for column in columns)
    return np.stack([value, np.minimum(low, high), np.maximum(low, high)], axis=1)
