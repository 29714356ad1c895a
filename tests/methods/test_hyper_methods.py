"""HyperStyle and HyperInverter: inversions pass by pass, edits, interpolation, memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invbench.api import Edit, InvbenchError
from invbench.methods.common import predicted_weights
from invbench.methods.directions.linear import Directions
from invbench.methods.directions.positions import EditDirections
from invbench.methods.hyperinverter import SPEC as HYPERINVERTER
from invbench.methods.hyperinverter import HyperInverter
from invbench.methods.hyperstyle import SPEC as HYPERSTYLE
from invbench.methods.hyperstyle import HyperStyle
from invbench.methods.nets.hyperinverter import HyperInverterNetwork
from invbench.methods.nets.hyperstyle import HyperStyleNetwork
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from invbench.methods.nets.w_encoder import WEncoder
from invbench.methods.train.encoding import FrozenEmbedder
from invbench.options import make
from invbench.util.clock import StageClock
from tests.methods.test_encoders import filled
from tests.methods.test_hypernetworks import CHANNELS, INVERT, STYLE


@pytest.fixture(scope="module")
def generator() -> Generator:
    return filled(Generator(GeneratorConfig(64, CHANNELS, z_dim=4, w_dim=16, n_mapping=2))).requires_grad_(False)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


class Fixed(FrozenEmbedder):
    def max_batch(self, memory: int) -> int:
        return 1000


@pytest.fixture(scope="module")
def embedder(generator) -> Fixed:
    return Fixed(filled(WEncoder(16, size=64, stages=[[4, 1], [8, 1], [8, 1], [16, 1]]), seed=6), generator)


@pytest.fixture(scope="module")
def directions() -> Directions:
    found = Directions(["age"], 10, 16)
    found.vectors.normal_(generator=torch.Generator().manual_seed(7))
    return found


def hyperstyle(generator, embedder, directions, **options) -> HyperStyle:
    network = filled(HyperStyleNetwork(**STYLE), seed=8)
    with torch.no_grad():
        for value in network.last_parameters():
            value.mul_(0.1)
    networks = {"generator": generator, "hypernet_hyperstyle": network.requires_grad_(False), "directions": directions}
    return HyperStyle(networks, make(HYPERSTYLE, options), embedder)


def inverter(generator, embedder, directions, **options) -> HyperInverter:
    network = filled(HyperInverterNetwork(**INVERT), seed=9).requires_grad_(False)
    networks = {"generator": generator, "hypernet_hyperinverter": network, "directions": directions}
    return HyperInverter(networks, make(HYPERINVERTER, options), embedder)


@torch.no_grad()
def test_hyperstyle_adds_up_changes_around_a_fixed_code(generator, embedder, directions, images):
    model = hyperstyle(generator, embedder, directions, iterations=3)
    clock = StageClock("cpu")
    found = model.invert(images, clock)
    assert {"refine", "synthesise"} <= set(clock.stages)
    latents = embedder(images)
    assert torch.equal(found.latents, latents)
    drawn, total = generator.synthesis(latents), {name: torch.zeros(()) for name in model.network.targets}
    for step in range(3):
        total = {name: total[name] + delta for name, delta in model.network(images, drawn).items()}
        weights = {name: generator.synthesis.get_parameter(name) * (1 + delta) for name, delta in total.items()}
        drawn = generator.synthesis(latents, weights=weights)
        torch.testing.assert_close(found.state["images_of_steps"][:, step], drawn)
    torch.testing.assert_close(found.images, drawn)
    for name, value in weights.items():
        torch.testing.assert_close(found.state[name], value)
    assert set(found.state) == {*weights, "images_of_steps"} and not any("torgb" in name for name in weights)
    assert (found.state["images_of_steps"].diff(dim=1).abs().amax((0, 2, 3, 4)) > 1e-3).all()


@pytest.mark.parametrize("targets", ["all", "main"])
@torch.no_grad()
def test_hyperinverter_adds_to_the_weights_once(targets, generator, embedder, directions, images):
    model = inverter(generator, embedder, directions, targets=targets)
    found = model.invert(images, StageClock("cpu"))
    latents = embedder(images)
    added = model.network(images, generator.synthesis(latents))
    changed = {name: delta for name, delta in added.items() if targets == "all" or "torgb" not in name}
    assert set(found.state) == set(changed)
    weights = {name: generator.synthesis.get_parameter(name) + delta for name, delta in changed.items()}
    torch.testing.assert_close(found.images, generator.synthesis(latents, weights=weights))
    assert (found.images - generator.synthesis(latents)).abs().max() > 1e-3


@pytest.mark.parametrize("build", [hyperstyle, inverter])
@torch.no_grad()
def test_edits_keep_the_weights_and_batches_change_nothing(build, generator, embedder, directions, images):
    model = build(generator, embedder, directions)
    clock = StageClock("cpu")
    found = model.invert(images, clock)
    assert torch.equal(model.edit(found, Edit("age", 0), clock), found.images)
    weights = {name: found.state[name] for name in model.network.targets}
    moved = generator.synthesis(found.latents + 2 * directions["age"], weights=weights)
    torch.testing.assert_close(model.edit(found, Edit("age", 2), clock), moved)
    alone = model.invert(images[1:2], clock)
    torch.testing.assert_close(alone.images, found.images[1:2], atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_the_released_edit_halves_directions_but_not_positions(generator, embedder, directions, images):
    halved = make(HYPERINVERTER, HYPERINVERTER["presets"]["released"]).edit_scale
    assert halved == 0.5
    model = inverter(generator, embedder, directions, edit_scale=halved)
    latents = torch.randn(2, 10, 16, generator=torch.Generator().manual_seed(10))
    torch.testing.assert_close(model.move_latents(latents, Edit("age", 3)), latents + 1.5 * directions["age"])
    positions = EditDirections(names=["age"], num_ws=10, dim=16)
    positions.vectors.normal_()
    positions.readings.normal_()
    there = inverter(generator, embedder, positions, edit_scale=halved)
    torch.testing.assert_close(there.move_latents(latents, Edit("age", 3)), positions.move(latents, Edit("age", 3)))


@pytest.mark.parametrize("build", [hyperstyle, inverter])
@torch.no_grad()
def test_interpolation_moves_latents_and_weights_together(build, generator, embedder, directions, images):
    model = build(generator, embedder, directions)
    clock = StageClock("cpu")
    a, b = (model.invert(images[i : i + 1], clock) for i in range(2))
    for t, end in ((0.0, a), (1.0, b)):
        torch.testing.assert_close(model.interpolate(a, b, t).images, end.images, rtol=1e-4, atol=1e-4)
    between = model.interpolate(a, b, 0.25)
    names = list(model.network.targets)
    weights = {name: 0.75 * a.state[name] + 0.25 * b.state[name] for name in names}
    expected = generator.synthesis(0.75 * a.latents + 0.25 * b.latents, weights=weights)
    torch.testing.assert_close(between.images, expected, rtol=1e-4, atol=1e-4)
    assert (between.images - generator.synthesis(between.latents)).abs().max() > 1e-3
    assert torch.equal(model.edit(between, Edit("age", 0), clock), between.images)


@pytest.mark.parametrize("build", [hyperstyle, inverter])
def test_the_batch_bounds_the_memory_of_predicted_weights(build, generator, embedder, directions):
    model = build(generator, embedder, directions)
    weights = sum(math.prod(shape) for shape in model.network.targets.values())
    for memory in (10**6, 10**8, 10**10):
        assert 4 * weights * model.max_batch(memory) <= max(memory / 2, 4 * weights)
    assert model.max_batch(10**12) == 1000, "the embedder has a bound of its own"
    with torch.device("meta"):
        whole = Generator(GeneratorConfig(1024))
        targets = HyperStyleNetwork().targets
    gigabyte = 2**30
    assert 1 <= predicted_weights.max_batch(whole, targets, 4 * gigabyte) <= 4 * gigabyte // (4 * 23_000_000)


def test_a_network_of_another_generator_is_refused(embedder, directions):
    other = Generator(GeneratorConfig(64, {**CHANNELS, 64: 6}, z_dim=4, w_dim=16, n_mapping=2))
    with pytest.raises(InvbenchError, match=r"hyperstyle: b64.conv0.weight: its network predicts \[4, 6, 3, 3\], the gen"):
        hyperstyle(other, embedder, directions)
    with pytest.raises(InvbenchError, match=r"hyperinverter: b64.conv0.weight: its network predicts"):
        inverter(other, embedder, directions)
