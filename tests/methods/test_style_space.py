"""LSAP's style space: the vectors are those that the generator modulates with, and the anchors the mean of their directions."""

from __future__ import annotations

import torch

from invbench.methods.nets.style_space import StyleSpace, measure


def test_styles_are_those_of_the_generators_layers(networks):
    generator = networks["generator"]
    space, config = measure(generator, samples=50, seed=3)
    latents = torch.randn(4, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(0))
    seen = {}
    hooks = [
        module.affine.register_forward_hook(lambda m, i, out, name=name: seen.setdefault(name, out))
        for name, module in generator.synthesis.named_modules()
        if hasattr(module, "affine")
    ]
    generator.synthesis(latents)
    for hook in hooks:
        hook.remove()
    used = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1", "b32.conv0", "b32.conv1", "b32.torgb"]
    for style, name in zip(space.styles(latents), used, strict=True):
        torch.testing.assert_close(style, seen[name] / seen[name].norm(dim=1, keepdim=True))
    assert config == {"w_dim": 8, "widths": [8] * 8}


def test_anchors_are_means_of_directions_and_the_distance_their_mean_disagreement(networks):
    generator = networks["generator"]
    space, config = measure(generator, samples=1500, seed=3)
    draw = torch.Generator().manual_seed(3)
    w = torch.cat([generator.sample_w(1000, generator=draw), generator.sample_w(500, generator=draw)])
    expected = [(s / s.norm(dim=1, keepdim=True)).double().mean(0) for s in (a(w) for a in space.affines)]
    for anchor, mean in zip(space.anchors, expected, strict=True):
        torch.testing.assert_close(anchor.double(), mean, atol=1e-6, rtol=0)
        assert anchor.norm() < 1
    near = space.distance(generator.repeat(generator.mean_latent[None]))
    far = space.distance(generator.repeat(generator.mean_latent[None]) - 50)
    assert 0 < near < far <= 2
    assert torch.equal(space(generator.repeat(w[:2]))[:, :3], space(generator.repeat(w[:2])[:, :3]))
    again = StyleSpace(**config)
    again.load_state_dict(space.state_dict())
    assert torch.equal(again.distance(generator.repeat(w)), space.distance(generator.repeat(w)))
