"""One pass over a batch in memory against lpips, piq and torch-fidelity, one after the other over the saved files.

The second test is a table of 15 methods over the same originals: ours keeps the originals' features on disk from the first
method on, and writing and reading them counts; torch-fidelity gets its own cache of the originals' features.

    pytest -m perf tests/perf -rP

The task is the one of published tables for faces: 1024 x 1024 PNG files, MSE and LPIPS at 256 x 256, PSNR, SSIM and MS-SSIM at
full size, KID of Inception features. Both sides use the same networks (random weights) in one thread, and their numbers must
agree. The networks are built beforehand; what torch-fidelity spends on building its own is measured and taken off its time.
Times are the processor's, so that what else the machine does at the moment counts for neither side.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from pathlib import Path
from types import SimpleNamespace

import lpips
import numpy as np
import piq
import pytest
import scipy.stats  # noqa: F401  (of the bootstrap; all packages are imported beforehand, on both sides)
import skimage.data
import torch
from PIL import Image
from torch_fidelity import calculate_metrics
from torch_fidelity.utils import create_feature_extractor

from invbench.api import Sample
from invbench.metrics.kernel_distance import kernel_distance
from invbench.plugins import registry
from invbench.plugins.config import NetworkConfig, Suite
from invbench.scoring.evaluator import Evaluator
from invbench.scoring.originals import Kept
from invbench.scoring.scorer import Scorer
from invbench.weights.networks import Networks

pytestmark = [pytest.mark.perf, pytest.mark.timeout(900)]

COUNT, SIDE, SMALL, ROUNDS = 4, 1024, 256, 3
METHODS, PICTURES, WANTED = 15, 2, 2.5  # of the table; a busy machine moves the ratio (docs/performance.md)
LPIPS = ("alex", "vgg", "squeeze")
IDS = [
    "mse@psp256",
    *(f"lpips_{net}@psp256" for net in LPIPS),
    "psnr@native",
    "ssim@native",
    "ms_ssim@native",
]
KID = "kid@inception_uint8"


def scaled(module: torch.nn.Module) -> torch.nn.Module:
    """Random weights (He et al., 2015) that let a signal through a deep network."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = torch.randn(parameter.shape, generator=generator) * (2 / parameter[0].numel()) ** 0.5
    return module


def photographs() -> tuple[np.ndarray, np.ndarray]:
    """Originals and outputs, uint8 [4, 1024, 1024, 3]: scikit-image's astronaut, turned; with coarse errors in the outputs."""
    rng = np.random.default_rng(0)
    face = np.asarray(Image.fromarray(skimage.data.astronaut()).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    originals = np.stack([np.rot90(face, turns) for turns in range(COUNT)])
    coarse = rng.normal(0, 60, (COUNT, SIDE // 64, SIDE // 64, 3)).clip(-127, 127)
    errors = [Image.fromarray((one + 128).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for one in coarse]
    outputs = originals + 0.5 * (np.stack([np.asarray(one, np.float64) for one in errors]) - 128)
    return originals, outputs.clip(0, 255).astype(np.uint8)


def save(folder: Path, pictures: np.ndarray) -> None:
    folder.mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{index}.png")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> SimpleNamespace:
    """Pictures in memory and as files, and the networks for both sides."""
    folder: Path = tmp_path_factory.mktemp("files")
    originals, outputs = photographs()
    save(folder / "originals", originals)
    save(folder / "outputs", outputs)
    roles = {f"lpips_{net}": ("lpips_package:LpipsPackage", {"net": net}) for net in LPIPS}
    roles["inception"] = ("inception:Inception", {})
    networks = Networks(
        Suite(
            id="speed",
            title="speed",
            resolution=SIDE,
            datasets=(),
            collections={"all": ()},
            default="all",
            networks={
                role: NetworkConfig.model_validate({"class": f"invbench.metrics.nets.{name}", "config": config})
                for role, (name, config) in roles.items()
            },
        )
    )
    theirs = {}
    for net in LPIPS:
        theirs[net] = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False).eval()
        theirs[net].load_state_dict(scaled(networks[f"lpips_{net}"].model).state_dict())
    torch.save(scaled(networks["inception"].model).state_dict(), folder / "inception.pth")
    found = registry.discover()

    def scorer(kept: Kept | None) -> Scorer:
        specs = [found.metrics[id] for id in [*IDS, KID]]
        return Scorer(specs, networks, protocols=found.protocols, regions={}, required=True, kept=kept)

    samples = [Sample(picture, f"{i}", hashlib.sha256(picture.tobytes()).hexdigest()) for i, picture in enumerate(originals)]
    return SimpleNamespace(
        folders=[folder / "outputs", folder / "originals"],
        weights=folder / "inception.pth",
        cache={},
        originals=originals,
        outputs=outputs,
        scorer=scorer(None),
        scorer_of=scorer,
        samples=samples,
        theirs=theirs,
    )


def of_originals(work: SimpleNamespace) -> np.ndarray:
    """Features of the originals, which a run folder holds for all methods."""
    prepared = work.scorer.prepare("inception_uint8", work.originals, original=True)
    return np.asarray(work.scorer.sets[KID].features(prepared))


def one_pass(work: SimpleNamespace, originals: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What the harness does with a batch, and with the features at the end; ``originals`` as :func:`of_originals` gave them."""
    evaluator = Evaluator(work.scorer, work.samples, work.outputs, masks=None)
    values = evaluator.inversion()
    originals = of_originals(work) if originals is None else originals
    outputs = evaluator.features()[work.scorer.feature(KID)]
    return values | {KID: np.array([kernel_distance(originals.astype(np.float64), outputs.astype(np.float64)).value])}


def one_after_the_other(work: SimpleNamespace) -> dict[str, np.ndarray]:
    """What somebody does with two folders and the packages: one script after the other, each reads its files pair by pair."""
    pairs = [[folder / f"{index}.png" for folder in work.folders] for index in range(len(work.samples))]

    def read(path: Path, side: int = SIDE) -> np.ndarray:
        picture = Image.open(path).convert("RGB")
        return np.array(picture if side == SIDE else picture.resize((side, side), Image.Resampling.BILINEAR))

    values: dict[str, list[float]] = {id: [] for id in IDS}
    with torch.inference_mode():
        for pair in pairs:
            a, b = (read(path, SMALL) / 127.5 - 1 for path in pair)
            values["mse@psp256"].append(np.square(a - b).mean())
        for net, model in work.theirs.items():
            for pair in pairs:
                values[f"lpips_{net}@psp256"].append(model(*(lpips.im2tensor(read(path, SMALL)) for path in pair)).item())
        for pair in pairs:
            x, y = (torch.from_numpy(read(path)).permute(2, 0, 1)[None].float() / 255 for path in pair)
            values["psnr@native"].append(piq.psnr(x, y).item())
            values["ssim@native"].append(piq.ssim(x, y, downsample=False).item())
            values["ms_ssim@native"].append(piq.multi_scale_ssim(x, y).item())
    found = calculate_metrics(**fidelity(work), input1=str(work.folders[0]), input2=str(work.folders[1]))
    return {id: np.array(one) for id, one in values.items()} | {KID: np.array([found["kernel_inception_distance_mean"]])}


def fidelity(work: SimpleNamespace) -> dict[str, object]:
    """torch-fidelity's settings; it reads files in this process, which is faster here than to start others for it."""
    return {
        "kid": True,
        "kid_subsets": 1,
        "kid_subset_size": len(work.samples),
        "feature_extractor_weights_path": str(work.weights),
        "batch_size": len(work.samples),
        "cuda": False,
        "cache": False,
        "save_cpu_ram": True,
        "verbose": False,
    } | work.cache


def seconds(function, *args: object, **kwargs: object) -> float:
    start = time.process_time()
    function(*args, **kwargs)
    return time.process_time() - start


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # a bootstrap of four pictures may draw one four times
@pytest.mark.benchmark(timer=time.process_time)
def test_one_pass_is_faster_and_gives_the_same_numbers(work, benchmark, one_thread):
    ours, theirs = one_pass(work), one_after_the_other(work)
    assert set(ours) == set(theirs)
    for id, values in theirs.items():  # KID is a difference of kernel values around 1, in torch-fidelity of float32 ones
        np.testing.assert_allclose(ours[id], values, rtol=1e-4, atol=1e-6 if id == KID else 0, err_msg=id)
        assert len(values) == 1 or np.ptp(values) > 0

    spent, building = [], []

    def other_side() -> tuple[tuple[SimpleNamespace], dict]:  # before each round of ours, so that the machine is as warm
        building.append(seconds(create_feature_extractor, "inception-v3-compat", ["2048"], **fidelity(work)))
        spent.append(seconds(one_after_the_other, work))
        return (work,), {}

    benchmark.pedantic(one_pass, setup=other_side, rounds=ROUNDS)
    mine = benchmark.stats.stats.data
    ratios = [(total - build) / own for total, build, own in zip(spent, building, mine)]
    ratio = statistics.median(ratios)
    benchmark.extra_info["ratio"] = ratio
    print(
        f"{COUNT} pairs of {SIDE} x {SIDE}: one pass {statistics.median(mine):.2f} s, "
        f"lpips, piq and torch-fidelity {statistics.median(spent) - statistics.median(building):.2f} s "
        f"(and {statistics.median(building):.2f} s to build Inception): ratio {ratio:.2f} "
        f"({', '.join(f'{one:.2f}' for one in sorted(ratios))})"
    )
    assert ratio > 1


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
def test_a_table_of_methods_is_faster_since_originals_are_looked_at_once(work, tmp_path, one_thread):
    samples, originals = work.samples[:PICTURES], work.originals[:PICTURES]
    save(tmp_path / "originals", originals)
    kept = Kept(tmp_path / "features", limit=1e9, device=torch.device("cpu"))
    cache = {"cache": True, "cache_root": str(tmp_path / "cache"), "input2_cache_name": "originals"}
    one = SimpleNamespace(**vars(work) | {"samples": samples, "originals": originals, "cache": cache})
    building = seconds(create_feature_extractor, "inception-v3-compat", ["2048"], **fidelity(one))
    mine, their, known = 0.0, 0.0, None
    for method in range(METHODS):
        share = 0.3 + 0.6 * method / METHODS
        one.outputs = np.round(originals + share * (work.outputs[:PICTURES].astype(float) - originals)).astype(np.uint8)
        one.folders = [tmp_path / f"{method}", tmp_path / "originals"]
        save(one.folders[0], one.outputs)
        start = time.process_time()
        theirs = one_after_the_other(one)
        between = time.process_time()
        one.scorer = work.scorer_of(kept)  # one of its own, as in another run; its digests count
        known = of_originals(one) if known is None else known
        ours = one_pass(one, known)
        their, mine = their + between - start - building, mine + time.process_time() - between
        assert set(ours) == set(theirs)
        for id, values in theirs.items():
            np.testing.assert_allclose(ours[id], values, rtol=1e-4, atol=1e-6 if id == KID else 0, err_msg=id)
    one.scorer = work.scorer_of(None)
    for id, values in one_pass(one, known).items():
        np.testing.assert_array_equal(values, ours[id], err_msg=f"{id}: with and without what was kept")
    print(
        f"{METHODS} methods, {PICTURES} pairs of {SIDE} x {SIDE}: ours {mine:.1f} s, "
        f"lpips, piq and torch-fidelity {their:.1f} s "
        f"(without {METHODS} times {building:.2f} s to build Inception): ratio {their / mine:.2f}"
    )
    assert their / mine > WANTED
