"""Foreign methods: code of others behind a command, declared by ``[methods.ID]`` of a configuration file.

    [methods.mine]
    folder = "../official"                                     where commands run; its files are part of the recipe
    invert = "python invert.py --in {inputs} --out {outputs}"  a text (cut as a shell cuts words; no shell runs it) or a list
    edit = ["python", "edit.py", "{edit}", "{strength}"]       may be left out
    edits.age = { name = "old", scale = 0.5 }                  the edits that it can make, in its own words; none: all
    options = { steps = 350 }                                  {steps} in a command; also for --set and suites

What the commands get and give is told in :mod:`invbench.run.foreign`.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

from pydantic import Field, Strict, ValidationError, field_validator, model_validator

from invbench.api import Edit, InvbenchError
from invbench.options import declare
from invbench.plugins import files
from invbench.plugins.declarations import ID
from invbench.plugins.frozen import Frozen
from invbench.plugins.registry import Registry
from invbench.specs import MethodSpec
from invbench.util.names import unknown

ENTRY = "invbench.run.foreign.collected:Collected"
PLACES = ("exchange", "inputs", "outputs", "latents", "edits", "work", "times")  # paths of one start
FACTS = ("folder", "here", "device", "gpu", "threads", "seed", "size", "run")
OF_EDIT = ("edit", "strength", "edit_folder")  # of a command that is started for each edit
STARTUP = 600.0  # seconds
Command = Annotated[tuple[str, ...], Field(min_length=1)]
Seconds = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Factor = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class ForeignEdit(Frozen):
    """An edit in the words of foreign code: its name there, and how much of its strength is one of the suite's."""

    name: str = Field(min_length=1)
    scale: Factor = 1.0


class Foreign(Frozen):
    """The table ``[methods.ID]``.

    folder    where commands are run, and whose files are hashed; relative to the file that names it
    invert    command that makes ``outputs`` (and ``latents``) of ``inputs``
    edit      command that makes ``edits``; with {edit}, {strength} or {edit_folder} it is started for each edit, else once
    edits     edit of the suite -> its name and scale there; empty: all edits, by the suite's names. With this table and without
              ``edit`` the pictures of edits are expected of ``invert``
    options   name -> value, a placeholder of the commands
    env       variables beside those of this process
    ignore    patterns of paths below ``folder`` that are not hashed
    startup   seconds that a start may take beyond ``--limit`` times the number of pictures
    stop      command that ends what no signal reaches (a container, say) when a start is cut off; {run} is its name
    """

    title: str = ""
    paper: str = ""
    venue: str = ""
    summary: str = ""
    folder: Path
    invert: Command
    edit: Command = ()
    edits: dict[str, ForeignEdit] = {}
    options: dict[str, Any] = {}
    env: dict[str, str] = {}
    ignore: tuple[str, ...] = ()
    startup: Seconds = STARTUP
    stop: Command = ()
    here: Path = Path()  # the folder of the file that this stands in

    @field_validator("invert", "edit", "stop", mode="before")
    @classmethod
    def _words(cls, command: Any) -> Any:
        try:
            return shlex.split(command) if isinstance(command, str) else command
        except ValueError as error:
            raise ValueError(f"expected words as a shell reads them: {error}") from error

    @field_validator("edits", mode="before")
    @classmethod
    def _names(cls, edits: Any) -> Any:
        if isinstance(edits, Mapping):
            return {name: {"name": one} if isinstance(one, str) else one for name, one in edits.items()}
        return edits

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Foreign:
        taken = {*PLACES, *FACTS, *OF_EDIT} & set(self.options)
        if taken:
            raise ValueError(f"options: {sorted(taken)[0]!r}: expected a name that no placeholder has")
        plain = {*PLACES, *FACTS, *self.options}
        for key in ("invert", "edit", "stop"):
            known = plain | {*OF_EDIT} if key == "edit" else plain
            for word in getattr(self, key):
                for name in placeholders(word):
                    if name not in known:
                        raise ValueError(f"{key}: {unknown('placeholder', name, known)}; a brace is written twice")
        return self

    @property
    def edits_one_by_one(self) -> bool:
        """Whether the command for edits is started for each edit."""
        return any(name in OF_EDIT for word in self.edit for name in placeholders(word))

    def able(self, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
        """Those of the suite's edits that the method can make."""
        if not self.edits:
            return edits if self.edit else ()
        return tuple(edit for edit in edits if edit.name in self.edits)

    def words(self, edit: Edit) -> tuple[str, float]:
        """Name and strength of an edit as the foreign code has them."""
        own = self.edits.get(edit.name, ForeignEdit(name=edit.name))
        return own.name, edit.strength * own.scale

    def program(self, key: str) -> str | None:
        """The program that a command starts, or None if there is none of its name. A placeholder may stand for it."""
        first = getattr(self, key)[0]
        if [*placeholders(first)]:
            return first
        beside = self.folder / first
        return str(beside) if "/" in first and beside.is_file() else shutil.which(first)


def placeholders(word: str) -> Iterator[str]:
    """The names in braces in a word. Raises ValueError for anything else in braces."""
    for _, name, form, conversion in Formatter().parse(word):
        if name is None:
            continue
        if form or conversion or not name.isidentifier():
            raise ValueError(f"expected {{NAME}}, found braces around {name!r} in {word!r:.80}; a brace is written twice")
        yield name


def filled(command: tuple[str, ...], values: Mapping[str, Any]) -> list[str]:
    """The words of a command with values in place of its placeholders; a value never becomes two words."""
    return [word.format_map(dict(values)) for word in command]


def added(registry: Registry, config: Path | None) -> Registry:
    """The registry with the foreign methods of a configuration file.

    Raises InvbenchError naming the file and the key for a table that is none, a folder that does not exist and a taken id.
    """
    tables = {} if config is None else files.read(config).get("methods", {})
    if config is None or not tables:
        return registry
    found: dict[str, Foreign] = {}
    specs: dict[str, MethodSpec] = {}
    for id, table in tables.items():
        place = f"{config}: methods.{id}"
        if not ID.fullmatch(id):
            raise InvbenchError(f"{place}: expected lower-case letters, digits, '_' and '-' as the name of a method")
        if id in registry.methods:
            raise InvbenchError(f"{place}: expected a new name, found that of a method of {registry.methods[id].entry}")
        found[id] = _checked(place, table, config.resolve().parent)
        specs[id] = _spec(place, id, found[id])
    return Registry(
        methods={**registry.methods, **specs},
        metrics=registry.metrics,
        datasets=registry.datasets,
        protocols=registry.protocols,
        brought=registry.brought,
        foreign=found,
    )


def _checked(place: str, table: Any, beside: Path) -> Foreign:
    try:
        one = Foreign.model_validate(table)
    except ValidationError as error:
        item = error.errors()[0]
        key = ".".join([place, *map(str, item["loc"])])
        found = "" if item["type"] in {"value_error", "missing"} else f", found {item['input']!r:.80}"
        raise InvbenchError(f"{key}: {item['msg'].removeprefix('Value error, ')}{found}") from error
    folder = (beside / one.folder.expanduser()).resolve()
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise InvbenchError(f"{place}.folder: expected a folder, found {what} at {folder}")
    return one.model_copy(update={"folder": folder, "here": beside})


def _spec(place: str, id: str, one: Foreign) -> MethodSpec:
    told = {"unit": "", "help": "placeholder of the commands"}
    options = {name: {"default": value, **told} for name, value in one.options.items()}
    return MethodSpec(
        id=id,
        title=one.title or id,
        entry=ENTRY,
        family="external",
        roles=(),
        options=declare(options, where=f"{place}.options"),
        paper=one.paper,
        venue=one.venue,
        summary=one.summary,
    )
