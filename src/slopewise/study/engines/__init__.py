"""The engines of a study, which run its trials. `_base` states the contract of an engine."""

from __future__ import annotations

from slopewise.errors import EngineError, nearest
from slopewise.study.engines._base import Engine as Engine
from slopewise.study.engines._local import LocalEngine as LocalEngine

ENGINES: dict[str, type[LocalEngine]] = {"local": LocalEngine}


def make_engine(engine: str | Engine, *, workers: int | None = None) -> Engine:
    """Return the engine of that name; an `Engine` is returned unchanged.

    Raises:
        EngineError: There is no engine of that name.
    """
    if isinstance(engine, Engine):
        return engine
    if engine not in ENGINES:
        raise EngineError(f"unknown engine '{engine}'; {nearest(engine, ENGINES)}")
    return ENGINES[engine](workers)
