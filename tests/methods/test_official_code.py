"""Networks and whole methods against stored outputs of the authors' code, with weights and inputs made by rule.

The official code ran beside these files once; what was called stands in the golden file (``header``). Where a whole method was
run, ours runs whole, too, from files of the official layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from invbench.api import Edit
from invbench.methods import feature_style, hyperstyle, restyle_e4e, restyle_psp, sfe, w_encoder
from invbench.methods.convert import (
    diffcam,
    encoders,
    features,
    hypernetworks,
    idinvert,
    invertibility,
    stgan_port,
    translation,
)
from invbench.methods.convert.stylegan2 import convert_generator
from invbench.methods.nets.hyperstyle import layer_names
from invbench.methods.nets.styleflow import Flow
from invbench.metrics.nets.published import fitted
from invbench.options import make
from invbench.util.clock import StageClock
from tests import golden_vectors

EDIT = Edit("age", 1.0)


@pytest.mark.parametrize("precision", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("inject", [0, 1])
@torch.no_grad()
def test_attgan_reproduces_the_golden_vectors(precision, inject):
    golden = golden_vectors.load("attgan")
    state = golden_vectors.state(golden, f"generator_inject{inject}")
    images, given = (golden_vectors.tensor(golden, name).to(precision) for name in ("x", "a"))
    network = translation.attgan({"G": state}, source="golden").to(precision)
    golden_vectors.check(golden, f"image_inject{inject}", network(images, given))


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_the_second_stgan_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("stgan_port")
    images, given = (golden_vectors.tensor(golden, name).to(precision) for name in ("x", "a"))
    network = stgan_port.generator(golden_vectors.state(golden, "generator"), source="golden").to(precision)
    golden_vectors.check(golden, "image", network(images, given))
    reader = stgan_port.labels(golden_vectors.state(golden, "discriminator"), source="golden").to(precision)
    real, logits = reader.discriminator(images)
    golden_vectors.check(golden, "logit_adv", real)
    golden_vectors.check(golden, "logit_att", logits)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_sams_invertibility_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("sam_invertibility")
    file = {"sd_base": golden_vectors.state(golden, "sd_base"), "W+": golden_vectors.state(golden, "head")}
    network = invertibility.convert_invertibility(file, source="golden").to(precision)
    images = golden_vectors.tensor(golden, "x").to(precision)
    golden_vectors.check(golden, "shared", network.base(images))
    golden_vectors.check(golden, "error", network(images)["W+"])


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_styleflow_reproduces_the_golden_vectors(precision):
    """Where the equation is solved the official outputs are exact: the published tolerance is 1e-5, its probe is random."""
    golden = golden_vectors.load("styleflow")
    state = golden_vectors.state(golden, "flow")
    latents, before, after = (golden_vectors.tensor(golden, name).to(precision)[0] for name in ("w", "c", "d"))
    flow = fitted(lambda: Flow(512, [512] * 5, 17), state, source="golden").to(precision)
    before, after = (conditions.expand(18, -1) for conditions in (before, after))
    equation = flow.chain[1].odefunc.diffeq
    golden_vectors.check(golden, "rate", equation(torch.full((18,), 0.3, dtype=precision), latents, before)[None])
    golden_vectors.check(golden, "normed", flow.chain[0](latents)[None])
    noise = flow(latents, before)
    golden_vectors.check(golden, "z", noise[None], relative=1e-7)
    golden_vectors.check(golden, "edited", flow(noise, after, reverse=True)[None], relative=1e-7)


def generator() -> dict[str, Any]:
    """A file of the generator that the golden files name, with their mean latent."""
    mean = 0.1 * golden_vectors.tensor(golden_vectors.load("restyle_psp"), "latent_avg")
    return {"g_ema": golden_vectors.state(golden_vectors.load("stylegan2_rosinality"), "generator"), "latent_avg": mean}


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{key}": value for key, value in state.items()}


def of_14(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an encoder for 256 pixels: the first 14 of its 18 heads."""
    return {key: value for key, value in state.items() if not (at := re.search(r"styles\.(\d+)\.", key)) or int(at[1]) < 14}


class Moves:
    """Directions whose edits add `move` times their strength."""

    def __init__(self, move: Tensor) -> None:
        self.added = move

    def move(self, latents: Tensor, edit: Edit) -> Tensor:
        return latents + edit.strength * self.added


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_feature_style_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("feature_style")
    file = generator()
    networks = {
        "generator": convert_generator(file, source="golden").network().to(precision),
        "encoder_feature_style": features.feature_style(
            of_14(golden_vectors.state(golden, "enc")), source="golden", mean=file, mean_source="golden"
        )[0].to(precision),
        "directions": Moves(golden_vectors.tensor(golden, "move").to(precision)),
    }
    method, clock = feature_style.FeatureStyle(networks, make(feature_style.SPEC, {})), StageClock("cpu")
    found = method.invert(golden_vectors.tensor(golden, "x").to(precision), clock)
    golden_vectors.check(golden, "latents", found.latents)
    golden_vectors.check(golden, "feature", found.state["feature"])
    golden_vectors.check(golden, "image", found.images)
    golden_vectors.check(golden, "image_edited", method.edit(found, EDIT, clock))


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_sfe_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("sfe")
    file = generator()
    parts = {"encoder": "feature_editor", "inverter": "inverter"}
    state = {part: of_14(golden_vectors.state(golden, name)) for part, name in parts.items()}
    e4e = prefixed("encoder", of_14(golden_vectors.state(golden_vectors.load("e4e"), "encoder")))
    whole = {"state_dict": prefixed("encoder", state["encoder"]) | prefixed("inverter", state["inverter"])}
    networks = {
        "generator": convert_generator(file, source="golden").network().to(precision),
        "sfe": features.sfe(whole, source="golden", generator=file, generator_source="golden")[0].to(precision),
        "encoder_e4e": encoders.e4e({"state_dict": e4e, "latent_avg": file["latent_avg"]}, source="golden")[0].to(precision),
        "directions": Moves(golden_vectors.tensor(golden, "move").to(precision)),
    }
    images, clock = golden_vectors.tensor(golden, "x").to(precision), StageClock("cpu")
    method = sfe.StyleFeatureEditor(networks, make(sfe.SPEC, {}))
    found = method.invert(images, clock)
    golden_vectors.check(golden, "latents", found.latents)
    golden_vectors.check(golden, "latents_e4e", found.state["latents_e4e"])
    golden_vectors.check(golden, "predicted_feature", networks["sfe"].inverter(images)[1])
    golden_vectors.check(golden, "fused_feature", found.state["fused"])
    golden_vectors.check(golden, "image", found.images)
    golden_vectors.check(golden, "image_edited", method.edit(found, EDIT, clock))
    first = sfe.StyleFeatureEditor(networks, make(sfe.SPEC, {"phase": "inverter"}))
    golden_vectors.check(golden, "image_inverter", first.invert(images, clock).images)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_idinvert_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("idinvert")
    encoder = idinvert.encoder(golden_vectors.state(golden, "encoder"), source="golden").to(precision)
    drawer = idinvert.generator(golden_vectors.state(golden, "generator"), source="golden")[0].to(precision)
    images, z, ws = (golden_vectors.tensor(golden, name).to(precision) for name in ("x", "z", "wplus"))
    codes = encoder(images)
    golden_vectors.check(golden, "codes", codes)
    golden_vectors.check(golden, "image_of_codes", drawer.synthesis(codes))
    golden_vectors.check(golden, "image", drawer.synthesis(ws))
    golden_vectors.check(golden, "mapped", drawer.mapping(z))
    golden_vectors.check(golden, "image_of_z", drawer(z, truncation=torch.tensor(0.7).item()))


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("backbone", ["irse50", "resnet34"])
@pytest.mark.parametrize("over", ["psp", "e4e"])
@torch.no_grad()
def test_restyle_reproduces_the_golden_vectors(precision, backbone, over):
    golden = golden_vectors.load(f"restyle_{over}")
    state = prefixed("encoder", of_14(golden_vectors.state(golden, backbone)))
    file = generator()
    whole = {"state_dict": state | prefixed("decoder", file["g_ema"]), "latent_avg": file["latent_avg"].repeat(14, 1)}
    convert, method = {
        "psp": (encoders.restyle_psp, restyle_psp.ReStylePSP), "e4e": (encoders.restyle_e4e, restyle_e4e.ReStyleE4E)
    }[over]  # fmt: skip
    drawer = encoders.restyle_decoder(whole, source="golden")[0].to(precision)
    encoder = convert(whole, source="golden")[0].to(precision)
    networks = {"generator": drawer, method.role: encoder, "directions": None}
    golden_vectors.check(golden, "average_image", drawer.synthesis(encoder.start(1)))
    found = method(networks, make(restyle_psp.SPEC, {})).invert(
        golden_vectors.tensor(golden, "x").to(precision), StageClock("cpu")
    )
    golden_vectors.check(golden, f"{backbone}_codes_1", found.state["latents_of_steps"][:, 0])
    golden_vectors.check(golden, f"{backbone}_image_1", found.state["images_of_steps"][:, 0])
    golden_vectors.check(golden, f"{backbone}_codes_5", found.latents)
    golden_vectors.check(golden, f"{backbone}_image_5", found.images)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_hyperstyle_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("hyperstyle")
    images, drawn = (golden_vectors.tensor(golden, name).to(precision) for name in ("x", "y"))
    names = layer_names(1024)
    state: dict[str, Tensor] = {}
    for part, prefix in (("hypernet_separable", "delta_separable"), ("hypernet", "delta")):
        state = golden_vectors.state(golden, part)
        network = hypernetworks.hyperstyle({"state_dict": prefixed("hypernet", state)}, source="golden")[0].to(precision)
        found = network(images, drawn)
        for output in [name for name in golden["outputs"] if name.rpartition("_")[0] == prefix]:
            golden_vectors.check(golden, output, found[f"{names[int(output.rpartition('_')[2])]}.weight"])
    tuned = golden["header"]["layers_of_iteration"]
    beyond = re.compile(r"refinement_blocks\.2\d")
    kept = {key: value for key, value in state.items() if not beyond.match(key)}
    file = generator()
    whole = {
        "state_dict": prefixed("hypernet", kept) | prefixed("decoder", file["g_ema"]),
        "latent_avg": file["latent_avg"].repeat(14, 1),
        "opts": {"layers_to_tune": tuned, "output_size": 256},
    }
    into_w = {
        "state_dict": prefixed("encoder", golden_vectors.state(golden_vectors.load("psp"), "w_encoder")),
        "latent_avg": file["latent_avg"],
    }
    drawer = hypernetworks.hyperstyle_decoder(whole, source="golden")[0].to(precision)
    networks = {
        "generator": drawer,
        "hypernet_hyperstyle": hypernetworks.hyperstyle(whole, source="golden")[0].to(precision),
        "encoder_w": encoders.w_encoder(into_w, source="golden")[0].to(precision),
        "directions": None,
    }
    embedder = w_encoder.WEncoding(networks, make(w_encoder.SPEC, {}))
    inversion = hyperstyle.HyperStyle(networks, make(hyperstyle.SPEC, {}), embedder).invert(images, StageClock("cpu"))
    golden_vectors.check(golden, "codes", inversion.latents)
    golden_vectors.check(golden, "image_initial", drawer.synthesis(inversion.latents))
    golden_vectors.check(golden, "image_1", inversion.state["images_of_steps"][:, 0])
    golden_vectors.check(golden, "image_5", inversion.images)
    for number in (5, 18):
        name = f"{names[number]}.weight"
        total = inversion.state[name] / drawer.synthesis.get_parameter(name) - 1
        if precision == torch.float64:  # in float32 the division loses more than the official code
            golden_vectors.check(golden, f"total_delta_{number}", total)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["deghosting_128_256", "deghosting_1024"])
@torch.no_grad()
def test_deghosting_reproduces_the_golden_vectors(precision, layout):
    golden = golden_vectors.load("ood_deghosting")
    network = diffcam.deghosting(golden_vectors.state(golden, layout), source="golden")[0].to(precision)
    size = network.out_size
    golden_vectors.check(golden, f"image_{size}", network(golden_vectors.tensor(golden, "x").to(precision), None))
