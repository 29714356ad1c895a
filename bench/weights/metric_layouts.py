"""The layouts of the networks that losses and metrics look with."""

from __future__ import annotations

from invbench.weights import facts
from invbench.weights.layout import Layout

METRIC_LAYOUTS = {
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
    "unet_celebamask": Layout(
        "U-Net face parsing of CelebAMask-HQ, 19 classes",
        {"center.conv2.0.weight": (256, 256, 3, 3), "up_concat1.up.weight": (32, 16, 2, 2), "final.weight": (19, 16, 1, 1)},
        {"network": "invbench.metrics.nets.unet_parser:from_checkpoint"},
    ),
    "farl_parser": Layout(
        "FaRL's face parser, 19 classes of CelebAMask-HQ, as pyfacer's TorchScript program",
        {
            "backbone.visual.positional_embedding": (785, 768),
            "head.head.conv_seg.weight": (19, 768, 1, 1),
            "head.head.fpn_bottleneck.conv.weight": (768, 3072, 3, 3),
        },
        {"network": "invbench.metrics.nets.farl:from_checkpoint"},
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
    "dinov2": Layout(
        "DINOv2, a vision transformer with patches of 14 pixels and without registers",
        {"patch_embed.proj.weight": (None, 3, 14, 14), "mask_token": (1, None), "blocks.0.ls1.gamma": (None,)},
        {"network": "invbench.metrics.nets.dinov2:from_checkpoint"},
        facts.dinov2,
    ),
    "dists": Layout(
        "DISTS as piq stores it: weights of texture and structure",
        {"alpha": (1, 1475, 1, 1), "beta": (1, 1475, 1, 1)},
        {"network": "invbench.metrics.nets.dists:from_checkpoint"},
    ),
    "dreamsim": Layout(
        "DreamSim's ensemble: low-rank changes of three networks",
        {
            f"base_model.model.extractor_list.{number}.model.blocks.0.attn.qkv.lora_A.weight": (None, None)
            for number in range(3)
        },
        {"network": "invbench.metrics.nets.dreamsim:from_checkpoint"},
    ),
    "dino_vitb16": Layout(
        "DINO ViT-B/16", {"patch_embed.proj.weight": (768, 3, 16, 16), "cls_token": (1, 1, 768), "norm.weight": (768,)}
    ),
    "clip_as_dino": Layout(
        "CLIP ViT-B/16 under DINO's names, as DreamSim ships it",
        {"state_dict/patch_embed.proj.weight": (768, 3, 16, 16), "state_dict/pos_drop.weight": (768,)},
    ),
    "inception_imagenet": Layout(
        "torchvision's Inception-v3",
        {"AuxLogits.fc.weight": (1000, 768), "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1), "fc.weight": (1000, 2048)},
        {"network": "invbench.metrics.nets.inception_forms:from_checkpoint"},
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
    "ade20k_encoder": Layout(
        "ResNet-50 with dilations of CSAIL's scene parsing",
        {"conv3.weight": (128, 64, 3, 3), "layer1.0.conv1.weight": (64, 128, 1, 1), "layer4.2.conv3.weight": (2048, 512, 1, 1)},
        {"network": "invbench.metrics.nets.ade20k:from_checkpoint"},
    ),
    "ade20k_decoder": Layout(
        "pyramid pooling of CSAIL's scene parsing, 150 classes",
        {"ppm.0.1.weight": (512, 2048, 1, 1), "conv_last.4.weight": (150, 512, 1, 1)},
    ),
    "sixdrepnet": Layout(
        "6DRepNet, RepVGG-B1g2 with merged branches",
        {
            "layer1.0.rbr_reparam.weight": (128, 64, 3, 3),
            "layer4.0.rbr_reparam.weight": (2048, 512, 3, 3),
            "linear_reg.weight": (6, 2048),
        },
        {"network": "invbench.metrics.nets.sixdrepnet:from_checkpoint"},
    ),
    "panoptic_fpn": Layout(
        "Detectron2's panoptic FPN, trained on COCO",
        {
            "model/backbone.bottom_up.stem.conv1.weight": (64, 3, 7, 7),
            "model/backbone.bottom_up.res4.22.conv3.weight": (1024, 256, 1, 1),
            "model/sem_seg_head.predictor.weight": (54, 128, 1, 1),
        },
        {"network": "invbench.metrics.nets.panoptic_fpn:from_checkpoint"},
    ),
    "maskrcnn": Layout(
        "torchvision's Mask R-CNN with a ResNet-50, trained on COCO",
        {"backbone.body.conv1.weight": (64, 3, 7, 7), "roi_heads.mask_predictor.mask_fcn_logits.weight": (91, 256, 1, 1)},
        {"network": "invbench.metrics.nets.instances:from_checkpoint"},
    ),
}
