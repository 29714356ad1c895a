"""The methods in one table: what each is, how its networks were trained, what it measures; ranks beside those of the papers.

All is generated: from the specs, the manifests of the zoo, the rows of a stored run, the printed tables, and the errors on
golden vectors in ``reports/reported/golden.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from invbench.compare import agreement
from invbench.compare.text import NOTHING, escape_markdown
from invbench.reports import measured, published
from invbench.reports.grid import GITHUB, grid
from invbench.reports.published import Number
from invbench.schema import INVERT
from invbench.specs import MethodSpec

DATASETS = ("procfaces-test", "procfaces-test-ood")
RANKED = {  # printed table -> the metric whose ranks are shown
    "paper:dhr-1": "mse",
    "paper:hyperinverter-1": "mse",
    "paper:hyperinverter-2": "age_change_years",
    "paper:gani-2": "mse",
}
METRICS = ("mse", "lpips", "id")  # published families that the table of methods shows
EDITS = {"age": "years", "yaw": "degrees"}
STRENGTH = 3.0  # of the edits that are shown: 15 years, 15 degrees
# Roles of networks that methods share with each other, with losses or with metrics; the others are a method's own.
SHARED = {
    "generator", "directions", "latent_stats", "perceptual_vgg", "perceptual_alex", "features_idinvert", "parser", "segmenter",
    "labels_stargan", "labels_attgan", "labels_stgan",
}  # fmt: skip
SEED = 0


@dataclass(frozen=True)
class Network:
    """A trained network: parameters, pictures seen in training, minutes of training."""

    parameters: int
    images: int
    minutes: float


@dataclass(frozen=True)
class Golden:
    """The greatest error of a network of a method on golden vectors, in units of what the official code loses in float32."""

    method: str
    outputs: int
    ratio: float


def golden() -> dict[str, Golden]:
    """Method -> its error on golden vectors; one without an entry has a layout only."""
    with (published.FOLDER / "golden.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = dict.fromkeys(row["method"] for row in rows)
    ratios = {id: [float(row["error"]) / float(row["official"]) for row in rows if row["method"] == id] for id in ids}
    return {id: Golden(id, len(found), max(found)) for id, found in ratios.items()}


def markdown(
    specs: Mapping[str, MethodSpec],
    networks: Mapping[str, Network],
    rows: pd.DataFrame,
    readings: Mapping[str, Sequence[str]],
    *,
    source: str,
) -> str:
    """The page. ``networks`` are the trained ones by role; ``rows`` are those of a stored run (edit "" for none), one preset a
    method; ``readings`` are lines on presets and options by method; ``source`` names the run.
    """
    found = {id: rows[rows["method"] == id] for id in specs if (rows["method"] == id).any()}
    counts = ", ".join(f"{rows[rows['dataset'] == name]['image'].nunique()} of `{name}`" for name in DATASETS)
    parts = [
        "# Methods",
        f"Generated from the specs, the manifests of the zoo and {source}: "
        "`invbench list methods --format markdown --run RUN`.",
        f"Means over {counts}, *test / test-ood*. Parameters, pictures and minutes are those of the networks that are the "
        "method's own; those of its embedder stand in the embedder's row. Age and yaw: the change that the regressor reads "
        f"after an edit of strength +{STRENGTH:.0f}, which asks for 15 years and 15 degrees. Seconds an image, inversion only, "
        "in a batch. Golden: the greatest error on vectors of the official code, in units of what that code itself loses in "
        "float32 (float32 here; 10 is the bound of the tests), and how many outputs; layout: none are public, a file of the "
        "official layout is loaded and run. How the networks were trained, and why a row stands where it does: "
        "[procfaces.md](procfaces.md). Official weights and suites: [suites.md](suites.md).",
        _overview(specs, networks, found),
        "## Ranks beside the papers'",
        "Of the methods in both a printed table and the run: *rank in the paper: rank in test, in test-ood*. By MSE; "
        "for Table 2 of HyperInverter by the size of the age edit. Other pictures and other networks, so only orders compare.",
        _ranks(specs, found),
        "Kendall's tau-b of these orders, with 95 % intervals over resampled pictures:",
        _agreements(specs, found),
        "## Readings",
        "What the sources leave open or say differently: what each preset changes, then the options with their defaults.",
        *(_reading(spec, readings[id]) for id, spec in specs.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _overview(specs: Mapping[str, MethodSpec], networks: Mapping[str, Network], rows: Mapping[str, pd.DataFrame]) -> str:
    vectors = golden()
    lines = []
    for id, spec in specs.items():
        starts = [*dict.fromkeys(spec.embedder.values())]
        lent = {role for other in specs.values() if other.gives and other.id != id for role in other.roles}
        own = [networks[role] for role in spec.roles if role in networks and role not in SHARED | lent]
        error = f"{vectors[id].ratio:.2g} ({vectors[id].outputs})" if id in vectors else "layout" if own else NOTHING
        lines.append(
            [
                f"{escape_markdown(spec.title)} `{id}`",
                spec.family,
                " or ".join(f"`{start}`" for start in starts) or NOTHING,
                f"{sum(one.parameters for one in own) / 1e6:.2f} M" if own else NOTHING,
                f"{sum(one.images for one in own):,}" if own else NOTHING,
                f"{sum(one.minutes for one in own):.0f}" if own else NOTHING,
                *(_pair(_means(rows.get(id), family), "{:.4f}") for family in METRICS),
                *(_pair(_means(rows.get(id), f"{edit}_change", edit=edit), "{:+.1f}") for edit in EDITS),
                _pair(_means(rows.get(id), INVERT), "{:.3f}"),
                error,
            ]
        )
    heads = ["method", "family", "starts from", "parameters", "pictures", "minutes", "MSE ↓", "LPIPS-proc ↓", "ID-proc ↑"]
    heads += [*(f"{edit}, {unit}" for edit, unit in EDITS.items()), "s/image ↓", "golden"]
    return grid([(head, [line[place] for line in lines]) for place, head in enumerate(heads)], GITHUB, left=3)


def _column(rows: pd.DataFrame, family: str) -> str | None:
    """The first column with values of a metric: "mse" finds mse@native, "lpips" lpips_proc@native; or the column itself."""
    found = [name for name in rows if name == family or ("@" in name and name.split("@")[0] in (family, f"{family}_proc"))]
    return next((name for name in found if rows[name].notna().any()), None)


def _values(rows: pd.DataFrame | None, family: str, dataset: str, *, edit: str = "") -> pd.Series:
    """Values by image on one dataset; empty if there are none."""
    if rows is None or (column := _column(rows, family)) is None:
        return pd.Series(dtype=float)
    chosen = rows[(rows["dataset"] == dataset) & (rows["edit"] == edit) & (rows["strength"] == (STRENGTH if edit else 0.0))]
    return chosen.set_index("image")[column].astype(float).dropna()


def _means(rows: pd.DataFrame | None, family: str, *, edit: str = "") -> list[float]:
    found = [_values(rows, family, dataset, edit=edit) for dataset in DATASETS]
    return [float(one.mean()) if len(one) else float("nan") for one in found]


def _pair(values: Sequence[float], form: str) -> str:
    return " / ".join(NOTHING if np.isnan(value) else form.format(value) for value in values)


def _common(name: str, metric: str, specs: Mapping[str, MethodSpec], rows: Mapping[str, pd.DataFrame]) -> dict[str, Number]:
    """Method of the run -> its trusted number in a printed table: of faces, no ablation, of the strongest edit."""
    found: dict[str, Number] = {}
    numbers = [one for one in published.tables()[name].numbers if one["metric"] == metric and one["domain"] == "faces"]
    strongest = max((one["edit_strength"] for one in numbers), key=lambda text: float(text or 0), default="")
    for one in numbers:
        id = published.protocols()["methods"].get(one["method"], one["method"])
        start = published.protocols()["embedders"].get(one["embedder"], one["embedder"])
        trusted = one["variant"] in measured.PLAIN and not np.isnan(one.value) and not one.flags & published.UNTRUSTED
        if one["edit_strength"] != strongest or not trusted:
            continue
        if f"{id}+{start}" in rows:
            found[f"{id}+{start}"] = one
        elif id in rows and (not start or any(own.startswith(start) for own in specs[id].embedder.values())):
            found[id] = one
    return found


@dataclass(frozen=True)
class _Order:
    """What a printed table and the run have in common in one metric.

    printed  method of the run -> its printed number; changes by an edit count along the way that the table's go, since the
             direction of an edit has one sign here and may have the other there
    values   dataset -> method -> values by image
    sign     makes a small number the better one; of the effect of an edit, the larger one
    """

    metric: str
    printed: Mapping[str, float]
    values: Mapping[str, Mapping[str, pd.Series]]
    sign: float


def _orders(name: str, specs: Mapping[str, MethodSpec], rows: Mapping[str, pd.DataFrame]) -> Iterator[_Order]:
    """The metrics of a printed table in which it has at least two methods in common with the run."""
    for metric in dict.fromkeys(one["metric"] for one in published.tables()[name].numbers):
        family = published.protocols()["families"].get(metric, "")
        if not family or family == INVERT:
            continue
        edit = next((edit for edit in EDITS if family == f"{edit}_change"), "")
        common = _common(name, metric, specs, rows)
        values = {dataset: {id: _values(rows[id], family, dataset, edit=edit) for id in common} for dataset in DATASETS}
        common = {id: one for id, one in common.items() if all(len(found[id]) for found in values.values())}
        if len(common) > 1:
            turned = -1.0 if edit and sum(one.value for one in common.values()) < 0 else 1.0
            printed = {id: turned * one.value for id, one in common.items()}
            yield _Order(metric, printed, values, 1.0 if next(iter(common.values()))["direction"] == "lower" else -1.0)


def _ranks(specs: Mapping[str, MethodSpec], rows: Mapping[str, pd.DataFrame]) -> str:
    columns: dict[str, dict[str, str]] = {}
    for name, ranked in RANKED.items():
        for one in _orders(name, specs, rows):
            if one.metric == ranked:
                printed = {id: one.sign * value for id, value in one.printed.items()}
                here = [{id: one.sign * found[id].mean() for id in one.printed} for found in one.values.values()]
                places = [_places(order) for order in (printed, *here)]
                texts = {id: "{}: {}, {}".format(*(place[id] for place in places)) for id in one.printed}
                columns[f"{_short(name)}, {_word(ranked)}"] = texts
    ids = [id for id in rows if any(id in column for column in columns.values())]
    heads = [("method", [escape_markdown(specs[id].title) for id in ids])]
    return grid([*heads, *((head, [found.get(id, NOTHING) for id in ids]) for head, found in columns.items())], GITHUB, left=1)


def _places(values: Mapping[str, float]) -> dict[str, int]:
    """Rank from 1; equal values share one."""
    return {id: 1 + sum(other < value for other in values.values()) for id, value in values.items()}


def _agreements(specs: Mapping[str, MethodSpec], rows: Mapping[str, pd.DataFrame]) -> str:
    rng, lines = np.random.default_rng(SEED), []
    for name in RANKED:
        for one in _orders(name, specs, rows):
            printed = list(one.printed.values())
            found = [pd.concat([values[id] for id in one.printed], axis=1).to_numpy() for values in one.values.values()]
            taus = [agreement.rank_agreement(printed, images, rng) for images in found]
            texts = [f"{tau.value:z.2f} [{tau.low:z.2f}, {tau.high:z.2f}]" for tau in taus]
            lines.append([_short(name), _word(one.metric), str(len(printed)), *texts])
    heads = ["table", "metric", "methods", *(f"`{dataset}`" for dataset in DATASETS)]
    return grid([(head, [line[place] for line in lines]) for place, head in enumerate(heads)], GITHUB, left=2)


def _word(metric: str) -> str:
    return metric.replace("_", " ")


def _short(name: str) -> str:
    """ "paper:dhr-1" -> "DHR, Table 1"."""
    table = published.tables()[name]
    return f"{published.name_of(table.source)}, {table.name}"


def _reading(spec: MethodSpec, lines: Sequence[str]) -> str:
    text = "\n".join(f"- {escape_markdown(line)}" for line in lines)
    return f"### {escape_markdown(spec.title)}\n\n{escape_markdown(spec.summary)}\n\n{text}".rstrip()
