"""A network that the tests save and load."""

import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, *, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 2)
        self.register_buffer("count", torch.tensor(3))
