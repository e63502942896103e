"""Every page's blocks run in order: those of Python in one namespace, commands in one folder."""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from slopewise.recording.alarms import rules, unregister

from .pages import PAGES, ROOT, Block, blocks
from .stage import HAS, lay

Cli = Callable[..., subprocess.CompletedProcess[str]]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
WITH_CODE = [page for page in PAGES if any(block.language in ("python", "shell") for block in blocks(page))]
# Trials in the process of the command, for pages whose studies are meant to be run; others are rehearsed.
WHOLE = {"docs/quickstart.md": ["--engine", "slopewise.testing:InProcessEngine", "--seeds", "2", "--epochs", "1"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be in an empty folder, as the reader is, and forget what was imported from there, and which rules were added."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    installed = str(ROOT), sys.prefix  # which may be in the system's temporary folder themselves
    for name, module in list(sys.modules.items()):
        path = str(getattr(module, "__file__", ""))
        if path.startswith(tempfile.gettempdir()) and not path.startswith(installed):
            monkeypatch.delitem(sys.modules, name)  # another test's network may have the name of the page's
    before, known = set(sys.modules), {rule.id for rule in rules()}
    with torch.random.fork_rng():
        yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    for rule in rules():
        if rule.id not in known:
            unregister(rule.id)


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_blocks_of_a_page_run_in_order(page: str, folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(folder, HAS.get(page, ()))
    module = types.ModuleType(f"page_{Path(page).stem}".replace("-", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)  # classes of the page can be pickled
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        if block.reason:
            continue
        if block.language == "python" and not block.file:
            code = compile("\n" * block.line + block.text, str(ROOT / page), "exec")
            exec(code, module.__dict__)
        elif block.language == "shell" and "<<" in block.text:
            script(block)
        elif block.language == "shell":
            for words in block.commands():
                command(block, words, cli)


def script(block: Block) -> None:
    """Run a block with documents of the shell's."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(["bash", "-euc", block.text], env={**os.environ, "PATH": path}, check=True)


def command(block: Block, words: list[str], cli: Cli) -> None:
    """Run a command, a study's as a rehearsal; of the installer, look whether it exists."""
    if words[:2] == ["pip", "install"]:
        named = [extra for word in words for extra in re.findall(r"\[([\w,]+)\]", word)]
        assert {extra for extras in named for extra in extras.split(",")} <= set(EXTRAS)
        return
    assert words[0] == "slopewise", f"{block.page}:{block.line}: {words[0]} is no command that is run here"
    own = [word.replace("~/", "./") for word in words[1:]]
    if own[0] == "run":
        own += WHOLE.get(block.page, ["--dry-run"])
    ended = cli(*own)
    assert ended.returncode == 0, f"{block.page}:{block.line}: {' '.join(words)}\n{ended.stdout}{ended.stderr}"


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_first_block_needs_nothing_and_what_is_not_run_says_why(page: str) -> None:
    code = [block for block in blocks(page) if block.language in ("python", "shell")]
    first = next((block for block in code if block.language == "python"), None)
    assert not (first and first.reason) or first.reason.startswith("needs a "), "the first block must run as it stands"
    for block in code:
        assert block.reason is None or re.match(r"[a-z`].{8,}", block.reason), "a reason in words"


@pytest.mark.parametrize("page", PAGES)
def test_commands_stand_in_blocks_of_a_shell(page: str) -> None:
    for block in blocks(page):
        if not block.language:
            assert not re.match(r"(slopewise|pip|make|python|git) ", block.text), f"{page}:{block.line}: say ```bash"


def test_blocks_are_counted() -> None:
    """Keep the share of blocks that are not run from growing unnoticed."""
    code = [b for page in PAGES for b in blocks(page) if b.language in ("python", "shell") and not b.file]
    left = [f"{block.page}:{block.line}: {block.reason}" for block in code if block.reason]
    print("\n".join([f"{len(code) - len(left)} of {len(code)} blocks run; not run:", *left]))  # noqa: T201 - by -rP
    assert len(left) < len(code) / 3
