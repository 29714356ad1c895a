"""Weights in eight bits: near, the same when packed again, refused where scales do not fit, and as the zoo writes them."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from torch import nn

from invbench.methods.train.common import save_network
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.precision import round_as_exported
from invbench.packed import SCALE, pack, unpack
from invbench.plugins.config import NetworkConfig
from invbench.weights.networks import read_weights
from invbench.weights.trained import trained

CONFIG = {"num_ws": 10, "w_dim": 16, "size": 64, "stages": [[8, 1], [16, 1], [24, 1], [32, 1]], "heads": 24, "groups": [3, 7]}


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("size", [1.0, 1e-20, 1e20])
def test_a_packed_weight_is_near_and_stays_as_it_is_when_packed_again(size):
    weight = size * drawn(6, 5, 3, 3) * torch.tensor([1.0, 0.0, 1e-3, 7.0, 1.0, 0.1]).reshape(-1, 1, 1, 1)
    whole, scale = pack(weight)
    assert whole.dtype == torch.int8 and scale.shape == (6, 1, 1, 1)
    found = unpack({"w": whole, f"w{SCALE}": scale, "b": weight[0]})
    assert found.keys() == {"w", "b"} and found["b"] is weight[0] or torch.equal(found["b"], weight[0])
    greatest = weight.abs().amax((1, 2, 3), keepdim=True)
    assert ((found["w"] - weight).abs() <= greatest / 253).all()
    again = pack(found["w"])
    assert torch.equal(again[0], whole) and torch.equal((again[0] * again[1]), found["w"])


@pytest.mark.parametrize(
    "tensors",
    [
        {f"w{SCALE}": torch.ones(2, 1)},
        {"w": torch.zeros(2, 3), f"w{SCALE}": torch.ones(2, 1)},
        {"w": torch.zeros(2, 3, dtype=torch.int8), f"w{SCALE}": torch.ones(3, 1)},
        {"w": torch.zeros(2, 3, dtype=torch.int8), f"w{SCALE}": torch.ones(2)},
    ],
)
def test_scales_without_their_tensor_are_refused(tensors):
    with pytest.raises(ValueError, match="expected the scales of a tensor 'w' of int8"):
        unpack(tensors)


def test_a_packed_network_of_the_zoo_is_read_alike_everywhere_and_holds_what_was_validated(tmp_path):
    from invbench.methods.nets.encoders import E4EEncoder

    with torch.random.fork_rng():
        torch.manual_seed(2)
        network: nn.Module = E4EEncoder(**CONFIG)
    round_as_exported(network, ["latent_avg"], eight_bits=True)
    network.eval()
    path = tmp_path / "x.safetensors"
    save_network(path, network, CONFIG, {"images": 1, "minutes": 2}, float32=["latent_avg"], eight_bits=True)
    with safe_open(path, "pt") as file:
        kinds = {key: file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118 - not a mapping
    packed = {key.removesuffix(SCALE) for key in kinds if key.endswith(SCALE)}
    assert packed and all(kinds[key] == torch.int8 for key in packed) and "latent_avg" not in packed
    frozen, (config, state) = load_frozen("x", zoo=tmp_path), read_weights(path)
    assert config == CONFIG and NetworkConfig.model_validate({"class": "a.b:C", "weights": path})
    for key, value in network.state_dict().items():
        assert torch.equal(frozen.state_dict()[key], value), key
        assert torch.equal(state[key].to(value.dtype), value), key
    assert trained(path) == (sum(value.numel() for value in network.state_dict().values()), 1, 2.0)
