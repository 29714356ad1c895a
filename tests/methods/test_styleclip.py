"""StyleCLIP: mappers against the golden vectors of the official code, global directions against the plain formula."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from invbench.api import Edit, InvbenchError
from invbench.methods.convert.styleclip import mapper
from invbench.methods.directions import styleclip
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from invbench.weights import direction_files
from tests import golden_vectors
from tests.weights import official

LAYOUT = "styleclip_mapper_layout"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_the_mapper_is_the_official_one(dtype):
    golden = golden_vectors.load("styleclip_mapper")
    shapes = {key: tuple(shape) for key, shape in golden_vectors.load(LAYOUT)["levels"].items()}
    state = golden_vectors.state(golden, "mapper", shapes)
    named = {f"mapper.{key}": value for key, value in state.items()} | {"decoder.input.input": torch.zeros(1)}
    network, config = mapper({"state_dict": named, "opts": {}}, source="m.pt", edit="smile", scale=1.0)
    assert config["groups"] == ["course_mapping", "medium_mapping", "fine_mapping"] and config["dim"] == 512
    w = golden_vectors.tensor(golden, "w").to(dtype)
    network = network.to(dtype)
    golden_vectors.check(golden, "delta", network.mapper(w))
    golden_vectors.check(golden, "w_edit", network.move(w, Edit("smile", 1.0)))
    torch.testing.assert_close(network.move(w, Edit("smile", -2.0)), w - 0.2 * network.mapper(w))
    assert network.move(w, Edit("smile", 0.0)) is w


def stored(variant: str) -> dict:
    content = official.bare(LAYOUT, variant, fill=official.drawn)
    return {"state_dict": {f"mapper.{key}": value for key, value in content.items()}, "opts": {"no_fine_mapper": True}}


@pytest.mark.parametrize(
    ("variant", "groups"), [("levels_no_fine", ["course_mapping", "medium_mapping"]), ("single", ["mapping"])]
)
@torch.no_grad()
def test_other_forms_of_mappers_take_every_tensor(variant, groups):
    network, config = mapper(stored(variant), source="m.pt", edit="smile", scale=2.0)
    assert config["groups"] == groups
    w = torch.randn(2, 18, 512, generator=torch.Generator().manual_seed(0))
    moved = network.move(w, Edit("smile", 1.0)) - w
    torch.testing.assert_close(moved, 0.2 * network.mapper(w), rtol=1e-3, atol=1e-5)
    assert bool(moved[:, 8:].any()) == (variant == "single")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("mapper.course_mapping.mapping.2.bias"), "missing: mapper.course_mapping.mapping.2.bias"),
        (lambda s: s.update({"mapper.course_mapping.mapping.5.bias": torch.zeros(512)}), "unexpected"),
        (lambda s: s.update({"mapper.course_mapping.mapping.1.bias": torch.zeros(5)}), "mapping.1.bias"),
        (lambda s: s.update({"mapper.course_mapping.mapping.1.bias": torch.full((512,), np.nan)}), "expected finite"),
        (lambda s: s.update({"mapper.mapper_0.mapping.1.bias": torch.zeros(512)}), "medium_mapping, mapper_0"),
        (lambda s: s.update({"encoder.x": torch.zeros(1)}), "expected keys mapper.* and decoder.* only, found 'encoder.x'"),
        (lambda s: s.clear(), "expected a mapper of StyleCLIP"),
    ],
)
def test_mappers_that_do_not_fit_are_told(change, told):
    file = stored("levels_no_fine")
    change(file["state_dict"])
    with pytest.raises(InvbenchError) as error:
        mapper(file, source="m.pt", edit="smile", scale=1.0)
    assert told in str(error.value) and "m.pt" in str(error.value)


WIDTHS = [6, 6, 6, 5, 5, 5, 4, 4]  # styles of a generator of 16 pixels: conv1, ToRGB, then conv0, conv1, ToRGB twice


def relevance(rows: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    draws = np.random.default_rng(0)
    return draws.standard_normal((rows, 7)), draws.standard_normal(7), [draws.random(width) + 0.5 for width in WIDTHS]


@pytest.mark.parametrize(("rows", "styles"), [(6 + 6 + 5 + 5 + 4, [0, 2, 3, 5, 6]), (6 + 6 + 5, [0, 2, 3])])
def test_a_global_direction_is_the_published_formula(rows, styles):
    matrix, text, deviations = relevance(rows)
    found = styleclip.style_shift(matrix, text, deviations, threshold=0.4, source="fs3.npy")
    s = matrix @ (text / np.linalg.norm(text))
    s[np.abs(s) < 0.4] = 0
    s /= np.abs(s).max()
    assert list(found) == styles and (s == 0).any()
    np.testing.assert_allclose(np.concatenate(list(found.values())), s * np.concatenate([deviations[i] for i in styles]))


def test_relevance_that_does_not_fit_is_told():
    matrix, text, deviations = relevance(20)
    with pytest.raises(InvbenchError, match=r"fs3.npy: expected relevance \[26, E\] .*found \(20, 7\) and 7"):
        styleclip.style_shift(matrix, text, deviations, threshold=0.1, source="fs3.npy")
    matrix, text, deviations = relevance(26)
    with pytest.raises(InvbenchError, match="expected channels with a relevance of 99"):
        styleclip.style_shift(matrix, text, deviations, threshold=99, source="fs3.npy")


@torch.no_grad()
def test_the_step_in_w_moves_styles_as_near_as_latents_can():
    config = GeneratorConfig(16, {4: 6, 8: 5, 16: 4}, z_dim=7, w_dim=12, n_mapping=2)
    generator = Generator(config).eval()
    matrix, text, deviations = relevance(26)
    shift = styleclip.style_shift(matrix, text, deviations, threshold=0.1, source="fs3.npy")
    step, missed = styleclip.latent_shift(generator, shift, source="fs3.npy")
    layers = ["b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb", "b16.conv0", "b16.conv1", "b16.torgb"]
    wanted = dict(enumerate(layers))
    got = {}
    for style, layer in wanted.items():
        affine, index = generator.synthesis.get_submodule(f"{layer}.affine"), generator.synthesis.style_index[layer]
        got[style] = (affine(step[index][None]) - affine(torch.zeros(1, 12)))[0].double().numpy()
    # 12 numbers a latent: 6 (conv1) fit, 5 of a ToRGB and 5 of a conv0 fit together
    for style in (0, 2, 3, 5, 6):
        np.testing.assert_allclose(got[style], shift[style], atol=1e-4)
    for style in (1, 4, 7):
        np.testing.assert_allclose(got[style], 0, atol=1e-4)
    assert missed < 1e-5
    narrow = Generator(GeneratorConfig(16, {4: 6, 8: 5, 16: 4}, z_dim=7, w_dim=5, n_mapping=2)).eval()
    step, missed = styleclip.latent_shift(narrow, shift, source="fs3.npy")
    affines = [narrow.synthesis.get_submodule(f"{name}.affine") for name in ("b4.torgb", "b8.conv0")]
    matrices = [(affine.weight / 5**0.5).double().numpy() for affine in affines]
    target = np.concatenate([np.zeros(6), shift[2]])
    best = np.linalg.lstsq(np.concatenate(matrices), target, rcond=None)[0]
    np.testing.assert_allclose(step[1].numpy(), best, atol=1e-4)
    assert 0 < missed < 1
    with pytest.raises(InvbenchError, match=r"style 0: expected 6 channels \(b4.conv1\), found 5"):
        styleclip.latent_shift(generator, {0: np.ones(5)}, source="fs3.npy")


def test_deviations_are_read_from_the_published_pickle(tmp_path):
    deviations = [np.ones((3, 1), np.float32), np.full(2, 2.0)]
    path = tmp_path / "S_mean_std"
    path.write_bytes(pickle.dumps([[one * 0 for one in deviations], deviations], protocol=4))
    found = direction_files.deviations(path)
    assert [one.tolist() for one in found] == [[1, 1, 1], [2, 2]]
    path.write_bytes(pickle.dumps([deviations], protocol=4))
    with pytest.raises(InvbenchError, match=r"expected \[means, deviations\]"):
        direction_files.deviations(path)
