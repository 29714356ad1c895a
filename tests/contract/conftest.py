"""What the contract tests are run with: one case a method, networks, pictures, a clock."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invbench.api import Edit, Inversion, Method
from invbench.options import at_least
from invbench.plugins import pairs, registry
from invbench.plugins.config import Suite, load
from invbench.plugins.selection import default_preset, resolve
from invbench.specs import MethodSpec
from invbench.util.clock import StageClock
from invbench.weights.networks import Networks
from tests.checkout import PROJECT
from tests.contract.stand_ins import conditional, stand_ins

IMAGES = 3
STEPS = 3  # of every option that counts steps: the contract does not need good pictures
EXAMPLE = PROJECT / "docs" / "plugin_example.py"
SUITE = "procfaces"


@dataclass(frozen=True)
class Case:
    """A method of a preset, and whether it runs on the suite's networks or on small random ones."""

    spec: MethodSpec
    preset: str
    toy: bool

    def __str__(self) -> str:
        return f"{self.spec.id}:{self.preset}"


@dataclass(frozen=True)
class Built:
    """A method with short options, the pictures [N, 3, H, W] it gets, and one edit that its suite knows."""

    case: Case
    suite: Suite
    method: Method
    images: Tensor
    edit: str

    def invert(self, images: Tensor) -> tuple[Inversion, StageClock]:
        with StageClock() as clock:
            inversion = self.method.invert(images, clock)
        return inversion, clock

    def change(self, inversion: Inversion, strength: float) -> Tensor:
        with StageClock() as clock:
            return self.method.edit(inversion, Edit(self.edit, strength), clock)


def cases(plugins: list[Path]) -> list[Case]:
    """Every preset of every registered method and of the plug-ins, and the example of the documentation."""
    own = registry.discover([EXAMPLE]).methods["nearest"]
    known = registry.discover(plugins).methods
    found = [Case(own, default_preset(own), toy=True)]
    for spec in known.values():
        found += [Case(spec, preset, toy=False) for preset in spec.presets or [default_preset(spec)]]
    return found


def plugin_files(config: pytest.Config) -> list[Path]:
    """The files of ``--plugin``."""
    return [Path(name) for name in config.getoption("--plugin")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "built" in metafunc.fixturenames:
        chosen = cases(plugin_files(metafunc.config))
        metafunc.parametrize("built", chosen, ids=map(str, chosen), indirect=True, scope="module")


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest) -> Built:
    case: Case = request.param
    suite, networks, images = _toy() if case.toy else _real()
    if pairs.foreign_space(case.spec, suite.spaces):
        suite, networks, images = _conditional()
    options = {
        name: min(value, at_least(case.spec.options[name], STEPS)) if case.spec.options[name].unit == "steps" else value
        for name, value in resolve(suite, case.spec, case.preset).items()
    }
    torch.manual_seed(0)  # a method must not depend on it; test_same_bytes_twice sets another
    lacking = [role for role in case.spec.roles if role not in networks]
    if lacking:
        pytest.skip(f"suite {suite.id} has no network for {', '.join(lacking)}")
    if case.spec.id in suite.without:
        pytest.skip(f"suite {suite.id} does not run it: {suite.without[case.spec.id]}")

    def chosen(spec: MethodSpec, own: Mapping[str, Any]) -> dict[str, nn.Module]:
        return {role: networks[role] for role in Networks.roles(networks, spec, own)}

    method = registry.build(case.spec, options, chosen)
    return Built(case, suite, method, images.clone(), next(iter(suite.edits)))


@pytest.fixture(scope="module")
def inverted(built: Built) -> tuple[Inversion, StageClock]:
    return built.invert(built.images.clone())


@cache
def _real() -> tuple[Suite, Mapping[str, nn.Module], Tensor]:
    """The embedded suite, its networks of the zoo or stand-ins, and its first pictures with occluders."""
    suite = load()[SUITE]
    spec = registry.datasets()["procfaces-test-ood"]
    dataset: Any = registry.load(spec)(**spec.options)
    pictures = [torch.from_numpy(dataset.read(i).picture.copy()) for i in range(IMAGES)]
    networks = Networks(suite)
    networks = ChainMap(stand_ins(networks["generator"], suite.networks), networks)
    return suite, networks, torch.stack(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def _conditional() -> tuple[Suite, Mapping[str, nn.Module], Tensor]:
    """The embedded suite with a small class-conditional generator in place of its own one."""
    suite, networks, images = _real()
    own = suite.model_copy(update={"spaces": ("z", "z+")})
    return own, ChainMap(conditional(list(suite.edits)), dict(networks)), images


@cache
def _toy() -> tuple[Suite, Mapping[str, nn.Module], Tensor]:
    """A suite of 16x16 with an untrained generator: it needs no files, so the harness's own example always runs."""
    from invbench.methods.directions.linear import Directions
    from invbench.methods.nets.stylegan2 import Generator

    suite = Suite.model_validate(
        {
            "id": "toy",
            "title": "untrained",
            "resolution": 16,
            "datasets": [],
            "collections": {"none": []},
            "default": "none",
            "edits": {"age": {"unit": "years", "per_strength": 5, "strengths": [-1, 1]}},
        }
    )
    rng = torch.Generator().manual_seed(1)
    generator = Generator({"resolution": 16, "channels": {4: 8, 8: 8, 16: 8}, "z_dim": 8, "w_dim": 8, "n_mapping": 2})
    directions = Directions(["age"], generator.num_ws, 8)
    networks = nn.ModuleDict({"generator": generator, "directions": directions}).eval().requires_grad_(False)
    with torch.no_grad():
        for tensor in [*networks.parameters(), directions.vectors]:
            tensor.copy_(torch.randn(tensor.shape, generator=rng))
        images = generator(torch.randn(IMAGES, 8, generator=rng)).clamp(-1, 1)
    return suite, dict(networks.items()), images
