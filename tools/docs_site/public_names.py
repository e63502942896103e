"""Public names of slopewise, read from its sources: nothing is imported.

A module is public if no part of its name begins with `_`. Public names of a module are what it defines, what it exports
by `from ... import name as name` (under `TYPE_CHECKING`, too: those are imported on first use), and `__all__`. A name
that several modules export has one home, the exporting module that is nearest to the definition.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"


@dataclass(frozen=True)
class Definition:
    """A class, a function, a constant or a module, where it is defined.

    Attributes:
        module: Module that defines it.
        name: Its name there; empty for a module.
        kind: "class", "function", "constant" or "module".
        text: Its docstring; of a constant the comment on its last line, or a short value as code.
    """

    module: str
    name: str
    kind: str
    text: str


def file_of(module: str) -> Path | None:
    """Return the file of a module of slopewise, if there is one."""
    path = SOURCES.joinpath(*module.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


@cache
def public_modules() -> tuple[str, ...]:
    """Return the names of all public modules, packages before what is in them."""
    files = (file.relative_to(SOURCES).with_suffix("") for file in (SOURCES / "slopewise").rglob("*.py"))
    names = (".".join(file.parts).removesuffix(".__init__") for file in files)
    return tuple(sorted(name for name in names if "._" not in name))


def _source(module: str) -> str:
    file = file_of(module)
    if file is None:
        raise LookupError(f"no source of {module}")
    return file.read_text(encoding="utf-8")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module))


def docstring(module: str) -> str:
    """Return the docstring of a module."""
    return ast.get_docstring(_tree(module)) or ""


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those under `if` and `try` as well."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from _statements([*statement.body, *statement.orelse])


_SHORT = 80  # characters of a value that is shown


def _comment(module: str, statement: ast.Assign | ast.AnnAssign) -> str:
    """Return the comment at the end of a constant's last line, else its value as code if that is short, else ""."""
    line = _source(module).splitlines()[(statement.end_lineno or statement.lineno) - 1]
    rest = line.encode()[statement.end_col_offset or 0 :].decode().strip()  # columns count bytes
    if rest.startswith("# ") and "noqa" not in rest:
        return rest.removeprefix("# ")
    value = ast.unparse(statement.value) if statement.value else ""
    return f"`{value}`" if 0 < len(value) <= _SHORT else ""


@cache
def _bindings(module: str) -> dict[str, Definition | tuple[str, str]]:
    """Return what each name of a module is: a definition, or the module and name that it is imported from."""
    bound: dict[str, Definition | tuple[str, str]] = {}
    for statement in _statements(_tree(module).body):
        match statement:
            case ast.ImportFrom(module=str(origin), names=aliases, level=0):
                bound |= {alias.asname or alias.name: (origin, alias.name) for alias in aliases}
            case ast.ClassDef(name=name):
                bound[name] = Definition(module, name, "class", ast.get_docstring(statement) or "")
            case ast.FunctionDef(name=name):
                bound[name] = Definition(module, name, "function", ast.get_docstring(statement) or "")
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                bound[name] = Definition(module, name, "constant", _comment(module, statement))
    return bound


def _exported(module: str) -> Iterator[str]:
    for statement in _statements(_tree(module).body):
        match statement:
            case ast.ImportFrom(names=aliases):
                yield from (alias.name for alias in aliases if alias.asname == alias.name)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                yield from ast.literal_eval(value)
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def definition(module: str, name: str) -> Definition | None:
    """Return the definition behind a name of a module, or None if it is not one of slopewise's own."""
    if file_of(module) is None:
        return None
    binding = _bindings(module).get(name)
    if isinstance(binding, Definition):
        return binding
    inner = f"{module}.{name}"
    if (binding is None or binding == (module, name)) and file_of(inner):
        return Definition(inner, "", "module", docstring(inner))
    return definition(*binding) if binding else None


@cache
def exports(module: str) -> dict[str, Definition]:
    """Return the public names of a module, each with its definition."""
    names = dict.fromkeys(name for name in _exported(module) if not name.startswith("_"))
    found = {name: definition(module, name) for name in names}
    return {name: target for name, target in found.items() if target is not None}


@cache
def homes() -> dict[Definition, str]:
    """Return the public path of each definition that a public module exports."""
    paths: dict[Definition, list[str]] = {}
    for module in public_modules():
        for name, target in exports(module).items():
            paths.setdefault(target, []).append(f"{module}.{name}")
    return {
        target: target.module if target.kind == "module" else max(of, key=lambda path: _nearness(path, target))
        for target, of in paths.items()
    }


def _nearness(path: str, target: Definition) -> tuple[int, int]:
    """Return how many packages a path's module shares with the definition's; of equal ones, the shortest is nearest."""
    shared = 0
    for part, other in zip(path.split(".")[:-1], target.module.split("."), strict=False):
        if part != other:
            break
        shared += 1
    return shared, -path.count(".")
