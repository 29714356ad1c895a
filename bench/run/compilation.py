"""Compilation of the networks of methods, by torch.compile; metrics always use them as they are.

    off      nothing is compiled
    default  the forward and backward passes of networks become fused kernels
    graphs   the same, replayed as CUDA graphs, which saves the launches of small batches; on a CPU there is no such thing: off

A method needs no line for it. Whatever module of its networks it calls is compiled as a whole, with all modules in it, once for
each shape of a batch. The kernels sum in another order, so results differ from plain ones by rounding, which steps amplify.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

OFF, DEFAULT, GRAPHS = NAMES = ("off", "default", "graphs")
HOW: dict[str, dict[str, Any]] = {DEFAULT: {"mode": "default"}, GRAPHS: {"mode": "reduce-overhead"}}  # for torch.compile
SHAPES = 64  # of one module's inputs that are compiled; batches shrink while images are finished one by one


def effective(name: str, device: torch.device | str) -> str:
    """The mode that a device really uses when ``name`` is asked for."""
    return OFF if name == GRAPHS and torch.device(device).type == "cpu" else name


def settled(name: str, device: torch.device | str, *, here: bool) -> tuple[str, str]:
    """The mode of a run on a device, and a line for the user if it is not the one asked for, else "".

    here  whether methods work on this machine, so that the compiler can be tried
    """
    device = torch.device(device)
    if effective(name, device) != name:
        return effective(name, device), f"--compile {name}: gains nothing on a {device.type}, so nothing is compiled"
    if name != OFF and here and (reason := trouble(device)):
        return OFF, f"--compile {name}: the compiler does not work here, so nothing is compiled: {reason}"
    return name, ""


def trouble(device: torch.device) -> str:
    """Why nothing can be compiled for a device on this machine, in a line; "" if it can. Takes some seconds."""
    tried = torch.compile(_tried, dynamic=False, options={"force_disable_caches": True})
    logging.disable(logging.WARNING)  # the compiler's own; the error says more
    try:
        tried(torch.zeros(64, 64, device=device))
    except Exception as error:  # of any of the tools that it calls
        return next(iter(str(error).splitlines()), type(error).__name__)
    finally:
        logging.disable(logging.NOTSET)
    return ""


def _tried(x: Tensor) -> Tensor:
    return (x.sin() + 1).sum()


class Compiler:
    """Compiled calls of modules in the mode "default" or "graphs"; a call is made once and compiled when it is first used."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._calls: dict[nn.Module, Callable[..., Any]] = {}
        import torch._dynamo.config as limits  # it takes a second, which plain runs need not wait

        limits.recompile_limit = max(limits.recompile_limit, SHAPES)

    @contextmanager
    def compiling(self, networks: Iterable[nn.Module]) -> Iterator[None]:
        """Within this, calls of the networks and of their parts are compiled ones. Names of parameters stay as they are."""
        modules = [module for network in networks for module in network.modules() if _is_whole(module)]
        for module in modules:
            if module not in self._calls:
                self._calls[module] = self._compiled(module)
            module._compiled_call_impl = self._calls[module]
        try:
            yield
        finally:
            for module in modules:
                module._compiled_call_impl = None

    def _compiled(self, module: nn.Module) -> Callable[..., Any]:
        module.compile(dynamic=False, **HOW[self.mode])
        call: Any = module._compiled_call_impl
        return partial(_copied, call) if self.mode == GRAPHS else call


def _is_whole(module: nn.Module) -> bool:
    """Whether compiling a module may gain anything: not if it is a single layer of torch, unless it is in another module."""
    return any(True for _ in module.children()) or not type(module).__module__.startswith("torch.nn.")


def _copied(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """A graph writes its results where those of its last replay were, and a method may still hold these."""
    found = call(*args, **named)
    if torch.compiler.is_compiling():  # within a larger graph
        return found
    return tree_map(lambda one: one.clone() if isinstance(one, Tensor) else one, found)
