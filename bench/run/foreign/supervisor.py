"""A program that runs a command and ends it, with all that it started, when the other end of its standard input is closed.

It is started by its path, so that it loads nothing of the project. The first line of its input is JSON: ``command``,
``folder``, ``env``. Its exit code is that of the command; 128 + N if a signal N ended that, as shells say it; 127 if it cannot
be started.
"""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import threading

import psutil

GRACE = 5.0  # seconds between the request to end and the end
SUBREAPER = 36  # of Linux's prctl: processes that lose their parent become children of this one


def main() -> None:
    """Run the command of the first line of standard input."""
    asked = json.loads(sys.stdin.buffer.readline())
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    try:
        child = subprocess.Popen(asked["command"], cwd=asked["folder"], env=asked["env"], stdin=subprocess.DEVNULL)
    except (OSError, ValueError) as error:
        print(f"cannot be started: {error}", flush=True)
        os._exit(127)
    threading.Thread(target=end_with_input, daemon=True).start()
    code = child.wait()
    end_all()  # what the command left behind
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)


def end_with_input() -> None:
    """Wait for the end of standard input, then end everything."""
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.buffer.read(1):
            pass
    end_all()
    os._exit(130)


def end_all() -> None:
    """Ask every process below this one to end, then end it."""
    left = below()
    for one in left:
        with contextlib.suppress(psutil.Error):
            one.terminate()
    psutil.wait_procs(left, timeout=GRACE)
    for one in below():  # with those that were started meanwhile
        with contextlib.suppress(psutil.Error):
            one.kill()


def below() -> list[psutil.Process]:
    """The processes that this one started, and theirs."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process().children(recursive=True)
    return []


if __name__ == "__main__":
    main()
