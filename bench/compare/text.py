"""Text that gate and reports share: a missing number, a long reason, text within Markdown."""

from __future__ import annotations

NOTHING = "–"
LONGEST = 300  # characters of a reason that are shown; the rows have all of it


def shown(reason: str) -> str:
    """A reason as far as a table shows it: its first :data:`LONGEST` characters, and how many there are."""
    if len(reason) <= LONGEST:
        return reason
    return f"{reason[:LONGEST].rstrip()} … ({len(reason):,} characters; all of them are in the rows of the run)"


def escape_markdown(text: str) -> str:
    """Text escaped so that Markdown and its HTML show it unchanged."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in text)
