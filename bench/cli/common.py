"""Options and parameter types that several verbs share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invbench.plugins.registry import Registry, check_roles, discover, find

if TYPE_CHECKING:
    from invbench.plugins.config import Suite


class Names(click.ParamType):
    """``a,b,c`` -> ("a", "b", "c")."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names in ``value``, without blanks around them. Fails if there is none."""
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail("expected at least one name", param, ctx)
        return names


class Within(click.FloatRange):
    """A range of numbers that never admits NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """``value`` as a number. Fails outside the range and for NaN."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"expected a number in the range {self._describe_range()}, found {value}", param, ctx)
        return number


def _file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """The user's file: the one given, else bench.toml in the working directory, else None."""
    from invbench.plugins.files import here

    return value or here()


def _file_with_defaults(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """The same; its table ``[defaults]`` sets the defaults of the verb's options."""
    path = _file(ctx, param, value)
    if path is not None and not ctx.resilient_parsing:
        from invbench.plugins.config import defaults

        known = {option.name for option in ctx.command.params}
        ctx.default_map = {name: str(value) for name, value in defaults(path).options.items() if name in known}
    return path


def _config(callback: Callable[..., Path | None]) -> Callable[[Any], Any]:
    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        is_eager=True,  # parsed before the options whose defaults it may set
        callback=callback,
        help="Configuration file to use instead of ./bench.toml; it holds only what differs from the package's.",
    )


config_option = _config(_file_with_defaults)
plain_config_option = _config(_file)  # for verbs that list: they have no options with defaults
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.py",
    help="Python file that declares your own method, metric or dataset. Repeatable.",
)
overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="METHOD.OPTION=VALUE",
    help="Repeatable. See `invbench list methods --long`: options with ranges and choices.",
)
suite_option = click.option("--suite", default="procfaces", show_default=True, help="See `invbench list suites`.")


def find_suite(name: str, config: Path | None) -> Suite:
    """The suite of that name. Raises InvbenchError with the nearest name if there is none."""
    from invbench.plugins.config import load  # importing pydantic is slow, and `list methods` does not need it

    return find("suite", name, load(config))


def suite_and_plugins(name: str, config: Path | None, plugins: Iterable[Path]) -> tuple[Suite, Registry]:
    """The suite of that name and all plug-ins. Raises InvbenchError for an unknown suite or a misspelt role."""
    from invbench.plugins.config import load

    suites, registry = load(config), discover(plugins)
    check_roles(registry, (role for one in suites.values() for role in one.networks))
    return find("suite", name, suites), registry


def batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """The value of ``--batch``: a number above 0, or None for "auto"."""
    if value == "auto":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"expected 'auto' or a whole number above 0, found {value!r}", ctx, param)
    return int(value)
