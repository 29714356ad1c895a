"""LSAP's distance as a metric of latents: where it comes from in a run, and that pictures alone have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from invbench.cli import main
from invbench.methods.train.frozen import load_frozen
from invbench.plugins.config import load
from invbench.store import Store
from invbench.util.images import read_png
from invbench.weights.networks import Networks


def invbench(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("latents") / "run"
    asked = ("--methods", "e4e,psp", "--datasets", "procfaces-test:2", "--edits", "age:2", "--metrics", "mse,nscd")
    invbench("run", *asked, "--device", "cpu", "--out", out, "--quiet")
    return out


def test_the_distance_is_that_of_the_latents_of_the_inversion(run: Path) -> None:
    rows = Store(run).rows()
    networks, generator = Networks(load()["procfaces"]), load_frozen("generator")
    images = [f"test-{index:04d}" for index in range(2)]
    pictures = Store(run).input("procfaces-test", images[0]).parent
    read = np.stack([read_png(pictures / f"{name}.png") for name in images])
    batch = torch.from_numpy(read).movedim(3, 1).float() / 127.5 - 1
    with torch.no_grad():
        latents = networks["encoder_e4e"](batch)
    convs = [f"b{r}.conv{k}" for r in (4, 8, 16, 32, 64) for k in ((1,) if r == 4 else (0, 1))]
    draw = torch.Generator().manual_seed(5)
    w = generator.sample_w(20_000, generator=draw)
    agreement = []
    for index, layer in enumerate([*convs, "b64.torgb"]):  # the styles of an own sample: another way to the same anchors
        affine = generator.synthesis.get_submodule(layer).affine
        with torch.no_grad():
            of_random, styles = affine(w).double(), affine(latents[:, index]).double()
        anchor = (of_random / of_random.norm(dim=1, keepdim=True)).mean(0)
        agreement.append(styles / styles.norm(dim=1, keepdim=True) @ anchor)
    expected = 1 - torch.stack(agreement, 1).mean(1)
    found = rows[(rows["method"] == "e4e") & rows["edit"].isna()].set_index("image").loc[images, "nscd@native"]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert rows[rows["edit"].notna()]["nscd@native"].isna().all()


def test_it_stays_where_other_metrics_are_computed_again(run: Path) -> None:
    before = Store(run).rows()["nscd@native"]
    checked = invbench("score", run, "--device", "cpu")
    assert "nscd" not in checked and "mse@native" in checked
    asked = ("--methods", "e4e,psp", "--datasets", "procfaces-test:2", "--edits", "age:2", "--metrics", "mse,psnr,nscd")
    invbench("run", *asked, "--device", "cpu", "--out", run, "--quiet")
    rows = Store(run).rows()
    assert rows[rows["edit"].isna()]["psnr@native"].notna().all()
    np.testing.assert_array_equal(rows["nscd@native"], before)


def test_pictures_by_other_code_have_none(run: Path, tmp_path: Path) -> None:
    folder = run / "images" / "e4e.paper.procfaces-test"
    out = tmp_path / "scored"
    invbench("score", folder, "--against", "procfaces-test:2", "--metrics", "mse,nscd", "--device", "cpu", "--out", out)
    rows = Store(out).rows()
    assert rows["mse@native"].notna().any() and ("nscd@native" not in rows or rows["nscd@native"].isna().all())
