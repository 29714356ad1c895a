"""The factors of a face: their names, physical ranges, and how a latent z gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr

GRID = 4096  # factors lie on multiples of 1/GRID, so that libm differences between machines cannot show


@dataclass(frozen=True)
class Factor:
    """One continuous factor; u = 0 means `low` and u = 1 means `high`, in `unit`."""

    name: str
    group: Literal["identity", "attribute", "scene"]
    low: float
    high: float
    unit: str
    help: str


FACTORS: tuple[Factor, ...] = (
    Factor("face_width", "identity", 18.5, 23.0, "px", "half width of the face"),
    Factor("face_height", "identity", 55.0, 60.5, "px", "height of the chin's lowest point in the picture"),
    Factor("jaw", "identity", -0.30, 0.25, "ratio", "jaw width: pointed to square"),
    Factor("skin_tone", "identity", 0.0, 1.0, "palette", "skin, light to dark"),
    Factor("skin_warmth", "identity", -1.0, 1.0, "ratio", "skin, pinkish to yellowish"),
    Factor("eye_size", "identity", 0.24, 0.32, "face widths", "half width of an eye over half width of the face"),
    Factor("eye_spacing", "identity", 0.43, 0.55, "face widths", "distance of an eye from the middle"),
    Factor("eye_tilt", "identity", -1.6, 1.6, "px", "height of the outer corners above the inner ones"),
    Factor("eye_colour", "identity", 0.0, 1.0, "palette", "iris: blue, green, amber, red-brown"),
    Factor("eye_shade", "identity", 0.45, 1.25, "ratio", "brightness of the iris"),
    Factor("brow_thickness", "identity", 0.9, 2.4, "px", "half thickness of the brows"),
    Factor("brow_tilt", "identity", -2.4, 2.4, "px", "height of the outer ends above the inner ones"),
    Factor("brow_height", "identity", 5.8, 10.0, "px", "distance of the brows above the eyes"),
    Factor("nose_length", "identity", 34.0, 39.5, "px", "height of the nose's tip in the picture"),
    Factor("nose_width", "identity", 2.4, 6.0, "px", "half width of the nose"),
    Factor("mouth_width", "identity", 6.5, 11.5, "px", "half width of the mouth at rest"),
    Factor("lip_fullness", "identity", 0.8, 3.4, "px", "thickness of the lower lip"),
    Factor("lip_colour", "identity", 0.0, 1.0, "palette", "lips: near the skin's colour to deep red"),
    Factor("hair_hue", "identity", 0.0, 1.0, "palette", "hair: ash, blond, auburn, red"),
    Factor("hair_lightness", "identity", 0.22, 1.0, "ratio", "hair, dark to light"),
    Factor("hair_volume", "identity", 1.0, 6.0, "px", "thickness of the hair around the head"),
    Factor("hair_length", "identity", 10.0, 52.0, "px", "how far the hair reaches below the middle of the head"),
    Factor("hairline", "identity", 2.0, 9.0, "px", "height of the forehead's free part below the skull's top"),
    Factor("parting", "identity", -5.0, 5.0, "px", "slant of the hairline"),
    Factor("ear_size", "identity", 3.0, 8.0, "px", "half height of the ears"),
    Factor("blush", "identity", 0.0, 0.7, "ratio", "redness of the cheeks"),
    Factor("age", "attribute", 15.0, 80.0, "years", "wrinkles, greying hair, sagging jaw"),
    Factor("yaw", "attribute", -40.0, 40.0, "degrees", "head turned to the viewer's left (-) or right (+)"),
    Factor("smile", "attribute", 0.0, 1.0, "ratio", "frown, neutral, smile, open smile with teeth"),
    Factor("eye_openness", "attribute", 0.0, 1.0, "ratio", "nearly closed to wide open"),
    Factor("gaze", "attribute", -1.0, 1.0, "ratio", "eyes look to the viewer's left (-) or right (+)"),
    Factor("light_direction", "scene", -75.0, 75.0, "degrees", "light from the viewer's left (-) or right (+)"),
    Factor("light_strength", "scene", 0.08, 0.45, "ratio", "contrast of the light's gradient"),
    Factor("background_top", "scene", 0.0, 1.0, "palette", "upper colour of the background"),
    Factor("background_bottom", "scene", 0.0, 1.0, "palette", "lower colour of the background"),
    Factor("background_lightness", "scene", 0.45, 1.1, "ratio", "brightness of the background"),
    Factor("clothes_hue", "scene", 0.0, 1.0, "palette", "clothes: blue, green, ochre, red, violet"),
    Factor("clothes_lightness", "scene", 0.3, 1.05, "ratio", "brightness of the clothes"),
)
K = len(FACTORS)
INDEX: dict[str, int] = {factor.name: i for i, factor in enumerate(FACTORS)}

# edit name -> (factor, change per unit strength in the factor's unit, that unit)
EDITS: Mapping[str, tuple[str, float, str]] = {
    "age": ("age", 5.0, "years"),
    "yaw": ("yaw", 5.0, "degrees"),
    "smile": ("smile", 0.1, "ratio"),
    "eye_openness": ("eye_openness", 0.1, "ratio"),
}


def factors_from_z(z: np.ndarray) -> np.ndarray:
    """Factors of latents: u = Phi(z / rms(z)), rounded to 1/4096.

    The normalisation is the one at the entry of StyleGAN's mapping network (NVlabs/stylegan2-ada-pytorch,
    `normalize_2nd_moment`), so u is an exact function of what the mapping network sees.

    z: [N, K], any float type. Returns float64 [N, K] in [0, 1]. Raises ValueError on another shape or on non-finite values.
    """
    z = np.asarray(z, np.float64)
    if z.ndim != 2 or z.shape[1] != K:
        raise ValueError(f"z: expected shape [N, {K}], found {list(z.shape)}")
    if not np.isfinite(z).all():
        raise ValueError("z: expected finite values, found NaN or infinity")
    rms = np.sqrt(np.mean(z * z, axis=1, keepdims=True) + 1e-8)
    return _to_grid(ndtr(z / rms))


def sample_z(seed: int, n: int) -> np.ndarray:
    """n normal latents, float64 [n, K], of a generator of their own seeded by `seed`."""
    return np.random.default_rng(seed).standard_normal((n, K))


def sample_factors(rng: np.random.Generator, n: int) -> np.ndarray:
    """Factors of n normal latents drawn from `rng`: float64 [n, K] in [0, 1]."""
    return factors_from_z(rng.standard_normal((n, K)))


def physical(u: np.ndarray) -> dict[str, np.ndarray]:
    """Factor name -> float64 [N] in the factor's unit, for u [N, K] in [0, 1]."""
    u = check_factors(u)
    return {f.name: f.low + u[:, i] * (f.high - f.low) for i, f in enumerate(FACTORS)}


def edit_factors(u: np.ndarray, name: str, strength: float) -> np.ndarray:
    """The true edit: one factor moved, all others kept.

    u: [N, K]; name: a key of EDITS; strength: in that edit's steps (one step of `age` is 5 years, of `yaw` 5 degrees).
    Returns a new float64 [N, K], clipped to [0, 1] and rounded to 1/4096. Raises KeyError on an unknown edit.
    """
    if name not in EDITS:
        raise KeyError(f"edit {name!r}: expected one of {', '.join(EDITS)}")
    if not np.isfinite(strength):
        raise ValueError(f"strength of edit {name!r}: expected a finite number, found {strength}")
    factor, step, _ = EDITS[name]
    i = INDEX[factor]
    edited = check_factors(u).copy()
    edited[:, i] = _to_grid(edited[:, i] + strength * step / (FACTORS[i].high - FACTORS[i].low))
    return edited


def check_factors(u: np.ndarray) -> np.ndarray:
    """u as float64 [N, K] on the 1/4096 grid; ValueError unless it has that shape and lies in [0, 1]."""
    u = np.asarray(u, np.float64)
    if u.ndim != 2 or u.shape[1] != K:
        raise ValueError(f"factors: expected shape [N, {K}], found {list(u.shape)}")
    if not ((u >= 0) & (u <= 1)).all():  # NaN fails as well
        raise ValueError(f"factors: expected values in [0, 1], found {np.min(u)} to {np.max(u)}")
    return _to_grid(u)


def _to_grid(u: np.ndarray) -> np.ndarray:
    return np.clip(np.round(u * GRID) / GRID, 0.0, 1.0)
