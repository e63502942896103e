"""Pages of the API reference: one for each public module, with every name at its home and links to it elsewhere."""

from __future__ import annotations

from docs_site.public_names import Definition, docstring, exports, file_of, homes, public_modules

# Rooms that other rooms stand on, or that only commands use: people who change slopewise look here.
_INNER = "activations bench cli drawing events live machine modules ops report support timing trace"
INNER = frozenset(_INNER.split(" "))


def pages() -> dict[str, str]:
    """Return the text of each page of the reference, by its path in the site."""
    return {path_of(module): page(module) for module in documented()} | {"reference/index.md": contents()}


def documented() -> list[str]:
    """Return the modules that have a page."""
    return [module for module in public_modules() if exports(module)]


def path_of(module: str) -> str:
    """Return the path of a module's page in the site."""
    return f"reference/{module}.md"


def is_inner(module: str) -> bool:
    """Return whether a module belongs to an inner room."""
    return not INNER.isdisjoint(module.split(".")[1:2])


def here(module: str) -> list[str]:
    """Return the names that have their home in a module, classes before functions before constants.

    Modules among them have pages of their own.
    """
    kinds = ("class", "function", "constant")
    own = {name: target.kind for name, target in exports(module).items() if homes()[target] == f"{module}.{name}"}
    return sorted((name for name in own if own[name] in kinds), key=lambda name: (kinds.index(own[name]), name.lower()))


def page(module: str) -> str:
    """Return the page of a module: a table of its names, then each name that has its home here."""
    lines = [f"# `{module}`", "", f"::: {module}", "    options:", "      members: false"]
    lines += ["      show_root_heading: false", "      show_root_toc_entry: false", ""]
    own = here(module)
    guests = sorted(exports(module).keys() - set(own), key=str.lower)
    if own:
        lines += ["| name | |", "| --- | --- |", *(_row(module, name) for name in own), ""]
    if guests:
        lines += ["Also here, documented where they belong:", "", "| name | |", "| --- | --- |"]
        lines += [*(_row(module, name) for name in guests), ""]
    for name in own:
        lines += [f"::: {identifier(module, name)}", ""]
    return "\n".join(lines)


def identifier(module: str, name: str) -> str:
    """Return the path by which griffe finds a name at its home, which is its anchor, too.

    Where a module has the same path, as `rules` of the alarms does, that of the definition.
    """
    path, target = f"{module}.{name}", exports(module)[name]
    return f"{target.module}.{target.name}" if file_of(path) else path


def _row(module: str, name: str) -> str:
    """Return a row of a table: the name, as a link to its documentation, and the first paragraph of its docstring."""
    target = exports(module)[name]
    return f"| [`{name}`]({_place(target)}) | {_sentence(target.text)} |"


def _place(target: Definition) -> str:
    """Return the link to a definition's documentation."""
    home = homes()[target]
    if target.kind == "module":
        return f"{home}.md"
    module, _, name = home.rpartition(".")
    return f"{module}.md#{identifier(module, name)}"


def _sentence(text: str) -> str:
    """Return the first paragraph of a docstring, fit for a cell of a table."""
    first, _, _ = text.partition("\n\n")
    return first.replace("\n", " ").replace("``", "`").replace("|", "\\|")


def contents() -> str:
    """Return the first page: the modules, those for users before the inner ones."""
    lines = ["# API reference", ""]
    lines += ["Every public name, from the docstrings. Each is documented once, where it belongs; modules that export"]
    lines += ["it, too, link there. `import slopewise as sw` is all that most programs need.", ""]
    for title, inner in (("For users", False), ("Inner rooms, for those who change slopewise", True)):
        lines += [f"## {title}", "", "| module | |", "| --- | --- |"]
        lines += [
            f"| [`{module.removeprefix('slopewise.')}`]({module}.md) | {_sentence(docstring(module))} |"
            for module in documented()
            if is_inner(module) == inner
        ]
        lines.append("")
    return "\n".join(lines)
