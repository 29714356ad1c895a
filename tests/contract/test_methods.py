"""What every method must do, whoever wrote it: ``pytest tests/contract --plugin FILE.py`` runs this on yours."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from invbench.api import STAGES, Edit, Embedder, Inversion
from invbench.plugins import registry
from invbench.run import inversions
from invbench.util.clock import StageClock
from tests.contract.conftest import Built

Inverted = tuple[Inversion, StageClock]


def psnr(a: Tensor, b: Tensor) -> list[float]:
    """Per image, on [-1, 1] after clamping; inf for equal images."""
    errors = (a.double().clamp(-1, 1) - b.double().clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return [10 * math.log10(4 / error) if error > 0 else math.inf for error in errors.tolist()]


def same(a: Inversion, b: Inversion) -> bool:
    """Bit for bit."""
    return (
        set(a.state) == set(b.state)
        and torch.equal(a.latents, b.latents)
        and torch.equal(a.images, b.images)
        and all(torch.equal(a.state[key], b.state[key]) for key in a.state)
    )


def copy(inversion: Inversion) -> Inversion:
    return inversions.join(inversions.split(inversion))


def test_spec_is_complete(built: Built) -> None:
    spec = built.case.spec
    cls = registry.load(spec)
    built_with = ["networks", "options", *(["embedder"] if spec.refines else [])]
    assert len(inspect.signature(cls).parameters) == len(built_with), f"the method is built as Class({', '.join(built_with)})"
    assert not spec.gives or isinstance(built.method, Embedder), "a method that gives latents has embed(images, clock)"
    assert spec.title.strip() and spec.family.strip()
    for name, option in spec.options.items():
        assert isinstance(option.unit, str), name
        assert option.help.strip(), name
    assert spec.roles


def test_shapes_and_values(built: Built, inverted: Inverted) -> None:
    inversion, _ = inverted
    n, size = len(built.images), built.suite.resolution
    assert isinstance(inversion, Inversion)
    assert inversion.latents.ndim == 3
    assert inversion.images.shape == (n, 3, size, size)
    for name, tensor in {"latents": inversion.latents, "images": inversion.images, **inversion.state}.items():
        assert tensor.shape[0] == n, name
        assert not tensor.requires_grad, name
        assert torch.isfinite(tensor).all(), name
    if "domain_mask" in inversion.state:
        mask = inversion.state["domain_mask"]
        assert mask.ndim == 4 and mask.shape[1] == 1
        assert mask.min() >= 0 and mask.max() <= 1


def test_stages(built: Built, inverted: Inverted) -> None:
    inversion, clock = inverted
    assert clock.stages and set(clock.stages) <= set(STAGES)
    with StageClock() as editing:
        built.method.edit(inversion, Edit(built.edit, 1.0), editing)
    assert "edit" in editing.stages


def test_input_is_left_alone(built: Built) -> None:
    images = built.images.clone()
    built.invert(images)
    assert torch.equal(images, built.images)


def test_same_bytes_twice(built: Built, inverted: Inverted) -> None:
    torch.manual_seed(12345)
    again, _ = built.invert(built.images.clone())
    assert same(inverted[0], again), "the result depends on something besides the images and the options"


def test_alone_as_in_a_batch(built: Built, inverted: Inverted) -> None:
    if built.case.spec.joint:
        pytest.skip("the pictures of a batch share what is found")
    batch = psnr(inverted[0].images, built.images)
    edits = built.change(inverted[0], 1.0)
    for i, image in enumerate(built.images):
        alone, _ = built.invert(image[None].clone())
        assert psnr(alone.images, image[None])[0] == pytest.approx(batch[i], abs=0.05)
        assert min(psnr(built.change(alone, 1.0), edits[i : i + 1])) > 35


def test_latents_for_a_refinement(built: Built, inverted: Inverted) -> None:
    if not built.case.spec.gives:
        pytest.skip("it is no embedder")
    assert isinstance(built.method, Embedder)
    with StageClock() as clock:
        latents = built.method.embed(built.images.clone(), clock)
    assert torch.equal(latents, inverted[0].latents) and not latents.requires_grad
    assert clock.stages and set(clock.stages) <= set(STAGES)
    if built.case.spec.gives == "w":
        assert torch.equal(latents, latents[:, :1].expand_as(latents)), "W: one code for all layers"


def test_edit(built: Built, inverted: Inverted) -> None:
    inversion, _ = inverted
    before = copy(inversion)
    edited = built.change(inversion, 2.0)
    assert edited.shape == inversion.images.shape
    assert torch.isfinite(edited).all()
    assert not edited.requires_grad
    assert same(before, inversion), "edit must not change the inversion"
    back = built.change(inversion, -2.0)  # what takes attributes leaves a picture alone that has the one that is asked for
    least = map(min, zip(psnr(edited, inversion.images), psnr(back, inversion.images), strict=True))
    assert max(least) < 60, "the edit changed nothing"


def test_no_edit_at_strength_0(built: Built, inverted: Inverted) -> None:
    assert min(psnr(built.change(inverted[0], 0.0), inverted[0].images)) > 35


def test_edit_of_a_saved_inversion(built: Built, inverted: Inverted, tmp_path: Path) -> None:
    path = tmp_path / "inversion.safetensors"
    inversions.save(inverted[0], path)
    assert torch.equal(built.change(inversions.load(path), 1.0), built.change(inverted[0], 1.0))


def test_unknown_edit_is_refused(built: Built, inverted: Inverted) -> None:
    with pytest.raises(Exception, match="no_such_edit"):
        built.method.edit(inverted[0], Edit("no_such_edit", 1.0), StageClock())


def test_max_batch(built: Built) -> None:
    small, large = built.method.max_batch(1), built.method.max_batch(64 * 2**30)
    assert 1 <= small <= large
