"""The device of a foreign process: the one that the run has, and no other."""

from __future__ import annotations

import os
from typing import Any

import torch

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def surroundings(device: torch.device, *, threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    """Variables of the environment, and the placeholders ``device``, ``gpu`` and ``threads``; ``number`` as nvidia-smi counts.

    A process on a GPU sees that one alone, as ``cuda``; one on a CPU sees none, and has ``threads`` threads.
    """
    if device.type != "cuda":
        env = dict.fromkeys(THREADS, str(threads)) | {"CUDA_VISIBLE_DEVICES": ""}
        return env, {"device": "cpu", "gpu": "", "threads": threads, "number": None}
    here, index = os.environ.get("CUDA_VISIBLE_DEVICES"), device.index or 0
    name = here.split(",")[index].strip() if here else str(index)
    number = int(name) if name.isdecimal() else None
    return {"CUDA_VISIBLE_DEVICES": name}, {"device": "cuda", "gpu": name, "threads": threads, "number": number}
