"""A SLURM cluster through ``submitit`` (the extra ``invbench[slurm]``).

Whether a job is still there is asked of ``squeue``, which every cluster has. ``submitit`` asks the accounts (``sacct``), which
many clusters do not keep, and would wait for ever for a job that was cancelled.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError
from invbench.folder import JOBS
from invbench.run.executors.asks import Asks
from invbench.run.executors.elsewhere import Busy, Lost
from invbench.util.files import refuse_links

LOOKS_APART = 3.0  # seconds between two questions to squeue, for all jobs together
LATE = 10.0  # seconds that the answer of a job that has ended may need to be seen on this machine
ALIVE = {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "RESIZING", "STOPPED"}
ALIVE |= {"SIGNALING", "STAGE_OUT", "SPECIAL_EXIT", "RESV_DEL_HOLD", "REQUEUE_FED", "REVOKED"}
FULL = re.compile(r"temporarily|limit|timed out|unable to contact|connection refused|resource .*unavailable", re.I)
TIMED = ("timeout_min", "slurm_time")  # what a user may ask for in place of the estimate
HELD = ("mem_gb", "slurm_mem", "slurm_mem_per_cpu", "slurm_mem_per_gpu")


class Slurm:
    """A cluster (:class:`invbench.run.executors.elsewhere.Cluster`).

    out      the run folder, which every machine of the cluster sees under this path
    asked    what a job asks for, as ``submitit`` names it (``slurm_partition``, ``mem_gb``, ``timeout_min``, ...)
    cluster  "slurm", or "local": processes of this machine, as ``submitit`` starts them

    Raises InvbenchError where submitit or SLURM is missing, or an item of ``asked`` is none.
    """

    def __init__(self, out: Path, asked: Mapping[str, Any], *, cluster: str = "slurm") -> None:
        try:
            import submitit
        except ImportError as error:
            raise InvbenchError("--executor slurm: expected the package submitit (pip install invbench[slurm])") from error
        self.timed = not set(TIMED) & set(asked)
        self._held = not set(HELD) & set(asked)
        self._queue = Queue() if cluster == "slurm" else None
        # A name that nobody could foresee: answers are unpickled, and a stranger's run folder may hold any.
        folder = out.absolute() / JOBS / secrets.token_hex(8)
        refuse_links(folder)
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._executor.update_parameters(**asked)
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise InvbenchError(f"--executor slurm: {' '.join(str(error).split())}") from error

    def submit(self, call: Callable[..., Any], *arguments: Any, asks: Asks) -> SlurmJob:
        """Hand over a call. Raises Busy where the queue is full, and InvbenchError where the job is refused for good."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        own = {"timeout_min": asks.minutes} if self.timed else {}
        own |= {"mem_gb": asks.gib} if self._held else {}
        self._executor.update_parameters(**own)
        try:
            return SlurmJob(self._executor.submit(call, *arguments), self._queue)
        except (FailedJobError, FailedSubmissionError) as error:
            said = " ".join(str(error).split())
            raise (Busy if FULL.search(said) else InvbenchError)(f"--executor slurm: {said}") from error


class Queue:
    """The states of the user's jobs, as ``squeue`` tells them."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._looked = -LOOKS_APART

    def state(self, job: str) -> str | None:
        """The state of a job; "GONE" if it is not listed (any more), None if the cluster does not answer."""
        if time.monotonic() - self._looked >= LOOKS_APART:
            self._looked = time.monotonic()
            words = ["squeue", "--me", "--noheader", "--states=all", "--format=%i %T"]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            except (OSError, subprocess.TimeoutExpired):
                return None
            if done.returncode:
                return None
            self._states = dict(line.split()[:2] for line in done.stdout.splitlines() if len(line.split()) > 1)
        return self._states.get(job, "GONE")


class SlurmJob:
    """A job (:class:`invbench.run.executors.elsewhere.Job`)."""

    def __init__(self, job: Any, queue: Queue | None) -> None:
        self._job, self._queue = job, queue
        self._ended: tuple[str, float] | None = None  # the state in which it left the queue, and when that was seen

    def done(self) -> bool:
        """Whether there is an answer, or will be none."""
        if self._queue is None:
            return bool(self._job.done())
        if self._job.paths.result_pickle.exists():
            return True
        state = self._queue.state(self._job.job_id)
        if state is None or state in ALIVE:
            self._ended = None
        elif self._ended is None:
            self._ended = state, time.monotonic()
        return self._ended is not None and time.monotonic() - self._ended[1] > LATE

    def result(self) -> Any:
        """The answer. Raises Lost if there is none."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        if self._queue is not None and not self._job.paths.result_pickle.exists():
            raise Lost(f"job {self._job.job_id}: {(self._ended or ('unknown', 0.0))[0].lower()}")
        try:
            return self._job.result()
        except FailedJobError as error:
            if "Job not requeued because" in str(error):  # submitit's own, as the cluster ends a job
                raise Lost(f"job {self._job.job_id}: {_last_line(error)}") from error
            raise InvbenchError(f"job {self._job.job_id}: {_last_line(error)}") from error
        except UncompletedJobError as error:
            raise Lost(f"job {self._job.job_id}: {str(self._job.state).lower()}") from error

    def cancel(self) -> None:
        """End the job, if it has not ended."""
        self._job.cancel(check=False)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line.partition(":")[0]]  # of a traceback; then come the paths of the logs
    return (told or lines)[-1]
