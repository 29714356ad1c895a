"""The second public STGAN: its files are read whole, its network against the same steps over the stored tensors."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from invbench.api import Edit, InvbenchError
from invbench.methods import stgan
from invbench.methods.convert import stgan_port as convert
from invbench.options import make
from invbench.plugins.registry import discover
from invbench.util.clock import StageClock
from invbench.weights.keys import plain
from tests import golden_vectors
from tests.weights import official


def small(variant):
    """A file's tensors of the port's names, with a sixteenth of the channels; its ten labels stay."""
    shapes = golden_vectors.load("stgan_layout")[variant]
    thin = {key: [n if n < 16 else n // 16 + n % 16 for n in shape] for key, shape in shapes.items()}
    thin = {key: [1024 if n == 1024 and "fc" in key else n for n in shape] for key, shape in thin.items()}
    return official.drawn(thin, seed=4)


@pytest.mark.parametrize("before", ["", "module."])
def test_its_files_are_recognised_and_loaded_whole(before):
    state = official.bare("stgan_layout", "port_generator")
    content = {"state_dict": {f"{before}{key}": value for key, value in state.items()}, "optimizer": {}}
    form, told, _ = plain(content)
    assert told.layout == "stgan_port"
    network = convert.generator(form, source="G_100.pth.tar")
    assert network.labels.names == tuple(convert.TEN) and network.labels.difference
    file, found = (
        sum(value.numel() for key, value in one.items() if not key.endswith(("tracked", "running_mean", "running_var")))
        for one in (state, network.state_dict())
    )
    assert file == found == 74_379_600  # parameters of the port's class
    read = official.bare("stgan_layout", "port_discriminator")
    form, told, _ = plain({"state_dict": {f"{before}{key}": value for key, value in read.items()}, "optimizer": {}})
    assert told.layout == "stgan_port_discriminator"
    reader = convert.labels(form, source="D_100.pth.tar")
    assert (reader.size, reader.names) == (128, tuple(convert.TEN))


def test_files_that_do_not_fit_are_told():
    state = small("port_generator")
    with pytest.raises(InvbenchError, match="G: .* 1 unexpected: more"):
        convert.generator(state | {"more": torch.zeros(1)}, source="G")
    with pytest.raises(InvbenchError, match="G: .* 1 missing: stu.1.candidate.0.weight"):
        convert.generator({key: value for key, value in state.items() if key != "stu.1.hidden.0.weight"}, source="G")
    with pytest.raises(InvbenchError, match="decoder.0.0.weight: expected 10 attributes .* found 9"):
        convert.generator(state | {"decoder.0.0.weight": torch.zeros(73, 64, 4, 4)}, source="G")
    odd = small("port_discriminator") | {"conv.2.0.bias": torch.zeros(3)}
    with pytest.raises(InvbenchError, match="D: .* 1 unexpected: conv.2.layers.0.bias"):
        convert.labels(odd, source="D")
    with pytest.raises(InvbenchError, match="D: fc_att.0.weight: expected a tensor of 2 axes, found none"):
        convert.labels({}, source="D")
    with pytest.raises(InvbenchError, match="G: decoder.0.0.weight: expected a tensor of 4 axes, found none"):
        convert.generator({}, source="G")


@torch.no_grad()
def test_the_network_does_the_steps_of_the_file():
    state = small("port_generator")
    network = convert.generator(state, source="G").double()
    tensors = {key: value.double() for key, value in state.items()}
    image, given = torch.rand(2, 3, 64, 64, dtype=torch.float64), torch.randn(2, 10, dtype=torch.float64)

    def normed(x, name):
        mean, var, weight, bias = (tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        per = [one[None, :, None, None] for one in (mean, var, weight, bias)]
        return (x - per[0]) / (per[1] + 1e-5).sqrt() * per[2] + per[3]

    def beside(x):
        return torch.cat([x, given[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)

    def raised(x, name):
        return F.conv_transpose2d(x, tensors[f"{name}.weight"], None, 2, 1)

    def gate(x, name):
        return normed(F.conv2d(x, tensors[f"{name}.0.weight"], None, 1, 1), f"{name}.1")

    features = [image]
    for i in range(5):
        x = F.conv2d(features[-1], tensors[f"encoder.{i}.0.weight"], None, 2, 1)
        features.append(F.leaky_relu(normed(x, f"encoder.{i}.1"), 0.2))
    state_of = features[5]
    x = F.relu(normed(raised(beside(features[5]), "decoder.0.0"), "decoder.0.1"))
    for i in range(3):
        up = raised(beside(state_of), f"stu.{i}.upsample")
        both = torch.cat([features[4 - i], up], 1)
        r, z = (torch.sigmoid(gate(both, f"stu.{i}.{name}")) for name in ("reset_gate", "update_gate"))
        state_of = r * up
        new = torch.tanh(gate(torch.cat([features[4 - i], state_of], 1), f"stu.{i}.hidden"))
        x = torch.cat([x, (1 - z) * up + z * new], 1)
        x = F.relu(normed(raised(x, f"decoder.{i + 1}.0"), f"decoder.{i + 1}.1"))
    x = F.relu(normed(raised(x, "decoder.4.0"), "decoder.4.1"))
    x = torch.tanh(F.conv_transpose2d(x, tensors["decoder.4.3.weight"], None, 1, 1))
    torch.testing.assert_close(network(image, given), x, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_the_method_runs_over_it():
    network = convert.generator(small("port_generator"), source="G")
    state = small("port_discriminator")
    idle = [key for key in state if "running" in key or key.endswith("0.bias") and key.startswith("conv")]
    other = state | {key: state[key] + 3 for key in idle}
    reader, moved = convert.labels(state, source="D"), convert.labels(other, source="D")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(reader(images), moved(images))  # neither running statistics nor the biases before a norm count
    row = stgan.STGAN({"stgan": network, "labels_stgan": reader}, make(discover().methods["stgan"], {"size": 64}))
    with (clock := StageClock()):
        inversion = row.invert(images, clock)
        edited = row.edit(inversion, Edit("age", 1.0), clock)
    seen, own = inversion.state["seen"], inversion.state["own"]
    assert torch.equal(inversion.images, network(seen, torch.zeros(2, 10)))
    given = torch.zeros(2, 10)
    given[:, 9] = -own[:, 9]  # old is not Young: nothing for those who are not
    assert torch.equal(edited, network(seen, given))
