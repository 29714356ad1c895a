"""What makes PTI, SAM and DHR what they are, on small random networks."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.segmentation import slic

from invbench.api import Edit, InvbenchError
from invbench.methods.common.beside import started
from invbench.methods.common.projection import sampled_spread
from invbench.methods.dhr import DHR, clamped, superpixel_means
from invbench.methods.e4e import E4E
from invbench.methods.pti import PTI
from invbench.methods.sam import SAM
from invbench.methods.sg2_w import SG2W
from invbench.methods.sg2_wplus import SG2WPlus
from invbench.options import Options, make

CLASSES = {
    SG2W: {"steps": 12},
    SG2WPlus: {"steps": 12},
    PTI: {"steps": 10, "lr": 1e-2, "lpips_stop": 0.02, "locality": True, "locality_alpha": 1.0},
    SAM: {"spaces": ["F4"], "fused": ["skin", "eye"], "threshold": 0.5, "steps": 10},
    DHR: {
        "coarse_steps": 6, "segments": 20, "outside": ["background"], "face": ["skin"], "parts": ["eye"],
        "threshold_face": 0.02, "threshold_parts": 0.02, "threshold_rest": 0.02, "feature_resolution": 16,
        "feature_steps": 10, "weight_steps": 5,
    },
}  # fmt: skip
STARTS = {PTI: (SG2W, {"steps": 8, "samples": 600}), DHR: (E4E, {}), SAM: (E4E, {})}


def build(kind, networks, **options):
    """A method with short options; a refinement starts as it is published, the embedder's options being in ``start``."""
    start = options.pop("start", {})
    made = make(sys.modules[kind.__module__].SPEC, CLASSES.get(kind, {}) | options)
    if kind not in STARTS:
        return kind(networks, made)
    embedder, short = STARTS[kind]
    return kind(networks, made, build(embedder, networks, **short | start))


def psnr(a, b):
    return 10 * torch.log10(4 / (a.clamp(-1, 1) - b).square().flatten(1).mean(1))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_batch_and_single_images_give_the_same_pictures(kind, networks, images, clock):
    method = build(kind, networks)
    together = method.invert(images, clock)
    edited = method.edit(together, Edit("age", 2.0), clock)
    for i in range(len(images)):
        alone = method.invert(images[i : i + 1], clock)
        assert (psnr(alone.images, images[i]) - psnr(together.images[i : i + 1], images[i])).abs().max() < 0.05
        assert (method.edit(alone, Edit("age", 2.0), clock) - edited[i : i + 1]).abs().max() < 0.02
    assert torch.isfinite(edited).all() and (edited - together.images).abs().mean() > 1e-3


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_edit_of_strength_0_is_the_inversion(kind, networks, images, clock):
    # SAM pastes features with the mask that it added their offsets with: a soft mask is squared where the two overlap.
    method = build(kind, networks, **({"soft_masks": False} if kind is SAM else {}))
    inversion = method.invert(images[:2], clock)
    torch.testing.assert_close(method.edit(inversion, Edit("yaw", 0.0), clock), inversion.images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [SG2W, SG2WPlus])
def test_projection_gets_nearer_with_more_steps(kind, networks, images, clock):
    few, many = (build(kind, networks, steps=s).invert(images, clock) for s in (2, 60))
    distance = networks["perceptual_vgg"].distance
    assert (distance(many.images, images) < distance(few.images, images)).all()


def test_w_projection_has_one_latent_and_wplus_many(networks, images, clock):
    one = build(SG2W, networks).invert(images, clock).latents
    many = build(SG2WPlus, networks).invert(images, clock).latents
    assert torch.equal(one[:, 0], one[:, -1]) and not torch.allclose(many[:, 0], many[:, -1])


def test_pti_stops_each_image_at_its_own_threshold(networks, images, clock):
    # An image that is near enough at once keeps the generator's weights; one that is not gets weights of its own.
    start = build(PTI, networks, steps=0).invert(images, clock)
    distances = networks["perceptual_alex"].distance(start.images, images)
    threshold = distances.sort().values[1:3].mean().item()
    found = build(PTI, networks, lpips_stop=threshold, steps=5).invert(images, clock)
    shared = dict(networks["generator"].synthesis.named_parameters())["b16.conv1.weight"]
    moved = (found.state["b16.conv1.weight"] - shared).flatten(1).abs().amax(1) > 0
    assert torch.equal(moved, distances > threshold)


def test_pti_improves_on_its_pivot(networks, images, clock):
    pivot, tuned = (build(PTI, networks, steps=s, lpips_stop=0.0).invert(images, clock) for s in (0, 40))
    assert (psnr(tuned.images, images) > psnr(pivot.images, images) + 1).all()


def test_sam_keeps_the_features_of_a_segment_below_its_space(networks, images, clock):
    method = build(SAM, networks)
    inversion = method.invert(images, clock)
    mask = inversion.state["mask.F4"]
    # The predictor errs in the upper half in W+: hair goes to F4, while skin, mostly below, stays in W+.
    assert mask[0, 0, 1, -1] == 1 and mask[0, 0, -1, -1] == 0
    state = dict(inversion.state) | {"mask.F4": torch.ones_like(mask)}
    everywhere = type(inversion)(inversion.latents, inversion.images, state)
    before = networks["directions"].vectors.clone()
    try:
        networks["directions"].vectors[:, 5:] = 0  # moves only what comes before the feature
        out = method.edit(everywhere, Edit("age", 5.0), clock)
        plain = method.edit(everywhere, Edit("age", 0.0), clock)
        assert (method.edit(inversion, Edit("age", 5.0), clock) - inversion.images).abs().max() > 1e-2
    finally:
        networks["directions"].vectors.copy_(before)
    # ToRGB of the blocks up to the feature still sees edited latents; everything that follows the feature does not.
    generator = networks["generator"].synthesis
    moved = inversion.latents.clone()
    moved[:, :5] += 5 * before[0, :5]
    assert (out - plain).abs().mean() < (generator(moved) - generator(inversion.latents)).abs().mean()


def test_sam_refuses_a_space_that_the_generator_does_not_have(networks):
    with pytest.raises(InvbenchError, match="F6"):
        build(SAM, networks, spaces=["F4", "F6"])


def test_sam_with_a_low_threshold_uses_the_last_space_everywhere(networks, images, clock):
    method = build(SAM, networks)
    method.options = Options("sam", {**method.options, "threshold": -1.0})  # the predictor says 0 here, which no range is below
    assert method.invert(images, clock).state["mask.F4"].min() == 1


def test_sam_without_feature_spaces_is_in_the_domain_everywhere(networks, images, clock):
    inversion = build(SAM, networks, spaces=[]).invert(images, clock)
    assert (inversion.state["domain_mask"] == 1).all() and inversion.state["domain_mask"].shape == (4, 1, 32, 32)


def test_dhr_moves_only_what_each_region_may_move(networks, images, clock):
    method = build(DHR, networks)
    latents = networks["encoder_e4e"](images)
    shared = dict(networks["generator"].synthesis.named_parameters())
    _, features = networks["generator"].synthesis(latents, return_features=["b16.conv1"])
    inside, outside = torch.ones(4, 1, 32, 32), torch.zeros(4, 1, 32, 32)
    feature, weights = method._refine(images, latents, inside)
    assert torch.equal(feature, features["b16.conv1"])
    assert (weights["b8.conv0.weight"] - shared["b8.conv0.weight"]).abs().flatten(1).amax(1).min() > 0
    feature, weights = method._refine(images, latents, outside)
    assert (feature - features["b16.conv1"]).abs().flatten(1).amax(1).min() > 0
    assert all(torch.equal(weights[name], shared[name].expand_as(weights[name])) for name in weights)


def test_dhr_puts_what_its_coarse_inversion_misses_out_of_domain(networks, images, clock):
    method = build(DHR, networks, coarse_steps=60, segments=60, threshold_face=0.1, threshold_rest=0.1, threshold_parts=0.1)
    spoilt = images[:1].clone()
    spoilt[:, :, 18:26, 18:26] = torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1)
    mask = method._segment(spoilt)[0, 0]
    assert (mask[:, :4] == 0).all()  # the parser's background
    assert mask[20:24, 20:24].mean() < mask[:, 5:].mean()


def test_dhr_refuses_classes_and_features_that_do_not_exist(networks):
    with pytest.raises(InvbenchError, match="moustache"):
        build(DHR, networks, parts=["moustache"])
    with pytest.raises(InvbenchError, match="feature_resolution"):
        build(DHR, networks, feature_resolution=32)


def test_pti_starts_from_the_mean_of_its_own_sample(networks, images, clock):
    # The rate of the first step is 0: one step leaves the start.
    z = np.random.RandomState(123).randn(600, networks["generator"].z_dim)
    sampled = networks["generator"].mapping(torch.from_numpy(z).float()).mean(0)
    for samples, start in ((600, sampled), (0, networks["latent_stats"].mean)):
        latents = build(PTI, networks, start={"steps": 1, "samples": samples}, steps=0).invert(images, clock).latents
        torch.testing.assert_close(latents, start.expand_as(latents), atol=1e-6, rtol=0)
    spread = sampled_spread(networks["generator"], 600)
    w = networks["generator"].mapping(torch.from_numpy(z).float()).double()
    assert spread.std.item() == pytest.approx(((w - w.mean(0)) ** 2).sum().div(600).sqrt().item(), rel=1e-5)


def test_dhr_takes_a_superpixel_over_the_nearest_cells_of_each_map():
    # The released way, one mask at a time: reduced by nearest, then the masked mean; 0 / 0 where nothing is left.
    labels = slic(np.random.RandomState(0).rand(32, 32, 3), n_segments=40, compactness=1.0, start_label=0, channel_axis=2)
    for shape in ((16, 16), (4, 4), (5, 7), (32, 32)):
        error = np.random.RandomState(1).rand(*shape)
        means = []
        for label in range(labels.max() + 1):
            mask = F.interpolate(torch.from_numpy(labels == label).double()[None, None], shape)[0, 0].numpy()
            with np.errstate(invalid="ignore"):
                means.append((error * mask).sum() / mask.sum())
        found = superpixel_means(labels, error)
        np.testing.assert_allclose(found, np.where(np.isnan(means), np.inf, means), rtol=1e-12)
    assert np.isinf(superpixel_means(labels, np.zeros((4, 4)))).sum() >= labels.max() + 1 - 16


def test_dhr_puts_a_superpixel_that_no_cell_is_left_of_out_of_domain(networks, images, clock):
    lenient = {"threshold_face": 1e9, "threshold_rest": 1e9, "threshold_parts": 1e9, "segments": 400}
    at_map, at_picture = (build(DHR, networks, error_at=place, **lenient)._segment(images) for place in ("map", "picture"))
    assert (at_picture[..., 4:] == 1).all() and 0 < at_map[..., 4:].mean() < 1
    with pytest.raises(InvbenchError, match="error_at"):
        build(DHR, networks, error_at="cell")


def test_dhr_finds_the_same_superpixels_beside_a_gpu(networks, images, monkeypatch):
    method = build(DHR, networks, coarse_steps=3, threshold_face=0.3, threshold_rest=0.3, threshold_parts=0.3)
    expected = method._segment(images)
    asked = []

    def beside(work, items, *, device):
        asked.append(device)
        return started(work, items, device=torch.device("cuda"))

    monkeypatch.setattr("invbench.methods.dhr.started", beside)
    assert torch.equal(method._segment(images), expected) and asked == [images.device]


def test_dhr_looks_at_clamped_pictures_of_256_pixels(networks, images, monkeypatch):
    large = torch.linspace(-3, 3, 512).expand(1, 3, 512, 512)
    seen = clamped(large)
    assert seen.shape == (1, 3, 256, 256)
    torch.testing.assert_close(seen[0, 0, 0], (large.clamp(-1, 1)[0, 0, 0, 0::2] + large.clamp(-1, 1)[0, 0, 0, 1::2]) / 2)
    torch.testing.assert_close(clamped(2 * images), (2 * images).clamp(-1, 1))  # smaller ones keep their size
    looked = []
    monkeypatch.setattr("invbench.methods.dhr.clamped", lambda x: looked.append(x.shape) or clamped(x))
    build(DHR, networks, coarse_steps=3)._segment(images)
    assert looked == [images.shape] * 4  # the target once, the output at every step
