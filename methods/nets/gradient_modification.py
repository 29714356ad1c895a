"""GANI's gradient modification modules: small networks from the gradient of a weight to its relative change.

Sheffi et al. 2022, "Gradient Adjusting Networks for Domain Inversion", equations 2 to 4 and Figure 1; no code is public. A
module sees the c_in entries of a gradient at one output channel and one place of the kernel as a vector: with W1, W2 of c_in x
c_in, b of c_in and two scales a block, one module for all convolutions of equal shape, the generator of 1024 x 1024 pixels has
the 1,396,658 parameters a block that Table 7 prints.

Parameters are tensors [N, ...]: each image has modules of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from invbench.methods.common.batching import randn

SLOPE = 0.01  # of the leaky ReLU
INITIAL = 0.1  # factor on the standard deviation of He et al. 2015
EPSILON = 1e-12  # below which a vector counts as zero; gradients of 1e-7 are common, and must not


def scale_norm(vectors: Tensor, scale: Tensor) -> Tensor:
    """Vectors [N, ..., d] at the length ``scale`` [N] (Nguyen and Salazar 2019)."""
    return F.normalize(vectors, dim=-1, eps=EPSILON) * _for_each(scale, vectors)


def instance_norm(vectors: Tensor, scale: Tensor) -> Tensor:
    """Vectors [N, ..., d] with mean 0 and variance 1 each, without learned parameters; ``scale`` is not used."""
    centred = vectors - vectors.mean(-1, keepdim=True)
    return F.normalize(centred, dim=-1, eps=EPSILON) * math.sqrt(vectors.shape[-1])


def no_norm(vectors: Tensor, scale: Tensor) -> Tensor:
    """The vectors as they are."""
    return vectors


NORMS = {"scale": scale_norm, "instance": instance_norm, "none": no_norm}


class GradientModification:
    """Modules for the weights ``shapes`` (name -> [c_out, c_in, k, k]) with ``blocks`` residual blocks each.

    ``inputs`` is the norm before a module, ``inner`` that within its blocks (Table 8's PreNorm and PostNorm): keys of NORMS.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], *, blocks: int, inputs: str, inner: str) -> None:
        self.module_of = {name: f"{shape[1]}to{shape[0]}" for name, shape in shapes.items()}
        self.widths = {self.module_of[name]: int(shape[1]) for name, shape in shapes.items()}
        self.blocks, self.inputs, self.inner = blocks, inputs, inner

    def initial(self, draws: Sequence[torch.Generator], like: Tensor) -> dict[str, Tensor]:
        """Leaf tensors [N, ...] for N images, each drawn from its own generator, on the device of ``like``.

        W1 and W2 are normal with a tenth of He's standard deviation, b is uniform; its bound, the usual 1 / sqrt(d), and the
        scales' start, sqrt(d), are not in the paper.
        """
        n, found = len(draws), {}
        for module, d in self.widths.items():
            deviation = INITIAL * math.sqrt(2 / ((1 + SLOPE**2) * d))
            if self.inputs == "scale":
                found[f"{module}.scale"] = like.new_full((n,), math.sqrt(d))
            for block in range(self.blocks):
                place = f"{module}.{block}"
                for matrix in ("w1", "w2"):
                    found[f"{place}.{matrix}"] = deviation * randn(draws, d, d, like=like)
                uniform = torch.stack([torch.rand(d, generator=one) for one in draws]).to(like)
                found[f"{place}.b"] = (2 * uniform - 1) / math.sqrt(d)
                if self.inner == "scale":
                    found |= {f"{place}.{scale}": like.new_full((n,), math.sqrt(d)) for scale in ("s1", "s2")}
        return {name: value.requires_grad_() for name, value in found.items()}

    def changes(self, gradients: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients name -> [N, c_out, c_in, k, k] -> relative changes of the same shapes (equations 2 to 4)."""
        return {name: self._change(gradient, self.module_of[name], parameters) for name, gradient in gradients.items()}

    def _change(self, gradient: Tensor, module: str, parameters: Mapping[str, Tensor]) -> Tensor:
        vectors = gradient.movedim(2, -1)
        shape = vectors.shape
        y = vectors.reshape(shape[0], -1, shape[-1])
        y = NORMS[self.inputs](y, parameters.get(f"{module}.scale", y.new_ones(1)))
        for block in range(self.blocks):
            own = {key: parameters.get(f"{module}.{block}.{key}", y.new_ones(1)) for key in ("w1", "w2", "b", "s1", "s2")}
            norm = NORMS[self.inner]
            hidden = F.leaky_relu(norm(y, own["s1"]), SLOPE) @ own["w1"].mT
            hidden = F.leaky_relu(norm(hidden, own["s2"]), SLOPE) @ own["w2"].mT
            y = y + hidden + own["b"][:, None]
        return y.reshape(shape).movedim(-1, 2)


def _for_each(scale: Tensor, vectors: Tensor) -> Tensor:
    """``scale`` [N] with as many axes as ``vectors``."""
    return scale.reshape(-1, *[1] * (vectors.ndim - 1))
