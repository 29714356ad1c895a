"""The command line as a person meets it: through a process, or through click's runner where speed matters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from invbench.cli import main
from invbench.plugins import registry
from invbench.plugins.registry import metrics
from invbench.reports import published
from tests.checkout import PROJECT

PLUGIN = '''
import numpy as np
from invbench.api import Inversion, Sample
from hashlib import sha256

SPECS = [
    {"id": "blur", "class": "Blur", "title": "Blur", "family": "test", "paper": "none", "venue": "none", "roles": [],
     "options": {"size": {"default": 3, "unit": "pixels", "help": "width of the box"}}, "presets": {"paper": {}}},
    {"id": "dots", "class": "Dots", "title": "Dots", "domain": "test", "size": 3},
]


class Blur:
    def __init__(self, networks, options):
        self.size = options.size

    def invert(self, images, clock):
        from torch.nn.functional import avg_pool2d
        with clock.stage("encode"):
            blurred = avg_pool2d(images, self.size, stride=1, padding=self.size // 2, count_include_pad=False)
        return Inversion(latents=images.new_zeros(len(images), 1, 1), images=blurred)

    def edit(self, inversion, edit, clock):
        with clock.stage("edit"):
            return inversion.images + 0.1 * edit.strength

    def max_batch(self, memory):
        return 2


class Dots:
    names = ["a", "b", "c"]

    def read(self, index):
        picture = np.random.default_rng(index).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        return Sample(picture=picture, name=self.names[index], sha256=sha256(picture.tobytes()).hexdigest())

    def truth(self, index, edit):
        return None
'''
CONFIG = """
[suites.tiny]
title = "Tiny"
resolution = 64
datasets = ["dots"]
default = "all"
collections = { all = ["dots"] }
edits = { light = { unit = "levels", per_strength = 12.75, strengths = [1] } }
default_edits = ["light"]
"""


def call(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def process(*args: str, folder: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120"}
    command = [sys.executable, "-m", "invbench", *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def tiny(tmp_path: Path) -> Sequence[str]:
    """Arguments that bring a suite, a method and a dataset without networks."""
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return "--config", str(tmp_path / "tiny.toml"), "--plugin", str(tmp_path / "plugin.py")


def test_list_names_what_there_is() -> None:
    names = {"methods": "pti", "metrics": "psnr@native", "protocols": "psp256", "datasets": "procfaces-test"}
    for kind, name in (*names.items(), ("suites", "procfaces")):
        result = call("list", kind)
        assert result.exit_code == 0
        assert re.search(rf"^{name}\s+\S", result.output, re.MULTILINE)


def test_long_list_shows_presets_options_and_units() -> None:
    text = call("list", "methods", "--long").output
    assert "preset released" in text
    assert re.search(r"steps = 350 steps: .*; in \[0, inf\)\n", text)
    assert re.search(r";\s+one of 'map',\s+'picture'\n", text) and re.search(r"some\s+of\s+'F4',", text)
    assert re.search(r"edit age: strength 1 = \+5 years", call("list", "suites", "--long").output)


def test_long_list_of_methods_says_why_a_published_row_has_none() -> None:
    known = {**registry.methods(), **published.protocols()["methods"]}
    missing = {number["method"] for number in published.numbers()} - {*known}
    assert {id for id, _, _ in published.only_published()} == missing
    text = call("list", "methods", "--long").output
    assert re.search(r"^np_gan_i +NP-GAN-I \(GANI\)\n    neither code nor a paper", text, re.MULTILINE)
    assert "np_gan_i" not in call("list", "methods").output


def test_long_list_of_metrics_gives_the_whole_recipe() -> None:
    text = call("list", "metrics", "--long").output
    found = dict(re.findall(r"^(\S+@\S+)[^\n]*\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL))
    assert set(found) == set(metrics())
    psp = " ".join(found["lpips_alex@psp256"].split())
    for words in ("recipe: uint8 PNG; Pillow bilinear", "range [0, inf), better: lower", "reference: lpips.LPIPS(net='alex'"):
        assert words in psp
    assert "networks: lpips_alex" in psp and "source of the recipe: scripts/calc_losses_on_images.py of eladrich" in psp
    assert "networks: face_detector, identity_curricular" in found["id_curricular@mtcnn112"]
    assert "not said" not in text
    assert re.search(r"networks: face_detector\n    metrics: .*id_curricular", call("list", "protocols", "--long").output)


@pytest.mark.parametrize("args", [("--help",), ("run", "--help"), ("list", "protocols"), ("list", "suites", "--long")])
def test_help_and_list_import_no_heavy_module(args: Sequence[str]) -> None:
    code = (
        "import sys\nfrom invbench.cli import main\n"
        f"try: main({list(args)!r}, prog_name='invbench')\nexcept SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'numpy', 'pandas', 'duckdb', 'scipy', 'skimage', 'plotly', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["methods", "metrics", "groups"])
def test_lists_of_plug_ins_check_no_configuration(kind: str) -> None:
    code = (
        "import sys\nfrom invbench.cli import main\n"
        f"try: main(['list', {kind!r}], prog_name='invbench')\nexcept SystemExit as end: assert not end.code, end.code\n"
        f"slow = {{'psutil', *({[] if kind == 'groups' else ['pydantic']})}} & set(sys.modules)\nassert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_list_of_metrics_checks_the_groups_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[groups]\nmine = ['ssim']\n")
    assert "@mine" in call("list", "metrics", "--config", str(path)).output
    path.write_text("[groups]\nmine = [3]\n")
    assert "groups.mine.0" in call("list", "metrics", "--config", str(path)).output


@pytest.mark.perf
@pytest.mark.parametrize("args", [("--help",), ("list", "methods"), ("list", "metrics"), ("list", "suites")])
def test_help_and_list_are_instant(args: Sequence[str]) -> None:
    seconds = []
    for _ in range(5):
        before = os.times()
        assert process(*args).returncode == 0
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.5  # of CPU time: a busy machine must not fail the test


@pytest.mark.parametrize("verb", ["run", "list", "show", "report", "doctor"])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = call(verb, "--help")
    assert result.exit_code == 0
    assert f"invbench {verb}" in result.output.split("Example")[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "--methods", "dhr,ptii"), "unknown method 'ptii'; did you mean 'pti'"),
        (("run", "--suite", "procface"), "unknown suite 'procface'; did you mean 'procfaces'"),
        (("run", "--datasets", "procfaces-tset"), "did you mean 'procfaces-test'"),
        (("run", "--datasets", "quik"), "did you mean 'quick'"),
        (("run", "--metrics", "psrn"), "did you mean 'psnr'"),
        (("run", "--metrics", "psnr@natvie"), "did you mean 'psnr@native'"),
        (("run", "--edits", "smil"), "did you mean 'smile'"),
        (("run", "--methods", "pti", "--set", "pti.stpes=3"), "did you mean 'steps'"),
        (("run", "--batch", "none"), "expected 'auto' or a whole number from 1 to 2147483647, found 'none'"),
        (("run", "--images", "0"), "0 is not in the range"),
        (("run", "--methods", ","), "expected at least one name"),
        (("run", "--plugin", "no_such_file.py"), "no_such_file.py"),
        (("list", "method"), "'methods'"),
        (("show", "no_such_run"), "no_such_run"),
        (("runn",), "runn"),
    ],
)
def test_mistakes_exit_with_2_and_say_what_was_meant(args: Sequence[str], message: str) -> None:
    result = call(*args)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_run_from_start_to_page(tiny: Sequence[str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = process("run", *tiny, "--suite", "tiny", "--methods", "blur", "--metrics", "mse,psnr", "--out", str(out), "--show",
                   folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "blur" in done.stdout.lower() and "on 3 images" in done.stdout
    assert str(out / "report" / "index.html") in done.stdout
    assert (out / "report" / "index.html").stat().st_size > 1000
    shown = process("show", str(out), folder=tmp_path)
    assert shown.returncode == 0 and "psnr" in shown.stdout.lower()
    again = process("run", *tiny, "--suite", "tiny", "--methods", "blur", "--metrics", "mse,psnr", "--out", str(out),
                    folder=tmp_path)  # fmt: skip
    assert again.returncode == 0, again.stderr


def test_report_of_a_folder_that_is_no_run(tmp_path: Path) -> None:
    for verb in ("show", "report"):
        result = call(verb, str(tmp_path))
        assert result.exit_code == 2
        assert str(tmp_path) in result.output


def test_doctor_says_what_is_there_and_what_is_missing(tiny: Sequence[str], tmp_path: Path) -> None:
    good = call("doctor", "--suite", "tiny", *tiny)
    assert good.exit_code == 0, good.output
    assert "dots: 3 images" in good.output and "cpu:" in good.output
    assert re.search(r"ok\s+blur: ready", good.output)
    assert "-- " in good.output and "pti: the suite has no network" in good.output
    weights = tmp_path / "weights.safetensors"
    (tmp_path / "tiny.toml").write_text(
        CONFIG + "[suites.tiny.networks.generator]\nclass = 'invbench.methods.nets.stylegan2:Generator'\n"
        f"weights = '{weights.name}'\n"
    )
    missing = call("doctor", "--suite", "tiny", *tiny)
    assert missing.exit_code == 1
    assert f"weights missing: {weights}" in missing.output
    weights.write_bytes(b"not what it was")
    weights.with_suffix(".json").write_text('{"sha256": "00"}')
    wrong = call("doctor", "--suite", "tiny", *tiny)
    assert wrong.exit_code == 1
    assert f"{weights}: expected sha256 00, found " in wrong.output


@pytest.mark.parametrize("alpha", ["nan", "0", "1", "inf", "x"])
def test_a_probability_is_a_number_between_0_and_1(alpha: str, tmp_path: Path) -> None:
    done = call("gate", str(tmp_path), "--baseline", str(tmp_path), "--alpha", alpha)
    assert done.exit_code == 2 and "--alpha" in done.output


def test_gpus_are_workers_with_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from invbench.run import runner

    asked = []
    monkeypatch.setattr(runner, "run", lambda settings, **more: asked.append(settings) or 2)
    words = ["run", "--methods", "e4e", "--quiet"]
    done = CliRunner().invoke(main, [*words, "--gpus", "3"])
    assert done.exit_code == 2 and (asked[0].workers, asked[0].device) == (3, "cuda"), done.output
    for more, told in (
        (["--gpus", "2", "--workers", "3"], "--gpus: expected this or --workers, found both"),
        (["--gpus", "2", "--in-process"], "--gpus: expected this or --in-process, found both"),
        (["--gpus", "2", "--device", "cpu"], "--gpus: expected --device cuda, found cpu"),
    ):
        done = CliRunner().invoke(main, [*words, *more])
        assert done.exit_code == 2 and told in done.output
