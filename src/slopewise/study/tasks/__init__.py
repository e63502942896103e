"""Tasks of a study: losses and scores. `Task` and `Scorer` state the contract."""

from __future__ import annotations

from collections.abc import Callable

from slopewise.errors import SpecError, nearest
from slopewise.study._references import describe, is_reference, resolve
from slopewise.study._spec import TaskSpec
from slopewise.study.tasks._base import Scorer as Scorer
from slopewise.study.tasks._base import Task as Task
from slopewise.study.tasks._classification import Classification as Classification

TASKS: dict[str, Callable[..., Task]] = {"classification": Classification}


def make_task(spec: TaskSpec) -> Task:
    """Return the task that a spec names.

    Raises:
        SpecError: There is no such task, its module cannot be imported, or its options are wrong.

    Example:
        >>> type(make_task(TaskSpec())).__name__
        'Classification'
    """
    if not is_reference(spec.kind) and spec.kind not in TASKS:
        raise SpecError(f"unknown task '{spec.kind}'; {nearest(spec.kind, [*TASKS, 'module:Class'])}")
    make = TASKS.get(spec.kind) or resolve(spec.kind)
    try:
        task = make(**spec.options)
    except SpecError:
        raise
    except Exception as error:  # a user's task can raise anything
        raise SpecError(f"task '{spec.kind}' with its options raised {describe(error)}") from error
    if not isinstance(task, Task):
        raise SpecError(f"task '{spec.kind}' is {type(task).__name__}, not a slopewise.study.tasks.Task")
    return task
