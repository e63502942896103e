"""Engines by name: slopewise's own, registered ones, those of installed packages, and `module:Class`."""

from __future__ import annotations

from typing import Any

from slopewise.errors import EngineError, look_up
from slopewise.study._references import is_reference, resolve
from slopewise.study.engines._base import Engine
from slopewise.study.engines._local import LocalEngine
from slopewise.study.engines._ray import RayEngine
from slopewise.support import Registry

ENGINES: Registry[type[Engine]] = Registry("slopewise.engines", {"local": LocalEngine, "ray": RayEngine})


def register_engine(name: str, engine: type[Engine]) -> None:
    """Make an engine known by a name, as in `study.run(..., engine=name)`.

    An installed package does the same, also for the command line, by an entry point of the group "slopewise.engines".

    Args:
        name: Name of the engine.
        engine: Its class.

    Raises:
        ValueError: The name is one of slopewise's own, or holds one of : / and the backslash.

    Example:
        >>> class Patient(LocalEngine):
        ...     pass
        >>> register_engine("patient", Patient)
        >>> make_engine("patient", {"workers": "2"}).workers
        2
        >>> ENGINES.unregister("patient")
    """
    ENGINES.register(name, engine)


def make_engine(engine: str | Engine, options: dict[str, Any] | None = None) -> Engine:
    """Return the engine of that name with these options; an `Engine` is returned unchanged.

    Args:
        engine: Registered name, `module:Class`, or an `Engine`.
        options: Options of the engine by name; those that are None are left out.

    Raises:
        EngineError: There is no engine of that name, it cannot be imported, or an option is wrong.
    """
    options = {name: value for name, value in (options or {}).items() if value is not None}
    if isinstance(engine, Engine):
        if options:
            raise EngineError(f"{', '.join(options)}: give options to the engine where it is made, not beside it")
        return engine
    extension: object = (
        resolve(engine)
        if is_reference(engine)
        else look_up(ENGINES, engine, EngineError, place=f"engine '{engine}'", alternative="module:Class")
    )
    if not (isinstance(extension, type) and issubclass(extension, Engine)):
        raise EngineError(f"engine '{engine}' is no class derived from slopewise.study.engines.Engine")
    return extension(**extension.validated(options))
