from __future__ import annotations

import pytest
import torch

from invbench.methods.common.batching import PerImageAdam, image_generators, randn


def test_an_image_draws_the_same_numbers_alone_and_in_a_batch():
    images = torch.linspace(-1, 1, 3 * 3 * 4 * 4).view(3, 3, 4, 4)
    together = randn(image_generators(images, 7), 2, 5, like=images)
    alone = torch.cat([randn(image_generators(images[i : i + 1], 7), 2, 5, like=images) for i in (2, 0, 1)])
    assert torch.equal(together[[2, 0, 1]], alone)
    assert not torch.equal(together, randn(image_generators(images, 8), 2, 5, like=images))


def test_images_that_retire_keep_their_values_and_the_others_go_on_as_if_alone():
    start = torch.tensor([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0]])
    target = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, -1.0]])
    stop = [4, 9, 6]  # steps after which each image is finished

    adam = PerImageAdam({"x": start}, 0.1)
    for step in range(10):
        loss = (adam.parameters["x"] - target[adam.kept]).pow(4).sum(1)
        done = torch.tensor([stop[i] <= step for i in adam.kept.tolist()])
        adam.zero_grad()
        loss[~done].sum().backward()
        adam.retire(done)
        if not len(adam.kept):
            break
        adam.step()

    for i in range(3):
        x = start[i].clone().requires_grad_()
        single = torch.optim.Adam([x], lr=0.1)
        for _ in range(stop[i]):
            single.zero_grad()
            (x - target[i]).pow(4).sum().backward()
            single.step()
        torch.testing.assert_close(adam.result()["x"][i], x.detach())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("of_gradient", [torch.contiguous_format, torch.channels_last])
def test_a_step_is_right_whatever_the_layout_of_parameter_and_gradient(layout, of_gradient):
    # The fused Adam of a CPU reads both in the order of memory: with other layouts it would move wrong elements.
    draws = torch.Generator().manual_seed(0)
    start, target = (torch.randn(2, 4, 3, 3, generator=draws) for _ in range(2))
    adam, plain = PerImageAdam({"x": start.contiguous(memory_format=layout)}, 0.1), start.clone().requires_grad_()
    reference = torch.optim.Adam([plain], lr=0.1, fused=False, foreach=False)
    for step in range(6):
        adam.parameters["x"].grad = (
            (adam.parameters["x"].detach() - target[adam.kept]).pow(3).contiguous(memory_format=of_gradient)
        )
        plain.grad = (plain.detach() - target).pow(3)
        if step == 3:  # the moments of those that stay must be carried over in their layout too
            adam.retire(torch.tensor([True, False]))
            first = plain.detach()[0].clone()
        adam.step()
        reference.step()
    torch.testing.assert_close(adam.result()["x"][1], plain.detach()[1])
    torch.testing.assert_close(adam.result()["x"][0], first)
