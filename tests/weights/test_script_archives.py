"""Tensors of TorchScript programs, without the programs."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.weights.checkpoints import load_checkpoint

RUN = []


class Network(nn.Module):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.rest = nn.ModuleList([nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False)])
        self.tied = self.rest[1]
        self.register_buffer("mean", torch.arange(6.0).reshape(2, 3).t()[:1].half())

    def forward(self, x: Tensor) -> Tensor:
        return self.tied(self.rest[0](self.first(x) + self.mean.mean().float()))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the form deprecated
        torch.jit.trace(Network().eval(), torch.zeros(1, 2)).save(str(tmp_path / "net.pt"))
    return tmp_path / "net.pt"


def test_tensors_are_those_of_torch(program):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(str(program)).state_dict()
    found = load_checkpoint(program, mmap=True)
    assert set(expected) <= set(found) and {"mean", "rest.0.running_var", "rest.1.weight"} <= set(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key


def rewritten(program: Path, name: str, content: bytes) -> Path:
    """The archive with another content of one part."""
    with zipfile.ZipFile(program) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    parts[f"net/{name}"] = content
    with zipfile.ZipFile(program, "w") as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    return program


def test_nothing_of_the_file_is_run(program):
    class Evil:
        def __reduce__(self) -> tuple:
            return RUN.append, (1,)

    data = io.BytesIO()
    pickle.Pickler(data, 2).dump({"x": Evil()})
    with pytest.raises(InvbenchError, match="net.pt: expected tensors and plain values only, found"):
        load_checkpoint(rewritten(program, "data.pkl", data.getvalue()))
    assert RUN == []


def test_source_code_is_not_read(program):
    with zipfile.ZipFile(program) as archive:
        code = next(name for name in archive.namelist() if name.startswith("net/code/") and name.endswith(".py"))
    assert len(load_checkpoint(rewritten(program, code.removeprefix("net/"), b"import os; os._exit(1)"))) > 5


def test_a_tensor_outside_its_numbers(program):
    with pytest.raises(InvbenchError, match=r"net.pt: \S+: expected a tensor inside its storage of 0 numbers"):
        load_checkpoint(rewritten(program, "data/0", b""))


def test_a_damaged_program(program):
    with zipfile.ZipFile(program) as archive:
        data = archive.read("net/data.pkl")
    with pytest.raises(InvbenchError, match="net.pt: expected a whole TorchScript program, found a damaged one"):
        load_checkpoint(rewritten(program, "data.pkl", data[:-8]))
    with pytest.raises(InvbenchError, match="net.pt: expected a module under 'the program', found another object"):
        load_checkpoint(rewritten(program, "data.pkl", pickle.dumps({"a": 1}, 2)))
