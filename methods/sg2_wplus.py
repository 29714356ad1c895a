"""StyleGAN2 projection into W+: as ``sg2_w``, with a separate latent for every layer."""

from __future__ import annotations

from invbench.methods.sg2_w import SG2W

SPEC = {
    "id": "sg2_wplus",
    "class": "SG2WPlus",
    "title": "StyleGAN2 W+",
    "family": "optimisation",
    "paper": "Abdal et al., Image2StyleGAN (the space); Karras et al., StyleGAN2, appendix D (the optimisation)",
    "venue": "ICCV 2019 / CVPR 2020",
    "roles": ["generator", "latent_stats", "perceptual_vgg", "directions"],
    "gives": "w+",
    "options": {
        "steps": {"default": 1000, "unit": "steps", "range": "[1, inf)", "help": "projection steps"},
        "lr": {"default": 0.1, "unit": "per step", "range": "(0, inf)", "help": "peak learning rate of Adam"},
        "samples": {
            "default": 0,
            "unit": "latents",
            "range": "[0, inf)",
            "help": "number of sampled latents: the projection starts from their mean, their spread scales its jitter; "
            "0: the suite's latent statistics are used",
        },
        "seed": {
            "default": 0,
            "unit": "",
            "range": "[0, 4294967296)",
            "help": "seed of the noise maps and of the latents' jitter",
        },
    },
    "presets": {"paper": {}, "released": {"steps": 2000, "lr": 0.01}},
    "summary": "L latent codes and the noise maps optimised for a perceptual loss. Preset released: the W+ baseline of "
    "danielroich/PTI and VinAIResearch/HyperInverter, 2000 steps at 0.01.",
}


class SG2WPlus(SG2W):
    """Projection into W+ (Abdal et al., ICCV 2019; Karras et al., CVPR 2020): see :class:`invbench.api.Embedder`."""

    space = "w+"
