import numpy as np
import pytest

from invbench.api import InvbenchError, MissingWeights, SetValue
from invbench.metrics import manifold
from invbench.metrics.frechet import frechet
from invbench.metrics.kernel_distance import kernel_distance
from invbench.metrics.sets import FidProc, KidProc
from invbench.plugins import registry

SPECS = {
    spec.entry.rpartition(":")[2]: spec
    for spec in registry.metrics().values()
    if spec.entry.startswith("invbench.metrics.sets:")
}
PROC = [name for name, spec in SPECS.items() if spec.roles == ("regressor",)]


def build(name, networks):
    return registry.load_class(f"invbench.metrics.sets:{name}")(networks)


@pytest.fixture
def features() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(12, 12))
    a = rng.normal(size=(200, 12)) @ mix
    b = 0.6 * a + rng.normal(size=(200, 12)) + 0.3
    return a.astype(np.float32), b.astype(np.float32)


def test_every_class_computes_its_own_figure(features, networks):
    a, b = (part.astype(np.float64) for part in features)
    found = {name: build(name, networks).compute(*features) for name in PROC}
    assert found == {
        "FidProc": frechet(a, b),
        "KidProc": kernel_distance(a, b),
        "PrecisionProc": manifold.precision(a, b),
        "RecallProc": manifold.recall(a, b),
        "DensityProc": manifold.density(a, b),
        "CoverageProc": manifold.coverage(a, b),
    }
    assert isinstance(found["FidProc"], SetValue)
    assert len({found[name] for name in found if name not in ('FidProc', 'KidProc')}) > 1


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_a_class_says_what_its_declaration_says(spec):
    cls = registry.load(spec)
    assert (cls.metric, (cls.feature,)) == (spec.name, spec.roles)


@pytest.mark.parametrize("name", PROC)
def test_the_order_of_images_does_not_matter(name, features, networks):
    order = np.random.default_rng(1).permutation(200)
    metric = build(name, networks)
    values = [
        value.value if isinstance(value, SetValue) else value
        for value in (metric.compute(*features), metric.compute(*(part[order] for part in features)))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_features_come_from_the_regressor_for_all(given, networks):
    metrics = [build(name, networks) for name in PROC]
    assert {metric.feature for metric in metrics} == {"regressor"}
    values = metrics[0].features(given.target)
    assert values.dtype == np.float32 and values.shape == (4, 12)
    np.testing.assert_allclose(values[:, 0], given.target[:, 0, :32, :32].mean((1, 2)), rtol=1e-4)
    for metric in metrics[1:]:
        np.testing.assert_array_equal(values, metric.features(given.target))


def test_too_few_images_are_refused_with_the_reason(features, networks):
    with pytest.raises(InvbenchError, match="'fid_proc': expected at least 100 images for 12 features, found 99"):
        FidProc(networks).compute(features[0][:99], features[1])
    with pytest.raises(InvbenchError, match="'kid_proc': expected at least 50 images for 12 features, found 49"):
        KidProc(networks).compute(features[0], features[1][:49])
    wide = np.zeros((120, 120), np.float32)
    with pytest.raises(InvbenchError, match="at least 121 images for 120 features, found 120"):
        FidProc(networks).compute(wide, wide)


@pytest.mark.parametrize("name", PROC)
def test_bad_features_are_refused(name, features, networks):
    metric = build(name, networks)
    with pytest.raises(InvbenchError, match=r"\(200, 12\) and \(200, 11\)"):
        metric.compute(features[0], features[1][:, :11])
    broken = features[1].copy()
    broken[7, 3] = np.nan
    with pytest.raises(InvbenchError, match="found NaN"):
        metric.compute(features[0], broken)


@pytest.mark.parametrize("name", [name for name in SPECS if name not in PROC])
def test_inception_says_what_is_missing(name, networks):
    with pytest.raises(MissingWeights, match="^weights missing: .*'inception'"):
        build(name, networks)
