"""``python -m invbench.methods.train NAME``: train a network of the zoo and export it with its manifest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from invbench.api import InvbenchError
from invbench.methods.train.catalogue import find_recipe, recipes
from invbench.util import streams
from invbench.util.ending import end
from invbench.util.errors import tell
from invbench.util.numbers import SEEDS, WORKERS, Within, count_type
from invbench.util.startup import settle

EPILOG = """\b
Examples
  python -m invbench.methods.train parser --minutes 5 --threads 1
  python -m invbench.methods.train hyperinverter --set hidden=64 --as hyperinverter_d64   a variant, under its own name
"""


@click.command(epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--minutes", type=Within(0, min_open=True), help="Budget in minutes of processor time; default: the recipe's.")
@click.option("--images", type=count_type(1), help="Budget in training images instead of minutes.")
@click.option("--device", default="cpu", show_default=True, help="Torch device, such as cpu or cuda:0.")
@click.option("--set", "changes", multiple=True, metavar="OPTION=VALUE", help="Another value of an option of the recipe.")
@click.option("--as", "alias", help="Name of the file that is written; needed with --set. [default: NAME]")
@click.option("--seed", type=count_type(0, SEEDS - 1), help="Seed of weights and data; default: that of the recipe.")
@click.option("--threads", type=count_type(1, WORKERS), help="CPU threads of torch; default: torch's choice.")
@click.option("--fresh", is_flag=True, help="Ignore any checkpoint and start again.")
@click.option("--zoo", type=click.Path(path_type=Path, file_okay=False), help="Folder of weights; default: the checkout's zoo.")
@click.option("--list", "list_only", is_flag=True, help="List the recipes.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def main(
    name: str | None,
    minutes: float | None,
    images: int | None,
    device: str,
    changes: tuple[str, ...],
    alias: str | None,
    seed: int | None,
    threads: int | None,
    fresh: bool,
    zoo: Path | None,
    list_only: bool,
) -> None:
    """Train the network NAME of the zoo. An interrupted training continues from its last checkpoint."""
    settle()
    if list_only:
        for spec in recipes().values():
            click.echo(f"{spec.name:20s} {spec.minutes:5.1f} min  {spec.help}")
        return
    if name is None:
        raise click.UsageError("expected the NAME of a recipe; --list shows them")
    spec = find_recipe(name).changed(changes)
    if (changes and alias is None) or (alias is not None and (not alias.isidentifier() or alias in recipes())):
        raise InvbenchError(f"--as: expected a name of its own (letters, digits and _) for a variant, found {alias!r}")

    import torch

    from invbench.methods.train.common import Budget, fit

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvbenchError(f"--device: expected cpu, or cuda:N of this machine, found {device!r} ({error})") from error
    if threads is not None:
        torch.set_num_threads(threads)
    seed = spec.seed if seed is None else seed
    budget = Budget(minutes=spec.minutes if minutes is None else minutes, images=images)
    recipe = spec.build(seed=seed, device=device)
    path = fit(recipe, alias or name, budget=budget, seed=seed, device=device, zoo=zoo, fresh=fresh)
    manifest = json.loads(path.with_suffix(".json").read_text())
    click.echo(json.dumps(manifest["validation"], indent=2))
    click.echo(f"wrote {path} ({manifest['bytes'] / 1e6:.2f} MB)")


def program() -> int:
    """Run the command line. Returns the exit code (docs/exit_codes.md)."""
    streams.prepare()
    try:
        return main.main(standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (Exception, KeyboardInterrupt) as error:
        return tell(error, debug="--debug" in sys.argv)


if __name__ == "__main__":
    end(program(), tell=lambda error: tell(error, debug="--debug" in sys.argv))
