"""The layouts of generators, of methods' networks and of edit directions; one with more marks stands before one with fewer."""

from __future__ import annotations

from invbench.weights import facts
from invbench.weights.layout import Derived, Layout

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

METHOD_LAYOUTS = {
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
        {"layer0.weight": (64, 3, 3, 3), "layer21.weight": (512, 512, 3, 3)},
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
    "invertibility": Layout(
        "SAM's invertibility predictor",
        {"sd_base/backbone.conv1.weight": (64, 3, 7, 7), "W+/m.0.weight": (8, 4, 3, 3)},
        {"network": "invbench.methods.convert.invertibility:convert_invertibility"},
        facts.invertibility,
    ),
    "stargan": Layout(
        "StarGAN's generator",
        {
            "main.0.weight": (None, None, 7, 7),
            "main.9.main.0.weight": (None, None, 3, 3),
            "main.18.weight": (None, None, 4, 4),
            "main.21.weight": (3, None, 7, 7),
        },
        {"network": "invbench.methods.convert.translation:stargan"},
        lambda shapes, content: {"labels": shapes["main.0.weight"][1] - 3},
    ),
    "stargan_discriminator": Layout(
        "StarGAN's discriminator, which reads attributes",
        {
            "main.0.weight": (None, 3, 4, 4),
            "main.10.weight": (None, None, 4, 4),
            "conv1.weight": (1, None, 3, 3),
            "conv2.weight": (None, None, None, None),
        },
        {"labels": "invbench.methods.convert.translation:stargan_labels"},
        lambda shapes, content: {"labels": shapes["conv2.weight"][0]},
    ),
    "attgan": Layout(
        "AttGAN's generator, file of AttGAN-PyTorch",
        {"G/enc_layers.0.layers.0.weight": (None, 3, 4, 4), "G/dec_layers.4.layers.0.bias": (3,)},
        {"network": "invbench.methods.convert.translation:attgan"},
    ),
    "attgan_multi_gpu": Layout(
        "AttGAN's generator, file of AttGAN-PyTorch on several GPUs",
        {"G/module.enc_layers.0.layers.0.weight": (None, 3, 4, 4), "G/module.dec_layers.4.layers.0.bias": (3,)},
        {"network": "invbench.methods.convert.translation:attgan"},
    ),
    "attgan_tf": Layout(
        "AttGAN's generator, variables of the official TensorFlow code as an .npz",
        {"UNetGenc/Conv/weights": (4, 4, 3, None), "UNetGdec/Conv2d_transpose_4/biases": (3,)},
        {"network": "invbench.methods.convert.translation:attgan_tensorflow"},
    ),
    "stgan_tf": Layout(
        "STGAN, variables of the official TensorFlow code as an .npz: generator and discriminator",
        {
            "Genc/Conv/weights": (4, 4, 3, None),
            "Gstu/Conv_11/biases": (None,),
            "Gdec/Conv2d_transpose_4/biases": (3,),
            "D/flatten_fully_connected_3/fully_connected/biases": (None,),
        },
        {
            "network": "invbench.methods.convert.translation:stgan",
            "labels": "invbench.methods.convert.translation:stgan_labels",
        },
    ),
    "stgan_tf_generator": Layout(
        "STGAN, as above without the discriminator, so that nothing reads a picture's own attributes",
        {
            "Genc/Conv/weights": (4, 4, 3, None),
            "Gstu/Conv_11/biases": (None,),
            "Gdec/Conv2d_transpose_4/biases": (3,),
        },
        {"network": "invbench.methods.convert.translation:stgan"},
    ),
    "stgan_port": Layout(
        "STGAN's generator, file of STGAN-pytorch, whose network is another than the official one",
        {
            "encoder.0.0.weight": (None, 3, 4, 4),
            "stu.0.reset_gate.1.running_mean": (None,),
            "decoder.0.0.weight": (None, None, 4, 4),
        },
        {"network": "invbench.methods.convert.stgan_port:generator"},
    ),
    "stgan_port_discriminator": Layout(
        "STGAN's discriminator, file of STGAN-pytorch: reads a picture's own attributes",
        {"conv.0.0.weight": (None, 3, 4, 4), "conv.0.1.running_mean": (None,), "fc_att.2.weight": (None, None)},
        {"labels": "invbench.methods.convert.stgan_port:labels"},
    ),
    "biggan_deep": Layout(
        "BigGAN-deep, pytorch_model.bin of pytorch-pretrained-BigGAN",
        {
            "embeddings.weight": (None, None),
            "generator.gen_z.weight_orig": (None, None),
            "generator.layers.0.bn_0.scale.weight_u": (None,),
        },
        {"generator": "invbench.methods.convert.biggan:generator"},
        facts.biggan,
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
