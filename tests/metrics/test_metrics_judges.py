from dataclasses import replace

import lpips
import numpy as np
import pytest
import torch

from invbench.api import MissingWeights
from invbench.metrics.identity import IdCurricular, IdProc
from invbench.metrics.nets.lpips_package import LpipsPackage
from invbench.metrics.perceptual import LpipsAlex, LpipsProc, LpipsSqueeze, LpipsVgg
from tests.agreement import agree


def test_lpips_proc_is_the_networks_distance(scored, networks):
    values = LpipsProc(networks)(scored)
    for i in range(4):
        one = networks["perceptual_metric"].distance(scored.output[i : i + 1], scored.target[i : i + 1])
        assert values[i] == pytest.approx(one.item(), rel=1e-5)
    assert LpipsProc(networks)(replace(scored, output=scored.target)).tolist() == [0.0] * 4


@pytest.mark.parametrize(("net", "metric"), [("alex", LpipsAlex), ("vgg", LpipsVgg), ("squeeze", LpipsSqueeze)])
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-5), (torch.float64, 1e-6)])
def test_lpips_is_the_lpips_packages(net, metric, dtype, relative, scored):
    wrapped = LpipsPackage(net=net).eval().to(dtype)
    reference = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False).to(dtype)
    reference.load_state_dict({key.removeprefix("model."): value for key, value in wrapped.state_dict().items()})
    scored = replace(scored, output=scored.output.to(dtype), target=scored.target.to(dtype))
    with torch.no_grad():
        expected = reference(scored.output, scored.target).flatten().double().numpy()
    values = metric({f"lpips_{net}": wrapped})(scored)
    assert values.shape == (4,) and values.dtype == np.float64
    agree(values, expected, relative=relative)


def test_id_proc_is_the_cosine(scored, networks):
    a, b = (networks["identity_metric"](x).double().numpy() for x in (scored.output, scored.target))
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(IdProc(networks)(scored), expected, rtol=1e-9)
    np.testing.assert_allclose(IdProc(networks)(replace(scored, output=scored.target)), 1.0, rtol=1e-9)


def test_a_picture_without_a_face_is_not_covered(scored, networks):
    output = scored.output.clone()
    output[1] = -1
    values = IdProc(networks)(replace(scored, output=output))
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
