"""The settings of the embedded suite are what docs/settings.md says they are."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from invbench.datasets.procfaces import render_split
from invbench.methods.train.frozen import load_frozen
from invbench.plugins.config import load
from invbench.plugins.registry import discover
from invbench.plugins.selection import resolve

# Where the published thresholds stand, measured on real faces with LPIPS: the table in docs/settings.md.
FADES = {
    ("pti", "released", "lpips_stop"): 0.111,
    ("sam", "released", "threshold"): 0.311,
    ("dhr", "released", "threshold_face"): 1.039,
    ("dhr", "released", "threshold_parts"): 1.187,
    ("dhr", "released", "threshold_rest"): 0.904,
}
CURVES = Path(__file__).parents[2] / "docs" / "curves"


@pytest.fixture(scope="module")
def options():
    suite, methods = load()["procfaces"], discover().methods
    return {f"{name}:{preset}": resolve(suite, spec, preset) for name, spec in methods.items() for preset in spec.presets}


def test_thresholds_stand_at_the_fades_of_the_published_ones(options):
    network = load_frozen("perceptual")
    pictures = torch.from_numpy(render_split("val", range(400, 464)).images).movedim(3, 1).float() / 127.5 - 1
    others = pictures.roll(-1, 0)

    def distance(fade: float) -> float:
        share = min(fade, 1.0)  # beyond an unrelated picture the scale goes on in proportion
        faded = ((pictures + share * (others - pictures) + 1) * 127.5).round() / 127.5 - 1
        with torch.no_grad():
            return network.distance(faded, pictures).median().item() * fade / share

    for (method, preset, name), fade in FADES.items():
        assert options[f"{method}:{preset}"][name] == pytest.approx(distance(fade), rel=0.03), name


def test_the_classes_have_the_threshold_of_the_faces_since_network_and_pictures_are_the_same(options):
    suites, sam = load(), discover().methods["sam"]
    assert resolve(suites["procclasses"], sam, "released")["threshold"] == options["sam:released"]["threshold"]
    used = [suites[name].networks["perceptual_vgg"] for name in ("procfaces", "procclasses")]
    assert used[0] == used[1] and "procfaces-val" in suites["procclasses"].datasets


def test_twice_the_steps_gain_the_classes_a_fifth_of_a_decibel_at_most():
    suite, methods = load()["procclasses"], discover().methods
    for method, preset, curve in (("z_class", "default", "z_class"), ("sam", "released", "sam_z_class")):
        with (CURVES / f"{curve}.csv").open() as file:
            rows = list(csv.DictReader(file))
        steps = resolve(suite, methods[method], preset)["steps"]
        first, twice = ([float(row["psnr"]) for row in rows if int(row["steps"]) == count] for count in (steps, 2 * steps))
        assert len(first) == len(twice) == 2 and (sum(twice) - sum(first)) / 2 <= 0.2


def test_presets_keep_what_tells_them_apart(options):
    for name in ("sg2_w", "sg2_wplus"):
        released, paper = options[f"{name}:released"], options[f"{name}:paper"]
        assert released["lr"] < paper["lr"] and released["steps"] > paper["steps"]
    released, paper = options["pti:released"], options["pti:paper"]
    assert paper["embedder.lr"] == pytest.approx(released["embedder.lr"] / 2)
    assert (paper["locality"], released["locality"]) == (True, False)
    released, paper = options["dhr:released"], options["dhr:paper"]
    assert paper["threshold_rest"] == paper["threshold_face"] == released["threshold_face"] > released["threshold_rest"]
    assert released["feature_steps"] == 2 * released["weight_steps"]


@pytest.mark.parametrize(
    ("method", "preset", "name", "curve"),
    [
        ("sg2_w", "paper", "steps", "sg2_w"),
        ("pti", "released", "embedder.steps", "pti_pivot"),
        ("pti", "released", "steps", "pti_tuning"),
    ],
)
def test_twice_the_steps_gain_a_fifth_of_a_decibel_at_most(options, method, preset, name, curve):
    with (CURVES / f"{curve}.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["preset"] == preset]
    steps = options[f"{method}:{preset}"][name]
    for dataset in ("procfaces-val", "procfaces-val-ood"):
        psnr = {int(row["steps"]): float(row["psnr"]) for row in rows if row["dataset"] == dataset}
        assert psnr[2 * steps] - psnr[steps] <= 0.2
