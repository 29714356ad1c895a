"""DISTS, DreamSim and DINOv2 against their packages, on made-up weights."""

from __future__ import annotations

import numpy as np
import piq
import pytest
import torch
from torch import Tensor
from torch_fidelity import feature_extractor_dinov2
from torchvision.models import vgg

from invbench.api import InvbenchError, MetricInput
from invbench.metrics.distances import DistsDistance, DreamSim224, DreamSimDistance, FdDinoV2
from invbench.metrics.nets import dinov2, dists, dreamsim
from invbench.metrics.nets.vit import VisionTransformer
from tests.agreement import agree

from .made_up import weights


def of(module: torch.nn.Module) -> dict[str, Tensor]:
    return weights({key: tuple(value.shape) for key, value in module.state_dict().items()})


# ---- DISTS


@pytest.fixture(scope="module")
def dists_files() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """piq's file and torchvision's VGG-16 (with a part of its classifier, which nobody uses)."""
    with torch.device("meta"):
        features = vgg.make_layers(vgg.cfgs["D"])
    trunk = weights({f"features.{key}": tuple(value.shape) for key, value in features.state_dict().items()})
    trunk = {key: value * 2**0.5 if value.ndim == 4 else value for key, value in trunk.items()}
    own = {name: value.abs() / 1475 for name, value in weights({"alpha": (1, 1475, 1, 1), "beta": (1, 1475, 1, 1)}).items()}
    return {name: value / sum(part.sum() for part in own.values()) for name, value in own.items()}, trunk


@pytest.mark.parametrize("shape", [(64, 48), (300, 280)])
def test_dists_is_piqs(shape, dists_files, monkeypatch):
    own, trunk = dists_files
    network = dists.from_checkpoint(own, source="dists.pt", trunk=trunk | {"classifier.0.bias": torch.zeros(4096)})

    class Pretrained(torch.nn.Module):
        def __init__(self, **_: object) -> None:
            super().__init__()
            self.features = vgg.make_layers(vgg.cfgs["D"])
            self.load_state_dict(trunk)

    monkeypatch.setattr(piq.perceptual, "vgg16", Pretrained)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: own)
    theirs = piq.DISTS(reduction="none").double()
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.uniform(-1, 1, (1, 3, *shape))) for _ in range(2))
    found, expected = network.double().distance(a, b), theirs((a + 1) / 2, (b + 1) / 2)
    assert expected > 0.05
    agree(found.detach().numpy(), expected.numpy(), relative=1e-6)
    network.float()


def test_dists_of_a_picture_and_itself_is_zero(dists_files, given):
    network = dists.from_checkpoint(dists_files[0], source="dists.pt", trunk=dists_files[1])
    metric = DistsDistance({"dists": network})
    values = metric(given)
    assert values.dtype == np.float64 and values.shape == (4,) and (np.diff(values) > 0).all()  # noise grows
    same = MetricInput(target=given.target, output=given.target, samples=given.samples)
    np.testing.assert_allclose(metric(same), 0, atol=1e-6)
    with pytest.raises(InvbenchError, match=r"dists.pt and vgg.pth: .*missing: convolutions.12.bias"):
        short = {key: value for key, value in dists_files[1].items() if key != "features.28.bias"}
        dists.from_checkpoint(dists_files[0], source="dists.pt", trunk=short, trunk_source="vgg.pth")


# ---- DINOv2

# dinov2/models/vision_transformer.py of facebookresearch/dinov2 (commit b8931f7): DinoVisionTransformer(img_size=70,
# patch_size=14, embed_dim=128, depth=2, num_heads=2, init_values=1.0, block_chunks=0) in float64 with the weights of made_up
# and the pictures below; the first 8 of 128 values.
OFFICIAL = {
    (28, 42): [-0.26224128242, 1.094874637372, -0.013999870681, -1.603815168409, -0.289519234813, -0.855766486157,
               -0.261658126941, 0.136841674841],
    (70, 70): [-0.672654485619, 1.403634746771, -0.073930463008, -1.664900678556, -0.459092857545, -0.910592532609,
               -0.366538068687, -0.112098270676],
}  # fmt: skip


@pytest.fixture(scope="module")
def dinov2_file() -> dict[str, Tensor]:
    with torch.device("meta"):
        return of(VisionTransformer(width=128, depth=2, patch=14, positions=25, scaled=True, masked=True))


@pytest.mark.parametrize("side", OFFICIAL)
def test_dinov2_is_the_official_network(side, dinov2_file):
    network = dinov2.from_checkpoint(dinov2_file, source="dinov2.pth").double()
    images = torch.linspace(-2, 2, 3 * side[0] * side[1], dtype=torch.float64).reshape(1, 3, *side).sin()
    agree(network.model(images)[0, :8].detach().numpy(), np.array(OFFICIAL[side]), relative=1e-6)


def test_its_preparation_is_torch_fidelitys(dinov2_file, pictures, monkeypatch):
    network = dinov2.from_checkpoint(dinov2_file, source="dinov2.pth")
    monkeypatch.setattr(torch.hub, "load", lambda *_: network.model)
    theirs = feature_extractor_dinov2.FeatureExtractorDinoV2("dinov2-vit-l-14", ["dinov2"])
    levels = torch.from_numpy(pictures[0]).permute(0, 3, 1, 2).contiguous()
    with torch.inference_mode():
        (expected,) = theirs(levels)
        found = FdDinoV2({"dinov2": network}).features(levels.float() / 127.5 - 1)
    assert found.shape == (4, 128) and expected.std(0).mean() > 1e-3
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_files_that_are_no_dinov2(dinov2_file):
    short = {key: value for key, value in dinov2_file.items() if key != "blocks.1.ls2.gamma"}
    for wrong, message in (
        (short, "missing: model.blocks.1.ls2.gamma"),
        (dinov2_file | {"register_tokens": torch.zeros(1, 4, 128)}, "unexpected: model.register_tokens"),
        ({"fc.weight": torch.zeros(3, 3)}, r"'patch_embed.proj.weight' of 4 axes, found the keys fc.weight"),
        (dinov2_file | {"pos_embed": torch.zeros(1, 25, 128)}, "a square of positions, found width 128, 2 blocks and 24"),
    ):
        with pytest.raises(InvbenchError, match=f"^dinov2.pth: .*{message}"):
            dinov2.from_checkpoint(wrong, source="dinov2.pth")


# ---- DreamSim

# The package 0.2.1 with peft 0.21.2, PerceptualModel of its ensemble, in which create_model gives toy networks of its own
# VisionTransformer(patch_size=16, embed_dim=64, depth=12, num_heads=1, qkv_bias=True) with the weights of made_up, low-rank
# changes of made_up times 8, and the pictures below; 9 of 160 values of the embedding of the first, and the distance of both.
GOLDEN = [-0.15041685, 0.08993602, 0.00488753, -0.00320501, 0.01961437, -0.00651438, 0.00805328, 0.00324923, -0.00900178]
DISTANCE = 0.03427863


def toy_trunk(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = VisionTransformer(width=64, depth=12, patch=16, positions=196, first=name != "dino")
    own = weights({f"{name}.{key}": tuple(value.shape) for key, value in network.state_dict().items()})
    return {key.removeprefix(f"{name}."): value for key, value in own.items()}


@pytest.fixture(scope="module")
def dreamsim_files() -> dict[str, dict]:
    """The adapter ("") and the three networks under it."""
    prefix = "base_model.model.extractor_list.{}.model.blocks.{}.attn.qkv.lora_{}.weight"
    shapes = {prefix.format(net, block, "A"): (16, 64) for net in range(3) for block in range(12)}
    shapes |= {prefix.format(net, block, "B"): (192, 16) for net in range(3) for block in range(12)}
    files: dict[str, dict] = {"": {key: value * 8 for key, value in weights(shapes).items()}, "dino": toy_trunk("dino")}
    for name in ("clip", "open_clip"):
        projection = weights({f"{name}.proj": (64, 48)})[f"{name}.proj"]
        files[name] = {"state_dict": toy_trunk(name) | {"proj": projection}}
    return files


def load(files: dict[str, dict]) -> dreamsim.DreamSim:
    copies = {name: dict(content) for name, content in files.items() if name}
    return dreamsim.from_checkpoint(files[""], source="adapter.bin", **copies)


def wave(start: float) -> Tensor:
    return torch.linspace(start, 3, 3 * 224 * 224).reshape(1, 3, 224, 224).sin()


def test_dreamsim_is_the_packages(dreamsim_files):
    network = load(dreamsim_files)
    a, b = network.embedding(wave(-3)), network.embedding(wave(-3.3))
    agree(a[0, [0, 1, 2, 64, 65, 66, 112, 113, 114]].numpy(), np.array(GOLDEN), relative=1e-4)
    assert float(1 - (a * b).sum()) == pytest.approx(DISTANCE, rel=1e-3)


def test_its_metric_reads_224_pixels(dreamsim_files, given, pictures):
    prepared = [DreamSim224({})(one) for one in pictures]
    seen = MetricInput(target=prepared[0], output=prepared[1], samples=given.samples)
    values = DreamSimDistance({"dreamsim": load(dreamsim_files)})(seen)
    assert prepared[0].shape == (4, 3, 224, 224) and values.shape == (4,) and (values > 0).all()
    with pytest.raises(ValueError, match="224"):
        load(dreamsim_files).embedding(given.target)


def test_files_that_are_no_dreamsim(dreamsim_files):
    first = next(iter(dreamsim_files[""]))
    half = {key: value for key, value in dreamsim_files[""].items() if key != first}
    for wrong, message in (
        ({"": half}, r"expected lora_A \[r, C\] and lora_B"),
        ({"": dreamsim_files[""] | {"head.weight": torch.zeros(2, 2)}}, "found 'head.weight'"),
        ({"": {key: value for key, value in dreamsim_files[""].items() if "blocks.7" not in key}}, "each of 36 blocks"),
        ({"clip": dreamsim_files["dino"]}, "expected the key 'state_dict'"),
        ({"clip": {"state_dict": toy_trunk("clip")}}, "expected the projection 'proj'"),
        ({"dino": dreamsim_files["dino"] | {"head.weight": torch.zeros(1)}}, "unexpected: dino.head.weight"),
    ):
        with pytest.raises(InvbenchError, match=message):
            load(dreamsim_files | wrong)
