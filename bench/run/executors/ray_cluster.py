"""A Ray cluster (the extra ``invbench[ray]``): that of ``RAY_ADDRESS``, else one of this machine alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from invbench.api import InvbenchError
from invbench.run.executors.asks import Asks
from invbench.run.executors.elsewhere import Lost


class Ray:
    """A cluster (:class:`invbench.run.executors.elsewhere.Cluster`).

    asked   what a job asks for, as options of a remote function (``num_cpus``, ``num_gpus``, ``memory`` in bytes, ...)

    Raises InvbenchError where ray is missing, or its cluster cannot be reached.
    """

    def __init__(self, asked: Mapping[str, Any]) -> None:
        try:
            import ray
        except ImportError as error:
            raise InvbenchError("--executor ray: expected the package ray (pip install invbench[ray])") from error
        self._ray, self._asked = ray, dict(asked)
        try:
            if not ray.is_initialized():
                ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, include_dashboard=False)
            self._remote = ray.remote(_made)
            self._remote.options(max_retries=0, **asked)  # raises for what no job can ask for
        except (ConnectionError, RuntimeError, TypeError, ValueError) as error:
            raise InvbenchError(f"--executor ray: {' '.join(str(error).split())}") from error

    timed = False  # a job may take as long as it needs

    def submit(self, call: Callable[..., Any], *arguments: Any, asks: Asks) -> RayJob:
        """Hand over a call. It waits until the cluster has what it asks for."""
        remote = self._remote.options(max_retries=0, **{"memory": asks.memory, **self._asked})
        return RayJob(self._ray, remote.remote(call, *arguments))


def _made(call: Callable[..., Any], *arguments: Any) -> Any:
    """The call, made on the machine that was found for it."""
    return call(*arguments)


class RayJob:
    """A job (:class:`invbench.run.executors.elsewhere.Job`)."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def done(self) -> bool:
        """Whether there is an answer, or will be none."""
        return bool(self._ray.wait([self._reference], timeout=0)[0])

    def result(self) -> Any:
        """The answer. Raises Lost if there is none."""
        try:
            return self._ray.get(self._reference)
        except self._ray.exceptions.RayTaskError as error:  # the job raised, which only a fault of ours can do
            raise InvbenchError(f"--executor ray: {' '.join(str(error).split())}") from error
        except self._ray.exceptions.RayError as error:
            raise Lost(f"{type(error).__name__}: {' '.join(str(error).split())}") from error

    def cancel(self) -> None:
        """End the job, if it has not ended."""
        self._ray.cancel(self._reference, force=True)
