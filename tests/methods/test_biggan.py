"""BigGAN-deep: golden vectors of the library, its layouts, the library itself where it is installed, and a second way there."""

from __future__ import annotations

import hashlib
import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.api import InvbenchError
from invbench.methods.convert import biggan as convert
from invbench.methods.nets.biggan import BigGAN, BigGANConfig, published, stored_rows, truncated_normal
from invbench.methods.nets.biggan_stats import ConditionStatistics
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.weights.layouts import recognise
from tests import golden_vectors
from tests.weights import official

GOLDEN = golden_vectors.load("biggan_deep")
SMALL: dict[str, Any] = {**published(128).to_dict(), "channel_width": 8, "z_dim": 6, "class_embed_dim": 6, "num_classes": 5}


def plainly(state: dict[str, Tensor], config: BigGANConfig, c: Tensor, row: int) -> Tensor:
    """The picture of conditions [N, D] from the library's tensors, written out for one row of statistics."""
    p = {key.removeprefix("generator."): value.double() for key, value in state.items()}

    def weight(name: str) -> Tensor:
        matrix = p[f"{name}.weight_orig"]
        return matrix / torch.einsum("i,ij,j->", p[f"{name}.weight_u"], matrix.flatten(1), p[f"{name}.weight_v"])

    def norm(x: Tensor, name: str) -> Tensor:
        mean, deviation = p[f"{name}.running_means"][row], (p[f"{name}.running_vars"][row] + config.eps).sqrt()
        x = (x - mean[:, None, None]) / deviation[:, None, None]
        if f"{name}.weight" in p:
            return x * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]
        scale, offset = (c @ weight(f"{name}.{part}").T for part in ("scale", "offset"))
        return x * (1 + scale)[..., None, None] + offset[..., None, None]

    flat = c @ weight("gen_z").T + p["gen_z.bias"]
    x = torch.stack([flat.reshape(-1, 16, 16 * config.channel_width)[:, i] for i in range(16)], dim=2).unflatten(2, (4, 4))
    blocks = iter(config.layers)
    for number in range(len(config.layers) + 1):
        name = f"layers.{number}"
        if number == config.attention_layer_position:
            theta, phi, g = (F.conv2d(x, weight(f"{name}.snconv1x1_{part}")) for part in ("theta", "phi", "g"))
            keys, values = F.max_pool2d(phi, 2).flatten(2), F.max_pool2d(g, 2).flatten(2)
            scores = torch.einsum("ncq,nck->nqk", theta.flatten(2), keys)
            scores = (scores - scores.amax(2, keepdim=True)).exp()
            seen = torch.einsum("nqk,nck->ncq", scores / scores.sum(2, keepdim=True), values).view_as(g)
            x = x + p[f"{name}.gamma"] * F.conv2d(seen, weight(f"{name}.snconv1x1_o_conv"))
            continue
        up, n_in, n_out = next(blocks)
        y, skip = x, x[:, : x.shape[1] // 2] if n_in != n_out else x
        for step in range(4):
            y = norm(y, f"{name}.bn_{step}").clamp_min(0)
            if step == 1 and up:
                y, skip = (one.repeat_interleave(2, 2).repeat_interleave(2, 3) for one in (y, skip))
            y = F.conv2d(y, weight(f"{name}.conv_{step}"), p[f"{name}.conv_{step}.bias"], padding="same")
        x = y + skip
    x = norm(x, "bn").clamp_min(0)
    return F.conv2d(x, weight("conv_to_rgb"), p["conv_to_rgb.bias"], padding=1)[:, :3].tanh()


@pytest.fixture(scope="module")
def small() -> tuple[dict[str, Tensor], BigGAN]:
    state = official.biggan(BigGANConfig(**SMALL))
    return state, convert.generator(state, source="small").double()


def test_golden_vectors_of_the_library_are_met() -> None:
    state = golden_vectors.state(GOLDEN, "biggan")
    network = convert.generator(state, source="golden")
    del state
    z, y = golden_vectors.tensor(GOLDEN, "z"), golden_vectors.tensor(GOLDEN, "y")
    with torch.no_grad():
        c = network.condition(z, y)
        golden_vectors.check(GOLDEN, "condition_vector", c)
        wanted = ["layers.3", "layers.7", "layers.8"]
        image, features = network.synthesis(network.repeat(c), truncation=0.5, return_features=wanted)
        golden_vectors.check(GOLDEN, "image_t0.5", image)
        for layer, name in zip(wanted, ("3", "7", "8_attention"), strict=True):
            golden_vectors.check(GOLDEN, f"feature_layers_{name}", features[layer])
        golden_vectors.check(GOLDEN, "image_t0.427", network(z, y, truncation=0.427, rule="library"))
        golden_vectors.check(GOLDEN, "image_t1", network(z, y))
        with pytest.raises(AssertionError):  # the plain rule is another picture
            golden_vectors.check(GOLDEN, "image_t0.427", network(z, y, truncation=0.427))


@pytest.mark.parametrize("size", [128, 256, 512])
def test_layouts_and_parameters_are_those_of_the_library(size: int) -> None:
    known, config = GOLDEN["layouts"][str(size)], published(size)
    assert {**known["config"], "layers": [tuple(block) for block in known["config"]["layers"]]} == {
        **config.to_dict(), "layers": list(config.layers)
    }  # fmt: skip
    with torch.device("meta"):
        network = BigGAN(**config.to_dict())
    shapes: dict[str, list[int]] = {}
    for key, value in network.state_dict().items():
        if key in ("embeddings.weight", "generator.bn.weight") or not key.endswith(".weight"):
            shapes[key] = list(value.shape)
        else:
            shapes |= {f"{key}_orig": list(value.shape), f"{key}_u": [len(value)], f"{key}_v": [value[0].numel()]}
    assert len(shapes) == known["tensors"]
    assert sum(value.numel() for value in network.parameters()) == known["parameters"]
    told = "\n".join(f"{key} {shape}" for key, shape in sorted(shapes.items()))
    assert hashlib.sha256(told.encode()).hexdigest() == known["sha256"]


@pytest.mark.parametrize("row", [31, 50])
def test_the_picture_is_the_one_written_out(small: tuple[dict[str, Tensor], BigGAN], row: int) -> None:
    state, network = small
    c = torch.randn(1, 12, generator=torch.Generator().manual_seed(row), dtype=torch.float64)
    drawn = network.synthesis(network.repeat(c), truncation=row / 50)
    apart = (drawn - plainly(state, network.config, c, row)).abs()  # folded weights are of float32, which sharp attention shows
    assert apart.quantile(0.999) < 2e-4 and apart.max() < 5e-3
    assert drawn.std() > 0.05


def test_the_library_draws_the_same(small: tuple[dict[str, Tensor], BigGAN], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("boto3", "botocore", "botocore.exceptions"):  # it needs them to download only
        stub = ModuleType(name)
        stub.ClientError = OSError  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, stub)
    try:
        library = importlib.import_module("pytorch_pretrained_biggan")
    except ImportError as error:
        pytest.skip(f"the library is not installed: {error}")
    state, network = small
    theirs = library.BigGAN(library.BigGANConfig(**{**SMALL, "layers": [list(block) for block in SMALL["layers"]]}))
    assert not theirs.load_state_dict(state, strict=True).missing_keys
    theirs = theirs.double().eval()
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = torch.eye(5, dtype=torch.float64)[[1, 4]]
    with torch.no_grad():
        for truncation in (1.0, 0.28, 0.427, 0.94):
            found = network(z, y, truncation=truncation, rule="library")
            apart = (found - theirs(z, y, truncation)).abs()
            assert apart.quantile(0.999) < 2e-4 and apart.max() < 5e-3


def test_stored_rows_are_interpolated_plainly_and_as_the_library_does() -> None:
    assert stored_rows(0.57, 51).nonzero().flatten().tolist() == [28, 29]
    np.testing.assert_allclose(stored_rows(0.57, 51)[28:30], [0.5, 0.5], atol=1e-9)
    np.testing.assert_allclose(stored_rows(0.427, 51)[21:23], [0.65, 0.35], atol=1e-9)
    np.testing.assert_allclose(stored_rows(0.427, 51, rule="library")[21:23], [0.35, 0.65], atol=1e-9)
    for row in range(51):
        assert stored_rows(row / 50, 51)[row] == 1
    wrong = [row for row in range(51) if stored_rows(round(0.02 * row, 2), 51, rule="library")[row] < 0.5]
    assert wrong == [7, 14, 28, 29, 47]
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="truncation"):
            stored_rows(bad, 51)


def test_the_mode_changes_nothing(small: tuple[dict[str, Tensor], BigGAN]) -> None:
    _, network = small
    c = network.repeat(torch.randn(1, 12, dtype=torch.float64))
    before = network.synthesis(c)
    network.train()
    assert torch.equal(network.synthesis(c), before) and torch.equal(network.synthesis(c), before)
    network.eval()


def test_a_condition_of_one_layer_reaches_what_follows_it(small: tuple[dict[str, Tensor], BigGAN]) -> None:
    _, network = small
    c = network.repeat(torch.randn(1, 12, dtype=torch.float64)).clone()
    layers = list(network.synthesis.feature_shape)
    _, before = network.synthesis(c, return_features=layers)
    c[:, 3] += 1  # of the third block, layers.2
    _, after = network.synthesis(c, return_features=layers)
    assert [layer for layer in layers if torch.equal(before[layer], after[layer])] == ["layers.0", "layers.1"]


def test_features_are_edited_where_spaces_say(small: tuple[dict[str, Tensor], BigGAN]) -> None:
    _, network = small
    assert list(network.feature_spaces) == [f"F{i}" for i in range(10)]
    layer, channels, size = network.feature_spaces["F2"]
    assert (layer, channels, size) == ("layers.2", 128, (8, 8))
    c = network.repeat(torch.randn(2, 12, dtype=torch.float64))
    delta = torch.randn(2, channels, *size, dtype=torch.float64)
    plain, kept = network.synthesis(c, return_features=[layer])
    edited, moved = network.synthesis(c, features={layer: FeatureEdit.add(delta)}, return_features=[layer])
    torch.testing.assert_close(moved[layer] - kept[layer], delta)
    assert not torch.equal(plain, edited)
    with pytest.raises(ValueError, match="layers.99"):
        network.synthesis(c, return_features=["layers.99"])


def test_files_are_recognised_and_refused_with_the_reason() -> None:
    state = official.biggan(BigGANConfig(**SMALL))
    found = recognise(state)
    assert found is not None and found.layout == "biggan_deep"
    assert found.facts == {"blocks": 10, "classes": 5, "resolution": 128}
    for change, message in (
        ({"generator.layers.9.conv_3.bias": torch.zeros(7)}, r"wrong shape: generator\.layers\.9\.conv_3\.bias"),
        ({"generator.extra": torch.zeros(1)}, "1 unexpected: generator.extra"),
        ({"generator.layers.17.conv_0.bias": torch.zeros(1)}, "numbers of blocks, 10"),
        ({"generator.gen_z.weight_u": torch.zeros(2048)}, "spectral norm"),
        ({"embeddings.weight": torch.zeros(5)}, "expected matrices"),
    ):
        with pytest.raises(InvbenchError, match=f"some.bin: .*{message}"):
            convert.generator(state | change, source="some.bin")
    del state["generator.layers.4.bn_1.offset.weight_v"]
    with pytest.raises(InvbenchError, match=r"1 missing: generator\.layers\.4\.bn_1\.offset\.weight_v"):
        convert.generator(state, source="some.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_dim": 64}, "blocks give 128"),
        ({"layers": ((True, 16, 4),)}, r"layers\[0\]"),
        ({"layers": ((True, 16, 8),)}, "end at width 1"),
        ({"attention_layer_position": 10}, "attention_layer_position"),
        ({"n_stats": 1}, "n_stats"),
    ],
)
def test_shapes_that_do_not_fit_together_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BigGANConfig(**{**SMALL, **change})


def test_the_prior_is_that_of_the_conditions_drawn(small: tuple[dict[str, Tensor], BigGAN]) -> None:
    _, network = small
    drawn = network.sample_w(4000, generator=torch.Generator().manual_seed(8))
    assert drawn[:, :6].abs().max() <= 2 and len(drawn[:, 6:].unique(dim=0)) == 5
    stats = ConditionStatistics.measure(drawn).double()
    assert stats.prior(drawn[:, None]).mean().item() == pytest.approx(12, rel=1e-4)
    far = torch.cat([drawn[:1], drawn[:1]])
    far[1, 0] += 5
    assert stats.prior(far[:, None])[1] > stats.prior(far[:, None])[0] + 10
    z = truncated_normal((2000,), generator=torch.Generator().manual_seed(1))
    assert z.abs().max() <= 2 and z.std().item() == pytest.approx(0.88, abs=0.03)
    with pytest.raises(ValueError, match="differ"):
        ConditionStatistics.measure(torch.zeros(3, 4))
