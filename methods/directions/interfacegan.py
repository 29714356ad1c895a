"""InterFaceGAN (Shen et al., CVPR 2020; genforce/interfacegan): the normal of a linear SVM between the extremes of a score."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.svm import LinearSVC
from torch import Tensor

from invbench.methods.directions.fitting import Task

EXTREME = 0.02  # share of the latents at each end that the SVM sees
TRAINED_ON = 0.7  # share of those; the rest measures its accuracy


def fit(task: Task) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The direction [L, D] of each attribute in all layers, and the accuracy of each SVM on latents that it did not see.

    With ``task.conditional`` a direction has no part along those of the other attributes.
    """
    latents = task.latents(task.samples, 0)
    scores, codes = task.read(task.ws(latents)), latents.double().cpu().numpy()
    normals, figures = dict[str, Tensor](), dict[str, float]()
    for name, wanted in task.wanted.items():
        normal, figures[f"{name}_svm_accuracy"] = boundary(codes, scores[:, wanted.column], task.seed)
        normals[name] = torch.from_numpy(normal).to(latents)
    if task.conditional and len(normals) > 1:
        normals = {
            name: conditioned(normal, torch.stack([other for key, other in normals.items() if key != name]))
            for name, normal in normals.items()
        }
    return {name: task.ws(normal[None])[0] for name, normal in normals.items()}, figures


def boundary(
    latents: np.ndarray, scores: np.ndarray, seed: int, *, extreme: float = EXTREME
) -> tuple[np.ndarray, float]:
    """Unit normal [D] of the SVM between the extremes of ``scores`` [M], towards high scores, and its held-out accuracy.

    ``extreme`` is the share of the latents at each end.
    """
    order = np.argsort(scores, kind="stable")
    count = max(2, round(extreme * len(order)))
    chosen = np.concatenate([order[:count], order[-count:]])
    labels = np.repeat([0, 1], count)
    shuffled = np.random.default_rng(seed).permutation(len(chosen))
    train, test = np.split(shuffled, [round(TRAINED_ON * len(chosen))])
    svm = LinearSVC(C=1.0, random_state=seed, max_iter=20_000).fit(latents[chosen[train]], labels[train])
    normal = svm.coef_[0] / np.linalg.norm(svm.coef_[0])
    return normal, float(svm.score(latents[chosen[test]], labels[test]))


def conditioned(direction: Tensor, others: Tensor) -> Tensor:
    """A direction [D] without its part in the span of ``others`` [K, D], of unit length: InterFaceGAN's conditional direction.

    For one other n: d - <d, n> n.
    """
    basis, _ = torch.linalg.qr(others.double().T)
    left = direction.double() - basis @ (basis.T @ direction.double())
    return (left / left.norm().clamp_min(1e-12)).to(direction)
