"""The example files of docs/external, on stand-ins that take the command lines and leave the files of the official codes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invbench.api import Edit
from invbench.plugins import foreign
from invbench.plugins.config import EditConfig, Suite
from invbench.plugins.registry import discover
from invbench.plugins.selection import settings
from invbench.run import runner
from invbench.store import Store
from tests.checkout import PROJECT
from tests.fixtures import TOYS

STAND_INS = Path(__file__).parent / "foreign_code"
EXTERNAL = PROJECT / "docs" / "external"
CASES = {
    "e4e": ("encoder4editing", {"scripts/inference.py": "e4e.py"}, False),
    "hyperstyle": (
        "hyperstyle",
        {"scripts/inference.py": "hyperstyle.py", "editing/inference_face_editing.py": "hyperstyle.py"},
        True,
    ),
    "sfe": ("StyleFeatureEditor", {"scripts/inference.py": "sfe.py"}, True),
    "pti": (
        "PTI",
        {f"configs/{name}.py": "pti_configs.py" for name in ("global_config", "paths_config", "hyperparameters")}
        | {"scripts/run_pti.py": "pti_run.py", "scripts/latent_editor_wrapper.py": "pti_editor.py", "toy.py": "pti_toy.py"},
        True,
    ),
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="the examples are scripts for bash")
@pytest.mark.parametrize("name", CASES)
def test_an_example_works_with_what_its_code_leaves(name, tmp_path, monkeypatch):
    folder, files, edited = CASES[name]
    for file in EXTERNAL.iterdir():
        shutil.copy(file, tmp_path)
    for place, file in files.items():
        (tmp_path / folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(STAND_INS / file, tmp_path / folder / place)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    conda = tmp_path / "bin" / "conda"
    known = '[ "$1 $2 $3" = "run --no-capture-output -n" ] || exit 9'
    conda.write_text(f'#!/bin/sh\n{known}\nshift 5; exec "{sys.executable}" "$@"\n')
    conda.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # the official code is of the time before that was the rule
    edit = EditConfig(unit="", per_strength=1, strengths=(-2,))
    suite = Suite(
        id="toys", title="toys", resolution=16, datasets=("toys",), collections={"all": ("toys",)}, default="all",
        edits={"age": edit, "bright": edit},
    )  # fmt: skip
    registry = foreign.added(discover([TOYS]), tmp_path / f"{name}.toml")
    (method,) = registry.foreign
    asked = {"methods": [method], "metrics": ["toy_mse"], "edits": ["age", "bright"], "images": 2, "out": tmp_path / "run"}
    chosen = settings(suite, registry, device="cpu", seed=0, **asked)
    code, store = runner.run(chosen, progress=False), Store(tmp_path / "run")
    rows = store.rows()
    assert code == 0, rows["reason"].dropna().tolist()
    assert rows["edit"].dropna().unique().tolist() == (["age"] if edited else [])  # "bright" is none of the code's edits
    for image in rows["image"].unique():
        original = np.asarray(Image.open(store.input("toys", image))).astype(int)
        made = store.read_picture(store.picture(f"{method}.default.toys", image)).astype(int)
        assert np.abs(made - original // 2).max() <= (60 if name == "e4e" else 1)  # that code writes JPEG
        if edited:
            moved = store.read_picture(store.picture(f"{method}.default.toys", image, Edit("age", -2.0)))
            assert np.abs(moved - (original // 2 - 2 * 10).clip(0)).max() <= 1
