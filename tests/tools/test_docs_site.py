"""The documentation's site: its order has every page, its reference every public name, and its links lead somewhere."""

import importlib
import inspect
import re
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
pages = pytest.importorskip("docs_site.pages")
public_names = pytest.importorskip("docs_site.public_names")
reference = pytest.importorskip("docs_site.reference")

TRAINERS = {"slopewise.monitor.huggingface", "slopewise.monitor.lightning"}  # their libraries take seconds to import


def flat(entry):
    if isinstance(entry, str):
        yield entry
    for value in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from flat(value)


def test_every_page_has_a_place_in_the_order() -> None:
    places = list(flat(pages.navigation()))
    assert max(Counter(places).values()) == 1
    missing = [file for file in pages.markdown_files() if pages.site_path(file) not in places]
    assert not missing, "add a line for each to docs/README.md (for an alarm, to docs/alarms/README.md)"
    assert set(reference.pages()) <= set(places)


def test_every_public_name_is_documented_once() -> None:
    documented = re.findall(r"^::: (\S+)$", "\n".join(reference.pages().values()), re.MULTILINE)
    modules = [name for name in documented if public_names.file_of(name)]
    assert sorted(modules) == sorted(reference.documented())
    names = {
        reference.identifier(*home.rsplit(".", 1))
        for target, home in public_names.homes().items()
        if target.kind != "module"
    }
    assert Counter(documented) == Counter([*modules, *names])


@pytest.mark.parametrize("name", sorted(set(public_names.public_modules()) - TRAINERS))
def test_public_names_are_those_that_python_finds(name: str) -> None:
    module = importlib.import_module(name)
    exports = public_names.exports(name)
    lazy = inspect.getclosurevars(module.__getattr__).nonlocals if hasattr(module, "__getattr__") else {}
    own = (key for key, value in vars(module).items() if getattr(value, "__module__", None) == name)
    found = {*getattr(module, "__all__", ()), *lazy.get("home", ()), *lazy.get("modules", ()), *own}
    assert {key for key in found if not key.startswith("_")} - {"T"} <= exports.keys()  # T is a type variable
    for key, target in exports.items():
        home = importlib.import_module(target.module)
        assert getattr(module, key) is (getattr(home, target.name) if target.name else home)


def test_links_lead_to_pages_of_the_site() -> None:
    text = """[a](../README.md#limits) [`b`](spec.md) ![c](images/seeds.png) [d](../examples) [e](https://e.org)
[f](#here) `[g](none.md)`
```python
x = y[0](z)
```
[h](data/coverage.json "rows") [i](../examples/05_export.py)
"""
    files: set[str] = set()
    new = pages.rewritten("docs/train.md", text, files)
    assert new.splitlines()[0].split() == [
        "[a](index.md#limits)",
        "[`b`](spec.md)",
        "![c](images/seeds.png)",
        "[d](files/examples/index.md)",
        "[e](https://e.org)",
    ]
    assert new.splitlines()[1:5] == text.splitlines()[1:5]
    assert new.splitlines()[5] == '[h](files/docs/data/coverage.json "rows") [i](files/examples/05_export.py.md)'
    assert "examples/05_export.py" in files
    with pytest.raises(SystemExit, match=r"docs/train.md: no file docs/none.md"):
        pages.rewritten("docs/train.md", "[x](none.md)", set())


def test_nested_lists_are_lists_for_both_readers() -> None:
    """GitHub takes any indent of a nested list, Python-Markdown only four spaces."""
    for file in pages.markdown_files():
        text = re.sub(r"^```.*?^```", "", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert not re.findall(r"^ {1,3}(?:[-*]|\d+\.) .*", text, re.MULTILINE), file


def test_every_link_of_every_page_leads_to_a_file() -> None:
    for file in pages.markdown_files():
        linked: set[str] = set()
        pages.rewritten(file, (ROOT / file).read_text(encoding="utf-8"), linked)
        assert all(PurePosixPath(path).parts[0] != ".." for path in linked)
