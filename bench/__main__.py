"""The program: ``invbench``, and ``python -m invbench``. It imports the verbs late, so that Ctrl-C is handled at all times."""

from __future__ import annotations

import sys

from invbench.util import interrupts, streams

DEBUG = "--debug"


def main() -> None:
    """Run the command line and end the process with its exit code."""
    streams.prepare()
    interrupts.note()
    try:
        code = _verbs()
    except BaseException as error:  # before a verb has begun, or after it has ended
        code = _told(error)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError as error:
            streams.drop(number)
            code = _told(error)
    sys.exit(code)


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
