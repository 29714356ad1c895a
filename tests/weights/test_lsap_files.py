"""Files of LSAP in the layout of GANInverter: recognised, loaded whole, and run as e4e's encoder."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from invbench.api import InvbenchError
from invbench.methods.convert.encoders import convert_e4e, lsap, lsap_decoder
from invbench.methods.nets.encoders import E4EEncoder
from invbench.weights.layouts import recognise
from tests.weights import official


@torch.no_grad()
def test_a_file_is_recognised_loaded_and_run():
    content = official.lsap(14, fill=partial(official.drawn, seed=7))
    found = recognise(content)
    assert found is not None and found.layout == "ganinverter"
    assert found.facts == {"num_ws": 14, "resolution": 256, "domain": "faces"}
    content["encoder"]["latent_avg"] = torch.linspace(-1, 1, 14 * 512).reshape(14, 512)
    encoder, _ = lsap(content, source="mine.pt")
    assert type(encoder) is E4EEncoder and torch.equal(encoder.latent_avg, content["encoder"]["latent_avg"])
    same = convert_e4e(
        {
            "state_dict": {key: value for key, value in content["encoder"].items() if key != "latent_avg"},
            "latent_avg": content["encoder"]["latent_avg"],
            "opts": {},
        },
        source="x",
    ).encoder
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert torch.equal(encoder(images), same(images))
    assert lsap_decoder(content, source="mine.pt")[0].resolution == 256


def test_what_is_missing_or_left_over_is_told():
    content = official.lsap(14)
    content["encoder"] = {f"module.{key}" if key != "latent_avg" else key: value for key, value in content["encoder"].items()}
    lsap(content, source="x")
    with pytest.raises(InvbenchError, match="x: expected encoder, decoder.*found more"):
        lsap(content | {"more": 1}, source="x")
    content["encoder"]["head.weight"] = torch.zeros(1)
    with pytest.raises(InvbenchError, match="x: expected encoder, decoder.*found head.weight"):
        lsap(content, source="x")
    del content["encoder"]["head.weight"], content["encoder"]["module.encoder.styles.3.linear.bias"]
    with pytest.raises(InvbenchError, match=r"1 missing: styles.3.linear.bias \[512\]"):
        lsap(content, source="x")
