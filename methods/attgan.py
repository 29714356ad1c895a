"""AttGAN, plain and with CAM consistency: an image-to-image network that takes the attributes wanted, half a unit each way."""

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
                "default": 1.0,
                "unit": "strengths",
                "range": "[0, inf)",
                "help": "strength at which a label arrives at the test script's, in proportion before and beyond; 0: at any",
            },
            "intensity": {
                "default": 2.0,
                "unit": "",
                "range": "(0, inf)",
                "help": "label of an edit at that strength, in labels of training: test_int is 1 of 0.5 in the port, 2 of 1 in "
                "the official code",
            },
        },
        "summary": "No latents: the inversion is the picture drawn anew with its own attributes, which a network reads (of "
        "official files STGAN's discriminator, which tells the same). An edit moves its label from the picture's own; an "
        "attribute that excludes others takes them away. Official files are of either layout, each with its own slope and "
        "epsilon. The authors crop CelebA's faces closer; here pictures are seen as the suite has them.",
        "variants": [
            {
                "id": "attgan",
                "class": "AttGAN",
                "title": "AttGAN",
                "paper": "He et al., AttGAN: Facial Attribute Editing by Only Changing What You Want",
                "venue": "TIP 2019",
                "roles": ["attgan", "labels_attgan"],
            },
            {
                "id": "attgan_cam",
                "class": "AttGANCam",
                "title": "AttGAN with CAM consistency",
                "paper": "Kim, Khan and Choo, Not Just Compete, but Collaborate: Local Image-to-Image Translation via "
                "Cooperative Mask Prediction",
                "venue": "CVPR 2021",
                "roles": ["attgan_cam", "labels_attgan"],
                "summary": "As attgan, of a network whose training also asked that a picture stays as it is beside the "
                "attribute's activation map. Neither code nor weights are public: the reading stands in "
                "methods/train/cam.py.",
            },
        ],
    },
]


class AttGAN(Translation):
    """AttGAN (He et al., TIP 2019; LynnHo/AttGAN-Tensorflow, elvisyjlin/AttGAN-PyTorch): see
    :class:`invbench.methods.common.translation.Translation`."""

    role = "attgan"


class AttGANCam(Translation):
    """AttGAN trained with CAM consistency (Kim et al., CVPR 2021): see :class:`AttGAN`."""

    role = "attgan_cam"
