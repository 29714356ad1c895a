"""procfaces: cartoon portraits of 64x64 pixels rendered from known factors."""

from .extras import Extras, sample_extras
from .factors import EDITS, FACTORS, INDEX, Factor, K, edit_factors, factors_from_z, physical, sample_factors, sample_z
from .portrait import PARSING_CLASSES
from .render import Rendered, render, render_edited
from .splits import Split, render_split, split, train_batches

__all__ = [
    "EDITS",
    "FACTORS",
    "INDEX",
    "PARSING_CLASSES",
    "Extras",
    "Factor",
    "K",
    "Rendered",
    "Split",
    "edit_factors",
    "factors_from_z",
    "physical",
    "render",
    "render_edited",
    "render_split",
    "sample_extras",
    "sample_factors",
    "sample_z",
    "split",
    "train_batches",
]
