"""Pickles of the TensorFlow StyleGAN2: the moving average becomes our generator; nothing of a hostile one is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invbench.api import InvbenchError
from invbench.methods.convert.stylegan2 import convert_generator, generator
from invbench.weights.checkpoints import load_checkpoint
from invbench.weights.layouts import recognise
from tests.weights import official
from tests.weights.pickles import tensorflow


@pytest.mark.parametrize("protocol", [3, 4])  # the TensorFlow codes ran on Python 3.6
def test_the_moving_average_becomes_our_generator(protocol, tmp_path):
    config, state = official.generator(32)
    path = tmp_path / "stylegan2-cat-config-f.pkl"
    content = load_checkpoint(tensorflow.write(path, tensorflow.variables(state), protocol=protocol))
    assert content["init_kwargs"]["Gs"] == {"num_channels": 3, "func": "G_main"}
    told = recognise(content)
    assert told is not None and (told.layout, told.facts) == ("stylegan2_tf", {"resolution": 32})
    converted = convert_generator(content, source="cat.pkl")
    assert converted.config == config and len(converted.notes) == 1 and "modulation biases" in converted.notes[0]
    assert set(converted.state) == set(state)
    for key, value in state.items():
        torch.testing.assert_close(converted.state[key], value, rtol=0, atol=1e-6 if key.endswith("affine.bias") else 0)
    network, _ = generator(content, source="cat.pkl")
    assert network(torch.zeros(1, config.z_dim)).shape == (1, 3, 32, 32)


def test_an_array_in_column_order_is_refused_and_numbers_of_half_precision_are_read(tmp_path):
    _, state = official.generator(8)
    variables = tensorflow.variables(state)
    half = {name: value.astype(np.float16) for name, value in variables.items()}
    content = load_checkpoint(tensorflow.write(tmp_path / "half.pkl", half))
    assert content["Gs"]["dlatent_avg"].dtype == torch.float16
    turned = variables | {"mapping/Dense0/weight": np.asfortranarray(variables["mapping/Dense0/weight"])}
    with pytest.raises(InvbenchError, match=r"f.pkl: Gs/mapping/Dense0/weight: expected an array of numbers, found another"):
        load_checkpoint(tensorflow.write(tmp_path / "f.pkl", turned))


def test_missing_unexpected_and_misshapen_variables_are_named(tmp_path):
    _, state = official.generator(8)
    variables = tensorflow.variables(state)
    del variables["synthesis/8x8/Conv1/bias"]
    variables["synthesis/8x8/Conv2/bias"] = np.zeros(4, np.float32)
    variables["synthesis/8x8/ToRGB/weight"] = np.zeros(4, np.float32)
    content = load_checkpoint(tensorflow.write(tmp_path / "g.pkl", variables))
    message = r"g.pkl: .*missing: synthesis.b8.conv1.bias .*unexpected: synthesis/8x8/Conv2/bias .*torgb.weight \(expected"
    with pytest.raises(InvbenchError, match=message):
        convert_generator(content, source="g.pkl")


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.mark)!r}, 'w')",)


def test_code_among_the_variables_is_refused_by_its_name(tmp_path):
    with pytest.raises(InvbenchError, match="evil.pkl: expected tensors and plain values only, found the name 'builtins.eval'"):
        load_checkpoint(tensorflow.write(tmp_path / "evil.pkl", {"dlatent_avg": Evil(tmp_path / "mark")}))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((1, (2**40,), np.dtype("<f4"), False, b"\0" * 4), r"expected 1099511627776 numbers of 4 bytes, found 4 bytes"),
        ((1, (-1,), np.dtype("<f4"), False, b"\0" * 4), r"expected the shape of an array, found \[-1\]"),
        ((1, (1,), np.dtype(">f4"), False, b"\0" * 4), "expected an array of numbers, found another object"),
        ((1, (1,), np.dtype("O"), False, [None]), "expected an array of numbers, found another object"),
        ((1, (1,), np.dtype("<f4"), False), "expected an array of numbers, found another object"),
    ],
)
def test_arrays_that_are_none_are_refused(state, message, tmp_path):
    class Array:
        def __reduce__(self) -> tuple[Any, ...]:
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state

    with pytest.raises(InvbenchError, match=f"a.pkl: Gs/dlatent_avg: {message}"):
        load_checkpoint(tensorflow.write(tmp_path / "a.pkl", {"dlatent_avg": Array()}))


def test_a_truncated_pickle_and_one_that_contains_itself_are_told(tmp_path):
    path = tensorflow.write(tmp_path / "short.pkl", tensorflow.variables(official.generator(8)[1]))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InvbenchError, match="short.pkl: expected a whole pickle of networks, found a damaged one"):
        load_checkpoint(path)
    data = b"\x80\x04cdnnlib.tflib.network\nNetwork\n)\x81q\x00}\x8c\ncomponents}\x8c\x01ah\x00ssbh\x00h\x00\x87."
    (tmp_path / "loop.pkl").write_bytes(data)
    with pytest.raises(InvbenchError, match="loop.pkl: G/a/a/a/a/a: expected networks 4 deep at most"):
        load_checkpoint(tmp_path / "loop.pkl")
