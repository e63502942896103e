"""The contract of a runtime that exported models are checked in: a new one is one file beside this, and its entry."""

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

from slopewise.export._call import Call
from slopewise.export._error import ExportError

Run = Callable[[Call], Sequence[Tensor]]


@dataclass(frozen=True)
class Exported:
    """One model in the forms that runtimes read; the one that is not being written is made when it is asked for.

    Attributes:
        onnx: returns the path of the ONNX file.
        program: returns the program that is in a .pt2 file.
        folder: a place for files that are gone after the check.
        is_onnx: the ONNX file is what is being written; else the program.
    """

    onnx: Callable[[], Path]
    program: Callable[[], torch.export.ExportedProgram]
    folder: Path
    is_onnx: bool


@dataclass(frozen=True)
class Loaded:
    """A model in a runtime: `run` in float32 throughout, `default` as the runtime computes unless told otherwise."""

    run: Run
    default: Run | None = None


class Runtime(ABC):
    """A runtime, and the packages that it needs.

    Attributes:
        name: the word for `check_with`.
        title: its name as people write it.
        packages: for each module that is imported, what pip installs; the first is the runtime itself.
        cure: Setting for the case that its own choice of precision is too rough.
        doubt: Place to look at if its outputs differ.
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
        """Convert and load a model; any error, here or in a run, means that the runtime does not take it."""

    def version(self) -> str:
        """The version of the runtime that is installed."""
        return importlib.metadata.version(next(iter(self.packages.values())))

    def require(self) -> None:
        """Raise where a package is missing, with the command that installs it."""
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
    """The tensors of a call as numpy arrays."""
    return [tensor.detach().cpu().contiguous().numpy() for tensor in call.tensors]


def one_sample(call: Call, runtime: Runtime) -> list[Call]:
    """A call as one call a sample, for runtimes that know no batch."""
    if call.size == 1:
        return [call]
    batch = call.batch
    if batch is None:
        raise ExportError(
            f"{runtime.title} computes one sample at a time, and the batch is fixed at {call.size}: leave "
            "dynamic_batch as it is, or export with an example of one sample"
        )
    return [call.sample(number) for number in range(call.size)]
