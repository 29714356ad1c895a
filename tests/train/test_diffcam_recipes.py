"""The recipes of Diff-CAM's two networks: what they see, what they sum, and that they learn."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from invbench.api import Edit
from invbench.methods.nets.diffcam import DiffCAM
from invbench.methods.train import deghosting, diffcam
from invbench.methods.train.common import ZOO, Budget, fit, save_network
from invbench.methods.train.frozen import load_frozen


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """The zoo with a network that is not trained in the place of the trained one."""
    folder = tmp_path_factory.mktemp("zoo")
    for path in ZOO.iterdir():
        if path.stem != "diffcam":
            (folder / path.name).symlink_to(path)
    names = list(load_frozen("directions").names)
    config = diffcam.architecture(load_frozen("generator"), names)
    torch.manual_seed(0)
    save_network(folder / "diffcam.safetensors", DiffCAM(**config), config, {})
    return folder


def test_edits_are_those_of_the_suites_directions(zoo):
    edits = diffcam.Edits(seed=1, device="cpu", strengths=(2.0, 2.0), zoo=zoo)
    target, inverted, edited, chosen = edits.drawn(5, 4)
    again = edits.drawn(5, 4)
    assert all(torch.equal(a, b) for a, b in zip((target, inverted, edited, chosen), again, strict=True))
    latents = edits.embedder(target)
    torch.testing.assert_close(inverted, edits.generator.synthesis(latents))
    for i, index in enumerate(chosen):
        both = [
            edits.generator.synthesis(edits.directions.move(latents[i : i + 1], Edit(edits.names[index], sign * 2.0)))
            for sign in (-1, 1)
        ]
        assert min((edited[i] - one[0]).abs().max() for one in both) < 1e-4


@pytest.mark.slow
def test_a_short_training_tells_edits_apart(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(diffcam, "HELD_OUT", range(1, 2))
    recipe = diffcam.Training(seed=3, zoo=zoo, strengths=(3.0, 3.0))
    fit(recipe, "small", budget=Budget(1, images=400), seed=3, folder=tmp_path / "run", zoo=tmp_path)
    found = recipe.validate(recipe.network.eval())
    assert found["right"] > 0.5 and 0 < found["mask"] < 1
    assert type(load_frozen("small", zoo=tmp_path)) is DiffCAM


def test_the_composed_picture_is_mostly_the_original(zoo):
    recipe = deghosting.Training(seed=3, zoo=zoo)
    target, composed = recipe.composed(2, 4)
    _, inverted, edited, wanted = recipe.edits.drawn(2, 4)
    mask = recipe.activation.mask(inverted, edited, wanted)
    mask = torch.where(mask > 0.5, 1 - mask, mask)
    torch.testing.assert_close(composed, edited * mask + target * (1 - mask))


def test_a_step_sums_the_published_losses(zoo):
    recipe, twin = (deghosting.Training(seed=3, zoo=zoo) for _ in range(2))
    recipe.optimisers[0].step = lambda: None
    recipe.adversary.optimiser.step = lambda: None
    recipe.step(0, 0.5)
    target, composed = twin.composed(0, 4)
    output = twin.network(composed, twin.generator)
    features = load_frozen("perceptual").features
    loss = F.mse_loss(output, target) + 0.01 * F.mse_loss(features(output)[-1], features(target)[-1])
    loss = loss - 0.01 * F.logsigmoid(twin.adversary.network(output)).mean()
    loss.backward()
    for (name, own), other in zip(recipe.network.named_parameters(), twin.network.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=1e-6, msg=name)
    unused = [name for name, value in recipe.network.named_parameters() if value.grad is None]
    assert unused and all("fusion_skip" in name for name in unused)
