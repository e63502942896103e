"""Rewriting of a module's own source: the expression that applies an activation calls a submodule instead.

Control flow, keyword arguments, other methods and code that depends on the training mode stay as they were written.
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
    """A call site that is to call a submodule instead.

    Attributes:
        where: Call site.
        attribute: Attribute of the submodule.
        inputs: Expressions that contain the input of an activation that is written out, each as the call site of an
            operation and the number of its argument; -1 stands for the one argument that is no plain number. None if
            the call site is a call on the input.
        changing: Call sites of operations that write over their input, all of which must be removed.
    """

    where: Where | None
    attribute: str
    inputs: tuple[tuple[Where, int], ...] | None = None
    changing: tuple[Where, ...] = ()

    @classmethod
    def of(cls, step: OpCall | ModuleCall, attribute: str, activation: Activation | None = None) -> Edit:
        """Return the edit that replaces a step, or all operations of an activation of which it is the last."""
        if activation is None or (len(activation.ops) < 2 and not activation.general):
            return cls(step.where, attribute)
        uses = [(op.where, side) for op in activation.ops for side in _sides(op, activation.input)]
        changing = [op.where for op in activation.ops[:-1] if changes_input(op)]
        return cls(
            step.where,
            attribute,
            tuple((where, n) for where, n in uses if where is not None),
            tuple(where for where in changing if where is not None),
        )


def plan_source(
    owner: nn.Module, edits: Sequence[Edit], kept: Collection[Where | None] = ()
) -> tuple[list[Method], dict[str, str]]:
    """Plan edits of a module's source.

    Args:
        owner: Module to rewrite; it is not changed yet.
        edits: Edits to make.
        kept: Call sites that must stay unchanged, because another execution of the same expression still uses the
            original module.

    Returns:
        The rewritten methods, and for each attribute whose edit is impossible the reason.
    """
    refused: dict[str, str] = {}
    # Several edits at one position are calls of one expression at different times, as in a loop.
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
    # An indented method parses under an `if`, with the columns that its code object has; lines are shifted later.
    text = "if True:\n" + "".join(lines) if lines[0][:1].isspace() else "\n" + "".join(lines)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:  # the code was compiled under the name of another file, whose lines are read here
        raise CannotRewriteError(f"the source of {method.__qualname__} is not to be had") from error
    function = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    if function is None:
        raise CannotRewriteError(f"the source of {method.__qualname__} is no plain function")
    editor = _Editor(function, places, start - 2, method.__globals__)
    editor.visit(function)
    function.decorator_list = []
    # The new function gets the default values of the original one; their expressions are not evaluated again.
    function.args.defaults = [ast.Constant(None) for _ in function.args.defaults]
    function.args.kw_defaults = [default and ast.Constant(None) for default in function.args.kw_defaults]
    function.name = method.__name__
    return Method(method.__name__, ast.unparse(ast.fix_missing_locations(function)) + "\n"), editor.done


class _Editor(ast.NodeTransformer):
    """Replaces the expressions at some positions by calls of submodules.

    Attributes:
        done: Positions that were replaced.
    """

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
        """Return the expression to which the activation at a node is applied; None if it is not certain."""
        if edit.inputs is None:
            return _argument(node) if isinstance(node, ast.Call) else None
        within = {self._position(part): part for part in ast.walk(node) if isinstance(part, (ast.expr, ast.AugAssign))}
        if any(isinstance(part, (ast.NamedExpr, ast.Await, ast.Yield)) for part in within.values()):
            return None
        if any(_position(where) not in within for where in edit.changing):
            return None  # a statement outside the expression would still write over the input
        for where, number in edit.inputs:
            part = within.get(_position(where)) if where.direct else None
            given = None if part is None else _operand(part, number, self.names)
            # An expression with several uses of the input has the same value in each only if it is a name.
            if given is not None and (len(edit.inputs) == 1 or _is_name(given)):
                return given
        return None


def _argument(node: ast.Call) -> ast.expr | None:
    """Return the input of an activation's call: its first argument, or the tensor of which it is a method."""
    named = [keyword.value for keyword in node.keywords if keyword.arg in ("input", "x", "self")]
    if node.args:
        return None if isinstance(node.args[0], ast.Starred) else node.args[0]
    if named:
        return named[0]
    return node.func.value if isinstance(node.func, ast.Attribute) and not node.keywords else None


def _operand(node: ast.AST, number: int, names: Mapping[str, Any]) -> ast.expr | None:
    """Return the expression of an operation's argument; None if it is not certain.

    The tensor of which the operation is a method counts as its first argument.
    """
    operands = _operands(node, names)
    if number < 0 and len(operands) == 2:  # the argument that is no number
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
    """Return the numbers of an operation's arguments that are a given value, as in `Edit.inputs`."""
    numbers = [number for number, given in enumerate(op.args) if given is source]
    tensors = sum(isinstance(given, Value) for given in op.args)
    if tensors > 1 or len(op.args) != 2 or not numbers:
        return numbers
    name = plain_name(op)  # Python swaps the operands of `2 * x` and `0 < x`
    if name in ("sub", "div", "pow", "true_divide"):
        return [0]
    return [1] if name.startswith("__r") or name == "rsub" else [-1]


def _is_name(node: ast.expr) -> bool:
    """Return True if an expression is a name or an attribute of one, and so has the same value each time."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_name(node.value))


def _is_number(node: ast.expr) -> bool:
    return not any(isinstance(part, (ast.Name, ast.Call)) for part in ast.walk(node))


def _is_module(node: ast.expr, names: Mapping[str, Any]) -> bool:
    """Return True if an expression names a Python module or a class, whose functions are no methods of tensors."""
    if isinstance(node, ast.Attribute):
        return _is_module(node.value, names)
    return isinstance(node, ast.Name) and isinstance(names.get(node.id), (ModuleType, type))
