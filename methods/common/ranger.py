"""Ranger, the optimiser of the pSp family: RAdam with gradient centralisation and lookahead.

RAdam: Liu et al. 2020 (torch's own is used). Gradient centralisation: Yong et al. 2020. Lookahead: Zhang et al. 2019.
The combination and its defaults: lessw2020/Ranger-Deep-Learning-Optimizer, as eladrich/pixel2style2pixel uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Ranger(torch.optim.RAdam):
    """RAdam on centralised gradients; every ``k`` steps the weights are reset to a slow copy that follows them.

    lr      peak rate per step
    k       number of steps between two synchronisations with the slow weights
    alpha   share of the difference by which the slow weights move to the fast ones, in [0, 1]
    stacked whether the first axis of every parameter stacks independent ones (one an image), each with a row of its own
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-4,
        *,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        k: int = 6,
        alpha: float = 0.5,
        stacked: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps)
        self.k, self.alpha, self.rows = k, alpha, 1 + stacked

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step. Returns the result of ``closure``, None without one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        active = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        # RAdam treats a parameter with any state as initialised, so slow weights of new parameters are added after the step.
        fresh = {p: p.clone() for p in active if p not in self.state}
        for p in active:
            if p.ndim > self.rows:
                p.grad -= p.grad.mean(dim=tuple(range(self.rows, p.ndim)), keepdim=True)
        super().step()
        for p in active:
            state = self.state[p]
            if p in fresh:
                state["slow"] = fresh[p]
            if int(state["step"]) % self.k == 0:
                p.copy_(state["slow"].lerp_(p, self.alpha))
        return loss
