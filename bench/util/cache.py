"""Where invbench keeps what is not part of it: ``INVBENCH_HOME``, and read-only caches that machines share."""

from __future__ import annotations

import os
from pathlib import Path

HOME, SHARED = "INVBENCH_HOME", "INVBENCH_SHARED"


def home() -> Path:
    """``$INVBENCH_HOME``, else the platform's folder for data of a user (``~/.local/share/invbench`` on Linux).

    The folder need not exist; whoever writes into it makes it.
    """
    asked = os.environ.get(HOME)
    if asked:
        return Path(asked).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("invbench", appauthor=False)


def caches() -> list[Path]:
    """The folders of ``$INVBENCH_SHARED`` (separated as in ``$PATH``): searched before home, never written."""
    asked = os.environ.get(SHARED, "").split(os.pathsep)
    return [Path(part).expanduser().absolute() for part in asked if part]
