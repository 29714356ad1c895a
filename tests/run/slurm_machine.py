"""A SLURM cluster of this one machine, of the user at hand, without touching the system's files: munged, slurmctld, slurmd.

    python -m tests.run.slurm_machine FOLDER       starts it, prints SLURM_CONF=..., and stops it when its input ends

Needs the Debian packages slurmctld, slurmd, slurm-client and munge, or their like.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
PATIENCE = 60.0  # seconds for the node to become idle
CONF = """
ClusterName=invbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=2
KillWait=3
{more}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> list[str]:
    """The programs that are not there."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in NEEDED if shutil.which(name, path=path) is None]


@contextmanager
def cluster(folder: Path, *, cpus: int = 4, more: str = "") -> Iterator[Path]:
    """A cluster whose files are in ``folder``; gives its slurm.conf, which clients find by the variable SLURM_CONF.

    cpus  cores that it hands out, however many the machine has
    more  further lines of slurm.conf

    Raises RuntimeError with the end of its logs if its node does not become idle.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, mode in {"munge": 0o755, "state": 0o700, "spool": 0o755}.items():
        (folder / name).mkdir(mode=mode, exist_ok=True)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    conf, host = folder / "slurm.conf", socket.gethostname().partition(".")[0]
    controller, daemon = _ports(2)
    values = {"folder": folder, "user": getpass.getuser(), "host": host, "cpus": cpus, "more": more}
    conf.write_text(CONF.format(controller=controller, daemon=daemon, **values))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    munge = {name: folder / "munge" / name for name in ("socket", "pid", "log", "seed")}
    files = [f"--{option}={munge[name]}" for option, name in _MUNGE.items()]
    with ExitStack() as ends:
        _start(ends, folder, ["munged", "--foreground", "--force", f"--key-file={key}", *files], conf)
        _wait(munge["socket"].exists, folder)
        _start(ends, folder, ["slurmctld", "-D", "-i", "-f", str(conf)], conf)
        _start(ends, folder, ["slurmd", "-D", "-N", host, "-f", str(conf)], conf)
        _wait(lambda: "idle" in _said(["sinfo", "-h", "-o", "%T"], conf), folder)
        yield conf
        _said(["scancel", "--user", getpass.getuser()], conf)


_MUNGE = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def _ports(count: int) -> list[int]:
    with ExitStack() as open_ones:
        found = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


def _start(ends: ExitStack, folder: Path, words: Sequence[str], conf: Path) -> None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    program = shutil.which(words[0], path=path)
    assert program is not None, words[0]
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    with open(folder / f"{words[0]}.out", "wb") as log:
        process = subprocess.Popen([program, *words[1:]], stdout=log, stderr=log, env=environment)
    ends.callback(_stop, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _said(words: Sequence[str], conf: Path) -> str:
    done = subprocess.run(words, env={**os.environ, "SLURM_CONF": str(conf)}, capture_output=True, text=True, timeout=60)
    return done.stdout


def _wait(ready, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            logs = [*folder.glob("*.out"), *folder.glob("*.log")]
            raise RuntimeError("\n".join(f"{log.name}: {log.read_text(errors='replace')[-2000:]}" for log in logs))
        time.sleep(0.2)


if __name__ == "__main__":
    with cluster(Path(sys.argv[1])) as found:
        print(f"SLURM_CONF={found}", flush=True)
        sys.stdin.read()
