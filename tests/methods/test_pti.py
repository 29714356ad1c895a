"""PTI against its update written out with plain Adam on a copy of the generator: locality, and one generator for several."""

from __future__ import annotations

import copy

import pytest
import torch

from invbench.api import Edit
from invbench.methods.common.batching import image_generators
from invbench.methods.e4e import E4E
from invbench.methods.pti import PTI
from invbench.methods.pti import SPEC as ONE
from invbench.methods.pti_multi import SPEC, MultiPTI
from invbench.options import Options, make

SHORT = {"steps": 3, "lr": 1e-2, "locality": True, "locality_alpha": 2.0}


def build(networks, **options):
    """``pti``, or ``pti_multi`` if a group is given, over the encoder e4e."""
    spec, kind = (SPEC, MultiPTI) if "group" in options else (ONE, PTI)
    return kind(networks, make(spec, SHORT | options), E4E(networks, Options("e4e", {})))


def written_out(networks, images, latents, *, locality: bool = True):
    """danielroich/PTI: in each step an update for every image in turn; regulariser as in its localitly_regulizer.py."""
    old, perceptual = networks["generator"], networks["perceptual_alex"]
    new = copy.deepcopy(old).requires_grad_(True)
    adam = torch.optim.Adam(new.synthesis.parameters(), lr=1e-2)
    draws = image_generators(images, 1)
    for _ in range(3):
        for image, pivot, draw in zip(images.split(1), latents.split(1), draws, strict=True):
            output = new.synthesis(pivot)
            loss = (output - image).square().mean() + perceptual.distance(output, image).sum()
            if locality:
                w = old.mapping(torch.randn(1, old.z_dim, generator=draw))
                w = (old.mean_latent + 0.5 * (w - old.mean_latent))[:, None].repeat(1, old.num_ws, 1)
                near = pivot + 2.0 * (w - pivot) / torch.norm(w - pivot, p=2)
                before, after = old.synthesis(near, noise="none").detach(), new.synthesis(near, noise="none")
                loss = loss + 0.1 * (after - before).square().mean() + 0.1 * perceptual.distance(after, before).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
    return dict(new.synthesis.named_parameters())


def agree(found, expected, row: int, start) -> None:
    moved = 0.0
    for name, value in expected.items():
        torch.testing.assert_close(found[name][row], value, atol=2e-4, rtol=1e-3)
        moved = max(moved, float((value - start.get_parameter(name)).detach().abs().max()))
    assert moved > 0.01  # three updates of Adam at this rate


@pytest.mark.parametrize("locality", [True, False])
def test_each_image_is_tuned_as_published(networks, images, clock, locality):
    found = build(networks, lpips_stop=0.0, locality=locality).invert(images[:2], clock)
    for row in range(2):
        one = slice(row, row + 1)
        expected = written_out(networks, images[one], found.latents[one], locality=locality)
        agree(found.state, expected, row, networks["generator"].synthesis)


def test_a_group_shares_a_generator_that_sees_its_images_in_turn(networks, images, clock):
    five = torch.cat([images, images[:1].flip(3)])
    method = build(networks, group=2)
    found = method.invert(five, clock)
    for rows in ([0, 1], [2, 3], [4]):
        expected = written_out(networks, five[rows], found.latents[rows])
        for row in rows:
            agree(found.state, expected, row, networks["generator"].synthesis)
    name = "b16.conv1.weight"
    assert torch.equal(found.state[name][0], found.state[name][1])
    assert not torch.equal(found.state[name][1], found.state[name][2])
    edited = method.edit(found, Edit("age", 1.0), clock)
    assert edited.shape == five.shape and torch.isfinite(edited).all()


def test_a_group_of_one_is_pti_without_its_stop(networks, images, clock):
    alone = build(networks, lpips_stop=0.0).invert(images, clock)
    grouped = build(networks, group=1).invert(images, clock)
    torch.testing.assert_close(grouped.images, alone.images, atol=1e-4, rtol=1e-4)


def test_a_batch_holds_whole_groups(networks):
    method = build(networks, group=3)
    assert method.max_batch(1) == 3
    assert all(method.max_batch(2**power) % 3 == 0 for power in range(20, 36))
