"""What methods show on their way for ``--curves``: every step, the pictures of that step, and nothing changes by it."""

from __future__ import annotations

import pytest
import torch

from invbench.plugins.registry import build, discover
from invbench.util.clock import StageClock
from tests.methods.test_gani import Face, Maps

EVEN = ("gani", "idinvert")  # the learning rates of the others depend on the number of steps


class Watching(StageClock):
    """Keeps what is shown."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.shown: list[tuple[int, torch.Tensor]] = []

    def passed(self, step, images, rows=None):
        assert rows is None
        self.shown.append((step, images.detach().clone()))


@pytest.mark.parametrize("id", [*EVEN, "gaussian_prior", "hybrid_wplus", "sam_f4"])
def test_what_is_shown_after_some_steps_is_the_result_with_so_many(networks, images, id):
    spec = discover().methods[id]
    nets = networks | {"identity": Face(), "parsing": Maps(), "encoder_idinvert": networks["encoder_e4e"]}
    nets |= {"features_idinvert": networks["perceptual_vgg"]}
    defaults = {name: option.default for name, option in spec.options.items()}

    def inverted(steps, clock):
        method = build(spec, defaults | {"steps": steps}, lambda spec, options: nets)
        return method.invert(images[:2], clock).images

    watching = Watching()
    assert torch.equal(inverted(4, watching), inverted(4, StageClock("cpu")))
    assert [step for step, _ in watching.shown] == [0, 1, 2, 3]
    if id in EVEN:
        torch.testing.assert_close(watching.shown[2][1], inverted(2, StageClock("cpu")), rtol=1e-4, atol=1e-4)
