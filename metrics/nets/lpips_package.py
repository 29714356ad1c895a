"""The official LPIPS network (richzhang/PerceptualSimilarity, v0.1) as the metrics and losses ask for one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class LpipsPackage(nn.Module):
    """LPIPS of the lpips package; ``net`` is "alex", "vgg" or "squeeze". Images [N, 3, H, W] in [-1, 1].

    Built with random weights, so that nothing is ever downloaded: trunk and linear layers come from a state dict.
    """

    def __init__(self, *, net: str) -> None:
        super().__init__()
        import lpips

        self.model: Any = lpips.LPIPS(net=net, version="0.1", pretrained=False, pnet_rand=True, verbose=False)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """[N], 0 for identical images."""
        return self.model(a, b).flatten()
