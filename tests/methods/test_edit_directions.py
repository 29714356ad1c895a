"""Published edit directions: linear ones, GANSpace's positions, SeFa's eigenvectors; each against its plain formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from invbench.api import Edit, InvbenchError
from invbench.methods.convert.directions import edit_directions, sefa
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig

DRAW = torch.Generator().manual_seed(0)
COMP = torch.linalg.qr(torch.randn(8, 8, generator=DRAW))[0][:, None]
PCA = {"comp": COMP, "mean": torch.randn(1, 8, generator=DRAW), "std": torch.rand(8, generator=DRAW) + 0.5}
FILES = {
    "age": {"tensor": torch.randn(1, 8, generator=DRAW)},
    "pose": {"tensor": torch.randn(1, 6, 8, generator=DRAW)},
    "pca": PCA,
}
SOURCES = {name: f"{name}.pt" for name in FILES}
LATENTS = torch.randn(3, 6, 8, generator=DRAW)


def build(**edits: dict) -> torch.nn.Module:
    return edit_directions(FILES, sources=SOURCES, num_ws=6, edits=edits)


def test_linear_directions_are_added():
    network = build(age={"file": "age"}, yaw={"file": "pose", "scale": -0.5}, low={"file": "age", "layers": [0, 2]})
    age, pose = FILES["age"]["tensor"], FILES["pose"]["tensor"]
    torch.testing.assert_close(network.move(LATENTS, Edit("age", 3)), LATENTS + 3 * age)
    torch.testing.assert_close(network.move(LATENTS, Edit("yaw", 2)), LATENTS - pose)
    moved = network.move(LATENTS, Edit("low", 1)) - LATENTS
    torch.testing.assert_close(moved[:, :2], age.expand(3, 2, 8))
    assert torch.equal(moved[:, 2:], torch.zeros(3, 4, 8))
    assert torch.equal(network.move(LATENTS, Edit("age", 0)), LATENTS)
    assert network.names == ("age", "yaw", "low") and network["age"].shape == (6, 8)


def ganspace(latents: Tensor, number: int, first: int, end: int, sigma: float) -> np.ndarray:
    """The edit as omertov/encoder4editing states it: to the position ``sigma``, read from layer 0, layers first <= i < end."""
    w, comp = latents.double().numpy().copy(), PCA["comp"].double().numpy()
    mean, std = PCA["mean"].double().numpy(), PCA["std"].double().numpy()
    for latent in w:
        kappa = float((latent[0] - mean[0]) @ comp[number, 0]) / std[number]
        latent[first:end] += (sigma - kappa) * comp[number] * std[number]
    return w


@pytest.mark.parametrize(("number", "first", "end", "sigma"), [(2, 1, 4, 20.0), (5, 0, 3, -7.5), (0, 0, 6, 2.0)])
def test_components_go_to_a_position(number, first, end, sigma):
    network = build(edit={"file": "pca", "component": number, "layers": [first, end], "scale": sigma})
    for strength in (1.0, -0.5, 0.0):
        expected = ganspace(LATENTS, number, first, end, strength * sigma)
        found = network.move(LATENTS, Edit("edit", strength)).double().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    shift = build(edit={"file": "pca", "component": number, "layers": [first, end], "scale": sigma, "to_position": False})
    assert torch.equal(shift.move(LATENTS, Edit("edit", 0)), LATENTS)
    step = shift.move(LATENTS, Edit("edit", 1)) - LATENTS
    torch.testing.assert_close(step[:, first], (PCA["comp"][number] * PCA["std"][number] * sigma).expand(3, 8))


def test_closed_form_directions_are_the_eigenvectors():
    config = GeneratorConfig(16, {4: 6, 8: 5, 16: 4}, z_dim=7, w_dim=8, n_mapping=2)
    generator = Generator(config)
    edits = {"first": {"component": 0, "layers": [0, 3]}, "third": {"component": 2, "layers": [3, 6], "scale": 2.0}}
    network, made_with = sefa(generator, edits=edits)
    assert made_with == {"names": ["first", "third"], "num_ws": 6, "dim": 8}
    by_style = {0: "b4.conv1", 1: "b8.conv0", 2: "b8.conv1", 3: "b16.conv0", 4: "b16.conv1", 5: "b16.torgb"}
    for name, layers, number, scale in (("first", range(3), 0, 1.0), ("third", range(3, 6), 2, 2.0)):
        weights = [generator.synthesis.get_submodule(by_style[i]).affine.weight.detach().double().numpy().T for i in layers]
        joined = np.concatenate(weights, axis=1)
        joined /= np.linalg.norm(joined, axis=0, keepdims=True)
        values, vectors = np.linalg.eig(joined @ joined.T)
        vector = vectors[:, np.argsort(values)[::-1][number]].real
        vector = vector * np.sign(vector[np.abs(vector).argmax()])
        for layer in range(6):
            expected = scale * vector if layer in layers else np.zeros(8)
            np.testing.assert_allclose(network[name][layer].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"file": "smile"}, "edits.e: file: expected one of age, pose, pca, found 'smile'"),
        ({"file": "age", "strength": 2}, "edits.e: unknown key 'strength'"),
        ({"file": "age", "layers": [4, 9]}, r"edits.e: layers: expected \[first, end\) within 0 to 6, found \[4, 9\]"),
        ({"file": "pca"}, "edits.e: component: expected 0 to 7 of pca.pt, found None"),
        ({"file": "pca", "component": 8}, "edits.e: component: expected 0 to 7 of pca.pt, found 8"),
    ],
)
def test_edits_that_do_not_fit_are_told(edit, message):
    with pytest.raises(InvbenchError, match=message):
        build(e=edit)


def test_files_and_names_that_do_not_fit_are_told():
    with pytest.raises(InvbenchError, match=r"pose.pt: expected a direction \[1, 8\] or \[1, 4, 8\], found \(1, 6, 8\)"):
        edit_directions(FILES, sources=SOURCES, num_ws=4, edits={"yaw": {"file": "pose"}})
    with pytest.raises(InvbenchError, match="edit 'hair': this suite has directions for age"):
        build(age={"file": "age"}).move(LATENTS, Edit("hair", 1))
    with pytest.raises(InvbenchError, match="edits.a: component: expected 0 to 7, found 8"):
        config = GeneratorConfig(8, {4: 4, 8: 4}, z_dim=8, w_dim=8, n_mapping=1)
        sefa(Generator(config), edits={"a": {"component": 8}})
