"""The measured values of a run for competing published numbers: by the same ``name@protocol``, else by the nearest metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from invbench import schema
from invbench.api import InvbenchError
from invbench.compare.stats import Interval
from invbench.reports import compare, coverage, machines, published
from invbench.reports.published import Number
from invbench.reports.run import Run

PLAIN = ("", "full")  # variants of a method that are the method itself, not an ablation


@dataclass(frozen=True)
class Found:
    """The measured values of a run for a group of published numbers.

    metric    id of the metric that measured it; ``dataset`` is the dataset that it was measured on
    methods   published id -> id and preset in the run; a pair of its own has the published id "dhr+lsap"
    means     published id -> mean over the images that all compared methods cover, with its interval if there is one
    places    published id -> 1 if it shares the first rank, 2 if its best rank is the second; empty if no two methods can be
              told apart
    columns   published id -> values [n] over these images; empty for measures without one value per image
    few       published id -> the reason why a method is not compared: it covers too few images
    notes     notes on the images and on the ranks
    """

    metric: str
    dataset: str
    methods: Mapping[str, compare.Method]
    means: Mapping[str, Interval]
    places: Mapping[str, int]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    few: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def name(self, number: Number) -> str:
        """The id under which a published number is found: that of its pair, if the run has it, else that of the method."""
        pair = f"{number['method']}+{number['embedder']}"
        return pair if pair in self.methods else str(number["method"])


def find(
    run: Run, group: Sequence[Number], *, dataset: str | None, preset: str | None, level: float, resamples: int
) -> Found | None:
    """The measured values for numbers of one metric, domain, edit and strength; None if the run has none."""
    first = group[0]
    metric, images = _metric(run, first), _dataset(run, first, dataset)
    if metric is None or images is None:
        return None
    methods = _methods(run, group, images, preset)
    if not methods:
        return None
    if metric in run.specs and run.specs[metric].kind == "set":
        return _of_set(run, metric, images, methods, first["direction"])
    rows = run.rows[run.rows["dataset"] == images]
    if first["edit"]:
        edit = published.protocols()["edits"].get(first["edit"], first["edit"])
        rows = rows[(rows["edit"] == edit) & (rows["strength"] == float(first["edit_strength"] or "nan"))]
    else:
        rows = rows[rows["edit"].isna()]
    planned = {method: run.images(*method, images) for method in methods.values()}
    blocks = compare.blocks(rows, {(images,): planned}, metrics=[metric], by=["dataset"])
    if not blocks:
        return None
    single = schema.is_seconds(metric)  # images of a batch share one time, so they are not independent
    directions = {metric: "none" if single else first["direction"]}
    one = compare.compare(blocks, directions, level=level, resamples=resamples)[0]
    found = _of_images(one, methods, direction=first["direction"], single=single)
    several = {run.machines.get((images, *method)) for method in methods.values()} - {None}
    if found is not None and single and len(several) > 1:
        return replace(found, places={}, notes=[*found.notes, f"{machines.APART}, so they have no places"])
    return found


def embedder(run: Run, method: str, preset: str) -> str | None:
    """The published name of the embedder that a method of the run starts from; None if there is none or it is not known."""
    ours = run.manifest.get("methods", {}).get(f"{method}.{preset}", {}).get("embedder", "")
    known: dict[str, str] = published.protocols()["embedders"]
    return next((name for name, own in known.items() if own == ours), ours or None)


def check(run: Run, dataset: str | None, preset: str | None) -> None:
    """Raise InvbenchError if the run lacks that dataset or that preset; None is always accepted."""
    for kind, name in (("dataset", dataset), ("preset", preset)):
        known = sorted({cell[kind] for cell in run.plan["cells"].values()})
        if name is not None and name not in known:
            raise InvbenchError(f"{run.store.path}: expected a {kind} of the run ({', '.join(known)}), found {name!r}")


def _methods(run: Run, group: Sequence[Number], dataset: str, preset: str | None) -> dict[str, compare.Method]:
    found: dict[str, compare.Method] = {}
    for one in group:
        if one["variant"] in PLAIN and not one["versus"]:
            ours = published.protocols()["methods"].get(one["method"], one["method"])
            start = published.protocols()["embedders"].get(one["embedder"], one["embedder"])
            for name, id in ((one["method"], ours), (f"{one['method']}+{one['embedder']}", f"{ours}+{start}")):
                cells = [cell for cell in run.plan["cells"].values() if (cell["method"], cell["dataset"]) == (id, dataset)]
                has = sorted(cell["preset"] for cell in cells)
                wanted = [preset] if preset else ["paper", *has]
                found.update((name, (id, asked)) for asked in [asked for asked in wanted if asked in has][:1])
    return found


def _of_set(run: Run, metric: str, dataset: str, methods: Mapping[str, compare.Method], direction: str) -> Found | None:
    sets = run.sets[(run.sets["metric"] == metric) & (run.sets["dataset"] == dataset)].set_index(["method", "preset"])
    means = {}
    for name, key in methods.items():
        if key in sets.index and not pd.isna(sets.loc[key, "value"]):
            value, low, high = (float(sets.loc[key, part]) if part in sets else math.nan for part in ("value", "low", "high"))
            means[name] = Interval(value, low, high, int(sets.loc[key, "n"]))
    most = max((one.n for one in means.values()), default=0)
    few = {name: f"measured on {one.n} images, others on {most}" for name, one in means.items() if one.n < most}
    alike = {name: one for name, one in means.items() if name not in few}
    return Found(metric, dataset, methods, means, _by_value(alike, direction), few=few) if means else None


def _of_images(one: compare.Compared, methods: Mapping[str, compare.Method], *, direction: str, single: bool) -> Found | None:
    block = one.block
    index = {method: position for position, method in enumerate(block.methods)}
    known = {name: one.means[method] for name, method in methods.items() if one.means[method].own}
    means = {name: mean.interval for name, mean in known.items()}
    compared = [name for name, mean in known.items() if mean.compared]
    few = {
        name: f"covers only {mean.own} of {len(block.images)} images, so it is not compared with the other methods"
        for name, mean in known.items()
        if not mean.compared
    }
    places = {name: min(mean.ranks) for name, mean in known.items() if mean.ranks} if one.decided else {}
    columns = {name: block.column(index[methods[name]]) for name in compared}
    notes = [f"{block.metric}: {line}" for line in (coverage.images([one]) if block.left_out else [])]
    if single:
        means = {name: Interval(mean.value, math.nan, math.nan, mean.n) for name, mean in means.items()}
        places, columns = _by_value({name: means[name] for name in compared}, direction), {}
    dataset = str(block.place[0])
    return Found(block.metric, dataset, methods, means, places, columns, few, notes + coverage.warnings([one]))


def _by_value(means: Mapping[str, Interval], direction: str) -> dict[str, int]:
    """Places by the values alone, for measures without per-image values; a single method gets no place."""
    return compare.best_two({name: one.value for name, one in means.items()}, direction) if len(means) > 1 else {}


def _metric(run: Run, number: Number) -> str | None:
    """The run's metric for a number: the published recipe itself, else the nearest one of the same family."""
    family = published.protocols()["families"].get(number["metric"])
    recipe = published.rule(number)["recipe"]
    if family is None:
        return None
    if schema.is_seconds(family):
        return family if family in run.rows else None
    kinds = ("edit",) if number["edit"] else ("inversion", "set")
    ids = [spec.id for spec in run.specs_of(*kinds) if spec.kind == "set" or spec.id in run.rows]
    near = [id for id in ids if run.specs[id].name == family or run.specs[id].name.startswith(f"{family}_")]
    same = [id for id in near if recipe and run.specs[id].name == recipe.split("@")[0]]
    return next(iter([id for id in near if id == recipe] + same + near), None)


def _dataset(run: Run, number: Number, wanted: str | None) -> str | None:
    names = list(dict.fromkeys(cell["dataset"] for cell in run.plan["cells"].values()))
    names = [name for name in names if wanted in (None, name)]
    stands = [number["dataset"], *published.protocols()["domains"].get(number["domain"], [])]
    return next((name for start in stands for name in names if start and name.replace("-", "_").startswith(start)), None)
