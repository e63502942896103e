"""Errors of Ray's tasks, and what they mean for a trial."""

from __future__ import annotations

from slopewise.errors import EngineError
from slopewise.events import TrialKey
from slopewise.study.engines._base import Lost
from slopewise.study.engines._ray._mailbox import Place

_SHOWN = 1000  # characters of an error that is passed on


def loss(trial: TrialKey, error: Exception, place: Place | None, *, node_alive: bool, proven: bool) -> Lost:
    """Return the loss of a trial whose task has ended with an error of Ray.

    What a trial raises is no error of its task: `attempt` returns it as a failed record.

    Args:
        trial: The trial.
        error: The error.
        place: Process that worked on it; None if it had not begun.
        node_alive: False if the node of the process has gone.
        proven: True if any trial of the session has begun.

    Raises:
        EngineError: No trial could run.
    """
    from ray import exceptions

    host = f" on node {place.host}" if place else ""
    if isinstance(error, exceptions.RuntimeEnvSetupError):
        raise EngineError(f"the nodes cannot be given the study's working_dir: {_text(error)}") from error
    if isinstance(error, exceptions.OwnerDiedError) and not proven:
        raise EngineError(
            "the workers cannot fetch the study's data from this process: either its ports are closed to the nodes, or "
            "it shows a token to a cluster that has no authentication (RAY_AUTH_MODE=disabled, if that is meant)"
        ) from error
    if isinstance(error, exceptions.OutOfMemoryError):
        return Lost(
            trial,
            f"the memory{host} ran out, and Ray killed the worker process (fewer trials side by side, or a larger "
            "hardware.cpus_per_trial, leave more for each)",
        )
    if isinstance(error, exceptions.OwnerDiedError):
        return Lost(trial, f"the worker process{host} could not reach the driver", blameless=True)
    if isinstance(error, (exceptions.NodeDiedError, exceptions.ObjectLostError)) or not node_alive:
        return Lost(trial, f"the node{f' {place.host}' if place else ''} left the cluster", blameless=True)
    if isinstance(error, exceptions.WorkerCrashedError):
        return Lost(trial, f"the worker process{host} ended (its log in Ray's session folder may say why)")
    if isinstance(error, exceptions.TaskCancelledError):
        return Lost(trial, f"the task{host} was cancelled by somebody else")
    return Lost(trial, f"Ray could not run its task{host} ({_text(error)})", blameless=True)


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[-_SHOWN:]
