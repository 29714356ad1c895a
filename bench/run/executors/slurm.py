"""A SLURM cluster through ``submitit`` (the extra ``invbench[slurm]``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError
from invbench.folder import JOBS
from invbench.run.executors.elsewhere import Lost


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
        try:
            self._executor = submitit.AutoExecutor(folder=out.absolute() / JOBS, cluster=cluster)
            self._executor.update_parameters(**asked)
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise InvbenchError(f"--executor slurm: {' '.join(str(error).split())}") from error

    def submit(self, call: Callable[..., Any], *arguments: Any) -> SlurmJob:
        """Hand over a call."""
        return SlurmJob(self._executor.submit(call, *arguments))


class SlurmJob:
    """A job (:class:`invbench.run.executors.elsewhere.Job`)."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def done(self) -> bool:
        """Whether there is an answer, or will be none."""
        return bool(self._job.done())

    def result(self) -> Any:
        """The answer. Raises Lost if there is none."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        try:
            return self._job.result()
        except FailedJobError as error:
            raise InvbenchError(f"job {self._job.job_id}: {_last_line(error)}") from error
        except UncompletedJobError as error:
            raise Lost(f"job {self._job.job_id}: {_state(self._job)}") from error

    def cancel(self) -> None:
        """End the job, if it has not ended."""
        self._job.cancel(check=False)


def _state(job: Any) -> str:
    """What the cluster says of a job, in lower case: "cancelled", "preempted", "node_fail"."""
    return str(job.state).lower()


def _last_line(error: Exception) -> str:
    return [line for line in str(error).splitlines() if line.strip()][-1].strip()
