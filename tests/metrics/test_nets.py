"""The small networks of procfaces: shapes, units, bad input; and what the trained ones of the zoo can do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from invbench.datasets.procfaces import (
    EDITS,
    FACTORS,
    INDEX,
    PARSING_CLASSES,
    render,
    render_edited,
    sample_extras,
    sample_factors,
)
from invbench.metrics.nets.attributes import Attributes
from invbench.metrics.nets.identity import Identity
from invbench.metrics.nets.parser import Parser
from invbench.metrics.nets.perceptual import Perceptual
from invbench.metrics.nets.regressor import Regressor

ZOO = Path(__file__).resolve().parents[2] / "methods" / "zoo"
NAMES = ("age", "yaw")


def small_networks() -> dict[str, nn.Module]:
    ranges = {"names": NAMES, "low": (15.0, -40.0), "high": (80.0, 40.0), "units": ("years", "degrees")}
    return {
        "identity": Identity(widths=(8, 16), embedding=12),
        "parser": Parser(classes=("a", "b", "c"), widths=(8, 16)),
        "regressor": Regressor(**ranges, widths=(8, 16), features=20),
        "attributes": Attributes(names=("old",), factors=("age",), thresholds=(0.4,), above=(True,), widths=(8, 16)),
    }


def images(n: int = 3, size: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand((n, 3, size, size), generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("identity", (12,)), ("parser", (3, None, None)), ("regressor", (2,)), ("attributes", (1,))],
)
def test_output_shapes_at_two_resolutions(name: str, shape: tuple[int | None, ...], size: int) -> None:
    out = small_networks()[name].eval()(images(size=size))
    assert tuple(out.shape) == (3, *(size if side is None else side for side in shape))
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", ["identity", "parser", "regressor", "attributes"])
@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 1, 64, 64), (2, 3, 63, 64)])
def test_wrong_shapes_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        small_networks()[name](torch.zeros(shape))


def test_embeddings_have_unit_length() -> None:
    embeddings = small_networks()["identity"].eval()(images())
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(3), atol=1e-6)


def test_regressor_speaks_in_units() -> None:
    network = small_networks()["regressor"].eval()
    u, values = network(images()), network.physical(images())
    assert torch.allclose(values["yaw"], -40 + 80 * u[:, 1])
    assert network.features(images()).shape == (3, 20)
    with pytest.raises(ValueError, match="equal lengths"):
        Regressor(names=NAMES, low=(0.0,), high=(1.0, 1.0), units=("", ""))


def test_distance_is_the_sum_of_the_mean_maps() -> None:
    network = Perceptual()
    a, b = images(), images(seed=1)
    maps = network.maps(a, b)
    assert [tuple(m.shape) for m in maps] == [(3, 1, side, side) for side in (32, 16, 8, 4)]
    assert torch.allclose(network.distance(a, b), sum(m.mean((1, 2, 3)) for m in maps))
    cached = network.maps_between(network.features(a), network.features(b))
    assert all(torch.equal(x, y) for x, y in zip(maps, cached))


def test_distance_is_a_symmetric_non_negative_zero_for_equals() -> None:
    network = Perceptual()
    network.weights[0].data[0] = -3.0  # a negative weight counts as none
    a, b = images(), images(seed=1)
    assert torch.equal(network.distance(a, a), torch.zeros(3))
    assert torch.allclose(network.distance(a, b), network.distance(b, a))
    assert (network.distance(a, b) > 0).all()
    assert all((m >= 0).all() for m in network.maps(a, b))


def test_gradient_is_finite_at_equal_and_at_black_pictures() -> None:
    network = Perceptual()
    for stage in network.stages:
        nn.init.zeros_(stage[0].bias)
    picture = torch.zeros(1, 3, 64, 64, requires_grad=True)  # every feature is 0
    network.distance(picture, torch.zeros(1, 3, 64, 64)).sum().backward()
    assert picture.grad is not None and torch.isfinite(picture.grad).all()


# --- the trained networks -----------------------------------------------------------------------------------------------


def trained(name: str, kind: type[nn.Module]) -> nn.Module:
    with safe_open(ZOO / f"{name}.safetensors", "pt") as file:
        network = kind(**json.loads(file.metadata()["config"]))
        network.load_state_dict({key: file.get_tensor(key).float() for key in file.keys()})  # noqa: SIM118
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, torch.Tensor]:
    u = sample_factors(np.random.default_rng(2024), 96)
    return u, as_tensor(render(u).images)


def as_tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_trained_regressor_reads_age_and_yaw(faces: tuple[np.ndarray, torch.Tensor]) -> None:
    u, pictures = faces
    network = trained("regressor", Regressor)
    assert network.names == tuple(factor.name for factor in FACTORS)
    found = network(pictures).double().numpy()
    explained = 1 - np.square(found - u).sum(0) / np.square(u - u.mean(0)).sum(0)
    assert explained[INDEX["yaw"]] > 0.95
    assert explained[INDEX["age"]] > 0.9


def test_trained_regressor_follows_true_edits(faces: tuple[np.ndarray, torch.Tensor]) -> None:
    u = faces[0].clip(0.3, 0.7)  # so that no edit is clipped
    network = trained("regressor", Regressor)
    for name, (factor, change, _) in EDITS.items():
        before, after = (network.physical(as_tensor(render_edited(u, name, s).images))[factor] for s in (-1.0, 1.0))
        assert (after - before).mean().item() == pytest.approx(2 * change, rel=0.3)


@pytest.mark.parametrize("name", ["perceptual", "perceptual_metric"])
def test_trained_distance_grows_with_the_change(name: str, faces: tuple[np.ndarray, torch.Tensor]) -> None:
    u, pictures = faces
    network = trained(name, Perceptual)
    assert 0.4 < network.distance(pictures, pictures.roll(1, 0)).mean() < 0.8
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    steps = [network.distance(pictures, pictures + s * noise).mean() for s in (0.02, 0.05, 0.1, 0.2)]
    assert steps == sorted(steps)
    rng = np.random.default_rng(1)
    hidden = render(u, extras=[sample_extras(rng, row) for row in u])
    maps = network.maps(pictures, as_tensor(hidden.images))
    outside = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(hidden.ood_mask)[:, None].float(), 32)
    assert maps[0][outside == 1].mean() > 10 * maps[0][outside == 0].mean()


@pytest.mark.parametrize("name", ["identity", "identity_metric"])
def test_trained_identity_knows_a_face_again(name: str, faces: tuple[np.ndarray, torch.Tensor]) -> None:
    u, pictures = faces
    other = sample_factors(np.random.default_rng(7), len(u))
    same = np.where([factor.group == "identity" for factor in FACTORS], u, other)
    network = trained(name, Identity)
    similarity = network(pictures) @ network(as_tensor(render(same).images)).T
    assert (similarity.argmax(1) == torch.arange(len(u))).float().mean() > 0.85


def test_trained_parser_finds_occluders_and_faces(faces: tuple[np.ndarray, torch.Tensor]) -> None:
    rng = np.random.default_rng(3)
    hidden = render(faces[0], extras=[sample_extras(rng, row) for row in faces[0]])
    network = trained("parser", Parser)
    assert network.classes == PARSING_CLASSES
    found, true = network(as_tensor(hidden.images)).argmax(1).numpy(), hidden.parsing
    assert (found == true).mean() > 0.93
    occluder = PARSING_CLASSES.index("occluder")
    assert ((found == occluder) & (true == occluder)).sum() > 0.75 * ((found == occluder) | (true == occluder)).sum()


def test_trained_attributes_match_the_factors(faces: tuple[np.ndarray, torch.Tensor]) -> None:
    u, pictures = faces
    network = trained("attributes", Attributes)
    found = network(pictures).numpy() > 0
    for i, (factor, threshold, above) in enumerate(zip(network.factors, network.thresholds, network.above)):
        truth = (u[:, INDEX[factor]] > threshold) == above
        assert (found[:, i] == truth).mean() > 0.75, network.names[i]


def test_the_two_networks_of_a_pair_differ() -> None:
    for loss, metric in (("identity", "identity_metric"), ("perceptual", "perceptual_metric")):
        manifests = [json.loads((ZOO / f"{name}.json").read_text()) for name in (loss, metric)]
        assert manifests[0]["sha256"] != manifests[1]["sha256"]
        assert manifests[0]["seed"] != manifests[1]["seed"]
    configs = [safe_open(ZOO / f"{name}.safetensors", "pt").metadata()["config"] for name in ("identity", "identity_metric")]
    assert configs[0] != configs[1]
