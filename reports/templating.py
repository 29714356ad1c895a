"""The templates of pages: every text is escaped, and a name that a template lacks is an error."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from invbench.compare.text import shown
from invbench.reports.text import signed


def environment() -> Environment:
    """The templates in ``reports/templates``."""
    made = Environment(
        loader=PackageLoader("invbench.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}
    made.filters |= {"shown": shown, "signed": signed}
    return made


def static(name: str) -> str:
    """The text of the file ``name`` in ``reports/static``."""
    return (files("invbench.reports") / "static" / name).read_text(encoding="utf-8")
