"""``invbench interpolate``: pictures between two inversions, by a method's own way or by latents alone, on one strip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from invbench.cli import main
from invbench.plugins.config import load
from invbench.plugins.registry import discover
from invbench.plugins.selection import settings
from invbench.run import calls, interpolation
from invbench.run.session import Session
from invbench.util.clock import StageClock
from invbench.util.images import dequantise, encode_png, quantise

NAMES = ("procfaces-test/test-0000", "procfaces-test/test-0001")
OWN = '''
from invbench.api import Inversion

SPEC = {"id": "mixer", "class": "Mixer", "title": "Mixer", "family": "weights", "paper": "none", "venue": "none",
        "roles": ["generator"], "options": {}, "presets": {"paper": {}}}


class Mixer:
    """Keeps the picture itself as its weights."""

    def __init__(self, networks, options):
        self.generator = networks["generator"]

    def invert(self, images, clock):
        return Inversion(images.new_zeros(len(images), 10, 128), images, {"weights": images})

    def edit(self, inversion, edit, clock):
        return inversion.images

    def max_batch(self, memory):
        return 2

    def interpolate(self, a, b, t):
        weights = a.state["weights"] + t * (b.state["weights"] - a.state["weights"])
        return Inversion(a.latents, weights, {"weights": weights})
'''


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["interpolate", *map(str, words), "--device", "cpu"])


def strip_of(path: Path) -> list[np.ndarray]:
    """The pictures of a strip of one line."""
    with Image.open(path) as picture:
        found = np.asarray(picture)
    assert found.shape[0] == 64
    return [found[:, start : start + 64] for start in range(0, found.shape[1], 64 + interpolation.GAP)]


def test_encoders_interpolate_latents_between_files_and_members_of_datasets(tmp_path: Path) -> None:
    suite, registry = load()["procfaces"], discover()
    pair = [interpolation.find_picture(name, suite, registry) for name in NAMES]
    files = []
    for number, sample in enumerate(pair):
        files.append(tmp_path / f"{number}.png")
        files[-1].write_bytes(encode_png(sample.picture))
    done = call(files[0], NAMES[1], "--methods", "e4e", "--steps", 3, "--out", tmp_path / "strip.png")
    assert done.exit_code == 0, done.output
    assert "line 1: e4e:paper" in done.output
    first, *drawn, last = strip_of(tmp_path / "strip.png")
    np.testing.assert_array_equal(first, pair[0].picture)
    np.testing.assert_array_equal(last, pair[1].picture)
    assert len(drawn) == 3

    chosen = settings(suite, registry, methods=["e4e"], metrics=["none"], device="cpu", seed=0)
    with Session(suite, device="cpu", readers=0) as session, torch.no_grad():
        inverted = calls.invert(
            session.method(chosen.methods[0]), dequantise(np.stack([one.picture for one in pair])), StageClock("cpu")
        )
        middle = session.networks["generator"].synthesis(inverted.latents.mean(0, keepdim=True))
    for picture, expected in zip(drawn, (inverted.images[:1], middle, inverted.images[1:]), strict=True):
        difference = picture.astype(int) - quantise(expected)[0].astype(int)
        assert np.abs(difference).max() <= 1


def test_a_method_says_itself_what_lies_between(tmp_path: Path) -> None:
    plugin = tmp_path / "mixer.py"
    plugin.write_text(OWN)
    out = tmp_path / "strip.png"
    done = call(*NAMES, "--methods", "mixer,e4e", "--steps", 2, "--plugin", plugin, "--out", out)
    assert done.exit_code == 0, done.output
    with Image.open(out) as picture:
        assert picture.size == (4 * 64 + 3 * interpolation.GAP, 2 * 64 + interpolation.GAP)
    done = call(*NAMES, "--methods", "mixer", "--steps", 5, "--plugin", plugin, "--out", out)
    assert done.exit_code == 0, done.output
    first, *drawn, last = (one.astype(float) for one in strip_of(out))
    for share, picture in zip(np.linspace(0, 1, 5), drawn, strict=True):
        assert np.abs(picture - ((1 - share) * first + share * last)).max() <= 0.51


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((NAMES[0], "nowhere.png"), "nowhere.png: expected a picture file or DATASET/NAME, found neither"),
        ((NAMES[0], "procfaces-test/nobody"), "procfaces-test has no picture 'nobody'; expected a name such as test-0000"),
        ((NAMES[0], NAMES[1], "--set", "sg2_w.steps=1"), "method sg2_w: its pictures need more than latents"),
    ],
)
def test_what_cannot_be_interpolated_is_refused(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    method = "sg2_w" if "--set" in words else "e4e"
    done = call(*words, "--methods", method, "--out", tmp_path / "strip.png")
    assert done.exit_code == 2 and message in done.output, done.output
    assert not (tmp_path / "strip.png").exists()


def test_a_file_that_is_no_square_or_no_picture_is_refused(tmp_path: Path) -> None:
    wide, text = tmp_path / "wide.png", tmp_path / "words.txt"
    wide.write_bytes(encode_png(np.zeros((64, 70, 3), np.uint8)))
    text.write_text("no picture")
    for file, message in ((wide, "expected a square picture, found 70x64"), (text, "expected a picture, found a file of")):
        done = call(NAMES[0], file, "--methods", "e4e", "--out", tmp_path / "strip.png")
        assert done.exit_code == 2 and message in done.output, done.output

