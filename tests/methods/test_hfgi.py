"""HFGI: golden vectors of its networks, and an inversion and its edits step by step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import Edit, InvbenchError
from invbench.methods.convert.stylegan2 import convert_generator
from invbench.methods.hfgi import HFGI, SPEC
from invbench.methods.nets.hfgi import HFGINetwork
from invbench.methods.nets.stylegan2 import FeatureEdit, Generator
from invbench.methods.psp import PSP
from invbench.options import Options, make
from invbench.util.clock import StageClock
from tests import golden_vectors
from tests.methods.test_encoders import filled

SMALL = {"channels": 8, "size": 32, "residue": [4, 6, 8], "aligner": [4, 5, 6, 8]}


@pytest.mark.parametrize("precision", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
@torch.no_grad()
def test_official_networks_reproduce_the_golden_vectors(precision):
    golden = golden_vectors.load("hfgi")
    network = HFGINetwork().eval()
    for part in ("residue", "grid_align"):
        network.get_submodule(part).load_state_dict(golden_vectors.state(golden, part))
    file = {"g_ema": golden_vectors.state(golden, "decoder"), "latent_avg": torch.zeros(512)}
    generator = convert_generator(file, source="golden").network().to(precision)
    network.to(precision)
    images, latents = (golden_vectors.tensor(golden, name).to(precision) for name in ("x", "wplus"))
    drawn = generator.synthesis(latents)
    golden_vectors.check(golden, "image_without_conditions", drawn)
    aligned = network.grid_align(network.residual(images, drawn), network.seen(drawn))
    golden_vectors.check(golden, "aligned_residual", aligned)
    scale, shift = network.conditions(aligned, 64)
    golden_vectors.check(golden, "condition_scale", scale)
    golden_vectors.check(golden, "condition_shift", shift)
    fused = generator.synthesis(latents, features={"b64.conv0": FeatureEdit.scale_shift(scale, shift)})
    golden_vectors.check(golden, "image_fused", fused)


@pytest.fixture(scope="module")
def trained(networks):
    """The small networks of the other tests, a random HFGI and the embedder that it starts from."""
    found = networks | {"hfgi": filled(HFGINetwork(**SMALL)).requires_grad_(False), "encoder_psp": networks["encoder_e4e"]}
    return found, PSP(found, Options("psp", {}))


def row(trained, **options) -> HFGI:
    return HFGI(trained[0], make(SPEC, {"fusion_resolution": 16, **options}), trained[1])


@torch.no_grad()
def fused(networks, latents: Tensor, residual: Tensor, drawn: Tensor) -> Tensor:
    """F (1 + scale) + shift after the up-convolution to 16 x 16, by what the networks say."""
    network: HFGINetwork = networks["hfgi"]
    scale, shift = network.residue(network.grid_align(residual, drawn))
    assert scale.shape[-1] == 8
    scale, shift = (F.interpolate(x, size=16, mode="bilinear") for x in (scale, shift))
    return networks["generator"].synthesis(latents, features={"b16.conv0": FeatureEdit(1 + scale, shift)})


@torch.no_grad()
def test_the_lost_part_is_aligned_and_changes_one_feature(trained, images):
    networks = trained[0]
    found = row(trained).invert(images, StageClock("cpu"))
    latents = networks["encoder_e4e"](images)
    drawn = networks["generator"].synthesis(latents).clamp(-1, 1)
    torch.testing.assert_close(found.latents, latents)
    torch.testing.assert_close(found.state["residual"], images - drawn)
    torch.testing.assert_close(found.images, fused(networks, latents, images - drawn, drawn))
    assert (found.images - networks["generator"].synthesis(latents)).abs().mean() > 1e-3


@pytest.mark.parametrize("again", [True, False])
@torch.no_grad()
def test_an_edit_aligns_again_unless_it_is_told_not_to(trained, images, again):
    networks, method, clock = trained[0], row(trained, align_edits=again), StageClock("cpu")
    found = method.invert(images, clock)
    torch.testing.assert_close(method.edit(found, Edit("age", 0.0), clock), found.images)
    moved = found.latents + 2 * networks["directions"]["age"]
    drawn = networks["generator"].synthesis(moved if again else found.latents).clamp(-1, 1)
    expected = fused(networks, moved, found.state["residual"], drawn)
    torch.testing.assert_close(method.edit(found, Edit("age", 2.0), clock), expected)


@torch.no_grad()
def test_large_pictures_are_seen_small_and_drawings_are_not_filtered(trained):
    network: HFGINetwork = trained[0]["hfgi"]
    draws = torch.Generator().manual_seed(3)
    images, drawn = (torch.randn(2, 3, 128, 128, generator=draws) for _ in range(2))
    smooth = F.interpolate(images, size=32, mode="bilinear", antialias=True)
    rough = F.interpolate(drawn.clamp(-1, 1), size=32, mode="bilinear")
    torch.testing.assert_close(network.residual(images, drawn), smooth - rough)
    torch.testing.assert_close(network.seen(drawn), rough)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (64, r"expected a resolution of the generator \(8, 16, 32\), found 64"),
        (32, "expected a feature of 8 channels, .* found 4"),
    ],
)
def test_a_place_that_the_network_was_not_made_for_is_refused(trained, size, said):
    channels = {4: 8, 8: 8, 16: 8, 32: 4}
    generator = Generator({"resolution": 32, "channels": channels, "z_dim": 6, "w_dim": 8, "n_mapping": 2})
    with pytest.raises(InvbenchError, match=f"hfgi.fusion_resolution: {said}"):
        HFGI(trained[0] | {"generator": generator}, make(SPEC, {"fusion_resolution": size}), trained[1])
