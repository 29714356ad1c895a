"""STGAN: an image-to-image network that takes the difference of the attributes wanted from those that a picture has."""

from __future__ import annotations

from invbench.methods.common.translation import Translation

SPEC = {
    "id": "stgan",
    "class": "STGAN",
    "title": "STGAN",
    "family": "translation",
    "paper": "Liu et al., STGAN: A Unified Selective Transfer Network for Arbitrary Image Attribute Editing",
    "venue": "CVPR 2019",
    "roles": ["stgan", "labels_stgan"],
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
            "default": 1.0,
            "unit": "",
            "range": "(0, inf)",
            "help": "label of an edit at that strength, in labels of training: test_int",
        },
    },
    "summary": "No latents: the inversion is the picture drawn anew with no difference. An edit's difference is its label less "
    "the picture's own, which a network reads (of official files the discriminator): none where the picture has what is asked "
    "for. The authors crop CelebA's faces closer; here pictures are seen as the suite has them.",
}


class STGAN(Translation):
    """STGAN (Liu et al., CVPR 2019; csmliu/STGAN): see :class:`invbench.methods.common.translation.Translation`."""

    role = "stgan"
    filter = "bicubic"
