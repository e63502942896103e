"""The interface of a runtime that exported models are checked in: a new one is one module here, and its entry."""

from __future__ import annotations

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from slopewise.errors import ExportError
from slopewise.export._call import Call

Run = Callable[[Call], Sequence[Tensor]]


@dataclass(frozen=True)
class Exported:
    """One model in the formats that runtimes read; a format that is not the target is made on demand.

    Attributes:
        file: The file that was exported, of which the suffix says the format.
        onnx: Function that returns the path of the ONNX file.
        program: Function that returns the program in a .pt2 file.
        folder: Folder for temporary files, deleted after the check.
    """

    file: Path
    onnx: Callable[[], Path]
    program: Callable[[], torch.export.ExportedProgram]
    folder: Path


@dataclass(frozen=True)
class Loaded:
    """A model in a runtime: `run` computes in float32 throughout, `default` at the runtime's default precision."""

    run: Run
    default: Run | None = None


class Runtime(ABC):
    """A runtime, and the packages that it needs.

    Attributes:
        name: Name in `check_with`.
        title: Name for readers.
        packages: Distribution that pip installs for each module that is imported; the first is the runtime itself.
        cure: Setting to use if its default precision is too low.
        doubt: Likely cause if its outputs differ.
        reads_onnx: True if it reads ONNX files and no programs of torch.export.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[Mapping[str, str]]
    cure: ClassVar[str] = ""
    doubt: ClassVar[str] = "docs/export.md has a table of what each runtime gets wrong"
    reads_onnx: ClassVar[bool] = False

    @abstractmethod
    def load(self, exported: Exported) -> Loaded:
        """Convert and load a model; any error, here or in a run, means that the runtime does not support it."""

    def version(self) -> str:
        """Return the installed version of the runtime."""
        return importlib.metadata.version(next(iter(self.packages.values())))

    def require(self) -> None:
        """Raise an error if a package is missing, with the command that installs it."""
        for module in self.packages:
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
                    raise
                install = f"pip install {' '.join(dict.fromkeys(self.packages.values()))}"
                message = f"check_with '{self.name}' needs '{module}', which is not installed: {install}"
                raise ModuleNotFoundError(message, name=error.name) from error


def arrays(call: Call) -> list[Any]:
    """Return the tensors of a call as numpy arrays."""
    return [tensor.detach().cpu().contiguous().numpy() for tensor in call.tensors]


def one_sample(call: Call, runtime: Runtime) -> list[Call]:
    """Split a call into one call per sample, for runtimes without a batch dimension."""
    if call.size == 1:
        return [call]
    batch = call.batch
    if batch is None:
        raise ExportError(
            f"{runtime.title} computes one sample at a time, and the batch is fixed at {call.size}: leave "
            "dynamic_batch as it is, or export with an example of one sample"
        )
    return [call.sample(number) for number in range(call.size)]
