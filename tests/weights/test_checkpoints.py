"""Files of strangers: what torch and NVIDIA write is read, hostile and broken files are refused and nothing of them is run."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invbench.api import InvbenchError, MissingWeights
from invbench.methods.convert.stylegan2 import convert_generator
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from invbench.weights import network_pickles
from invbench.weights.checkpoints import load_checkpoint
from tests.weights.pickles import nvidia

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3)}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_nvidia_pickle_becomes_a_generator(protocol, tmp_path):
    config = GeneratorConfig(16, {4: 6, 8: 5, 16: 4}, z_dim=7, w_dim=9, n_mapping=2)
    network = Generator(config)
    random = torch.Generator().manual_seed(0)
    network.load_state_dict({key: torch.randn(v.shape, generator=random) for key, v in network.state_dict().items()})
    content = {
        "training_set_kwargs": nvidia.EasyDict(path="faces.zip"),
        "G": nvidia.nested({key: 0 * value for key, value in network.state_dict().items()}),
        "augment_pipe": None,
        "G_ema": nvidia.nested(network.state_dict()),
    }
    found = load_checkpoint(nvidia.write(tmp_path / "network.pkl", content, protocol))
    assert set(found) == {"G", "G_ema", "init_kwargs"}
    assert found["init_kwargs"]["G_ema"] == {"z_dim": 512, "synthesis_kwargs": {"conv_clamp": 256}}
    converted = convert_generator(found, source="network.pkl")
    assert converted.config == replace(config, conv_clamp=256) and converted.notes == ()
    assert all(torch.equal(converted.state[key], value) for key, value in network.state_dict().items())


def test_state_dicts_are_those_of_the_modules(tmp_path):
    shared = torch.arange(12.0)
    child = nvidia.Persistent({"tied": shared[2:8].view(2, 3).T}, {"passing": torch.ones(1), "small": shared[:2].half()}, {})
    network = nvidia.Persistent({"whole": shared}, {"count": torch.tensor(7)}, {"b8": child})
    found = load_checkpoint(nvidia.write(tmp_path / "n.pkl", {"G_ema": network}))["G_ema"]
    expected = network.state_dict()
    assert list(found) == list(expected) == ["whole", "count", "b8.tied", "b8.small"]
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value)


# Torch files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_of_both_kinds(zipped, tmp_path):
    content = {"state_dict": OrderedDict(STATE), "opts": {"size": 256}, "args": argparse.Namespace(lr=0.1), "latent_avg": None}
    torch.save(content, tmp_path / "any.name", _use_new_zipfile_serialization=zipped)
    found = load_checkpoint(tmp_path / "any.name")
    assert torch.equal(found["state_dict"]["weight"], STATE["weight"]) and found["opts"] == {"size": 256}
    assert found["args"].lr == 0.1


# Hostile files ------------------------------------------------------------------------------------------------------------


class Reduced:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def touch(path: Path) -> str:
    return f"touch {path}"


def hostile(kind: str, mark: Path) -> Any:
    """An object whose unpickling would make the file ``mark``."""
    code = f"open({str(mark)!r}, 'w')"
    inner = io.BytesIO()
    pickle.dump(Reduced(eval, code), inner)
    torch_inner = io.BytesIO()
    torch.save(Reduced(eval, code), torch_inner, _use_new_zipfile_serialization=False)
    return {
        "os.system": Reduced(os.system, touch(mark)),
        "eval": Reduced(eval, code),
        "exec": Reduced(exec, code),
        "nested": {"G_ema": [{"deep": (Reduced(os.popen, touch(mark)),)}]},
        "as a key": {Reduced(eval, code): 1},
        "import": Reduced(__import__, "antigravity"),
        "pickle.loads": Reduced(pickle.loads, inner.getvalue()),
        "torch.load": Reduced(torch.load, io.BytesIO(torch_inner.getvalue())),
        "class": Reduced(type, "Evil", (), {"a": 1}),
        "state": Reduced(OrderedDict, state=Reduced(eval, code)),
        "storage": Reduced(torch.storage._load_from_bytes, torch_inner.getvalue()),
        "partial": Reduced(__import__("functools").partial, os.system, touch(mark)),
        "file": Reduced(open, str(mark), "w"),
        "compile": Reduced(compile, code, "x", "exec"),
    }[kind]


KINDS = ["os.system", "eval", "exec", "nested", "as a key", "pickle.loads", "torch.load", "class", "state", "partial", "file"]
KINDS += ["compile", "import"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_is_refused_by_its_name(kind, protocol, tmp_path):
    data = pickle.dumps({"G_ema": hostile(kind, tmp_path / "mark")}, protocol)
    (tmp_path / "evil.pkl").write_bytes(data)
    with pytest.raises(InvbenchError, match=r"^\S+evil.pkl: expected tensors and plain values only, found the name '\S+'; no"):
        load_checkpoint(tmp_path / "evil.pkl")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", ["os.system", "eval", "nested", "as a key", "pickle.loads", "state", "class", "file"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_torch_file_is_refused_by_its_name(kind, zipped, tmp_path):
    content = {"g_ema": STATE, "x": hostile(kind, tmp_path / "mark")}
    torch.save(content, tmp_path / "e.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InvbenchError, match=r"^\S+e.pt: expected tensors and plain values only, found the name '\S+'; nothing"):
        load_checkpoint(tmp_path / "e.pt")
    assert not (tmp_path / "mark").exists()


def test_code_in_the_storage_of_a_tensor_is_not_run(tmp_path):
    mark = tmp_path / "mark"

    class Storage:
        def __reduce__(self) -> Any:
            return hostile("storage", mark).__reduce__()

    class Weight:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, (2,), (1,), False, OrderedDict())

    network = nvidia.Persistent({}, {}, {})
    network.__dict__["_parameters"] = {"weight": Weight()}
    path = nvidia.write(tmp_path / "evil.pkl", {"G_ema": network})
    with pytest.raises(InvbenchError, match="^.*evil.pkl: expected modules and tensors as NVIDIA's code writes them"):
        load_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x04cbuiltins\ngetattr\n(cos\n__dict__\n\x8c\x06systemtR.", "the name 'builtins.getattr'"),
        (b"\x80\x04Pother\n.", "an instruction that networks do not"),  # a persistent id
        (b"\x80\x04\x8c\x01aQ.", "an instruction that networks do not"),
        (b"\x80\x04(ios\nsystem\n.", "an instruction that networks do not"),  # an old instance
        (b"\x80\x04\x82\x01.", "an instruction that networks do not"),  # the extension registry
        (b"\x80\x05\x96\x00\x00\x00\x00\x00\x00\x00\x10.", "an instruction that networks do not"),
        (b"\x80\x04ctorch._utils\n_rebuild_parameter\n}\x8c\x08__code__\x8c\x01asb.", "an instruction"),  # set on a function
        (b"\x80\x04]}b.", "an instruction that"),
        (b"\x80\x04\x8c\x03abc)R.", "expected a call of a known name, found one of str"),
        (b"\x80\x04ccollections\nOrderedDict\n).", "expected a dictionary of networks, found list"),
        (b"\x80\x04}(]K\x01u.", "TypeError"),  # a list as a key
        (b"\x80\x04K\x01r\xff\xff\xff\x7f0}.", "expected a network such as 'G_ema', found nothing"),  # a giant memo index
        (b"\x80\x04B\xff\xff\xff\x7fabc", "2147483647 bytes asked for where 3 are left"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00", "bytes asked for where 0 are left"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x00", "bytes asked for where 0 are left"),
        (b"\x80\x04\xff.", "expected a whole pickle of networks, found a damaged one"),
        (b"\x80\x04}\x8c\x05G_emaN", "expected a whole pickle of networks, found a damaged one: EOFError"),
        (b"\x80\x04}\x8c\x05G_emaNs.", "expected a network such as 'G_ema', found 'G_ema'"),
        (b"\x80\x04" + b"]" * 50 + b"." , "expected a dictionary of networks, found list"),
        (b"\x80\x63}.", "unsupported pickle protocol"),
    ],
)  # fmt: skip
def test_strange_instructions_are_refused(data, message, tmp_path):
    (tmp_path / "strange.pkl").write_bytes(data)
    with pytest.raises(InvbenchError, match=f"^.*strange.pkl: .*{message}"):
        load_checkpoint(tmp_path / "strange.pkl")


def test_nested_tuples_cannot_be_hashed(tmp_path):
    # 60 levels of pairs of the same pair: as a key, its hash would take 2^60 steps.
    data = b"\x80\x04}K\x01" + b"2\x86" * 60 + b"Ns."
    (tmp_path / "bomb.pkl").write_bytes(data)
    with pytest.raises(InvbenchError, match="bomb.pkl: expected a whole pickle of networks, found a damaged one: TypeError"):
        load_checkpoint(tmp_path / "bomb.pkl")


def test_a_network_that_contains_itself_many_times_ends(tmp_path):
    network = nvidia.Persistent({"w": torch.zeros(1)}, {}, {})
    for _ in range(40):
        network = nvidia.Persistent({}, {}, {"a": network, "b": network})
    path = nvidia.write(tmp_path / "bomb.pkl", {"G_ema": network})
    with pytest.raises(InvbenchError, match="bomb.pkl: expected (at most 10000 modules|a module of a known kind)"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (7,), (1,)), (3, (2, 2), (2, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (1,))],
)
def test_a_tensor_outside_its_storage_is_refused(offset, shape, strides, tmp_path):
    class Weight:
        def __reduce__(self) -> Any:
            storage = torch.arange(6.0).storage()
            return torch._utils._rebuild_tensor_v2, (storage, offset, shape, strides, False, OrderedDict())

    network = nvidia.Persistent({}, {}, {})
    network.__dict__["_parameters"] = {"weight": Weight()}
    path = nvidia.write(tmp_path / "n.pkl", {"G_ema": network})
    with pytest.raises(InvbenchError, match="n.pkl: weight: expected (a tensor inside its storage|offset, shape and strides)"):
        load_checkpoint(path)


# Broken and foreign files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_truncated_torch_files(zipped, share, tmp_path):
    path = tmp_path / "short.pt"
    torch.save({"weight": torch.zeros(5000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InvbenchError, match=r"^\S+short.pt: expected a whole PyTorch checkpoint, found a truncated"):
        load_checkpoint(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_nvidia_pickles(share, tmp_path):
    path = nvidia.write(tmp_path / "short.pkl", {"G_ema": nvidia.Persistent({"weight": torch.zeros(5000)}, {}, {})})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InvbenchError, match=r"^\S+short.pkl: expected a whole pickle of networks, found a damaged one"):
        load_checkpoint(path)


QUOTA = b"\n<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>Too many users</body></html>"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (QUOTA, r"a web page \('Google Drive - Quota exceeded'\): the download was answered"),
        (b"<HTML><body>Sign in</body></HTML>", "a web page: the download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"", r"a file of 0 bytes that begins with b''"),
        (b"\x89PNG\r\n\x1a\n", r"a file of 8 bytes that begins with b'\\x89PNG"),
    ],
)
def test_other_files_are_named(data, found, tmp_path):
    (tmp_path / "model.pt").write_bytes(data)
    expected = "expected a PyTorch checkpoint or an NVIDIA network pickle"
    with pytest.raises(InvbenchError, match=rf"^\S+model.pt: {expected}, found {found}"):
        load_checkpoint(tmp_path / "model.pt")


def test_archives_that_unpack_to_more_than_themselves_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(10**6))
    with pytest.raises(InvbenchError, match="bomb.pt: expected the uncompressed parts of a PyTorch checkpoint, found"):
        load_checkpoint(tmp_path / "bomb.pt")


def test_no_dictionary_no_file_and_programs(tmp_path):
    with zipfile.ZipFile(tmp_path / "vgg16.pt", "w") as archive:
        archive.writestr("vgg16/constants.pkl", b"\x80\x02).")
    with pytest.raises(InvbenchError, match="vgg16.pt: expected one data.pkl in a TorchScript program, found 0"):
        load_checkpoint(tmp_path / "vgg16.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(InvbenchError, match="list.pt: expected a dictionary of tensors, found list"):
        load_checkpoint(tmp_path / "list.pt")
    with pytest.raises(MissingWeights, match=r"^weights missing: \S+none.pt$"):
        load_checkpoint(tmp_path / "none.pt")


def test_what_the_unpickler_knows_cannot_be_called_or_changed():
    for name in network_pickles.RECORDED:
        record = network_pickles.Name(name)("argument")
        assert isinstance(record, network_pickles.Record) and record.args == ("argument",)
        assert not callable(record)


@pytest.mark.parametrize("promised", [4, 10**12])
def test_an_array_that_promises_more_than_its_file_has_takes_no_memory(tmp_path, promised):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({promised},), }}"
    path = tmp_path / "direction.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.ljust(117).encode() + b"\n" + bytes(24))
    with pytest.raises(InvbenchError, match="direction.npy: expected a whole array of numbers"):
        load_checkpoint(path)
    np.save(path, np.arange(3.0))
    (array,) = load_checkpoint(path).values()
    assert array.tolist() == [0, 1, 2]
