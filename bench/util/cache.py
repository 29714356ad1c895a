"""The folders for downloaded and prepared files: ``INVBENCH_HOME``, and read-only caches that machines share."""

from __future__ import annotations

import os
from pathlib import Path

HOME, SHARED = "INVBENCH_HOME", "INVBENCH_SHARED"


def home() -> Path:
    """``$INVBENCH_HOME``, else the platform's folder for user data (``~/.local/share/invbench`` on Linux).

    The folder may not exist yet; code that writes into it makes it.
    """
    asked = os.environ.get(HOME)
    if asked:
        return Path(asked).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("invbench", appauthor=False)


def caches() -> list[Path]:
    """The folders of ``$INVBENCH_SHARED`` (separated as in ``$PATH``); they are searched before home and never written."""
    asked = os.environ.get(SHARED, "").split(os.pathsep)
    return [Path(part).expanduser().absolute() for part in asked if part]
