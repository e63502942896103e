"""Classes of a folder: those that it defines, none that it imports or that is abstract; and no two of one name."""

import sys
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from slopewise.support import distinct, shipped_classes


class Base(ABC):
    id = ""

    @abstractmethod
    def work(self) -> None:
        """Do something."""


def test_a_new_file_is_a_new_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shipped_here"
    package.mkdir()
    (package / "__init__.py").touch()
    head = f"from {__name__} import Base\n"
    body = "    id = 'x'\n    def work(self): pass\n"
    (package / "_one.py").write_text(f"{head}class One(Base):\n{body}class Half(Base): pass\n")
    (package / "_two.py").write_text(f"{head}from shipped_here._one import One\nclass Two(Base):\n{body}")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        classes = shipped_classes("shipped_here", [str(package)], Base)
        assert sorted(cls.__name__ for cls in classes) == ["One", "Two"]
        with pytest.raises(
            ValueError, match=r"the id 'x' is used twice: shipped_here._one.One and shipped_here._two.Two"
        ):
            distinct(classes, "id")
    finally:
        for name in [name for name in sys.modules if name.startswith("shipped_here")]:
            del sys.modules[name]
