"""The training loop of all recipes: budget, checkpoints, resume, and export into the zoo.

A recipe is a class derived from :class:`Recipe`; :func:`fit` trains it. Random numbers depend only on the recipe's seed and the
step's number (:func:`step_rng`). So there is no generator state to save, and a resumed training draws the same numbers as an
uninterrupted one.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import math
import os
import platform
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from tqdm import tqdm

from invbench import packed
from invbench.api import InvbenchError
from invbench.methods.train.muon import Muon
from invbench.methods.train.precision import is_half, is_packed, round_as_exported

ZOO = Path(__file__).resolve().parents[1] / "zoo"  # resolves the links of an editable install, so that new weights are found
CHECKPOINT_SECONDS = 60.0
EMA_WARMUP = 10


@dataclass(frozen=True)
class Step:
    """The report of one training step: number of images seen, and named losses for the progress bar."""

    images: int
    losses: Mapping[str, float]


class Recipe(ABC):
    """One network in training. A subclass sets the fields below in ``__init__(self, *, seed, device, ...options)``.

    network     the module that is exported; ``type(network)(**config)`` must build it again
    config      plain values (JSON)
    heads       modules that are trained with it and not exported
    optimisers  optimisers, each with its peak learning rates
    ema         decay per step of the exported running mean of the weights; 0 exports the last weights
    float32     names of tensors that are exported in float32, because fp16 cannot hold them
    eight_bits  whether large tensors are exported in eight bits (:mod:`invbench.packed`)
    """

    network: nn.Module
    config: dict[str, Any]
    heads: nn.Module
    optimisers: list[torch.optim.Optimizer]
    ema: float = 0.0
    float32: tuple[str, ...] = ()
    eight_bits: bool = False

    @abstractmethod
    def step(self, index: int, progress: float) -> Step:
        """Do training step number ``index``; ``progress`` in [0, 1) is the used share of the budget."""

    def finish(self, network: nn.Module) -> None:  # noqa: B027 - most recipes have nothing to finish
        """Calibrate the network to be exported, or measure its statistics; called once, before :meth:`validate`."""

    @abstractmethod
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures of ``network`` (in eval mode, on the recipe's device) on held-out data, by name, for the manifest."""


@dataclass(frozen=True)
class Budget:
    """The length of a training: ``images`` if given (equal on every machine), else ``minutes`` of processor time.

    Processor time of all threads, so that other work on the machine does not shorten a training.
    """

    minutes: float
    images: int | None = None

    def progress(self, seconds: float, images: int) -> float:
        """The used share of the budget; 1 or more means that it is spent."""
        total, used = (self.images, images) if self.images is not None else (self.minutes * 60.0, seconds)
        return used / total if total > 0 else 1.0


@dataclass
class _Position:
    """The position of a training. ``seconds`` counts processor time of training only, without interruptions."""

    index: int = 0
    images: int = 0
    seconds: float = 0.0


def step_rng(seed: int, index: int, stream: int = 0) -> np.random.Generator:
    """The random generator of training step ``index``; each independent use in a step has its own ``stream``."""
    return np.random.default_rng([seed, stream, index])


def step_generator(seed: int, index: int, stream: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """The torch generator of a training step, as :func:`step_rng`."""
    generator = torch.Generator(device)
    return generator.manual_seed(int(step_rng(seed, index, stream).integers(2**62)))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initial weights that are drawn within depend on ``seed`` alone; the random state outside stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def cosine(progress: float, *, warmup: float = 0.03, floor: float = 0.02) -> float:
    """Factor on the learning rate: a linear rise over the share ``warmup`` of the budget, then half a cosine to ``floor``."""
    if progress < warmup:
        return max(progress / warmup, 0.01)
    phase = min((progress - warmup) / (1.0 - warmup), 1.0)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * phase))


def descend(
    losses: Tensor | Iterable[Tensor],
    optimisers: Iterable[torch.optim.Optimizer],
    scale: float,
    *,
    clip: float | None = None,
) -> None:
    """Do one gradient step of all ``optimisers`` at ``scale`` times their peak rates; ``clip`` bounds each gradient norm.

    The gradients of several losses are added. Each loss is requested after the backward pass of the previous one, so a
    generator of losses holds one graph at a time.
    Raises FloatingPointError if a loss is not finite, so that diverged weights are never checkpointed.
    """
    optimisers = list(optimisers)
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    for loss in [losses] if isinstance(losses, Tensor) else losses:
        if not torch.isfinite(loss):
            raise FloatingPointError(f"training diverged: the loss is {loss.item()}")
        loss.backward()
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * scale
            if clip is not None:
                nn.utils.clip_grad_norm_(group["params"], clip)
        optimiser.step()


def muon_and_adam(
    body: nn.Module, head: nn.Module | None = None, *, kernels: float = 0.03, rest: float = 4e-3
) -> list[torch.optim.Optimizer]:
    """Optimisers of a small convolutional network: Muon for the kernels and matrices of ``body``, Adam for the rest.

    ``kernels`` and ``rest`` are peak rates. Muon suits layers that are followed by a normalisation; it makes a ``head`` with
    unnormalised outputs unstable. After 4,096 pictures the regressor explained 0.35 of the factors' variance with Muon, and
    0.13 with AdamW at 4e-3 alone.
    """
    small = [parameter for parameter in body.parameters() if parameter.ndim <= 1] + list(head.parameters() if head else [])
    return [Muon([p for p in body.parameters() if p.ndim > 1], kernels), torch.optim.Adam(small, lr=rest)]


def fit(
    recipe: Recipe,
    name: str,
    *,
    budget: Budget,
    seed: int,
    device: torch.device | str = "cpu",
    folder: Path | None = None,
    zoo: Path | None = None,
    fresh: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Path:
    """Train ``recipe`` until the budget is spent and export it as ``zoo/<name>.safetensors`` with its manifest.

    ``zoo`` None means the zoo of the checkout. A checkpoint is written to ``folder`` (``runs/train/<name>``) every
    ``checkpoint_seconds`` and on interruption; the next call continues from it unless ``fresh``. A finished training continues
    if it is called again with a larger budget.
    Returns the path of the weights. Raises InvbenchError if the checkpoint belongs to another recipe, seed or shape, and
    without ``zoo`` outside a checkout.
    """
    zoo = zoo or checkout() / "methods" / "zoo"
    folder = folder or Path("runs") / "train" / name
    path = folder / "checkpoint.safetensors"
    identity = {"name": name, "seed": seed, "config": recipe.config}
    average = copy.deepcopy(recipe.network).requires_grad_(False) if recipe.ema else None
    position = _Position()
    if path.exists() and not fresh:
        position = load_checkpoint(path, recipe, average, identity)
    saved = time.monotonic()
    started = time.process_time() - position.seconds
    losses: dict[str, float] = {}
    recipe.network.train()
    with tqdm(total=1000, desc=name, bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}") as bar:
        try:
            while (progress := budget.progress(position.seconds, position.images)) < 1.0:
                step = recipe.step(position.index, progress)
                if average is not None:
                    update_average(average, recipe.network, decay=recipe.ema, index=position.index)
                position.index += 1
                position.images += step.images
                position.seconds = time.process_time() - started
                losses = {key: 0.95 * losses.get(key, value) + 0.05 * value for key, value in step.losses.items()}
                bar.n = min(int(progress * 1000), 1000)
                bar.set_postfix({**losses, "images/s": position.images / position.seconds}, refresh=False)
                bar.update(0)
                if time.monotonic() - saved > checkpoint_seconds:
                    save_checkpoint(path, recipe, average, identity, position, losses)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            save_checkpoint(path, recipe, average, identity, position, losses)
            raise
        bar.n = 1000
    if position.index:
        save_checkpoint(path, recipe, average, identity, position, losses)
    network = (average if average is not None else recipe.network).eval()
    round_as_exported(network, recipe.float32, eight_bits=recipe.eight_bits)
    recipe.finish(network)
    record = {
        "recipe": f"{type(recipe).__module__}:{name}",
        "commit": git_commit([type(recipe), type(network)]),
        "seed": seed,
        "images": position.images,
        "minutes": round(position.seconds / 60.0, 2),
        "machine": machine_kind(device),
        "torch": torch.__version__,
        "validation": {key: float(f"{value:.5g}") for key, value in recipe.validate(network).items()},
    }
    path = zoo / f"{name}.safetensors"
    return save_network(path, network, recipe.config, record, float32=recipe.float32, eight_bits=recipe.eight_bits)


def update_average(average: nn.Module, network: nn.Module, *, decay: float, index: int) -> None:
    """Move ``average`` towards ``network``; the decay rises from 0.1 to ``decay`` over the first steps. Buffers are copied."""
    decay = min(decay, (1 + index) / (EMA_WARMUP + index))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)
        for buffer, latest in zip(average.buffers(), network.buffers(), strict=True):
            buffer.copy_(latest)


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    average: nn.Module | None,
    identity: Mapping[str, Any],
    position: _Position,
    losses: Mapping[str, float],
) -> None:
    """Write the state of a training into one file, atomically: tensors, and the rest as JSON metadata."""
    tensors = {f"{part}.{key}": value for part, module in _parts(recipe, average) for key, value in module.state_dict().items()}
    groups: list[Any] = []
    scalars: dict[str, Any] = {}
    for number, optimiser in enumerate(recipe.optimisers):
        state = optimiser.state_dict()
        groups.append(state["param_groups"])
        for parameter, values in state["state"].items():
            for key, value in values.items():
                label = f"optimiser{number}.{parameter}.{key}"
                (tensors if isinstance(value, Tensor) else scalars)[label] = value
    rest = {"identity": identity, "position": vars(position), "groups": groups, "scalars": scalars}
    write_atomic(path, to_safetensors(_own(tensors), {"training": json.dumps(rest)}))
    with (path.parent / "log.jsonl").open("a") as log:
        log.write(json.dumps({**vars(position), **losses}) + "\n")


def load_checkpoint(path: Path, recipe: Recipe, average: nn.Module | None, identity: Mapping[str, Any]) -> _Position:
    """Restore the state from :func:`save_checkpoint`. Raises InvbenchError if the file is not of this training."""
    try:
        with safe_open(path, "pt") as file:
            rest = json.loads(file.metadata()["training"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except Exception as error:
        raise InvbenchError(f"{path}: expected a training checkpoint, found {error}; --fresh starts anew") from error
    expected = json.loads(json.dumps(identity))
    if rest["identity"] != expected:
        found = rest["identity"]
        raise InvbenchError(f"{path}: expected a checkpoint of {expected}, found one of {found}; --fresh starts anew")
    try:
        for part, module in _parts(recipe, average):
            module.load_state_dict({key: tensors[f"{part}.{key}"] for key in module.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise InvbenchError(f"{path}: does not fit the network of this recipe ({error}); --fresh starts anew") from error
    for number, (optimiser, groups) in enumerate(zip(recipe.optimisers, rest["groups"], strict=True)):
        state: dict[int, dict[str, Any]] = {}
        for label, value in [*tensors.items(), *rest["scalars"].items()]:
            if label.startswith(f"optimiser{number}."):
                _, parameter, key = label.split(".", 2)
                state.setdefault(int(parameter), {})[key] = value
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    return _Position(**rest["position"])


def save_network(
    path: Path,
    module: nn.Module,
    config: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    float32: Sequence[str] = (),
    eight_bits: bool = False,
) -> Path:
    """Export ``module`` in fp16 safetensors with metadata ``config`` (JSON), and ``record`` beside it as ``.json``.

    With ``eight_bits`` large tensors are packed (:mod:`invbench.packed`).

    There is only one metadata key, since safetensors writes several in random order and equal weights must give equal bytes.
    ``float32`` names tensors that keep their precision; statistics of batch normalisation, integers and booleans always do.
    Raises InvbenchError if a tensor is not finite in its exported precision, and ValueError for an unknown name.
    """
    state = module.state_dict()
    if unknown := set(float32) - set(state):
        raise ValueError(f"float32: expected names of {sorted(state)}, found {sorted(unknown)}")
    tensors = {}
    for key, value in state.items():
        small = value.half() if is_half(key, value, float32) else value
        if value.is_floating_point() and not torch.isfinite(small).all():
            raise InvbenchError(f"{path}: tensor {key!r} is not finite as {small.dtype}; it cannot be exported")
        if eight_bits and is_packed(key, value, float32):
            tensors[key], tensors[key + packed.SCALE] = packed.pack(value)
        else:
            tensors[key] = small
    kind = f"{type(module).__module__}:{type(module).__qualname__}"
    data = to_safetensors(_own(tensors), {"config": json.dumps(dict(config), sort_keys=True)})
    manifest = {"file": path.name, "class": kind, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **record}
    write_atomic(path, data)
    write_atomic(path.with_suffix(".json"), (json.dumps(manifest, indent=2) + "\n").encode())
    return path


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that readers see the old file or the new one, even after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def machine_kind(device: torch.device | str) -> str:
    """The kind of machine as text: the GPU's name, or the CPU's name with the number of threads in use."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {torch.get_num_threads()} thread(s)"


def checkout() -> Path:
    """The folder of the checkout that this module belongs to. Raises InvbenchError for an installed copy."""
    root = ZOO.parents[1]
    if not (root / "pyproject.toml").is_file():
        raise InvbenchError(f"{ZOO}: expected the zoo of a checkout, found an installed copy; name a folder by --zoo")
    return root


def git_commit(sources: Iterable[type]) -> str:
    """The commit of the checkout, with ``-modified`` if a file that defines one of ``sources`` differs from it."""
    try:
        root = checkout()
        files = sorted({str(Path(inspect.getfile(source)).resolve()) for source in sources})
        head, changes = (
            subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", *files])
        )
    except (InvbenchError, OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("-modified" if changes else "")


def _parts(recipe: Recipe, average: nn.Module | None) -> list[tuple[str, nn.Module]]:
    parts = [("network", recipe.network), ("heads", recipe.heads)]
    return parts if average is None else [*parts, ("average", average)]


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU: safetensors refuses tensors that share memory."""
    return {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
