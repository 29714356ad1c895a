"""What `mkdocs build` adds to the pages: tables made from the declarations, and no links that leave the pages.

mkdocs finds the functions by their names: ``on_page_markdown`` gets the text of each page before it is rendered.
"""

from __future__ import annotations

import re
from typing import Any

from invbench.compare.text import escape_markdown
from invbench.plugins import registry


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its tables, and links to files beside ``docs/`` as plain text: those files are no pages."""
    for mark, table in (("<!-- methods -->", methods), ("<!-- protocols -->", protocols)):
        if mark in markdown:
            markdown = markdown.replace(mark, table())
    return re.sub(r"(?<!!)\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", markdown)


def methods() -> str:
    """All methods that are declared."""
    rows = [(f"`{id}`", one.title, one.family, one.paper, one.venue) for id, one in registry.methods().items()]
    return _table(("id", "method", "family", "paper", "venue"), rows)


def protocols() -> str:
    """All protocols that are declared."""
    rows = [(f"`{id}`", one.title, one.recipe, one.source) for id, one in registry.protocols().items()]
    return _table(("protocol", "title", "recipe", "from"), rows)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *((row[0], *map(escape_markdown, row[1:])) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
