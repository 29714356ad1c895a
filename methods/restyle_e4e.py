"""ReStyle over e4e: codes close to W, corrected five times."""

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
    "options": {
        "iterations": {
            "default": 5,
            "unit": "steps",
            "help": "passes of the encoder, as many as in training; paper and code take 5",
            "range": "[1, inf)",
        },
    },
    "presets": {"paper": {}, "released": {}},
    "summary": "As ReStyle over pSp, with corrections that are one for all style vectors and small ones for each. The public "
    "training code computes the norm of these and the latent discriminator's loss, then writes the identity loss over both: "
    "so released networks of faces were trained. Ours count them, as the paper says.",
}


class ReStyleE4E(ReStylePSP):
    role = "encoder_restyle_e4e"
