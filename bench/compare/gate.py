"""Is a run worse than a baseline? Paired differences are compared with a tolerance and tested against chance.

Quality. For every metric with a direction, method, dataset and edit: the differences of the images (means over an edit's
strengths). A regression is a mean that is worse by more than the tolerance, and significant in a one-sided sign-flip test.
A comparison whose differences are so small that no choice of their signs brings the mean beyond the tolerance cannot become a
regression; it is neither tested nor counted in the family. That choice looks at sizes only and the test is one of signs,
so the stated rate holds. Datasets with too few images for a decision are pooled, in units of their tolerances.

Time and memory, on the same machine only. Logarithms of the ratios of whole batches, and of the pictures of the latency pass. A
regression is a median that is significantly beyond the tolerance (Wilcoxon's signed ranks about the tolerance). A slow-down of
a whole run shifts all its batches, and no test over batches can tell that from chance, so the tolerance must allow for it.

Each of the two families gets half of ``alpha``, with Holm's correction, so ``alpha`` bounds the probability that a run which
differs from its baseline only by chance shows any regression. An image that fails in the run and not in the baseline is a
regression without any test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.stats import binom, rankdata

from invbench import schema
from invbench.compare import pairs, stats
from invbench.compare.baseline import CELL, Measured, other_machine, provenance_notes
from invbench.compare.pairs import Array, Cost, Difference, Failures

FINE, REGRESSION, INCOMPARABLE = 0, 1, 2
ALPHA = 0.05
FAMILIES = 2  # quality; time and memory
VERDICTS = ("regression", "undecided", "not significant", "better", "within")  # in the order in which they are shown


@dataclass(frozen=True)
class Tolerance:
    """How much worse a mean may get: ``amount`` of its size (``relative``), or in the metric's own unit."""

    amount: float
    relative: bool = True


@dataclass(frozen=True)
class Tolerances:
    """``quality`` applies to every metric without its own tolerance in ``named`` (by id, or by name for all protocols)."""

    quality: Tolerance = Tolerance(0.005)
    time: Tolerance = Tolerance(0.10)
    memory: Tolerance = Tolerance(0.10)
    named: Mapping[str, Tolerance] = field(default_factory=dict)

    def of(self, metric: str) -> Tolerance:
        """The tolerance of a metric, by its id; coverage always has the general tolerance."""
        return self.named.get(metric) or self.named.get(metric.partition("@")[0]) or self.quality


@dataclass(frozen=True)
class Finding:
    """One comparison and its verdict.

    kind            "quality", "time" or "memory"
    n               images, or batches; ``changed`` of them differ at all
    baseline, run   means over images, medians over batches
    worse           mean difference, median ratio - 1; positive is worse. A share where ``tolerance`` is relative
    low, high       its 95 % interval (BCa; order statistics of the ratios); NaN for too few values, and for quality within
    p               of the one-sided test, after Holm for all comparisons of the gate; NaN where none was made
    verdict         "regression"; "undecided": worse than the tolerance, with too few values for any test; "not significant":
                    worse than the tolerance, as chance may be; "better": beyond the tolerance and significant (of
                    times: the whole interval); "within": all else
    """

    kind: str
    method: str
    preset: str
    dataset: str
    edit: str
    measure: str
    n: int
    changed: int
    baseline: float
    run: float
    worse: float
    tolerance: Tolerance
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    verdict: str = "within"


@dataclass(frozen=True)
class Outcome:
    """The result of a gate. ``tested`` comparisons make the families; ``refused`` is the reason why times were not compared."""

    findings: tuple[Finding, ...]
    failures: tuple[Failures, ...]
    notes: tuple[str, ...]
    refused: str
    tested: int
    alpha: float

    @property
    def regressions(self) -> int:
        """Findings and cells with more failed images."""
        return sum(one.verdict == "regression" for one in self.findings) + sum(one.run > one.baseline for one in self.failures)

    @property
    def code(self) -> int:
        """0 fine, 1 regression, 2 no quality in common, or none decided though some looks worse."""
        if self.regressions:
            return REGRESSION
        quality = [one for one in self.findings if one.kind == "quality"]
        undecided = any(one.verdict == "undecided" for one in quality)
        tested = any(not np.isnan(one.p) for one in quality)
        return INCOMPARABLE if not quality or (undecided and not tested) else FINE


def gate(
    run: Measured,
    baseline: Measured,
    *,
    tolerances: Tolerances | None = None,
    alpha: float = ALPHA,
    rng: np.random.Generator | None = None,
) -> Outcome:
    """Compare a run with its baseline. ``rng`` draws sign patterns and resamples (default: seed 0)."""
    tolerances, rng = tolerances or Tolerances(), rng or np.random.default_rng(0)
    share = alpha / FAMILIES
    paired = pairs.pair(run, baseline)
    specs = {**baseline.about["metrics"], **run.about["metrics"]}
    better = {id: one["better"] for id, one in specs.items() if one["better"] != "none" and one["kind"] != "set"}
    differences, notes = pairs.quality(paired, better)
    findings = _quality(differences, tolerances, share, rng)
    refused = other_machine(run.about, baseline.about)
    if not refused:
        measures, unequal = _measures(run, baseline)
        measured, uneven = pairs.costs(paired, measures)
        findings += _costs(measured, tolerances, share, rng)
        notes += [*unequal, *uneven]
    notes += _sets(run, baseline, specs, tolerances)
    order = {verdict: place for place, verdict in enumerate(VERDICTS)}
    return Outcome(
        findings=tuple(sorted(findings, key=lambda one: order[one.verdict])),
        failures=tuple(pairs.failures(paired, better)),
        notes=(*provenance_notes(run.about, baseline.about), *paired.notes, *notes),
        refused=refused,
        tested=sum(not np.isnan(one.p) for one in findings),
        alpha=alpha,
    )


def _quality(
    differences: Sequence[Difference], tolerances: Tolerances, alpha: float, rng: np.random.Generator
) -> list[Finding]:
    findings: list[Finding] = []
    units: list[Array] = []
    for pair in differences:
        tolerance = tolerances.of(pair.metric)
        allowed = tolerance.amount * (pair.size if tolerance.relative else 1.0)
        unit = pair.worse / allowed if allowed > 0 else np.zeros_like(pair.worse)  # a size of 0: all values are 0
        worse = float(unit.mean()) * tolerance.amount
        head = (pair.method, pair.preset, pair.dataset, pair.edit, pair.metric, len(unit), int((unit != 0).sum()))
        findings.append(Finding("quality", *head, pair.baseline, pair.run, worse, tolerance))
        units.append(unit)
    candidates = [place for place, unit in enumerate(units) if np.abs(unit).mean() > 1]
    family = _decidable(candidates, findings, alpha)
    pooled = _pooled([place for place in candidates if place not in family], findings, units)
    for place, (finding, unit, parts) in enumerate(pooled, start=len(findings)):
        findings.append(finding)
        units.append(unit)
        candidates = [one for one in candidates if one not in parts] + [place]
    absorbed = {part for _, _, parts in pooled for part in parts}
    family = _decidable(candidates, findings, alpha)
    p = _one_sided([units[place] for place in family], alpha, rng)
    worse_p, better_p = (np.minimum(FAMILIES * stats.holm(one), 1.0) for one in (p, 1 - p))
    whole = alpha * FAMILIES
    for place in candidates:
        at = family.index(place) if place in family else None
        verdict = "within"
        if units[place].mean() > 1:
            verdict = "undecided" if at is None else "regression" if worse_p[at] <= whole else "not significant"
        elif at is not None and units[place].mean() < -1 and better_p[at] <= whole:
            verdict = "better"
        one = replace(findings[place], p=np.nan if at is None else float(worse_p[at]), verdict=verdict)
        if verdict != "within":
            interval = stats.mean_interval(units[place], rng)
            one = replace(one, low=interval.low * one.tolerance.amount, high=interval.high * one.tolerance.amount)
        findings[place] = one
    return [finding for place, finding in enumerate(findings) if place not in absorbed]


def _pooled(
    places: Sequence[int], findings: Sequence[Finding], units: Sequence[Array]
) -> list[tuple[Finding, Array, list[int]]]:
    """Pool comparisons that differ only in the dataset; each comes with the places of its findings."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for place in places:
        one = findings[place]
        groups[one.method, one.preset, one.edit, one.measure].append(place)
    found = []
    for parts in groups.values():
        unit = np.concatenate([units[place] for place in parts])
        if len(parts) < 2 or np.abs(unit).mean() <= 1:
            continue
        first, n = findings[parts[0]], len(unit)
        means = [sum(getattr(findings[place], side) * findings[place].n for place in parts) / n for side in ("baseline", "run")]
        pooled = replace(
            first,
            dataset=" + ".join(findings[place].dataset for place in parts),
            n=n,
            changed=int((unit != 0).sum()),
            baseline=means[0],
            run=means[1],
            worse=float(unit.mean()) * first.tolerance.amount,
        )
        found.append((pooled, unit, parts))
    return found


def _costs(costs: Sequence[Cost], tolerances: Tolerances, alpha: float, rng: np.random.Generator) -> list[Finding]:
    findings: list[Finding] = []
    ranks: list[Array] = []
    for cost in costs:
        kind = "time" if cost.measure.startswith(schema.CLOCKED) else "memory"
        tolerance = tolerances.time if kind == "time" else tolerances.memory
        above = cost.log_ratio - np.log1p(tolerance.amount)
        ranks.append(np.sign(above) * rankdata(np.abs(above)))
        head = (kind, cost.method, cost.preset, "", "", cost.measure, len(above), int((above != 0).sum()))
        worse, (low, high) = float(np.expm1(np.median(cost.log_ratio))), _median_interval(cost.log_ratio)
        findings.append(Finding(*head, cost.baseline, cost.run, worse, tolerance, low=low, high=high))
    family = _decidable(range(len(findings)), findings, alpha)
    p = dict(zip(family, np.minimum(FAMILIES * stats.holm(_one_sided([ranks[place] for place in family], alpha, rng)), 1.0)))
    for place, one in enumerate(findings):
        verdict = "within"
        if one.worse > one.tolerance.amount:
            verdict = "undecided"
            if place in p:
                verdict = "regression" if p[place] <= alpha * FAMILIES else "not significant"
        elif one.high < 1 / (1 + one.tolerance.amount) - 1:
            verdict = "better"
        findings[place] = replace(one, p=float(p.get(place, np.nan)), verdict=verdict)
    return findings


def _sets(run: Measured, baseline: Measured, specs: Mapping[str, Any], tolerances: Tolerances) -> list[str]:
    """Set metrics that are worse by more than their tolerance: reported but not tested, since one value has no spread."""
    both = run.sets.merge(baseline.sets, on=[*CELL, "metric"], suffixes=("", "_before"))
    notes = []
    for row in both.sort_values([*CELL, "metric"]).itertuples():
        spec, tolerance = specs.get(row.metric), tolerances.of(row.metric)
        if spec is None or spec["better"] == "none" or row.n != row.n_before:
            continue
        worse = (row.value - row.value_before) * (1 if spec["better"] == "lower" else -1)
        if worse > tolerance.amount * (abs(row.value_before) if tolerance.relative else 1.0):
            cell = f"{row.method}.{row.preset}.{row.dataset}"
            notes.append(f"{row.metric} of {cell}: {row.value_before:z.4g} -> {row.value:z.4g}, n = {row.n}; not tested")
    return notes


def _decidable(places: Sequence[int], findings: Sequence[Finding], alpha: float) -> list[int]:
    """The largest family in which every comparison could be significant if all its signs were equal."""
    ordered = sorted(places, key=lambda place: -findings[place].changed)
    for count in range(len(ordered), 0, -1):
        if count * 2.0 ** -findings[ordered[count - 1]].changed <= alpha:
            return sorted(ordered[:count])
    return []


def _one_sided(values: Sequence[Array], alpha: float, rng: np.random.Generator) -> Array:
    """p-values [m] of sign-flip tests that the means of the m arrays are not above 0."""
    if not values:
        return np.empty(0)
    longest = max(map(len, values))
    table = np.stack([np.pad(one, (0, longest - len(one)), constant_values=np.nan) for one in values], axis=1)
    flips = max(stats.SIGN_FLIPS, int(np.ceil(2 * len(values) / alpha)))  # else Holm's smallest p could not be reached
    both = stats.sign_flip_test(table, rng, flips=flips)
    return np.where(np.nansum(table, axis=0) > 0, both / 2, 1 - both / 2)


def _median_interval(log_ratio: Array) -> tuple[float, float]:
    """The distribution-free interval of a median, as ratio - 1; NaN for too few values."""
    n = len(log_ratio)
    k = int(binom.ppf((1 - stats.LEVEL) / 2, n, 0.5))
    if k < 1:
        return np.nan, np.nan
    ordered = np.sort(log_ratio)
    return float(np.expm1(ordered[k - 1])), float(np.expm1(ordered[n - k]))


def _measures(run: Measured, baseline: Measured) -> tuple[list[str], list[str]]:
    names = [name for name in run.rows if schema.is_measure(name) and name in baseline.rows]
    if set(run.about["methods"]) == set(baseline.about["methods"]):
        return names, []
    note = "resident memory is not compared: it is that of a whole process, and the two runs hold different methods"
    return [name for name in names if name != schema.RSS_PEAK], [note]
