"""Tasks of a study: losses and scores. `Task` and `Scorer` state the contract."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from slopewise.errors import SpecError, look_up, nearest
from slopewise.study._references import describe, is_reference, resolve
from slopewise.study._spec_tables import TaskSpec
from slopewise.study.tasks._base import Scorer as Scorer
from slopewise.study.tasks._base import Task as Task
from slopewise.study.tasks._classification import Classification as Classification
from slopewise.study.tasks._multilabel import Multilabel as Multilabel
from slopewise.study.tasks._regression import Regression as Regression
from slopewise.study.tasks._restoration import Restoration as Restoration
from slopewise.study.tasks._segmentation import Segmentation as Segmentation
from slopewise.support import Registry

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

_OWN: dict[str, Callable[..., Task]] = {
    "classification": Classification,
    "multilabel": Multilabel,
    "regression": Regression,
    "restoration": Restoration,
    "segmentation": Segmentation,
}
TASKS: Registry[Callable[..., Task]] = Registry("slopewise.tasks", _OWN)


def register_task(name: str, task: Callable[..., Task]) -> None:
    """Make a task known by a name, as in ``task={"kind": name}``.

    Worker processes look the name up, too: register it in a module that they import, or let an installed package do it
    by an entry point of the group "slopewise.tasks". A task that is named `module:Class` need not be registered.

    Args:
        name: Name of the task.
        task: Class of the task, or a function that returns one; called with `task.options`.

    Raises:
        ValueError: The name is one of slopewise's own, or holds one of : / and the backslash.

    Example:
        >>> register_task("labels", Classification)
        >>> type(make_task(TaskSpec(kind="labels"))).__name__
        'Classification'
        >>> TASKS.unregister("labels")
    """
    TASKS.register(name, task)


def make_task(spec: TaskSpec) -> Task:
    """Return the task that a spec names.

    Raises:
        SpecError: There is no such task, its module cannot be imported, or its options are wrong.

    Example:
        >>> type(make_task(TaskSpec())).__name__
        'Classification'
    """
    make = (
        resolve(spec.kind)
        if is_reference(spec.kind)
        else look_up(TASKS, spec.kind, SpecError, place=f"task '{spec.kind}'", alternative="module:Class")
    )
    _check_options(spec, make)
    try:
        task = make(**spec.options)
    except SpecError:
        raise
    except Exception as error:  # a user's task can raise anything
        raise SpecError(f"task '{spec.kind}' with its options raised {describe(error)}") from error
    if not isinstance(task, Task):
        raise SpecError(f"task '{spec.kind}' is {type(task).__name__}, not a slopewise.study.tasks.Task")
    return task


def _check_options(spec: TaskSpec, make: Callable[..., Task]) -> None:
    """Refuse an option that the task does not have."""
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):  # code that is not Python's: the call will tell
        return
    if any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for option in spec.options:
        if option not in parameters:
            known = nearest(option, list(parameters)) if parameters else "it has no options"
            raise SpecError(f"unknown key 'task.options.{option}' of task '{spec.kind}'; {known}")


def bound_task(spec: TaskSpec, data: ImageData) -> Task:
    """Return the task that a spec names, bound to the data of the study.

    Raises:
        SpecError: The task cannot be made, or cannot be scored on these data.
    """
    return make_task(spec).bind(data)
