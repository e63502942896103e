"""The kernels are loaded once or their absence is told once; the switches hold."""

import os
import subprocess
import sys
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch

import slopewise as sw
from slopewise.ops import Backend, KernelsWarning, _loading, backend, use_kernels
from slopewise.ops._loading import NOTE, asks_for_kernels, load


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported slopewise yet."""
    monkeypatch.setattr(_loading, "state", _loading._State())
    monkeypatch.delenv("SLOPEWISE_KERNELS", raising=False)


def shared_object(folder: Path, content: bytes = b"not a shared object, but long enough to be read as one" * 9) -> None:
    (folder / f"_kernels{EXTENSION_SUFFIXES[-1]}").write_bytes(content)


def python(code: str, setting: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SLOPEWISE_KERNELS"}
    environment |= {} if setting is None else {"SLOPEWISE_KERNELS": setting}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


@pytest.mark.parametrize("setting", ["", "1", "true", "on", "ON", " True "])
def test_settings_that_want_the_kernels(setting: str) -> None:
    assert asks_for_kernels(setting)


@pytest.mark.parametrize("setting", ["0", "false", "off", "OFF", " False "])
def test_settings_that_do_not(setting: str) -> None:
    assert not asks_for_kernels(setting)


@pytest.mark.parametrize("setting", ["no", "2", "none", "0.0", "avx2"])
def test_other_settings_are_refused_with_the_known_ones(setting: str) -> None:
    with pytest.raises(ValueError, match=f"SLOPEWISE_KERNELS must be 0, false, off, 1, true or on, got '{setting}'"):
        asks_for_kernels(setting)


def test_a_package_without_kernels_warns_once_and_says_what_to_do(unloaded: None, tmp_path: Path) -> None:
    with pytest.warns(KernelsWarning, match=r"there is no _kernels.*install g\+\+ or clang\+\+") as caught:
        load(tmp_path)
    assert len(caught) == 1
    assert str(tmp_path) in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path)
    assert backend() == Backend("reference", f"there is no _kernels{EXTENSION_SUFFIXES[-1]} in {tmp_path}")


def test_the_installations_reason_is_reported_and_a_former_build_not_loaded(unloaded: None, tmp_path: Path) -> None:
    (tmp_path / NOTE).write_text("no C++ compiler: 'g++' was not found\n", encoding="utf-8")
    shared_object(tmp_path)
    with pytest.warns(KernelsWarning, match=r"\(no C\+\+ compiler: 'g\+\+' was not found\)\. To have them"):
        load(tmp_path)
    assert str(backend()) == (
        "PyTorch's own operations are in use: the kernels were not built when slopewise was installed "
        "(no C++ compiler: 'g++' was not found)"
    )


def test_a_library_that_the_system_cannot_load_is_reported_in_its_words(unloaded: None, tmp_path: Path) -> None:
    shared_object(tmp_path)
    with pytest.warns(KernelsWarning, match=f"PyTorch {torch.__version__}".replace("+", r"\+")):
        load(tmp_path)
    assert str(tmp_path) in backend().reason
    assert "Could not load this library" not in backend().reason  # PyTorch's wrapper, which has no cause in it


def test_kernels_that_are_not_loaded_cannot_be_turned_on(unloaded: None, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not loaded yet"), use_kernels(enabled=True):
        pass
    with pytest.warns(KernelsWarning):
        load(tmp_path)
    with pytest.raises(RuntimeError, match="cannot be turned on: there is no _kernels"), use_kernels(enabled=True):
        pass
    with use_kernels(enabled=False):
        assert backend().reason.startswith("there is no _kernels")


@pytest.mark.skipif(not _loading.state.loaded, reason=_loading.state.reason)
def test_blocks_nest_and_leave_the_kernels_as_they_were() -> None:
    before = backend()
    with use_kernels(enabled=True):
        with use_kernels(enabled=False):
            assert backend() == Backend("reference", "use_kernels(enabled=False) turned the kernels off")
            with use_kernels(enabled=True):
                assert backend().name == "kernels"
            assert not _loading.state.enabled
        assert backend().name == "kernels"
    assert backend() == before


@use_kernels(enabled=False)
def fail() -> None:
    assert not _loading.state.enabled
    raise KeyError


def test_an_error_in_a_block_leaves_the_kernels_as_they_were() -> None:
    before = backend()
    with pytest.raises(KeyError):
        fail()
    assert backend() == before


@pytest.mark.skipif(not _loading.state.loaded, reason=_loading.state.reason)
def test_the_backend_names_the_instruction_set() -> None:
    with use_kernels(enabled=True):
        assert torch.ops.slopewise.cpu_capability() in backend().reason
        assert str(backend()).startswith("the compiled kernels are in use: ")


def test_the_environment_turns_the_kernels_off_without_a_warning() -> None:
    ended = python(
        "import slopewise, torch; print(slopewise.ops.backend());"
        "print(slopewise.functional.prelu(torch.tensor([-2.0]), torch.tensor([0.25])).item())",
        setting="off",
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "PyTorch's own operations are in use: SLOPEWISE_KERNELS=off turned the kernels off",
        "-0.5",
    ]


def test_a_mistyped_environment_is_refused_when_the_layers_are_imported() -> None:
    ended = python("import slopewise.nn", setting="of")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("ValueError: the environment variable SLOPEWISE_KERNELS must be 0,")


def test_the_public_names() -> None:
    assert sw.ops.backend is backend
    assert sw.ops.use_kernels is use_kernels
