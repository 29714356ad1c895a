import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch_fidelity.metric_prc import prc_features_to_metric

from invbench.metrics import manifold
from tests.agreement import agree


@pytest.fixture(params=[(300, 6), (250, 40)], ids=str)
def sets(request) -> tuple[np.ndarray, np.ndarray]:
    """Two sets that overlap in part."""
    n, width = request.param
    rng = np.random.default_rng(11)
    return rng.normal(size=(n, width)), 0.8 * rng.normal(size=(n - 10, width)) + 0.4


def neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """Distance to the k-th nearest other point, by a tree; the point itself is the first found."""
    return cKDTree(points).query(points, k + 1)[0][:, k]


def test_all_four_agree_with_their_definitions_by_trees(sets):
    originals, outputs = sets
    radii, reach, wide = neighbours(originals, 3), neighbours(outputs, 3), neighbours(originals, 5)
    hits = np.array([sum(np.linalg.norm(originals - y, axis=1) <= radii) for y in outputs])
    back = np.array([sum(np.linalg.norm(outputs - x, axis=1) <= reach) for x in originals])
    dense = np.array([sum(np.linalg.norm(originals - y, axis=1) < wide) for y in outputs])
    nearest = cKDTree(outputs).query(originals)[0]
    figures = (manifold.precision, manifold.recall, manifold.density, manifold.coverage)
    expected = [(hits > 0).mean(), (back > 0).mean(), dense.mean() / 5, (nearest < wide).mean()]
    agree([figure(originals, outputs) for figure in figures], expected, relative=1e-12)
    assert 0.05 < manifold.recall(originals, outputs) < 0.999  # nothing of this is trivial
    assert 0.05 < manifold.coverage(originals, outputs) < 0.999


def test_precision_and_recall_are_torch_fidelitys(sets):
    originals, outputs = sets
    expected = prc_features_to_metric(torch.from_numpy(outputs), torch.from_numpy(originals), prc_neighborhood=3, verbose=False)
    found = [manifold.precision(originals, outputs), manifold.recall(originals, outputs)]
    agree(found, [expected["precision"], expected["recall"]], relative=1e-6)


def test_blocks_do_not_show(sets, monkeypatch):
    figures = (manifold.precision, manifold.recall, manifold.density, manifold.coverage)
    whole = [figure(*sets) for figure in figures]
    monkeypatch.setattr(manifold, "BLOCK", 37)
    assert [figure(*sets) for figure in figures] == whole


def test_equal_sets_overlap_and_distant_ones_do_not(sets):
    originals, _ = sets
    assert manifold.precision(originals, originals) == manifold.recall(originals, originals) == 1
    assert manifold.density(originals, originals) == manifold.coverage(originals, originals) == 1
    far = originals + 1000
    figures = (manifold.precision, manifold.recall, manifold.density, manifold.coverage)
    assert [figure(originals, far) for figure in figures] == [0, 0, 0, 0]
