"""Recipes of networks that change features: what a step adds up, losses that fall, exports that load."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import perspective

from invbench.methods.directions.linear import Directions
from invbench.methods.nets.encoders import E4EEncoder, PSPEncoder
from invbench.methods.nets.feature_style import FeatureStyleEncoder
from invbench.methods.nets.hfgi import HFGINetwork
from invbench.methods.nets.padding import PaddingEncoder, padded
from invbench.methods.nets.sfe import SFENetwork
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.nets.styleres import StyleResNetwork
from invbench.methods.train import encoding, feature_style, hfgi, padding, sfe, styleres
from invbench.methods.train.common import Budget, fit, step_generator, step_rng
from invbench.methods.train.frozen import load_frozen
from invbench.metrics.nets.identity import Identity
from tests.train.test_encoder_recipes import SMALL, small_networks  # noqa: F401 - a fixture

HFGI = {"channels": 8, "size": 64, "residue": [4, 4, 8], "aligner": [4, 4, 4, 8]}
PADDING = {
    "num_ws": 10, "w_dim": 16, "size": 64, "stages": [[4, 1], [4, 1], [4, 1], [8, 1]], "heads": 10, "width": 8, "level": 2,
    "channels": [8, 8, 8],
}  # fmt: skip
FEATURE = {
    "num_ws": 10, "w_dim": 16, "size": 64, "stages": [[4, 1], [4, 1], [4, 1], [8, 1]], "strides": [1, 2, 2, 2], "feature": 8,
    "feature_stride": 1,
}  # fmt: skip

SFE = {"num_ws": 10, "w_dim": 16, "size": 64, "stages": [[4, 1], [4, 1], [4, 1], [8, 1]], "feature": 8, "blocks": 1}


class Parser(nn.Module):
    def forward(self, images):
        return torch.cat([images, images.square()], 1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, small_networks) -> dict[str, nn.Module]:  # noqa: F811
    with torch.random.fork_rng():
        torch.manual_seed(8)
        small_networks["identity"] = Identity(widths=[4, 4, 4, 4], embedding=8)
        directions = Directions(["age", "yaw"], 10, 16)
        directions.vectors.normal_(std=0.1)
        trained = {"e4e": E4EEncoder(**SMALL).eval().requires_grad_(False), "parser": Parser(), "directions": directions}
        trained["psp"] = PSPEncoder(**{**SMALL, "stages": [*PADDING["stages"][:3], [8, 1]]})
    monkeypatch.setattr(padding, "architecture", lambda generator, level: PADDING)
    monkeypatch.setattr(padding, "load_frozen", lambda name, **_: trained[name])
    monkeypatch.setattr(feature_style, "architecture", lambda generator: FEATURE)
    monkeypatch.setattr(feature_style, "load_frozen", lambda name, **_: trained[name])
    monkeypatch.setattr(hfgi, "architecture", lambda generator, resolution: HFGI)
    monkeypatch.setattr(styleres, "architecture", lambda generator: SMALL)
    monkeypatch.setattr(styleres, "load_frozen", lambda name, **_: trained[name])
    monkeypatch.setattr(sfe, "architecture", lambda generator, resolution: SFE)
    monkeypatch.setattr(sfe, "load_frozen", lambda name, **_: trained[name])
    monkeypatch.setattr(hfgi, "load_frozen", lambda name, **_: trained[name])
    monkeypatch.setattr(encoding, "VALIDATION_IMAGES", 8)
    return trained


def few_pictures(recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validate on 8 pictures."""
    real = recipe.reconstruction.validate_inversions
    monkeypatch.setattr(recipe.reconstruction, "validate_inversions", lambda invert, **_: real(invert, images=8, batch=8))


def test_a_step_of_hfgi_sums_the_published_losses():
    recipe, twin = (hfgi.Training(seed=3, begin=1.0) for _ in range(2))
    for optimiser in recipe.optimisers:
        optimiser.step = lambda: None
    recipe.network.train()
    reported = recipe.step(7, 0.9).losses

    network, generator = twin.network.train(), twin.generator
    target, _ = twin.reconstruction.pictures(7, twin.batch)
    noise = step_generator(3, 7, encoding.NOISE)
    latents = twin.embedder(target)
    drawn = generator.synthesis(latents, noise="random", generator=noise).clamp(-1, 1)
    residual = target - drawn
    aligned = network.grid_align(hfgi.distorted(residual, step_rng(3, 7, hfgi.WARP)), drawn)
    scale, shift = network.residue(aligned)
    edit = FeatureEdit(1 + scale, shift)
    output = generator.synthesis(latents, noise="random", generator=noise, features={"b16.conv0": edit})
    identity = twin.reconstruction.identity
    loss = F.mse_loss(output, target) + 0.8 * (output - target).abs().mean()
    loss = loss + 0.1 * (1 - (identity(output) * identity(target)).sum(1).mean())
    alignment = (aligned - residual).abs().mean()
    (loss + 0.1 * alignment).backward()
    assert reported["alignment"] == pytest.approx(alignment.item(), rel=1e-4)
    same_gradients(recipe.network, network)


def test_hfgi_starts_from_the_encoders_picture(monkeypatch):
    recipe = hfgi.Training(seed=3)
    few_pictures(recipe, monkeypatch)
    found = recipe.validate(recipe.network.eval())
    assert found["psnr"] == pytest.approx(found["psnr_before"], abs=1e-4)


def test_a_short_training_of_hfgi_improves_and_its_export_loads(tmp_path, monkeypatch):
    recipe = hfgi.Training(seed=3, lr=1e-2, head_lr=0.2)
    few_pictures(recipe, monkeypatch)
    fit(recipe, "small", budget=Budget(1, images=160), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    found = recipe.validate(recipe.network.eval())
    assert found["psnr"] > found["psnr_before"] + 0.1
    assert type(load_frozen("small", zoo=tmp_path)) is HFGINetwork


def test_perspectives_are_random_small_and_those_of_torchvision():
    images = torch.rand(40, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    found = hfgi.distorted(images, np.random.default_rng(2))
    assert torch.equal(found, hfgi.distorted(images, np.random.default_rng(2)))
    left = [torch.equal(a, b) for a, b in zip(found, images, strict=True)]
    assert 0 < sum(left) < 12  # a tenth of them, and those whose corners stay
    rng = np.random.default_rng(2)
    assert rng.random() < hfgi.DISTORTED
    moved = rng.integers(0, np.array([1, 1]) + 1, size=(4, 2))  # 0.15 of a half, whole pixels: 1.8 and 1.5
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = moved.tolist()
    corners = [[0, 0], [23, 0], [23, 19], [0, 19]]
    ends = [[x0, y0], [23 - x1, y1], [23 - x2, 19 - y2], [x3, 19 - y3]]
    torch.testing.assert_close(found[0], perspective(images[0], corners, ends))


@pytest.mark.parametrize(("module", "network"), [(padding, PaddingEncoder), (feature_style, FeatureStyleEncoder)])
def test_a_short_training_improves_and_its_export_loads(module, network, tmp_path, monkeypatch, small_networks):  # noqa: F811
    recipe = module.Training(seed=3, lr=1e-2)
    few_pictures(recipe, monkeypatch)
    before = recipe.validate(recipe.network.eval())
    fit(recipe, "small", budget=Budget(1, images=320), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    after = recipe.validate(recipe.network.eval())
    assert after["psnr"] > before["psnr"] + 0.2
    encoder = load_frozen("small", zoo=tmp_path)
    assert type(encoder) is network
    assert torch.equal(encoder.latent_avg.flatten()[:16], small_networks["generator"].mean_latent)


def test_a_step_of_padding_sums_the_published_losses():
    recipe, twin = (padding.Training(seed=3, batch=4) for _ in range(2))
    recipe.optimisers[0].step = lambda: None
    recipe.network.train()
    recipe.step(7, 0.9)
    network, generator = twin.network.train(), padded(twin.reconstruction.generator)
    target, _ = twin.reconstruction.pictures(7, 4)
    latents, maps = network(target)
    output = generator.synthesis(latents, weights=maps)
    identity = twin.reconstruction.identity
    loss = F.mse_loss(output, target) + 0.8 * (output - target).abs().mean()
    loss = loss + 0.1 * (1 - (identity(output) * identity(target)).sum(1).mean())
    offset = (latents - generator.mean_latent).flatten(1)
    (loss + 0.003 * offset.square().sum(1).sqrt().mean()).backward()
    same_gradients(recipe.network, network)


def test_the_encoder_of_padding_starts_from_the_first_stages_of_psp(small):
    network, known = padding.Training(seed=3).network, small["psp"]
    own = [network.input_layer, *(unit for stage in network.backbone_stages[:3] for unit in stage)]
    for one, other in zip(own, [known.input_layer, *known.body[:3]], strict=True):
        for key, value in other.state_dict().items():
            assert torch.equal(one.state_dict()[key], value), key


def test_in_its_warm_start_padding_learns_what_it_replaces():
    recipe = padding.Training(seed=3, batch=4, lr=1e-2)
    recipe.network.train()
    errors = [recipe.step(index, 0.1).losses["maps"] for index in range(12)]
    assert np.mean(errors[-3:]) < 0.8 * np.mean(errors[:3])


def test_the_branch_of_features_starts_with_the_scale_of_the_generators_own():
    recipe = feature_style.Training(seed=3, batch=4)
    features = recipe.network.content_layer(torch.randn(16, 4, 16, 16)).detach()
    w = recipe.reconstruction.pictures(0, feature_style.DRAWN_FEATURES)[1]
    own = recipe.generator.synthesis(recipe.generator.repeat(w), return_features=["b16.conv1"])[1]["b16.conv1"].detach()
    torch.testing.assert_close(features.mean((0, 2, 3)), own.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features.std((0, 2, 3)), own.std((0, 2, 3)), rtol=1e-2, atol=1e-4)


def test_a_step_of_feature_style_sums_the_published_losses():
    recipe, twin = (feature_style.Training(seed=3, batch=4) for _ in range(2))
    recipe.optimisers[0].step = lambda: None
    recipe.network.train()
    progress = encoding.WARM_START + (1 - encoding.WARM_START) / 24  # half of the blending
    recipe.step(7, progress)

    network, generator = twin.network.train(), twin.generator
    target, w = twin.reconstruction.pictures(7, 4)
    draws = step_generator(3, 7, feature_style.DRAWN)
    drawn_with = {k: torch.randn(2, 1, r, r, generator=draws) for k, r in generator.noise_resolutions.items()}
    synthetic = generator.synthesis(generator.repeat(w[:2]), noise_maps=drawn_with)
    images = torch.cat([synthetic, target[2:]])
    latents, feature = network(images)
    draws = step_generator(3, 7, encoding.NOISE)
    new = {k: torch.randn(4, 1, r, r, generator=draws) for k, r in generator.noise_resolutions.items()}
    own = generator.synthesis(latents, noise_maps=new, return_features=["b16.conv1"])[1]["b16.conv1"].detach()
    loss = 0.01 * (feature - own).square().mean() / own.square().mean()
    for number, noise in enumerate((new, {k: one.repeat(2, 1, 1, 1) for k, one in drawn_with.items()})):
        half = FeatureEdit(torch.full((1, 1, 1, 1), 0.5), 0.5 * feature)
        output = generator.synthesis(latents, noise_maps=noise, features={"b16.conv1": half})
        if not number:
            loss = loss + (output[:2] - images[:2]).square().mean()
        a, b = output, images
        for _ in range(3):
            loss = loss + 0.2 * (a - b).abs().mean()
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        levels = [feature_style.identity_levels(twin.reconstruction.identity, one) for one in (output, images)]
        assert len(levels[0]) == 5
        for one, other in zip(*levels, strict=True):
            loss = loss + 0.1 * (1 - F.cosine_similarity(one.flatten(1), other.flatten(1)).mean())
        scores = [Parser()(one).flatten(1) for one in (output, images)]
        loss = loss + 0.1 * (1 - F.cosine_similarity(*scores).mean())
    loss.backward()
    same_gradients(recipe.network, network)


def test_a_short_training_of_styleres_improves_and_keeps_its_encoder(tmp_path, monkeypatch, small):
    recipe = styleres.Training(seed=3, lr=1e-2, batch=4, begin=0.0)
    few_pictures(recipe, monkeypatch)
    before = recipe.validate(recipe.network.eval())["psnr"]
    fit(recipe, "small", budget=Budget(1, images=120), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    assert recipe.validate(recipe.network.eval())["psnr"] > before + 0.03
    assert type(load_frozen("small", zoo=tmp_path)) is StyleResNetwork
    for key, value in small["e4e"].state_dict().items():
        torch.testing.assert_close(recipe.network.e4e.state_dict()[key].float(), value.float(), atol=1e-3, rtol=1e-3)


def test_a_step_of_styleres_inverts_its_own_edit_and_undoes_it():
    recipe, twin = (styleres.Training(seed=3, batch=2) for _ in range(2))
    recipe.optimisers[0].step = lambda: None
    recipe.network.train()
    reported = recipe.step(7, 0.9).losses
    network, generator = twin.network.eval(), twin.generator
    gates = network.modify_feature_gates

    def lost(images):
        w, c = network.encode(images)
        feature = generator.synthesis(w, return_features=["b16.conv0"])[1]["b16.conv0"]
        return w, network.lost(c, feature)

    def picture(w, what):
        feature = generator.synthesis(w, return_features=["b16.conv0"])[1]["b16.conv0"]
        change, logits = gates(feature, what)
        through = change / (1 + (-logits).exp())
        return generator.synthesis(w, features={"b16.conv0": FeatureEdit.add(through)}), through

    def loss(output):
        identity = twin.reconstruction.identity
        similar = (identity(output) * identity(target)).sum(1).mean()
        return F.mse_loss(output, target) + 0.8 * (output - target).abs().mean() + 0.1 * (1 - similar)

    target, _ = twin.reconstruction.pictures(7, 2)
    latents, what = lost(target)
    output, first = picture(latents, what)
    draw = step_generator(3, 7, styleres.MOVE)
    codes = generator.sample_w(2, generator=draw)
    share = 0.5 * torch.rand(2, 1, 1, generator=draw)
    move = share * (codes[:, None] - latents)
    edited, second = picture(latents + move, what)
    again, what_again = lost(edited)
    undone, third = picture(again - move, what_again)
    changes = sum(one.square().mean() for one in (first, second, third))
    (loss(output) + loss(undone) + 1e-3 * changes).backward()
    assert reported["cycle_l2"] == pytest.approx(F.mse_loss(undone, target).item(), rel=1e-4)
    assert share.max() <= 0.5 and (edited - output).abs().mean() > 1e-4
    same_gradients(recipe.network, network)


def phase(published: float) -> float:
    """Progress at this share of the part behind the warm start."""
    return encoding.WARM_START + (1 - encoding.WARM_START) * published


def test_a_step_of_sfes_inverter_sums_the_published_losses():
    recipe, twin = (sfe.Training(seed=3, batch=2) for _ in range(2))
    recipe.optimisers[0].step = lambda: None
    recipe.network.train()
    reported = recipe.step(7, phase(0.01)).losses  # half of the blending, before the adversarial loss
    network, generator = twin.network.train(), twin.generator
    target, _ = twin.reconstruction.pictures(7, 2)
    latents, predicted = network.inverter.fs_backbone(target)
    own = generator.synthesis(latents, return_features=["b16.conv1"])[1]["b16.conv1"]
    fused = network.inverter.fuser(predicted, own)
    half = FeatureEdit(torch.full((1, 1, 1, 1), 0.5), 0.5 * fused)
    outputs = [generator.synthesis(latents, features={"b16.conv1": half}), generator.synthesis(latents)]
    loss = sum(reconstruction_loss(twin, one, target) for one in outputs) / 2 + 0.01 * (fused - own).square().mean()
    loss.backward()
    assert set(reported) == {"l2", "lpips", "id", "feature"}
    same_gradients(recipe.network.inverter, network.inverter)
    assert all(one.grad is None for one in recipe.network.editor.parameters())
    assert {"adversarial", "discriminator"} <= set(recipe.step(8, phase(0.1)).losses)


def test_in_its_warm_start_sfe_learns_the_feature_of_each_renders_latents():
    recipe, twin = (sfe.Training(seed=3, batch=2) for _ in range(2))
    recipe.optimisers[0].step = lambda: None
    recipe.network.train()
    reported = recipe.step(7, 0.1).losses
    network, generator = twin.network.train(), twin.generator
    target, w = twin.reconstruction.pictures(7, 2)
    latents, predicted = network.inverter.fs_backbone(target)

    def feature(codes):
        return generator.synthesis(codes, return_features=["b16.conv1"])[1]["b16.conv1"].detach()

    fused, wanted = network.inverter.fuser(predicted, feature(latents)), feature(generator.repeat(w))
    error = F.mse_loss(fused, wanted) / wanted.var()
    (twin.reconstruction.latent_error(latents, w) + error).backward()
    assert reported["feature"] == pytest.approx(error.item(), rel=1e-4)
    same_gradients(recipe.network.inverter, network.inverter)


def test_a_step_of_sfes_editor_inverts_real_pictures_and_edits_drawn_ones(small):
    recipe, twin = (sfe.Training(seed=3, batch=2) for _ in range(2))
    recipe.optimisers[1].step = recipe.optimisers[2].step = lambda: None
    recipe.network.train()
    before = {key: value.clone() for key, value in recipe.network.inverter.state_dict().items()}
    reported = recipe.step(7, phase(0.7)).losses
    for key, value in recipe.network.inverter.state_dict().items():
        assert torch.equal(value, before[key]), key  # the statistics of its normalisations, too

    network, generator, editor = twin.network.eval(), twin.generator, twin.network.editor.train()
    target, _ = twin.reconstruction.pictures(7, 2)
    edit = sfe.random_edit(("age", "yaw"), step_rng(3, 7, sfe.EDITS))
    step = edit.strength * small["directions"][edit.name]

    def feature(latents):
        return generator.synthesis(latents, return_features=["b16.conv1"])[1]["b16.conv1"]

    def fused(images):
        latents, predicted = network.inverter.fs_backbone(images)
        return latents, network.inverter.fuser(predicted, feature(latents))

    with torch.no_grad():
        codes = small["e4e"](target) + generator.mean_latent
        drawn, wanted = generator.synthesis(codes), generator.synthesis(codes + step)
        change = feature(codes) - feature(codes + step)
        (w_real, f_real), (w_drawn, f_drawn) = fused(target), fused(drawn)
    seen = editor(torch.cat([f_real, f_drawn]), torch.cat([torch.zeros_like(change), change]))
    whole = FeatureEdit(torch.zeros(1, 1, 1, 1), seen)
    outputs = generator.synthesis(torch.cat([w_real, w_drawn + step]), features={"b16.conv1": whole})
    loss = reconstruction_loss(twin, outputs, torch.cat([target, wanted]))
    (loss + 0.01 * F.softplus(-twin.adversary.network(outputs[:2])).mean()).backward()
    assert reported["l2"] == pytest.approx(F.mse_loss(outputs, torch.cat([target, wanted])).item(), rel=1e-4)
    assert abs(edit.strength) >= 1
    same_gradients(recipe.network.editor, editor)


def test_a_short_training_of_sfe_improves_in_both_phases_and_its_export_loads(tmp_path, monkeypatch):
    recipe = sfe.Training(seed=3, lr=1e-2, batch=4)
    few_pictures(recipe, monkeypatch)
    before = recipe.validate(recipe.network.eval())
    assert before["psnr"] == pytest.approx(before["psnr_latents"], abs=0.5)  # it begins near the latents' own picture
    fit(recipe, "small", budget=Budget(1, images=200), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    after = recipe.validate(recipe.network.eval())
    assert after["psnr"] > before["psnr"] + 0.2 and after["psnr_inverter"] > before["psnr_inverter"] + 0.2
    network = load_frozen("small", zoo=tmp_path)
    assert type(network) is SFENetwork
    assert torch.equal(network.latent_avg[0], recipe.generator.mean_latent)


def reconstruction_loss(twin, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    identity = twin.reconstruction.identity
    loss = F.mse_loss(output, target) + 0.8 * (output - target).abs().mean()
    return loss + 0.1 * (1 - (identity(output) * identity(target)).sum(1).mean())


def same_gradients(found: nn.Module, expected: nn.Module) -> None:
    bound = 1e-4 * max(one.grad.abs().max().item() for one in expected.parameters() if one.grad is not None)
    for (key, one), other in zip(found.named_parameters(), expected.parameters(), strict=True):
        if other.grad is None:
            assert one.grad is None, key
            continue
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=bound)
