"""A machine with official files: weights dropped under meaningless names, pictures prepared, all through the command line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result

from invbench.cli import main
from invbench.plugins.config import load
from invbench.plugins.registry import Registry, discover
from tests.e2e import pictures, weights

SUITES = load()
STEP = "steps"  # the unit of options that count optimisation steps


def call(*words: object) -> Result:
    """One call of ``invbench``."""
    return CliRunner().invoke(main, [str(word) for word in words])


def prepare(homes: Sequence[str], root: Path) -> None:
    """Write the files of datasets and prepare them; each says that it is a part only."""
    for home in homes:
        done = call("datasets", "prepare", home, "--root", pictures.write(home, root / home), "--partial", "--quiet")
        assert done.exit_code == 0, done.output


def homes(suite: str, registry: Registry) -> list[str]:
    """What has to be prepared for the datasets of a suite."""
    return list(dict.fromkeys(registry.datasets[name].home for name in SUITES[suite].datasets))


def assets(suite: str) -> list[str]:
    """Ids of the official files of a suite."""
    return weights.needed(SUITES[suite].networks.values())


def few_steps(methods: Sequence[str], count: int) -> list[str]:
    """``--set METHOD.OPTION=count`` for all that counts steps."""
    specs = discover().methods
    found = [f"{m}.{name}={count}" for m in methods for name, option in specs[m].options.items() if option.unit == STEP]
    return [word for item in found for word in ("--set", item)]


class Stopwatch:
    """Says how long each part took, and how long this process worked on it."""

    def __init__(self, name: str) -> None:
        self.name, self.last = name, (time.perf_counter(), time.process_time())

    def __call__(self, part: str) -> None:
        now = time.perf_counter(), time.process_time()
        wall, own = (after - before for before, after in zip(self.last, now))
        print(f"{self.name}: {part}: {wall:.1f} s, of which {own:.1f} s at work", flush=True)
        self.last = now
