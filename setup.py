"""Builds the C++ kernels; everything else about the package is in pyproject.toml.

An installation never fails for want of them: where they cannot be built, the reason is written beside the place that
they would have had, and `slopewise.ops` reports it and runs on PyTorch's own operations.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NOTE = "_kernels_missing.txt"  # read by src/slopewise/ops/_loading.py

FLAGS = [
    "-O3",
    "-g0",
    "-std=c++17",
    "-Wall",
    "-Wextra",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # one rounding an operation, so that every instruction set gives the same bits
    "-fno-trapping-math",  # nobody reads the floating-point exception flags: both sides of a choice may be computed
    "-fno-thread-jumps",  # a choice stays a choice: made into a branch, it keeps a loop from being vectorised
    "-fno-tree-loop-distribute-patterns",  # a call of memset costs more than the few lanes that it would clear
    "-DTORCH_TARGET_VERSION=0x020a000000000000",  # the stable ABI of PyTorch 2.10: loads in every later one
    "-DPy_LIMITED_API=0x030b0000",
]

KERNELS = Extension(
    "slopewise._kernels",
    sources=sorted(map(str, Path("csrc").glob("*.cpp"))),
    depends=[*sorted(map(str, Path("csrc").glob("*.h"))), "setup.py"],
    libraries=["torch_cpu"],
    extra_compile_args=FLAGS,
    language="c++",
    py_limited_api=True,
    optional=True,  # setuptools then expects that there may be no file
)


class BuildKernels(build_ext):
    """Compiles the kernels, or removes what a former build left of them and writes down why there are none."""

    def finalize_options(self) -> None:
        """Finds the places of the shared object: in the wheel to be, and in the source tree for editable installs."""
        super().finalize_options()
        name = self.get_ext_filename(KERNELS.name)
        self.places = [Path(self.build_lib, name), *([Path("src", name)] if self.inplace else [])]

    def run(self) -> None:
        """Builds, and copies the result into the source tree for editable installs."""
        built = self.places[0]
        if self.places[-1].exists() and self.inplace:
            # setuptools compares the file's age with the sources', and so compiles only what has changed.
            built.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.places[-1], built)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        """Compiles and links; puts a note in the place of what cannot be built."""
        messages: list[str] = []
        try:
            self._use_torch(ext)
            self._compile_side_by_side()
            with recorded_stderr(messages):
                super().build_extension(ext)
        except Exception as error:  # whatever it is, the package works without kernels
            reason = self._explain(error, messages)
            self.warn(f"slopewise is installed without its compiled kernels, and works slower: {reason}")
            for place in self.places:
                place.unlink(missing_ok=True)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.with_name(NOTE).write_text(reason + "\n", encoding="utf-8")
        else:
            for place in self.places:
                place.with_name(NOTE).unlink(missing_ok=True)

    def get_output_mapping(self) -> dict[str, str]:
        """For editable installs in strict mode, which link to the files of the source tree: those that there are."""
        built, source = self.places[0], self.places[-1]
        pairs = [(built.with_name(name), source.with_name(name)) for name in (built.name, NOTE)]
        return {str(link): str(target) for link, target in pairs if self.inplace and target.exists()}

    def _use_torch(self, ext: Extension) -> None:
        if self.compiler.compiler_type != "unix":
            raise RuntimeError(f"they are compiled by GCC or Clang, not by {self.compiler.compiler_type!r}")
        from torch.utils.cpp_extension import include_paths, library_paths

        ext.extra_compile_args = FLAGS + [f"-isystem{path}" for path in include_paths()]  # no warnings of its headers
        ext.library_dirs = library_paths()

    def _compile_side_by_side(self) -> None:
        """setuptools compiles extensions in parallel, but one extension's sources one after another."""
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = pool.map(lambda source: compile_some([source], **options), sources)
                return [path for paths in objects for path in paths]

        self.compiler.compile = compile_all

    def _explain(self, error: Exception, messages: list[str]) -> str:
        if isinstance(error, ModuleNotFoundError):
            return f"'{error.name}' was not there to build them with"
        compiler = getattr(self.compiler, "compiler_so_cxx", None)
        if compiler and shutil.which(compiler[0]) is None:
            return f"no C++ compiler: '{compiler[0]}' was not found"
        return next((f"the C++ compiler failed: {line.strip()}" for line in messages if "error:" in line), str(error))


@contextmanager
def recorded_stderr(lines: list[str]) -> Iterator[None]:
    """Adds to `lines` what this process and its children write to standard error, and shows it afterwards."""
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as record:
        os.dup2(record.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
            record.seek(0)
            lines += record.read().splitlines()
            sys.stderr.writelines(f"{line}\n" for line in lines)


# One wheel for every CPython from 3.11 on; interpreters without the GIL have no such ABI and get one of their own.
ABI = {} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"bdist_wheel": {"py_limited_api": "cp311"}}

setup(ext_modules=[KERNELS], cmdclass={"build_ext": BuildKernels}, options=ABI)
