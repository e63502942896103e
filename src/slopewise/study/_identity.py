"""Identities of trials: by them a record or a checkpoint is known to belong to a trial, on whichever machine it ran."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from slopewise.events import TrialKey
from slopewise.machine import environment
from slopewise.study._references import is_reference, resolve
from slopewise.study._resume import FREE
from slopewise.study._spec import StudySpec
from slopewise.study._workplace import TrialData, Workplace
from slopewise.study.models import LIBRARIES

# Facts of an environment that can change the bits of a trial; others, such as the name of the processor, cannot.
_CLASS = ("slopewise", "torch", "numpy", "lightning-fabric", "system", "cpu_capability", "accelerator")
_NAMED = (("data", "source"), ("model", "name"), ("train", "function"), ("task", "kind"))
_OF_STUDY = {"arms", "control", "seeds", "margin", "floor", "metrics", "until_decided", "tune", "map", "factors"}


def identity_of(spec: StudySpec, trial: TrialKey, data: TrialData) -> str:
    """Return the identity of a trial: a hash of all that its record depends on.

    It covers the trial's own spec, arm, seed and cell, the digest of the images, the version of slopewise and the
    source files of what the spec names as `module:callable`, and the class of the environment: versions of libraries,
    instruction set, operators, threads, accelerator. Two trials of one identity must have equal records, bit by bit,
    times aside. Other arms, other seeds and the places of files do not count.

    Args:
        spec: Spec of the trial, with the settings of its cell.
        trial: The trial.
        data: Images of the study, or the folders of a training function's trials.

    Example:
        >>> from pathlib import Path
        >>> few, more = StudySpec(arms="relu,elu", seeds=2), StudySpec(arms="relu,elu,silu", seeds=5)
        >>> trial, place = TrialKey("elu", 1), Workplace(Path())
        >>> identity_of(few, trial, place) == identity_of(more, trial, place)
        True
        >>> identity_of(few, trial, place) == identity_of(few, TrialKey("elu", 0), place)
        False
    """
    fields = _own(spec.plain(), trial.arm)
    images = data.images if isinstance(data, Workplace) else data
    facts = environment()
    content = {
        "spec": fields,
        "trial": [trial.arm, trial.seed, trial.cell],
        "data": images.digest if images else None,
        "checkpoint": _file(spec.model.checkpoint),
        "code": _code(fields),
        "environment": {
            **{name: facts[name] for name in _CLASS},
            "operators": facts["cpu_operators"]["name"],
            "threads": spec.hardware.threads,
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def source_digest(target: Callable[..., Any]) -> str | None:
    """Return a short digest of the file that a callable stands in; None if it has none."""
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    try:
        path = inspect.getsourcefile(module or inspect.unwrap(target))
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12] if path else None
    except (OSError, TypeError):
        return None


def _own(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the settings that a trial of an arm depends on, with the arms that it starts from."""
    arms, chain = {arm["name"]: arm for arm in fields["arms"]}, list[Any]()
    while name and len(chain) < len(arms):
        chain.append(arms[name])
        name = (arms[name].get("start") or {}).get("arm", "")
    own: dict[str, Any] = {"arms": chain}
    for key, value in fields.items():
        if key in _OF_STUDY or key in FREE:
            continue
        table = isinstance(value, Mapping)
        own[key] = {k: v for k, v in value.items() if f"{key}.{k}" not in FREE} if table else value
    if own.get("model", {}).get("memory_format") == "as_built":
        del own["model"]["memory_format"]  # so that trials of versions without it keep their identities
    return own


def _code(fields: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what stands for the code of everything that a spec names as `module:name`: source files, or versions."""
    names = [fields.get(table, {}).get(key) for table, key in _NAMED] + [arm["activation"] for arm in fields["arms"]]
    return {name: _code_of(name) for name in names if name and is_reference(name)}


def _code_of(name: str) -> str | None:
    library = name.partition(":")[0]
    return version(library) if library in LIBRARIES else source_digest(resolve(name))


def _file(path: str | None) -> str | None:
    """Return the digest of a file's contents; a worker reads it once, unless it changes."""
    if path is None:
        return None
    status = Path(path).stat()
    return _contents(path, status.st_mtime_ns, status.st_size)


@cache
def _contents(path: str, *_: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
