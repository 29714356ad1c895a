"""LSAP: e4e's encoder, aligned with the generator's style space in place of a latent discriminator."""

from __future__ import annotations

from invbench.methods.psp import PSP

SPEC = {
    "id": "lsap",
    "class": "LSAP",
    "title": "LSAP",
    "family": "encoder",
    "paper": "Cao et al., LSAP: Rethinking Inversion Fidelity, Perception and Editability in GAN Latent Space",
    "venue": "arXiv 2022",
    "roles": ["generator", "encoder_lsap", "directions"],
    "gives": "w+",
    "options": {},
    "presets": {"paper": {}, "released": {}},
    "summary": "The network of e4e, trained to keep the directions of its style vectors near those of random latents; pictures "
    "are made with the stored noise.",
}


class LSAP(PSP):
    """LSAP (Cao et al., 2022; caopulan/GANInverter): see :class:`invbench.api.Embedder`."""

    role = "encoder_lsap"
