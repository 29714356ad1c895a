"""GANI: its modules written out vector by vector, its loss term by term, and each image by itself."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from invbench.api import Edit, InvbenchError
from invbench.methods.common.ranger import Ranger
from invbench.methods.gani import GANI, SPEC, Likeness
from invbench.methods.nets.gradient_modification import GradientModification
from invbench.methods.nets.stylegan2 import Synthesis
from invbench.methods.nets.stylegan2_config import GeneratorConfig
from invbench.options import make
from tests.methods.test_refinement import E4E, build, psnr


class Face(nn.Module):
    """An embedding of length 1: the colours of a 4 x 4 picture."""

    def forward(self, images):
        return F.normalize(F.adaptive_avg_pool2d(images, 4).flatten(1), dim=1)


class Maps(nn.Module):
    """Two feature maps."""

    def features(self, images):
        return [images + 2, F.avg_pool2d(images, 2) ** 2]


@pytest.fixture(scope="module")
def nets(networks):
    return networks | {"identity": Face(), "parsing": Maps(), "encoder_e4e": networks["encoder_e4e"]}


def gani(nets, **options):
    return GANI(nets, make(SPEC, {"steps": 20, "lr": 3e-3} | options), build(E4E, nets))


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_generator_of_1024_pixels_has_the_printed_number_of_parameters(blocks):
    config = GeneratorConfig(resolution=1024, channels={2**i: min(512, 2 ** (15 - i)) for i in range(2, 11)})
    with torch.device("meta"):
        shapes = {n: tuple(p.shape) for n, p in Synthesis(config).named_parameters() if p.shape[2:] == (3, 3)}
    modules = GradientModification(shapes, blocks=blocks, inputs="none", inner="scale")
    parameters = modules.initial([torch.Generator()], torch.zeros(()))
    assert sum(value[0].numel() for value in parameters.values()) == 1_396_658 * blocks
    assert len(set(modules.module_of.values())) == 9 and len(shapes) == 17


def norm(vector, kind, scale):
    if kind == "scale":
        return vector / vector.square().sum().sqrt() * scale
    if kind == "instance":
        return (vector - vector.mean()) / vector.var(correction=0).sqrt()
    return vector


@pytest.mark.parametrize("inputs", ["none", "scale", "instance"])
@pytest.mark.parametrize("inner", ["none", "scale", "instance"])
def test_a_module_maps_each_vector_of_input_channels(inputs, inner):
    draws = torch.Generator().manual_seed(4)
    gradient = 1e-6 * torch.randn(2, 5, 4, 3, 3, generator=draws, dtype=torch.float64)
    modules = GradientModification({"b8.conv0.weight": (5, 4, 3, 3)}, blocks=2, inputs=inputs, inner=inner)
    own = modules.initial([torch.Generator().manual_seed(n) for n in range(2)], gradient)
    found = modules.changes({"b8.conv0.weight": gradient}, own)["b8.conv0.weight"]

    def scale(image, name):
        return own[name][image] if name in own else None

    for image, out, row, column in [(0, 0, 0, 0), (0, 4, 2, 1), (1, 3, 1, 2)]:
        y = norm(gradient[image, out, :, row, column], inputs, scale(image, "4to5.scale"))
        for block in range(2):
            place = f"4to5.{block}"
            h = own[f"{place}.w1"][image] @ F.leaky_relu(norm(y, inner, scale(image, f"{place}.s1")), 0.01)
            h = own[f"{place}.w2"][image] @ F.leaky_relu(norm(h, inner, scale(image, f"{place}.s2")), 0.01)
            y = y + h + own[f"{place}.b"][image]
        torch.testing.assert_close(found[image, out, :, row, column], y)


def test_modules_begin_as_published():
    modules = GradientModification({"a.weight": (64, 256, 3, 3)}, blocks=1, inputs="none", inner="scale")
    own = modules.initial([torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)], torch.zeros(()))
    assert own["256to64.0.w1"].std().item() == pytest.approx(0.1 * math.sqrt(2 / (1.0001 * 256)), rel=0.02)
    assert own["256to64.0.b"].abs().max() <= 1 / 16 and own["256to64.0.b"].abs().mean() > 1 / 40
    assert (own["256to64.0.s1"] == 16).all() and not torch.equal(own["256to64.0.w1"][0], own["256to64.0.w1"][1])


def test_ranger_on_stacked_parameters_is_ranger_on_each():
    start, draws = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    gradients = torch.randn(20, 2, 3, 4, generator=draws)
    together, bias = start.clone().requires_grad_(), start[:, 0].clone().requires_grad_()
    stacked = Ranger([together, bias], 1e-2, stacked=True)
    apart = [start[0].clone().requires_grad_(), start[0, 0].clone().requires_grad_()]
    alone = Ranger(apart, 1e-2)
    for gradient in gradients:
        together.grad, bias.grad = gradient.clone(), gradient[:, 0].clone()
        apart[0].grad, apart[1].grad = gradient[0].clone(), gradient[0, 0].clone()
        stacked.step()
        alone.step()
    torch.testing.assert_close(together[0], apart[0])
    torch.testing.assert_close(bias[0], apart[1])


def test_the_loss_is_the_sum_of_its_four_terms(nets, images):
    others = images.roll(1, 0)
    loss = Likeness(nets, make(SPEC, {"lambda_lpips": 0.5}), images)(others)
    for i in range(len(images)):
        a, b = others[i : i + 1], images[i : i + 1]
        pixel = ((a - b) ** 2).mean()
        perceptual = nets["perceptual_alex"].distance(a, b)[0]
        face = 1 - (Face()(a) * Face()(b)).sum()
        maps = sum(1 - (x * y).sum() / (x.norm() * y.norm()) for x, y in zip(Maps().features(a), Maps().features(b)))
        torch.testing.assert_close(loss[i], pixel + 0.5 * perceptual + 0.1 * face + maps)


def test_smooth_l1_is_quadratic_only_near_0(nets, images):
    options = make(SPEC, {"pixel": "smooth_l1", "lambda_lpips": 0.0, "similarity": "none", "parsing": False})
    bare = {role: nets[role] for role in ("generator", "perceptual_alex")}
    error = torch.linspace(-0.3, 0.3, images[0].numel()).reshape(1, 3, 32, 32)
    expected = torch.where(error.abs() < 0.1, error**2 / 0.2, error.abs() - 0.05).mean()
    torch.testing.assert_close(Likeness(bare, options, images[:1])(images[:1] + error)[0], expected)


def test_only_convolutions_change_and_pictures_get_nearer(nets, images, clock):
    before, after = (gani(nets, steps=steps, lr=1e-2).invert(images, clock) for steps in (0, 60))
    assert set(after.state) == {f"b{r}.conv{i}.weight" for r in (4, 8, 16, 32) for i in (0, 1)} - {"b4.conv0.weight"}
    loss = Likeness(nets, make(SPEC), images)
    assert (loss(after.images) < 0.9 * loss(before.images)).all()
    shared = dict(nets["generator"].synthesis.named_parameters())
    assert all(torch.equal(value, shared[name].expand_as(value)) for name, value in before.state.items())


def test_the_locality_term_keeps_what_other_latents_draw(nets, images, clock):
    w = nets["generator"].repeat(nets["generator"].sample_w(4, generator=torch.Generator().manual_seed(8)))
    original = nets["generator"].synthesis(w)

    def moved(weight):
        found = gani(nets, steps=60, lambda_locality=weight).invert(images, clock)
        return (nets["generator"].synthesis(w, weights=found.state) - original).square().mean()

    assert moved(5.0) < 0.8 * moved(0.0)


def test_each_image_has_modules_of_its_own(nets, images, clock):
    method = gani(nets)
    together = method.invert(images, clock)
    edited = method.edit(together, Edit("age", 2.0), clock)
    for i in (0, 3):
        alone = method.invert(images[i : i + 1], clock)
        assert (psnr(alone.images, images[i]) - psnr(together.images[i : i + 1], images[i])).abs() < 0.05
        assert (method.edit(alone, Edit("age", 2.0), clock) - edited[i : i + 1]).abs().max() < 0.02
    torch.testing.assert_close(method.edit(together, Edit("age", 0.0), clock), together.images, atol=1e-5, rtol=0)


def test_a_loss_without_its_network_is_refused(nets):
    without = {role: network for role, network in nets.items() if role != "parsing"}
    with pytest.raises(InvbenchError, match="'parsing'"):
        gani(without)
    assert gani(without, parsing=False) and gani(without | {"moco": Face()}, parsing=False, similarity="moco")
    with pytest.raises(InvbenchError, match="'moco'"):
        gani(nets, similarity="moco")
