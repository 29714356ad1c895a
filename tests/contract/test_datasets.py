"""What every dataset must do, whoever wrote it: ``pytest tests/contract --plugin FILE.py`` runs this on yours.

Datasets of ours whose pictures a user brings are opened on made-up files in the layout of the real ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from invbench.api import Dataset, Edit, InvbenchError, KnowsFactors, Sample, StoredDataset
from invbench.plugins import registry
from invbench.specs import DatasetSpec
from tests.contract.conftest import plugin_files
from tests.datasets import layouts

READ = 3  # pictures of a dataset that are looked at
SAFE = re.compile(r"[^/\\\0]{1,200}")
EDIT = Edit("smile", 1.0)


def _lsun(root: Path) -> None:
    layouts.lsun_lmdb(root / "church_outdoor_val_lmdb", [(256, 300)] * 4)
    for category, size in {"horse": (256, 300), "cat": (256, 300), "car": (384, 512)}.items():
        layouts.lsun_export(root / category, [size] * 4)


MAKERS: dict[str, Callable[[Path], object]] = {
    "invbench.datasets.afhq:AFHQ": lambda root: [
        layouts.afhq(root, version=version, counts={"cat": 2, "dog": 2, "wild": 2}) for version in (1, 2)
    ],
    "invbench.datasets.celebahq:CelebAHQ": lambda root: layouts.celebamask_hq(root, count=12),
    "invbench.datasets.ffhq:FFHQ": lambda root: layouts.ffhq(root, [0, 5, 65_000, 69_999]),
    "invbench.datasets.lsun:LSUN": _lsun,
    "invbench.datasets.stanford_cars:StanfordCars": layouts.stanford_cars,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "spec" in metafunc.fixturenames:
        known = registry.discover(plugin_files(metafunc.config)).datasets.values()
        specs = [spec for spec in known if "subset" not in spec.options and spec.options.get("split") not in ("val", "train")]
        metafunc.parametrize("spec", specs, ids=lambda spec: spec.id, scope="module")


@pytest.fixture(scope="module")
def dataset(spec: DatasetSpec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    if not spec.home:
        return registry.load(spec)(**spec.options)
    if spec.entry not in MAKERS:
        pytest.skip("its files are not prepared here, and nothing is known of their layout")
    root = tmp_path_factory.mktemp(spec.id)
    MAKERS[spec.entry](root)
    return registry.load(spec)(root=root, **spec.options)


@pytest.fixture(scope="module")
def samples(dataset: Dataset) -> list[Sample]:
    return [dataset.read(index) for index in range(min(READ, len(dataset.names)))]


def test_names_are_unique_and_safe_as_file_names(dataset: Dataset) -> None:
    names = list(dataset.names)
    assert names and len(set(names)) == len(names)
    assert all(isinstance(name, str) and SAFE.fullmatch(name) and name not in {".", ".."} for name in names)


def test_the_declared_size_is_that_of_the_dataset(dataset: Dataset, spec: DatasetSpec) -> None:
    if spec.size is not None and not spec.home:
        assert len(dataset.names) == spec.size


def test_pictures_and_their_hashes(dataset: Dataset, samples: list[Sample]) -> None:
    for index, sample in enumerate(samples):
        assert sample.name == dataset.names[index]
        assert sample.picture.dtype == np.uint8 and sample.picture.ndim == 3 and sample.picture.shape[2] == 3
        assert sample.sha256 == hashlib.sha256(np.ascontiguousarray(sample.picture).tobytes()).hexdigest()


def test_what_is_known_beside_the_picture(samples: list[Sample]) -> None:
    for sample in samples:
        place = sample.picture.shape[:2]
        if sample.parsing is not None:
            assert sample.parsing.dtype == np.uint8 and sample.parsing.shape == place
        if sample.ood_mask is not None:
            assert sample.ood_mask.dtype == np.bool_ and sample.ood_mask.shape == place
        if sample.factors is not None:
            assert sample.factors.dtype == np.float64 and sample.factors.ndim == 1
            assert sample.factors.min() >= 0 and sample.factors.max() <= 1
    assert len({(one.parsing is None, one.ood_mask is None, one.factors is None) for one in samples}) == 1


def test_read_twice_and_in_another_order_is_the_same(dataset: Dataset, samples: list[Sample]) -> None:
    for index in reversed(range(len(samples))):
        again = dataset.read(index)
        for name in ("picture", "parsing", "ood_mask", "factors"):
            first, second = getattr(samples[index], name), getattr(again, name)
            assert (first is None and second is None) or np.array_equal(first, second), name


def test_what_a_user_does_to_a_sample_stays_there(dataset: Dataset, samples: list[Sample]) -> None:
    own = dataset.read(0).picture
    if own.flags.writeable:
        own[:] = 255 - own
    assert np.array_equal(dataset.read(0).picture, samples[0].picture), "read hands out the array that it keeps"


def test_truth_is_a_picture_of_the_same_size(dataset: Dataset, samples: list[Sample]) -> None:
    for index, sample in enumerate(samples):
        truth = dataset.truth(index, EDIT)
        if truth is not None:
            assert truth.dtype == np.uint8 and truth.shape == sample.picture.shape
            assert np.array_equal(truth, dataset.truth(index, EDIT))
        if isinstance(dataset, KnowsFactors) and (factors := dataset.true_factors(index, EDIT)) is not None:
            assert factors.dtype == np.float64 and sample.factors is not None and factors.shape == sample.factors.shape
    assert dataset.truth(0, Edit("no_such_edit", 1.0)) is None


def test_an_index_beyond_the_last_is_an_error(dataset: Dataset) -> None:
    with pytest.raises((InvbenchError, IndexError, ValueError)):
        dataset.read(len(dataset.names))


def test_a_stored_dataset_opens_from_its_members(dataset: Dataset, spec: DatasetSpec, samples: list[Sample]) -> None:
    if not spec.home:
        return
    assert isinstance(dataset, StoredDataset)
    assert [member.name for member in dataset.members] == list(dataset.names) and dataset.layout
    root = dataset.root  # type: ignore[attr-defined]
    opened = registry.load(spec)(root=root, members=dataset.members, **spec.options)
    assert list(opened.names) == list(dataset.names)
    assert np.array_equal(opened.read(0).picture, samples[0].picture)
    found = dataset.inspect(0)
    assert found.bytes == dataset.check(0) > 0 and dataset.stamp(0) == dataset.stamp(0)
