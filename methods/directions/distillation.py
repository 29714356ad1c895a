"""StyleGAN2 distillation (Viazovetskyi et al., ECCV 2020; EvgenyKashin/stylegan2-distillation): coefficients of a classifier.

Its main result, a network that draws edited pictures in one pass, is no direction and is not here; the directions are those
that its training pairs were made with.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from invbench.methods.directions.fitting import Task, over

TRUNCATION = 0.7  # of the latents that are classified
LAYERS = (0, 8)  # that an edit moves, the last one excluded


def fit(task: Task) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The direction [L, D] of each attribute, and the accuracy of each classifier on the latents that it was fitted on.

    A picture is of the class if its reading lies above the median. The published code takes the coefficients in the length that
    they come in; here lengths are set by measurement afterwards (:mod:`invbench.methods.directions.fitting`).
    """
    latents = task.generator.truncate(task.latents(task.samples, 0), TRUNCATION)
    scores, codes = task.read(task.ws(latents)), latents.double().cpu().numpy()
    found, figures = {}, {}
    for name, wanted in task.wanted.items():
        own = scores[:, wanted.column]
        vector, figures[f"{name}_accuracy"] = coefficients(codes, own > np.median(own))
        vector = vector / np.linalg.norm(vector)
        found[name] = over(torch.from_numpy(vector).to(latents), LAYERS, task.generator.num_ws)
    return found, figures


def coefficients(latents: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients [D] of a logistic regression of ``labels`` [M] on ``latents`` [M, D], classes balanced, and its accuracy."""
    model = LogisticRegression(class_weight="balanced", C=1.0, max_iter=1000).fit(latents, labels)
    return model.coef_[0], float(model.score(latents, labels))
