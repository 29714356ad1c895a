"""`invbench suite new` on a made-up network pickle: what it makes, that a run of it works, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from invbench.cli import main
from invbench.methods.convert.stylegan2 import convert_generator
from invbench.methods.directions.interfacegan import boundary
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.train import own
from invbench.plugins.config import load
from invbench.store import Store
from invbench.weights.checkpoints import load_checkpoint
from tests.weights import official
from tests.weights.pickles import nvidia

SIDE, COUNT, TEST = 32, 60, 8


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pickle of a small generator, its pictures with a label, and the suite of both."""
    folder = tmp_path_factory.mktemp("own")
    generator = write_pickle(folder / "my.pkl")
    (folder / "photos").mkdir()
    latents = generator.sample_w(COUNT, generator=torch.Generator().manual_seed(5))
    pictures = generator.synthesis(generator.repeat(latents)).clamp(-1, 1)
    levels = ((pictures + 1) * 127.5).round().byte().movedim(1, 3).numpy()
    lines = ["file,light"]
    for number, picture in enumerate(levels):
        Image.fromarray(picture).save(folder / "photos" / f"p{number:02d}.png")
        lines.append(f"p{number:02d}.png,{picture.mean() if number % 5 else ''}")
    (folder / "light.csv").write_text("\n".join(lines))
    words = ["--labels", folder / "light.csv", "--minutes", 0.02, "--test", TEST, "--out", folder / "my", "--like", "procfaces"]
    done = new(folder / "my.pkl", folder / "photos", *words)
    assert done.exit_code == 0, done.output
    return folder, generator, done.output


def write_pickle(path: Path) -> Generator:
    """A generator in the form of a network pickle, with a rate of its mapping that is not the official one."""
    config, state = official.generator(SIDE, seed=3, z_dim=16, w_dim=16, n_mapping=2)
    for key, value in state.items():
        if key.endswith(("noise_strength", "w_avg", "torgb.bias")):
            value.mul_(0.05)
        elif key.startswith("mapping.fc"):
            value.mul_(10)  # as stored for a rate of 0.1
    network = nvidia.nested(state)
    network._init_kwargs = nvidia.EasyDict(mapping_kwargs=nvidia.EasyDict(lr_multiplier=0.1))
    nvidia.write(path, {"G_ema": network})
    return convert_generator(load_checkpoint(path), source="", mapping_lr_multiplier=0.1).network()


def new(*words: object):
    pickle, photos, *rest = words
    return CliRunner().invoke(main, ["suite", "new", str(pickle), "--images", str(photos), *map(str, rest)])


def test_the_generator_is_that_of_the_pickle(made):
    folder, generator, _ = made
    kept = load_file(folder / "my" / "generator.safetensors")
    for key, value in generator.state_dict().items():
        assert torch.equal(kept[key], value)


def test_the_suite_holds_what_was_made(made):
    folder, generator, told = made
    suite = load(folder / "my" / "my.toml")["my"]
    assert suite.resolution == SIDE and {"e4e", "sg2_w", "pti"} <= set(suite.default_methods), told
    assert {"sefa0", "sefa1", "sefa2", "light", "age"} <= set(suite.edits)
    assert suite.edits["age"].unit == "years" and suite.edits["light"].unit == "standard deviations of the label"
    assert len(list((folder / "my" / "pictures" / "test").iterdir())) == TEST
    assert "too few for FID" in told and not any(one.startswith(("fid", "kid", "@sets")) for one in suite.metrics)
    first, source = folder / "my" / "pictures" / "test" / "00000.png", folder / "photos" / "p00.png"
    assert np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(source)))
    assert generator.resolution == SIDE


def test_a_run_of_the_suite_works(made, tmp_path):
    folder, _, _ = made
    words = ["run", "--config", folder / "my" / "my.toml", "--suite", "my", "--images", 2, "--methods", "e4e,sg2_w"]
    words += ["--edits", "sefa0:1,light:1", "--metrics", "@pixel", "--set", "sg2_w.steps=2", "--quiet"]
    words += ["--out", tmp_path / "run"]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    rows = Store(tmp_path / "run").rows()
    assert len(rows) == 2 * 2 * 3 and set(rows["status"]) == {"ok"}


def test_a_closed_form_direction_is_a_standard_deviation_long(made):
    _, generator, _ = made
    found = own.closed_form(generator, seed=1)
    latents = generator.sample_w(20_000, generator=torch.Generator().manual_seed(9)).double()
    for _, vector in found.values():
        one = vector[0].double()
        assert float((latents @ (one / one.norm())).std()) == pytest.approx(float(one.norm()), rel=0.05)
        assert torch.equal(vector, vector[:1].expand_as(vector))


def test_a_fitted_direction_changes_its_score_by_the_step():
    """Scores that are linear in the latents: the direction is known."""
    draws = np.random.default_rng(0)
    latents, weights = draws.standard_normal((4000, 6)), np.array([3.0, 0, 0, 4.0, 0, 0])
    scores = latents @ weights + 0.01 * draws.standard_normal(4000)

    class Layers:
        num_ws = 2

    ((_, vector),) = own._fitted(latents, {"one": (scores, 2.0)}, Layers(), seed=0, extreme=0.1).values()
    assert vector.shape == (2, 6)
    assert vector[0].numpy() == pytest.approx(2 * weights / 25, abs=0.02)
    assert boundary(latents, scores, 0, extreme=0.1)[1] > 0.95


def test_pictures_of_the_warm_start_have_known_latents(made):
    folder, generator, _ = made
    real = np.zeros((4, SIDE, SIDE, 3), dtype=np.uint8)
    looks = own.embedded_perceptual("cpu")
    recipe = own.OwnPictures(
        seed=0, device="cpu", generator=generator, perceptual=looks, identity=None, real=real, held_out=real
    )
    target, w = recipe.pictures(3, 5, warm=True)
    assert torch.equal(target, generator.synthesis(generator.repeat(w)).clamp(-1, 1))
    target, _ = recipe.pictures(3, 5)
    assert target.shape == (5, 3, SIDE, SIDE) and bool((target == -1).all())
    assert set(recipe.distances(target, target)) == {"l2", "lpips"}


def test_what_cannot_become_a_suite_is_refused_in_a_line(made, tmp_path):
    folder, _, _ = made
    photos, pickle = folder / "photos", folder / "my.pkl"
    (tmp_path / "text.pkl").write_text("hello")
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a").write_text("")
    few, small = tmp_path / "few", tmp_path / "small"
    for place, size, count in ((few, SIDE, 3), (small, 40, 60)):
        place.mkdir()
        for number in range(count):
            Image.fromarray(np.zeros((size, size, 3), dtype=np.uint8)).save(place / f"{number}.png")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    (tmp_path / "bad.csv").write_text("file,Light\np00,1\n")
    (tmp_path / "word.csv").write_text("file,light\np00,bright\n")
    (tmp_path / "strange.csv").write_text("file,light\nq,1\n")
    cases = {
        "expected a PyTorch checkpoint or an NVIDIA network pickle": (tmp_path / "text.pkl", photos),
        "not a StyleGAN2 generator of a known layout": (tmp_path / "other.pt", photos),
        f"expected at least {own_fewest()} pictures": (pickle, few),
        f"expected {SIDE}x{SIDE} pixels, as the generator makes, found 40x40; --resize": (pickle, small),
        "expected a new or an empty folder": (pickle, photos, "--out", tmp_path / "some"),
        "expected a name that no suite of the package has": (pickle, photos, "--name", "faces"),
        "--like facez: expected one of": (pickle, photos, "--like", "facez"),
        "--labels: expected --minutes above 0": (pickle, photos, "--labels", tmp_path / "bad.csv", "--minutes", 0),
        "expected attributes named by lower-case letters": (pickle, photos, "--labels", tmp_path / "bad.csv"),
        "light: expected a number, found 'bright'": (pickle, photos, "--labels", tmp_path / "word.csv"),
        "found 0 and 1": (pickle, photos, "--labels", tmp_path / "strange.csv"),
    }
    for reason, words in cases.items():
        done = new(*words, *(() if "--out" in words else ("--out", tmp_path / "out")))
        assert done.exit_code == 2 and reason in done.output and not (tmp_path / "out").exists(), done.output


def own_fewest() -> int:
    from invbench.run.own_suite import FEWEST

    return FEWEST + 24
