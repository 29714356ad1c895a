"""Spectral norm (Miyato et al. 2018) and orthogonal regularisation (Brock et al. 2019, equation 3), from outside a network.

A network holds plain weights, and :func:`torch.func.functional_call` runs it with each divided by its largest singular value.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-12


class SpectralNorm(nn.Module):
    """The vectors u of the power iterations of a network's matrices and kernels; kernels [O, I, k, k] count as [O, I*k*k].

    without  names of weights that stay as they are
    """

    def __init__(self, network: nn.Module, *, without: Collection[str] = ()) -> None:
        super().__init__()
        named = [(name, value) for name, value in network.named_parameters() if value.ndim > 1 and name not in without]
        self.names = tuple(name for name, _ in named)
        for number, (_, value) in enumerate(named):
            self.register_buffer(f"u{number}", F.normalize(torch.randn(len(value)), dim=0, eps=EPSILON))

    def weights(self, network: nn.Module) -> dict[str, Tensor]:
        """Name -> weight over its norm, after one power iteration; the gradient passes through the norm, too."""
        return {name: network.get_parameter(name) / self._norm(number, network) for number, name in enumerate(self.names)}

    @torch.no_grad()
    def fold(self, network: nn.Module) -> None:
        """Divide the weights of ``network`` in place by their exact norms."""
        for name in self.names:
            weight = network.get_parameter(name)
            weight.div_(torch.linalg.matrix_norm(weight.flatten(1).double(), 2).to(weight))

    def _norm(self, number: int, network: nn.Module) -> Tensor:
        matrix, u = network.get_parameter(self.names[number]).flatten(1), self.get_buffer(f"u{number}")
        with torch.no_grad():
            v = F.normalize(u @ matrix, dim=0, eps=EPSILON)
            u.copy_(F.normalize(matrix @ v, dim=0, eps=EPSILON))
        return u.clone() @ (matrix @ v)


def orthogonality(network: nn.Module, names: Collection[str]) -> Tensor:
    """Sum of the squared products of different rows, of different columns where these are fewer, over the weights ``names``."""
    total = torch.zeros(())
    for name in names:
        matrix = network.get_parameter(name).flatten(1)
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        total = total.to(gram) + gram.square().sum() - gram.diagonal().square().sum()
    return total
