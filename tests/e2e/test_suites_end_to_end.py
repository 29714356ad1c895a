"""Every suite of official generators with every method that supports it: from files under any name to the published table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invbench.plugins.registry import discover
from invbench.plugins.selection import choose_metrics, supported
from invbench.store import Store
from invbench.weights.catalogue import catalogue
from tests.checkout import PROJECT
from tests.e2e import installation, pictures, weights
from tests.e2e.installation import SUITES, Stopwatch, call

TABLES = {
    "church": "hyperinverter-1", "horse": "sam-1", "cat": "sam-1", "cars": "sam-1", "wild": "gani-5", "faces": "dhr-1",
    "faces256": "gani-2",
}  # fmt: skip
IMAGES = 2
FACES = ("mtcnn112", "facenet160")  # protocols that need a face in the output, which made-up generators do not make
SOME = ("diffcam", "stargan", "attgan", "stgan")  # whose networks know age, of the edits of faces
REGISTRY = discover()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All weights and all pictures of all suites."""
    machine, watch = tmp_path_factory.mktemp("machine"), Stopwatch("installation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INVBENCH_HOME", str(machine / "home"))
        patch.delenv("INVBENCH_SHARED", raising=False)
        _install_everything(machine, watch)
        yield machine


def _install_everything(machine: Path, watch: Stopwatch) -> None:
    files = weights.install(machine / "home/weights", catalogue().assets)
    unknown = weights.unknown(call("weights", "where").output)
    assert unknown == {files[id].name for id in weights.NAMELESS}
    weights.say(files)
    told = call("weights", "where").output
    assert "not used" not in told and "say which" not in told
    watch("weights")
    wanted = dict.fromkeys(home for suite in TABLES for home in installation.homes(suite, REGISTRY))
    installation.prepare(list(wanted), machine)
    watch("pictures")


def works(
    name: str,
    machine: Path,
    *,
    methods: Sequence[str],
    images: int,
    steps: int,
    metrics: Sequence[str] = (),
    edits: Sequence[str] = (),
    published: bool = True,
) -> Store:
    """Run methods in a suite, each edit (default: the suite's) with one strength, and read the run with every verb; returns the
    run. ``published``: a printed table of the suite has rows of some of them.
    """
    suite, watch = SUITES[name], Stopwatch(name)
    out = machine / "runs" / "-".join([name, *edits])
    names = [edit.partition(":")[0] for edit in edits or suite.default_edits]
    asked = [f"{edit}:{suite.edits[edit].strengths[-1]:g}" for edit in names]
    metrics = [spec.id for spec in choose_metrics(suite, metrics or suite.metrics, REGISTRY, round_trips=False)]
    words = ["--suite", name, "--methods", ",".join(methods), "--images", images, "--edits", ",".join(asked)]
    words += installation.few_steps(methods, steps)

    planned = call("plan", *words, "--no-probe")
    assert planned.exit_code == 0, planned.output
    assert f"{images * len(methods) * (1 + len(asked))} pictures in all" in planned.output
    watch("plan")
    done = call("run", *words, "--device", "cpu", "--out", out, "--quiet", "--metrics", ",".join(metrics))
    assert done.exit_code == 0, done.output
    watch("run")

    store = Store(out)
    rows = store.rows()
    assert len(rows) == images * len(methods) * (1 + len(asked))
    assert set(rows["status"]) == {"ok"} and set(rows["method"]) == set(methods)
    _measured(store, methods, metrics)
    for path in (out / "images").rglob("*.png"):
        with Image.open(path) as picture:
            assert (picture.height, picture.width) == suite.picture_size
    assert len(list((out / "images").rglob("*.png"))) == len(rows)

    shown = call("show", out, "--all", "--coverage")
    assert shown.exit_code == 0 and all(method in shown.output for method in methods), shown.output
    page = call("report", out)
    assert page.exit_code == 0 and Path(page.output.strip()).stat().st_size > 5_000, page.output
    table = call("table", f"paper:{TABLES[name]}", out)
    assert table.exit_code == 0 and published == ("measured" in table.output), table.output
    watch("show, report, table")
    return store


def _measured(store: Store, methods: Sequence[str], metrics: Sequence[str]) -> None:
    """Every metric has values, or says why it has none."""
    rows = store.rows()
    assert not store.manifest["unavailable"] and not store.manifest["metric_failures"]
    sets = {(row["method"], row["metric"]): row for row in store.sets()}
    for id in metrics:
        spec = REGISTRY.metrics[id]
        if spec.kind == "set":
            for method in methods:
                row = sets[method, id]
                assert np.isfinite(row["value"]) if row["value"] is not None else row["reason"], f"{id}: {row}"
            continue
        wanted = rows[rows["edit"].isna()] if spec.kind == "inversion" else rows[rows["edit"].notna()]
        if spec.edits:
            wanted = wanted[wanted["edit"].isin(spec.edits)]
        for method in methods if len(wanted) else ():
            covered = np.isfinite(wanted[wanted["method"] == method][id])
            lacking = "latents" in spec.needs and method in SOME  # image-to-image networks have none
            assert covered.all() or spec.protocol in FACES or "region" in spec.needs or lacking, f"{id}: {method}"
        if "region" in spec.needs and len(wanted):  # a made-up parser may see a face everywhere, which leaves no background
            assert np.isfinite(wanted[id]).any(), id


def test_church_from_files_to_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    watch = Stopwatch("church, six methods")
    files = weights.install(tmp_path / "home/weights", installation.assets("church"))
    weights.say(files)
    installation.prepare(["lsun-church-val"], tmp_path)
    looked = call("doctor", "--suite", "church")
    assert looked.exit_code == 0, looked.output
    watch("installation")
    metrics = ["mse@native", "psnr@hyperinverter256", "lpips_alex@native", "moco@native"]
    methods = ["e4e", "hyperinverter", "restyle_psp", "sg2_w", "w_encoder", "padding"]
    works("church", tmp_path, methods=methods, images=1, steps=1, metrics=metrics)


@pytest.mark.slow
def test_networks_that_change_features_of_faces_from_files_to_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    watch = Stopwatch("faces, networks that change features")
    roles = {"generator", "hfgi", "encoder_hfgi", "encoder_feature_style", "encoder_padding", "styleres", "sfe", "encoder_e4e"}
    roles |= {"perceptual_alex", "directions"}
    chosen = {role: network for role, network in SUITES["faces"].networks.items() if role in roles}
    files = weights.install(tmp_path / "home/weights", weights.needed(chosen.values()))
    weights.say(files)
    installation.prepare(["celebahq-test"], tmp_path)
    watch("installation")
    methods = ["hfgi", "feature_style", "padding", "styleres", "sfe"]
    works("faces", tmp_path, methods=methods, images=1, steps=1, metrics=["mse@native", "lpips_alex@native"])


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "dataset"), [("cars", "stanford-cars-test"), ("cat", "lsun-cat-random1000")])
def test_sam_with_its_own_segmenter_from_files_to_tables(suite, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    watch = Stopwatch(f"{suite}, SAM")
    roles = {"generator", "latent_stats", "encoder_e4e", "invertibility", "segmenter", "directions", "perceptual_vgg"}
    chosen = {role: network for role, network in SUITES[suite].networks.items() if role in roles}
    files = weights.install(tmp_path / "home/weights", set(weights.needed(chosen.values())) - {"maskrcnn"})
    weights.say(files)
    installation.prepare([dataset], tmp_path)
    watch("installation")
    works(suite, tmp_path, methods=["sam"], images=1, steps=1, metrics=["psnr@native"])


@pytest.mark.slow
def test_in_domain_inversion_from_files_to_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    watch = Stopwatch("faces256, in-domain inversion")
    roles = {"generator", "encoder_idinvert", "features_idinvert", "lpips_alex", "directions"}
    chosen = {role: network for role, network in SUITES["faces256"].networks.items() if role in roles}
    files = weights.install(tmp_path / "home/weights", weights.needed(chosen.values()))
    weights.say(files)
    installation.prepare(["celebahq-test"], tmp_path)
    watch("installation")
    works("faces256", tmp_path, methods=["idinvert"], images=1, steps=1, metrics=["mse@native", "lpips_alex@native"])
    refused = call("plan", "--suite", "faces256", "--methods", "pti+idinvert")
    assert refused.exit_code == 2 and "no network for the role 'perceptual_alex', which pti+idinvert needs" in refused.output


@pytest.mark.slow
@pytest.mark.parametrize("attgan", ["attgan_celeba", "attgan_celeba_tf"])
def test_image_to_image_networks_of_faces_from_files_to_pictures(attgan, tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    watch = Stopwatch("faces, image-to-image networks")
    roles = {role for role in SUITES["faces"].networks if role.endswith(("stargan", "stgan"))} | {"lpips_alex"}
    chosen = {role: network for role, network in SUITES["faces"].networks.items() if role in roles}
    files = weights.install(
        tmp_path / "home/weights", [*weights.needed(chosen.values()), "stargan_celeba", "stargan_celeba_discriminator", attgan]
    )
    weights.say(files)
    installation.prepare(["celebahq-test"], tmp_path)
    watch("installation")
    out = tmp_path / "run"
    words = ["--suite", "faces", "--methods", "stargan,attgan,stgan", "--images", "1", "--out", out]
    words += ["--device", "cpu", "--quiet"]
    done = call("run", *words, "--edits", "age:-2,age:2", "--metrics", "mse@native,lpips_alex@native")
    assert done.exit_code == 0, done.output
    rows = Store(out).rows()
    assert set(rows["status"]) == {"ok"} and len(rows) == 9
    for path in (out / "images").rglob("*.png"):
        with Image.open(path) as picture:
            assert (picture.height, picture.width) == (1024, 1024)
    refused = call("run", *words, "--edits", "yaw:1", "--metrics", "mse@native")
    assert refused.exit_code == 1, refused.output
    rows = Store(out).rows()
    failed = rows[rows["status"] != "ok"]
    assert set(failed["edit"]) == {"yaw"} and failed["reason"].str.contains("its network was trained for age").all()
    watch("run")


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_every_method_runs_where_it_is_supported(name, everything):
    suite, watch = SUITES[name], Stopwatch(name)
    looked = call("doctor", "--suite", name)
    assert looked.exit_code == 0, looked.output
    watch("doctor")
    methods = supported(suite, REGISTRY.methods)
    large = suite.resolution > 512
    some, whole = ([id for id in methods if (id in SOME) == own] for own in (True, False))
    works(name, everything, methods=whole, images=1 if large else IMAGES, steps=1 if large else 2)
    if some:  # so few pictures that a made-up parser may see a face everywhere in each
        chosen = choose_metrics(suite, suite.metrics, REGISTRY, round_trips=False)
        everywhere = [spec.id for spec in chosen if "region" not in spec.needs]
        works(name, everything, methods=some, images=1, steps=1, edits=["age"], metrics=everywhere, published=False)

@pytest.mark.parametrize("name", TABLES)
def test_a_method_is_refused_where_it_is_not_supported(name, monkeypatch, tmp_path):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    suite, others = SUITES[name], set(REGISTRY.methods) - set(supported(SUITES[name], REGISTRY.methods))
    assert "z_class" in others  # whose latents are those of a BigGAN
    for method in sorted(others):
        refused = call("run", "--suite", name, "--methods", method)
        lacking = next((role for role in REGISTRY.methods[method].roles if role not in suite.networks), None)
        reason = f"suite {name} has no network for the role '{lacking}', which {method} needs"
        if method == "z_class":
            reason = f"suite {name} does not run {method}: its generator has latents in W or W+, and {method} works in Z"
        assert refused.exit_code == 2 and reason in refused.output, refused.output


@pytest.mark.slow
def test_metrics_of_faces_cover_the_picture_in_which_there_is_one(everything):
    """Copies with some noise, and "edits" of them, scored as what another code made."""
    watch, names = Stopwatch("faces, score"), sorted(pictures.TEST)[:IMAGES]
    for place, strength in (("", 4), ("age_+3", 8), ("yaw_+3", 8), ("smile_+3", 8)):
        for name in names:
            with Image.open(everything / f"celebahq-test/test/{int(name)}.jpg") as picture:
                levels = np.asarray(picture).astype(int)
            noisy = levels + np.random.default_rng(strength).integers(-strength, strength + 1, levels.shape)
            path = everything / "copies" / place / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, compress_level=1)
    out = everything / "runs/copies"
    words = ["--suite", "faces", "--against", f"celebahq-test:{IMAGES}", "--out", out, "--device", "cpu", "--quiet"]
    done = call("score", everything / "copies", *words)
    assert done.exit_code == 0, done.output
    rows = Store(out).rows()
    of = {(row.image, row.edit if isinstance(row.edit, str) else None): rows.loc[row.Index] for row in rows.itertuples()}
    for spec in choose_metrics(SUITES["faces"], SUITES["faces"].metrics, REGISTRY, round_trips=False):
        id = spec.id
        if spec.kind == "set" or {"region", "latents"} & {*spec.needs}:  # a made-up parser may leave no background
            continue
        edits = [None] if spec.kind == "inversion" else spec.edits or ["age", "yaw", "smile"]
        of_face, of_other = ([of[name, edit][id] for edit in edits] for name in names)
        assert np.isfinite(of_face).all(), f"{id}: {of_face}"
        assert np.isfinite(of_other).all() != (spec.protocol in FACES), f"{id}: {of_other}"
    assert (rows[["id_curricular@mtcnn112", "id_arcface@mtcnn112", "id_facenet@facenet160"]].max() > 0.9).all()
    watch("score")


def test_every_asset_and_every_dataset_is_made_up_here():
    listed = catalogue().assets.values()
    assert set(weights.WRITERS) == {asset.id for asset in listed if not asset.address.startswith("package:")}
    wanted = {home for suite in TABLES for home in installation.homes(suite, REGISTRY)}
    assert set(pictures.WRITERS) == wanted
    assert set(TABLES) == set(SUITES) - {"procfaces", "procclasses"} and (PROJECT / "docs/suites.md").is_file()
