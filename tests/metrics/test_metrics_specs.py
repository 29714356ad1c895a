"""What holds for every metric that comes with the project."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from invbench.api import Edit, MissingWeights
from invbench.plugins import registry

SPECS = registry.metrics()
EMBEDDED_ROLES = {"perceptual_metric", "identity_metric", "regressor", "attributes", "parser"}
EMBEDDED_ROLES |= {"perceptual_second", "identity_second", "regressor_second"}
REAL_WEIGHTS = {spec.name for spec in SPECS.values() if not set(spec.roles) <= EMBEDDED_ROLES}


class Reader(torch.nn.Module):
    """Four factors of a picture that small differences move far."""

    names, low, high = ["yaw", "age", "smile", "eye_openness"], [0.0] * 4, [1.0] * 4

    def forward(self, images):
        return 50 * images[..., :2, :2].mean(1).flatten(1)

    def features(self, images):
        return images.mean((2, 3))


def test_the_metrics_of_the_embedded_suite_are_there():
    embedded = {"mse", "psnr", "ms_ssim", "lpips_proc", "id_proc", "fid_proc", "kid_proc", "domain_iou"}
    edits = {"age_change", "yaw_change", "smile_change", "eye_openness_change", "true_change", "change_error"}
    edits |= {"change_error_judge", "leakage", "leakage_ratio", "leakage_judge", "attribute_flips"}
    edits |= {"id_kept", "background_kept", "background_mse", "background_psnr", "parsed_background_mse"}
    edits |= {"parsed_background_psnr", "parsed_background_lpips_proc", "truth_mse", "truth_psnr", "truth_lpips_proc"}
    assert {spec.name for spec in SPECS.values()} >= embedded | edits
    official = {"lpips_alex", "lpips_vgg", "lpips_squeeze", "id_curricular", "id_arcface", "id_facenet", "moco", "fid", "kid"}
    official |= {"age_change_dex", "yaw_change_pose", "id_kept_curricular", "parsed_background_lpips_alex"}
    assert official <= REAL_WEIGHTS
    assert set(SPECS) >= {f"{name}@native" for name in embedded | edits}


@pytest.mark.parametrize("name", sorted(id for id, spec in SPECS.items() if spec.name not in REAL_WEIGHTS))
def test_values_are_float64_one_an_image_and_alike_in_any_batch(name, given, networks):
    spec = SPECS[name]
    networks["regressor"] = networks["regressor_second"] = Reader()
    metric = registry.load(spec)({role: networks[role] for role in spec.roles})  # and needs no role beside these
    masks = [replace(sample, ood_mask=np.ones((64, 64), bool), factors=np.full(4, 0.5)) for sample in given.samples]
    truth = torch.roll(given.target, 1, 0)
    truth[..., 20:] = given.target[..., 20:]
    full = replace(
        given,
        samples=masks,
        edit=Edit(spec.edits[0] if spec.edits else "smile", 1.0),
        inverted=given.target,
        truth=truth,
        true_factors=np.linspace(0, 1, 16).reshape(4, 4),
        region=("face",),
        latents=torch.linspace(0, 1, 4 * 3 * 5).reshape(4, 3, 5),
        latents_back=torch.linspace(1, 3, 4 * 3 * 5).reshape(4, 3, 5),
        state={"domain_mask": torch.linspace(0, 1, 4).reshape(4, 1, 1, 1).expand(4, 1, 8, 8)},
    )
    if spec.kind == "set":
        assert metric.features(given.output).shape[0] == 4 and metric.minimum > 0
        return
    values = metric(full)
    assert values.dtype == np.float64 and values.shape == (4,) and np.isfinite(values).all()
    tensors = {name: getattr(full, name)[3:] for name in ("target", "output", "inverted", "truth", "latents", "latents_back")}
    tensors |= {"true_factors": full.true_factors[3:], "memo": {}}
    alone = replace(full, samples=masks[3:], state={"domain_mask": full.state["domain_mask"][3:]}, **tensors)
    np.testing.assert_allclose(metric(alone), values[3:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(id for id, spec in SPECS.items() if spec.name in REAL_WEIGHTS))
def test_metrics_without_weights_say_so(name, networks):
    with pytest.raises(MissingWeights, match=f"^weights missing: metric '{SPECS[name].name}'"):
        registry.load(SPECS[name])(networks)
