"""What every metric must do, whoever wrote it: ``pytest tests/contract --plugin FILE.py`` runs this on yours.

Metrics are computed as a run does, under their protocol, with the networks of the embedded suite, on a few of its pictures.
Of a metric whose networks that suite lacks only what it says of them is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invbench.api import Edit, InvbenchError, MetricInput, MissingWeights, Sample
from invbench.plugins import registry
from invbench.plugins.config import load
from invbench.specs import MetricSpec, ProtocolSpec
from invbench.weights.networks import Networks
from tests.contract.conftest import SUITE, plugin_files

IMAGES = 4
RANGE = re.compile(r"([\[(])\s*(-?inf|-?[\d.]+)\s*,\s*(-?inf|-?[\d.]+)\s*([\])])")
SAMPLE_NEEDS = ("factors", "ood_mask", "parsing")


@dataclass(frozen=True)
class Case:
    spec: MetricSpec
    protocol: ProtocolSpec

    def __str__(self) -> str:
        return self.spec.id

    @property
    def roles(self) -> set[str]:
        return {*self.spec.roles, *self.protocol.roles}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        known = registry.discover(plugin_files(metafunc.config))
        has = set(load()[SUITE].networks)
        cases = [Case(spec, known.protocols[spec.protocol]) for spec in known.metrics.values()]
        wanted = getattr(metafunc.function, "wanted", "image")
        fits = {
            "image": lambda one: one.roles <= has and one.spec.kind in ("inversion", "edit"),
            "set": lambda one: one.roles <= has and one.spec.kind == "set",
            "roles": lambda one: bool(one.spec.roles),
        }[wanted]
        chosen = [case for case in cases if fits(case)]
        metafunc.parametrize("case", chosen, ids=map(str, chosen))


def of(kind: str) -> Any:
    """Mark a test as one of set metrics, or of metrics with roles."""

    def mark(test: Any) -> Any:
        test.wanted = kind
        return test

    return mark


@cache
def networks() -> Mapping[str, nn.Module]:
    return Networks(load()[SUITE])


@cache
def material() -> tuple[list[Sample], dict[str, np.ndarray], np.ndarray]:
    """Samples, uint8 [N, H, W, 3] by what they are, true factors. Outputs are the originals, darker and with noise."""
    spec = registry.datasets()["procfaces-test-ood"]
    dataset: Any = registry.load(spec)(**spec.options)
    edit = Edit("smile", 1.0)
    samples = [dataset.read(index) for index in range(IMAGES)]
    target = np.stack([sample.picture for sample in samples])
    rng = np.random.default_rng(1)
    noisy = (0.8 * target + rng.normal(0, 12, target.shape)).clip(0, 255).astype(np.uint8)
    inverted = (0.95 * target + rng.normal(0, 3, target.shape)).clip(0, 255).astype(np.uint8)
    pictures = {"target": target, "output": noisy, "inverted": inverted}
    pictures["truth"] = np.stack([dataset.truth(index, edit) for index in range(IMAGES)])
    return samples, pictures, np.stack([dataset.true_factors(index, edit) for index in range(IMAGES)])


def latents() -> Tensor:
    """Latents [N, L, D] near the mean one."""
    mean = networks()["latent_stats"].mean
    spread = torch.randn(IMAGES, 10, len(mean), generator=torch.Generator().manual_seed(2))
    return mean + 0.1 * networks()["latent_stats"].std * spread / len(mean) ** 0.5


def given(case: Case, **changed: np.ndarray) -> MetricInput:
    """The input of a metric, with what it says that it needs and nothing else; fresh tensors at every call."""
    samples, pictures, factors = material()
    pictures = pictures | changed
    prepare = registry.load(case.protocol)({role: networks()[role] for role in case.protocol.roles})

    def made(which: str) -> Tensor:
        return prepare(pictures[which], original=which in ("target", "truth")).clone()

    spec, edits = case.spec, case.spec.kind == "edit"
    kept = [replace(one, **{need: None for need in SAMPLE_NEEDS if need not in spec.needs}) for one in samples]
    return MetricInput(
        target=made("target"),
        output=made("output"),
        samples=kept,
        edit=Edit(spec.edits[0] if spec.edits else "smile", 1.0) if edits else None,
        inverted=made("inverted") if edits else None,
        truth=made("truth") if "truth" in spec.needs else None,
        true_factors=factors.copy() if "true_factors" in spec.needs else None,
        latents=latents() if "latents" in spec.needs else None,
        region=("inner_mouth",) if "region" in spec.needs else (),
        state={"domain_mask": torch.linspace(0, 1, IMAGES).reshape(-1, 1, 1, 1).repeat(1, 1, 8, 8)}
        if "domain_mask" in spec.needs
        else {},
    )


def alone(whole: MetricInput, index: int) -> MetricInput:
    """The same of one image."""
    part = slice(index, index + 1)
    cut = {name: None if getattr(whole, name) is None else getattr(whole, name)[part]
           for name in ("target", "output", "inverted", "truth", "true_factors", "latents")}  # fmt: skip
    state = {name: value[part] for name, value in whole.state.items()}
    return replace(whole, **cut, samples=[whole.samples[index]], state=state, memo={})


def built(case: Case) -> Any:
    """With the roles of its declaration and no other."""
    return registry.load(case.spec)({role: networks()[role] for role in case.spec.roles})


def tensors(one: MetricInput) -> list[np.ndarray]:
    arrays = [one.target, one.output, one.inverted, one.truth, *one.state.values()]
    found = [array.numpy().copy() for array in arrays if array is not None]
    kept = [getattr(sample, name) for sample in one.samples for name in ("picture", *SAMPLE_NEEDS)]
    return found + [array.copy() for array in [one.true_factors, *kept] if array is not None]


def test_one_float64_an_image_in_the_declared_range(case: Case) -> None:
    values = built(case)(given(case))
    assert isinstance(values, np.ndarray) and values.dtype == np.float64 and values.shape == (IMAGES,)
    declared = RANGE.fullmatch(case.spec.range)
    assert np.isfinite(values[~np.isnan(values)]).all() or "inf]" in case.spec.range or "[-inf" in case.spec.range
    if declared is None:  # in words: "the regressor's"
        assert case.spec.range.strip() and not case.spec.range.startswith(("[", "(")), case.spec.range
        return
    low, high = float(declared[2]), float(declared[3])
    known = values[~np.isnan(values)]
    assert (known >= low - 1e-6).all() and (known <= high + 1e-6).all()


def test_the_input_is_left_alone(case: Case) -> None:
    one = given(case)
    before = tensors(one)
    built(case)(one)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, tensors(one), strict=True)), "wrote into its input"


def test_an_image_has_its_value_alone_and_twice(case: Case) -> None:
    metric, whole = built(case), given(case)
    values = metric(whole)
    np.testing.assert_array_equal(metric(given(case)), values)
    for index in (0, IMAGES - 1):
        np.testing.assert_allclose(metric(alone(whole, index)), values[index : index + 1], rtol=1e-3, atol=1e-4)


def test_nothing_is_better_than_the_picture_itself(case: Case) -> None:
    """The original as its reconstruction, or the true edit as the edit, is at least as good as one with noise."""
    spec, (_, pictures, _) = case.spec, material()
    if spec.better == "none" or not (spec.kind == "inversion" or "truth" in spec.needs):
        pytest.skip("its best value is not that of identical pictures")
    same = pictures["target" if spec.kind == "inversion" else "truth"]
    metric = built(case)
    best, noisy = metric(given(case, output=same)), metric(given(case))
    sign = 1 if spec.better == "higher" else -1
    known = ~(np.isnan(best) | np.isnan(noisy))
    assert (sign * best[known] >= sign * noisy[known] - 1e-9).all()


@of("set")
def test_features_are_of_one_image_each(case: Case) -> None:
    metric, images = built(case), given(case).output
    before = images.clone()
    features = metric.features(images)
    assert features.shape[0] == IMAGES and features.ndim == 2 and np.isfinite(features).all()
    assert torch.equal(images, before) and isinstance(metric.feature, str) and metric.minimum > 0
    np.testing.assert_allclose(metric.features(images[1:2]), features[1:2], rtol=1e-3, atol=1e-4)


@of("set")
def test_equal_sets_are_best_and_small_ones_refused(case: Case) -> None:
    metric, rng = built(case), np.random.default_rng(2)
    reference = rng.normal(size=(max(metric.minimum, 200), 8)).astype(np.float32)

    def value(measured: np.ndarray) -> float:
        found = metric.compute(reference.copy(), measured)
        return float(getattr(found, "value", found))

    best, far = value(reference.copy()), value(reference + 5)
    if case.spec.better != "none":
        assert best >= far if case.spec.better == "higher" else best <= far
    if metric.minimum > 1:
        with pytest.raises(InvbenchError, match="expected at least"):
            metric.compute(reference[: metric.minimum - 1], reference[: metric.minimum - 1])


@of("roles")
def test_a_missing_network_is_told_by_its_role(case: Case) -> None:
    with pytest.raises((MissingWeights, KeyError), match="|".join(map(re.escape, case.spec.roles))):
        registry.load(case.spec)({})
