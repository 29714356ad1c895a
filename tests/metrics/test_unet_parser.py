"""The U-Net parser of CelebAMask-HQ: its file, its contracting path, and the stand-in of the embedded suite."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from invbench.api import InvbenchError
from invbench.methods.train.frozen import load_frozen
from invbench.metrics.nets.parser_path import ParserPath
from invbench.metrics.nets.unet_parser import UNetParser, from_checkpoint


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(3)
    network = UNetParser().eval()
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    return from_checkpoint(network.state_dict(), source="model.pth")


def test_it_computes_what_its_layers_written_out_do(unet):
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    x = F.interpolate(images, size=(512, 512), mode="bilinear", antialias=True)
    state = unet.state_dict()

    def twice(x, name):
        for part in ("conv1", "conv2"):
            place = f"{name}.{part}."
            own = {key.removeprefix(place): value for key, value in state.items() if key.startswith(place)}
            x = F.conv2d(x, own["0.weight"], own["0.bias"], padding=1)
            scale = own["1.weight"] / (own["1.running_var"] + 1e-5).sqrt()
            x = (x - own["1.running_mean"][:, None, None]) * scale[:, None, None] + own["1.bias"][:, None, None]
            x = x.clamp_min(0)
        return x

    maps = [twice(x, "conv1")]
    for name in ("conv2", "conv3", "conv4", "center"):
        maps.append(twice(F.max_pool2d(maps[-1], 2), name))
    for found, expected in zip(unet.features(images), maps, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert [m.shape[1] for m in maps] == [16, 32, 64, 128, 256] and maps[-1].shape[2] == 32
    x = maps[-1]
    for level in (4, 3, 2, 1):
        up = F.conv_transpose2d(x, state[f"up_concat{level}.up.weight"], state[f"up_concat{level}.up.bias"], stride=2)
        x = twice(torch.cat([maps[level - 1], up], 1), f"up_concat{level}.conv")
    expected = F.conv2d(x, state["final.weight"], state["final.bias"])
    torch.testing.assert_close(unet(images), expected, rtol=1e-3, atol=1e-3)


def test_another_file_is_refused(unet):
    state = dict(unet.state_dict())
    del state["center.conv1.0.bias"]
    with pytest.raises(InvbenchError, match=r"model.pth: .*missing: center.conv1.0.bias"):
        from_checkpoint(state, source="model.pth")


def test_the_embedded_path_is_the_parsers_own():
    parser = load_frozen("parser")
    path = ParserPath(classes=parser.classes).eval()
    path.load_state_dict(parser.state_dict())
    seen = []
    hooks = [part.register_forward_hook(lambda module, given, out: seen.append(out)) for part in (parser.stem, *parser.down)]
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(5)) * 2 - 1
    logits = parser(images)
    for hook in hooks:
        hook.remove()
    assert len(seen) == 4
    for found, expected in zip(path.features(images), seen, strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(path(images), logits)
