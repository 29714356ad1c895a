"""Files of edit directions: GANSpace's archives and exports, arrays, and hostile ones, which are told in one line."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch

from invbench.api import Edit, InvbenchError
from invbench.methods.convert.directions import edit_directions
from invbench.weights import direction_files

DRAW = np.random.default_rng(0)
COMP = np.linalg.qr(DRAW.standard_normal((8, 8)))[0][:, None].astype(np.float32)
MEAN, STD = DRAW.standard_normal((1, 8)).astype(np.float32), (DRAW.random(8) + 0.5).astype(np.float32)
OTHERS = {"act_comp": COMP, "act_mean": MEAN, "act_stdev": STD, "var_ratio": STD, "random_stdevs": STD}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_components_of_ganspace_are_those_of_the_torch_form(tmp_path, save):
    save(tmp_path / "a.npz", lat_comp=COMP, lat_mean=MEAN, lat_stdev=STD, **OTHERS)
    tensors = {"comp": torch.from_numpy(COMP), "mean": torch.from_numpy(MEAN), "std": torch.from_numpy(STD)}
    torch.save(tensors, tmp_path / "a.pt")
    latents = torch.from_numpy(DRAW.standard_normal((2, 6, 8)).astype(np.float32))
    edits = {"smile": {"file": "a", "component": 3, "layers": [1, 4], "scale": -20.0}}
    moved = []
    for name in ("a.npz", "a.pt"):
        content = direction_files.read(tmp_path / name)
        network = edit_directions({"a": content}, sources={"a": name}, num_ws=6, edits=edits)
        moved.append(network.move(latents, Edit("smile", 1.0)))
    assert torch.equal(*moved)
    position = ((moved[0][:, 1] - torch.from_numpy(MEAN)) @ torch.from_numpy(COMP[3, 0])) / STD[3]
    same = latents[:, 1] - latents[:, 0]  # the position is read from layer 0
    there = position - same @ torch.from_numpy(COMP[3, 0]) / STD[3]
    torch.testing.assert_close(there, torch.full((2,), -20.0), rtol=1e-4, atol=1e-3)


def exported(**changes):
    given = {"name": "smile", "sigma_range": 2.0, "lat_comp": COMP[3], "lat_stdev": STD[3]}
    given |= {"edit_start": 2, "edit_end": np.int64(5)}
    return given | {"decomposition": {"name": "ipca", "components": 80}, "truncation": 0.7, "example_seed": 1} | changes


@pytest.mark.parametrize("protocol", [3, 4])
def test_an_export_of_ganspace_is_a_step_of_a_deviation_in_its_layers(tmp_path, protocol):
    (tmp_path / "e.pkl").write_bytes(pickle.dumps(exported(), protocol=protocol))
    content = direction_files.read(tmp_path / "e.pkl")
    network = edit_directions({"e": content}, sources={"e": "e.pkl"}, num_ws=6, edits={"s": {"file": "e"}})
    np.testing.assert_allclose(network["s"][2:5].numpy(), np.repeat(COMP[3] * STD[3], 3, axis=0), rtol=1e-6)
    assert not network["s"][:2].any() and not network["s"][5:].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_array_is_one_direction_whatever_the_file(tmp_path, dtype):
    vector = DRAW.standard_normal((6, 8)).astype(dtype)
    np.save(tmp_path / "a.npy", vector)
    np.savez(tmp_path / "a.npz", vector)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(vector, protocol=4))
    torch.save(torch.from_numpy(vector), tmp_path / "a.pt")
    for name in ("a.npy", "a.npz", "a.pkl", "a.pt"):
        found = direction_files.read(tmp_path / name)
        assert found["tensor"].dtype == torch.float32
        np.testing.assert_array_equal(found["tensor"].numpy(), vector.astype(np.float32))


class Hostile:
    def __reduce__(self):
        return print, ("ran",)


def archive(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return made.getvalue()


def array(value) -> bytes:
    made = io.BytesIO()
    np.save(made, value, allow_pickle=True)
    return made.getvalue()




def header(shape) -> bytes:
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return made.getvalue()


LYING = header((10**12,)) + bytes(8)  # an array of 4 TB, of which 8 bytes are there


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.pkl", pickle.dumps({"lat_comp": Hostile()}), "found the name 'builtins.print'; nothing of it was run"),
        ("a.pkl", pickle.dumps(exported(lat_comp=COMP[3] * np.nan), protocol=4), "tensor: expected finite numbers, found NaN"),
        ("a.pkl", pickle.dumps({"a": 1}), "expected one array, or lat_comp, lat_stdev, edit_start, edit_end of GANSpace"),
        ("a.pkl", pickle.dumps(exported(edit_end=2), protocol=4), "layers edit_start below edit_end, found 2 and 2"),
        ("a.pkl", pickle.dumps(exported(), protocol=4)[:-20], "expected a whole pickle of arrays, found a damaged one"),
        ("a.npz", archive(lat_comp=array(COMP), lat_mean=array(MEAN)), "expected the arrays lat_comp, lat_mean, lat_stdev"),
        ("a.npz", archive(a=array(np.array([Hostile()], object))), "a.npy: expected a whole array of numbers, found object"),
        ("a.npz", archive(a=array(COMP)[:-5]), "expected a whole archive of arrays, found a damaged one"),
        ("a.npz", archive(a=LYING), "a.npy: expected a whole array of numbers, found float32 (1000000000000,)"),
        ("a.npz", archive(a=b"none"), "expected a whole archive of arrays, found a damaged one"),
        ("a.npy", array(np.array([np.inf, 1.0])), "tensor: expected finite numbers, found NaN or infinite ones"),
        ("a.pt", b"PK\x03\x04 and nothing", "expected a whole PyTorch checkpoint, found a truncated or damaged one"),
        ("a.txt", b"hello", "expected a PyTorch checkpoint or an NVIDIA network pickle, found a file of 5 bytes"),
    ],
)
def test_hostile_and_damaged_files_are_told_in_a_line(tmp_path, capsys, name, data, told):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvbenchError) as error:
        direction_files.read(tmp_path / name)
    assert told in str(error.value) and str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_components_of_wrong_shapes_are_told():
    content = {"comp": torch.zeros(3, 1, 8), "mean": torch.zeros(1, 7), "std": torch.zeros(3)}
    with pytest.raises(InvbenchError, match=r"a.pt: expected comp \[K, 1, D\], mean \[1, D\] and std \[K\], found .*\(1, 7\)"):
        edit_directions({"a": content}, sources={"a": "a.pt"}, num_ws=6, edits={"e": {"file": "a", "component": 0}})
