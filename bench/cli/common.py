"""Options and parameter types that several verbs share."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invbench.plugins.registry import Registry, check_roles, discover, find
from invbench.util.names import listed
from invbench.util.numbers import LARGEST, count
from invbench.util.remote import is_address

if TYPE_CHECKING:
    from invbench.plugins.config import Suite


class Names(click.ParamType):
    """``a,b,c`` -> ("a", "b", "c"); commas in the names of existing folders do not separate."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names in ``value``, without blanks around them. Fails if there is none."""
        if isinstance(value, tuple):
            return value
        names = listed(value)
        if not names:
            self.fail("expected at least one name", param, ctx)
        return names


class PathType(click.Path):
    """A path, as :class:`pathlib.Path`. Refused are an empty one (a variable of a shell that is not set), a zero byte and a
    loop of links."""

    def __init__(self, *, exists: bool = False, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(exists=exists, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """``value`` as a path. Fails for those, and for what :class:`click.Path` refuses."""
        if not str(value) or "\0" in str(value):
            self.fail(f"expected a path, found {str(value)!r:.80}", param, ctx)
        try:
            os.stat(value)
        except OSError as error:
            if error.errno == errno.ELOOP:  # Path.resolve raises a RuntimeError of its own
                self.fail(f"expected a path, found a loop of links: {value}", param, ctx)
        return super().convert(value, param, ctx)


class RunFolder(PathType):
    """An existing run folder, or the address of one (``s3://bucket/run``), which is copied to this disk.

    pictures  whether the verb reads pictures and features; else only what tables need is copied
    """

    def __init__(self, *, pictures: bool, file_okay: bool = False) -> None:
        super().__init__(exists=True, file_okay=file_okay)
        self._pictures = pictures

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The folder. Raises InvbenchError where the address cannot be read."""
        if not (isinstance(value, str) and is_address(value)):
            return super().convert(value, param, ctx)
        from invbench.run import mirror

        return mirror.fetch(value, pictures=self._pictures, say=lambda line: click.echo(line, err=True))


class OutFolder(PathType):
    """A folder to be written, as a path, or the address of one, as text."""

    def __init__(self) -> None:
        super().__init__(file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, or the address."""
        return value if isinstance(value, str) and is_address(value) else super().convert(value, param, ctx)


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
        type=PathType(exists=True, dir_okay=False),
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
    type=PathType(exists=True, dir_okay=False),
    metavar="FILE.py",
    help="Python file that declares your own method, metric or dataset. Repeatable.",
)
in_process_option = click.option(
    "--in-process", is_flag=True, envvar="INVBENCH_IN_PROCESS", help="Let plug-ins work in this process, for a debugger."
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


def registry_of(config: Path | None, plugins: Iterable[Path]) -> Registry:
    """All plug-ins, and the methods behind commands of a configuration file."""
    from invbench.plugins import files

    registry = discover(plugins)
    if config is None or "methods" not in files.read(config):
        return registry
    from invbench.plugins.foreign import added  # imports pydantic

    return added(registry, config)


def suite_and_plugins(name: str, config: Path | None, plugins: Iterable[Path]) -> tuple[Suite, Registry]:
    """The suite of that name and all plug-ins. Raises InvbenchError for an unknown suite or a misspelt role."""
    from invbench.plugins.config import load

    suites, registry = load(config), registry_of(config, plugins)
    check_roles(registry, (role for one in suites.values() for role in one.networks))
    return find("suite", name, suites), registry


def share(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """The value of ``--shard``: "2/3" -> (2, 3)."""
    if value is None:
        return None
    number, of = map(count, value.partition("/")[::2])
    if number is None or of is None or number > of:
        raise click.BadParameter(f"expected I/N with I from 1 to N, found {value!r:.80}", ctx, param)
    return number, of


def batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """The value of ``--batch``: a number above 0, or None for "auto"."""
    if value == "auto":
        return None
    found = count(value)
    if found is None:
        raise click.BadParameter(f"expected 'auto' or a whole number from 1 to {LARGEST}, found {value!r:.80}", ctx, param)
    return found
