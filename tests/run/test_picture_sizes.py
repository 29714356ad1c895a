"""F72: pictures of a run folder are opened only up to the size that its plan names, whatever a stranger put there."""

from __future__ import annotations

import shutil
import time

import pytest
from PIL import Image

from invbench.api import InvbenchError
from invbench.run import runner
from invbench.run.check import check
from invbench.store import Store
from invbench.util import images
from tests.run.damage import told, verbs


@pytest.mark.parametrize("kind", ["images/*/toy-01.png", "masks/*/toy-01.png", "inputs/*/toy-01.png", "truths/*/toy-01@*.png"])
@pytest.mark.parametrize("size", [(17, 16), (3000, 3000)])
def test_f72_a_larger_picture_is_one_line_and_not_decoded(make_settings, tmp_path, monkeypatch, kind, size):
    settings = make_settings(images=3)
    assert runner.run(settings, progress=False) == 0
    shutil.copytree(settings.out, tmp_path / "other")
    path = sorted(settings.out.glob(kind))[0]
    right = path.read_bytes()
    Image.new("L" if "masks" in kind else "RGB", size).save(path)
    with pytest.raises(InvbenchError, match=r"expected a PNG picture \(RGB or L\) of at most 256 pixels, found (RGB|L) of"):
        Store(settings.out).read_picture(path)
    began = time.perf_counter()
    page = told(verbs(settings, tmp_path / "other")["report"])
    assert page is not None and path.relative_to(settings.out).as_posix() in page and "left out: 1 (" in page
    assert any(path.name in line for line in check(settings.out).problems) and time.perf_counter() - began < 60
    assert runner.run(settings, progress=False) == 0
    assert path.read_bytes() == right


def test_f72_the_plan_names_the_size_and_a_larger_original_raises_it(make_settings, tmp_path):
    settings = make_settings(images=2)
    assert runner.run(settings, progress=False) == 0
    store = Store(settings.out)
    (cell,) = store.plan["cells"].values()
    assert {image["pixels"] for image in cell["images"]} == {256}
    store.read_picture(store.input("toys", "toy-00"))
    Image.new("RGB", (32, 16)).save(tmp_path / "wide.png")
    with pytest.raises(InvbenchError, match="at most 256 pixels"):
        store.read_picture(tmp_path / "wide.png")
    plan = store.plan
    plan["cells"]["toy.paper.toys"]["images"][0]["pixels"] = 512
    store.write_json("plan.json", plan)
    assert store.read_picture(tmp_path / "wide.png").shape == (16, 32, 3)
    for pixels in (10**12, True, -5, "many"):  # a stranger's plan does not lift the bound of all runs
        plan["cells"]["toy.paper.toys"]["images"][0]["pixels"] = pixels
        store.write_json("plan.json", plan)
        store.read_picture(tmp_path / "wide.png")
        assert store._most == images.MOST_PIXELS
