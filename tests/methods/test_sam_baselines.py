"""Baselines of SAM and its rows in one space: their objective with Adam written out, their start, and what the prior does."""

from __future__ import annotations

import math

import pytest
import torch

from invbench.api import Edit, InvbenchError
from invbench.methods.common.losses import gaussian_prior
from invbench.methods.e4e import E4E
from invbench.methods.gaussian_prior import GaussianPrior
from invbench.methods.hybrid_wplus import HybridWPlus
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.sam import SAM
from invbench.methods.sam_single_space import SingleSpace
from invbench.options import Options
from invbench.plugins import pairs
from invbench.plugins.config import load
from invbench.plugins.registry import discover, methods
from invbench.plugins.selection import settings, supported

PRIOR = {"steps": 4, "lr": 0.05, "lambda_mse": 1.0, "lambda_lpips": 1.0, "lambda_prior": 1e-3}
HYBRID = PRIOR | {"lambda_delta": 1e-2}


def prior(networks, **changes) -> GaussianPrior:
    return GaussianPrior(networks, Options("gaussian_prior", PRIOR | changes))


def hybrid(networks, **changes) -> HybridWPlus:
    return HybridWPlus(networks, Options("hybrid_wplus", HYBRID | changes), E4E(networks, Options("e4e", {})))


def written_out(networks, image, start, *, delta: float):
    """Four steps of Adam under the ramp of NVIDIA's projector, on one picture."""
    generator, perceptual, stats = (networks[role] for role in ("generator", "perceptual_vgg", "latent_stats"))
    latents = start.clone().requires_grad_()
    adam = torch.optim.Adam([latents], lr=0.05)
    for step in range(4):
        left = min(1.0, (1 - step / 4) / 0.25)
        adam.param_groups[0]["lr"] = 0.05 * (0.5 - 0.5 * math.cos(math.pi * left)) * min(1.0, step / 4 / 0.05)
        output = generator.synthesis(latents).clamp(-1, 1)
        loss = (output - image).square().mean() + perceptual.distance(output, image).sum()
        v = torch.where(latents > 0, latents, 5 * latents).double() - stats.prior_mean
        inverse = stats.prior_factor.T @ stats.prior_factor
        loss = loss + 1e-3 * torch.einsum("nld,de,nle->", v, inverse, v).float()
        loss = loss + delta * (latents[:, 1:] - latents[:, :1]).square().sum(2).clamp_min(1e-30).sqrt().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return latents.detach()


def test_the_gaussian_prior_is_minimised_from_the_mean_latent(networks, images, clock):
    method = prior(networks)
    found = method.invert(images, clock)
    start = networks["latent_stats"].mean.expand(1, networks["generator"].num_ws, -1)
    torch.testing.assert_close(found.latents[:1], written_out(networks, images[:1], start, delta=0.0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.images, networks["generator"].synthesis(found.latents))
    assert torch.equal(method.embed(images, clock), found.latents)
    assert clock.stages == ["optimise", "synthesise", "optimise"]


def test_hybrid_wplus_is_sam_in_w_plus_alone_from_the_embedder(networks, images, clock):
    found = hybrid(networks).invert(images, clock)
    start = E4E(networks, Options("e4e", {})).embed(images, clock)
    spread = start + 0.1 * torch.randn(start.shape, generator=torch.Generator().manual_seed(1))  # codes that differ by layer
    expected = written_out(networks, images[:1], spread[:1], delta=1e-2)
    torch.testing.assert_close(hybrid(networks).found(images, spread)[:1], expected, atol=1e-4, rtol=1e-4)
    own = {"spaces": (), "fused": (), "threshold": 0.2, "lambda_feature": 5.0, "squared_delta": False, "soft_masks": True}
    alone = SAM(networks, Options("sam", HYBRID | own), None).invert_single_space(images, start)
    assert torch.equal(found.images, alone) and not found.state


def test_a_heavy_prior_keeps_latents_among_random_ones(networks, images, clock):
    stats, terms = networks["latent_stats"], []
    for weight in (0.0, 1.0):
        found = prior(networks, steps=60, lambda_prior=weight).invert(images, clock)
        terms.append(gaussian_prior(found.latents, stats.prior_mean, stats.prior_factor).mean().item())
    assert terms[1] < 0.2 * terms[0]


@pytest.mark.parametrize("build", [prior, hybrid])
def test_edits_move_the_latents(networks, images, clock, build):
    method = build(networks)
    found = method.invert(images[:1], clock)
    assert torch.equal(method.edit(found, Edit("age", 0.0), clock), found.images)
    moved = networks["generator"].synthesis(found.latents + 2 * networks["directions"]["age"])
    torch.testing.assert_close(method.edit(found, Edit("age", 2.0), clock), moved)


def test_hybrid_wplus_starts_from_e4e_or_another_encoder_and_the_prior_may_come_first():
    known = methods()
    assert "encoder_e4e" in known["hybrid_wplus"].roles
    assert pairs.find("hybrid_wplus+psp", known).parts[1].id == "psp"
    assert pairs.find("pti+gaussian_prior", known).parts[1].id == "gaussian_prior"


def single(networks, space: str, **changes) -> SingleSpace:
    values = HYBRID | {"lambda_feature": 5.0, "squared_delta": False, "space": space} | changes
    return SingleSpace(networks, Options(f"sam_{space.lower()}", values), E4E(networks, Options("e4e", {})))


@pytest.mark.parametrize(("space", "layer", "size"), [("F4", "b16.conv1", 16)])
def test_one_space_everywhere_is_what_the_predictor_learns_from(networks, images, clock, space, layer, size):
    found = single(networks, space, steps=20).invert(images, clock)
    start = E4E(networks, Options("e4e", {})).embed(images, clock)
    own = {"spaces": (space,), "fused": (), "threshold": 0.2, "lambda_feature": 5.0, "squared_delta": False, "soft_masks": True}
    alone = SAM(networks, Options("sam", HYBRID | own | {"steps": 20}), None).invert_single_space(images, start)
    assert torch.equal(found.images, alone)
    assert {name: tuple(one.shape) for name, one in found.state.items()} == {
        f"mask.{space}": (4, 1, size, size), space: (4, networks["generator"].channels[size], size, size),
    }  # fmt: skip
    with_offset = networks["generator"].synthesis(found.latents, features={layer: FeatureEdit.add(found.state[space])})
    torch.testing.assert_close(found.images, with_offset)


@torch.no_grad()
def test_an_edit_in_one_space_keeps_its_feature_and_moves_what_follows(networks, images, clock):
    method = single(networks, "F4", steps=20)
    with torch.enable_grad():
        found = method.invert(images[:2], clock)
    torch.testing.assert_close(method.edit(found, Edit("age", 0.0), clock), found.images, atol=1e-5, rtol=1e-5)
    generator, layer = networks["generator"], "b16.conv1"
    moved = found.latents + 3 * networks["directions"]["age"]
    offset = {layer: FeatureEdit.add(found.state["F4"])}
    _, kept = generator.synthesis(found.latents, features=offset, return_features=[layer])
    fixed = {layer: FeatureEdit(torch.zeros(1, 1, 1, 1), kept[layer])}
    edited = method.edit(found, Edit("age", 3.0), clock)
    torch.testing.assert_close(edited, generator.synthesis(moved, features=fixed), atol=1e-5, rtol=1e-5)
    assert (edited - found.images).abs().mean() < (generator.synthesis(moved, features=offset) - found.images).abs().mean()


def test_a_space_after_which_nothing_follows_is_refused(networks):
    with pytest.raises(InvbenchError, match="F6 follows the 32x32 block, after which a generator of 32x32 has no layer left"):
        single(networks, "F6")


def test_a_suite_names_the_methods_that_it_does_not_run_and_why():
    suite, known = load()["procfaces"], methods()
    assert {"sam_f4", "sam_f6"} <= set(supported(suite, known)) and not {"sam_f8", "sam_f10"} & set(supported(suite, known))
    with pytest.raises(InvbenchError, match="suite procfaces does not run sam_f8: nothing of a generator of 64 x 64 follows"):
        settings(suite, discover(), methods=["sam_f8+psp"], device="cpu", seed=0)
