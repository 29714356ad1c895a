"""Changes of age and yaw: edited less inverted, each picture read once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor, nn

from invbench.api import Edit, MissingWeights
from invbench.metrics.age_pose import AgeChangeDex, YawChangePose


class Reader(nn.Module):
    """Age and yaw are 50 times the mean of green and of red."""

    calls = 0

    def age(self, images: Tensor) -> Tensor:
        self.calls += 1
        return 50 * images[:, 1].mean((1, 2))

    def yaw(self, images: Tensor) -> Tensor:
        self.calls += 1
        return 50 * images[:, 0].mean((1, 2))


@pytest.mark.parametrize(("metric", "role", "channel"), [(AgeChangeDex, "age_dex", 1), (YawChangePose, "pose", 0)])
def test_the_change_is_edited_less_inverted(metric, role, channel, given):
    network = Reader()
    change = metric({role: network})
    edited = replace(given, edit=Edit("age", 1.0), inverted=given.target)
    expected = 50 * (given.output - given.target)[:, channel].double().mean((1, 2)).numpy()
    np.testing.assert_allclose(change(edited), expected, rtol=1e-4, atol=1e-5)
    assert change(edited).dtype == np.float64 and network.calls == 2
    change(replace(edited, output=given.output.flip(3)))
    assert network.calls == 3  # the reconstruction is read once for all its edits
    assert (change(replace(edited, output=given.target)) == 0).all()
    with pytest.raises(ValueError, match=r"given\.inverted"):
        change(given)
    with pytest.raises(MissingWeights, match=f"^weights missing: metric '{metric.metric}' needs .* role '{role}'"):
        metric({})
