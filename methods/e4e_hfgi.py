"""e4e as HFGI's file holds it, in which training HFGI moved the statistics of its batch normalisation."""

from __future__ import annotations

from invbench.methods.psp import PSP

SPEC = {
    "id": "e4e_hfgi",
    "class": "E4EOfHFGI",
    "title": "e4e of HFGI",
    "family": "encoder",
    "paper": "Tov et al., Designing an Encoder for StyleGAN Image Manipulation",
    "venue": "SIGGRAPH 2021",
    "roles": ["generator", "encoder_hfgi", "directions"],
    "gives": "w+",
    "options": {},
    "presets": {"paper": {}, "released": {}},
    "summary": "The copy of e4e that HFGI's file carries, and that HFGI starts from as released. Its weights are those of e4e, "
    "its statistics are not: they moved with the pictures that HFGI was trained on.",
}


class E4EOfHFGI(PSP):
    """e4e from HFGI's file (Tengfei-Wang/HFGI): see :class:`invbench.api.Embedder`."""

    role = "encoder_hfgi"
