"""Windows and macOS: no call that one system alone has, but where the code does without it elsewhere."""

from __future__ import annotations

import re

import pytest

from tests.checkout import PROJECT

MODULES = "fcntl|pwd|grp|spwd|termios|tty|pty|resource|syslog|posix|readline|crypt|nis|msvcrt|winreg|winsound|_winapi"
CALLS = (
    r"sched_\w+|uname|fork|forkpty|wait|waitpid|wait3|wait4|waitid|W[A-Z]+|[gs]ete?[ug]id|[gs]etres[ug]id|getgroups|getlogin"
    r"|setsid|[gs]etpgid|[gs]etpgrp|killpg|nice|getpriority|setpriority|mkfifo|mknod|l?chown|fchown|fchmod|chroot|lockf"
    r"|getloadavg|sysconf|pathconf|statvfs|fstatvfs|sync|posix_\w+|pread\w*|pwrite\w*|sendfile|splice|copy_file_range|pipe2|openpty"
    r"|memfd_create|eventfd\w*|pidfd_open|getrandom|\w+xattr|ctermid|tc[gs]etpgrp|startfile|O_(?:DIRECT|NOFOLLOW|CLOEXEC|DIRECTORY|TMPFILE|BINARY)"
)
SIGNALS = (
    r"SIG(?:KILL|ALRM|HUP|USR\d|CHLD|CLD|STOP|CONT|TSTP|PIPE|QUIT|WINCH|XCPU|BUS)|alarm|[gs]etitimer"
    r"|pthread_\w+|sig(?:wait\w*|pending|timedwait)"
)
STRANGE = re.compile(
    rf"^\s*(?:import|from) (?:{MODULES})\b|\bos\.(?:{CALLS})\b|\bsignal\.(?:{SIGNALS})\b"
    rf"|^\s*from os import .*\b(?:{CALLS})\b|^\s*from signal import .*\b(?:{SIGNALS})\b"
    r"|AF_UNIX|get_context\(\W?fork|set_start_method\(\W?fork|RUSAGE_|preexec_fn|os\.environ\[.HOME.\]"
)
PLACES = re.compile(r"""["'](?:/proc|/sys|/dev|/tmp|/etc|/var)\b""")
ELSEWHERE = {  # what reads a place of Linux, and what says that it does without it: the code beside it
    "bench/util/clock.py": "except",
    "bench/util/provenance.py": "except",
    "bench/run/executors/worker.py": "suppress",
    "methods/train/common.py": "exists",
}


def _lines() -> list[tuple[str, int, str]]:
    folders = ("bench", "methods", "metrics", "datasets", "reports")
    paths = [path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py"))]
    return [
        (path.relative_to(PROJECT).as_posix(), number, line)
        for path in (*paths, PROJECT / "noxfile.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]


def test_calls_that_one_system_alone_has_are_not_used() -> None:
    found = {(path, f"{number}: {line}") for path, number, line in _lines() if STRANGE.search(line)}
    assert {path for path, _ in found} <= {"bench/util/startup.py"}, found
    for _, line in found:  # the server of processes is started on Linux alone
        assert 'sys.platform == "linux"' in line or "pthread_sigmask" in line
    source = (PROJECT / "bench/util/startup.py").read_text(encoding="utf-8")
    assert source.index('    if sys.platform == "linux":') < source.index("signal.pthread_sigmask")


def test_places_that_one_system_alone_has_are_read_only_where_there_is_another_way() -> None:
    found = {path for path, _, line in _lines() if PLACES.search(line)}
    assert found <= set(ELSEWHERE)
    for path in found:
        assert re.search(ELSEWHERE[path], (PROJECT / path).read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    "line",
    [
        "import fcntl", "    from resource import getrusage", "cores = len(os.sched_getaffinity(0))", "child = os.fork()",
        "os.kill(pid, signal.SIGKILL)", "signal.alarm(3)", "signal.signal(signal.SIGALRM, stop)", "if os.geteuid() == 0:",
        "os.waitpid(child, 0)", "os.mkfifo(path)", "free = os.statvfs(path)", 'multiprocessing.get_context("fork")',
        "signal.setitimer(signal.ITIMER_REAL, 1)", "subprocess.Popen(words, preexec_fn=limit)", "os.nice(5)", "os.uname()",
        "from os import fork, path", "from signal import SIGKILL", "    from os import getpid, sched_getaffinity",
    ],
)  # fmt: skip
def test_such_a_call_is_found(line: str) -> None:
    assert STRANGE.search(line)


@pytest.mark.parametrize(
    "line",
    [
        'allowed = getattr(os, "sched_getaffinity", None)', "os.kill(pid, signal.SIGTERM)", "os.open(folder, os.O_RDONLY)",
        "os.cpu_count()", "import signal", "signal.signal(signal.SIGINT, stop)", "from posixpath import join",
    ],
)  # fmt: skip
def test_other_calls_are_not(line: str) -> None:
    assert not STRANGE.search(line)
