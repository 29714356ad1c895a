"""Options and parameter types that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invbench.plugins.registry import find

if TYPE_CHECKING:
    from invbench.plugins.config import Suite


class Names(click.ParamType):
    """``a,b,c`` -> ("a", "b", "c")."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail("expected at least one name", param, ctx)
        return names


config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file laid over the suites: it holds only what differs.",
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.py",
    help="A file that declares a method, metric or dataset of yours. Repeatable.",
)
suite_option = click.option("--suite", default="procfaces", show_default=True, help="See `invbench list suites`.")


def find_suite(name: str, config: Path | None) -> Suite:
    """The suite of that name; raises InvbenchError with the nearest one when there is none."""
    from invbench.plugins.config import load  # pydantic takes a while to import, and `list methods` does without

    return find("suite", name, load(config))


def batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """The value of ``--batch``: a number above 0, or None for "auto"."""
    if value == "auto":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"expected 'auto' or a whole number above 0, found {value!r}", ctx, param)
    return int(value)
