"""Pickles as NVIDIA's codes write them, with classes of their names that are gone when the file is read."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn


class _Nvidia:
    """What stylegan2-ada-pytorch has in a network pickle: modules pickle as source code and attributes."""

    def __init__(self) -> None:
        persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

        def _reconstruct_persistent_obj(meta: Any) -> Any:
            raise AssertionError("the file's code was run")

        class EasyDict(dict):
            pass

        class Persistent(nn.Module):
            """A module with these tensors and children; attributes as NVIDIA's networks have them, a NumPy scalar too."""

            def __init__(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], children: Mapping) -> None:
                super().__init__()
                for key, value in parameters.items():
                    self.register_parameter(key, nn.Parameter(value))
                for key, value in buffers.items():
                    self.register_buffer(key, value, persistent=key != "passing")
                for key, child in children.items():
                    self.add_module(key, child)
                self.weight_gain = 1 / np.sqrt(512)
                self._init_args, self._init_kwargs = (), EasyDict(z_dim=512, synthesis_kwargs=EasyDict(conv_clamp=256))

            def __reduce__(self) -> tuple[Any, ...]:
                source = "raise AssertionError('the source code in the file was run')"
                meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Generator", "state": self.__dict__}
                return _reconstruct_persistent_obj, (meta,), None

        for thing, module in ((_reconstruct_persistent_obj, persistence), (EasyDict, util)):
            thing.__module__, thing.__qualname__ = module.__name__, thing.__name__
            setattr(module, thing.__name__, thing)
        self.names = {"torch_utils": types.ModuleType("torch_utils"), persistence.__name__: persistence}
        self.names |= {"dnnlib": types.ModuleType("dnnlib"), util.__name__: util}
        self.Persistent, self.EasyDict = Persistent, EasyDict

    def write(self, path: Path, content: Any, protocol: int = 4) -> Path:
        return _write(path, content, self.names, protocol)

    def nested(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The module tree whose state dict is ``state``; what NVIDIA registers as buffers are buffers here."""
        parts: dict[str, dict[str, Tensor]] = {}
        parameters, buffers = {}, {}
        for key, value in state.items():
            if "." in key:
                parts.setdefault(key.split(".")[0], {})[key.split(".", 1)[1]] = value
            else:
                (buffers if key in ("noise_const", "w_avg") else parameters)[key] = value
        return self.Persistent(parameters, buffers, {key: self.nested(part) for key, part in parts.items()})


nvidia = _Nvidia()


class _TensorFlow:
    """What NVlabs/stylegan2 has in a network pickle: its variables by name, and source code."""

    def __init__(self) -> None:
        module = types.ModuleType("dnnlib.tflib.network")

        class Network:
            def __init__(self, variables: list[tuple[str, Any]], **parts: Any) -> None:
                self.state = {
                    "version": 4,
                    "name": "Gs",
                    "static_kwargs": {"num_channels": 3, "func": "G_main"},
                    "components": parts,
                    "build_module_src": "raise AssertionError('the source code in the file was run')",
                    "build_func_name": "G_main",
                    "variables": variables,
                }

            def __getstate__(self) -> dict[str, Any]:
                return self.state

        Network.__module__, Network.__qualname__ = module.__name__, "Network"
        module.Network = Network  # type: ignore[attr-defined]
        self.Network = Network
        self.names = {"dnnlib": types.ModuleType("dnnlib"), "dnnlib.tflib": types.ModuleType("dnnlib.tflib")}
        self.names |= {module.__name__: module}

    def write(self, path: Path, variables: Mapping[str, Any], *, protocol: int = 4) -> Path:
        """(G, D, Gs), of which only the last has variables."""
        own = {name: value for name, value in variables.items() if "/" not in name}
        parts = {
            part: self.Network([(k.partition("/")[2], v) for k, v in variables.items() if k.startswith(f"{part}/")])
            for part in ("mapping", "synthesis")
        }
        whole = self.Network(list(own.items()), **parts)
        return _write(path, (self.Network([]), self.Network([]), whole), self.names, protocol)

    def variables(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The variables that TensorFlow's code would keep for our tensors; a session gives those without axes as scalars."""
        found: dict[str, Any] = {"lod": np.float32(0), "synthesis/lod": np.float32(0)}
        for key, tensor in state.items():
            value = tensor.numpy()
            part, *rest = key.split(".")
            if key == "mapping.w_avg":
                found["dlatent_avg"] = value
            elif part == "mapping":
                found[f"mapping/Dense{rest[0][2:]}/{rest[1]}"] = value.T
            elif rest[1:] == ["const"]:
                found["synthesis/4x4/Const/const"] = value[None]
            else:
                size = int(rest[0][1:])
                layer = {"conv1": "Conv" if size == 4 else "Conv1", "conv0": "Conv0_up", "torgb": "ToRGB"}[rest[1]]
                number = 2 * int(np.log2(size)) - (5 if rest[1] == "conv0" else 4)
                kind = ".".join(rest[2:])
                place = f"synthesis/{size}x{size}/{layer}"
                if kind == "noise_const":
                    found[f"synthesis/noise{number}"] = value[None, None]
                elif kind == "weight":
                    turned = value[:, :, ::-1, ::-1] if rest[1] == "conv0" else value
                    found[f"{place}/weight"] = turned.transpose(2, 3, 1, 0)
                elif kind == "affine.weight":
                    found[f"{place}/mod_weight"] = value.T
                elif kind == "affine.bias":
                    found[f"{place}/mod_bias"] = value - 1
                else:
                    found[f"{place}/{kind}"] = value
        return {name: np.ascontiguousarray(value) if np.ndim(value) else np.float32(value) for name, value in found.items()}


tensorflow = _TensorFlow()


def _write(path: Path, content: Any, names: Mapping[str, types.ModuleType], protocol: int) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        for name, module in names.items():
            patch.setitem(sys.modules, name, module)
        path.write_bytes(pickle.dumps(content, protocol))
    return path
