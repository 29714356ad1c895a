"""Finding plug-ins by their literals, without running them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from invbench.api import InvbenchError
from invbench.plugins import registry
from invbench.plugins.selection import default_preset
from invbench.specs import DatasetSpec, MethodSpec, MetricSpec
from tests.checkout import PROJECT

EXAMPLE = PROJECT / "docs" / "plugin_example.py"
METHOD = {
    "id": "mine",
    "class": "Mine",
    "title": "Mine",
    "family": "encoder",
    "paper": "none",
    "venue": "none",
    "roles": ["generator"],
    "options": {"steps": {"default": 10, "unit": "steps", "help": "how many"}},
    "presets": {"paper": {"steps": 20}},
}
METRIC = {"id": "m", "class": "M", "title": "M", "kind": "inversion", "better": "lower", "unit": "", "range": "0..1"}
DATASET = {"id": "d", "class": "D", "title": "D", "domain": "faces", "size": None, "options": {"root": "x"}}


def write(folder: Path, text: str, name: str = "plugin.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_built_in_plug_ins_are_found() -> None:
    assert {"pti", "sam", "dhr", "psp", "e4e", "sg2_w", "sg2_wplus"} <= set(registry.methods())
    assert {"mse@native", "mse@psp256", "lpips_proc@native", "id_curricular@mtcnn112"} <= set(registry.metrics())
    assert {"procfaces-test", "procfaces-test-ood"} <= set(registry.datasets())
    assert registry.methods()["pti"].entry == "invbench.methods.pti:PTI"
    assert registry.methods()["pti"].options["steps"].unit == "steps"


def test_every_spec_of_ours_names_a_class_that_exists() -> None:
    found = registry.discover()
    for specs in (found.methods, found.metrics, found.datasets, found.protocols):
        for name, spec in specs.items():
            assert spec.id == name
            assert isinstance(registry.load(spec), type)


def test_listing_runs_no_plug_in_code_and_imports_no_torch(tmp_path: Path) -> None:
    plugin = write(tmp_path, f"SPEC = {METHOD!r}\nraise SystemExit('this module was executed')\n")
    code = (
        "import sys; from pathlib import Path; from invbench.plugins import registry;"
        f"assert 'mine' in registry.discover([Path({str(plugin)!r})]).methods;"
        "print(sorted(m for m in ('torch', 'pandas', 'duckdb', 'invbench.methods.pti') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_is_parsed_once_and_again_when_its_text_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    real = ast.parse

    def counting(source: str, *, filename: str) -> ast.Module:
        parsed.append(source)
        return real(source, filename=filename)

    monkeypatch.setattr("invbench.plugins.declarations.ast.parse", counting)
    plugin = write(tmp_path, f"SPEC = {METHOD!r}\n")
    first = registry.discover([plugin]).methods["mine"]
    assert registry.discover([plugin]).methods["mine"] == first
    write(tmp_path, f"SPEC = {METHOD | {'title': 'Another'}!r}\n")
    assert registry.discover([plugin]).methods["mine"].title == "Another" != first.title
    assert len([source for source in parsed if "'mine'" in source]) == 2


def test_plugin_file_loads_its_class() -> None:
    spec = registry.discover([EXAMPLE]).methods["nearest"]
    assert registry.load(spec).__name__ == "Nearest"
    assert registry.load(spec) is registry.load(spec)


def test_one_file_may_declare_methods_metrics_and_datasets(tmp_path: Path) -> None:
    found = registry.discover([write(tmp_path, f"SPECS = [{METHOD!r}, {METRIC!r}, {DATASET!r}]\n")])
    assert isinstance(found.methods["mine"], MethodSpec)
    assert isinstance(found.metrics["m@native"], MetricSpec)
    assert isinstance(found.datasets["d"], DatasetSpec)
    assert found.datasets["d"].size is None and found.datasets["d"].options == {"root": "x"}
    assert found.methods["mine"].roles == ("generator",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "x"}, "unknown key 'titel'; did you mean 'title'"),
        ({"title": 3}, "title: expected str, found 3"),
        ({"id": "../up"}, "id: expected lower-case letters"),
        ({"roles": "generator"}, "roles: expected a list of names"),
        ({"options": {"steps": 3}}, r"options.steps: expected the keys \['default', 'help', 'unit'\], and range or choices"),
        ({"presets": {"paper": {"step": 1}}}, "presets.paper.step: unknown option of mine 'step'; did you mean 'steps'"),
        ({"class": "a b"}, "class: expected the name of a class"),
    ],
)
def test_bad_declarations_name_file_and_key(tmp_path: Path, change: dict, message: str) -> None:
    plugin = write(tmp_path, f"SPEC = {METHOD | change!r}\n")
    with pytest.raises(InvbenchError, match=message) as caught:
        registry.discover([plugin])
    assert str(plugin) in str(caught.value)


def test_missing_key(tmp_path: Path) -> None:
    declared = {key: value for key, value in METHOD.items() if key != "family"}
    with pytest.raises(InvbenchError, match="missing key 'family'"):
        registry.discover([write(tmp_path, f"SPEC = {declared!r}\n")])


def test_what_is_for_people_and_presets_may_be_left_out(tmp_path: Path) -> None:
    declared = {key: value for key, value in METHOD.items() if key not in {"paper", "venue", "presets"}}
    spec = registry.discover([write(tmp_path, f"SPEC = {declared!r}\n")]).methods["mine"]
    assert (spec.paper, spec.venue, spec.summary, dict(spec.presets)) == ("", "", "", {})
    assert default_preset(spec) == "default"


def test_variants_are_declarations_with_their_own_keys_laid_over(tmp_path: Path) -> None:
    common = {key: value for key, value in DATASET.items() if key not in {"id", "size"}}
    variants = [{"id": "a", "size": 3}, {"id": "b", "title": "B", "size": None, "options": {"root": "y", "kind": "cat"}}]
    known = registry.discover([write(tmp_path, f"SPECS = [{common | {'variants': variants}!r}]\n")]).datasets
    assert (known["a"].title, known["a"].size, known["a"].options) == ("D", 3, {"root": "x"})
    assert (known["b"].title, known["b"].size, known["b"].options) == ("B", None, {"root": "y", "kind": "cat"})
    assert known["a"].entry == known["b"].entry


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SPECS = 3\n", "SPECS: expected a list of dicts, found 3"),
        ("SPECS = [{'id': 'x', 'variants': {}}]\n", "variants: expected a list of dicts, one for each variant"),
        ("SPECS = [{'id': 'x', 'variants': [3]}]\n", "variants: expected a list of dicts, one for each variant"),
        ("SPEC = {[]: 1}\n", "SPEC: expected a literal"),
        ("SPEC = 1\n\0", "plugin.py: cannot read the plug-in"),
    ],
)
def test_declarations_that_are_no_lists_of_dicts(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvbenchError, match=message) as caught:
        registry.discover([write(tmp_path, text)])
    assert "plugin.py" in str(caught.value)


def test_a_need_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(InvbenchError, match="m: needs: unknown need 'parsin'; did you mean 'parsing'"):
        registry.discover([write(tmp_path, f"SPECS = [{METRIC | {'needs': ['parsin']}!r}]\n")])


def test_unknown_choice(tmp_path: Path) -> None:
    with pytest.raises(InvbenchError, match="unknown better 'lowest'; did you mean 'lower'"):
        registry.discover([write(tmp_path, f"SPECS = [{METRIC | {'better': 'lowest'}!r}]\n")])


@pytest.mark.parametrize("text", ["SPEC = dict(id='a')\n", "SPEC = {'id': name}\n"])
def test_a_declaration_that_is_not_a_literal(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvbenchError, match="expected a literal"):
        registry.discover([write(tmp_path, text)])


def test_syntax_error_names_the_file(tmp_path: Path) -> None:
    plugin = write(tmp_path, "SPEC = {\n")
    with pytest.raises(InvbenchError, match="plugin.py: cannot read the plug-in"):
        registry.discover([plugin])


def test_an_id_cannot_be_taken_twice(tmp_path: Path) -> None:
    plugin = write(tmp_path, f"SPEC = {METHOD | {'id': 'pti'}!r}\n")
    with pytest.raises(InvbenchError, match=r"'pti' is already taken by .*pti\.py"):
        registry.discover([plugin])


def test_a_class_that_does_not_exist(tmp_path: Path) -> None:
    plugin = write(tmp_path, f"SPEC = {METHOD!r}\n")
    with pytest.raises(InvbenchError, match="expected a class 'Mine'"):
        registry.load(registry.discover([plugin]).methods["mine"])


def test_unknown_id_suggests_the_nearest() -> None:
    with pytest.raises(InvbenchError, match="unknown method 'ptii'; did you mean 'pti'"):
        registry.find("method", "ptii", registry.methods())


def test_entry_points_are_read_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, f"SPEC = {METHOD!r}\nclass Mine: pass\n", "installed_plugin.py")
    info = tmp_path / "someone-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[invbench.methods]\nmine = installed_plugin:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = registry.methods()["mine"]
    assert "installed_plugin" not in sys.modules
    assert registry.load(spec).__module__ == "installed_plugin"


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (METHOD | {"roles": ["generatr"]}, "method mine of .*:Mine: unknown role 'generatr'; did you mean 'generator'"),
        (METHOD | {"optional": {"direktions": "steps=1"}}, "unknown role 'direktions'; did you mean 'directions'"),
        (METRIC | {"roles": ["regresor"]}, "metric m@native of .*: unknown role 'regresor'; did you mean 'regressor'"),
    ],
)
def test_a_role_with_a_slip_in_it(tmp_path: Path, declared: dict, message: str) -> None:
    found = registry.discover([write(tmp_path, f"SPECS = [{declared!r}]\n")])
    with pytest.raises(InvbenchError, match=message):
        registry.check_roles(found, ["generator", "directions", "regressor"])
    registry.check_roles(found, ["generatr", "direktions", "generator", "regresor"])


def test_a_role_like_no_other_is_left_to_the_configuration(tmp_path: Path) -> None:
    found = registry.discover([write(tmp_path, f"SPEC = {METHOD | {'roles': ['segmenter']}!r}\n")])
    registry.check_roles(found, ["generator", "directions"])


def test_datasets_of_plug_ins_are_told_from_ours(tmp_path: Path) -> None:
    assert registry.discover().brought == frozenset()
    assert registry.discover([write(tmp_path, f"SPECS = [{DATASET!r}]\n")]).brought == {"d"}
