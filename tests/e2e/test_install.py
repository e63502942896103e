"""The package installs with its kernels where they can be built, and without them, saying why, where they cannot."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from slopewise.support.citation import AUTHOR, TITLE, YEAR

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
SOURCES = ["setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "csrc", "src", "tests"]
OURS = ["CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "SLOPEWISE_KERNELS", "PYTHONPATH"]
NOTE = "src/slopewise/_kernels_missing.txt"
BINARY = "src/slopewise/_kernels.abi3.so"
USE = """
import multiprocessing
import slopewise, torch

def use():
    values = slopewise.PReLU()(torch.tensor([-2.0, 3.0])).tolist()
    print(slopewise.__file__, slopewise.__version__, slopewise.ops.backend(), values, sep="|")

if __name__ == "__main__":
    use()
    worker = multiprocessing.get_context("spawn").Process(target=use)
    worker.start()
    worker.join()
"""
COMPILER = sysconfig.get_config_var("CXX").split()[0]
needs_compiler = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="there is no C++ compiler")


def run(*arguments: object, cwd: Path, python: str | Path = sys.executable, **settings: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in OURS} | settings
    ended = subprocess.run(
        [python, *map(str, arguments)],
        cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def install(what: Path, into: Path, **settings: str) -> str:
    options = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--verbose"]
    return run("-m", "pip", "install", *options, "--target", into, what, cwd=into.parent, **settings)


def editable(tree: Path, **settings: str) -> str:
    """Do to the source tree what setuptools does under `pip install -e`."""
    code = "from setuptools import build_meta as backend; backend.build_editable('.')"
    return run("-c", code, cwd=tree, **settings)


def copied(folder: Path) -> Path:
    """Copy the project, as if cloned."""
    built = shutil.ignore_patterns("__pycache__", "*.egg-info", Path(NOTE).name, Path(BINARY).name)
    folder.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=built)
        else:
            shutil.copy2(ROOT / name, folder)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copied(tmp_path / "tree")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, and the wheel that is made of it.

    Its kernels are compiled without optimisation, in a quarter of the time: the environment of the tests has them as
    users get them, and most other tests run those.
    """
    folder = tmp_path_factory.mktemp("archives")
    quick = folder / "quick"
    quick.write_text(f'#!/bin/sh\nexec "{shutil.which(COMPILER)}" "$@" -O0\n')  # the last level that is given counts
    quick.chmod(0o755)
    tree = copied(folder / "tree")
    (tree / BINARY).write_bytes(b"a former build's")
    (tree / NOTE).write_text("a former build's")
    run("-m", "build", "--no-isolation", "--outdir", folder, tree, cwd=folder, CXX=str(quick))
    return folder


@pytest.fixture
def small_tree(tree: Path) -> Path:
    """With a kernel that compiles at once, for what is about building alone."""
    shutil.rmtree(tree / "csrc")
    (tree / "csrc").mkdir()
    (tree / "csrc/kernel.h").write_text("int answer();\n")
    (tree / "csrc/kernel.cpp").write_text('#include "kernel.h"\nint answer() { return 42; }\n')
    return tree


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A user's program, with a worker process."""
    (tmp_path / "program.py").write_text(USE)
    return tmp_path / "program.py"


@pytest.fixture
def nothing(tmp_path: Path) -> str:
    """A PATH without a compiler."""
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


@pytest.mark.slow
def test_without_a_compiler_the_package_installs_and_works_and_says_once_what_is_missing(
    tree: Path, tmp_path: Path, nothing: str, program: Path
) -> None:
    missing = f"no C++ compiler: '{COMPILER}' was not found"
    log = install(tree, tmp_path / "target", PATH=nothing)
    assert f"installed without its compiled kernels, and works slower: {missing}" in log
    printed = run(program, cwd=tmp_path, PYTHONPATH=str(tmp_path / "target"), PATH=nothing)
    assert printed.count("KernelsWarning: ") == 1
    assert missing in printed.split("KernelsWarning: ")[1]
    uses = [line.split("|") for line in printed.splitlines() if "|" in line]
    assert len(uses) == 2
    for place, version, backend, values in uses:
        assert place == str(tmp_path / "target/slopewise/__init__.py")
        assert version == VERSION
        assert backend.startswith("PyTorch's own operations are in use: the kernels were not built when slopewise was")
        assert values == "[-0.5, 3.0]"


@pytest.mark.slow
@needs_compiler
def test_the_source_archive_makes_a_wheel_for_every_python(archives: Path) -> None:
    (archive,), (wheel,) = archives.glob("*.tar.gz"), archives.glob("*.whl")
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    assert {f"csrc/{path.name}" for path in (ROOT / "csrc").iterdir()} < packed
    assert not packed & {BINARY, NOTE}
    assert not [name for name in packed if name.startswith("tests")]

    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"slopewise"}
    assert [
        name for name in names if not name.endswith((".py", ".j2", ".js", ".css", ".json", ".toml", "py.typed"))
    ] == [
        "slopewise/_kernels.abi3.so",
        *(name for name in names if ".dist-info/" in name),
    ]


@pytest.mark.slow
@needs_compiler
def test_the_wheel_in_an_empty_environment_without_a_compiler_runs_a_study(
    request: pytest.FixtureRequest, tmp_path: Path, nothing: str, program: Path
) -> None:
    """With SLOPEWISE_WHEEL, which `make dist` sets to its wheel, everything that the wheel needs is installed as well.

    Otherwise the packages of this environment are put behind those of the new one, which takes seconds.
    """
    venv.create(tmp_path / "empty")
    place = Path(sysconfig.get_path("scripts", vars={"base": str(tmp_path / "empty")}))
    pip = ["-m", "pip", "--python", place / "python", "install", "--quiet", "--no-cache-dir"]
    if given := os.environ.get("SLOPEWISE_WHEEL"):
        pip += ["-c", ROOT / "constraints.txt", f"{ROOT / given}[study]"]
    else:
        (wheel,) = request.getfixturevalue("archives").glob("*.whl")
        pip += ["--no-deps", wheel]
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "empty")}))
        (packages / "behind.pth").write_text(sysconfig.get_path("purelib"))
    run(*pip, cwd=tmp_path, PATH=nothing)
    printed = run("-W", "error", program, cwd=tmp_path, python=place / "python", PATH=nothing)
    assert len(printed.splitlines()) == 2
    for file, version, backend, values in (line.split("|") for line in printed.splitlines()):
        assert Path(file).is_relative_to(tmp_path / "empty")
        assert version == VERSION
        assert backend.startswith("the compiled kernels are in use")
        assert values == "[-0.5, 3.0]"

    tiny = ["--arms", "relu,prelu_channel", "--seeds", "1", "--epochs", "1", "--train-size", "100"]
    command = ["run", *tiny, "--set", "model.options.width=4", "--workers", "1", "--out", "study"]
    printed = run(*command, cwd=tmp_path, python=place / "slopewise", PATH=nothing)
    assert "cnn on digits: prelu_channel against relu: 2 arms, 1 seed, control relu" in " ".join(printed.split())
    assert (tmp_path / "study/report.html").is_file()


def test_the_version_is_stated_once_and_repeated_where_it_must_be() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = next(line for line in changes.splitlines() if re.match("## [0-9]", line))
    assert heading == f"## {VERSION} – {citation['date-released']}"
    assert [author["name"] for author in citation["authors"]] == [AUTHOR]
    assert (citation["title"], citation["date-released"][:4]) == (TITLE, str(YEAR))


@pytest.mark.slow
@needs_compiler
def test_an_editable_install_compiles_what_changed_and_nothing_else(small_tree: Path) -> None:
    editable(small_tree)
    built = (small_tree / BINARY).stat().st_mtime_ns
    editable(small_tree)
    assert (small_tree / BINARY).stat().st_mtime_ns == built
    (small_tree / "csrc/kernel.h").touch()
    editable(small_tree)
    assert (small_tree / BINARY).stat().st_mtime_ns > built


@pytest.mark.slow
def test_a_failed_editable_build_leaves_no_former_one_to_be_loaded(small_tree: Path, nothing: str) -> None:
    (small_tree / BINARY).write_bytes(b"a former build's")
    os.utime(small_tree / BINARY, (0, 0))
    editable(small_tree, PATH=nothing)
    assert not (small_tree / BINARY).exists()
    assert (small_tree / NOTE).read_text() == f"no C++ compiler: '{COMPILER}' was not found\n"


@pytest.mark.slow
@needs_compiler
def test_the_compilers_first_error_is_the_reason_until_a_build_succeeds(small_tree: Path) -> None:
    (small_tree / "csrc/broken.cpp").write_text("#error too new for this compiler\n")
    assert "#error too new" in editable(small_tree)
    assert (small_tree / NOTE).read_text() == (
        "the C++ compiler failed: csrc/broken.cpp:1:2: error: #error too new for this compiler\n"
    )
    (small_tree / "csrc/broken.cpp").unlink()
    editable(small_tree)
    assert not (small_tree / NOTE).exists()
    assert (small_tree / BINARY).exists()
