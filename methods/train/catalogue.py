"""Recipes by name, read from the literal ``RECIPES`` of the modules beside this one without importing them.

``RECIPES = {name: {"minutes": float, "seed": int, "help": str, "options": {...}}}``; one module may train several networks.
Its class ``Training`` (a :class:`invbench.methods.train.common.Recipe`) is built as ``Training(seed=..., device=...,
**options)``.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invbench.api import InvbenchError

if TYPE_CHECKING:
    import torch

    from invbench.methods.train.common import Recipe


@dataclass(frozen=True)
class RecipeSpec:
    """The declaration of a recipe, read without importing it; ``minutes`` is its default budget on one CPU core."""

    name: str
    module: str
    minutes: float
    seed: int
    help: str
    options: Mapping[str, Any]

    def changed(self, changes: Iterable[str]) -> RecipeSpec:
        """The recipe with other values of its options, each ``OPTION=VALUE``.

        Raises InvbenchError for an unknown option, and for a value of another type than the recipe's own.
        """
        options = dict(self.options)
        for item in changes:
            option, equals, text = item.partition("=")
            if not equals or option not in options:
                known = ", ".join(options) or "none"
                raise InvbenchError(f"--set {item!r}: expected OPTION=VALUE with an option of {self.name} ({known})")
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                value = text
            if type(value) is not type(options[option]):
                kind = type(options[option]).__name__
                raise InvbenchError(f"--set {item!r}: expected a value of the type {kind}, such as {options[option]!r}")
            options[option] = value
        return replace(self, options=options)

    def build(self, *, seed: int, device: torch.device | str) -> Recipe:
        """Import the recipe's module and build its ``Training``."""
        recipe: Recipe = importlib.import_module(self.module).Training(seed=seed, device=device, **self.options)
        return recipe


def recipes(folder: Path | None = None) -> dict[str, RecipeSpec]:
    """All recipes in ``folder`` (default: this package), by name. Raises InvbenchError for a malformed or duplicate entry."""
    found: dict[str, RecipeSpec] = {}
    for path in sorted((folder or Path(str(files("invbench.methods.train")))).glob("*.py")):
        for name, entry in _literal(path).items():
            if name in found:
                raise InvbenchError(f"{path}: recipe {name!r} is also in {found[name].module}; expected one recipe a name")
            try:
                found[name] = RecipeSpec(name=name, module=f"invbench.methods.train.{path.stem}", **{"options": {}, **entry})
            except TypeError as error:
                raise InvbenchError(f"{path}: recipe {name!r}: expected minutes, seed, help, options; {error}") from error
    return found


def find_recipe(name: str) -> RecipeSpec:
    """The recipe ``name``. Raises InvbenchError naming the nearest name if there is none."""
    known = recipes()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
    raise InvbenchError(f"no recipe {name!r}{hint}")


def _literal(path: Path) -> dict[str, dict[str, Any]]:
    """The value of the module-level ``RECIPES`` of the file, or an empty mapping."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == ["RECIPES"]:
            try:
                value: dict[str, dict[str, Any]] = ast.literal_eval(node.value)
            except ValueError as error:
                raise InvbenchError(f"{path}: RECIPES: expected a literal, found {error}") from error
            return value
    return {}
