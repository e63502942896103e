"""Rewriting a module's own source: the one expression that applies an activation calls a submodule instead.

Control flow, keyword arguments, other methods and what depends on the training mode stay as they were written.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import FunctionType

from torch import nn

from slopewise._flow import Where
from slopewise.convert._rewritten import CannotRewriteError, Method

_Position = tuple[int | None, int | None, int | None, int | None]  # first and last line, first and last column


@dataclass(frozen=True)
class Edit:
    """At this place call the submodule `attribute` on the same input."""

    where: Where | None
    attribute: str


def plan_source(
    owner: nn.Module, edits: Sequence[Edit], kept: Collection[Where | None] = ()
) -> tuple[list[Method], dict[str, str]]:
    """The methods of `owner` with the edits made, and for attributes that cannot be put in so, why not.

    `kept` are places that some other time they are passed are to stay as they are.
    """
    refused: dict[str, str] = {}
    places: defaultdict[tuple[str, _Position], dict[str, Edit]] = defaultdict(dict)
    for edit in edits:
        try:
            places[_place(owner, edit.where)][edit.attribute] = edit
        except CannotRewriteError as error:
            refused[edit.attribute] = str(error)
    by_method: defaultdict[str, dict[_Position, str]] = defaultdict(dict)
    for (name, position), there in places.items():
        if len(there) > 1 or any(edit.where in kept for edit in there.values()):
            refused |= {
                attribute: f"the call at {edit.where} is made several times (call_sites='shared' ties them)"
                for attribute, edit in there.items()
            }
        else:
            (by_method[name][position],) = there
    methods = []
    for name, attributes in by_method.items():
        try:
            method, done = _rewritten(getattr(type(owner), name), attributes)
        except CannotRewriteError as error:
            refused |= dict.fromkeys(attributes.values(), str(error))
            continue
        methods += [method] if done else []
        left = [attribute for position, attribute in attributes.items() if position not in done]
        refused |= dict.fromkeys(left, f"an expression in {name}() is not the plain call of an activation")
    return methods, refused


def _place(owner: nn.Module, where: Where | None) -> tuple[str, _Position]:
    if where is None or not where.direct:
        raise CannotRewriteError(f"a function outside {type(owner).__name__} makes the call")
    name = where.code.co_name
    method = inspect.getattr_static(type(owner), name, None)
    if not isinstance(method, FunctionType) or method.__code__ is not where.code:
        raise CannotRewriteError(f"{type(owner).__name__}.{name} is wrapped in a decorator")
    return name, list(where.code.co_positions())[where.offset // 2]


def _rewritten(method: FunctionType, places: dict[_Position, str]) -> tuple[Method, set[_Position]]:
    try:
        lines, start = inspect.getsourcelines(method)
    except OSError as error:
        raise CannotRewriteError(f"the source of {method.__qualname__} is not to be had") from error
    # Under an `if` an indented method is a statement, and keeps its columns; its lines begin anew.
    tree = ast.parse("if True:\n" + "".join(lines)) if lines[0][:1].isspace() else ast.parse("\n" + "".join(lines))
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    instead = _Instead(function, places, start - 2)
    instead.visit(function)
    function.decorator_list = []
    # Default values are the original function's; their expressions are not evaluated again.
    function.args.defaults = [ast.Constant(None) for _ in function.args.defaults]
    function.args.kw_defaults = [default and ast.Constant(None) for default in function.args.kw_defaults]
    function.name = method.__name__
    return Method(method.__name__, ast.unparse(ast.fix_missing_locations(function)) + "\n"), instead.done


class _Instead(ast.NodeTransformer):
    def __init__(self, function: ast.FunctionDef, places: dict[_Position, str], lines_before: int) -> None:
        self.own = (function.args.posonlyargs + function.args.args)[0].arg
        self.places, self.lines_before = places, lines_before
        self.done: set[_Position] = set()

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        first, last = node.lineno + self.lines_before, (node.end_lineno or 0) + self.lines_before
        position = (first, last, node.col_offset, node.end_col_offset)
        if position not in self.places:
            return node
        given = _input(node)
        if given is None:
            return node
        self.done.add(position)
        target = ast.Attribute(ast.Name(self.own, ast.Load()), self.places[position], ast.Load())
        return ast.copy_location(ast.Call(target, [given], []), node)


def _input(node: ast.Call) -> ast.expr | None:
    """What an activation's call is applied to: its first argument, or the tensor whose method it is."""
    named = [keyword.value for keyword in node.keywords if keyword.arg in ("input", "x", "self")]
    if node.args:
        return None if isinstance(node.args[0], ast.Starred) else node.args[0]
    if named:
        return named[0]
    return node.func.value if isinstance(node.func, ast.Attribute) and not node.keywords else None
