"""The program: ``invbench``, and ``python -m invbench``. It imports the verbs late, so that Ctrl-C is handled at all times."""

from __future__ import annotations

import sys
from typing import NoReturn

from invbench.util import interrupts, streams
from invbench.util.ending import end

DEBUG = "--debug"


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    streams.prepare()
    interrupts.note()
    try:
        code = _verbs()
    except BaseException as error:  # before a verb has begun, or after it has ended
        code = _told(error)
    end(code, tell=_told)


def _verbs() -> int:
    from invbench.cli import main as verbs

    try:
        verbs.main(prog_name="invbench")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1


def _told(error: BaseException) -> int:
    from invbench.util.errors import tell

    return tell(error, debug=DEBUG in sys.argv)


if __name__ == "__main__":
    main()
