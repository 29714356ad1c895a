"""A file for every asset of bench/assets.toml: official layout, made-up numbers, meaningless name."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner
from facenet_pytorch import InceptionResnetV1
from torch import Tensor, nn
from torchvision.models import alexnet, inception_v3, resnet50, squeezenet1_1, vgg16

from invbench.cli import main
from invbench.methods.nets.biggan import published
from invbench.metrics.nets.hopenet import Hopenet
from invbench.metrics.nets.inception import Inception
from invbench.metrics.nets.sixdrepnet import SixDRepNet
from invbench.metrics.nets.unet_parser import UNetParser
from invbench.util.provenance import file_digest
from invbench.weights.catalogue import catalogue
from invbench.weights.ledger import Ledger
from tests import golden_vectors
from tests.e2e import second
from tests.weights import official, official_segmenters
from tests.weights.pickles import nvidia, tensorflow

WIDE = {"z_dim": 512, "w_dim": 512, "n_mapping": 8}  # as official; the convolutions have few channels
FEATURES = {1024: 64, 256: 32}  # features up to this size are as wide as official: networks of these suites replace them
NAMELESS = frozenset(
    {
        "stylegan2_car",
        "stylegan2_church",
        "stylegan2_horse",
        "stylegan2_cat",
        "idinvert_age",
        "idinvert_pose",
        "idinvert_expression",
        "invertibility_faces",
        "invertibility_cars",
        "invertibility_cat",
        "dreamsim_clip_vitb16",
        "dreamsim_open_clip_vitb16",
    }
)  # assets that no layout tells apart

Write = Callable[[Path], object]


def install(weights: Path, ids: Iterable[str]) -> dict[str, Path]:
    """Drop a file for each asset into ``weights``; id -> path. Assets that an installed package brings need none.

    A made-up file cannot have a published sha256, so that of those files is put into the lock file.
    """
    weights.mkdir(parents=True, exist_ok=True)
    written = {}
    for number, id in enumerate(ids):
        asset = catalogue().find(id)
        if asset.address.startswith("package:"):
            continue
        written[id] = weights / f"download({number})"
        WRITERS[id](written[id])
        if asset.sha256:
            size = written[id].stat().st_size
            Ledger().record(id, sha256=file_digest.__wrapped__(written[id]), size=size, source="made up by a test")
    return written


def say(files: Mapping[str, Path]) -> list[str]:
    """``invbench weights add FILE --as ID`` for the files that no layout tells apart; the output of each call."""
    said = []
    for id in sorted(NAMELESS & set(files)):
        done = CliRunner().invoke(main, ["weights", "add", str(files[id]), "--as", id])
        assert done.exit_code == 0, done.output
        said.append(done.output)
    return said


def _torch(make: Callable[[], Any]) -> Write:
    return lambda path: torch.save(make(), path)


def _archive(make: Callable[[], Mapping[str, Tensor]]) -> Write:
    """A NumPy archive, as variables of TensorFlow are exported."""

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            np.savez(file, **{key: value.numpy() for key, value in make().items()})

    return write


def _generator(resolution: int, seed: int) -> dict[str, Tensor]:
    """A small generator whose pictures are neither grey nor all black and white."""
    _, state = official.generator(resolution, seed=seed, wide=FEATURES.get(resolution, 0), **WIDE)
    for key, value in state.items():
        if "affine.bias" in key:
            value.add_(1 - value)
        elif key.startswith("mapping.fc") and key.endswith("weight"):
            value.mul_(100)  # the mapping's weights are stored for a learning rate of 0.01
        elif key.endswith(("bias", "noise_strength", "w_avg")):
            value.mul_(0.05)
    return state


def _rosinality(resolution: int, seed: int) -> Write:
    config, _ = official.generator(resolution, wide=FEATURES.get(resolution, 0), **WIDE)
    return _torch(lambda: official.to_rosinality(config, _generator(resolution, seed)))


def _nvidia(resolution: int, seed: int, trained_on: str) -> Write:
    def write(path: Path) -> None:
        network = nvidia.nested(_generator(resolution, seed))
        nvidia.write(path, {"training_set_kwargs": nvidia.EasyDict(path=trained_on), "G_ema": network, "augment_pipe": None})

    return write


def _tensorflow(resolution: int, seed: int) -> Write:
    return lambda path: tensorflow.write(path, tensorflow.variables(_generator(resolution, seed)), protocol=3)


def _network(build: Callable[[], nn.Module], seed: int, *, prefix: str = "") -> Write:
    """A bare state dict of this network."""
    return _torch(lambda: official.drawn({key.removeprefix(prefix): s for key, s in official.shapes(build).items()}, seed=seed))


def _judge(shapes: Mapping[str, Sequence[int]], *, seed: int) -> dict[str, Tensor]:
    """A deep network of residual units that each change little, so that like pictures have like embeddings."""
    state = official.drawn(shapes, seed=seed)
    return {key: 0.1 * value if key.endswith("res_layer.4.weight") else value for key, value in state.items()}


def _golden(name: str, variant: str, seed: int) -> Write:
    return _torch(lambda: official.bare(name, variant, fill=partial(_judge, seed=seed)))


def _dex() -> dict[str, Any]:
    state = official.bare("dex_age_layout", "age_net", fill=official.drawn)
    return {"state_dict": {key.replace("_", "-"): value for key, value in state.items()}}


def _invertibility(seed: int) -> dict[str, Any]:
    layout = golden_vectors.load("sam_invertibility_layout")
    heads = {space: official.drawn(layout["head"], seed=seed + n) for n, space in enumerate(("W+", "F4", "F6", "F8", "F10"))}
    return {"sd_base": official.drawn(layout["sd_base"], seed=seed)} | heads


def _moco() -> dict[str, Any]:
    shapes = {key: shape for key, shape in official.shapes(resnet50).items() if not key.startswith("fc.")}
    shapes |= {"fc.0.weight": (2048, 2048), "fc.0.bias": (2048,), "fc.2.weight": (128, 2048), "fc.2.bias": (128,)}
    state = official.drawn({f"module.encoder_q.{key}": shape for key, shape in shapes.items()})
    queue = {"module.queue": official.one([128, 65536]), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}
    return {"epoch": 800, "arch": "resnet50", "state_dict": state | queue}


def _biggan(resolution: int) -> dict[str, Tensor]:
    return official.biggan(replace(published(resolution), channel_width=8), seed=resolution)


def _facenet() -> dict[str, Tensor]:
    shapes = official.shapes(lambda: InceptionResnetV1(pretrained=None, classify=True, num_classes=3))
    return official.drawn(shapes | {"logits.weight": (8631, 512), "logits.bias": (8631,)})


def _direction(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _array(seed: int, num_ws: int) -> Write:
    def write(path: Path) -> None:
        with open(path, "wb") as file:
            np.save(file, _direction(seed, 1, num_ws, 512).numpy())

    return write


def _boundary(seed: int, layers: str) -> Write:
    """A direction of in-domain inversion with the layers that it moves."""
    content = {"boundary": _direction(seed, 1, 14, 512).double().numpy(), "meta_data": {"manipulate_layers": layers}}

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            np.save(file, content)

    return write


def _vgg() -> dict[str, Tensor]:
    layers = vgg16(weights=None).features
    shapes = official.vgg_layers(lambda number, kind: layers[number].state_dict()[kind])
    return official.drawn({key: value.shape for key, value in shapes.items()}, seed=98)


def _components(seed: int) -> dict[str, Tensor]:
    basis = torch.linalg.qr(_direction(seed, 512, 80)).Q.T[:, None]
    return {"comp": basis.contiguous(), "mean": torch.zeros(1, 512), "std": torch.linspace(2, 0.1, 80)}


def _encoder(shapes: Mapping[str, Sequence[int]], *, seed: int) -> dict[str, Tensor]:
    """An encoder whose latents are about as long as those that generators are trained on."""
    state = official.drawn(shapes, seed=seed)
    return {key: value * 3e-5 if re.search(r"styles\.\d+\.linear\.weight", key) else value for key, value in state.items()}


def _w_encoder(shapes: Mapping[str, Sequence[int]], *, seed: int) -> dict[str, Tensor]:
    state = official.drawn(shapes, seed=seed)
    return {key: value * 3e-5 if key == "linear.weight" else value for key, value in state.items()}


def _e4e(num_ws: int, kind: str, seed: int) -> Write:
    return _torch(lambda: official.e4e(num_ws, f"{kind}_encode", fill=partial(_encoder, seed=seed)))


def _restyle(num_ws: int, over: str, kind: str, seed: int) -> Write:
    return _torch(lambda: official.restyle(num_ws, over, f"{kind}_encode", fill=partial(_encoder, seed=seed)))


def _little(shapes: Mapping[str, Sequence[int]], *, seed: int) -> dict[str, Tensor]:
    """A hypernetwork that changes weights by little, so that pictures stay pictures."""
    last = re.compile(r"shared_weight_hypernet\.[wb]1|.*\.output\.[01]\.(weight|bias)|.*weight_regressors\.\w+\.[wb]2")
    state = official.drawn(shapes, seed=seed)
    return {key: 0.01 * value if last.fullmatch(key) else value for key, value in state.items()}


def _channels(resolution: int) -> dict[int, int]:
    """Those of the generator of that resolution: see ``official.generator``."""
    return official.channels(resolution, wide=FEATURES.get(resolution, 0))


def _hyperstyle(resolution: int, kind: str, layers: Sequence[int], seed: int) -> Write:
    made = partial(official.hyperstyle, resolution, kind, layers=layers)
    return _torch(lambda: made(channels=_channels(resolution), fill=partial(_little, seed=seed)))


def _hyperinverter(resolution: int, kind: str, hidden: int, seed: int) -> Write:
    made = partial(official.hyperinverter, resolution, kind, hidden=hidden, channels=_channels(resolution))
    return _torch(lambda: made(fill=partial(_little, seed=seed)))


def _detectron2(path: Path) -> None:
    """A pickle of arrays; half precision for the room."""
    state = official.drawn(official_segmenters.panoptic_fpn_shapes(), seed=35)
    arrays = {key: np.ascontiguousarray(value.half().numpy()) for key, value in state.items()}  # by rows, as the public ones
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}, protocol=4))


WRITERS: dict[str, Write] = {
    "stylegan2_ffhq": _nvidia(1024, 1, "/data/ffhq-1024.zip"),
    "stylegan2_ffhq_rosinality": _rosinality(1024, 1),
    "stylegan2_car": _rosinality(512, 2),
    "stylegan2_church": _tensorflow(256, 3),
    "stylegan2_horse": _tensorflow(256, 4),
    "stylegan2_cat": _rosinality(256, 5),
    "stylegan2_afhqwild": _nvidia(512, 6, "/data/afhqwild.zip"),
    "e4e_ffhq": _e4e(18, "ffhq", 11),
    "e4e_cars": _e4e(16, "cars", 12),
    "e4e_church": _e4e(14, "church", 13),
    "e4e_horse": _e4e(14, "horse", 14),
    "e4e_cat": _e4e(14, "lsuncats", 15),
    "psp_ffhq": _torch(lambda: official.psp(fill=partial(_encoder, seed=16))),
    "lsap_ffhq": _torch(lambda: official.lsap(fill=partial(_encoder, seed=17))),
    "w_encoder_ffhq": _torch(lambda: official.w_encoder(1024, "ffhq_encode", fill=partial(_w_encoder, seed=91))),
    "w_encoder_cars": _torch(lambda: official.w_encoder(512, "cars_encode", fill=partial(_w_encoder, seed=92))),
    "w_encoder_wild": _torch(lambda: official.w_encoder(512, "afhq_wild_encode", fill=partial(_w_encoder, seed=93))),
    "hyperinverter_w_ffhq": _torch(lambda: official.hyperinverter_w("ffhq_encode", fill=partial(_w_encoder, seed=94))),
    "hyperinverter_w_church": _torch(lambda: official.hyperinverter_w("church_encode", fill=partial(_w_encoder, seed=95))),
    "restyle_psp_ffhq": _restyle(18, "psp", "ffhq", 81),
    "restyle_psp_cars": _restyle(16, "psp", "cars", 82),
    "restyle_psp_church": _restyle(14, "psp", "church", 83),
    "restyle_psp_wild": _restyle(16, "psp", "afhq_wild", 84),
    "restyle_e4e_ffhq": _restyle(18, "e4e", "ffhq", 85),
    "restyle_e4e_cars": _restyle(16, "e4e", "cars", 86),
    "restyle_e4e_church": _restyle(14, "e4e", "church", 87),
    "restyle_e4e_wild": _restyle(16, "e4e", "afhq_wild", 88),
    "restyle_e4e_horse": _restyle(14, "e4e", "horse", 89),
    "hfgi_ffhq": _torch(lambda: official.hfgi(fill=partial(_encoder, seed=91))),
    "feature_style_ffhq": _torch(lambda: official.feature_style(fill=partial(_encoder, seed=92))),
    "padinv_ffhq": _torch(lambda: official.padinv(1024, fill=partial(_encoder, seed=93))),
    "padinv_church": _torch(lambda: official.padinv(256, fill=partial(_encoder, seed=94))),
    "styleres_ffhq": _torch(lambda: official.styleres(fill=partial(_encoder, seed=95))),
    "sfe_ffhq": _torch(lambda: official.sfe(fill=partial(_encoder, seed=96))),
    "idinvert_ffhq_generator": _torch(lambda: official.idinvert_generator(fill=partial(official.drawn, seed=99))),
    "idinvert_ffhq_encoder": _torch(lambda: official.bare("idinvert_layout", "encoder_ffhq256", fill=official.drawn)),
    "idinvert_vgg16": _torch(_vgg),
    **{f"biggan_deep_{size}": _torch(partial(_biggan, size)) for size in (128, 256, 512)},
    "hyperstyle_ffhq": _hyperstyle(1024, "ffhq_hypernet", official.FFHQ_LAYERS, 91),
    "hyperstyle_cars": _hyperstyle(512, "cars_hypernet", (0, 2, 3, *official.FFHQ_LAYERS[:-2]), 92),
    "hyperstyle_wild": _hyperstyle(512, "afhq_wild_hypernet", (0, 2, 3, *official.FFHQ_LAYERS[:-2]), 93),
    "hyperinverter_ffhq": _hyperinverter(1024, "ffhq_encode", 128, 94),
    "hyperinverter_ffhq_large": _hyperinverter(1024, "ffhq_encode", 256, 95),
    "hyperinverter_church": _hyperinverter(256, "church_encode", 128, 96),
    "hyperinverter_church_large": _hyperinverter(256, "church_encode", 256, 97),
    "arcface_irse50": _golden("arcface_irse50", "facenet", 21),
    "curricularface": _golden("curricularface_ir101_layout", "facenet", 22),
    "bisenet": _golden("bisenet_face_parsing", "net", 23),
    "diffcam_ffhq": _torch(lambda: official.bare("ood_diffcam", "diffcam", fill=partial(_judge, seed=97))),
    "deghosting_ffhq": _torch(lambda: official.deghosting("deghosting_1024", fill=partial(official.drawn, seed=98))),
    "stargan_celeba": _torch(lambda: official.bare("stargan", "generator", fill=partial(official.drawn, seed=101))),
    "stargan_celeba_discriminator": _torch(lambda: official.bare("stargan", "discriminator", fill=official.drawn)),
    "attgan_celeba": _torch(lambda: {"G": official.bare("attgan_layout", "generator_inject1", fill=official.drawn)}),
    "attgan_celeba_tf": _archive(lambda: official.translation("attgan", "tf_generator_128", seed=102)),
    "stgan_celeba": _archive(lambda: official.translation("stgan", "tf_generator_128", "tf_discriminator_128", seed=103)),
    "unet_celebamask": _network(UNetParser, 22),
    "invertibility_faces": _torch(lambda: _invertibility(31)),
    "invertibility_cars": _torch(lambda: _invertibility(41)),
    "invertibility_cat": _torch(lambda: _invertibility(51)),
    "dex": _torch(_dex),
    "facenet_vggface2": _torch(_facenet),
    "hopenet": _network(Hopenet, 24),
    "ade20k_encoder": _torch(lambda: official_segmenters.ade20k("encoder", seed=33)),
    "ade20k_decoder": _torch(lambda: official_segmenters.ade20k("decoder", seed=34)),
    "panoptic_fpn": _detectron2,
    "maskrcnn": _torch(lambda: official.drawn(official_segmenters.maskrcnn_shapes(), seed=25)),
    "alexnet": _network(alexnet, 26),
    "vgg16": _network(vgg16, 27),
    "squeezenet1_1": _network(squeezenet1_1, 28),
    "inception": _network(Inception, 29, prefix="model."),
    "moco": _torch(_moco),
    "sixdrepnet": _network(SixDRepNet, 30),
    "farl_parser": second.farl,
    "dists": _torch(lambda: {name: official.one([1, 1475, 1, 1]) for name in ("alpha", "beta")}),
    "dinov2_vitl14": _network(second.DINOV2, 107),
    "dreamsim": _torch(second.adapter),
    "dino_vitb16": _torch(lambda: official.drawn(second.vit_b16(), seed=108)),
    "dreamsim_clip_vitb16": _torch(partial(second.clip, 109)),
    "dreamsim_open_clip_vitb16": _torch(partial(second.clip, 110)),
    "inception_imagenet": _network(partial(inception_v3, init_weights=False), 111),
    "interfacegan_age": _torch(lambda: _direction(61, 1, 512)),
    "interfacegan_pose": _torch(lambda: _direction(62, 1, 18, 512)),
    "interfacegan_smile": _torch(lambda: _direction(63, 1, 512)),
    "ganspace_ffhq": _torch(lambda: _components(64)),
    "ganspace_cars": _torch(lambda: _components(65)),
    "ganspace_church": _torch(lambda: _components(66)),
    "idinvert_age": _boundary(67, "0-5"),
    "idinvert_pose": _boundary(68, "0-2"),
    "idinvert_expression": _boundary(69, "1, 3"),
    "sam_cars_suv": _array(71, 16),
    "sam_cars_snow": _array(72, 16),
    "sam_cars_blue": _array(73, 16),
    "sam_cat_eyes_large": _array(74, 14),
    "sam_cat_surprised": _array(75, 14),
    "sam_cat_siamese": _array(76, 14),
}


def needed(suite_networks: Iterable[Any]) -> list[str]:
    """Ids of the assets that these roles name, with what lies beside them."""
    ids = {id for network in suite_networks for id in network.needed}
    beside = {other for id in ids for other in catalogue().find(id).beside.values()}
    return sorted(ids | beside)


def unknown(listing: str) -> set[str]:
    """Names of the files that ``invbench weights where`` cannot tell apart."""
    return set(re.findall(r"^  (\S+)  .*say which", listing, re.MULTILINE))
