"""The invertibility predictor: the published layout, its small version, and the inversions it learns from."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.methods.nets.deeplab import DeepLab
from invbench.methods.nets.invertibility import InvertibilityHead, InvertibilityPredictor
from invbench.methods.nets.latent_stats import LatentStatistics
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.nets.stylegan2_config import GeneratorConfig
from invbench.methods.sam import SAM, SPEC, join_classes, most_editable
from invbench.options import make
from tests.golden_vectors import GOLDEN

SMALL = {
    "planes": [4, 4, 4, 8], "blocks": [1, 1, 1], "multi_grid": [1, 2], "stem": 4, "pool": False, "output_stride": 8,
    "rates": [1, 2], "width": 8, "low_level": 4, "dropouts": [0.0, 0.0, 0.0],
}  # fmt: skip


def small(spaces: tuple[str, ...] = ("W+", "F4")) -> InvertibilityPredictor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = InvertibilityPredictor(spaces=spaces, base=SMALL).eval()
    for head in network.heads.values():
        nn.init.constant_(head.m[3].bias, 1.0)  # above the ReLU's floor
    return network


def test_the_default_network_has_the_published_layout():
    layout = json.loads((GOLDEN / "sam_invertibility_layout.json").read_text())
    with torch.device("meta"):
        network = InvertibilityPredictor(spaces=("W+", "F4", "F6", "F8", "F10"))
    parts = {"sd_base": [network.base], "head": list(network.heads.values())}
    for part, modules in parts.items():
        for module in modules:
            assert {key: list(value.shape) for key, value in module.state_dict().items()} == layout[part]


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [(16, [1, 2, 2, 1], [1, 1, 1, 2]), (8, [1, 2, 1, 1], [1, 1, 2, 4]), (32, [1, 2, 2, 2], [1, 1, 1, 1])],
)
def test_dilation_takes_over_where_the_output_stride_is_reached(output_stride, strides, dilations):
    with torch.device("meta"):
        backbone = DeepLab(8, output_stride=output_stride).backbone
    stages = [backbone.get_submodule(f"layer{i}") for i in (1, 2, 3, 4)]
    assert [stage[0].conv2.stride[0] for stage in stages] == strides
    assert [stage[0].conv2.dilation[0] for stage in stages] == dilations
    assert [block.conv2.dilation[0] for block in stages[3]] == [dilations[3] * factor for factor in (1, 2, 4)]


def test_a_stage_has_the_stride_that_was_asked_for():
    x, low_level = DeepLab(8, **SMALL).backbone(torch.zeros(1, 3, 64, 64))
    assert (x.shape, low_level.shape) == ((1, 32, 8, 8), (1, 16, 32, 32))
    with pytest.raises(ValueError, match="output_stride: expected 2 times 1, 2, 4 or 8, found 32"):
        DeepLab(8, **{**SMALL, "output_stride": 32})


def test_predictions_are_one_error_map_a_space():
    network = small()
    images = torch.randn(3, 3, 48, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    with torch.no_grad():
        together = network(images)
        alone = network(images[1:2])
        for head in network.heads.values():
            head.m[3].bias.fill_(-9.0)
        floor = network(images)
    assert list(together) == ["W+", "F4"]
    for space, error in together.items():
        assert error.shape == (3, 1, 48, 64) and error.min() >= 0 and error.max() > 0
        torch.testing.assert_close(alone[space], error[1:2], atol=1e-5, rtol=1e-4)
        assert not floor[space].any()
    assert (together["W+"] - together["F4"]).abs().max() > 1e-4  # heads of their own


def test_a_head_is_a_convolution_of_the_flipped_kernel():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        head = InvertibilityHead().eval()
    shared = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(2))
    first, norm, _, last, _ = head.m
    with torch.no_grad():
        y = F.conv2d(shared, first.weight.transpose(0, 1).flip(2, 3), first.bias, padding=1)
        y = y / (1 + norm.eps) ** 0.5  # fresh statistics
        y = F.leaky_relu(y, 0.2)
        expected = (torch.einsum("nchw,co->nohw", y, last.weight[..., 0, 0]) + last.bias.view(1, 1, 1, 1)).relu()
        torch.testing.assert_close(head(shared), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 1, 64, 64)])
def test_wrong_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"images: expected shape \[N, 3, H, W\]"):
        small()(torch.zeros(shape))


def test_a_segment_goes_to_the_most_editable_space_below_the_threshold():
    segments = torch.zeros(1, 4, 2, 4)
    for i in range(3):
        segments[0, i, :, i] = 1  # the fourth segment is empty
    errors = torch.zeros(1, 3, 2, 4)
    errors[0, 0] = torch.tensor([0.1, 0.4, 0.5, 9.0])
    errors[0, 1] = torch.tensor([0.9, 0.2, 0.4, 9.0])
    errors[0, 2] = torch.tensor([0.0, 0.1, 0.3, 9.0])
    assert most_editable(errors, segments, 0.2).tolist() == [[0, 1, 2, 0]]
    assert most_editable(errors, segments, 0.45).tolist() == [[0, 0, 1, 0]]


def test_joined_classes_come_first():
    one_hot = torch.eye(4).view(1, 4, 2, 2)
    joined = join_classes(one_hot, ("a", "b", "c", "d"), ["d", "b"])
    assert joined.shape == (1, 3, 2, 2)
    assert torch.equal(joined[0].flatten(1), torch.tensor([[0.0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]))


class Perceptual(nn.Module):
    def features(self, images: Tensor) -> list[Tensor]:
        return [images]

    def maps_between(self, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        return [(a[0] - b[0]).square().mean(1, keepdim=True)]

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().flatten(1).mean(1)


def sam(spaces: list[str], steps: int) -> SAM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(32, dict.fromkeys((4, 8, 16, 32), 8), z_dim=4, w_dim=16, n_mapping=2))
    networks = {
        "generator": generator.eval().requires_grad_(False),
        "latent_stats": LatentStatistics(16),
        "perceptual_vgg": Perceptual(),
    }
    return SAM(networks, make(SPEC, {"spaces": spaces, "fused": [], "steps": steps}), None)


def test_inversion_in_a_single_space():
    images = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32).clone()
    images[1, :, 8:16, 8:16] = 1
    zeros = torch.zeros(2, 8, 16)
    start, wplus, features = (
        (sam(spaces, steps).invert_single_space(images, zeros) - images).square().mean((1, 2, 3))
        for spaces, steps in (([], 0), ([], 15), (["F4"], 15))
    )
    assert (wplus < start).all() and (features < wplus).all()
    alone = sam(["F4"], 15).invert_single_space(images[1:], zeros[1:])
    torch.testing.assert_close(alone, sam(["F4"], 15).invert_single_space(images, zeros)[1:], atol=1e-3, rtol=1e-3)


def test_a_single_space_is_one_space():
    method = sam(["F4"], 1)
    method.options = make(SPEC, {"spaces": ["F4", "F6"]})
    with pytest.raises(ValueError, match="expected at most one beside W\\+, found F4, F6"):
        method.invert_single_space(torch.zeros(1, 3, 32, 32), torch.zeros(1, 8, 16))
