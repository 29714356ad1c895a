"""An adversarial loss on pictures: Goodfellow et al. 2014 (non-saturating) with R1 (Mescheder et al. 2018), as HyperInverter's
training has it: Dinh et al. 2022, equations 7 to 9; VinAIResearch/HyperInverter, training/coach.py.

The public code halves the discriminator's loss of real and drawn pictures, the paper does not; here as in the code. R1 comes in
every 16th step, by a step of its own, multiplied by 16.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from invbench.methods.nets.discriminator import Discriminator, DiscriminatorConfig
from invbench.methods.train.common import descend

R1_EVERY = 16


class ImageAdversary:
    """Discriminator and its optimiser. Build it under a seed of torch; ``network`` is what a checkpoint holds.

    channels  resolution -> channels of the discriminator's features
    lr        peak rate per step
    gamma     weight of R1; 0: none
    """

    def __init__(
        self, resolution: int, channels: Mapping[int, int], *, lr: float, gamma: float, device: torch.device | str
    ) -> None:
        self.network: nn.Module = Discriminator(DiscriminatorConfig(resolution, channels)).to(device)
        self.gamma = gamma
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr)

    def loss(self, drawn: Tensor) -> Tensor:
        """Mean over pictures [N, 3, H, W]; the gradient goes to them only."""
        self.network.requires_grad_(False)
        found = softplus(-self.network(drawn)).mean()
        self.network.requires_grad_(True)
        return found

    def train(self, drawn: Tensor, real: Tensor, index: int, scale: float) -> Tensor:
        """One step on pictures [N, 3, H, W] of either kind at ``scale`` times the peak rate; returns the loss without R1."""
        loss = (softplus(-self.network(real)).mean() + softplus(self.network(drawn.detach())).mean()) / 2
        descend(loss, [self.optimiser], scale)
        if self.gamma and index % R1_EVERY == 0:
            watched = real.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.network(watched).sum(), watched, create_graph=True)
            penalty = self.gamma / 2 * R1_EVERY * gradient.square().sum((1, 2, 3)).mean()
            descend(penalty, [self.optimiser], scale)
        return loss.detach()
