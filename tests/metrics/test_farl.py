"""FaRL's parser: its layout, its transformer by a second route, pyfacer's alignment, and what is outside of the crop."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from invbench.api import InvbenchError
from invbench.metrics.nets import farl
from invbench.metrics.nets.bisenet import CLASSES as BISENET
from invbench.metrics.nets.vit import VisionTransformer
from invbench.plugins.config import load

from .made_up import weights

POINTS = np.array([[30.0, 40.0], [62.0, 44.0], [45.0, 60.0], [33.0, 75.0], [58.0, 78.0]])
# facer/transform.py of pyfacer 0.0.5 (PyPI): make_tanh_warp_grid and its inverse (factor 0) of get_face_align_matrix_celebm for
# these points in a picture of 100 x 96 pixels, (row, column) -> (x, y)
CROP = {(0, 0): [-1.27942, -1.45204], (100, 300): [0.47558, -0.76084], (447, 447): [1.21484, 1.29004]}
BACK = {(0, 0): [-0.75837, -0.65497], (50, 40): [-0.08728, 0.07661], (99, 95): [0.81481, 0.77702]}


def test_keys_are_those_of_the_expected_file():
    expected = json.loads((Path(__file__).parents[1] / "golden/farl_layout.json").read_text())["tensors"]
    with torch.device("meta"):
        found = {key: list(value.shape) for key, value in farl.FaRLNetwork().state_dict().items()}
    assert found == expected


def test_pictures_are_aligned_as_pyfacer_does():
    crop, back, inside = farl.grids(POINTS, (100, 96))
    for expected, found in ((CROP, crop), (BACK, back)):
        for place, values in expected.items():
            np.testing.assert_allclose(found[place].numpy(), values, atol=2e-5)
    assert inside.shape == (100, 96) and inside[50, 40] == 1


def test_the_transformer_is_clips():
    """The same weights under DINO's names, in the network that is checked against DreamSim's package."""
    with torch.device("meta"):
        ours = farl.FaRLNetwork(width=192, heads=3, side=4)
    network = farl.FaRLNetwork(width=192, heads=3, side=4).eval()
    network.load_state_dict(weights({key: tuple(value.shape) for key, value in ours.state_dict().items()}))
    visual = network.backbone.visual
    other = VisionTransformer(width=192, depth=12, patch=16, positions=16, first=True, quick=True, eps=1e-5)
    names = {"attn.in_proj_": "attn.qkv.", "attn.out_proj.": "attn.proj.", "ln_1.": "norm1.", "ln_2.": "norm2."}
    names |= {"mlp.c_fc.": "mlp.fc1.", "mlp.c_proj.": "mlp.fc2."}
    state = {"patch_embed.proj.weight": visual.conv1.weight, "patch_embed.proj.bias": torch.zeros(192)}
    state |= {"cls_token": visual.class_embedding[None, None], "pos_embed": visual.positional_embedding[None]}
    state |= {f"pos_drop.{kind}": getattr(visual.ln_pre, kind) for kind in ("weight", "bias")}
    state |= {f"norm.{kind}": getattr(visual.ln_post, kind) for kind in ("weight", "bias")}
    for key, value in visual.transformer.state_dict().items():
        key = key.replace("resblocks", "blocks")
        for old, new in names.items():
            key = key.replace(old, new)
        state[key] = value
    other.load_state_dict(state)
    images = torch.linspace(-2, 2, 3 * 64 * 64).reshape(1, 3, 64, 64).sin()
    with torch.inference_mode():
        maps = visual(images)
        expected = other.tokens(images)[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
        torch.testing.assert_close(maps[-1], expected, rtol=1e-4, atol=1e-4)
        assert [tuple(one.shape) for one in network.backbone(images)] == [
            (1, 192, 16, 16), (1, 192, 8, 8), (1, 192, 4, 4), (1, 192, 2, 2)
        ]  # fmt: skip
        assert network(images).shape == (1, 19, 64, 64)


class Nose(nn.Module):
    """All nose, as sure as can be."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(len(images), 19, *images.shape[2:])
        out[:, farl.CLASSES.index("nose")] = 9.0
        return out


class Detector(nn.Module):
    def landmarks(self, pictures: np.ndarray) -> list:
        assert pictures.dtype == np.uint8
        return [SimpleNamespace(points=POINTS[None] * 0.5 + 40), SimpleNamespace(points=np.empty((0, 5, 2)))][: len(pictures)]


def test_outside_of_the_crop_is_background_and_not_a_uniform_softmax():
    parser = farl.FaRL(Nose(), Detector())  # type: ignore[arg-type]
    logits = parser(torch.zeros(2, 3, 140, 160))
    probabilities = logits.softmax(1)
    inside = farl.grids(POINTS * 0.5 + 40, (140, 160))[2] > 0
    assert 0.1 < inside.float().mean() < 0.9
    names = ("background", "clothes", "hat", "earring", "necklace")  # DHR's rule: face where these sum to less than half
    face = sum(probabilities[:, farl.CLASSES.index(name)] for name in names) < 0.5
    assert not face[0][~inside].any() and face[0][inside].float().mean() > 0.98
    assert not face[1].any() and (logits[1].argmax(0) == 0).all()  # no face was found
    zeros = torch.zeros(19, 140, 160).softmax(0)
    assert (sum(zeros[farl.CLASSES.index(name)] for name in names) < 0.5).all()  # the trap: pyfacer's rim would be face


def test_its_classes_serve_dhr_and_sam_as_bisenets_do():
    assert sorted(farl.CLASSES) == sorted(BISENET)
    options = load()["faces"].methods
    named = {*options["dhr"]["outside"], *options["dhr"]["parts"], *options["sam"]["fused"]}
    assert named <= set(farl.CLASSES)


def test_other_files():
    with pytest.raises(InvbenchError, match=r"^farl.pt: .*missing: backbone.image_mean"):
        farl.from_checkpoint({"head.head.conv_seg.bias": torch.zeros(19)}, source="farl.pt")
    with pytest.raises(ValueError, match=r"\[N, 3, H, W\]"):
        farl.FaRL(Nose(), Detector())(torch.zeros(1, 1, 8, 8))  # type: ignore[arg-type]
