"""A method whose calls compute otherwise than plainly in fp32: in another precision, with compiled networks, or both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from invbench.api import Clock, Edit, Inversion, Method
from invbench.run.compilation import Compiler
from invbench.run.precision import computing

APART = 0.1  # dB of PSNR by which results may differ from plain fp32


@dataclass(frozen=True)
class Switched:
    """``method`` is the same, computing plainly; ``networks`` are its own. Everything but its calls is as it was."""

    method: Method
    precision: str
    device: torch.device
    compiler: Compiler | None = None
    networks: Sequence[nn.Module] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    @property
    def how(self) -> str:
        """The switches in words: "bf16", "fp32 compiled (graphs)"."""
        return self.precision + (f" compiled ({self.compiler.mode})" if self.compiler else "")

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        """As :class:`invbench.api.Method` says."""
        with self._switched():
            return self.method.invert(images, clock)

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        """As :class:`invbench.api.Method` says."""
        with self._switched():
            return self.method.edit(inversion, edit, clock)

    def max_batch(self, memory: int) -> int:
        """As :class:`invbench.api.Method` says."""
        return self.method.max_batch(memory)

    @contextmanager
    def _switched(self) -> Iterator[None]:
        with computing(self.precision, self.device):
            if self.compiler is None:
                yield
            else:
                with self.compiler.compiling(self.networks):
                    yield
