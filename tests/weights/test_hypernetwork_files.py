"""Files of HyperStyle and HyperInverter in the official layout: recognised, loaded without a tensor left over, and run."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from invbench.api import InvbenchError
from invbench.methods.convert.hypernetworks import hyperinverter, hyperstyle, hyperstyle_decoder
from invbench.methods.hyperstyle import SPEC, HyperStyle
from invbench.methods.nets.hyperstyle import layer_names
from invbench.methods.nets.stylegan2 import Generator, GeneratorConfig
from invbench.methods.nets.stylegan2_config import official_channels
from invbench.options import make
from invbench.util.clock import StageClock
from invbench.weights.cache import WeightsCache
from invbench.weights.layouts import recognise
from tests import golden_vectors
from tests.weights import official

EVERY = tuple(i for i, name in enumerate(layer_names(1024)) if not name.endswith("torgb"))
FEW = (0, 5, 6, 14, 15, 17)
FILL = partial(official.drawn, seed=7)


def pictures(size: int) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_made_up_files_have_the_official_tensors():
    layouts = golden_vectors.load("hyperstyle_layout")
    for name, separable in (("hypernet", False), ("hypernet_separable", True)):
        made = official.hyperstyle(1024, None, layers=EVERY, channels=official_channels(1024), separable=separable)
        state = {key: list(value.shape) for key, value in made["state_dict"].items() if key.startswith("hypernet.")}
        assert state == {f"hypernet.{key}": shape for key, shape in layouts[name].items()}
    modules = golden_vectors.load("hyperinverter")["modules"]
    made = official.hyperinverter(1024, None, hidden=128, channels=official_channels(1024))
    for part in ("w_encoder", "w_bar_encoder", "hypernet"):
        found = {key: list(value.shape) for key, value in made["state_dict"].items() if key.startswith(f"{part}.")}
        assert found == {f"{part}.{key}": shape for key, (shape, _) in modules[part]["keys"].items()}


@pytest.mark.parametrize(
    ("resolution", "dataset", "domain"), [(1024, "ffhq_hypernet", "faces"), (512, "cars_hypernet", "cars")]
)
def test_a_file_of_hyperstyle_says_size_and_domain(resolution, dataset, domain):
    for decoder in (True, False):
        found = recognise(official.hyperstyle(resolution, dataset, layers=FEW, decoder=decoder))
        assert found is not None and found.layout == "hyperstyle"
        assert found.facts == {"resolution": resolution, "domain": domain}


@pytest.mark.parametrize(
    ("resolution", "dataset", "facts"),
    [(1024, "ffhq_encode", {"num_ws": 18, "domain": "faces"}), (256, "church_encode", {"num_ws": 14, "domain": "church"})],
)
def test_a_file_of_hyperinverter_says_d_size_and_domain(resolution, dataset, facts):
    found = recognise(official.hyperinverter(resolution, dataset, hidden=16))
    assert found is not None and found.layout == "hyperinverter"
    assert found.facts == {"resolution": resolution, "hidden": 16, **facts}


def test_files_are_found_under_any_name(tmp_path, monkeypatch):
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    contents = {
        "hyperstyle_ffhq": official.hyperstyle(1024, "ffhq_hypernet", layers=official.FFHQ_LAYERS),
        "hyperstyle_wild": official.hyperstyle(512, "afhq_wild_hypernet", layers=FEW),
        "hyperinverter_ffhq": official.hyperinverter(1024, "ffhq_encode", hidden=128),
        "hyperinverter_ffhq_large": official.hyperinverter(1024, "ffhq_encode", hidden=256),
        "hyperinverter_church": official.hyperinverter(256, "church_encode", hidden=128),
    }
    for id, content in contents.items():
        official.save(content, tmp_path / f"home/weights/{id[::-1]}")
    cache = WeightsCache()
    assert [cache.find(id).path.name for id in contents] == [id[::-1] for id in contents]


@pytest.mark.parametrize("separable", [False, True])
@torch.no_grad()
def test_a_file_of_hyperstyle_is_loaded_and_run(separable):
    content = official.hyperstyle(1024, None, layers=official.FFHQ_LAYERS, separable=separable, fill=FILL)
    network, _ = hyperstyle(content, source="mine.pt")
    names = layer_names(1024)
    assert list(network.targets) == [f"{names[i]}.weight" for i in official.FFHQ_LAYERS]
    for key, value in network.state_dict().items():
        assert torch.equal(value, content["state_dict"][f"hypernet.{key}"]), key
    found = network(pictures(512), -pictures(256))
    assert {name: tuple(value.shape[1:]) for name, value in found.items()} == network.targets
    assert all(value.isfinite().all() for value in found.values())
    other = network(pictures(512), pictures(256))
    assert all((found[name] - other[name]).abs().max() > 1e-6 for name in found)
    assert hyperstyle_decoder(content, source="mine.pt")[0].resolution == 1024


@pytest.mark.parametrize(("resolution", "dataset"), [(1024, None), (256, "church_encode")])
@torch.no_grad()
def test_a_file_of_hyperinverter_is_loaded_and_run(resolution, dataset):
    content = official.hyperinverter(resolution, dataset, hidden=16, targets="all_without_bias", fill=FILL)
    network, notes = hyperinverter(content, source="mine.pt")
    for key, value in network.state_dict().items():
        assert torch.equal(value, content["state_dict"][key]), key
    assert notes == ("discriminator: of the training only, not used",)
    found = network(pictures(512), -pictures(256))
    assert {name: tuple(value.shape[1:]) for name, value in found.items()} == network.targets
    assert all(value.isfinite().all() for value in found.values()) and "b4.conv1.affine.weight" in found


class Mean:
    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def embed(self, images: torch.Tensor, clock: object) -> torch.Tensor:
        return self.generator.repeat(self.generator.mean_latent[None]).expand(len(images), -1, -1)

    def max_batch(self, memory: int) -> int:
        return 1000


@pytest.mark.slow
@torch.no_grad()
def test_a_file_of_the_whole_size_changes_a_generator_of_the_whole_size():
    channels = official_channels(1024)

    def small(shapes):
        state = official.drawn(shapes, seed=3)
        last = ("shared_weight_hypernet.w1", "shared_weight_hypernet.b1", "output.1.weight", "output.1.bias")
        return {key: 0.01 * value if key.endswith(last) else value for key, value in state.items()}

    content = official.hyperstyle(1024, None, layers=official.FFHQ_LAYERS, channels=channels, decoder=False, fill=small)
    network, _ = hyperstyle(content, source="mine.pt")
    generator = Generator(GeneratorConfig(1024)).requires_grad_(False).eval()
    networks = {"generator": generator, "hypernet_hyperstyle": network, "directions": None}
    row = HyperStyle(networks, make(SPEC, {"iterations": 1}), Mean(generator))
    found = row.invert(pictures(1024), StageClock("cpu"))
    assert found.images.shape == (1, 3, 1024, 1024) and found.images.isfinite().all()
    plain = generator.synthesis(found.latents)
    assert (found.images - plain).abs().max() > 1e-3
    predicted = sum(value[0].numel() for name, value in found.state.items() if name in network.targets)
    assert predicted == 16_505_856, "six layers of 512 x 512, then half the channels every second layer"
    assert row.max_batch(2**30) * 4 * predicted < 2**30


@pytest.mark.parametrize("number", FEW[:3])
def test_copies_of_the_shared_matrices_must_be_there_and_the_same(number):
    content = official.hyperstyle(512, None, layers=FEW, decoder=False)
    key = f"hypernet.refinement_blocks.{number}.hypernet.b1"
    content["state_dict"][key] = content["state_dict"][key] + 0.5
    with pytest.raises(InvbenchError, match=rf"mine.pt: refinement_blocks.{number}.hypernet.b1: expected the numbers of"):
        hyperstyle(content, source="mine.pt")
    del content["state_dict"][key]
    with pytest.raises(InvbenchError, match=rf"missing refinement_blocks.{number}.hypernet.b1"):
        hyperstyle(content, source="mine.pt")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("layers_to_tune", "0,2,3,5,6", r"layers_to_tune: expected what the tensors hold, \[0, 5, 6, 14, 15, 17\], found"),
        ("layers_to_tune", "", "layers_to_tune: expected what the tensors hold"),
        ("layers_to_tune", "a,b", "layers_to_tune: expected what the tensors hold"),
    ],
)
def test_options_of_hyperstyle_that_say_other_layers_are_an_error(option, value, message):
    content = official.hyperstyle(512, None, layers=FEW, decoder=False)
    content["opts"][option] = value
    with pytest.raises(InvbenchError, match=f"mine.pt: opts: {message}"):
        hyperstyle(content, source="mine.pt")
    del content["opts"][option]
    with pytest.raises(InvbenchError, match="wrong shape"):
        hyperstyle(content, source="mine.pt")  # without a decoder the generator is config-f, and this one is not


@pytest.mark.parametrize(
    ("option", "value"), [("hidden_dim", 128), ("output_size", 512), ("target_shape_name", "all_without_bias")]
)
def test_options_of_hyperinverter_that_say_otherwise_are_an_error(option, value):
    content = official.hyperinverter(256, None, hidden=16)
    content["opts"][option] = value
    with pytest.raises(InvbenchError, match=f"mine.pt: opts: {option}: expected what the tensors hold"):
        hyperinverter(content, source="mine.pt")


@pytest.mark.parametrize(
    ("load", "make_file", "key", "shape"),
    [
        (hyperstyle, partial(official.hyperstyle, 512, None, layers=FEW), "hypernet.refinement_blocks.15.convs.2.bias", [256]),
        (hyperinverter, partial(official.hyperinverter, 256, None, hidden=16), "w_bar_encoder.styles.3.convs.2.bias", [512]),
        (hyperinverter, partial(official.hyperinverter, 256, None, hidden=16), "discriminator.b16.conv0.bias", [4]),
    ],
)
def test_what_is_missing_or_left_over_is_told(load, make_file, key, shape):
    content = make_file()
    del content["state_dict"][key]
    gone = key.removeprefix("hypernet.").removeprefix("discriminator.")
    with pytest.raises(InvbenchError, match=rf"mine.pt.*1 missing: {gone} \[{shape[0]}\]"):
        load(content, source="mine.pt")
    content = make_file()
    content["state_dict"][f"{key}.more"] = torch.zeros(2)
    with pytest.raises(InvbenchError, match=r"mine.pt.*1 unexpected"):
        load(content, source="mine.pt")
    for more in ({"more": 1}, {"state_dict": {**content["state_dict"], "else.weight": torch.zeros(1)}}):
        with pytest.raises(InvbenchError, match="mine.pt: expected .*, found (more|else.weight)"):
            load({**make_file(), **more}, source="mine.pt")


def test_a_file_without_a_decoder_gives_none():
    with pytest.raises(InvbenchError, match="mine.pt: expected a decoder beside the hypernetwork, found none"):
        hyperstyle_decoder(official.hyperstyle(512, None, layers=FEW, decoder=False), source="mine.pt")
