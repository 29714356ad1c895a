"""``REFINEMENT+EMBEDDER``: what a pair is made of, what is refused and why, and where its options come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.plugins import pairs, registry
from invbench.plugins.config import load
from invbench.plugins.declarations import read
from invbench.plugins.selection import resolve, settings
from invbench.specs import MethodSpec

KNOWN = registry.methods()
PLUGIN = '''SPEC = {{
    "id": "polish", "class": "Polish", "title": "Polish", "family": "weights", "roles": ["generator"],
    "options": {{"steps": {{"default": 3, "unit": "steps", "help": "how many"}}}},
    "presets": {{"paper": {{}}, "released": {{"steps": 5}}}},
    {more}
}}
'''


def chosen(*methods: str, **more):
    found = settings(load()["procfaces"], registry.discover(), methods=methods, device="cpu", seed=0, **more)
    return {f"{one.id}:{one.preset}": one for one in found.methods}


def test_a_pair_is_made_of_the_two() -> None:
    pair = pairs.find("dhr+restyle_e4e", KNOWN)
    own, start = pair.parts
    assert (pair.id, own.id, start.id, pair.title) == ("dhr+restyle_e4e", "dhr", "restyle_e4e", "DHR + ReStyle (e4e)")
    assert set(pair.roles) == {*own.roles, "encoder_restyle_e4e"} and "encoder_e4e" not in pair.roles
    assert set(pair.options) == {*own.options, "embedder.iterations"} and pair.entry == KNOWN["dhr"].entry
    assert [one.id for one in pairs.leaves(pair)] == ["dhr", "restyle_e4e"]


def test_a_refinement_alone_starts_from_its_published_embedder() -> None:
    starts = {name: spec.parts[1].id for name, spec in KNOWN.items() if spec.parts}
    assert (starts["pti"], starts["dhr"], starts["sam"]) == ("sg2_w", "e4e", "e4e")
    for name in ("pti", "dhr", "sam"):
        alone, pair = KNOWN[name], pairs.find(f"{name}+{KNOWN[name].parts[1].id}", KNOWN)
        assert replace(pair, id=alone.id, title=alone.title) == alone
    presets = {preset: pairs.start_preset(KNOWN["pti"], preset) for preset in KNOWN["pti"].presets}
    assert presets == {"released": "pivot", "paper": "pivot_paper"}
    assert pairs.start_preset(pairs.find("pti+sg2_wplus", KNOWN), "released") == "released"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("e4e+psp", "e4e+psp: expected a refinement before '+' (dhr, "),
        ("pti+dhr", "pti+dhr: expected an embedder after '+' (e4e, "),
        ("pti+e4", "pti+e4: unknown method 'e4'; did you mean 'e4e'?"),
        ("ptti+e4e", "ptti+e4e: unknown method 'ptti'; did you mean 'pti'?"),
        ("pti+e4e+psp", "pti+e4e+psp: unknown method 'e4e+psp'"),
        ("pti+", "pti+: unknown method ''"),
        ("pti+e4e:papr", "unknown preset of pti+e4e 'papr'; did you mean 'paper'?"),
    ],
)
def test_an_impossible_pair_is_refused_in_one_line(tmp_path: Path, name: str, reason: str) -> None:
    done = CliRunner().invoke(main, ["run", "--methods", name, "--images", "1", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and reason in done.output and not (tmp_path / "out").exists()
    assert len(done.output.strip().splitlines()) == 1


def test_latents_of_the_wrong_space_are_refused() -> None:
    narrow = replace(KNOWN["pti"].parts[0], refines=("w",))
    with pytest.raises(InvbenchError, match=r"^pti\+e4e: pti starts from latents in W, and e4e gives W\+$"):
        pairs.find("pti+e4e", {**KNOWN, "pti": pairs.published(narrow, KNOWN)})


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('"refines": ["w"],', "expected refines and embedder, or neither"),
        ('"embedder": "e4e",', "expected refines and embedder, or neither"),
        ('"refines": ["v"], "embedder": "e4e",', "refines: unknown space 'v'"),
        ('"gives": "v",', "unknown gives 'v'"),
        ('"refines": ["w"], "embedder": {"paper": "e4e"},', "embedder: expected a name for each preset (paper, released)"),
        ('"refines": ["w"], "embedder": 3,', "embedder: expected a dict"),
        ('"parts": [],', "unknown key 'parts'"),
    ],
)
def test_a_wrong_declaration_is_refused(tmp_path: Path, more: str, reason: str) -> None:
    path = tmp_path / "polish.py"
    path.write_text(PLUGIN.format(more=more))
    with pytest.raises(InvbenchError) as error:
        read(path, "polish")
    assert reason in str(error.value) and "polish" in str(error.value)


@pytest.mark.parametrize(
    ("embedder", "reason"), [("e5e", "unknown method 'e5e'"), ("sg2_w:pivo", "unknown preset of sg2_w 'pivo'")]
)
def test_a_published_embedder_must_exist(tmp_path: Path, embedder: str, reason: str) -> None:
    path = tmp_path / "polish.py"
    path.write_text(PLUGIN.format(more=f'"refines": ["w"], "embedder": "{embedder}",'))
    with pytest.raises(InvbenchError) as error:
        registry.discover([path])
    assert f"method polish: embedder: {reason}" in str(error.value)


def test_options_of_the_parts_and_of_the_pair(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "[suites.procfaces.methods.pti]\nsteps = 11\nembedder.steps = 12\n"
        '[suites.procfaces.methods.sg2_w]\nlr = 0.3\n[suites.procfaces.methods."pti+restyle_psp"]\nembedder.iterations = 2\n'
        '[suites.procfaces.methods."pti+restyle_psp:paper"]\nsteps = 13\n'
    )
    suite = load(path)["procfaces"]
    alone = resolve(suite, KNOWN["pti"], "released", seed=7)
    assert (alone["steps"], alone["embedder.steps"], alone["embedder.lr"], alone["embedder.samples"]) == (11, 12, 0.3, 600)
    assert (alone["seed"], alone["embedder.seed"]) == (7, 7)
    pair = pairs.find("pti+restyle_psp", KNOWN)
    found = [resolve(suite, pair, preset) for preset in ("released", "paper")]
    assert [(one["steps"], one["embedder.iterations"], one["locality"]) for one in found] == [(11, 2, False), (13, 2, True)]
    path.write_text('[suites.procfaces.methods."pti+e4e"]\nembedder.steps = 2\n')
    with pytest.raises(InvbenchError, match=r'methods\."pti\+e4e"|pti\+e4e.*embedder\.steps'):
        settings(load(path)["procfaces"], registry.discover(), device="cpu", seed=0)


def test_set_of_the_parts_and_of_the_pair() -> None:
    said = ("pti.steps=4", "pti+e4e.lr=0.5", "sg2_w.steps=6", "pti.embedder.seed=9")
    found = chosen("pti", "pti+e4e", "sg2_w", overrides=said)
    steps = {name: (one.options["steps"], one.options.get("lr")) for name, one in found.items()}
    assert steps == {"pti:released": (4, 3e-3), "pti+e4e:released": (4, 0.5), "sg2_w:paper": (6, 0.2)}
    assert (found["pti:released"].options["embedder.steps"], found["pti:released"].options["embedder.seed"]) == (6, 9)
    with pytest.raises(InvbenchError, match="pti is not among the methods of this run"):
        chosen("pti+e4e", overrides=["pti.embedder.seed=9"])


def test_the_default_methods_of_a_suite_and_all() -> None:
    suite, known = load()["procfaces"], registry.discover()
    default = [name.split(":")[0] for name in chosen()]
    assert default == list(suite.default_methods) and set(default) < set(known.methods)
    assert {one.id for one in settings(suite, known, methods=["all"], device="cpu", seed=0).methods} == {
        name for name, spec in known.methods.items() if set(spec.roles) <= set(suite.networks) and name not in suite.without
    } - {"z_class"}  # for generators with classes
    assert "pti+e4e:released" in chosen("all", "pti+e4e")


def test_a_method_is_listed_with_what_it_gives_or_needs() -> None:
    shown = CliRunner().invoke(main, ["list", "methods", "--long"]).output
    assert "starts from latents in W or W+; published: sg2_w:pivot" in shown and "gives latents in W+" in shown
    spec: MethodSpec = KNOWN["pti"]
    assert all(f"{name} = " in shown for name in spec.options)
