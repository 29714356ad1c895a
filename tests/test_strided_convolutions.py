"""No network takes the path on which oneDNN writes out of bounds: a 1x1 convolution with a stride.

On processors with AVX2 and no AVX-512 its backward pass ends in a segmentation fault (one thread) or never (two threads);
``ONEDNN_MAX_CPU_ISA`` makes every other processor behave as those do.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import invbench.methods.nets
import invbench.metrics.nets
from invbench.methods.nets.biggan import BigGAN, published
from invbench.methods.nets.deeplab import DeepLab
from invbench.methods.train.common import ZOO
from invbench.methods.train.frozen import load_frozen
from tests.checkout import PROJECT

FEWEST = 8  # channels that a convolution of a library may have for its stride: below, oneDNN takes the faulty path
FOLDERS = ("metrics", "methods", "tests")

CHILD = """
import sys
import torch
from torch.nn import functional as F
from invbench.methods.nets.deeplab import DeepLab
from invbench.metrics.nets.irse import Unit
from invbench.metrics.nets.layers import Pointwise

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)

def gradients(layer, x):
    given = x.requires_grad_()
    y = layer(given)
    y.backward(torch.linspace(-1, 1, y.numel()).view(y.shape).to(y))
    return [given.grad, *(parameter.grad for parameter in layer.parameters())]

def error(found, true):
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in zip(found, true, strict=True))

for stride, side in ((2, 32), (2, 17), (3, 33)):
    x = torch.randn(4, 4, side, side).contiguous(memory_format=torch.channels_last)
    layer = Pointwise(4, 8, stride=stride).to(memory_format=torch.channels_last)
    weight = layer.weight.detach().double().requires_grad_()
    exact = x.double().requires_grad_()
    y = F.conv2d(exact, weight, stride=stride)
    assert layer(x).shape == y.shape
    y.backward(torch.linspace(-1, 1, y.numel()).view(y.shape).to(y))
    print("pointwise", stride, side, error(gradients(layer, x), [exact.grad, weight.grad]))

for name, network, channels in (
    ("unit", Unit(4, 8, stride=2), 4),
    ("deeplab", DeepLab(2, planes=(1, 2, 2, 2), stem=4, width=8, low_level=4, dropouts=(0.0, 0.0, 0.0)), 3),
):
    x = torch.randn(4, channels, 32, 32).contiguous(memory_format=torch.channels_last)
    network = network.to(memory_format=torch.channels_last)
    found = gradients(network, x.clone())
    network.zero_grad()
    assert all(bool(one.isfinite().all()) for one in found)
    print(name, 32, 32, 0.0)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.timeout(200)
def test_gradients_are_right_on_a_processor_without_avx512(threads: int) -> None:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, str(threads)]
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-2000:]}"
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["pointwise"] * 3 + ["unit", "deeplab"]
    assert all(float(row[-1]) < 1e-5 for row in rows), done.stdout


def strided(source: str) -> list[int]:
    """Lines of ``source`` that make an ``nn.Conv2d`` of size 1 with a stride that is, or may be, more than 1."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func).rpartition(".")[2] != "Conv2d":
            continue
        given = dict(zip(("in_channels", "out_channels", "kernel_size", "stride"), node.args))
        given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        size, stride = (ast.unparse(given[name]) if name in given else "1" for name in ("kernel_size", "stride"))
        if size in ("1", "(1, 1)") and stride not in ("1", "(1, 1)"):
            lines.append(node.lineno)
    return lines


def test_the_sources_make_no_strided_convolution_of_one_pixel() -> None:
    paths = [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*.py"))]
    assert len(paths) > 50
    found = [f"{path.relative_to(PROJECT)}:{line}" for path in paths for line in strided(path.read_text())]
    assert not found, f"expected metrics.nets.layers.Pointwise, found nn.Conv2d of size 1 with a stride: {', '.join(found)}"


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ("nn.Conv2d(4, 8, 1, stride=2, bias=False)", True),
        ("nn.Conv2d(4, 8, 1, 2)", True),
        ("torch.nn.Conv2d(4, 8, kernel_size=(1, 1), stride=stride)", True),
        ("nn.Conv2d(4, 8, 1)", False),
        ("nn.Conv2d(4, 8, 1, stride=1)", False),
        ("nn.Conv2d(4, 8, 3, stride=2)", False),
    ],
)
def test_a_new_one_is_caught(line: str, caught: bool) -> None:
    assert strided(f"layer = {line}") == ([1] if caught else [])


def networks() -> Iterator[tuple[str, nn.Module]]:
    """The networks of the zoo, and every published one: what stands in ``metrics.nets`` and ``methods.nets`` and needs no
    argument, built without memory."""
    for path in sorted(ZOO.glob("*.safetensors")):
        yield path.stem, load_frozen(path.stem)
    with torch.device("meta"):
        yield "DeepLab", DeepLab(2)
        yield "BigGAN", BigGAN(**published(128).to_dict())
    for package in (invbench.metrics.nets, invbench.methods.nets):
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for name, cls in inspect.getmembers(module, inspect.isclass):
                if not issubclass(cls, nn.Module) or cls.__module__ != module.__name__ or name.startswith("_"):
                    continue
                if cls is BigGAN:  # above: its config has no default
                    continue
                wanted = inspect.signature(cls).parameters.values()
                if all(one.default is not one.empty or one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL) for one in wanted):
                    with torch.device("meta"):
                        yield name, cls()


@pytest.mark.filterwarnings("ignore:.*meta parameter.*:UserWarning")  # face detectors read their files as they are built
def test_no_network_has_one_with_few_channels() -> None:
    seen, found = set(), []
    for name, network in networks():
        seen.add(name)
        found += [
            f"{name}.{path}: {layer}"
            for path, layer in network.named_modules()
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and max(layer.stride) > 1
            if layer.in_channels // layer.groups < FEWEST
        ]
    assert {"BiSeNet", "DeepLab", "E4EEncoder", "Hopenet", "MoCo", "e4e", "invertibility"} <= seen, sorted(seen)
    assert not found, found
