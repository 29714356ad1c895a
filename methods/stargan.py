"""StarGAN, plain and with CAM consistency: an image-to-image network that takes the attributes wanted, each 0 or 1."""

from __future__ import annotations

from invbench.methods.common.translation import Translation

SPECS = [
    {
        "family": "translation",
        "options": {
            "size": {
                "default": 128,
                "unit": "pixels",
                "range": "[4, inf)",
                "help": "side at which the network sees a picture; the result is enlarged to the suite's",
            },
            "full": {
                "default": 0.0,
                "unit": "strengths",
                "range": "[0, inf)",
                "help": "strength at which a label arrives at 0 or 1, in proportion before; 0: at any, as in the test script, "
                "which knows no strength",
            },
            "intensity": {
                "default": 1.0,
                "unit": "",
                "range": "(0, inf)",
                "help": "factor on the label of an edit; the test script has none",
            },
        },
        "summary": "No latents: the inversion is the picture drawn anew with its own attributes, which a network reads (of "
        "official files the discriminator). An edit of positive strength sets its attribute, of negative strength the "
        "opposite; of hair colours one is set. The authors crop CelebA's faces closer; here pictures are seen as the suite has "
        "them.",
        "variants": [
            {
                "id": "stargan",
                "class": "StarGAN",
                "title": "StarGAN",
                "paper": "Choi et al., StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image "
                "Translation",
                "venue": "CVPR 2018",
                "roles": ["stargan", "labels_stargan"],
            },
            {
                "id": "stargan_cam",
                "class": "StarGANCam",
                "title": "StarGAN with CAM consistency",
                "paper": "Kim, Khan and Choo, Not Just Compete, but Collaborate: Local Image-to-Image Translation via "
                "Cooperative Mask Prediction",
                "venue": "CVPR 2021",
                "roles": ["stargan_cam", "labels_stargan"],
                "summary": "As stargan, of a network whose training also asked that a picture stays as it is beside the "
                "attribute's activation map. Neither code nor weights are public: the reading stands in "
                "methods/train/cam.py.",
            },
        ],
    },
]


class StarGAN(Translation):
    """StarGAN (Choi et al., CVPR 2018; yunjey/stargan): see :class:`invbench.methods.common.translation.Translation`."""

    role = "stargan"


class StarGANCam(Translation):
    """StarGAN trained with CAM consistency (Kim et al., CVPR 2021): see :class:`StarGAN`."""

    role = "stargan_cam"
