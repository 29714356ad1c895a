"""Features of originals kept across methods, edits and runs: the same to the byte, under the right key, within limits."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from invbench.api import InvbenchError, MetricInput, Sample
from invbench.plugins import registry
from invbench.plugins.config import NetworkConfig, Suite
from invbench.scoring import originals
from invbench.scoring.evaluator import Evaluator
from invbench.scoring.originals import Kept, OfMetric
from invbench.scoring.scorer import Scorer
from invbench.weights.networks import Networks

SIDE = 256
CPU = torch.device("cpu")
IDS = ["lpips_squeeze", "lpips_squeeze@psp256", "ssim@native"]


@pytest.fixture(autouse=True)
def kept_at_any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(originals, "FLOOR", 0.0)
    monkeypatch.setattr(originals, "RATE", float("inf"))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "features", limit=1e9, device=CPU)


def sample(seed: int, side: int = SIDE) -> Sample:
    picture = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Sample(picture, f"{seed}", hashlib.sha256(picture.tobytes()).hexdigest())


def files(kept: Kept) -> list[Path]:
    return sorted(kept.folder.glob("??/*.features"))


class Once:
    """A computation that can be made a number of times only."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, image: Tensor) -> list[Tensor]:
        assert self.left > 0, "computed again"
        self.left -= 1
        maps = torch.nn.functional.avg_pool2d(image, 2)
        return [maps.contiguous(memory_format=torch.channels_last), maps.flatten(1)]


def test_what_was_kept_comes_back_to_the_byte_and_in_its_memory_layout(kept):
    image, compute = torch.rand(1, 3, 8, 8), Once(1)
    made = kept.take("a", image, compute)
    again = Kept(kept.folder, limit=1e9, device=CPU).take("a", image, compute)  # another process
    assert type(again) is list
    for one, other in zip(made, again, strict=True):
        assert torch.equal(one, other) and one.stride() == other.stride() and one.dtype == other.dtype


def test_a_tensor_comes_back_as_a_tensor(kept):
    kept.take("a", torch.ones(1, 3), lambda image: image * 2)
    assert torch.equal(kept.take("a", torch.ones(1, 3), Once(0)), torch.full((1, 3), 2.0))


def test_another_picture_recipe_or_computation_is_another_result(kept):
    image, compute = torch.rand(1, 3, 8, 8), Once(4)
    for recipe, key, seed in (("r", "k", 1), ("s", "k", 1), ("r", "l", 1), ("r", "k", 2)):
        OfMetric(kept, recipe).of(key, sample(seed, 8), image, compute)
    assert len(files(kept)) == 4 and compute.left == 0
    OfMetric(kept, "r").of("k", sample(2, 8), image, compute)


def test_other_libraries_or_another_machine_make_another_result(kept):
    kept.take("a", torch.rand(1, 3, 8, 8), Once(1))
    other = Kept(kept.folder, limit=1e9, device=CPU)
    other.surroundings = kept.surroundings | {"threads": 99}  # more threads round otherwise
    other.take("a", torch.rand(1, 3, 8, 8), Once(1))
    assert len(files(kept)) == 2


DAMAGES = {
    "half": lambda data: data[: len(data) // 2],
    "end": lambda data: data[:-1] + b"?",
    "empty": lambda data: b"",
    "head": lambda data: data.replace(b"true", b"null"),
    "other": lambda data: b"{}\n",
    "list": lambda data: b"[]\n",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_made_again(kept, damage):
    image = torch.rand(1, 3, 8, 8)
    made = kept.take("a", image, Once(1))
    (path,) = files(kept)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    again = kept.take("a", image, Once(1))
    assert all(torch.equal(one, other) for one, other in zip(made, again, strict=True))
    assert path.read_bytes() == whole


def test_the_limit_holds_and_what_is_used_stays(kept):
    image = torch.rand(1, 3, 64, 64)
    kept.take("first", image, Once(1))
    size = files(kept)[0].stat().st_size
    small = Kept(kept.folder, limit=2.5 * size, device=CPU)
    for name in ("second", "third"):
        small.take(name, image, Once(1))
    assert len(files(kept)) == 2
    small.take("first", image, Once(0))
    small.take("third", image, Once(1))  # does not fit: computed each time


def test_what_nobody_used_makes_way(kept):
    image = torch.rand(1, 3, 64, 64)
    kept.take("old", image, Once(1))
    (old,) = files(kept)
    long_ago = time.time() - 2 * originals.UNUSED
    os.utime(old, (long_ago, long_ago))
    small = Kept(kept.folder, limit=1.5 * old.stat().st_size, device=CPU)
    small.take("new", image, Once(1))
    assert not old.exists() and len(files(kept)) == 1


def test_a_folder_that_cannot_be_written_costs_time_only(kept):
    kept.folder.write_text("a file")
    compute = Once(2)
    for _ in range(2):
        kept.take("a", torch.rand(1, 3, 8, 8), compute)


@pytest.mark.parametrize("asked", ["-1", "much", "nan", "inf"])
def test_a_wrong_limit_is_told(monkeypatch, asked):
    monkeypatch.setenv(originals.LIMIT, asked)
    with pytest.raises(InvbenchError, match=f"{originals.LIMIT}: expected a number of gigabytes, 0 or more, found '{asked}'"):
        originals.kept(CPU)


def test_zero_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv(originals.LIMIT, "0")
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path))
    originals.kept(CPU).take("a", torch.rand(1, 3, 8, 8), Once(1))
    assert not list(tmp_path.iterdir())


def test_a_result_that_is_made_faster_than_read_is_not_kept(kept, monkeypatch):
    monkeypatch.setattr(originals, "FLOOR", 1e9)
    kept.take("a", torch.rand(1, 3, 8, 8), Once(1))
    assert not files(kept)


def test_results_of_pictures_are_joined_and_others_computed_together(kept):
    target = torch.rand(3, 3, 8, 8)
    given = MetricInput(
        target=target, output=target, samples=[sample(i, 8) for i in range(3)], originals=OfMetric(kept, "r")
    )
    assert torch.equal(given.once("sums", "target", lambda images: images.sum((1, 2, 3))), target.sum((1, 2, 3)))
    maps = given.once("maps", "target", Once(3))
    assert [tuple(one.shape) for one in maps] == [(3, 3, 4, 4), (3, 48)]
    assert given.once("shape", "target", lambda images: tuple(images.shape)) == (3, 3, 8, 8)
    assert given.once("whole", "target", lambda images: [images.sum()]) == [target.sum()]
    again = replace(given, memo={})
    assert all(torch.equal(one, other) for one, other in zip(again.once("maps", "target", Once(0)), maps, strict=True))


def networks() -> Networks:
    config = {"class": "invbench.metrics.nets.lpips_package:LpipsPackage", "config": {"net": "squeeze"}}
    role = NetworkConfig.model_validate(config)
    plain = Suite(id="s", title="s", resolution=SIDE, datasets=(), collections={"all": ()}, default="all")
    return Networks(plain.model_copy(update={"networks": {"lpips_squeeze": role}}))


def test_metrics_are_the_same_to_the_byte_with_and_without(kept):
    found, own, names = registry.discover(), networks(), [sample(1), sample(2)]
    specs = [registry.find_metric(id, found.metrics) for id in IDS]
    outputs = np.stack([np.roll(one.picture, 3, 0) for one in names])

    def values(kept: Kept | None) -> dict[str, np.ndarray]:
        scorer = Scorer(specs, own, protocols=found.protocols, regions={}, required=True, kept=kept)
        return Evaluator(scorer, names, outputs, masks=None).inversion()

    plain, first = values(None), values(kept)
    assert files(kept)
    with pytest.MonkeyPatch.context() as patch:
        seen: list[int] = []
        features = own["lpips_squeeze"].features
        patch.setattr(own["lpips_squeeze"], "features", lambda images: seen.append(1) or features(images))
        second = values(kept)
    assert len(seen) == 2 * len(names)  # outputs only, under two protocols
    for id, expected in plain.items():
        assert first[id].tobytes() == second[id].tobytes() == expected.tobytes(), id


def test_small_pictures_are_scored_in_batches():
    assert not originals.large(sample(1, 64)) and originals.large(sample(1, 256))
