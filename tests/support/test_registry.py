"""Extensions by name."""

import sys
from collections.abc import Callable, Mapping

import pytest

from slopewise.errors import EngineError, SpecError, look_up
from slopewise.support import Registry

Install = Callable[[str, Mapping[str, str]], None]


def test_an_installed_package_brings_an_extension_that_is_loaded_on_use(install: Install) -> None:
    install("example.numbers", {"tau": "math:tau", "broken": "no_such_module:x", "own": "math:pi"})
    numbers = Registry("example.numbers", {"own": 1.0})
    assert numbers.names() == ("own", "broken", "tau")
    assert numbers.find("own") == 1.0
    assert round(numbers.find("tau"), 3) == 6.283
    with pytest.raises(ImportError, match=r"no_such_module:x \(example.numbers\) cannot be imported: ModuleNotFound"):
        numbers.find("broken")
    install("example.numbers", {"tau": "math:tau", "own": "math:pi"})
    assert [round(number, 3) for _, number in numbers.items()] == [1.0, 6.283]
    assert "tau" in numbers
    assert "broken" not in numbers


def test_names_of_the_package_and_names_that_look_like_paths_are_refused() -> None:
    numbers = Registry("example.numbers", {"one": 1})
    for name in ("one", "", "a:b", "a/b", "a\\b"):
        with pytest.raises(ValueError, match="choose a name without"):
            numbers.register(name, 2)
    numbers.register("two", 2)
    numbers.register("two", 2.0)
    assert dict(numbers.items()) == {"one": 1, "two": 2.0}


def test_a_registered_extension_can_be_removed() -> None:
    numbers = Registry("example.numbers", {"one": 1})
    numbers.register("two", 2)
    numbers.unregister("two")
    assert numbers.find("two") is None
    for name in ("one", "two"):
        with pytest.raises(ValueError, match=f"example.numbers: nothing is registered as '{name}'"):
            numbers.unregister(name)


def test_no_installed_package_is_imported_to_list_names(install: Install) -> None:
    install("example.numbers", {"late": "this:d"})
    assert Registry("example.numbers", {}).names() == ("late",)
    assert "this" not in sys.modules


def test_errors_list_the_known_names(install: Install) -> None:
    install("example.numbers", {"tau": "math:tau", "broken": "no_such_module:x"})
    numbers = Registry("example.numbers", {"one": 1.0})
    assert look_up(numbers, "one", SpecError, place="number 'one'") == 1
    with pytest.raises(SpecError, match=r"^unknown number 'tan'; did you mean 'tau'\? \(known: one, broken, tau\)$"):
        look_up(numbers, "tan", SpecError, place="number 'tan'")
    with pytest.raises(EngineError, match=r"^'x' is no number; known: one, broken, tau, module:name$"):
        look_up(
            numbers, "x", EngineError, place="number 'x'", unknown="'x' is no number", alternative="module:name"
        )  # fmt: skip
    with pytest.raises(
        EngineError, match=r"^number 'broken': no_such_module:x \(example.numbers\) cannot be imp"
    ) as got:
        look_up(numbers, "broken", EngineError, place="number 'broken'")
    assert isinstance(got.value.__cause__, ImportError)
