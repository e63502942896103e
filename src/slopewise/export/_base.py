"""The contract of an exporter, which writes one format of file.

`export_model` unwraps the model, puts it in evaluation mode, traces it with `torch.export`, and hands the program to
the exporter of the path's suffix, which writes a file. Then it loads that file into the exporter's own runtime, and
into those of `check_with`, and compares what they compute with the model: on the example, and on other sizes where
sizes are free. Only then does the file move to its path, so that an exporter never replaces a file by a wrong one.

An exporter is a class in a file of this folder, or a user's own, registered by `register_exporter` or by an entry point
of the group "slopewise.exporters". `slopewise.testing.check_exporter` checks the contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from slopewise.export._call import Call
from slopewise.export._report import Written
from slopewise.export.runtimes import Runtime


@dataclass(frozen=True)
class Options:
    """Options of `export_model` for exporters; each exporter says in `takes` which it uses.

    Attributes:
        opset: Version of ONNX's operators.
        keep_transpositions: True to keep transpositions around a PReLU whose channels are not in dimension 1.
        external_data: True to write the weights to a second file.
        verbose: True to show the output of the libraries that write the file.
    """

    opset: int = 18
    keep_transpositions: bool = False
    external_data: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class Source:
    """Model that an exporter writes.

    Attributes:
        program: Program that `torch.export` traced from the model in evaluation mode.
        call: The example, which names the sizes that are free.
        outputs: Names for the outputs, in order.
        aliases: First name of each parameter and buffer, by all its names.
    """

    program: torch.export.ExportedProgram
    call: Call
    outputs: Sequence[str]
    aliases: Mapping[str, str]


class Exporter(ABC):
    """Base class of exporters; the module's docstring states the contract.

    Attributes:
        suffix: Suffix of its files, such as ".onnx".
        packages: Distribution that pip installs for each module that it imports; {} if torch is enough.
        extra: Extra of slopewise that brings these, for the advice if one is missing; "" for none.
    """

    suffix: ClassVar[str]
    packages: ClassVar[Mapping[str, str]] = {}
    extra: ClassVar[str] = ""

    @property
    @abstractmethod
    def runtime(self) -> Runtime:
        """Runtime that every file is verified in."""

    def check(self, options: Options) -> None:  # noqa: B027 - an exporter without options refuses none
        """Raise `ExportError` for options that the exporter cannot use; by default none is refused."""

    @abstractmethod
    def write(self, source: Source, path: Path, options: Options) -> Written:
        """Write the file, and others beside it if need be, and return its facts.

        Raises:
            ExportError: The program cannot be written in this format; the message says why.
        """
