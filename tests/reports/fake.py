"""A run folder with the shape of a real one: rendered faces, degraded by a known amount for each invented method."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from invbench.api import Edit
from invbench.datasets.procfaces import edit_factors, render, sample_extras, sample_factors
from invbench.store import Part, Store

FAMILIES = {  # method -> (family, noise of the reconstruction, seconds an image, stages)
    "sg2_w": ("optimisation", 30, 2.1, ("optimise", "synthesise")),
    "sg2_wplus": ("optimisation", 22, 2.3, ("optimise", "synthesise")),
    "psp": ("encoder", 26, 0.011, ("encode", "synthesise")),
    "e4e": ("encoder", 28, 0.012, ("encode", "synthesise")),
    "pti": ("weights", 12, 3.4, ("optimise", "refine", "synthesise")),
    "sam": ("features", 15, 4.9, ("segment", "optimise", "synthesise")),
    "dhr": ("hybrid", 8, 5.9, ("encode", "segment", "refine", "synthesise")),
}
METRICS = {  # id -> (kind, better, unit)
    "mse@native": ("inversion", "lower", "squared intensity"),
    "psnr@native": ("inversion", "higher", "dB"),
    "lpips_proc@native": ("inversion", "lower", ""),
    "id_proc@native": ("inversion", "higher", "cosine"),
    "domain_iou@native": ("inversion", "higher", ""),
    "fid_proc@native": ("set", "lower", ""),
    "kid_proc@native": ("set", "lower", ""),
    "age_change@native": ("edit", "none", "years"),
    "yaw_change@native": ("edit", "none", "degrees"),
    "id_kept@native": ("edit", "higher", "cosine"),
    "truth_mse@native": ("edit", "lower", "squared intensity"),
}
EDITS = {"age": ("years", 5.0), "yaw": ("degrees", 5.0)}
STRENGTHS = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def make_run(
    folder: Path,
    *,
    count: int = 8,
    methods: tuple[str, ...] = tuple(FAMILIES),
    datasets: tuple[str, ...] = ("procfaces-test", "procfaces-test-ood"),
    prefix: str = "",
    failing: tuple[str, int] | None = ("psp", 3),
    strengths: tuple[float, ...] = STRENGTHS,
    seed: int = 0,
) -> Store:
    """Write a finished run. ``prefix`` starts the name of every image; ``failing`` is a method and an image's index."""
    random = np.random.default_rng(seed)
    store = Store(folder)
    cells, sets = {}, []
    for number, dataset in enumerate(datasets):
        u = sample_factors(random, count)
        extras = [sample_extras(random, one) for one in u] if dataset.endswith("ood") else None
        originals = render(u, extras=extras)
        names = [f"{prefix}{index:04d}" for index in range(count)]
        for name, picture in zip(names, originals.images):
            save(store.input(dataset, name), picture)
        edited = {
            (edit, strength): render(edit_factors(u, edit, strength), extras=extras).images
            for edit in EDITS
            for strength in strengths
        }
        for (edit, strength), images in edited.items():
            for name, picture in zip(names, images):
                save(store.truth(dataset, name, Edit(edit, strength)), picture)
        for name, out in zip(names, originals.ood_mask):
            save(store.truth_mask(dataset, name), np.where(out, 0, 255).astype(np.uint8))
        for method in methods:
            cell, rows = f"{method}.paper.{dataset}", []
            for index, name in enumerate(names):
                broken = failing == (method, index) and number == 0
                head = {"suite": "procfaces", "method": method, "preset": "paper", "dataset": dataset, "image": name}
                head |= {"index": index, "batch": count, "status": "failed" if broken else "ok", "recipe": "r"}
                if broken:
                    rows.append(head | {"key": f"{cell}{name}", "reason": "output is not finite"})
                    rows += [
                        head
                        | {"key": f"{cell}{name}{edit}{strength}", "edit": edit, "strength": strength}
                        | {"reason": "inversion failed: output is not finite"}
                        for edit, strength in edited
                    ]
                    continue
                rows += _rows(store, cell, head, originals, index, edited, random)
            store.write_part(cell, Part("000000-all", rows, dict.fromkeys(METRICS, "r")))
            hashes = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in originals.images]
            images = [
                {"index": i, "name": name, "sha256": sha256, "reason": "", "key": str(i)}
                for i, (name, sha256) in enumerate(zip(names, hashes, strict=True))
            ]
            asked = [{"name": edit, "strength": strength} for edit, strength in edited]
            cells[cell] = {"method": method, "preset": "paper", "dataset": dataset, "edits": asked, "consistency": []}
            cells[cell]["images"] = images
            head = {"suite": "procfaces", "method": method, "preset": "paper", "dataset": dataset}
            kept = len({row["image"] for row in rows if row["status"] == "ok"})
            reason = f"needs at least 100 images, found {kept}"
            sets.append(head | {"metric": "fid_proc@native", "value": None, "n": kept, "reason": reason})
            sets.append(head | {"metric": "kid_proc@native", "value": float(random.uniform(0, 0.1)), "n": kept, "reason": None})
    store.write_sets(sets)
    store.write_json("plan.json", {"format": 1, "suite": "procfaces", "cells": cells})
    store.write_json("manifest.json", manifest(methods))
    return store


def _rows(store, cell, head, originals, index, edited, random) -> list[dict]:
    _, noise, seconds, stages = FAMILIES[head["method"]]
    picture, name = originals.images[index], head["image"]
    times = {f"seconds.{stage}": seconds / len(stages) for stage in stages} | {"seconds.invert": seconds}
    memory = {"memory.device_peak": 0.0, "memory.rss_peak": 7e8 + seconds * 1e7}

    def degrade(image: np.ndarray) -> np.ndarray:
        return np.clip(image + random.normal(0, noise, image.shape), 0, 255).astype(np.uint8)

    def mse(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean((a / 127.5 - b / 127.5) ** 2))

    inverted = degrade(picture)
    save(store.picture(cell, name), inverted)
    error = mse(inverted, picture)
    row = {"key": f"{cell}{name}", "mse@native": error, "psnr@native": float(10 * np.log10(4 / error))}
    row |= {"id_proc@native": 1 - error * 3, "lpips_proc@native": error * 4, "domain_iou@native": float("nan")}
    if head["method"] in {"dhr", "sam"} and head["dataset"].endswith("ood"):
        save(store.mask(cell, name), np.where(originals.ood_mask[index], 0, 255).astype(np.uint8))
        row["domain_iou@native"] = float(random.uniform(0.5, 0.9))
    rows = [head | row | times | memory]
    for (edit, strength), truth in edited.items():
        image = degrade(truth[index])
        save(store.picture(cell, name, Edit(edit, strength)), image)
        row = {"key": f"{cell}{name}{edit}{strength}", "edit": edit, "strength": strength}
        row[f"{edit}_change@native"] = EDITS[edit][1] * strength * (1 - noise / 60) + float(random.normal(0, 1))
        row |= {"id_kept@native": 0.95 - 0.05 * abs(strength), "truth_mse@native": mse(image, truth[index])}
        rows.append(head | row | {"seconds.edit": 0.01} | memory)
    return rows


def manifest(methods: tuple[str, ...]) -> dict:
    described = {
        id: {"id": id, "title": id.upper().replace("_", " "), "entry": "m:C", "kind": kind, "better": better, "unit": unit}
        | {"range": "[0, 1]", "roles": [], "needs": [], "edits": [], "summary": f"The recipe of {id}.", "recipe": "r"}
        for id, (kind, better, unit) in METRICS.items()
    }
    return {
        "format": 1,
        "protocol": 1,
        "precision": "float32",
        "command": "invbench run --suite procfaces",
        "suite": {"id": "procfaces", "title": "Rendered portraits with known truth, 64 x 64"},
        "seed": 0,
        "started": "2026-01-01T10:00:00+00:00",
        "finished": "2026-01-01T10:04:00+00:00",
        "methods": {
            f"{method}.paper": {"title": method.upper().replace("_", " "), "family": FAMILIES[method][0]}
            | {"paper": "A paper on inversion", "venue": "CVPR", "roles": ["generator"], "options": {"steps": 100}}
            for method in methods
        },
        "weights": {"generator": {"file": "generator.safetensors", "sha256": "ab" * 32}},
        "metrics": described,
        "unavailable": {"lpips_alex@native": "weights missing: no network for the role lpips_alex"},
        "metric_failures": {},
        "edits": {name: {"unit": unit, "per_strength": step, "strengths": STRENGTHS} for name, (unit, step) in EDITS.items()},
        "seconds": {"methods": 200.0, "metrics": 30.0, "wall": 235.0, "overhead": 5.0},
        "machine": {"processor": "Some processor", "cores": 2, "memory": 2**34, "device": "cpu", "gpu": None},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "scipy": None},
        "git": {"commit": "0123456789abcdef", "modified": False},
    }
