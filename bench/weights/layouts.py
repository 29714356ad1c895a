"""Recognise a file by the names and shapes of its tensors, and list the networks that can be built from it.

A layout is a form in which a network is published. A few marks suffice to recognise it; missing and unexpected tensors are
found when the network is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from invbench.weights import facts
from invbench.weights.facts import Shapes

DEEPEST = 3  # of dictionaries in dictionaries


@dataclass(frozen=True)
class Derived:
    """A part that is measured from another one, once, and kept under ``INVBENCH_HOME``."""

    of: str  # the part that it is measured from
    measure: str  # "module:function", called with that network
    cls: str  # "module:Class" of what it gives; built from its stored configuration


@dataclass(frozen=True)
class Layout:
    """One form of file.

    marks   tensors that every file of this layout has: "key" or "key/inner key" -> shape, None = any length
    parts   networks that can be built from it: part -> loader "module:function", or :class:`Derived`; the first is the default
    facts   function of the facts that distinguish files of the layout: number of style vectors, resolution, domain, ...
    """

    title: str
    marks: Mapping[str, tuple[int | None, ...]]
    parts: Mapping[str, str | Derived] = field(default_factory=dict)
    facts: Callable[[Shapes, Mapping[str, Any]], dict[str, Any]] = lambda shapes, content: {}


@dataclass(frozen=True)
class Recognised:
    """A file's layout and further facts."""

    layout: str
    facts: dict[str, Any]


def recognise(content: Mapping[str, Any]) -> Recognised | None:
    """The layout of a checkpoint as :func:`invbench.weights.checkpoints.load_checkpoint` reads it; None if it is unknown.

    Layouts are tried in order, so one that needs more marks stands before one that needs fewer of them.
    """
    shapes = dict(_shapes(content))
    for name, layout in LAYOUTS.items():
        if all(_fits(shapes.get(key), expected) for key, expected in layout.marks.items()):
            try:
                return Recognised(name, layout.facts(shapes, content))
            except (AttributeError, TypeError, KeyError, ValueError, StopIteration):
                return None  # it has the marks, and beside them what no file of the layout has
    return None


def mismatches(layout: str, content: Mapping[str, Any]) -> list[str]:
    """The marks of a layout that a checkpoint has not: key, expected shape (None = any length), found shape."""
    shapes = dict(_shapes(content))
    return [
        f"{key}: expected shape {_listed(expected)}, found {_listed(shapes[key]) if key in shapes else 'no such tensor'}"
        for key, expected in LAYOUTS[layout].marks.items()
        if not _fits(shapes.get(key), expected)
    ]


def part_of(layout: str, part: str | None) -> tuple[str, str | Derived] | None:
    """The part of that name (None: the first) with its loader; None if the layout has no such part."""
    parts = LAYOUTS[layout].parts
    name = next(iter(parts), "") if part is None else part
    return (name, parts[name]) if name in parts else None


def _shapes(content: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, tuple[int, ...]]]:
    for key, value in content.items():
        if hasattr(value, "shape"):
            yield f"{prefix}{key}", tuple(value.shape)
        elif isinstance(value, Mapping) and depth < DEEPEST:
            yield from _shapes(value, f"{prefix}{key}/", depth + 1)


def _fits(found: tuple[int, ...] | None, expected: tuple[int | None, ...]) -> bool:
    return (
        found is not None
        and len(found) == len(expected)
        and all(want in (None, length) for want, length in zip(expected, found, strict=True))
    )


def _listed(shape: Iterable[int | None]) -> str:
    return f"[{', '.join('any' if length is None else str(length) for length in shape)}]"


STATISTICS = Derived(
    "generator", "invbench.methods.convert.latent_stats:measure", "invbench.methods.nets.latent_stats:LatentStatistics"
)
SEFA = Derived("generator", "invbench.methods.convert.directions:sefa", "invbench.methods.directions.positions:EditDirections")
STYLES = Derived(
    "generator", "invbench.methods.nets.style_space:measure", "invbench.methods.nets.style_space:StyleSpace"
)
MEASURED: dict[str, str | Derived] = {"latent_stats": STATISTICS, "sefa": SEFA, "style_space": STYLES}
GENERATOR: dict[str, str | Derived] = {"generator": "invbench.methods.convert.stylegan2:generator", **MEASURED}
DECODER: dict[str, str | Derived] = {"generator": "invbench.methods.convert.encoders:decoder", **MEASURED}
HFGI: dict[str, str | Derived] = {
    "hfgi": "invbench.methods.convert.features:hfgi",
    "e4e": "invbench.methods.convert.features:hfgi_e4e",
    "generator": "invbench.methods.convert.features:hfgi_decoder",
    **MEASURED,
}
RESTYLE: dict[str, str | Derived] = {
    "restyle_e4e": "invbench.methods.convert.encoders:restyle_e4e",
    "restyle_psp": "invbench.methods.convert.encoders:restyle_psp",
    "generator": "invbench.methods.convert.encoders:restyle_decoder",
    **MEASURED,
}

# Tensors by which encoders are recognised: the end of a backbone, and the first head into W+.
IRSE50 = {"state_dict/encoder.body.23.res_layer.3.weight": (512, 512, 3, 3)}
RESNET34 = {"state_dict/encoder.body.15.conv2.weight": (512, 512, 3, 3)}
HEAD = {"state_dict/encoder.styles.0.linear.weight": (512, 512)}

LAYOUTS = {
    "stylegan2_nvlabs": Layout(
        "StyleGAN2, network pickle of stylegan2-ada-pytorch",
        {"G_ema/synthesis.b4.const": (None, 4, 4), "G_ema/mapping.fc0.weight": (None, None)},
        GENERATOR,
        facts.nvlabs,
    ),
    "stylegan2_tf": Layout(
        "StyleGAN2, network pickle of the original TensorFlow code",
        {"Gs/synthesis/4x4/Const/const": (1, None, 4, 4), "Gs/mapping/Dense0/weight": (None, None)},
        GENERATOR,
        facts.tensorflow,
    ),
    "stylegan2_rosinality": Layout(
        "StyleGAN2, checkpoint of rosinality/stylegan2-pytorch",
        {"g_ema/input.input": (1, None, 4, 4), "g_ema/style.1.weight": (None, None)},
        GENERATOR,
        facts.rosinality,
    ),
    "encoder_w": Layout(
        "Encoder into W of pSp, HyperStyle or HyperInverter, IR-SE50",
        {**IRSE50, "state_dict/encoder.linear.weight": (None, None)},
        {"w_encoder": "invbench.methods.convert.encoders:w_encoder", **DECODER},
        facts.encoder_w,
    ),
    "encoder_w_resnet34": Layout(
        "Encoder into W of HyperInverter, ResNet-34",
        {**RESNET34, "state_dict/encoder.conv1.weight": (64, 3, 7, 7), "state_dict/encoder.linear.weight": (None, None)},
        {"w_encoder": "invbench.methods.convert.encoders:w_encoder", **DECODER},
        facts.encoder_w,
    ),
    "hfgi": Layout(
        "HFGI: residue encoder and aligner, with a copy of e4e and its decoder",
        {
            "state_dict/residue.condition_scale3.2.weight": (None, None, 3, 3),
            "state_dict/grid_align.conv_layer1.0.weight": (16, 6, 3, 3),
            **HEAD,
        },
        HFGI,
        facts.encoder,
    ),
    "encoder": Layout(
        "pSp or e4e: encoder with its decoder",
        {
            "state_dict/encoder.input_layer.0.weight": (64, None, 3, 3),
            "state_dict/encoder.latlayer1.weight": (512, 256, 1, 1),
            **IRSE50,
            **HEAD,
        },
        {"e4e": "invbench.methods.convert.encoders:e4e", "psp": "invbench.methods.convert.encoders:psp", **DECODER},
        facts.encoder,
    ),
    "ganinverter": Layout(
        "LSAP, file of GANInverter: encoder with its decoder",
        {
            "encoder/latent_avg": (None, None),
            "encoder/encoder.input_layer.0.weight": (64, 3, 3, 3),
            "encoder/encoder.styles.0.linear.weight": (512, 512),
        },
        {
            "lsap": "invbench.methods.convert.encoders:lsap",
            "generator": "invbench.methods.convert.encoders:lsap_decoder",
            **MEASURED,
        },
        facts.ganinverter,
    ),
    "restyle_irse50": Layout(
        "ReStyle over pSp or e4e, IR-SE50: iterative encoder with its decoder",
        {**IRSE50, **HEAD, "state_dict/encoder.input_layer.0.weight": (64, 6, 3, 3)},
        RESTYLE,
        facts.restyle,
    ),
    "restyle_resnet34": Layout(
        "ReStyle over pSp or e4e, ResNet-34: iterative encoder with its decoder",
        {**RESNET34, **HEAD, "state_dict/encoder.conv1.weight": (64, 6, 7, 7)},
        RESTYLE,
        facts.restyle,
    ),
    "feature_style": Layout(
        "Feature-Style encoder",
        {
            "conv.0.weight": (None, 3, 3, 3),
            "content_layer.4.weight": (None, None, 3, 3),
            "styles.0.weight": (None, None),
        },
        {"network": "invbench.methods.convert.features:feature_style"},
        lambda shapes, content: facts.heads(shapes, r"styles\.(\d+)\.weight"),
    ),
    "sfe": Layout(
        "StyleFeatureEditor, file of the second phase: editor and inverter",
        {
            "state_dict/encoder.conv.weight": (None, None, 1, 1),
            "state_dict/inverter.fuser.conv.weight": (None, None, 1, 1),
            "state_dict/inverter.fs_backbone.styles.0.weight": (None, None),
        },
        {"network": "invbench.methods.convert.features:sfe"},
        lambda shapes, content: facts.heads(shapes, r"state_dict/inverter\.fs_backbone\.styles\.(\d+)\.weight"),
    ),
    "sfe_inverter": Layout(
        "StyleFeatureEditor, file of the first phase: that of the second has its inverter, too",
        {
            "state_dict/encoder.fuser.conv.weight": (None, None, 1, 1),
            "state_dict/encoder.fs_backbone.styles.0.weight": (None, None),
        },
    ),
    "styleres": Layout(
        "StyleRes: e4e, and a generator with the modules of StyleRes in it",
        {
            "e4e/styles.0.linear.weight": (None, None),
            "generator_smooth/synthesis.b64.modify_feature_gates.down1.weight": (None, None, 3, 3),
            "generator_smooth/synthesis.b4.const": (None, 4, 4),
        },
        {
            "styleres": "invbench.methods.convert.features:styleres",
            "generator": "invbench.methods.convert.features:styleres_generator",
            **MEASURED,
        },
        lambda shapes, content: facts.heads(shapes, r"generator_smooth/synthesis\.b(\d+)\.torgb\.bias", each=2),
    ),
    "padinv": Layout(
        "Padding-space inversion: encoder and the generator that it was trained for",
        {
            "models/encoder/padding_modulation_heads.0.weight": (None, None, 1, 1),
            "models/generator/w_avg": (None,),
            "models/generator/synthesis.early_layer.const": (1, None, 4, 4),
        },
        {
            "padding": "invbench.methods.convert.padding:padding",
            "generator": "invbench.methods.convert.padding:generator",
            **MEASURED,
        },
        lambda shapes, content: facts.heads(shapes, r"models/generator/synthesis\.output(\d+)\.bias", each=2),
    ),
    "idinvert_encoder": Layout(
        "In-domain inversion: domain-guided encoder",
        {
            "block0.conv.weight": (None, 3, 3, 3),
            "block0.bn.bn.running_mean": (None,),
            "block1.wscale1.bias": (None,),
            "block1.bn2.bn.weight": (None,),
        },
        {"encoder": "invbench.methods.convert.idinvert:encoder"},
        facts.idinvert_encoder,
    ),
    "idinvert_generator": Layout(
        "In-domain inversion: StyleGAN generator with a code for every layer",
        {
            "mapping.dense0.fc.weight": (None, None),
            "synthesis.layer0.const": (1, None, 4, 4),
            "synthesis.layer0.epilogue.style_mod.dense.fc.weight": (None, None),
        },
        {"generator": "invbench.methods.convert.idinvert:generator"},
        lambda shapes, content: facts.heads(shapes, r"synthesis\.output(\d+)\.bias", each=2),
    ),
    "idinvert_vgg": Layout(
        "VGG-16 of its authors, as in-domain inversion stores it",
        {"layer1.weight": (64, 3, 3, 3), "layer22.weight": (512, 512, 3, 3)},
        {"features": "invbench.methods.convert.idinvert:features"},
    ),
    "hyperstyle": Layout(
        "HyperStyle: hypernetwork with its decoder",
        {
            "state_dict/hypernet.conv1.weight": (64, 6, 7, 7),
            "state_dict/hypernet.body.15.conv2.weight": (512, 512, 3, 3),
            "state_dict/hypernet.shared_weight_hypernet.w1": (None, None),
        },
        {
            "hypernet": "invbench.methods.convert.hypernetworks:hyperstyle",
            "generator": "invbench.methods.convert.hypernetworks:hyperstyle_decoder",
            **MEASURED,
        },
        facts.hyperstyle,
    ),
    "hyperinverter": Layout(
        "HyperInverter: second encoder and hypernetworks",
        {
            "state_dict/w_bar_encoder.latlayer1.weight": (512, 256, 1, 1),
            "state_dict/hypernet.weight_regressors.b4_conv1_weight.w1": (None, None),
        },
        {"hypernet": "invbench.methods.convert.hypernetworks:hyperinverter"},
        facts.hyperinverter,
    ),
    "arcface_irse50": Layout(
        "ArcFace IR-SE50",
        {"body.23.res_layer.5.fc1.weight": (32, 512, 1, 1), "output_layer.4.weight": (512,)},
        {"network": "invbench.metrics.nets.arcface:from_checkpoint"},
    ),
    "curricularface_ir101": Layout(
        "CurricularFace IR-101",
        {"body.48.res_layer.3.weight": (512, 512, 3, 3), "output_layer.3.weight": (512, 25088)},
        {"network": "invbench.metrics.nets.curricularface:from_checkpoint"},
    ),
    "bisenet": Layout(
        "BiSeNet face parsing, 19 classes",
        {"cp.arm32.conv_atten.weight": (128, 128, 1, 1), "conv_out.conv_out.weight": (19, 256, 1, 1)},
        {"network": "invbench.metrics.nets.bisenet:from_checkpoint"},
    ),
    "diffcam": Layout(
        "Diff-CAM's differential activation network",
        {"shared.4.0.conv1.weight": (64, 64, 1, 1), "classifier.13.2.bn3.weight": (2048,), "fc.weight": (None, 2048)},
        {"network": "invbench.methods.convert.diffcam:diffcam"},
    ),
    "deghosting": Layout(
        "Diff-CAM's deghosting network with its generator",
        {
            "FCN.encoder.0.conv_first.weight": (None, 3, 3, 3),
            "FCN.fusion_out.0.weight": (None, None, 3, 3),
            "generator.constant_input.input": (1, None, 4, 4),
        },
        {"network": "invbench.methods.convert.diffcam:deghosting"},
    ),
    "unet_celebamask": Layout(
        "U-Net face parsing of CelebAMask-HQ, 19 classes",
        {"center.conv2.0.weight": (256, 256, 3, 3), "up_concat1.up.weight": (32, 16, 2, 2), "final.weight": (19, 16, 1, 1)},
        {"network": "invbench.metrics.nets.unet_parser:from_checkpoint"},
    ),
    "invertibility": Layout(
        "SAM's invertibility predictor",
        {"sd_base/backbone.conv1.weight": (64, 3, 7, 7), "W+/m.0.weight": (8, 4, 3, 3)},
        {"network": "invbench.methods.convert.invertibility:convert_invertibility"},
        facts.invertibility,
    ),
    "dex": Layout(
        "DEX age classifier, VGG-16 over 101 ages",
        {"state_dict/fc8-101.weight": (101, 4096)},
        {"network": "invbench.metrics.nets.dex:from_checkpoint"},
    ),
    "lpips_squeeze": Layout(
        "LPIPS v0.1, squeeze: linear layers, or all",
        {"lin6.model.1.weight": (1, 512, 1, 1)},
        {"network": "invbench.metrics.nets.lpips_package:from_checkpoint"},
        facts.squeeze,
    ),
    "lpips": Layout(
        "LPIPS v0.1, alex or vgg: linear layers, or all",
        {"lin1.model.1.weight": (1, None, 1, 1), "lin4.model.1.weight": (1, None, 1, 1)},
        {"network": "invbench.metrics.nets.lpips_package:from_checkpoint"},
        facts.lpips,
    ),
    "lpips_lists": Layout(
        "LPIPS v0.1 as the encoder papers store it",
        {"lin.1.1.weight": (1, None, 1, 1), "lin.4.1.weight": (1, None, 1, 1)},
        {"network": "invbench.metrics.nets.lpips_package:from_checkpoint"},
        facts.lpips,
    ),
    "alexnet": Layout("torchvision's AlexNet", {"features.0.weight": (64, 3, 11, 11), "classifier.6.weight": (1000, 4096)}),
    "vgg16": Layout("torchvision's VGG-16", {"features.28.weight": (512, 512, 3, 3), "classifier.0.weight": (4096, 25088)}),
    "squeezenet1_1": Layout(
        "torchvision's SqueezeNet 1.1", {"features.0.weight": (64, 3, 3, 3), "features.12.squeeze.weight": (64, 512, 1, 1)}
    ),
    "inception_fid": Layout(
        "Inception-v3 of 2015 for FID, as torch-fidelity and pytorch-fid store it",
        {"Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1), "fc.weight": (1008, 2048)},
        {"network": "invbench.metrics.nets.inception:from_checkpoint"},
    ),
    "facenet": Layout(
        "InceptionResnetV1 of facenet-pytorch",
        {"conv2d_1a.conv.weight": (32, 3, 3, 3), "last_linear.weight": (512, 1792)},
        {"network": "invbench.metrics.nets.facenet:from_checkpoint"},
        facts.classes("logits.weight"),
    ),
    "moco": Layout(
        "MoCo v2, ResNet-50",
        {"state_dict/module.encoder_q.conv1.weight": (64, 3, 7, 7), "state_dict/module.encoder_q.fc.2.weight": (128, 2048)},
        {"network": "invbench.metrics.nets.moco:from_checkpoint"},
        facts.moco,
    ),
    "hopenet": Layout(
        "Hopenet, ResNet-50",
        {"fc_yaw.weight": (66, 2048), "fc_pitch.weight": (66, 2048), "fc_roll.weight": (66, 2048)},
        {"network": "invbench.metrics.nets.hopenet:from_checkpoint"},
    ),
    "maskrcnn": Layout(
        "torchvision's Mask R-CNN with a ResNet-50, trained on COCO",
        {"backbone.body.conv1.weight": (64, 3, 7, 7), "roi_heads.mask_predictor.mask_fcn_logits.weight": (91, 256, 1, 1)},
        {"network": "invbench.metrics.nets.instances:from_checkpoint"},
    ),
    "ganspace": Layout("Principal components of W (GANSpace)", {"comp": (None, 1, None), "mean": (1, None), "std": (None,)}),
    "direction_layers": Layout(
        "One edit direction of in-domain inversion, with the layers that it moves",
        {"boundary": (1, None, None)},
        {},
        lambda shapes, content: {"num_ws": shapes["boundary"][1]},
    ),
    "direction": Layout("One edit direction in W", {"tensor": (1, None)}, {}, facts.direction),
    "direction_wplus": Layout("One edit direction in W+", {"tensor": (1, None, None)}, {}, facts.direction),
}
