"""Small random networks for roles that the embedded suite has no network for: the contract does not need good pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from invbench.methods.directions.linear import Directions
from invbench.methods.nets.biggan import BigGAN
from invbench.methods.nets.biggan_stats import ConditionStatistics
from invbench.methods.nets.deghosting import Deghosting
from invbench.methods.nets.diffcam import DiffCAM
from invbench.methods.nets.encoders import E4EEncoder
from invbench.methods.nets.feature_style import FeatureStyleEncoder
from invbench.methods.nets.hfgi import HFGINetwork
from invbench.methods.nets.hyperinverter import HyperInverterNetwork
from invbench.methods.nets.hyperstyle import HyperStyleNetwork
from invbench.methods.nets.idinvert import DomainEncoder
from invbench.methods.nets.padding import PaddingEncoder
from invbench.methods.nets.sam_encoders import ChangeEncoder, SAMEncoders
from invbench.methods.nets.sfe import SFENetwork
from invbench.methods.nets.styleres import StyleResNetwork
from invbench.methods.nets.w_encoder import WEncoder
from invbench.methods.train import (
    biggan,
    deghosting,
    diffcam,
    encoding,
    feature_style,
    hfgi,
    hyperinverter,
    hyperstyle,
    idinvert,
    padding,
    sam_encoder,
    sfe,
    styleres,
    translation,
)


def stand_ins(generator: Any, known: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Networks for ``generator`` under the roles that are not in ``known``: random, frozen, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {role: make(generator).eval().requires_grad_(False) for role, make in ROLES.items() if role not in known}


def conditional(edits: list[str], *, resolution: int = 64) -> dict[str, nn.Module]:
    """A small random BigGAN-deep whose pictures are neither grey nor black and white, its statistics and edit directions."""
    ups = {16: (False, True, False, True), 64: (True, True, True, True)}[resolution]
    layers = [(up, 16 >> number, 8 >> number) for number, up in enumerate(ups)]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        generator = BigGAN(
            output_dim=resolution, layers=layers, z_dim=6, class_embed_dim=4, channel_width=4, num_classes=5,
            attention_layer_position=2, n_stats=3,
        )  # fmt: skip
        for name, value in generator.named_parameters():
            if value.ndim > 1 and name != "embeddings.weight":
                nn.init.orthogonal_(value, gain=2.0 if "conv_to_rgb" in name else 1.0)
        random = torch.Generator().manual_seed(1)
        z, classes = torch.randn(64, 6, generator=random), torch.eye(5)[torch.arange(64) % 5]
        biggan.measure(generator, 2, lambda part: (z, classes), parts=1)
        directions = Directions(edits, generator.num_ws, generator.w_dim)
        directions.vectors.normal_(std=0.3)
    stats = ConditionStatistics.measure(generator.sample_w(500, generator=random))
    found: dict[str, nn.Module] = {"generator": generator, "latent_stats": stats, "directions": directions}
    return {role: network.eval().requires_grad_(False) for role, network in found.items()}


def _encoder(generator: Any) -> nn.Module:
    return _around(E4EEncoder(**encoding.architecture(generator)), generator)


def _around(encoder: Any, generator: Any) -> nn.Module:
    encoder.latent_avg.copy_(generator.mean_latent)
    return encoder


def _hfgi(generator: Any) -> nn.Module:
    network = HFGINetwork(**hfgi.architecture(generator, hfgi.SHORTENED["resolution"]))
    for head in (network.residue.condition_scale3, network.residue.condition_shift3):
        head[-1].weight.data.mul_(0.1)  # so that the pictures stay in their range
    return network


def _feature_style(generator: Any) -> nn.Module:
    return _around(FeatureStyleEncoder(**feature_style.architecture(generator)), generator)


def _padding(generator: Any) -> nn.Module:
    return _around(PaddingEncoder(**padding.architecture(generator)), generator)


def _sam_encoder(generator: Any) -> nn.Module:
    network = SAMEncoders(**sam_encoder.architecture(generator))
    for encoder in network.spaces.values():
        assert isinstance(encoder, ChangeEncoder)
        encoder.change.weight.data.normal_(std=0.01)  # they begin at zero
    return network


def _styleres(generator: Any) -> nn.Module:
    channels = generator.channels[styleres.SHORTENED["resolution"]]
    network = StyleResNetwork(**encoding.architecture(generator), channels=channels)
    _around(network.e4e, generator)
    return network


def _sfe(generator: Any) -> nn.Module:
    network = SFENetwork(**sfe.architecture(generator, sfe.SHORTENED["resolution"]))
    _around(network.inverter.fs_backbone, generator)
    return network


def _w_encoder(generator: Any) -> nn.Module:
    known = encoding.architecture(generator)
    return _around(WEncoder(generator.w_dim, size=known["size"], stages=known["stages"]), generator)


def _hyperstyle(generator: Any) -> nn.Module:
    network = HyperStyleNetwork(**hyperstyle.architecture(generator))
    for value in network.last_parameters():
        value.data.mul_(0.1)  # as in its training: five passes add up
    return network


def _hyperinverter(generator: Any) -> nn.Module:
    return HyperInverterNetwork(**hyperinverter.architecture(generator), hidden=16)


def _idinvert(generator: Any) -> nn.Module:
    network = DomainEncoder(**idinvert.architecture(generator))
    idinvert.start_in(network, generator, torch.Generator().manual_seed(0))
    return network


def _diffcam(generator: Any) -> nn.Module:
    return DiffCAM(**diffcam.architecture(generator, ["age", "yaw", "smile", "eye_openness"]))


def _deghosting(generator: Any) -> nn.Module:
    network = Deghosting(**deghosting.architecture(generator))
    for value in network.FCN.parameters():
        value.data.mul_(2.0)  # so that what it sees reaches its output
    return network


def _translator(kind: str) -> Callable[[Any], nn.Module]:
    return lambda generator: translation.GENERATORS[kind](**translation.architecture(kind))


ROLES: dict[str, Callable[[Any], nn.Module]] = {
    "encoder_hfgi": _encoder,
    "hfgi": _hfgi,
    "encoder_feature_style": _feature_style,
    "encoder_padding": _padding,
    "encoder_sam": _sam_encoder,
    "styleres": _styleres,
    "sfe": _sfe,
    "encoder_w": _w_encoder,
    "hypernet_hyperstyle": _hyperstyle,
    "hypernet_hyperinverter": _hyperinverter,
    "encoder_idinvert": _idinvert,
    "diffcam": _diffcam,
    "deghosting": _deghosting,
    **{role: _translator(role.removesuffix("_cam")) for role in ("stargan", "stargan_cam", "attgan", "attgan_cam", "stgan")},
}


