"""FaceNet, MoCo and Hopenet: files of the official layout load whole, and mean what independent code makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1, fixed_image_standardization
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.transforms import functional as transforms

from invbench.api import InvbenchError
from invbench.metrics.nets import facenet, hopenet, moco
from invbench.weights.checkpoints import load_checkpoint
from invbench.weights.layouts import recognise
from tests.agreement import agree

COUNTER = "num_batches_tracked"


def drawn(network: nn.Module) -> dict[str, Tensor]:
    """Random tensors for a network, such that its activations neither vanish nor explode. In float32, as the files are."""
    random = torch.Generator().manual_seed(0)
    state = {}
    for key, value in network.state_dict().items():
        noise = torch.randn(value.shape, generator=random)
        if key.endswith(COUNTER):
            state[key] = torch.zeros((), dtype=torch.int64)
        elif value.ndim > 1:
            state[key] = noise * value[0].numel() ** -0.5
        else:
            state[key] = 0.1 * noise + (1.0 if key.endswith(("weight", "running_var")) else 0.0)
    return state


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.endswith(COUNTER)}


# FaceNet ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def facenet_file() -> dict[str, Tensor]:
    state = drawn(InceptionResnetV1(pretrained=None, classify=True, num_classes=3))
    return state | {"logits.weight": torch.zeros(1).expand(8631, 512), "logits.bias": torch.zeros(1).expand(8631)}


def test_facenet_is_facenet_pytorchs(facenet_file):
    network = facenet.from_checkpoint(facenet_file, source="vggface2.pt").double()
    assert network.dropped == ("logits.bias", "logits.weight") and not network.training
    theirs = InceptionResnetV1(pretrained=None, classify=True, num_classes=8631)
    theirs.load_state_dict(facenet_file)
    theirs = theirs.double().eval()
    theirs.classify = False
    faces = images(1, 3, 160, 160)
    with torch.no_grad():
        expected = theirs(fixed_image_standardization((faces + 1) * 127.5))
        agree(network(faces), expected, relative=1e-6)
        assert network(faces * torch.nan).isnan().all()
    torch.testing.assert_close(network(faces).norm(dim=1), torch.ones(1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"^faces: expected shape \[N, 3, 160, 160\], found"):
        network(images(1, 3, 112, 112))


def test_facenet_files_of_all_ages_load_and_others_do_not(facenet_file):
    old = facenet.from_checkpoint(without_counters(facenet_file), source="old.pt")
    assert torch.equal(old.last_linear.weight, facenet_file["last_linear.weight"])
    plain = {key: value for key, value in facenet_file.items() if not key.startswith("logits")}
    assert facenet.from_checkpoint(plain, source="plain.pt").dropped == ()
    with pytest.raises(InvbenchError, match=r"^f.pt: logits.bias: expected 8631 or 10575 people, found 7"):
        facenet.from_checkpoint(plain | {"logits.bias": torch.zeros(7)}, source="f.pt")
    with pytest.raises(InvbenchError, match=r"^f.pt: .*1 missing: last_bn.weight \[512\]; 1 unexpected: other \[2\]"):
        changed = {key: value for key, value in plain.items() if key != "last_bn.weight"}
        facenet.from_checkpoint(changed | {"other": torch.zeros(2)}, source="f.pt")


# MoCo ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet_state() -> dict[str, Tensor]:
    return drawn(resnet50(weights=None))


@pytest.fixture(scope="module")
def moco_file(resnet_state) -> dict[str, object]:
    body = {f"{moco.QUERY}{key}": value for key, value in resnet_state.items() if not key.startswith("fc.")}
    shapes = {"fc.0.weight": (2048, 2048), "fc.0.bias": (2048,), "fc.2.weight": (128, 2048), "fc.2.bias": (128,)}
    head = {f"{moco.QUERY}{key}": torch.zeros(1).expand(shape) for key, shape in shapes.items()}
    return {"epoch": 800, "arch": "resnet50", "state_dict": body | head}


def test_moco_is_torchvisions_resnet_without_its_last_layer(moco_file, resnet_state):
    network = moco.from_checkpoint(moco_file, source="moco.pth.tar").double()
    assert network.dropped == tuple(f"module.encoder_q.fc.{part}" for part in ("0.bias", "0.weight", "2.bias", "2.weight"))
    theirs = resnet50(weights=None)
    theirs.load_state_dict(resnet_state)
    trunk = nn.Sequential(*list(theirs.children())[:-1]).double().eval()
    pictures = images(1, 3, 192, 256)
    rows, columns = (torch.arange(224) * side // 224 for side in (192, 256))  # the nearest pixels
    with torch.no_grad():
        expected = trunk(pictures[:, :, rows][..., columns]).flatten(1)
        expected /= (expected**2).sum(1, keepdim=True).sqrt()
        agree(network(pictures)[expected > 1e-9], expected[expected > 1e-9], relative=1e-6)  # ReLU leaves zeros
    with pytest.raises(ValueError, match=r"^images: expected shape \[N, 3, H, W\]"):
        network(images(1, 224, 224, 3))


def test_moco_files(moco_file):
    state = moco_file["state_dict"]
    training = {
        "module.encoder_k.conv1.weight": torch.zeros(1),
        "module.queue": torch.zeros(1),
        "module.queue_ptr": torch.zeros(1),
    }
    whole = moco.from_checkpoint({"state_dict": state | training}, source="m.pt")
    assert len(whole.dropped) == 7 and "module.queue" in whole.dropped
    for change, message in [
        ({"model": state}, "expected the key 'state_dict', found the keys model"),
        ({"state_dict": {"conv1.weight": torch.zeros(1)}}, r"expected the tensors module.encoder_q.\*, found conv1.weight"),
        ({"state_dict": {k: v for k, v in state.items() if ".fc." not in k}}, "4 missing: fc.0.weight"),
        ({"state_dict": state | {"module.other": torch.zeros(1)}}, "1 unexpected: module.other"),
    ]:
        with pytest.raises(InvbenchError, match=f"^m.pt: .*{message}"):
            moco.from_checkpoint(change, source="m.pt")


# Hopenet ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hopenet_file(resnet_state) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(2)
    body = {key: value for key, value in without_counters(resnet_state).items() if not key.startswith("fc.")}
    heads = {}
    for name, shape in (("yaw", (66, 2048)), ("pitch", (66, 2048)), ("roll", (66, 2048)), ("finetune", (3, 2051))):
        heads[f"fc_{name}.weight"] = torch.randn(shape, generator=random) * 0.02
        heads[f"fc_{name}.bias"] = torch.randn(shape[:1], generator=random)
    return body | heads


def test_hopenet_is_a_resnet_with_three_classifiers(hopenet_file, resnet_state):
    network = hopenet.from_checkpoint(hopenet_file, source="hopenet.pkl").double()
    theirs = resnet50(weights=None)
    theirs.fc = nn.Linear(2048, 198)
    parts = ("yaw", "pitch", "roll")
    head = {f"fc.{kind}": torch.cat([hopenet_file[f"fc_{part}.{kind}"] for part in parts]) for kind in ("weight", "bias")}
    theirs.load_state_dict(resnet_state | head)
    pictures = images(1, 3, 224, 224)
    with torch.no_grad():
        normal = transforms.normalize((pictures + 1) / 2, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
        scores = theirs.double().eval()(normal).numpy().reshape(3, 66)
        found = network.angles(pictures)
        share = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        agree(found[0], (share * np.arange(66)).sum(1) * 3 - 99, relative=1e-6)
        assert found[0].std() > 1
        torch.testing.assert_close(network.yaw(pictures), found[:, 0])
        torch.testing.assert_close(network(pictures) * 198 - 99, found)
    assert network.names == ("yaw", "pitch", "roll") and network.high == (99.0,) * 3
    with pytest.raises(ValueError, match=r"^images: expected shape \[N, 3, 224, 224\], found"):
        network(images(1, 3, 256, 256))


def test_hopenet_files_that_do_not_fit(hopenet_file):
    short = {key: value for key, value in hopenet_file.items() if key != "fc_roll.bias"}
    with pytest.raises(InvbenchError, match=r"^h.pkl: .*1 missing: fc_roll.bias \[66\]"):
        hopenet.from_checkpoint(short, source="h.pkl")
    with pytest.raises(InvbenchError, match=r"^h.pkl: .*fc_yaw.bias \(expected \[66\], found \[62\]\)"):
        hopenet.from_checkpoint(hopenet_file | {"fc_yaw.bias": torch.zeros(62)}, source="h.pkl")


# Files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "module", "file", "legacy"),
    [
        ("facenet", facenet, "facenet_file", False),
        ("moco", moco, "moco_file", True),
        ("hopenet", hopenet, "hopenet_file", True),
    ],
)
def test_files_on_disk_are_recognised_and_load_safely(layout, module, file, legacy, request, tmp_path):
    content = request.getfixturevalue(file)
    path = tmp_path / "renamed.bin"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)  # the older two were saved before torch 1.6
    loaded = load_checkpoint(path)
    assert recognise(loaded).layout == layout
    network = module.from_checkpoint(loaded, source=str(path))
    expected = content.get("state_dict", content)
    name = next(key for key in expected if key.endswith("layer4.2.conv3.weight") or key == "last_linear.weight")
    assert torch.equal(network.get_parameter(name.removeprefix(moco.QUERY)), expected[name])
