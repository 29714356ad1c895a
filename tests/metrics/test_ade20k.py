"""SAM's segmenter of cars: the files' layout, the network against one written out from its tensors, and SAM's merges."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from invbench.api import InvbenchError
from invbench.metrics.nets.ade20k import MERGED, NAMES, from_checkpoint
from invbench.metrics.nets.bisenet import IMAGENET_MEAN, IMAGENET_STD
from invbench.weights.layouts import recognise
from tests import golden_vectors
from tests.weights import official_segmenters

INDICES = {3: (6, 13), 60: (21,), 20: (83, 102), 9: (29,)}  # kept class -> the classes that SAM's code adds to it


@pytest.fixture(scope="module")
def files():
    return official_segmenters.ade20k("encoder", seed=3), official_segmenters.ade20k("decoder", seed=4)


def read(files, **changes):
    named = {"source": "e.pth", "decoder": files[1], "decoder_source": "d.pth", "object": "car"}
    return from_checkpoint(files[0], **named | changes)


def normalised(state, x, name):
    keys = (f"{name}.{part}" for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *(state[key] for key in keys))


def written_out(encoder, decoder, x):
    """ResNet-50 with dilations and pyramid pooling, from the tensors of the files alone."""
    for i, stride in ((1, 2), (2, 1), (3, 1)):
        x = F.relu(normalised(encoder, F.conv2d(x, encoder[f"conv{i}.weight"], stride=stride, padding=1), f"bn{i}"))
    x = F.max_pool2d(x, 3, 2, 1)
    dilations = {1: (1, 1), 2: (1, 1), 3: (1, 2), 4: (2, 4)}  # of the first unit and of the others
    for stage, count in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for unit in range(count):
            name, dilation = f"layer{stage}.{unit}", dilations[stage][unit > 0]
            stride = 2 if stage == 2 and unit == 0 else 1
            y = F.relu(normalised(encoder, F.conv2d(x, encoder[f"{name}.conv1.weight"]), f"{name}.bn1"))
            y = F.conv2d(y, encoder[f"{name}.conv2.weight"], stride=stride, padding=dilation, dilation=dilation)
            y = F.conv2d(F.relu(normalised(encoder, y, f"{name}.bn2")), encoder[f"{name}.conv3.weight"])
            if unit == 0:
                shortcut = F.conv2d(x, encoder[f"{name}.downsample.0.weight"], stride=stride)
                x = normalised(encoder, shortcut, f"{name}.downsample.1")
            x = F.relu(normalised(encoder, y, f"{name}.bn3") + x)
    maps = [x]
    for i, scale in enumerate((1, 2, 3, 6)):
        y = F.conv2d(F.adaptive_avg_pool2d(x, scale), decoder[f"ppm.{i}.1.weight"])
        y = F.relu(normalised(decoder, y, f"ppm.{i}.2"))
        maps.append(F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False))
    y = F.conv2d(torch.cat(maps, 1), decoder["conv_last.0.weight"], padding=1)
    y = F.relu(normalised(decoder, y, "conv_last.1"))
    return F.conv2d(y, decoder["conv_last.4.weight"], decoder["conv_last.4.bias"])


def test_the_files_are_told_apart_and_their_network_is_the_published_one(files):
    assert [recognise(file).layout for file in files] == ["ade20k_encoder", "ade20k_decoder"]
    network = read(files)
    assert not network.training
    images = torch.rand(2, 3, 48, 72, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = ((images + 1) / 2 - mean) / std
    small = written_out(*files, x)
    assert small.shape == (2, 150, 6, 9)
    scores = F.interpolate(small, size=(48, 72), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network.scores(x), scores, rtol=1e-3, atol=1e-3 * float(scores.std()))

    winners = scores.argmax(1)
    for kept, added in INDICES.items():
        for index in added:
            winners[winners == index] = kept
    names = [network.classes[i] for i in network(images).argmax(1).flatten().tolist()]
    expected = [NAMES[i] for i in winners.flatten().tolist()]
    assert sum(a == b for a, b in zip(names, expected, strict=True)) / len(names) > 0.999  # a tie may fall either way
    assert len(set(expected)) > 2


def test_large_pictures_are_seen_at_192_x_256_and_small_ones_as_they_are(files, monkeypatch):
    network, seen = read(files), []
    monkeypatch.setattr(network, "scores", lambda x: seen.append(x.shape) or x.new_zeros(len(x), 150, *x.shape[2:]))
    assert network(torch.zeros(1, 3, 384, 512)).shape == (1, 144, 384, 512)
    assert network(torch.zeros(1, 3, 64, 48)).shape == (1, 144, 64, 48)
    assert [tuple(shape[2:]) for shape in seen] == [(192, 256), (64, 48)]


def test_the_merges_are_those_of_sam():
    assert len(NAMES) == len(set(NAMES)) == 150
    found = {NAMES.index(kept): tuple(map(NAMES.index, added)) for kept, added in MERGED.items()}
    assert found == INDICES
    assert [NAMES[i] for i in (0, 2, 12, 76, 126, 149)] == ["wall", "sky", "person", "boat", "animal", "flag"]


def test_training_buffers_may_lack_and_nothing_else(files):
    encoder, decoder = files
    buffers = ("_tmp_running_mean", "_tmp_running_var", "_running_iter")
    bare = {key: value for key, value in encoder.items() if not key.endswith(buffers)}
    assert len(encoder) - len(bare) == 3 * 55
    read((bare, decoder))
    with pytest.raises(InvbenchError, match=r"e.pth: .*1 unexpected: conv1._running_iter"):
        read((encoder | {"conv1._running_iter": torch.zeros(1)}, decoder))
    with pytest.raises(InvbenchError, match=r"d.pth: .*1 missing: conv_last.4.bias \[150\]"):
        read((encoder, {key: value for key, value in decoder.items() if key != "conv_last.4.bias"}))
    with pytest.raises(ValueError, match="object: expected a class of ADE20K such as car or animal, found 'truck'"):
        read(files, object="truck")


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@torch.no_grad()
def test_it_reproduces_the_golden_vectors(precision):
    golden = golden_vectors.load("semseg_ade20k")
    encoder, decoder = (golden_vectors.state(golden, part) for part in ("encoder", "decoder"))
    network = from_checkpoint(encoder, source="e.pth", decoder=decoder, object="car").to(precision)
    images = golden_vectors.tensor(golden, "x").to(precision)
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    logits = network.scores(((images + 1) / 2 - mean) / std)
    golden_vectors.check(golden, "logits", logits)
    golden_vectors.check(golden, "probabilities", logits.softmax(1))
    assert torch.equal(network(images).amax(1), logits.amax(1))
