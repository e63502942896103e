"""Rewriting a module's own source: the one expression that applies an activation calls a submodule instead.

Control flow, keyword arguments, other methods and what depends on the training mode stay as they were written.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

from slopewise.activations import Activation, changes_input, plain_name
from slopewise.convert._rewritten import CannotRewriteError, Method
from slopewise.trace import ModuleCall, OpCall, Value, Where

_REPLACEABLE = (ast.Call, ast.BinOp, ast.AugAssign)
_Position = tuple[int | None, int | None, int | None, int | None]  # first and last line, first and last column


@dataclass(frozen=True)
class Edit:
    """A place where to call the submodule `attribute` in the stead of what is there.

    Attributes:
        where: the place.
        attribute: Name of the submodule.
        inputs: expressions that the input of an activation which is written out stands in: the places of operations,
            and the number of the argument of each, -1 for the one that is no plain number. None where the place itself
            is a call on the input.
        changing: places of operations that write over their input, which must all go.
    """

    where: Where | None
    attribute: str
    inputs: tuple[tuple[Where, int], ...] | None = None
    changing: tuple[Where, ...] = ()

    @classmethod
    def of(cls, step: OpCall | ModuleCall, attribute: str, found: Activation | None = None) -> Edit:
        """The edit that replaces a step, or all the operations of an activation that ends with it."""
        if found is None or (len(found.ops) < 2 and not found.general):
            return cls(step.where, attribute)
        uses = [(op.where, side) for op in found.ops for side in _sides(op, found.input)]
        changing = [op.where for op in found.ops[:-1] if changes_input(op)]
        return cls(
            step.where,
            attribute,
            tuple((where, n) for where, n in uses if where is not None),
            tuple(where for where in changing if where is not None),
        )


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
    by_method: defaultdict[str, dict[_Position, Edit]] = defaultdict(dict)
    for (name, position), there in places.items():
        if len(there) > 1 or any(edit.where in kept for edit in there.values()):
            refused |= {
                attribute: f"the call at {edit.where} is made several times "
                "(to='prelu_shared' with call_sites='shared' ties them)"
                for attribute, edit in there.items()
            }
        else:
            (by_method[name][position],) = there.values()
    methods = []
    for name, changes in by_method.items():
        try:
            method, done = _rewritten(getattr(type(owner), name), changes)
        except CannotRewriteError as error:
            refused |= dict.fromkeys([edit.attribute for edit in changes.values()], str(error))
            continue
        methods += [method] if done else []
        left = [edit.attribute for position, edit in changes.items() if position not in done]
        refused |= dict.fromkeys(left, f"an expression in {name}() is not the plain call of an activation")
    return methods, refused


def _place(owner: nn.Module, where: Where | None) -> tuple[str, _Position]:
    if where is None or not where.direct:
        raise CannotRewriteError(f"a function outside {type(owner).__name__} makes the call")
    name = where.code.co_name
    method = inspect.getattr_static(type(owner), name, None)
    if not isinstance(method, FunctionType) or method.__code__ is not where.code:
        raise CannotRewriteError(f"{type(owner).__name__}.{name} is wrapped in a decorator")
    return name, _position(where)


def _position(where: Where) -> _Position:
    return list(where.code.co_positions())[where.offset // 2]


def _rewritten(method: FunctionType, places: dict[_Position, Edit]) -> tuple[Method, set[_Position]]:
    try:
        lines, start = inspect.getsourcelines(method)
    except OSError as error:
        raise CannotRewriteError(f"the source of {method.__qualname__} is not to be had") from error
    # Under an `if` an indented method is a statement, and keeps its columns; its lines begin anew.
    text = "if True:\n" + "".join(lines) if lines[0][:1].isspace() else "\n" + "".join(lines)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:  # code that was executed under the name of another file
        raise CannotRewriteError(f"the source of {method.__qualname__} is not to be had") from error
    function = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    if function is None:
        raise CannotRewriteError(f"the source of {method.__qualname__} is no plain function")
    instead = _Instead(function, places, start - 2, method.__globals__)
    instead.visit(function)
    function.decorator_list = []
    # Default values are the original function's; their expressions are not evaluated again.
    function.args.defaults = [ast.Constant(None) for _ in function.args.defaults]
    function.args.kw_defaults = [default and ast.Constant(None) for default in function.args.kw_defaults]
    function.name = method.__name__
    return Method(method.__name__, ast.unparse(ast.fix_missing_locations(function)) + "\n"), instead.done


class _Instead(ast.NodeTransformer):
    def __init__(
        self, function: ast.FunctionDef, places: dict[_Position, Edit], lines_before: int, names: Mapping[str, Any]
    ) -> None:
        self.own = (function.args.posonlyargs + function.args.args)[0].arg
        self.places, self.lines_before, self.names = places, lines_before, names
        self.done: set[_Position] = set()

    def visit(self, node: ast.AST) -> ast.AST:
        position = self._position(node)
        edit = self.places.get(position) if isinstance(node, _REPLACEABLE) else None
        given = None if edit is None else self._input(node, edit)
        if edit is None or given is None or position in self.done:
            return super().visit(node)  # type: ignore[no-any-return]
        self.done.add(position)
        target = ast.Attribute(ast.Name(self.own, ast.Load()), edit.attribute, ast.Load())
        argument: Any = self.visit(given)
        call = ast.copy_location(ast.Call(target, [argument], []), node)
        return ast.copy_location(ast.Assign([node.target], call), node) if isinstance(node, ast.AugAssign) else call

    def _position(self, node: ast.AST) -> _Position:
        first, last = getattr(node, "lineno", 0) + self.lines_before, getattr(node, "end_lineno", 0) + self.lines_before
        return first, last, getattr(node, "col_offset", None), getattr(node, "end_col_offset", None)

    def _input(self, node: ast.AST, edit: Edit) -> ast.expr | None:
        """The expression that the activation at a node is applied to; None if it cannot be told."""
        if edit.inputs is None:
            return _argument(node) if isinstance(node, ast.Call) else None
        within = {self._position(part): part for part in ast.walk(node) if isinstance(part, (ast.expr, ast.AugAssign))}
        if any(isinstance(part, (ast.NamedExpr, ast.Await, ast.Yield)) for part in within.values()):
            return None
        if any(_position(where) not in within for where in edit.changing):
            return None  # it would still be changed, by a statement that stays
        for where, number in edit.inputs:
            part = within.get(_position(where)) if where.direct else None
            given = None if part is None else _operand(part, number, self.names)
            # What is taken at several places is one value only if a name stands for it.
            if given is not None and (len(edit.inputs) == 1 or _is_name(given)):
                return given
        return None


def _argument(node: ast.Call) -> ast.expr | None:
    """What an activation's call is applied to: its first argument, or the tensor whose method it is."""
    named = [keyword.value for keyword in node.keywords if keyword.arg in ("input", "x", "self")]
    if node.args:
        return None if isinstance(node.args[0], ast.Starred) else node.args[0]
    if named:
        return named[0]
    return node.func.value if isinstance(node.func, ast.Attribute) and not node.keywords else None


def _operand(node: ast.AST, number: int, names: Mapping[str, Any]) -> ast.expr | None:
    """The expression of an operation's argument, counted with the tensor whose method it is; None if not told."""
    operands = _operands(node, names)
    if number < 0 and len(operands) == 2:  # the one that is no number
        operands = [given for given in operands if not _is_number(given)]
        return operands[0] if len(operands) == 1 else None
    number = max(number, 0)
    return operands[number] if number < len(operands) and not isinstance(operands[number], ast.Starred) else None


def _operands(node: ast.AST, names: Mapping[str, Any]) -> list[ast.expr]:
    operands: list[ast.expr] = []
    match node:
        case ast.AugAssign(target=ast.Name(id=name)):
            operands = [ast.copy_location(ast.Name(name, ast.Load()), node.target), node.value]
        case ast.BinOp():
            operands = [node.left, node.right]
        case ast.Compare(comparators=[other]):
            operands = [node.left, other]
        case ast.UnaryOp():
            operands = [node.operand]
        case ast.Call(func=ast.Attribute(value=value)) if not _is_module(value, names):
            operands = [value, *node.args]
        case ast.Call():
            operands = list(node.args)
    return operands


def _sides(op: OpCall, source: Value) -> list[int]:
    """The arguments of an operation that are one value, as `Edit.inputs` counts them."""
    found = [number for number, given in enumerate(op.args) if given is source]
    tensors = sum(isinstance(given, Value) for given in op.args)
    if tensors > 1 or len(op.args) != 2 or not found:
        return found
    name = plain_name(op)  # Python turns `2 * x` and `0 < x` round
    if name in ("sub", "div", "pow", "true_divide"):
        return [0]
    return [1] if name.startswith("__r") or name == "rsub" else [-1]


def _is_name(node: ast.expr) -> bool:
    """Return whether an expression is a name, or an attribute of one, and so gives the same each time."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_name(node.value))


def _is_number(node: ast.expr) -> bool:
    return not any(isinstance(part, (ast.Name, ast.Call)) for part in ast.walk(node))


def _is_module(node: ast.expr, names: Mapping[str, Any]) -> bool:
    """Return whether an expression names a Python module or a class, whose functions are no methods of tensors."""
    if isinstance(node, ast.Attribute):
        return _is_module(node.value, names)
    return isinstance(node, ast.Name) and isinstance(names.get(node.id), (ModuleType, type))
