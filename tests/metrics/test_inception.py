"""The Inception network against torch-fidelity's own, on a file of the official layout with random weights."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from invbench.api import InvbenchError
from invbench.metrics.frechet import frechet
from invbench.metrics.kernel_distance import kernel_distance
from invbench.metrics.nets.inception import Inception, MaxPool, from_checkpoint
from invbench.metrics.sets import Precision
from tests.agreement import agree

COUNT = 6  # more than the neighbours of precision


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random weights under the keys of the official file, scaled so that signals neither vanish nor explode."""
    with torch.device("meta"):
        layout = Inception().model.state_dict()
    generator = torch.Generator().manual_seed(0)

    def make(key: str, like: Tensor) -> Tensor:
        if key.endswith("num_batches_tracked"):
            return torch.zeros((), dtype=torch.long)
        value = torch.randn(like.shape, generator=generator)
        if like.ndim > 1:
            return value * math.sqrt(2 / like[0].numel())
        return value.abs() + 0.5 if key.endswith("running_var") else 0.1 * value + float(key.endswith("bn.weight"))

    return {key: make(key, like) for key, like in layout.items()}


@pytest.fixture(scope="module")
def network(weights) -> Inception:
    return from_checkpoint(weights, source="file.pth")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 [12, 48, 40, 3]: originals, and a noisy copy of each."""
    rng = np.random.default_rng(2)
    base = rng.uniform(0, 255, (COUNT, 6, 5, 3)).repeat(8, 1).repeat(8, 2)
    return np.concatenate([base, base + rng.normal(0, 25, base.shape)]).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def features(network, pictures) -> np.ndarray:
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        return network.features(images).numpy()


def test_layout_and_state_are_the_official_files(network, weights):
    assert {key: tuple(value.shape) for key, value in weights.items() if key.startswith("fc.")} == {
        "fc.weight": (1008, 2048),
        "fc.bias": (1008,),
    }
    assert weights["Conv2d_1a_3x3.conv.weight"].shape == (32, 3, 3, 3)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(network.model.fc.bias, weights["fc.bias"])


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(weights, path)
    return path


def test_it_is_torch_fidelitys_network(file, pictures, features):
    theirs = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file))
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous())[0].numpy()
    agree(features[expected > 0], expected[expected > 0], relative=1e-12)  # ReLU leaves zeros
    np.testing.assert_array_equal(features == 0, expected == 0)
    assert expected.std(0).mean() > 1e-3  # the pictures can be told apart


@pytest.mark.parametrize("size", [(147, 147), (8, 7), (3, 4)])
def test_pooling_by_rows_and_columns_is_torchs(size):
    maps = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(MaxPool()(maps), torch.nn.functional.max_pool2d(maps, 3, stride=2))


@pytest.mark.slow
def test_figures_are_torch_fidelitys_on_saved_files(file, pictures, features, tmp_path: Path):
    for part, folder in ((pictures[:COUNT], "originals"), (pictures[COUNT:], "outputs")):
        (tmp_path / folder).mkdir()
        for index, picture in enumerate(part):
            Image.fromarray(picture).save(tmp_path / folder / f"{index}.png")
    found = calculate_metrics(
        feature_extractor="inception-v3-compat",  # else precision and recall would be of VGG-16
        input1=str(tmp_path / "outputs"),
        input2=str(tmp_path / "originals"),
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=COUNT,
        kid_subsets=1,
        feature_extractor_weights_path=str(file),
        batch_size=COUNT,
        cuda=False,
        cache=False,
        verbose=False,
    )
    originals, outputs = (part.astype(np.float64) for part in (features[:COUNT], features[COUNT:]))
    # torch-fidelity keeps float32 here, so these agree to float32 only; in float64 see docs/agreement.md.
    assert frechet(originals, outputs).value == pytest.approx(found["frechet_inception_distance"], rel=1e-3)
    assert kernel_distance(originals, outputs).value == pytest.approx(found["kernel_inception_distance_mean"], rel=1e-3)
    assert Precision.estimate(originals, outputs) == pytest.approx(found["precision"], rel=1e-6)


def test_an_image_has_the_same_features_alone(network, pictures, features):
    images = torch.from_numpy(pictures[3:4]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        np.testing.assert_allclose(network.features(images).numpy(), features[3:4], rtol=1e-4, atol=1e-5)


def test_counters_may_be_missing_and_nothing_else(weights):
    old = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(weights)
    assert torch.equal(from_checkpoint(old, source="file.pth").model.fc.bias, weights["fc.bias"])
    del old["Mixed_7c.branch_pool.conv.weight"]
    expected = r"^file.pth: .*1 missing: model.Mixed_7c.branch_pool.conv.weight \[192, 2048, 1, 1\]"
    with pytest.raises(InvbenchError, match=expected):
        from_checkpoint(old, source="file.pth")
