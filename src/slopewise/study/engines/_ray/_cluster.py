"""Connection of this process to a Ray cluster: one that exists, or one of this machine that is started for a study."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from slopewise.errors import EngineError
from slopewise.support import need, shortened

OWN = "local"  # address of a cluster that is started here, for one study
_TOKEN = Path(".ray", "auth_token")  # in the home directory
# Trials are what the machine is there for, and nobody has asked that a cluster of slopewise reports its use.
_OURS = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def connected() -> bool:
    """Return True if this program is connected to a cluster already."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@contextmanager
def joined(address: str, *, folder: Path | None = None, cores: float = 1.0) -> Iterator[None]:
    """Connect to a cluster inside the block; a connection that the program has made itself is used, and stays.

    Environment variables and the handler of SIGTERM, which Ray changes, are as before when the block is left; the
    handler is even inside it.

    Args:
        address: `auto`, `HOST:PORT`, or `local` to start a cluster, which ends with the block.
        folder: Folder that every node gets a copy of.
        cores: Processor cores of a cluster that is started.

    Raises:
        EngineError: Ray is not installed, or the cluster cannot be reached or started.
    """
    if connected():
        _check_connection(address, folder)
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(_environment_kept())
        settings: dict[str, Any] = {} if folder is None else {"runtime_env": {"working_dir": str(folder)}}
        if address == OWN:
            os.environ.update({name: value for name, value in _OURS.items() if name not in os.environ})
            settings |= {"num_cpus": math.ceil(cores), "include_dashboard": False}
            settings["_temp_dir"] = stack.enter_context(_session_folder())
        elif "RAY_AUTH_MODE" not in os.environ and _token():
            _use_token()
        ray = _import_ray()
        stack.callback(ray.shutdown)
        with _sigterm_kept():
            _connect(ray, address, settings)
        yield


def _import_ray() -> ModuleType:
    try:
        return need("ray", what="engine 'ray'", extra="ray")
    except ImportError as error:
        raise EngineError(str(error)) from error


def _connect(ray: ModuleType, address: str, settings: dict[str, Any]) -> None:
    at = "on this machine" if address == OWN else f"at {address}"
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=True, **settings)
    except ray.exceptions.AuthenticationError as error:
        raise EngineError(
            f"the Ray cluster {at} asks for a token, and there is none here: copy the cluster's (`ray get-auth-token` "
            "on one of its nodes) to ~/.ray/auth_token, or set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from error
    except ConnectionError as error:
        held = f"the token of {_token()} is not the cluster's" if _token() else "it asks for a token, and none is here"
        raise EngineError(
            f"no connection to a Ray cluster {at}: either none answers there, or authentication failed, because {held} "
            "(`ray get-auth-token` on one of its nodes shows it; ~/.ray/auth_token, RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH takes it)"
        ) from error
    except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
        words = shortened(" ".join(str(error).split()), 500)
        verb = "started" if address == OWN else "joined"
        raise EngineError(f"a Ray cluster {at} cannot be {verb}: {words}") from error


def _use_token() -> None:
    """Make Ray show the token, which it looks for by itself only where it also looks for the cluster."""
    os.environ["RAY_AUTH_MODE"] = "token"
    if sys.modules.get("ray"):  # it has read its settings, when it was imported
        from ray._raylet import Config  # type: ignore[attr-defined]  # as Ray itself does for its own clusters

        Config.initialize("")


def _token() -> str:
    """Return the place of the authentication token that Ray would use; "" if there is none."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        if os.environ.get(name):
            return name
    return f"~/{_TOKEN.as_posix()}" if (Path.home() / _TOKEN).is_file() else ""


def _check_connection(address: str, folder: Path | None) -> None:
    import ray

    there = ray.get_runtime_context().gcs_address
    if folder is not None:
        raise EngineError("working_dir: this program has called ray.init; give the folder there, in runtime_env")
    if ":" in address and address != there:
        raise EngineError(f"address {address}: this program is connected to the Ray cluster at {there}")


@contextmanager
def _session_folder() -> Iterator[str]:
    """Give a folder for the files of a cluster, with a short path: those of its sockets have at most 107 bytes."""
    folder = tempfile.mkdtemp(prefix="slopewise-ray-", dir="/tmp" if Path("/tmp").is_dir() else None)  # noqa: S108
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Take back what the start of the block changes in the environment, and not what the user's code does."""
    before = dict(os.environ)
    try:
        yield
    finally:
        names = [name for name in {*before, *os.environ} if name in _CHANGED or name.startswith("RAY_")]
        for name in names:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


_CHANGED = ("PYTHONBREAKPOINT",)  # by Ray, besides variables of its own


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM: Ray's would end the study without a word, with status 1."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
