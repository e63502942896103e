"""Reading of a pickle as inert records: nothing that it names is imported, and nothing is called.

`pickletools.genops` decodes the opcodes; the machine below keeps the stack. Instead of looking a class up and making an
object, as `pickle` does, it keeps a `Name` and a `Record`. So no content of a file can run code, whatever its classes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle refers to."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Record:
    """An object as its pickle describes it.

    Attributes:
        constructor: Class or function that would make it.
        args: Arguments of that call.
        values: Items appended to it, as to a list.
        items: Items set in it, as in a dict.
        state: Its attributes, or the state that its class would restore it from.
    """

    constructor: Any
    args: Any
    values: list[Any] = field(default_factory=list)
    items: dict[Any, Any] = field(default_factory=dict)
    state: Any = None


def load(stream: IO[bytes], persistent: Callable[[Any], Any]) -> Any:
    """Return the next pickled object of a stream, and leave the stream positioned after it.

    Args:
        stream: Binary file, open at the start of a pickle.
        persistent: Function that returns the object for a persistent id.

    Raises:
        ValueError: The stream holds no complete pickle. Other built-in errors are possible as well.
    """
    machine = _Machine(persistent)
    for opcode, argument, _ in pickletools.genops(stream):
        machine.run(opcode.name, argument)
    return machine.pop()


_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip
_LAST = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARKED: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple, "LIST": list, "FROZENSET": frozenset, "DICT": lambda items: dict(_pairs(items)),
    "OBJ": lambda items: Record(items[0], tuple(items[1:])),
}  # fmt: skip
_NOTHING = {"PROTO", "FRAME", "STOP", "READONLY_BUFFER"}


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, persistent: Callable[[Any], Any]) -> None:
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self._stack.pop()

    def run(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode."""
        push, stack = self._stack.append, self._stack
        if opcode in _VALUES:
            push(argument)
        elif opcode in _EMPTY:
            push(_EMPTY[opcode]())
        elif opcode in _LAST:
            stack[-_LAST[opcode] :] = [tuple(stack[-_LAST[opcode] :])]
        elif opcode in _MARKED:
            push(_MARKED[opcode](self._marked()))
        elif opcode in {"PUT", "BINPUT", "LONG_BINPUT"}:
            self._memo[argument] = stack[-1]
        elif opcode in {"GET", "BINGET", "LONG_BINGET"}:
            push(self._memo[argument])
        elif opcode not in _NOTHING:
            getattr(self, f"_{opcode.lower()}", self._unknown)(argument)

    def _marked(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _unknown(self, argument: Any) -> None:
        raise ValueError(f"an opcode that no file has (argument {argument!r})")

    def _mark(self, _: None) -> None:
        self._marks.append(len(self._stack))

    def _pop_mark(self, _: None) -> None:
        self._marked()

    def _pop(self, _: None) -> None:
        # A mark counts as an item of the stack: old picklers discard an unfinished object by popping its mark.
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _dup(self, _: None) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(Name(module, name))

    def _stack_global(self, _: None) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(Name(str(module), str(name)))

    def _ext1(self, code: int) -> None:
        self._stack.append(Name("copyreg", f"extension {code}"))

    _ext2 = _ext4 = _ext1

    def _reduce(self, _: None) -> None:
        args, constructor = self._stack.pop(), self._stack.pop()
        self._stack.append(Record(constructor, args))

    _newobj = _reduce

    def _newobj_ex(self, _: None) -> None:
        self._stack.pop()  # arguments by keyword
        self._reduce(None)

    def _inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(Record(Name(module, name), tuple(self._marked())))

    def _build(self, _: None) -> None:
        state = self._stack.pop()
        if isinstance(record := self._stack[-1], Record):
            record.state = state

    def _append(self, _: None) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: None) -> None:
        self._extend(self._marked())

    def _additems(self, _: None) -> None:
        self._extend(self._marked())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, set):
            target.update(values)
        else:
            (target.values if isinstance(target, Record) else target).extend(values)

    def _setitem(self, _: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self, _: None) -> None:
        self._set(self._marked())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        (target.items if isinstance(target, Record) else target).update(_pairs(items))

    def _persid(self, argument: str) -> None:
        self._stack.append(self._persistent(argument))

    def _binpersid(self, _: None) -> None:
        self._stack.append(self._persistent(self._stack.pop()))


def _pairs(items: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(items[::2], items[1::2], strict=True)
