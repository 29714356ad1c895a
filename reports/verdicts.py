"""The answer of a run in words: which method is best, by how much, at what cost, and whether the images can tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from invbench.compare import stats
from invbench.compare.stats import LEVEL, POWER, Interval, images_needed, images_to_decide
from invbench.reports import compare
from invbench.reports.compare import Compared, Method
from invbench.reports.measures import Measure
from invbench.reports.run import Run
from invbench.reports.text import names, short_head, signed

FIDELITY = ("psnr", "mse")  # the metric that decides who reconstructs best: the first of these that a run has
KEPT = ("id_kept", "id_kept_curricular")
MOST = 4  # names in a sentence


def reconstruction(run: Run, dataset: str, seconds: Mapping[Method, float]) -> str:
    """Who reconstructs best on a dataset. ``seconds``: of an image's inversion; methods without are not timed."""
    found = [one for one in run.inversions if one.block.place[0] == dataset and run.better[one.block.metric] != "none"]
    one = first_of(found, FIDELITY, lambda one: run.specs[one.block.metric].name)
    if one is None:
        return "No metric with a direction has a value."
    return _sentence(run, one, "reconstructs best", seconds)


def editing(run: Run, found: Sequence[Compared], dataset: str) -> str:
    """Who keeps the identity best at an equal change of an attribute; empty if nothing measures that.

    ``found``: the blocks of :func:`invbench.reports.equal_change.summary`; the first edit's largest change decides.
    """
    of_dataset = [one for one in found if one.block.place[0] == dataset]
    edits = list(dict.fromkeys(one.block.place[1] for one in of_dataset))
    mine = [one for one in of_dataset if one.block.place[1] == edits[0]]
    strongest = [one for one in mine if one.block.place[2] == max(two.block.place[2] for two in mine)]
    one = first_of(strongest, KEPT, lambda one: run.specs[one.block.metric].name)
    if one is None or one.ranking is None:
        return ""
    unit = run.manifest.get("edits", {}).get(edits[0], {}).get("unit", "")
    where = f" at an equal change of {edits[0]}, {signed(one.block.place[2])} {unit}".rstrip()
    return _sentence(run, one, "keeps the identity best", {}, where=where)


def first_of(found: Sequence[compare.Key], wanted: Sequence[str], name: Callable[[compare.Key], str]) -> compare.Key | None:
    """The first item whose name is wanted, in the order of ``wanted``, else the first item; None if there is none."""
    named = [one for family in wanted for one in found if name(one) == family]
    return next(iter([*named, *found]), None)


def difference(gap: Interval, *, spec: Measure, where: str = "") -> str:
    """A difference with its interval: "0.72 dB (95 % interval 0.41 to 1.02, n = 96)"; ``where`` stands before the bracket."""
    write = _few_digits(gap.value, gap.low, gap.high)
    unit = spec.unit if spec.unit in UNITS else ""
    ends = "no interval" if math.isnan(gap.low) else f"{LEVEL * 100:.0f} % interval {write(gap.low)} to {write(gap.high)}"
    return " ".join(filter(None, [write(gap.value), unit, where, f"({ends}, n = {gap.n})"]))


UNITS = ("dB", "years", "degrees")  # units that stand behind a number; others are words


def _sentence(run: Run, one: Compared, act: str, seconds: Mapping[Method, float], *, where: str = "") -> str:
    spec, block, ranking = run.specs[one.block.metric], one.block, one.ranking
    what = short_head(spec) + where
    if ranking is None:
        mean = next(((method, mean) for method, mean in one.means.items() if mean.own), None)
        if mean is None:
            return f"No method has a value of {what}."
        return f"{run.label(*mean[0])} alone was measured: {what} {mean[1].interval.value:.4g} on {mean[1].interval.n} images."
    order = [block.methods[int(name)] for name in ranking.order]
    best, second, n = order[0], order[1], ranking.n
    told = {block.methods[int(pair.second)] for pair in ranking.comparisons if pair.distinct and pair.first == ranking.order[0]}
    alike = [method for method in order[1:] if method not in told]
    sign = 1 if spec.better == "higher" else -1
    values = sign * stats.paired_difference(*(block.values[block.common, block.methods.index(m)] for m in (best, second)))
    gap = stats.mean_interval(values, np.random.default_rng(compare.SEED))
    if n == 0:
        return f"No image is covered by all {len(order)} methods, so {what} compares none of them."
    if math.isinf(gap.value) or math.isnan(gap.value):
        return f"{what} is infinite for some of the {n} images, so the methods cannot be compared by it."
    few = [method for method, own, kept in zip(block.methods, block.own, block.compared) if own and not kept]
    aside = f" {_listed([run.label(*one) for one in few])}: too few images to be compared." if few else ""
    if not alike:
        where = f"{'above' if sign > 0 else 'below'} {run.label(*second)} in {what}"
        lead = difference(gap, spec=spec, where=where)
        return f"{run.label(*best)} {act}: {lead}{_cost(seconds, best, second)}.{aside}"
    lead = difference(gap, spec=spec)
    who = _listed([run.label(*one) for one in alike])
    line = f"{n} images cannot tell {run.label(*best)} from {who} in {what}"
    line += f": it leads {run.label(*second)} by {lead}" if second in alike and gap.value else ""
    needed, least = images_needed(values, methods=len(order)), images_to_decide(len(order))
    if needed is not None and needed > n:
        line += f"; about {rough(needed)} images would decide, if the two differ as much as here ({POWER * 100:.0f} % power)"
    elif n < least:
        line += f"; it takes {least} images at least to decide between {len(order)} methods"
    rest = [method for method in order[1:] if method in told]
    tail = f" Both are better than {_listed([run.label(*one) for one in rest])}." if len(alike) == 1 and rest else ""
    return f"{line}{_cost(seconds, best, second) if second in alike else ''}.{tail}{aside}"


def _cost(seconds: Mapping[Method, float], best: Method, second: Method) -> str:
    """How much longer the best takes than the second: "; it takes 2.1 times as long"; empty where one was not timed."""
    mine, other = seconds.get(best, math.nan), seconds.get(second, math.nan)
    if not (mine > 0 and other > 0):
        return ""
    ratio = mine / other
    if 1 / 1.05 < ratio < 1.05:
        return "; they take equally long"
    return f"; it takes {rough(ratio)} times as long" if ratio > 1 else f"; it is {rough(1 / ratio)} times as fast"


def rough(value: float) -> str:
    """A number above 1 with two significant digits, without an exponent: 1.74 -> "1.7", 5271 -> "5,300"."""
    return f"{value:.2g}" if value < 9.95 else f"{float(f'{value:.2g}'):,.0f}"


def _listed(found: Sequence[str]) -> str:
    """Names in a sentence: "a", "a and b", "a, b and 5 more"."""
    if len(found) > MOST:
        return names(found, most=MOST)
    return " and ".join(filter(None, [", ".join(found[:-1]), found[-1]]))


def _few_digits(*values: float) -> Callable[[float], str]:
    """A format of two significant digits of the largest value, the same for all."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value]
    decimals = min(max(1 - math.floor(math.log10(max(sizes))), 0), 6) if sizes else 0
    return lambda value: f"{value:z.{decimals}f}"
