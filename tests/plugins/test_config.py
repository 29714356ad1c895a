"""The models of the configuration, and the resolution of names into settings."""

from __future__ import annotations

from math import comb
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from invbench.api import Edit, InvbenchError
from invbench.plugins import selection
from invbench.plugins.config import RunSettings, Suite, load
from invbench.plugins.files import SUITES, overlay
from invbench.plugins.registry import Registry
from invbench.plugins.selection import resolve
from invbench.specs import DatasetSpec, MethodSpec, MetricSpec, Option

SUITE: dict[str, Any] = {
    "id": "s",
    "title": "S",
    "resolution": 64,
    "datasets": ["faces", "hats"],
    "collections": {"quick": ["faces:8", "hats:4"], "full": ["faces", "hats"]},
    "default": "quick",
    "networks": {"generator": {"class": "a.b:C", "weights": "w.safetensors"}},
    "edits": {
        "age": {"unit": "years", "per_strength": 5, "strengths": [-1, 1]},
        "yaw": {"unit": "degrees", "per_strength": 5, "strengths": [1]},
    },
    "default_edits": ["age:2"],
    "methods": {"fit": {"steps": 5}, "fit:released": {"lr": 0.5}},
}


def spec(name: str, *, roles: tuple[str, ...] = ("generator",)) -> MethodSpec:
    options = {"steps": Option(100, "steps", "h"), "lr": Option(0.1, "", "h"), "seed": Option(0, "", "h")}
    presets = {"paper": {"steps": 50}, "released": {"steps": 60, "lr": 0.2}}
    return MethodSpec(name, name, f"m:{name}", "f", roles, options, presets)


REGISTRY = Registry(
    methods={"fit": spec("fit"), "encode": spec("encode"), "cars": spec("cars", roles=("car_encoder",))},
    metrics={n: MetricSpec(n, n, f"m:{n}", "inversion", "lower", "", "") for n in ("mse", "psnr")},
    datasets={n: DatasetSpec(n, n, f"d:{n}", "faces", 10) for n in ("faces", "hats", "other")},
)


def suite(**changes: Any) -> Suite:
    return Suite.model_validate(SUITE | changes)


def settings(suite: Suite, registry: Registry, **asked: Any) -> RunSettings:
    return selection.settings(suite, registry, **({"seed": 0, "device": "cpu"} | asked))


def toml(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_our_own_file_is_valid_and_its_names_exist() -> None:
    suites = load()
    procfaces = suites["procfaces"]
    assert procfaces.resolution == 64
    assert procfaces.collections["quick"] == ("procfaces-test:12", "procfaces-test-ood:12")
    for network in procfaces.networks.values():
        assert network.weights is None or network.weights.is_relative_to(SUITES.parent)
    from invbench.plugins.registry import discover

    chosen = settings(procfaces, discover())
    assert len(chosen.methods) >= 7
    assert [(d.id, d.count) for d in chosen.datasets] == [("procfaces-test", 12), ("procfaces-test-ood", 12)]
    # A paired sign-flip test of n images gives at least 2 / 2^n; Holm multiplies the smallest p by the number of pairs.
    assert all(comb(len(chosen.methods), 2) * 2 / 2**dataset.count < 0.05 for dataset in chosen.datasets)
    assert chosen.out == Path("runs/latest-procfaces")


def test_a_subset_may_be_named_after_a_colon_and_a_folder_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "My Faces").mkdir()
    asked = ["faces:best", "faces:3", f"{tmp_path}/My Faces", f"{tmp_path}/My Faces/../My Faces:2"]
    registry = Registry(
        methods=REGISTRY.methods,
        metrics=REGISTRY.metrics,
        datasets={**REGISTRY.datasets, "faces-best": DatasetSpec("faces-best", "f", "d:f", "faces", 5)},
    )
    chosen = settings(suite(datasets=["faces", "hats", "faces-best"]), registry, methods=["fit"], datasets=asked).datasets
    assert [(one.id, one.count) for one in chosen[:2]] == [("faces-best", None), ("faces", 3)]
    (folder,) = chosen[2:]  # both paths lead to the same folder
    assert folder.id.startswith("my-faces-") and folder.count == 2
    assert folder.spec.entry == "invbench.datasets.folder:Folder"
    assert folder.spec.options == {"root": str(tmp_path / "My Faces"), "resolution": 64}
    with pytest.raises(InvbenchError, match="dataset 'faces:worst': expected NAME or NAME:COUNT"):
        settings(suite(), REGISTRY, methods=["fit"], datasets=["faces:worst"])


def test_a_dataset_of_a_plug_in_goes_with_every_suite_when_it_is_named() -> None:
    datasets = {**REGISTRY.datasets, "mine": DatasetSpec("mine", "m", "d:m", "faces", 9)}
    registry = Registry(REGISTRY.methods, REGISTRY.metrics, datasets, brought=frozenset({"mine"}))
    chosen = settings(suite(), registry, methods=["fit"], datasets=["mine", "hats:2"]).datasets
    assert [(one.id, one.count) for one in chosen] == [("mine", None), ("hats", 2)]
    with pytest.raises(InvbenchError, match="suite s: unknown dataset 'mien'; did you mean 'mine'"):
        settings(suite(), registry, methods=["fit"], datasets=["mien"])
    assert [one.id for one in settings(suite(), registry, methods=["fit"]).datasets] == ["faces", "hats"]


def test_datasets_of_a_file_laid_over_are_added(tmp_path: Path) -> None:
    text = "[suites.procfaces]\ndatasets = ['procfaces-test', 'mine']\n[suites.procfaces.collections]\nboth = ['mine:3']\n"
    plain, mine = load()["procfaces"], load(toml(tmp_path, text))["procfaces"]
    assert mine.datasets == (*plain.datasets, "mine")
    assert mine.collections == {**plain.collections, "both": ("mine:3",)}


def test_losses_and_metrics_look_with_different_networks() -> None:
    networks = load()["procfaces"].networks
    metric = {networks[role].weights for role in ("perceptual_metric", "identity_metric")}
    loss = {networks[role].weights for role in ("perceptual_vgg", "perceptual_alex", "identity")}
    assert not metric & loss


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[suites.procfaces]\nresolutoin = 3\n", "suites.procfaces: unknown key 'resolutoin'; did you mean 'resolution'"),
        ("[suites.procfaces.networks.parser]\nclas = 'a:B'\n", "networks.parser: unknown key 'clas'; did you mean 'class'"),
        ("[suites.procfaces.networks.parser]\nclass = 'a.B'\n", "suites.procfaces.networks.parser.class: .*found 'a.B'"),
        ("[suites.procfaces]\nresolution = -1\n", "suites.procfaces.resolution: .*found -1"),
        ("[suites.procfaces]\ndefault = 'quik'\n", "unknown collection 'quik'; did you mean 'quick'"),
        ("[suites.procfaces]\ndefault_edits = ['ages']\n", "unknown edit 'ages'; did you mean 'age'"),
        ("[suites.procfaces.collections]\nx = ['procfaces-tset']\n", "did you mean 'procfaces-test'"),
        ("[suite.procfaces]\n", "unknown key 'suite'; did you mean 'suites'"),
        ("suites = 3\n", "suites: expected a table, found 3"),
        ("[suites\n", "not a TOML file"),
        ("[suites.procfaces]\nmax_batch = true\n", "suites.procfaces.max_batch: .*valid integer, found True"),
        ("[suites.procfaces]\nmax_batch = '8'\n", "suites.procfaces.max_batch: .*valid integer, found '8'"),
        ("[suites.procfaces]\nmax_batch = 8.0\n", "suites.procfaces.max_batch: .*valid integer, found 8.0"),
        ("[suites.procfaces]\nrows = [true, 64]\n", r"suites.procfaces.rows.0: .*found True"),
        ("[suites.procfaces]\nrows = [40, 20]\n", r"suites.procfaces: rows: expected two rows in order, .*found \[40, 20\]"),
        ("[suites.procfaces.edits.age]\nper_strength = nan\n", "edits.age.per_strength: .*finite number, found nan"),
        ("[suites.procfaces.edits.age]\nper_strength = inf\n", "edits.age.per_strength: .*finite number, found inf"),
        ("[suites.procfaces.edits.age]\nper_strength = true\n", "edits.age.per_strength: .*valid number, found True"),
        ("[suites.procfaces.edits.age]\nper_strength = 0\n", "edits.age: per_strength: expected a number other than 0"),
        ("[suites.procfaces.edits.age]\nstrengths = []\n", "edits.age.strengths: .*at least 1 item"),
        ("[suites.procfaces.edits.age]\nstrengths = [1, nan]\n", "edits.age.strengths.1: .*finite number, found nan"),
        ("[suites.procfaces.edits.age]\nstrengths = ['1']\n", "edits.age.strengths.0: .*valid number, found '1'"),
        ("[suites.procfaces.edits.age]\ncompare_at = [-inf]\n", "edits.age.compare_at.0: .*finite number"),
        ("[suites.procfaces.edits.new]\nunit = 'u'\nper_strength = 1\n", "edits.new.strengths: Field required"),
        ("[suites.procfaces]\ninherits = ['offical']\n", "procfaces.inherits: unknown set of networks 'offical'; did you"),
        ("[suites.procfaces]\ninherits = 'official'\n", "suites.procfaces.inherits: expected a list"),
        ("[networks.mine]\nparser = 3\n", "networks.mine.parser: expected a table, found 3"),
        ("networks = 3\n", "networks: expected a table, found 3"),
        ("groups = 3\n", "groups: expected a table, found 3"),
        ("[groups]\nmine = []\n", "groups.mine: .*at least 1 item"),
        ("[groups]\nmine = [3]\n", "groups.mine.0: .*valid string, found 3"),
        ("default = 3\n", "unknown key 'default'; did you mean 'defaults'"),
    ],
)
def test_bad_files_name_file_key_and_nearest(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvbenchError, match=message) as caught:
        load(toml(tmp_path, text))
    assert "mine.toml" in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvbenchError, match="cannot read the configuration"):
        load(tmp_path / "none.toml")


def test_a_second_file_changes_only_what_it_names(tmp_path: Path) -> None:
    path = toml(tmp_path, "[suites.procfaces]\ntitle = 'T'\n[suites.procfaces.networks.generator]\nweights = 'g.safetensors'\n")
    plain, mine = load()["procfaces"], load(path)["procfaces"]
    assert mine.title == "T" and mine.datasets == plain.datasets
    assert mine.networks["generator"].cls == plain.networks["generator"].cls
    assert mine.networks["generator"].weights == tmp_path / "g.safetensors"
    assert mine.networks["parser"] == plain.networks["parser"]


def test_overlay_merges_tables_and_replaces_lists() -> None:
    assert overlay({"a": {"x": 1, "y": [1, 2]}, "b": 1}, {"a": {"y": [3]}}) == {"a": {"x": 1, "y": [3]}, "b": 1}


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        suite().title = "other"


def test_options_in_their_order() -> None:
    method = REGISTRY.methods["fit"]
    plain = suite(methods={})
    assert resolve(plain, method, "paper") == {"steps": 50, "lr": 0.1, "seed": 0}
    assert resolve(suite(), method, "paper") == {"steps": 5, "lr": 0.1, "seed": 0}
    assert resolve(suite(), method, "released") == {"steps": 5, "lr": 0.5, "seed": 0}
    assert resolve(suite(), method, "released", {"steps": 7}) == {"steps": 7, "lr": 0.5, "seed": 0}


def test_defaults_of_a_run() -> None:
    chosen = settings(suite(), REGISTRY, seed=3)
    assert [(m.id, m.preset) for m in chosen.methods] == [("fit", "paper"), ("encode", "paper")]  # no network for cars
    assert chosen.methods[0].options["seed"] == 3
    assert [(d.id, d.count) for d in chosen.datasets] == [("faces", 8), ("hats", 4)]
    assert chosen.edits == (Edit("age", 2.0),)
    assert [m.id for m in chosen.metrics] == ["mse", "psnr"] and not chosen.metrics_required
    assert chosen.batch is None and not chosen.fresh


def test_names_counts_edits_and_overrides() -> None:
    chosen = settings(
        suite(),
        REGISTRY,
        methods=["fit:released", "fit", "fit"],
        datasets=["full", "hats:5"],
        metrics=["psnr"],
        edits=["yaw", "age:-1.5", "yaw:1"],
        images=6,
        overrides=["fit.steps=9", "fit.lr=1", "fit.seed=8"],
        seed=3,
    )
    assert [(m.id, m.preset) for m in chosen.methods] == [("fit", "released"), ("fit", "paper")]
    assert chosen.methods[0].options == {"steps": 9, "lr": 1.0, "seed": 8}
    assert isinstance(chosen.methods[0].options["lr"], float)
    assert [(d.id, d.count) for d in chosen.datasets] == [("faces", 6), ("hats", 5)]
    assert chosen.edits == (Edit("yaw", 1.0), Edit("age", -1.5))
    assert chosen.metrics_required
    assert settings(suite(), REGISTRY, edits=["none"], metrics=["none"]).edits == ()


def test_preset_for_all_leaves_alone_what_names_its_own() -> None:
    chosen = settings(suite(), REGISTRY, methods=["fit", "encode:paper"], preset="released")
    assert [m.preset for m in chosen.methods] == ["released", "paper"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": ["fitt"]}, "unknown method 'fitt'; did you mean 'fit'"),
        ({"methods": ["fit:relesed"]}, "unknown preset of fit 'relesed'; did you mean 'released'"),
        ({"methods": ["cars"]}, "no network for the role 'car_encoder'"),
        ({"preset": "relesed"}, "unknown preset 'relesed'; did you mean 'released'"),
        ({"datasets": ["face"]}, "unknown dataset 'face'; did you mean 'faces'"),
        ({"datasets": ["other"]}, "suite s: unknown dataset 'other'"),
        ({"datasets": ["faces:0"]}, "expected NAME or NAME:COUNT"),
        ({"datasets": ["faces:x"]}, "expected NAME or NAME:COUNT"),
        ({"metrics": ["psrn"]}, "unknown metric 'psrn'; did you mean 'psnr'"),
        ({"edits": ["agee"]}, "unknown edit 'agee'; did you mean 'age'"),
        ({"edits": ["age:x"]}, "expected NAME or NAME:STRENGTH"),
        ({"edits": ["age:nan"]}, "expected NAME or NAME:STRENGTH"),
        ({"device": "gpu"}, "device: .*found 'gpu'"),
        ({"overrides": ["fit.step=1"]}, "unknown option of fit 'step'; did you mean 'steps'"),
        ({"overrides": ["fit.steps=1.5"]}, "--set fit.steps: expected int like 100 in \\[0, inf\\), found 1.5"),
        ({"overrides": ["fit.steps=true"]}, "fit.steps: expected int like 100 in .*, found True"),
        ({"overrides": ["fit.steps"]}, "expected METHOD.OPTION=VALUE"),
        ({"overrides": ["encode.steps=1"], "methods": ["fit"]}, "encode is not among the methods of this run"),
    ],
)
def test_bad_names(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InvbenchError, match=message):
        settings(suite(), REGISTRY, **asked)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"fitt": {}}, "suites.s.methods: unknown method 'fitt'; did you mean 'fit'"),
        ({"fit": {"stpes": 1}}, "suites.s.methods.fit.stpes: unknown option of fit 'stpes'; did you mean 'steps'"),
        ({"fit": {"steps": "many"}}, "suites.s.methods.fit.steps: expected int like 100 in \\[0, inf\\), found 'many'"),
        ({"fit:relesed": {}}, "unknown preset of fit 'relesed'"),
    ],
)
def test_bad_method_sections_of_a_suite(section: dict[str, Any], message: str) -> None:
    with pytest.raises(InvbenchError, match=message):
        settings(suite(methods=section), REGISTRY)
