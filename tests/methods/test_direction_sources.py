"""Sources of edit directions, each against an independent computation on readings whose directions are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from invbench.api import Edit, InvbenchError
from invbench.methods.directions import closed_form, distillation, fitting, ganspace, interfacegan
from invbench.methods.directions.fitting import Task, Wanted
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig

LAYERS, DIM = 6, 8
AXES = np.linalg.qr(np.random.default_rng(3).standard_normal((DIM, DIM)))[0]  # rows: directions of W
SPREAD = np.array([3.0, 2.0, 1.5, 1.2, 1.0, 0.8, 0.6, 0.4])


class Latents:
    """W is normal with spread SPREAD along AXES; no pictures."""

    num_ws, w_dim = LAYERS, DIM
    mean_latent = torch.full((DIM,), 0.25)

    def sample_w(self, n, *, generator):
        draws = torch.randn(n, DIM, generator=generator, dtype=torch.float64) * torch.from_numpy(SPREAD)
        return (draws @ torch.from_numpy(AXES)).float() + self.mean_latent

    def repeat(self, w):
        return w.unsqueeze(1).expand(-1, LAYERS, -1)

    def truncate(self, w, truncation):
        return torch.lerp(self.mean_latent, w, truncation)


def read(latents: torch.Tensor) -> np.ndarray:
    """Readings of axis 1 in all layers and of axis 2 in layers 0 to 3; the third leaks where axis 1 moves some layers only, and
    where axis 2 moves layers 4 and 5."""
    w = latents.double().numpy() @ AXES.T
    whole, low, high = w.mean(1), w[:, :4].mean(1), w[:, 4:].mean(1)
    leak = whole[:, 0] + 0.5 * (low[:, 1] - high[:, 1]) + 0.2 * high[:, 2]
    return np.stack([2 * whole[:, 1], -3 * low[:, 2], leak], axis=1)


def task(**changes) -> Task:
    given = {"wanted": {"one": Wanted(0, 0.5), "two": Wanted(1, 0.25)}, "scale": [1.0, 1.0, 1.0], "seed": 0, "samples": 3000}
    return Task(**{"generator": Latents(), "read": read, "probes": 40, "components": DIM} | given | changes)


@pytest.mark.parametrize("fit", [interfacegan.fit, ganspace.fit, distillation.fit])
def test_a_direction_is_found_and_strength_1_is_the_unit(fit, monkeypatch):
    monkeypatch.setattr(ganspace, "SAMPLES", 3000)
    asked = task()
    network, config, _ = fitting.fitted(fit, asked)
    assert config == {"names": ["one", "two"], "num_ws": LAYERS, "dim": DIM}
    base = asked.ws(asked.latents(50, 9))
    for name, wanted in asked.wanted.items():
        for strength in (-2.0, 1.0, 3.0):
            change = read(network.move(base, Edit(name, strength))) - read(base)
            np.testing.assert_allclose(change[:, wanted.column].mean(), strength * wanted.step, rtol=1e-3)
        assert torch.equal(network.move(base, Edit(name, 0.0)), base)
    figures = fitting.measured(asked, network)
    assert figures["one_effect_+3"] == pytest.approx(3, rel=1e-3) and figures["two_effect_-1"] == pytest.approx(-1, rel=1e-3)
    assert figures["one_leakage_worst"] < 0.35


def test_components_are_those_of_the_singular_value_decomposition():
    latents = Latents().sample_w(2000, generator=torch.Generator().manual_seed(1))
    comp, mean, std = ganspace.components(latents, 5)
    codes = latents.double().numpy()
    _, values, vectors = np.linalg.svd(codes - codes.mean(0), full_matrices=False)
    np.testing.assert_allclose(mean, codes.mean(0), atol=1e-6)
    np.testing.assert_allclose(std, values[:5] / np.sqrt(1999), rtol=1e-5)
    np.testing.assert_allclose(np.abs((comp.double().numpy() * vectors[:5]).sum(1)), 1, atol=1e-5)
    assert (comp.gather(1, comp.abs().argmax(1, keepdim=True)) > 0).all()


def test_ganspace_takes_the_component_and_the_layers_that_say_most(monkeypatch):
    monkeypatch.setattr(ganspace, "SAMPLES", 3000)
    found, figures = ganspace.fit(task())
    assert (figures["one_component"], figures["one_first"], figures["one_end"]) == (1.0, 0.0, 6.0)
    assert (figures["two_component"], figures["two_first"], figures["two_end"]) == (2.0, 0.0, 4.0)
    assert not found["two"][4:].any() and found["two"][:4].any(1).all()


def test_coefficients_are_those_of_balanced_logistic_regression():
    draws = np.random.default_rng(0)
    latents = draws.standard_normal((300, 3))
    labels = latents @ np.array([1.0, -2.0, 0.5]) + draws.standard_normal(300) > 1.0
    weights = np.where(labels, 300 / (2 * labels.sum()), 300 / (2 * (~labels).sum()))

    def loss(theta):  # C = 1: half the squared length of the coefficients, the intercept is free
        margin = np.where(labels, 1, -1) * (latents @ theta[:3] + theta[3])
        return (weights * np.logaddexp(0, -margin)).sum() + theta[:3] @ theta[:3] / 2

    found, accuracy = distillation.coefficients(latents, labels)
    np.testing.assert_allclose(found, minimize(loss, np.zeros(4), tol=1e-10).x[:3], rtol=2e-3)
    assert accuracy > 0.8


def test_distillation_moves_layers_0_to_7_only():
    class Deep(Latents):
        num_ws = 18

        def repeat(self, w):
            return w.unsqueeze(1).expand(-1, 18, -1)

    found, _ = distillation.fit(task(generator=Deep(), samples=400))
    assert found["one"].shape == (18, DIM) and found["one"][:8].any(1).all() and not found["one"][8:].any()


def test_a_conditional_direction_is_orthogonal_to_the_others():
    draws = torch.Generator().manual_seed(0)
    direction, others = torch.randn(8, generator=draws), torch.randn(2, 8, generator=draws)
    found = interfacegan.conditioned(direction, others)
    assert float(found.norm()) == pytest.approx(1) and torch.allclose(others @ found, torch.zeros(2), atol=1e-5)
    one = others[0] / others[0].norm()
    plain = direction - (direction @ one) * one
    torch.testing.assert_close(interfacegan.conditioned(direction, others[:1]), plain / plain.norm())


def test_conditional_directions_of_interfacegan_are_orthogonal():
    plain, _ = interfacegan.fit(task(samples=1500))
    found, _ = interfacegan.fit(task(samples=1500, conditional=True))
    for name, other in (("one", "two"), ("two", "one")):
        assert abs(float(found[name][0] @ plain[other][0])) < 1e-5
        torch.testing.assert_close(found[name][0], interfacegan.conditioned(plain[name][0], plain[other][:1]))
    assert torch.equal(found["one"], found["one"][:1].expand(LAYERS, -1))


def test_closed_form_candidates_are_eigenvectors_of_their_layers(monkeypatch):
    monkeypatch.setattr(closed_form, "SPREAD", 500)
    config = GeneratorConfig(16, {4: 6, 8: 5, 16: 4}, z_dim=7, w_dim=DIM, n_mapping=2)
    generator = Generator(config).eval().requires_grad_(False)
    tried = []

    def spy(asked, candidates):
        tried.extend(candidates)
        return {"one": candidates[1]}, {"one_candidate": 1.0, "one_selectivity": 2.0}

    monkeypatch.setattr(closed_form, "chosen", spy)
    _, figures = closed_form.fit(task(generator=generator, components=2))
    assert figures == {"one_selectivity": 2.0, "one_component": 0.0, "one_first": 0.0, "one_end": 4.0}
    names = ("b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0")
    weights = [generator.synthesis.get_submodule(name).affine.weight for name in names]
    joined = np.concatenate([weight.detach().double().numpy() for weight in weights]).T
    joined /= np.linalg.norm(joined, axis=0, keepdims=True)
    values, vectors = np.linalg.eigh(joined @ joined.T)
    first = tried[1][0].double().numpy()
    assert abs(first @ vectors[:, -1]) == pytest.approx(np.linalg.norm(first), rel=1e-5) and values[-1] == values.max()
    assert not tried[1][4:].any() and len(tried) == 2 * 3  # layers 0-5, 0-3, 4-5


def test_a_direction_that_changes_nothing_is_told():
    def blind(asked):
        return {"one": torch.zeros(LAYERS, DIM)}, {}

    with pytest.raises(InvbenchError, match="direction one: expected a change of what it is named after, found 0.0"):
        fitting.fitted(blind, task())


@pytest.mark.parametrize(("num_ws", "ranges"), [(10, [(0, 10), (0, 4), (4, 8), (8, 10)]), (6, [(0, 6), (0, 4), (4, 6)])])
def test_ranges_of_layers(num_ws, ranges):
    assert fitting.layer_ranges(num_ws) == ranges
