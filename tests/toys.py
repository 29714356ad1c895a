"""A plug-in file with light methods, a dataset and metrics: the harness's tests run on them, in this process or another."""

import hashlib
import time

import numpy as np

from invbench.api import Inversion, Sample

SPECS = [
    {
        "id": "toy",
        "title": "Toy",
        "class": "Toy",
        "family": "encoder",
        "paper": "none",
        "venue": "none",
        "roles": [],
        "options": {
            "sleep": {"default": 0.0, "unit": "seconds", "range": "[0, inf)", "help": "time that a call takes"},
            "trouble": {
                "default": "",
                "unit": "",
                "choices": ["", "raise", "nan", "shape", "edit"],
                "help": "what goes wrong",
            },
            "level": {"default": 8.0, "unit": "levels", "range": "(0, inf)", "help": "how coarse the reconstruction is"},
        },
        "presets": {"paper": {}, "fine": {"level": 64.0}},
    },
    {"id": "toys", "title": "Toys", "class": "Toys", "domain": "toys", "size": 12, "options": {"count": 12}},
    {
        "id": "toy_mse",
        "title": "Mean squared error",
        "class": "ToyMse",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "0..4",
    },
    {
        "id": "toy_mask",
        "title": "Mean of the domain mask",
        "class": "ToyMask",
        "kind": "inversion",
        "better": "none",
        "unit": "",
        "range": "0..1",
        "needs": ["domain_mask"],
    },
    {
        "id": "toy_truth",
        "title": "Distance to the truth",
        "class": "ToyTruth",
        "kind": "edit",
        "better": "lower",
        "unit": "",
        "range": "0..4",
        "needs": ["truth"],
    },
    {
        "id": "toy_set",
        "title": "Distance of means",
        "class": "ToySet",
        "kind": "set",
        "better": "lower",
        "unit": "",
        "range": "0..",
    },
    {
        "id": "toy_weights",
        "title": "A metric without its weights",
        "class": "ToyWeights",
        "kind": "inversion",
        "better": "lower",
        "unit": "",
        "range": "0..",
        "roles": ["judge"],
    },
]


class Toy:
    """Rounds pictures to a few levels; an edit brightens them. Trouble comes with the third picture of the dataset."""

    def __init__(self, networks, options):
        self.options = options

    def invert(self, images, clock):
        bad = (images[:, :, 0, 0] == images.new_tensor(MARK / 127.5 - 1)).all(dim=1)
        with clock.stage("encode"):
            latents = images.mean(dim=(2, 3))[:, None]
        with clock.stage("refine"):
            time.sleep(self.options.sleep)
            output = (images * self.options.level).round() / self.options.level
        if self.options.trouble == "raise" and bad.any():
            raise RuntimeError("no convergence")
        if self.options.trouble == "nan":
            output[bad] = float("nan")
        if self.options.trouble == "shape":
            output = output[..., 1:]
        images.zero_()  # a method that spoils its input must harm nobody
        mask = (output[:, :1] > 0).float()
        return Inversion(latents, output, {"domain_mask": mask, "bad": bad})

    def edit(self, inversion, edit, clock):
        with clock.stage("edit"):
            if self.options.trouble == "edit" and inversion.state["bad"].any():
                raise RuntimeError("no direction")
            return inversion.images + 0.1 * edit.strength

    def max_batch(self, memory):
        return 1_000_000


MARK = np.array([1.0, 2.0, 3.0], dtype=np.float32)


class Toys:
    def __init__(self, *, count):
        self.names = [f"toy-{index:02d}" for index in range(count)]

    def read(self, index):
        picture = np.random.default_rng(index).integers(10, 256, (16, 16, 3), dtype=np.uint8)
        if index == 2:
            picture[0, 0] = MARK.astype(np.uint8)
        return Sample(picture, self.names[index], hashlib.sha256(picture.tobytes()).hexdigest())

    def truth(self, index, edit):
        picture = self.read(index).picture.astype(np.float64) + 12.75 * edit.strength
        return picture.round().clip(0, 255).astype(np.uint8)


class ToyMse:
    def __init__(self, networks):
        pass

    def __call__(self, given):
        return (given.output - given.target).double().square().mean(dim=(1, 2, 3)).cpu().numpy()


class ToyMask(ToyMse):
    def __call__(self, given):
        return given.state["domain_mask"].double().mean(dim=(1, 2, 3)).cpu().numpy()


class ToyTruth(ToyMse):
    def __call__(self, given):
        return (given.output - given.truth).double().square().mean(dim=(1, 2, 3)).cpu().numpy()


class ToySet(ToyMse):
    feature, minimum = "toy_means", 4

    def features(self, images):
        return images.mean(dim=(2, 3)).cpu().numpy()

    def compute(self, reference, measured):
        return float(np.square(reference.astype(np.float64) - measured).sum())


class ToyWeights(ToyMse):
    def __init__(self, networks):
        networks["judge"]
