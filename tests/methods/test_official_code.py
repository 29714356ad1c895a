"""Networks and whole methods against stored outputs of the authors' code, with weights and inputs made by rule.

The official code ran beside these files once; what was called stands in the golden file (``header``). Where a whole method was
run, ours runs whole, too, from files of the official layout.
"""

from __future__ import annotations

import pytest
import torch

from invbench.methods.convert import invertibility, stgan_port, translation
from invbench.methods.nets.styleflow import Flow
from invbench.metrics.nets.published import fitted
from tests import golden_vectors


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
