"""What methods that take steps show on their way, to who watches and to nobody else."""

from __future__ import annotations

import pytest
import torch

from invbench.methods.common.curves import show
from invbench.methods.dhr import DHR
from invbench.methods.pti import PTI
from invbench.methods.sam import SAM
from invbench.methods.sg2_w import SG2W
from invbench.methods.sg2_wplus import SG2WPlus
from invbench.util.clock import StageClock
from tests.methods.test_refinement import build
from tests.methods.test_restyle import ROWS, generator, row  # noqa: F401 - a fixture

# What is shown, stage by stage; DHR's coarse inversion, which only finds the domain, is not.
WAYS = {SG2W: [12], SG2WPlus: [12], PTI: [8, 10], SAM: [10], DHR: [10]}


def watched(method, images):
    """The inversion, and (step, pictures, rows) of all that was shown."""
    seen = []
    with StageClock(memory=False) as clock:
        clock.on_pictures = lambda step, shown, rows, seconds: seen.append((step, shown.detach().clone(), rows))
        found = method.invert(images, clock)
    return found, seen


@pytest.mark.parametrize("kind", WAYS, ids=lambda kind: kind.__name__)
def test_each_step_is_shown_and_watching_changes_nothing(kind, networks, images):
    options = {"lpips_stop": 0.0} if kind is PTI else {}
    found, seen = watched(build(kind, networks, **options), images)
    assert [step for step, _, _ in seen] == [step for count in WAYS[kind] for step in range(count)]
    assert all(shown.shape == images.shape for _, shown, _ in seen)
    with StageClock(memory=False) as clock:
        plain = build(kind, networks, **options).invert(images, clock)
    assert torch.equal(plain.images, found.images) and torch.equal(plain.latents, found.latents)
    # the result goes on where the pictures end: it is nearer to the last of them than to the first
    first, last = (((shown - found.images) ** 2).mean() for shown in (seen[0][1], seen[-1][1]))
    assert last < first


def test_images_that_stop_are_not_shown_any_more(networks, images):
    start = build(PTI, networks, steps=0)
    with StageClock(memory=False) as clock:
        distances = networks["perceptual_alex"].distance(start.invert(images, clock).images, images)
    threshold = distances.sort().values[1:3].mean().item()
    _, seen = watched(build(PTI, networks, steps=5, lpips_stop=threshold), images)
    tuned = [(shown, rows) for _, shown, rows in seen if rows is not None]
    assert tuned[0][1].tolist() == [0, 1, 2, 3] and tuned[1][1].tolist() == torch.where(distances > threshold)[0].tolist()
    assert all(len(shown) == len(rows) for shown, rows in tuned)


@torch.no_grad()
def test_restyle_shows_the_mean_picture_and_every_pass_but_the_last(generator):  # noqa: F811
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    model, encoder = row(*ROWS[0], generator, 4)
    found, seen = watched(model, images)
    assert [step for step, _, _ in seen] == [0, 1, 2, 3]
    mean = generator.synthesis(encoder.latent_avg.expand(1, 10, 16))
    torch.testing.assert_close(seen[0][1], mean.expand(3, -1, -1, -1))
    torch.testing.assert_close(torch.stack([shown for _, shown, _ in seen[1:]], 1), found.state["images_of_steps"][:, :-1])


def test_nobody_need_watch():
    show(None, 0, torch.zeros(1, 3, 2, 2))
    show(object(), 0, torch.zeros(1, 3, 2, 2))  # a clock of somebody who times stages only
    with StageClock() as clock:
        show(clock, 0, torch.zeros(1, 3, 2, 2))
    assert not clock.stages
