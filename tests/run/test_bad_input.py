"""What strangers, disks and weights can do wrong: one clear error or a failed row, and finished work is kept."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from invbench.api import InvbenchError, MissingWeights
from invbench.plugins.config import DatasetChoice, NetworkConfig
from invbench.run import runner
from invbench.specs import DatasetSpec
from invbench.store import Store
from invbench.util import files
from invbench.weights import networks
from invbench.weights.networks import Networks, load_network
from tests.weights.toy_networks import Small


# -- weights ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """A good weight file of half precision, with its manifest."""
    monkeypatch.setattr(networks, "OURS", (*networks.OURS, "tests"))
    path = tmp_path / "small.safetensors"
    state = {key: value.half() if value.is_floating_point() else value for key, value in Small(width=6).state_dict().items()}
    save_file(state, path, {"config": json.dumps({"width": 6})})
    sign(path)
    return path


def sign(path: Path) -> None:
    path.with_suffix(".json").write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


def config(path: Path, **overrides) -> NetworkConfig:
    return NetworkConfig.model_validate({"class": "tests.weights.toy_networks:Small", "weights": path, "config": overrides})


def test_good_weights_become_a_frozen_float32_network(weights):
    module = load_network(config(weights))
    assert isinstance(module, Small) and not module.training
    assert module.layer.weight.shape == (2, 6) and module.layer.weight.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert module.count.dtype == torch.int64 and module.count == 3


def test_missing_weights_name_the_file(weights):
    weights.unlink()
    with pytest.raises(MissingWeights, match=r"weights missing: .*small\.safetensors"):
        load_network(config(weights))


def test_truncated_weights_are_told_by_hash_and_by_form(weights):
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(InvbenchError, match=r"small\.safetensors: expected sha256 \w+ .*, found \w+ \(\d+ bytes\)"):
        load_network(config(weights))
    networks.file_digest.cache_clear()
    sign(weights)
    with pytest.raises(InvbenchError, match=r"small\.safetensors: expected a safetensors file, found an unreadable one"):
        load_network(config(weights))


def test_weights_of_another_shape_or_name_are_told(weights):
    with pytest.raises(InvbenchError, match=r"layer\.weight: expected shape \(2, 5\), found \(2, 6\)"):
        load_network(config(weights, width=5))
    save_file({"layer.weight": torch.zeros(2, 4), "other": torch.zeros(1)}, weights)
    networks.file_digest.cache_clear()
    sign(weights)
    with pytest.raises(InvbenchError, match=r"missing layer\.bias \(2,\).*unexpected other \(1,\)"):
        load_network(config(weights))


def test_a_manifest_without_a_hash_and_a_wrong_configuration_are_told(weights):
    with pytest.raises(InvbenchError, match="the configuration does not fit .*depth"):
        load_network(config(weights, depth=5))
    weights.with_suffix(".json").write_text("{}")
    with pytest.raises(InvbenchError, match=r"small\.json: expected JSON with the key 'sha256'"):
        load_network(config(weights))
    weights.with_suffix(".json").unlink()
    with pytest.raises(InvbenchError, match=r"small\.json: expected the manifest"):
        load_network(config(weights))


def test_only_our_packages_are_built_from_a_configuration():
    with pytest.raises(InvbenchError, match="subprocess:Popen: expected a class in one of the packages"):
        load_network(NetworkConfig.model_validate({"class": "subprocess:Popen"}))


def test_networks_load_once_and_name_roles_that_are_not_there(weights, make_settings):
    suite = make_settings().suite.model_copy(update={"networks": {"judge": config(weights)}})
    networks = Networks(suite)
    assert networks["judge"] is networks["judge"] and list(networks) == ["judge"] and "other" not in networks
    assert networks.provenance("judge")["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    with pytest.raises(MissingWeights, match="suite toys has no network for the role 'other'"):
        networks["other"]


def test_a_method_without_its_weights_stops_before_any_work(make_settings):
    settings = make_settings()
    method = settings.methods[0]
    spec = method.spec.__class__(**{**vars(method.spec), "roles": ("generator",)})
    broken = settings.model_copy(update={"methods": (method.model_copy(update={"spec": spec}),)})
    with pytest.raises(InvbenchError, match="method toy: weights missing: .*'generator'"):
        runner.run(broken, progress=False)
    assert not settings.out.exists()


# -- pictures -----------------------------------------------------------------------------------------------------------
def test_a_corrupt_image_is_a_failed_row_and_the_rest_is_finished(make_settings, tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for index in range(4):
        picture = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / f"{index}.png")
    (root / "1.png").write_bytes((root / "1.png").read_bytes()[:100])
    Image.new("RGB", (20, 16)).save(root / "2.png")
    spec = DatasetSpec("mine", "mine", "invbench.datasets.folder:Folder", "toys", None, {"root": str(root)})
    settings = make_settings().model_copy(update={"datasets": (DatasetChoice(spec=spec),)})
    assert runner.run(settings, progress=False) == 1
    rows = Store(settings.out).rows()
    failed = rows[rows.status == "failed"]
    assert len(rows) == 12 and set(failed.image) == {"1", "2"}
    assert failed[failed.image == "1"].reason.str.contains(r"1\.png: the image is corrupt or truncated").all()
    assert (failed[failed.image == "2"].reason == "expected a picture of 16x16, found 20x16").all()
    Image.new("RGB", (16, 16)).save(root / "1.png")
    Image.new("RGB", (16, 16)).save(root / "2.png")
    assert runner.run(settings, progress=False) == 0  # mended pictures are taken up by the next run
    rows = Store(settings.out).rows()
    assert len(rows) == 12 and (rows.status == "ok").all()


# -- folders and disks --------------------------------------------------------------------------------------------------
def test_a_folder_that_is_no_run_is_left_alone(make_settings):
    settings = make_settings(fresh=True)
    settings.out.mkdir()
    (settings.out / "thesis.txt").write_text("years of work")
    with pytest.raises(InvbenchError, match=r"expected a run folder or an empty one, found 'thesis\.txt'"):
        runner.run(settings, progress=False)
    assert (settings.out / "thesis.txt").read_text() == "years of work"


def test_an_unknown_device_is_told(make_settings):
    with pytest.raises(InvbenchError, match="device: expected auto, cpu, cuda"):
        runner.run(make_settings().model_copy(update={"device": "abacus"}), progress=False)


@pytest.mark.parametrize("allowed", [0, 20, 60])
def test_a_full_disk_is_one_line_and_exit_code_3(make_settings, monkeypatch, capsys, allowed):
    """Wherever in the run the disk is full, what is whole stays, and with room again the run is completed."""
    real, writes = os.fsync, []

    def fsync(descriptor):
        writes.append(descriptor)
        if len(writes) > allowed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)

    settings = make_settings()
    monkeypatch.setattr(files.os, "fsync", fsync)
    assert runner.run(settings, progress=False) == 3
    lines = capsys.readouterr().err.strip().splitlines()
    assert "could not be written: No space left on device" in lines[0] and "finished work is kept" in lines[1]
    before = Store(settings.out).rows()
    monkeypatch.undo()
    assert runner.run(settings, progress=False) == 0
    after = Store(settings.out).rows()
    assert len(after) == 36 and set(before.key) <= set(after.key)
    assert not list(settings.out.rglob("*.tmp"))


def test_a_really_full_disk(make_settings, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small disk is not permitted here: {mounted.stderr.strip()}")
    try:
        settings = make_settings(out=disk / "run")
        assert runner.run(settings, progress=False) == 3
        assert "No space left on device" in capsys.readouterr().err
        rows = Store(settings.out).rows()
        assert (rows.status == "ok").all() and len(rows) < 36
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert runner.run(settings, progress=False) == 0
        assert len(Store(settings.out).rows()) == 36
    finally:
        subprocess.run(["umount", str(disk)], check=True)
