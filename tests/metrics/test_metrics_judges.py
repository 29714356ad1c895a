from dataclasses import replace

import lpips
import numpy as np
import pytest
import torch

from invbench.api import MissingWeights
from invbench.metrics.identity import IdCurricular, IdProc
from invbench.metrics.nets import lpips_package
from invbench.metrics.nets.lpips_package import LpipsPackage
from invbench.metrics.nets.perceptual import average
from invbench.metrics.perceptual import LpipsAlex, LpipsProc, LpipsSqueeze, LpipsVgg
from tests.agreement import agree


def test_lpips_proc_is_the_networks_distance(given, networks):
    values = LpipsProc(networks)(given)
    for i in range(4):
        one = networks["perceptual_metric"].distance(given.output[i : i + 1], given.target[i : i + 1])
        assert values[i] == pytest.approx(one.item(), rel=1e-5)
    assert LpipsProc(networks)(replace(given, output=given.target)).tolist() == [0.0] * 4


@pytest.mark.parametrize(("net", "metric"), [("alex", LpipsAlex), ("vgg", LpipsVgg), ("squeeze", LpipsSqueeze)])
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-5), (torch.float64, 1e-6)])
def test_lpips_is_the_lpips_packages(net, metric, dtype, relative, given):
    wrapped = LpipsPackage(net=net).eval().to(dtype)
    reference = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False).to(dtype)
    reference.load_state_dict({key.removeprefix("model."): value for key, value in wrapped.state_dict().items()})
    given = replace(given, output=given.output.to(dtype), target=given.target.to(dtype))
    with torch.no_grad():
        expected = reference(given.output, given.target).flatten().double().numpy()
    values = metric({f"lpips_{net}": wrapped})(given)
    assert values.shape == (4,) and values.dtype == np.float64
    agree(values, expected, relative=relative)


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_lpips_of_features_in_parts_is_that_of_whole_ones(net, given, monkeypatch):
    wrapped = LpipsPackage(net=net).eval()
    with torch.no_grad():
        features = [wrapped.features(images) for images in (given.output, given.target)]
        expected = average(wrapped.maps_between(*features))
        monkeypatch.setattr(lpips_package, "PART", 3 * features[0][0][:, :, :1].numel())  # three rows of the first layer
        np.testing.assert_allclose(wrapped.distance_between(*features), expected, rtol=1e-5)


def test_id_proc_is_the_cosine(given, networks):
    a, b = (networks["identity_metric"](x).double().numpy() for x in (given.output, given.target))
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(IdProc(networks)(given), expected, rtol=1e-9)
    np.testing.assert_allclose(IdProc(networks)(replace(given, output=given.target)), 1.0, rtol=1e-9)


def test_a_picture_without_a_face_is_not_covered(given, networks):
    output = given.output.clone()
    output[1] = -1
    values = IdProc(networks)(replace(given, output=output))
    assert np.isnan(values).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("metric", "role"),
    [(LpipsProc, "perceptual_metric"), (LpipsAlex, "lpips_alex"), (LpipsVgg, "lpips_vgg"),
     (LpipsSqueeze, "lpips_squeeze"), (IdProc, "identity_metric"),
     (IdCurricular, "identity_curricular")],
)  # fmt: skip
def test_missing_weights_name_the_role(metric, role):
    with pytest.raises(MissingWeights, match=f"^weights missing: .*{role}.* found the roles: perceptual$"):
        metric({"perceptual": torch.nn.Identity()})
