"""bench.toml: where it is looked for, what it is laid over, and that its tables do what they say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.plugins import config, files, sweeps
from invbench.plugins.registry import discover
from invbench.plugins.selection import choose_metrics
from tests.checkout import PROJECT

REGISTRY = discover()
TOYS = PROJECT / "tests" / "toys.py"


def chosen(suite: config.Suite, *names: str) -> list[str]:
    return [spec.id for spec in choose_metrics(suite, names, REGISTRY, round_trips=False)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code in (0, 1), done.output
    return done.output


def test_the_file_of_the_working_directory_is_read_and_another_may_be_named(folder: Path) -> None:
    assert files.here() is None and "mine" not in call("list", "suites", "--long")
    (folder / "bench.toml").write_text("[suites.procfaces.collections]\nmine = ['procfaces-test:3']\n")
    (folder / "other.toml").write_text("[suites.procfaces.collections]\nother = ['procfaces-test:3']\n")
    assert files.here() == Path("bench.toml")
    assert "collection mine: procfaces-test:3" in call("list", "suites", "--long")
    named = call("list", "suites", "--long", "--config", "other.toml")
    assert "collection other" in named and "collection mine" not in named


def test_a_byte_order_mark_is_no_part_of_the_text(folder: Path) -> None:
    (folder / "bench.toml").write_bytes(b"\xef\xbb\xbf[suites.procfaces]\r\nmax_batch = 8\r\n")
    assert config.load(files.here())["procfaces"].max_batch == 8


def test_defaults_hold_where_the_command_line_says_nothing(folder: Path) -> None:
    (folder / "bench.toml").write_text("[defaults]\nsuite = 'faces'\ndevice = 'cpu'\nbatch = 3\nseed = 5\nworkers = 0\n")
    assert call("doctor").count("Datasets of faces") == 1
    assert call("doctor", "--suite", "procfaces").count("Datasets of procfaces") == 1
    words = ("run", "--suite", "procfaces", "--datasets", "procfaces-test:2", "--methods", "e4e", "--edits", "none")
    call(*words, "--metrics", "mse", "--seed", "7", "--out", "out", "--quiet")
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["seed"] == 7 and manifest["machine"]["device"] == "cpu"
    text = (folder / "bench.toml").read_bytes()
    read = manifest["configuration"]
    assert set(read) == {"suites/procfaces.toml", "networks.toml", "groups.toml", "bench.toml"}
    assert read["bench.toml"] == hashlib.sha256(text).hexdigest()
    assert read["suites/procfaces.toml"] == hashlib.sha256((files.SUITES / "procfaces.toml").read_bytes()).hexdigest()
    assert f"bench.toml ({read['bench.toml'][:8]})" in call("doctor", "--suite", "procfaces")


def test_without_a_file_doctor_says_so(folder: Path) -> None:
    assert "no bench.toml in this folder" in call("doctor")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suite = 'face'", "defaults.suite: unknown suite 'face'; did you mean 'faces'"),
        ("suit = 'faces'", "defaults: unknown key 'suit'; did you mean 'suite'"),
        ("device = 'gpu'", "defaults.device: .*found 'gpu'"),
        ("batch = 0", "defaults.batch.*greater than 0, found 0"),
        ("batch = true", "defaults.batch.*found True"),
        ("seed = 1.5", "defaults.seed: .*valid integer, found 1.5"),
        ("workers = -1", "defaults.workers: .*greater than or equal to 0"),
    ],
)
def test_wrong_defaults_name_the_file_and_the_key(folder: Path, text: str, message: str) -> None:
    (folder / "bench.toml").write_text(f"[defaults]\n{text}\n")
    done = CliRunner().invoke(main, ["plan", "--no-probe"])
    assert done.exit_code == 2 and "bench.toml: " in done.output
    with pytest.raises(InvbenchError, match=message):
        config.defaults(files.here())


def test_the_file_of_the_checkout_changes_nothing_and_its_examples_work(tmp_path: Path) -> None:
    own = PROJECT / "bench.toml"
    assert files.read(own) == {}
    lines = [line.removeprefix("# ") for line in own.read_text().splitlines()]
    start = lines.index("[defaults]")
    examples = [line for line in lines[start:] if line.startswith("[") or " = " in line and not line[0].isupper()]
    path = tmp_path / "bench.toml"
    path.write_text("\n".join(examples))
    suite = config.load(path)["procfaces"]
    shown = {"suite": "faces", "device": "cuda:0", "batch": 8, "workers": 4, "readers": 2, "seed": 0}
    assert config.defaults(path).options == shown
    assert suite.collections["mine"] == ("procfaces-test:20", "procfaces-test-ood:20")
    assert suite.networks["generator"].weights == tmp_path / "weights" / "generator.safetensors"
    assert suite.methods["pti"]["steps"] == 100 and suite.methods["pti:released"]["lr"] == 1e-3
    assert chosen(suite, "@mine")[-2:] == ["lpips_proc@native", "mse@psp256"]
    assert [point.x for point in sweeps.load(path)["mine"].point] == [50, 200]


# Networks that suites share ----------------------------------------------------------------------------------------------


def test_a_network_of_a_set_reaches_every_suite_that_inherits_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "[networks.official]\nsegmenter = { asset = 'bisenet' }\nnew = { asset = 'moco' }\n"
        "[suites.faces.networks.inception]\nconfig = { a = 1 }\n"
        "[suites.cat.networks]\ninception = { class = 'invbench.a:B' }\n"
    )
    suites = config.load(path)
    for name, suite in suites.items():
        assert ("new" in suite.networks) == (name not in ("procfaces", "procclasses", "faces256")), name
    assert suites["cars"].networks["segmenter"].asset == ("ade20k_encoder", "maskrcnn")  # its own stands before the set's
    assert suites["faces"].networks["inception"].asset == "inception"  # changed
    assert suites["faces"].networks["inception"].config == {"a": 1}
    assert suites["cat"].networks["inception"].asset is None  # replaced
    assert suites["church"].networks["inception"].config == {}


def test_suites_repeat_nothing_that_a_set_gives_them() -> None:
    tables = files.packaged()
    for name, suite in tables["suites"].items():
        shared = {role: table for one in suite.get("inherits", []) for role, table in tables["networks"][one].items()}
        assert not [role for role, table in suite["networks"].items() if shared.get(role) == table], name


# Groups of metrics -------------------------------------------------------------------------------------------------------


def test_every_metric_of_the_package_stands_in_one_group() -> None:
    members = [member.partition("@")[0] for group in config.groups().values() for member in group if member[0] != "@"]
    assert sorted(members) == sorted({spec.name for spec in REGISTRY.metrics.values()})


def test_a_group_is_what_the_suite_has_networks_and_edits_for() -> None:
    suites = config.load()
    procfaces, faces, cars = suites["procfaces"], suites["faces"], suites["cars"]
    assert chosen(procfaces, "@pixel", "lpips_proc") == [
        "mse@native", "psnr@native", "ssim@native", "ms_ssim@native", "lpips_proc@native",
    ]  # fmt: skip
    assert chosen(faces, "@pixel@psp256", "mse") == ["mse@psp256", "psnr@psp256", "ssim@psp256", "mse@native"]
    assert chosen(procfaces, "@identity") == ["id_proc@native"] and chosen(cars, "@identity") == ["moco@native"]
    assert chosen(procfaces, "@background")[3:] == chosen(procfaces, "@parsed_background")
    for names, message in (
        (["@pixl"], "unknown group of metrics 'pixl'; did you mean 'pixel'"),
        (["@identity@psp257"], "no metric of that group has the protocol 'psp257'"),
    ):
        with pytest.raises(InvbenchError, match=message):
            chosen(procfaces, *names)
    with pytest.raises(InvbenchError, match="suite church has networks for none of that group"):
        chosen(suites["church"], "@parsed_background")


def test_groups_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[groups]\nmine = ['@ours', 'ssim']\nours = ['@mine', 'psnr']\nwrong = ['psrn']\n")
    suite = config.load(path)["procfaces"]
    assert chosen(suite, "@mine") == ["psnr@native", "ssim@native"]  # in a circle, too
    with pytest.raises(InvbenchError, match="groups.wrong: unknown metric 'psrn'; did you mean 'psnr'"):
        chosen(suite, "@wrong")


def test_lists_show_groups() -> None:
    assert "@pixel" in call("list", "groups") and "mse, psnr, ssim, ms_ssim" in call("list", "groups")
    (line,) = [line for line in call("list", "metrics").splitlines() if line.startswith("ssim@native ")]
    assert "@pixel" in line
