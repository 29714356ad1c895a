"""e4e: an encoder into W+ whose codes stay close to W, so that they can be edited."""

from __future__ import annotations

from invbench.methods.psp import PSP

SPEC = {
    "id": "e4e",
    "class": "E4E",
    "title": "e4e",
    "family": "encoder",
    "paper": "Tov et al., Designing an Encoder for StyleGAN Image Manipulation",
    "venue": "SIGGRAPH 2021",
    "roles": ["generator", "encoder_e4e", "directions"],
    "gives": "w+",
    "options": {},
    "presets": {"paper": {}, "released": {}},
    "summary": "One W code and small offsets for each layer, predicted in one pass; pictures are made with the stored noise.",
}


class E4E(PSP):
    """e4e (Tov et al., SIGGRAPH 2021; omertov/encoder4editing): see :class:`invbench.api.Embedder`."""

    role = "encoder_e4e"
