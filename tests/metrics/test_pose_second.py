"""6DRepNet against its package, on made-up weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from invbench.api import InvbenchError, MetricInput
from invbench.metrics.nets import sixdrepnet
from invbench.metrics.pose_second import YawChangeSixD

from .made_up import weights

# sixdrepnet 0.1.6 (PyPI): model.SixDRepNet("RepVGG-B1g2", deploy=True) and utils.compute_euler_angles_from_rotation_matrices on
# the weights and pictures below; pitch, yaw, roll in degrees
OFFICIAL = [[-171.1186, -25.5937, 18.1476], [-173.4336, -21.5434, 19.393]]


@pytest.fixture(scope="module")
def file() -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in sixdrepnet.SixDRepNet().state_dict().items()}
    return {key: value * 2**0.5 if value.ndim == 4 else value for key, value in weights(shapes).items()}


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.stack([torch.linspace(-s, 3, 3 * 224 * 224).reshape(3, 224, 224).sin() for s in (3.0, 40.0)])


def test_angles_are_the_packages(file, pictures):
    network = sixdrepnet.from_checkpoint(file, source="6DRepNet.pth")
    np.testing.assert_allclose(network.angles(pictures).numpy(), OFFICIAL, atol=0.01)
    matrix = network.rotation(pictures)
    assert torch.allclose(matrix @ matrix.transpose(1, 2), torch.eye(3), atol=1e-5)
    assert torch.allclose(network(pictures)[:, 1] * 360 - 180, network.yaw(pictures), atol=1e-3)


def test_the_change_of_yaw(file, pictures):
    network = sixdrepnet.from_checkpoint(file, source="6DRepNet.pth")
    given = MetricInput(target=pictures, output=pictures.flip(0), inverted=pictures, samples=[])
    found = YawChangeSixD({"pose_second": network})(given)
    change = OFFICIAL[1][1] - OFFICIAL[0][1]
    np.testing.assert_allclose(found, [change, -change], atol=0.02)


def test_straight_up_has_no_roll():
    network = sixdrepnet.SixDRepNet()
    torch.nn.init.zeros_(network.linear_reg.weight)
    with torch.no_grad():
        network.linear_reg.bias.copy_(torch.tensor([0.0, 0.0, -2.0, 0.0, 3.0, 0.0]))  # the first axis points along the third
        angles = network.angles(torch.zeros(1, 3, 224, 224))
    np.testing.assert_allclose(angles.numpy(), [[0.0, 90.0, 0.0]], atol=1e-3)


def test_other_files_and_shapes(file, pictures):
    with pytest.raises(InvbenchError, match=r"^x.pth: .*missing: linear_reg.bias"):
        sixdrepnet.from_checkpoint({key: value for key, value in file.items() if key != "linear_reg.bias"}, source="x.pth")
    with pytest.raises(ValueError, match="224"):
        sixdrepnet.from_checkpoint(file, source="x.pth").angles(pictures[..., :200])
