"""ReStyle over e4e: latents close to W, corrected in several passes, five by default."""

from __future__ import annotations

from invbench.methods.restyle_psp import ReStylePSP

SPEC = {
    "id": "restyle_e4e",
    "class": "ReStyleE4E",
    "title": "ReStyle (e4e)",
    "family": "encoder",
    "paper": "Alaluf et al., ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement",
    "venue": "ICCV 2021",
    "roles": ["generator", "encoder_restyle_e4e", "directions"],
    "gives": "w+",
    "options": {
        "iterations": {
            "default": 5,
            "unit": "steps",
            "help": "passes of the encoder, as many as in training; 5 in paper and code",
            "range": "[1, inf)",
        },
    },
    "presets": {"paper": {}, "released": {}},
    "summary": "As ReStyle over pSp; a correction is one vector for all layers plus a small offset for each. The public "
    "training code computes the norm of the offsets and the latent discriminator's loss, then overwrites both with the "
    "identity loss; the released networks of faces were trained in this way. The networks of this project use both losses, as "
    "the paper says.",
}


class ReStyleE4E(ReStylePSP):
    """As :class:`ReStylePSP`, with the encoder of ReStyle over e4e."""

    role = "encoder_restyle_e4e"
